"""Run lengths: the same as pycocotools in both directions, and a clear error, never a crash, for what is malformed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco
from raw import encode, runs_of

from temporalpairs.errors import MaskFormatError
from temporalpairs.runlength import RunLengths, decode_strings, encode_labels

# pycocotools decodes with an __array__ that NumPy 2 calls outdated.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIDES = st.integers(1, 80)
PATTERNS = {
    "empty": lambda row, column: row < 0,
    "full": lambda row, column: row >= 0,
    "checkerboard": lambda row, column: (row + column) % 2 == 0,
    "inverse checkerboard": lambda row, column: (row + column) % 2 == 1,
    "stripes down": lambda row, column: column % 2 == 0,
    "stripes across": lambda row, column: row % 2 == 0,
    "first pixel": lambda row, column: row + column == 0,
    "last pixel": lambda row, column: row + column == row.max() + column.max(),
}


def drawn(height: int, width: int, name: str) -> np.ndarray:
    row, column = np.mgrid[:height, :width]
    return np.asarray(PATTERNS[name](row, column), np.bool_)


def sprinkled(height: int, width: int, density: float, seed: int) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).random((height, width)) < density)


MASKS = st.one_of(
    arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=80)),
    st.builds(drawn, SIDES, SIDES, st.sampled_from(sorted(PATTERNS))),
    st.builds(sprinkled, SIDES, SIDES, st.floats(0, 1), st.integers(0, 999)),
)


@settings(deadline=None, max_examples=200)
@given(mask=MASKS)
def test_a_mask_and_its_string_are_those_of_pycocotools_both_ways(mask):
    height, width = mask.shape
    theirs = encode(mask)
    ours = RunLengths.from_mask(mask)
    assert ours.to_string() == theirs
    assert ours.counts.tolist() == runs_of(theirs)
    assert ours.area == coco.area({"size": [height, width], "counts": theirs.encode()}) == mask.sum()
    read = RunLengths.from_string(theirs, height, width)
    assert read.counts.tolist() == ours.counts.tolist()
    np.testing.assert_array_equal(read.to_mask(), mask, strict=True)
    np.testing.assert_array_equal(coco.decode({"size": [height, width], "counts": ours.to_string().encode()}), mask)


@settings(deadline=None, max_examples=40)
@given(borders=st.lists(st.integers(0, 4000 * 6000), max_size=12))
def test_few_runs_of_a_huge_image_keep_string_and_area_of_pycocotools(borders):
    height, width = 4000, 6000
    counts = np.diff(sorted(borders), prepend=0, append=height * width)
    theirs = coco.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    ours = RunLengths(height, width, counts.astype(np.uint32))
    assert ours.to_string().encode() == theirs["counts"]
    read = RunLengths.from_string(theirs["counts"].decode(), height, width)
    assert read.counts.tolist() == counts.tolist()
    assert read.area == coco.area(theirs)


def test_a_huge_mask_decodes_as_pycocotools_decodes_it():
    height, width = 4000, 6000
    counts = [0, 1, 7_999_999, 3_999, 2, 9_000_000, 6_995_999, 0]
    theirs = coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    read = RunLengths.from_string(theirs["counts"].decode(), height, width)
    assert np.array_equal(read.to_mask(), coco.decode(theirs))


@pytest.mark.parametrize("run", [0, 1, 15, 16, 31, 32, 511, 512, 2**19, 2**30, 2**31 - 1])
def test_runs_up_to_the_largest_image_survive_the_string(run):
    rest = 2**31 - 1 - run
    for counts in ([run, rest], [0, run, 0, rest], [0, 0, run, rest, 0, 0]):
        text = RunLengths(1, 2**31 - 1, np.array(counts, np.uint32)).to_string()
        assert runs_of(text) == counts
        assert RunLengths.from_string(text, 1, 2**31 - 1).counts.tolist() == counts


LABELS = st.one_of(
    arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40), elements=st.integers(0, 3)),
    arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)),
    arrays(np.uint32, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)),
)


@settings(deadline=None, max_examples=200)
@given(labels=LABELS)
def test_labels_of_an_image_are_encoded_as_each_mask_by_itself(labels):
    ids, counts, offsets = encode_labels(labels)
    assert ids.tolist() == [label for label in np.unique(labels).tolist() if label]
    assert len(offsets) == len(ids) + 1
    assert offsets[-1] == len(counts)
    for i, label in enumerate(ids):
        expected = RunLengths.from_mask(labels == label)
        assert counts[offsets[i] : offsets[i + 1]].tolist() == expected.counts.tolist()


def test_an_image_without_pixels_has_no_labels():
    ids, counts, offsets = encode_labels(np.zeros((0, 5), np.uint16))
    assert (ids.size, counts.size, offsets.tolist()) == (0, 0, [0])


CHARACTER = "holds a character outside '0' … 'o'"
CUT_SHORT = "ends in the middle of a number"
RANGE = "a run is negative or longer than the image"
TOTAL = "the runs do not add up to height × width"
SIZE = "the image has more than 2,147,483,647 pixels"

# '0' … '?' are the numbers 0 … 15, '@' … 'O' −16 … −1; 'P' … 'o' say that more of the number follows.
MALFORMED = {
    "empty": ("", 3, 4, TOTAL),
    "space": ("4 8", 3, 4, CHARACTER),
    "newline": ("48\n", 3, 4, CHARACTER),
    "zero byte": ("48\0", 3, 4, CHARACTER),
    "just under '0'": ("/", 3, 4, CHARACTER),
    "just over 'o'": ("p", 3, 4, CHARACTER),
    "letter umlaut": ("4ü8", 3, 4, CHARACTER),
    "beyond Latin": ("4€8", 3, 4, CHARACTER),
    "half a surrogate pair": ("4\ud8008", 3, 4, CHARACTER),
    "more is promised": ("P", 3, 4, CUT_SHORT),
    "more is promised behind all pixels": ("48P", 3, 4, CUT_SHORT),
    "negative first run": ("O", 3, 4, RANGE),
    "negative by its difference": ("1136K", 3, 4, RANGE),
    "longer than the image": ("=", 3, 4, RANGE),
    "more digits than a run can have": ("P" * 7 + "0", 3, 4, RANGE),
    "endless digits": ("o" * 10_000, 3, 4, RANGE),
    "one pixel short": ("47", 3, 4, TOTAL),
    "one pixel too many": ("49", 3, 4, TOTAL),
    "transposed image of another size": ("48", 4, 4, TOTAL),
    "image of no pixels": ("48", 0, 4, RANGE),
    "image too large": ("0", 2**16, 2**16, SIZE),
    "image larger than any number": ("0", 10**12, 10**12, SIZE),
    "negative height and width": ("48", -3, -4, SIZE),
}


@pytest.mark.parametrize(("text", "height", "width", "problem"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_string_is_refused_with_its_reason(text, height, width, problem):
    with pytest.raises(MaskFormatError, match=problem):
        RunLengths.from_string(text, height, width)


def test_every_beginning_of_a_string_is_refused():
    mask = sprinkled(30, 50, 0.1, 4)
    text = encode(mask)
    for end in range(len(text)):
        with pytest.raises(MaskFormatError):
            RunLengths.from_string(text[:end], 30, 50)


def test_each_string_of_many_is_judged_by_itself_and_the_error_tells_which():
    texts = [encode(sprinkled(9, 9, 0.5, seed)) for seed in range(5)]
    for bad in range(5):
        broken = [*texts[:bad], texts[bad][:-1] + "~", *texts[bad + 1 :]]
        ends = np.cumsum([len(text) for text in broken])
        spans = np.stack([ends - [len(text) for text in broken], ends], axis=1)
        with pytest.raises(MaskFormatError) as caught:
            decode_strings(np.frombuffer("".join(broken).encode(), np.uint8), spans, np.full(5, 81))
        assert caught.value.index == bad


def test_an_image_of_more_pixels_than_runs_can_count_is_refused_among_many():
    text = np.frombuffer(b"0" + encode(np.ones((3, 4), bool)).encode(), np.uint8)
    with pytest.raises(MaskFormatError, match=SIZE) as caught:
        decode_strings(text, np.array([[1, text.size], [0, 1]]), np.array([12, 2**32]))
    assert caught.value.index == 1


def random_strings(count: int) -> list[bytes]:
    """Bytes of any value, bytes of the alphabet, and true strings of 6×7 pixels with something changed."""
    rng = np.random.default_rng(8)
    strings = []
    for i in range(count):
        if i % 4 == 0:
            strings.append(rng.integers(0, 256, rng.integers(0, 40), dtype=np.uint8).tobytes())
        elif i % 4 == 1:
            strings.append(rng.integers(48, 112, rng.integers(0, 12), dtype=np.uint8).tobytes())
        else:
            data = bytearray(encode(rng.random((6, 7)) < rng.random()).encode())
            for _ in range(rng.integers(1, 4)):
                position = int(rng.integers(len(data) + 1))
                data[position : position + int(rng.integers(2))] = rng.integers(
                    48, 80, rng.integers(2), np.uint8
                ).tobytes()
            strings.append(bytes(data))
    return strings


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_random_strings_are_refused_or_are_masks(count):
    accepted = 0
    for data in random_strings(count):
        try:
            counts, _ = decode_strings(np.frombuffer(data, np.uint8), np.array([[0, len(data)]]), np.array([42]))
        except MaskFormatError:
            continue
        accepted += 1
        assert counts.tolist() == runs_of(data.decode())
        assert counts.sum() == 42
    assert count / 100 < accepted < 0.9 * count  # both ways were taken


@pytest.mark.slow
def test_no_kernel_reaches_outside_its_arrays(tmp_path):
    script = f"""
import sys
import numpy as np
from numba import njit

sys.path.insert(0, {str(Path(__file__).parent)!r})
from kittimasks import CutOptions, cut_video
from raw import lines_of, random_video
from temporalpairs import runlength_kernels as kernels
from temporalpairs.errors import MaskFormatError, RawDataError
from temporalpairs.builders.formats.mots_text import TextVideo
from temporalpairs.runlength import RunLengths, decode_strings, encode_labels
from pathlib import Path
from test_runlength import random_strings

@njit
def beyond(values):
    return values[7]

try:
    beyond(np.zeros(7))
except IndexError:
    print("bounds are checked")

for data in random_strings(3_000):
    try:
        counts, _ = decode_strings(np.frombuffer(data, np.uint8), np.array([[0, len(data)]]), np.array([42]))
        assert RunLengths(6, 7, counts).to_string()
    except MaskFormatError:
        pass

rng = np.random.default_rng(5)
path = Path({str(tmp_path / "0000.txt")!r})
for _ in range(15):
    video = random_video(rng)
    for labels in video:
        encode_labels(labels)
    text = "".join(lines_of(video)).encode()
    for damage in (0, 0, 1, 1, 1):
        data = bytearray(text)
        for position in rng.integers(0, max(len(data), 1), damage):
            data[position : position + 1] = rng.integers(0, 256, 1, np.uint8).tobytes()
        path.write_bytes(data)
        try:
            cut_video(TextVideo("0000", path, path.parent).read(), CutOptions(min_pixels=1))
        except RawDataError:
            pass
print("done")
"""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_OPT": "0"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["bounds are checked", "done"]


@pytest.mark.parametrize("counts", [[], [11], [13], [4, 4, 2], [2**32 - 1, 13]])
def test_runs_that_do_not_fit_their_image_are_never_drawn(counts):
    with pytest.raises(MaskFormatError, match=TOTAL):
        RunLengths(3, 4, np.array(counts, np.uint32)).to_mask()
