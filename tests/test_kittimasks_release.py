"""The released file of KITTI Masks: read inertly, refused clearly when it is anything else, written byte for byte."""

from __future__ import annotations

import hashlib
import os
import pickle
import pickletools
import struct
import subprocess
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from kittimasks.release import ReleasedMasks, read_released, write_released
from temporalpairs.errors import DatasetWarning, OptionError, ReleasedFileError, StoreExistsError

REFERENCE = Path(__file__).parents[2] / "shared" / "reference" / "kitti_masks_0000-0016.npz"
LENGTHS = (2, 17, 1, 3, 22)  # from 16 on, protocol 4 writes masks outside its frames; 22 factors exceed 255 bytes


def draw_masks(length: int, rng: np.random.Generator) -> np.ndarray:
    """A tilted ellipse that drifts, with a ragged edge, partly off the frame."""
    row, column = np.mgrid[:64, :64]
    y, x = rng.uniform(5, 59, 2)
    height, width, tilt = rng.uniform(5, 20), rng.uniform(4, 10), rng.uniform(-0.5, 0.5)
    masks = np.empty((length, 64, 64), np.bool_)
    for mask in masks:
        across = (column - x + tilt * (row - y)) / width
        mask[:] = ((row - y) / height) ** 2 + across**2 < rng.uniform(0.8, 1.2, (64, 64))
        y, x = np.clip((y + rng.normal(0, 1), x + rng.normal(0, 2)), 2, 61)
    return masks


def measure(masks: np.ndarray) -> np.ndarray:
    """(y, x, area) as the reference script takes them."""
    return np.array([(*ndimage.center_of_mass(mask), mask.sum()) for mask in masks], np.float32)


def content(lengths: tuple[int, ...] = LENGTHS) -> dict[str, list[Any]]:
    rng = np.random.default_rng(20)
    masks = [draw_masks(length, rng) for length in lengths]
    return {"pedestrians": masks, "pedestrians_latents": [measure(array) for array in masks]}


def as_numpy_1_19(data: bytes) -> bytes:
    """Give a pickle of today's NumPy the module names that NumPy 1.19 wrote; the rest of the bytes agrees."""
    protocol = data[1]
    module = b"numpy._core.numeric" if protocol == 5 else b"numpy._core.multiarray"
    before = b"c" + module + b"\n" if protocol == 3 else b"\x8c" + bytes([len(module)]) + module
    older = module.replace(b"._core", b".core")
    after = b"c" + older + b"\n" if protocol == 3 else b"\x8c" + bytes([len(older)]) + older
    assert data.count(before) == 1
    data = data.replace(before, after)
    if protocol > 3:
        assert data[2:3] == b"\x95"
        data = data[:3] + struct.pack("<Q", struct.unpack("<Q", data[3:11])[0] - 1) + data[11:]
    return data


def save(path: Path, held: object, protocol: int = 3) -> Path:
    path.write_bytes(pickle.dumps(held, protocol=protocol))
    return path


def expect_equal(released: ReleasedMasks, held: dict[str, list[Any]]) -> None:
    masks, factors = held["pedestrians"], held["pedestrians_latents"]
    assert released.frames.flags.c_contiguous
    assert released.factors.flags.c_contiguous
    assert np.array_equal(released.frames, np.packbits(np.concatenate(masks).reshape(-1, 4096), axis=1))
    assert released.factors.tobytes() == np.concatenate(factors).tobytes()
    assert released.start.tolist() == [0, *np.cumsum([len(array) for array in masks])]


def expect_refused(path: Path, *parts: str) -> None:
    with pytest.raises(ReleasedFileError) as caught:
        read_released(path)
    for part in (str(path), "nothing in it was executed", *parts):
        assert part in str(caught.value)
    assert len(str(caught.value)) < 700 + len(str(path))


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("rename", [as_numpy_1_19, bytes], ids=["numpy-1.19", "today"])
def test_reads_what_numpy_writes(tmp_path: Path, protocol: int, rename: Callable[[bytes], bytes]) -> None:
    held = content()
    path = tmp_path / "released.pickle"
    path.write_bytes(rename(pickle.dumps(held, protocol=protocol)))
    expect_equal(read_released(path), held)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda array: np.ascontiguousarray(np.swapaxes(array, -1, -2)).swapaxes(-1, -2),
        lambda array: np.repeat(array, 2, axis=0)[::2],
        lambda array: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape),
    ],
    ids=["fortran", "transposed", "strided", "read-only"],
)
def test_reads_every_layout(tmp_path: Path, protocol: int, layout: Callable[[np.ndarray], np.ndarray]) -> None:
    held = content()
    laid_out = {key: [layout(array) for array in arrays] for key, arrays in held.items()}
    expect_equal(read_released(save(tmp_path / "released.pickle", laid_out, protocol)), held)


def test_reads_what_numpy_and_pickle_write_otherwise(tmp_path: Path) -> None:
    held = content()
    data = as_numpy_1_19(pickle.dumps(held, protocol=3))
    assert data.count(b"\x89\x88\x87") == 2
    path = tmp_path / "released.pickle"
    path.write_bytes(data.replace(b"\x89\x88\x87", b"K\x00K\x01\x87"))  # arguments of dtype by older NumPy
    expect_equal(read_released(path), held)
    path.write_bytes(pickletools.optimize(data))
    expect_equal(read_released(path), held)


def test_factors_of_real_masks_match_to_the_bit(tmp_path: Path) -> None:
    if not REFERENCE.exists():
        pytest.skip(f"the reference masks are not at {REFERENCE}")
    with np.load(REFERENCE) as arrays:
        frames, factors, lengths = arrays["frames_packed"], arrays["latents"], arrays["lengths"]
    start = np.concatenate(([0], np.cumsum(lengths)))
    write_released(tmp_path / "real.pickle", frames, factors, start)
    read = read_released(tmp_path / "real.pickle")
    assert np.array_equal(read.frames, frames)
    assert read.factors.tobytes() == factors.tobytes()
    assert np.array_equal(read.start, start)


Change = Callable[[dict[str, list[Any]]], object]


def with_third(key: str, change: Callable[[np.ndarray], object]) -> Change:
    return lambda held: held | {key: [*held[key][:3], change(held[key][3]), *held[key][4:]]}


def with_masks(change: Callable[[np.ndarray], object]) -> Change:
    return with_third("pedestrians", change)


def with_factors(change: Callable[[np.ndarray], object]) -> Change:
    return with_third("pedestrians_latents", change)


NO_ARRAY = ("sequence 3", "pedestrians is not an array as NumPy writes it")
OTHER_CONTENT = {
    "masks-dtype": (with_masks(lambda m: m.astype(np.uint8)), "sequence 3", "pedestrians has dtype '|u1', expected"),
    "masks-shape": (with_masks(lambda m: m[:, :32]), "sequence 3", "shape [3, 32, 64], expected [T, 64, 64]"),
    "masks-flat": (with_masks(lambda m: m.reshape(3, 4096)), "sequence 3", "shape [3, 4096], expected [T, 64, 64]"),
    "masks-none": (with_masks(lambda m: m[:0]), "sequence 3", "shape [0, 64, 64], expected [T, 64, 64]"),
    "masks-bytes": (with_masks(lambda m: (m * np.uint8(2)).view(np.bool_)), "sequence 3", "bytes other than 0 and 1"),
    "masks-list": (with_masks(lambda m: [1, 2]), *NO_ARRAY),
    "masks-number": (with_masks(lambda m: 7), *NO_ARRAY),
    "masks-empty": (with_masks(lambda m: m & False), "sequence 3, frame 0", "has (y, x, area) = (nan, nan, 0)"),
    "factors-dtype": (with_factors(lambda f: f.astype(np.float64)), "sequence 3", "dtype '<f8', expected '<f4'"),
    "factors-shape": (with_factors(lambda f: f[:, :2]), "sequence 3", "shape [3, 2], expected [T, 3]"),
    "factors-scalar": (with_factors(lambda f: np.array(1, "f4")), "sequence 3", "shape [], expected [T, 3]"),
    "factors-length": (with_factors(lambda f: f[:2]), "sequence 3", "2 rows, expected one for each of the 3 frames"),
    "factors-nan": (with_factors(lambda f: f * np.nan), "sequence 3, frame 0", "nan", "its mask has"),
    "factors-ulp": (with_factors(lambda f: np.nextafter(f, np.float32(99))), "sequence 3, frame 0", "its mask has"),
    "objects": (with_masks(lambda m: np.array([None, {}], object)), "nothing"),
    "structured": (with_masks(lambda m: np.zeros(2, [("a", "f4"), ("b", "i8")])), "nothing"),
    "text-array": (with_factors(lambda f: np.array(["a", "b"])), "dtype '<U1'"),
    "dates": (with_factors(lambda f: np.array(["2020-01-01"], "M8[D]")), "nothing"),
    "big-endian": (with_factors(lambda f: f.astype(">f4")), "dtype '>f4'"),
    "subclass": (with_factors(lambda f: f.view(np.recarray)), "asks for", "'recarray'"),
    "masked": (with_factors(lambda f: np.ma.masked_array(f)), "asks for 'numpy.ma"),
    "scalar": (with_factors(lambda f: f[0, 0]), "asks for", "'scalar'"),
    "float": (with_factors(lambda f: 1.5), "BINFLOAT"),
    "unequal": (lambda held: held | {"pedestrians": held["pedestrians"][:4]}, "4 pedestrians and 5 pedestrians_l"),
    "empty": (lambda held: {key: [] for key in held}, "expected as many, one or more"),
    "missing-key": (lambda held: {"pedestrians": held["pedestrians"]}, "SETITEM is no opcode"),
    "other-key": (lambda held: held | {"cars": []}, "something else than two keys"),
    "other-keys": (lambda held: {"cars": [], "bicycles": []}, "['bicycles', 'cars'], expected"),
    "no-keys": (lambda held: {}, "has the keys [], expected"),
    "list-in-place-of-dict": (lambda held: held["pedestrians"], "is no dict"),
    "array-in-place-of-dict": (lambda held: held["pedestrians"][0], "is no dict"),
    "dict-in-place-of-list": (lambda held: held | {"pedestrians": {}}, "pedestrians_latents is not a list"),
    "same-array-twice": (lambda held: {key: held[key][-1:] * 5 for key in held}, "sequence 1", "uses bytes"),
    "numbers-as-keys": (lambda held: {1: held["pedestrians"], 2: []}, "two keys that are text"),
    "tuples-as-keys": (lambda held: {(1, 2): held["pedestrians"], (1, 3): []}, "two keys that are text"),
    "set": (lambda held: {1, 2}, "nothing"),
}


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("case", OTHER_CONTENT)
def test_refuses_other_content(tmp_path: Path, case: str, protocol: int) -> None:
    change, *expected = OTHER_CONTENT[case]
    expect_refused(save(tmp_path / "other.pickle", change(content()), protocol), *expected)


@pytest.mark.parametrize("data", [b"", b"\x80", b"PK\x03\x04" + bytes(99), b"\x80\x06}.", b"id,cat_id,t_0\r\n"])
def test_refuses_files_that_are_no_such_pickles(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.pickle"
    path.write_bytes(data)
    expect_refused(path, "does not begin as a pickle of protocol 3, 4 or 5")
    for protocol in (0, 1, 2):
        expect_refused(save(path, content(), protocol), "protocol 3, 4 or 5")


def test_a_changed_pixel_is_named_with_both_values(tmp_path: Path) -> None:
    held = content()
    held["pedestrians"][4][7, 30, 40] ^= True
    y, x, area = held["pedestrians_latents"][4][7]
    new = measure(held["pedestrians"][4][7:8])[0]
    expect_refused(
        save(tmp_path / "changed.pickle", held),
        "sequence 4, frame 7",
        f"({y:.9g}, {x:.9g}, {area:.9g})",
        f"({new[0]:.9g}, {new[1]:.9g}, {new[2]:.9g})",
    )
    held = content()
    held["pedestrians"][2][:] = np.arange(64)[:, None] == 0
    held["pedestrians_latents"][2][:] = -0.0, 31.5, 64
    expect_refused(save(tmp_path / "sign.pickle", held), "sequence 2, frame 0", "(-0, 31.5, 64)", "(0, 31.5, 64)")


def test_factors_of_a_verified_file_are_kept_with_a_warning(tmp_path: Path) -> None:
    held = content()
    held["pedestrians_latents"][1][5:9, 0] += 0.25
    path = save(tmp_path / "released.pickle", held)
    with pytest.warns(DatasetWarning, match="4 frames have .* the first in sequence 1, frame 5"):
        released = read_released(path, verified=True)
    expect_equal(released, held)
    held["pedestrians_latents"][1][5, 0] = np.inf
    with pytest.raises(ReleasedFileError, match="sequence 1, frame 5"):
        read_released(save(path, held), verified=True)


class Evil:
    """What a pickle can run when it is loaded."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.reduced = (call, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.reduced


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def name(module: str, attribute: str) -> bytes:
    return text(module) + text(attribute) + b"\x93"


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_runs_nothing_in_an_evil_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int) -> None:
    monkeypatch.chdir(tmp_path)
    marker = tmp_path / "marker"
    touch = "touch marker"
    code = "open('marker', 'w').close()"
    pickle.loads(pickle.dumps(Evil(os.system, touch), protocol=protocol))
    assert marker.exists(), "the file must be dangerous for this test to mean anything"
    marker.unlink()
    path = tmp_path / "evil.pickle"
    for evil in (Evil(os.system, touch), Evil(eval, code), Evil(exec, code), Evil(subprocess.call, touch)):
        for held in (evil, [evil], {"pedestrians": [evil], "x": 1}, content() | {"pedestrians": [evil]}):
            expect_refused(save(path, held, protocol), "asks for")
    handmade = [
        b"\x80\x03cos\nsystem\n" + text(touch[:60]) + b"\x85R.",
        b"\x80\x03cposix\nsystem\n" + text(touch[:60]) + b"\x85R.",
        b"\x80\x03cbuiltins\neval\n" + text(code[:60]) + b"\x85R.",
        b"\x80\x03(" + text(touch) + b"ios\nsystem\n.",
        b"\x80\x03(cos\nsystem\n" + text(touch) + b"o.",
        b"\x80\x03cos\nsystem\n" + text("true") + b"\x85\x81.",
        b"\x80\x04cos\nsystem\n" + text("true") + b"\x85}\x92.",
        b"\x80\x03Pmodule\n.",
        b"\x80\x03\x82\x01.",
        b"\x80\x04" + name("numpy", "ndarray") + text("x") + b"\x85R.",
        b"\x80\x04" + name("numpy", "dtype") + text("x") + b"\x85R.",
        b"\x80\x04" + name("numpy.core.multiarray", "_reconstruct") + text("x") + b"\x85R.",
        b"\x80\x04" + name("numpy.core.numeric", "_frombuffer") + text("x") + b"\x85R.",
        # What BUILD does to objects without __setstate__: set attributes, those of a class or a function too.
        b"\x80\x04" + name("numpy", "dtype") + b"N}(" + text("__call__") + b"N" + text("x") + b"Nu\x86b.",
        b"\x80\x04]N}(" + text("append") + b"N" + text("x") + b"Nu\x86b.",
    ]
    for data in handmade:
        path.write_bytes(data)
        expect_refused(path)
    names = [
        ("os", "system"),
        ("builtins", "exec"),
        ("numpy", "os.system"),
        ("numpy.testing._private.utils", "runstring"),
        ("numpy.core.multiarray", "_reconstruct.__globals__"),
        ("numpy.core", "multiarray._reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy", "load"),
        ("numpy", "ndarray.__reduce__"),
        ("_codecs", "encode"),
        ("copyreg", "_reconstructor"),
    ]
    for module, attribute in names:
        for form in (name(module, attribute), f"c{module}\n{attribute}\n".encode()):
            path.write_bytes(b"\x80\x04" + form + text("x") + b"\x85R.")
            expect_refused(path, f"asks for {module!r} {attribute!r}")
    assert not marker.exists()


def test_refuses_every_opcode_that_arrays_do_not_need(tmp_path: Path) -> None:
    path = tmp_path / "opcode.pickle"
    everything = [save(path, content(), protocol).read_bytes() for protocol in (3, 4, 5)]
    needed = {opcode.name for data in everything for opcode, *_ in pickletools.genops(data[2:])}
    beyond = {"EMPTY_TUPLE", "LONG_BINPUT", "LONG_BINGET", "BINBYTES", "APPEND", "BINUNICODE", "STACK_GLOBAL", "GLOBAL"}
    others = [opcode for opcode in pickletools.opcodes if opcode.name not in needed | beyond]
    assert len(others) > 30
    for opcode in others:
        path.write_bytes(b"\x80\x04N" + opcode.code.encode("latin-1") + b"\x01\n" * 8)
        expect_refused(path)


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
NEGATIVE = b"J\xff\xff\xff\xff"
BOOL = b"cnumpy\ndtype\n" + text("b1") + b"\x89\x88\x87R(K\x03" + text("|") + b"NNN" + NEGATIVE * 2 + b"K\x00tb"
FLOAT = BOOL.replace(b"b1", b"f4").replace(b"|", b"<")
SHAPE = b"K\x01K@K@\x87"
PIXELS = b"B\x00\x10\x00\x00" + b"\x01" * 4096
STATE = b"(K\x01" + SHAPE + BOOL + b"\x89" + PIXELS + b"tb"
BUFFER = b"cnumpy.core.numeric\n_frombuffer\n(" + PIXELS + BOOL + SHAPE
FACTORS = RECONSTRUCT + b"(K\x01K\x01K\x03\x86" + FLOAT + b"\x89C\x0c" + struct.pack("<3f", 31.5, 31.5, 4096) + b"tb"


def with_array(array: bytes) -> bytes:
    """A file of one sequence, whose mask is full and stands as `array`."""
    return two_lists(array + b"a", FACTORS + b"a")


def two_lists(masks: bytes, factors: bytes) -> bytes:
    return b"\x80\x05}(" + text("pedestrians") + b"]" + masks + text("pedestrians_latents") + b"]" + factors + b"u."


GOOD = {
    "reconstruct": RECONSTRUCT + STATE,
    "buffer": BUFFER + text("C") + b"tR",
    "axes": BUFFER + text("K") + b"K\x00K\x02K\x01\x87tR",
}
MALFORMED = {
    "no-content": RECONSTRUCT,
    "not-called": b"cnumpy\nndarray\n",
    "another-name": RECONSTRUCT.replace(b"_reconstruct", b"dtype") + STATE,
    "state-of-a-list": b"]" + STATE,
    "state-without-tuple": RECONSTRUCT + b"}b",
    "version": RECONSTRUCT + STATE.replace(b"(K\x01", b"(K\x02", 1),
    "order": RECONSTRUCT + STATE.replace(b"\x89B", b"NB"),
    "text-as-content": RECONSTRUCT + STATE.replace(PIXELS, text("a" * 9)),
    "dtype-without-order": RECONSTRUCT + STATE.replace(BOOL, BOOL[: BOOL.index(b"R(") + 1]),
    "dtype-of-numbers": RECONSTRUCT + STATE.replace(text("b1"), b"K\x01"),
    "dtype-version": RECONSTRUCT + STATE.replace(b"(K\x03", b"(K\x04"),
    "no-dtype": RECONSTRUCT + STATE.replace(BOOL, b"N"),
    "true-side": RECONSTRUCT + STATE.replace(SHAPE, b"\x88K@K@\x87"),
    "negative-side": RECONSTRUCT + STATE.replace(SHAPE, NEGATIVE + b"K@K@\x87"),
    "text-side": RECONSTRUCT + STATE.replace(SHAPE, text("1") + b"K@K@\x87"),
    "too-many-sides": RECONSTRUCT + STATE.replace(SHAPE, b"(" + b"K\x01" * 40 + b"K@K@t"),
    "too-short": RECONSTRUCT + STATE.replace(SHAPE, b"K\x02K@K@\x87"),
    "enormous": RECONSTRUCT + STATE.replace(SHAPE, b"J\xff\xff\xff\x7f" * 3 + b"\x87"),
    "no-frames": RECONSTRUCT + STATE.replace(SHAPE, b"K\x00K@K@\x87").replace(PIXELS, b"C\x00"),
    "buffer-order": BUFFER + text("A") + b"tR",
    "axes-of-another-shape": BUFFER + text("K") + b"K\x00K\x01\x86tR",
    "axes-twice": BUFFER + text("K") + b"K\x00K\x01K\x01\x87tR",
    "axes-of-text": BUFFER + text("K") + b"K\x00K\x01" + text("2") + b"\x87tR",
}


@pytest.mark.parametrize("case", MALFORMED)
def test_refuses_malformed_arrays(tmp_path: Path, case: str) -> None:
    path = tmp_path / "malformed.pickle"
    path.write_bytes(with_array(MALFORMED[case]))
    expect_refused(path)


@pytest.mark.parametrize("case", GOOD)
def test_the_parts_of_the_malformed_arrays_are_good(tmp_path: Path, case: str) -> None:
    path = tmp_path / "array.pickle"
    path.write_bytes(with_array(GOOD[case]))
    assert read_released(path).frames.tolist() == [[255] * 512]
    path.write_bytes(with_array(GOOD[case]) + b"}.")
    expect_refused(path, f"byte {path.stat().st_size - 2}", "something follows")


def padded(body: bytes) -> bytes:
    """Bytes that make room for as many opcodes, and the end."""
    return body + b"B" + struct.pack("<I", 32 * len(body)) + bytes(32 * len(body)) + b"."


def bombs() -> dict[str, bytes]:
    """Files that ask for far more memory or time than their size, in every way that the format offers."""
    huge = struct.pack("<Q", 2**62)
    laughs = b"()q\x00" + b"h\x00h\x00\x86q\x00" * 100 + b"t"
    many = 1000
    wide = "\N{GRINNING FACE}".encode() + bytes(2**20)
    puts = b"".join(b"]r" + struct.pack("<I", i) for i in range(many // 4))
    array = RECONSTRUCT + b"(K\x01M\x00\x01K@K@\x87" + BOOL
    shared = array + b"\x89B" + struct.pack("<I", 2**20) + b"\x01" * 2**20 + b"q\x00tb"
    factors = FACTORS.replace(b"(K\x01K\x01", b"(K\x01M\x00\x01").replace(b"C\x0c", b"B\x00\x0c\x00\x00")
    factors = factors[:-14] + factors[-14:-2] * 256 + b"tb"
    return {
        "bytes": b"\x8e" + huge,
        "bytearray": b"\x96" + huge,
        "short-file": b"B\xff\xff\xff\xff",
        "text": b"\x8d" + huge,
        "wide-text": b"X" + struct.pack("<I", len(wide)) + wide + b".",
        "name": b"c" + b"n" * 2**20,
        "string": b"S'" + b"\\x00" * 2**20,
        "integer": b"I" + b"9" * 2**20 + b"\n.",
        "long": b"\x8b" + struct.pack("<I", 2**20) + b"\x7f" * 2**20 + b".",
        "frame": b"\x95" + huge + b"}.",
        "memo": b"}r\xff\xff\xff\xffj\xff\xff\xff\xfes.",
        "memo-close": b"}r\x00\x00\x00\x01.",
        "memo-overwritten": padded(b"]q\x00" * many),
        "memo-full": padded(puts),
        "lists": b"]" * 2**18,
        "dicts": padded(b"}" * many),
        "marks": padded(b"(" * many),
        "tuples": padded(b")" + b"\x85" * many),
        "calls": padded(b"cnumpy\ndtype\nq\x00" + b"h\x00)R" * many),
        "laughs-as-keys": padded(b"}(" + laughs + b"N" + laughs + b"Nu"),
        "laughs-as-key": b"}" + laughs + b"Ns.",
        "laughs-as-arguments": padded(b"cnumpy\ndtype\n" + laughs + b"R"),
        "laughs-as-shape": with_array(RECONSTRUCT + STATE.replace(SHAPE, laughs))[2:],
        "shared-bytes": two_lists(b"(" + shared + (array + b"\x89h\x00tb") * 90 + b"e", b"(" + factors * 91 + b"e")[2:],
    }


@pytest.mark.parametrize("case", bombs())
def test_memory_and_time_are_bounded(tmp_path: Path, case: str) -> None:
    path = tmp_path / "bomb.pickle"
    path.write_bytes(b"\x80\x05" + bombs()[case])
    tracemalloc.start()
    try:
        expect_refused(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * path.stat().st_size + 2**20
    finally:
        tracemalloc.stop()


DEEP = 20_000
NESTS = {
    "tuples-as-key": b"}(" + b")" + b"\x85" * DEEP + b"N" + text("x") + b"Nu",
    "lists-in-lists": b"]" * DEEP + b"a" * (DEEP - 1),
    "tuples-in-tuples": b")" + b"\x85" * DEEP,
    "tuples-as-arguments": b"cnumpy\ndtype\n)" + b"\x85" * DEEP + b"R",
    "states-in-states": b"cnumpy\ndtype\nq\x00" + b"h\x00)R" * (DEEP // 2) + b"b" * (DEEP // 2 - 1),
}


@pytest.mark.parametrize("case", NESTS)
def test_deep_nests_crash_nothing(tmp_path: Path, case: str) -> None:
    path = tmp_path / "nest.pickle"
    path.write_bytes(b"\x80\x05" + padded(NESTS[case]))
    expect_refused(path)


def structure(data: bytes) -> np.ndarray:
    """Positions of all bytes that are not the content of an array."""
    inside = np.zeros(len(data), np.bool_)
    for (_, argument, _), (_, _, end) in pairwise(pickletools.genops(data)):
        if isinstance(argument, bytes | bytearray) and len(argument) > 8:
            inside[end - len(argument) : end] = True
    return np.flatnonzero(~inside)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_refuses_every_truncation(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "short.pickle"
    data = as_numpy_1_19(pickle.dumps(content((1, 2)), protocol=protocol))
    for length in structure(data)[::3].tolist():
        path.write_bytes(data[:length])
        expect_refused(path)


def corrupt(data: bytes, places: np.ndarray, rng: np.random.Generator) -> bytes:
    """Damage a file at one place, in one of six ways."""
    at = int(rng.choice(places))
    length = int(2 ** rng.uniform(0, 12))
    match rng.integers(6):
        case 0:
            return data[:at] + bytes([data[at] ^ 1 << rng.integers(8)]) + data[at + 1 :]
        case 1:
            return data[:at] + rng.bytes(length) + data[at + length :]
        case 2:
            return data[:at] + data[at + length :]
        case 3:
            return data[:at] + rng.bytes(length) + data[at:]
        case 4:
            return data[:at]
        case _:
            first, second = sorted((at, int(rng.integers(len(data)))))
            length = min(length, second - first, len(data) - second)
            blocks = data[second : second + length], data[first + length : second], data[first : first + length]
            return data[:first] + b"".join(blocks) + data[second + length :]


@pytest.mark.parametrize(
    ("protocol", "times"),
    [(3, 150), (4, 150), *(pytest.param(protocol, 5000, marks=pytest.mark.slow) for protocol in (3, 4))],
)
def test_damage_is_refused_or_changes_nothing(tmp_path: Path, protocol: int, times: int) -> None:
    held = content((1, 22))
    data = as_numpy_1_19(pickle.dumps(held, protocol=protocol))
    rng = np.random.default_rng(protocol)
    anywhere, key_places = np.arange(len(data)), structure(data)
    path = tmp_path / "damaged.pickle"
    refused = 0
    for i in range(times):
        path.write_bytes(corrupt(data, key_places if i % 2 else anywhere, rng))
        try:
            released = read_released(path)
        except ReleasedFileError:
            refused += 1
        else:
            expect_equal(released, held)
    assert 0.8 * times < refused < times


def pack(held: dict[str, list[Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    masks = held["pedestrians"]
    frames = np.packbits(np.concatenate(masks).reshape(-1, 4096), axis=1)
    start = np.cumsum([0, *(len(array) for array in masks)])
    return frames, np.concatenate(held["pedestrians_latents"]), start


@pytest.mark.parametrize(
    "lengths", [LENGTHS, (300,), (1,) * 1000, (1,) * 1001, (1, 2) * 1000], ids=["few", "one", "1000", "1001", "2000"]
)
def test_writes_the_bytes_that_numpy_1_19_writes(tmp_path: Path, lengths: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    masks = [np.ascontiguousarray(rng.random((length, 64, 64)) < 0.5) for length in lengths]
    held = {"pedestrians": masks, "pedestrians_latents": [rng.random((len(m), 3), np.float32) for m in masks]}
    write_released(tmp_path / "new.pickle", *pack(held))
    assert (tmp_path / "new.pickle").read_bytes() == as_numpy_1_19(pickle.dumps(held, protocol=3))


def test_the_bytes_that_are_written_stay_the_same(tmp_path: Path) -> None:
    frames = (np.arange(1100 * 512, dtype=np.uint64) * 2654435761 >> 13).astype(np.uint8).reshape(1100, 512)
    factors = (np.arange(3300, dtype=np.float32) / 7).reshape(1100, 3)
    start = np.concatenate([np.arange(1050), [1070, 1100]])
    write_released(tmp_path / "new.pickle", frames, factors, start)
    digest = hashlib.sha256((tmp_path / "new.pickle").read_bytes()).hexdigest()
    assert digest == "b2fc01485731f616cc8b824d6da82d07ff647c34f060a51f6771f3cbaa3f61d2"


def test_existing_code_reads_what_is_written(tmp_path: Path) -> None:
    held = content()
    path = tmp_path / "new.pickle"
    write_released(path, *pack(held))
    with path.open("rb") as file:
        loaded = pickle.load(file)
    for read in (loaded, np.load(path, allow_pickle=True)):
        assert list(read) == ["pedestrians", "pedestrians_latents"]
        for key, dtype in (("pedestrians", np.bool_), ("pedestrians_latents", np.float32)):
            assert all(array.dtype == dtype for array in read[key])
            assert all(map(np.array_equal, read[key], held[key]))
    expect_equal(read_released(path), held)
    with pytest.raises(StoreExistsError, match="exists already"):
        write_released(path, *pack(content((1,))))
    expect_equal(read_released(path), held)
    assert [entry.name for entry in tmp_path.iterdir()] == ["new.pickle"]


@pytest.mark.parametrize("start", [[0], [0, 44], [1, 45], [0, 20, 20, 45], [0, 30, 20, 45]])
def test_refuses_to_write_rows_that_are_no_sequences(tmp_path: Path, start: list[int]) -> None:
    frames, factors, _ = pack(content())
    with pytest.raises(OptionError, match="start must rise from 0 to 45"):
        write_released(tmp_path / "new.pickle", frames, factors, np.array(start))
    assert list(tmp_path.iterdir()) == []
