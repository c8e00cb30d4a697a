"""The released file of Natural Sprites: read as Python would read it, refused clearly when it is anything else."""

from __future__ import annotations

import ast
import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference_csv
from hypothesis import given, settings
from hypothesis import strategies as st

from natsprites.release import read_released, write_released
from natsprites.statistics import MaskStatistics
from temporalpairs.errors import DatasetWarning, OptionError, ReleasedFileError, StoreExistsError

SHARED = Path(__file__).parents[2] / "shared" / "reference"
REAL_FILE = SHARED / "natural_sprites.csv"
needs_real_file = pytest.mark.skipif(not REAL_FILE.is_file(), reason=f"the reference's CSV is not at {SHARED}")

Mask = tuple[float, float, int] | None
Row = tuple[int, int, list[list[Mask] | None]]

ROWS: list[Row] = [
    (
        7,
        21,
        [
            [(37.25, 54.16326530612245, 207), None, (1.0, 2.5, 3)],
            None,
            [None, None, None],
            [(0.0, 63.0, 1), (1e-05, 2.2250738585072014e-308, 4096), (31.5, 9.05, 40)],
        ],
    ),
    (3, 40, [None, [(61.12345678901234, 0.1, 12), None, None]]),
    (900_000_000_000_000_000, 1, []),
    (5, 2, [None, None, [(1.5, 2.5, 10), (1.5, 2.5, 10), None], None]),
]


def as_text(rows: list[Row], **dialect: Any) -> str:
    """Write as the reference script does, with Python's own writer."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, **dialect)
    writer.writerow(["id", "cat_id"] + [f"t_{i}" for i in range(max(len(cells) for _, _, cells in rows))])
    writer.writerows([track, category, *cells] for track, category, cells in rows)
    return file.getvalue()


TEXT = as_text(ROWS).encode()


def save(path: Path, content: bytes | str) -> Path:
    file = path / "some.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def rows_of(statistics: MaskStatistics) -> list[Row]:
    """Unpack a table; repr of the result tells every bit, and the sign of a zero."""
    rows: list[Row] = []
    for i in range(len(statistics)):
        cells: list[list[Mask] | None] = []
        for k in range(int(statistics.start[i]), int(statistics.start[i + 1])):
            masks: list[Mask] = [
                None if math.isnan(y) and math.isnan(x) and math.isnan(area) else (y, x, int(area))
                for y, x, area in statistics.values[k].tolist()
            ]
            if not statistics.annotated[k]:
                assert masks == [None] * statistics.crops
            cells.append(masks if statistics.annotated[k] else None)
        rows.append((int(statistics.track[i]), int(statistics.category[i]), cells))
    return rows


def table(rows: list[Row], crops: int) -> MaskStatistics:
    cells = [cell for _, _, cells in rows for cell in cells]
    empty: list[Mask] = [None] * crops
    return MaskStatistics(
        values=np.array([[mask or [np.nan] * 3 for mask in cell or empty] for cell in cells], np.float64).reshape(
            -1, crops, 3
        ),
        annotated=np.array([cell is not None for cell in cells], np.bool_),
        start=np.cumsum([0] + [len(cells) for _, _, cells in rows]),
        video=np.full(len(rows), -1),
        track=np.array([track for track, _, _ in rows], np.int64),
        category=np.array([category for _, category, _ in rows], np.int64),
    )


def evaluate(content: bytes) -> list[Row]:
    """Read with Python's csv module, cell by cell as a literal, and insist on the format's types; ValueError if not."""
    header, *lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    if header != ["id", "cat_id"] + [f"t_{i}" for i in range(len(header) - 2)]:
        raise ValueError(header)
    rows: list[Row] = []
    crops = set()
    for track, category, *texts in lines:
        cells = [ast.literal_eval(text) if text else None for text in texts]
        for cell in cells:
            if cell is None:
                continue
            crops.add(len(cell))
            for mask in cell:
                if mask is not None and [type(mask), *map(type, mask)] != [tuple, float, float, int]:
                    raise ValueError(mask)
        if len(cells) > len(header) - 2:
            raise ValueError(texts)
        rows.append((int(track), int(category), cells))
    if len(crops) > 1 or len({track for track, _, _ in rows}) < len(rows):
        raise ValueError(rows)
    return rows


@needs_real_file
def test_the_reference_file_reads_as_its_own_reader_reads_it() -> None:
    statistics = read_released(REAL_FILE)
    assert repr(rows_of(statistics)) == repr(evaluate(REAL_FILE.read_bytes()))
    assert statistics.crops == 3
    assert (statistics.video == -1).all()

    values = statistics.values
    owner = np.repeat(np.arange(len(statistics)), np.diff(statistics.start))
    seen = ~np.isnan(values[:, :, 0])
    cell, crop = np.nonzero(seen[:-1] & seen[1:] & (owner[:-1] == owner[1:])[:, None])
    pairs = np.stack([values[cell, crop], values[cell + 1, crop]], axis=1)
    assert len(pairs) == 7155
    ours = sorted(
        zip(
            statistics.track[owner[cell]].tolist(),
            statistics.category[owner[cell]].tolist(),
            *pairs.transpose(2, 0, 1).tolist(),
            strict=True,
        )
    )
    plain = reference_csv.load_csv(REAL_FILE)
    names = ("id", "category_id", "y", "x", "area")
    assert ours == sorted(zip(*(plain[name] for name in names), strict=True))
    with np.load(SHARED / "natural_sprites_transitions.npz") as held:
        assert ours == sorted(zip(*(held[f"raw_{name}"].tolist() for name in names), strict=True))


@needs_real_file
def test_the_reference_file_is_written_back_byte_for_byte(tmp_path: Path) -> None:
    write_released(tmp_path / "again.csv", read_released(REAL_FILE))
    assert (tmp_path / "again.csv").read_bytes() == REAL_FILE.read_bytes()


@st.composite
def some_rows(draw: st.DrawFn) -> tuple[list[Row], int]:
    crops = draw(st.integers(1, 4))
    beyond = st.floats(0, allow_infinity=False) if crops == 1 else st.floats(0, 64, exclude_max=True)
    # What masks give: a ratio of small integers
    ratio = st.builds(lambda a, b: (a % (63 * b)) / b, st.integers(0, 2**20), st.integers(1, 4096))
    position = (beyond | ratio).map(abs)
    mask = st.none() | st.tuples(position, position, st.integers(1, 10**15 - 1 if crops == 1 else 4096))
    cell = st.none() | st.lists(mask, min_size=crops, max_size=crops)
    some_id = st.integers(-(10**18) + 1, 10**18 - 1)
    row = st.tuples(some_id, some_id, st.lists(cell, max_size=5))
    return draw(st.lists(row, min_size=1, max_size=6, unique_by=lambda row: row[0])), crops


@settings(deadline=None, max_examples=100)
@given(made=some_rows())
def test_every_table_is_written_as_python_writes_it_and_read_back_exactly(
    made: tuple[list[Row], int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows, crops = made
    path = tmp_path_factory.mktemp("round") / "some.csv"
    write_released(path, table(rows, crops))
    assert path.read_bytes() == as_text(rows).encode()
    back = read_released(path)
    assert repr(rows_of(back)) == repr(rows)
    assert back.crops == (crops if back.annotated.any() else 3)


def test_positions_become_the_nearest_float(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    area = chance.integers(1, 4097, 2000)
    numbers = list(map(repr, (chance.integers(0, 2**60, len(area)) % (63 * area) / area).tolist()))
    numbers += map(repr, chance.integers(0, 0x7FF << 52, 2000).view(np.float64).tolist())  # all exponents alike
    numbers += ["1.0e-999", "9007199254740993.0", "5.000000000000000000000000000000", "0.0000000000000000000001e+22"]
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    path = save(tmp_path, "id,cat_id,t_0\n" + "".join(f'{i},1,"[({y}, {x}, 1)]"\n' for i, (y, x) in enumerate(pairs)))
    read = read_released(path).values[:, 0, :2].ravel()
    assert np.array_equal(read.view(np.int64), np.array(list(map(float, numbers))).view(np.int64))


@pytest.mark.parametrize(
    "content",
    [
        TEXT.replace(b"\r\n", b"\n"),
        b"\xef\xbb\xbf" + TEXT,
        as_text(ROWS, quoting=csv.QUOTE_ALL).encode(),
        as_text(ROWS, quoting=csv.QUOTE_ALL, lineterminator="\n").encode(),
        TEXT.replace(b"(", b" (   ").replace(b", ", b"  ,").replace(b"]", b"  ] ").replace(b")", b" )"),
        TEXT.replace(b", ", b","),
        TEXT.replace(b"\n7,21,", b"\n 7  ,  21,"),
        TEXT.replace(b"t_3\r\n", b"t_3,t_4,t_5\r\n"),
    ],
    ids=["LF", "BOM", "all quoted", "all quoted, LF", "spaces", "none", "ids", "wider header"],
)
def test_what_means_the_same_reads_the_same(tmp_path: Path, content: bytes) -> None:
    assert content != TEXT
    assert repr(rows_of(read_released(save(tmp_path, content)))) == repr(ROWS)


def test_padding_lengthens_annotations(tmp_path: Path) -> None:
    longest = max(len(cells) for _, _, cells in ROWS)
    padded: list[Row] = [(track, category, cells + [None] * (longest - len(cells))) for track, category, cells in ROWS]
    assert rows_of(read_released(save(tmp_path, as_text(padded)))) == padded


def test_one_crop_needs_no_quotes_around_none(tmp_path: Path) -> None:
    statistics = read_released(save(tmp_path, 'id,cat_id,t_0,t_1\r\n1,2,[None],"[(1000.5, 70.0, 5000)]"\r\n'))
    assert rows_of(statistics) == [(1, 2, [[None], [(1000.5, 70.0, 5000)]])]


CELL = b"[(61.12345678901234, 0.1, 12), None, None]"  # line 3, column t_1
NO_CELL = r"expected an empty cell or a list with \(y, x, area\) or None"

BAD_CELLS = [
    b" ",
    b"None",
    b"nan",
    b"{}",
    b"__import__('os').system('true')",
    b"((1.0, 2.0, 3), None, None)",
    b"\t[None, None, None]",
    b"[]",
    b"[[1.0, 2.0, 3], None, None]",
    b"[none, None, None]",
    b"[None, , None]",
    b"[__import__('os'), None, None]",
    b"[()]",
    b"[(nan, 2.0, 3), None, None]",
    b"[(-1.0, 2.0, 3), None, None]",
    b"[(+1.0, 2.0, 3), None, None]",
    b"[(1, 2.0, 3), None, None]",
    b"[(1., 2.0, 3), None, None]",
    b"[(.5, 2.0, 3), None, None]",
    b"[(1e, 2.0, 3), None, None]",
    b"[(0x1p3, 2.0, 3), None, None]",
    b"[(1_0.5, 2.0, 3), None, None]",
    b"[(1.0 0, 2.0, 3), None, None]",
    b"[(True, 2.0, 3), None, None]",
    b"[(" + b"1" * 100_000 + b", 2.0, 3), None, None]",
    b"[(1.0\x00, 2.0, 3), None, None]",
    b"[(1.\xff0, 2.0, 3), None, None]",
    b"[(\xef\xbc\x91.0, 2.0, 3), None, None]",
    b"[(1.0, 2.0, 0), None, None]",
    b"[(1.0, 2.0, 3.0), None, None]",
    b"[(1.0, 2.0, 0x3), None, None]",
    b"[(1.0, 2.0, 03), None, None]",
    b"[(1.0, 2.0, 1_0), None, None]",
    b"[(1.0, 2.0, 1000000000000000), None, None]",
    b"[(1.0, 2.0), None, None]",
    b"[(1.0, 2.0, ), None, None]",
    b"[(1.0, 2.0, 3, 4), None, None]",
    b"[None, None, None,]",
    b"[None None, None]",
    b"[None, None, None",
    b"[None, None, None]]",
    b"[None, None, None] # note",
    b"[None,\r\n None, None]",
    b'[""None"", None, None]',
]
OTHER_CELLS = {
    b"[(1.0, 1e999, 3), None, None]": r"crop 0 has \(y, x, area\) = \(1\.0, inf, 3\)",
    b"[None, None]": "2 crops, expected 3 as in the first list",
    b"[None, None, None, None]": "4 crops, expected 3 as in the first list",
    b"[(64.0, 2.0, 3), None, None]": r"crop 0 has \(y, x, area\) = \(64\.0, 2\.0, 3\), expected a mask within 64×64",
    b"[None, (1.0, 64.5, 3), None]": "crop 1 has",
    b"[None, None, (1.0, 2.0, 4097)]": r"crop 2 has .*4097\)",
}


@pytest.mark.parametrize("cell", [*BAD_CELLS, *OTHER_CELLS], ids=lambda cell: ascii(cell.decode("latin1")[:30]))
def test_a_bad_cell_is_named(tmp_path: Path, cell: bytes) -> None:
    path = save(tmp_path, TEXT.replace(CELL, cell))
    found = OTHER_CELLS.get(cell, NO_CELL)
    with pytest.raises(ReleasedFileError, match=f"(?s)some.csv, line 3, column t_1: .*{found}"):
        read_released(path)


@pytest.mark.parametrize(
    ("old", "new", "place", "found"),
    [
        (b"id,cat_id,t_0", b"id,t_0", "line 1, column 2", "has 't_0', expected 'cat_id'"),
        (b"id,cat_id", b"cat_id,id", "line 1, column 1", "has 'cat_id', expected 'id'"),
        (b"t_1,t_2", b"t_2", "line 1, column 4", "has 't_2', expected 't_1'"),
        (b"t_1,t_2", b"t_2,t_1", "line 1, column 4", "has 't_2', expected 't_1'"),
        (b"t_3", b"t_3,", "line 1, column 7", "has '', expected 't_4'"),
        (b"t_3", b"t_03", "line 1, column 6", "has 't_03', expected 't_3'"),
        (b"t_3", b'"t_3', "line 1, column 6", "expected 't_3'"),
        (b"id,cat_id,t_0,t_1,t_2,t_3", b"id", "line 1, column 2", "expected 'cat_id'"),
        (b"id,cat_id,t_0,t_1,t_2,t_3\r\n", b"", "line 1, column 1", "has '7', expected 'id'"),
        (b"id,cat_id", b"\xff\xfei\0d\0,cat_id", "line 1, column 1", r"has '\\\\xff\\\\xfei\\x00d\\x00'"),
        (b"t_2,t_3", b"t_2", "line 2, column t_3", "expected at most 5 cells, as in the header"),
        (b'10), None]",\r', b'10), None]",,\r', "line 5, column t_4", "expected at most 6 cells"),
        (b"\n3,40,", b"\n,40,", "line 3, column id", "found '', expected an integer"),
        (b"\n3,40,", b"\n\r\n3,40,", "line 3, column id", "found '', expected an integer"),
        (b"\n3,40,", b"\n3,,", "line 3, column cat_id", "found '', expected an integer"),
        (b"\n3,40,", b'\n"",40,', "line 3, column id", "expected an integer"),
        (b"\n3,40,", b"\n3\r\n3,40,", "line 3, column cat_id", "found '', expected an integer"),
        (b"\n3,40,", b"\n3.0,40,", "line 3, column id", r"found '3\.0', expected an integer"),
        (b"\n3,40,", b"\n3 3,40,", "line 3, column id", "expected an integer"),
        (b"\n3,40,", b"\n0x3,40,", "line 3, column id", "expected an integer"),
        (b"\n3,40,", b"\n1_0,40,", "line 3, column id", "expected an integer"),
        (b"\n3,40,", b"\n" + b"1" * 19 + b",40,", "line 3, column id", "expected an integer of at most 18 digits"),
        (b"\n3,40,", b"\n3,4\x000,", "line 3, column cat_id", r"found '4\\x000', expected an integer"),
        (b"\n3,40,", b'\n"3,40",', "line 3, column id", "found '3,40', expected an integer"),
        (b"\n3,40,", b"\n3,40;", "line 3, column cat_id", "expected an integer"),
        (b"\n3,40,", b"\n7,40,", "line 3, column id", "annotation 7 is also in line 2"),
        (b'"[(61', b'x"[(61', "line 3, column t_1", NO_CELL),
        (b'"[(61', b' "[(61', "line 3, column t_1", NO_CELL),
        (b'"[(61', b"[(61", "line 3, column t_1", NO_CELL),
        (b'None]"\r\n900', b'None]"x\r\n900', "line 3, column t_1", NO_CELL),
        (b'None]"\r\n900', b'None]""\r\n900', "line 3, column t_1", NO_CELL),
        (b'None]"\r\n900', b'None]"\r\r\n900', "line 4, column id", "expected an integer"),
        (b'None]"\r\n900', b"None]\r\n900", "line 3, column t_1", NO_CELL),
        (b"0.1,", b" " * 200_000 + b"0.1,", "line 3", "field larger than field limit"),
    ],
)
def test_what_is_wrong_is_named_with_line_and_column(
    tmp_path: Path, old: bytes, new: bytes, place: str, found: str
) -> None:
    assert TEXT.count(old) == 1
    with pytest.raises(ReleasedFileError, match=f"(?s)some.csv, {place}: .*{found}"):
        read_released(save(tmp_path, TEXT.replace(old, new)))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is empty"),
        (b"\r\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"id,cat_id,t_0", "line 1: no row follows the header, the file is cut short"),
        (b"id,cat_id,t_0\r\n", "line 1: no row follows the header, the file is cut short"),
        (TEXT[:-2], "line 5: the line has no end, the file is cut short"),
        (TEXT[: TEXT.index(b"3,40,") + 1], "line 3, column cat_id: found ''"),
        (TEXT[: TEXT.index(b"0.1,")], "line 3, column t_1: found "),
        (b"\x80\x04\x95" + bytes(300), "line 1, column 1: the header has"),
    ],
)
def test_what_is_cut_short_is_named(tmp_path: Path, content: bytes, found: str) -> None:
    with pytest.raises(ReleasedFileError, match=f"(?s)some.csv(, |: ){found}"):
        read_released(save(tmp_path, content))


def test_every_cut_is_noticed_but_at_a_line_end(tmp_path: Path) -> None:
    for end in range(len(TEXT)):
        path = save(tmp_path, TEXT[:end])
        if TEXT[:end].endswith(b"\n") and TEXT[:end].count(b"\n") > 1:
            assert repr(rows_of(read_released(path))) == repr(ROWS[: TEXT[:end].count(b"\n") - 1])
        else:
            with pytest.raises(ReleasedFileError):
                read_released(path)


@pytest.mark.parametrize("times", [400, pytest.param(6000, marks=pytest.mark.slow)])
def test_damage_is_refused_or_read_as_python_reads_it(tmp_path: Path, times: int) -> None:
    chance = np.random.default_rng(5)
    alphabet = np.frombuffer(b"\"',.()[]{}0123456789-+eE_jxN None\r\n\t\0\xff\xc3", np.uint8)
    texts = [TEXT, as_text(ROWS, quoting=csv.QUOTE_ALL, lineterminator="\n").encode()]
    refused = 0
    for attempt in range(times):
        text = np.frombuffer(texts[attempt % 2], np.uint8)
        for _ in range(int(chance.integers(1, 3))):
            a, b, c = np.sort(chance.integers(0, len(text), 3)).tolist()
            b = min(b, a + int(chance.integers(1, 6)))
            match int(chance.integers(6)):
                case 0:
                    text = np.concatenate([text[:a], chance.choice(alphabet, 1), text[a + 1 :]])
                case 1:
                    text = np.concatenate(
                        [text[:a], text[a : a + 1] ^ (1 << chance.integers(8)).astype(np.uint8), text[a + 1 :]]
                    )
                case 2:
                    text = np.concatenate([text[:a], text[b:]])
                case 3:
                    text = np.concatenate([text[:b], text[a:]])
                case 4:
                    text = np.concatenate([text[:a], chance.choice(alphabet, 2), text[a:]])
                case 5:
                    text = np.concatenate([text[:a], text[b:c], text[a:b], text[c:]])
        content = text.tobytes()
        path = save(tmp_path, content)
        try:
            rows = rows_of(read_released(path))
        except ReleasedFileError:
            refused += 1
        else:
            assert repr(rows) == repr(evaluate(content)), content
    assert times / 2 < refused < 0.99 * times  # both happen


def test_values_of_a_verified_file_are_kept(tmp_path: Path) -> None:
    content = TEXT.replace(CELL, b"[(64.0, 2.0, 3), (1.0, 2.0, 5000), None]")
    path = save(tmp_path, content)
    with pytest.warns(DatasetWarning, match="2 of 9 masks do not fit .* line 3, column t_1"):
        statistics = read_released(path, verified=True)
    assert rows_of(statistics) == evaluate(content)


def test_a_file_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    path = save(tmp_path, "mine")
    with pytest.raises(StoreExistsError):
        write_released(path, table(ROWS, 3))
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"track": np.array([7, 3, 7, 5])}, "share an id"),
        ({"track": np.array([7, 3, 10**18, 5])}, "an id of more than 18 digits"),
        ({"category": np.array([7, 3, -(10**18), 5])}, "an id of more than 18 digits"),
        ({"track": np.array([7, 3, np.iinfo(np.int64).min, 5])}, "an id of more than 18 digits"),
        ({"start": np.array([0, 4, 6, 6, 9])}, "borders"),
        ({"start": np.array([0, 6, 4, 6, 10])}, "borders"),
        ({"annotated": np.zeros(10, np.bool_)}, "not annotated"),
        *(
            ({"values": np.tile(row, (10, 3, 1))}, "a mask whose")
            for row in (
                [-1.0, 1.0, 1.0],
                [np.inf, 1.0, 1.0],
                [-0.0, 1.0, 1.0],
                [1.0, 1.0, 0.0],
                [1.0, 1.0, 1.5],
                [1.0, 1.0, 1e15],
                [1.0, np.nan, 1.0],
                [1.0, 1.0, np.nan],
            )
        ),
        ({"values": np.ones((10, 66, 3))}, "66 crops"),
        ({"values": np.ones((10, 0, 3))}, "0 crops"),
    ],
)
def test_a_table_that_could_not_be_read_back_is_not_written(
    tmp_path: Path, change: dict[str, np.ndarray], found: str
) -> None:
    good = table(ROWS, 3)
    fields = {name: getattr(good, name) for name in ("values", "annotated", "start", "video", "track", "category")}
    if "values" in change:
        fields["annotated"] = np.ones(10, np.bool_)
    with pytest.raises(OptionError, match=found):
        write_released(tmp_path / "new.csv", MaskStatistics(**{**fields, **change}))
    assert not list(tmp_path.iterdir())


def test_a_table_of_nothing_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no annotation"):
        write_released(tmp_path / "new.csv", table([], 3))
