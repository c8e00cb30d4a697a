"""The released file of KITTI Masks: read inertly, refused clearly when it is anything else, written byte for byte."""

from __future__ import annotations

import json
import os
import pickle
import pickletools
import struct
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from kittimasks.inert_pickle import MAX_OPCODES, read_arrays
from kittimasks.release import ReleasedMasks, read_released, write_released
from temporalpairs.errors import DatasetWarning, OptionError, ReleasedFileError, StoreExistsError

REFERENCE = Path(__file__).parents[2] / "shared" / "reference" / "kitti_masks_0000-0016.npz"
LENGTHS = (2, 17, 1, 3, 22)  # from 16 on, protocol 4 writes masks outside its frames; 22 factors exceed 255 bytes

NEEDED_OPCODES = """
    PROTO FRAME STOP MARK EMPTY_DICT EMPTY_LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 APPEND APPENDS SETITEM SETITEMS
    SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8 BININT BININT1 BININT2 LONG1
    NONE NEWTRUE NEWFALSE GLOBAL STACK_GLOBAL REDUCE BUILD BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET
"""


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
    for part in (str(path), *parts):
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


def test_reads_dtype_arguments_of_older_numpy(tmp_path: Path) -> None:
    held = content()
    data = as_numpy_1_19(pickle.dumps(held, protocol=3))
    assert data.count(b"\x89\x88\x87") == 2
    path = tmp_path / "released.pickle"
    path.write_bytes(data.replace(b"\x89\x88\x87", b"K\x00K\x01\x87"))
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


def set_nan(factors: np.ndarray) -> np.ndarray:
    changed = factors.copy()
    changed[1, 1] = np.nan
    return changed


OTHER_CONTENT = {
    "masks-dtype": (
        with_masks(lambda m: m.astype(np.uint8)),
        "sequence 3",
        "pedestrians has dtype uint8, expected bool",
    ),
    "masks-shape": (with_masks(lambda m: m[:, :32]), "sequence 3", "shape [3, 32, 64], expected [T, 64, 64]"),
    "masks-flat": (with_masks(lambda m: m.reshape(3, 4096)), "sequence 3", "shape [3, 4096], expected [T, 64, 64]"),
    "masks-none": (with_masks(lambda m: m[:0]), "sequence 3", "shape [0, 64, 64], expected [T, 64, 64]"),
    "masks-bytes": (with_masks(lambda m: (m * np.uint8(2)).view(np.bool_)), "sequence 3", "bytes other than 0 and 1"),
    "masks-list": (with_masks(lambda m: [1, 2]), "sequence 3", "type list, expected an array"),
    "masks-number": (with_masks(lambda m: 7), "sequence 3", "type int, expected an array"),
    "masks-empty": (
        with_masks(lambda m: m & False),
        "sequence 3, frame 0",
        "has (y, x, area) = (nan, nan, 0)",
    ),
    "factors-dtype": (with_factors(lambda f: f.astype(np.float64)), "sequence 3", "dtype float64, expected float32"),
    "factors-shape": (with_factors(lambda f: f[:, :2]), "sequence 3", "shape [3, 2], expected [T, 3]"),
    "factors-scalar": (with_factors(lambda f: np.array(1, "f4")), "sequence 3", "shape [], expected [T, 3]"),
    "factors-length": (
        with_factors(lambda f: f[:2]),
        "sequence 3",
        "2 rows, expected one for each of the 3 frames",
    ),
    "factors-nan": (with_factors(set_nan), "sequence 3, frame 1", "nan", "expected finite numbers"),
    "factors-ulp": (with_factors(lambda f: np.nextafter(f, np.float32(99))), "sequence 3, frame 0", "its mask has"),
    "objects": (with_masks(lambda m: np.array([None, {}], object)), "dtype 'O8'"),
    "structured": (with_masks(lambda m: np.zeros(2, [("a", "f4"), ("b", "i8")])), "dtype 'V12'"),
    "complex": (with_factors(lambda f: f.astype(np.complex64)), "dtype 'c8'"),
    "text-array": (with_factors(lambda f: np.array(["a", "b"])), "dtype 'U1'"),
    "dates": (with_factors(lambda f: np.array(["2020-01-01"], "M8[D]")), "dtype 'M8'"),
    "big-endian": (with_factors(lambda f: f.astype(">f4")), "big-endian"),
    "subclass": (with_factors(lambda f: f.view(np.recarray)), "asks for", "'recarray'"),
    "masked": (with_factors(lambda f: np.ma.masked_array(f)), "asks for 'numpy.ma"),
    "scalar": (with_factors(lambda f: f[0, 0]), "asks for", "'scalar'"),
    "float": (with_factors(lambda f: 1.5), "BINFLOAT"),
    "unequal": (
        lambda held: held | {"pedestrians": held["pedestrians"][:4]},
        "4 pedestrians but 5 pedestrians_l",
    ),
    "empty": (lambda held: {key: [] for key in held}, "at least one sequence"),
    "missing-key": (lambda held: {"pedestrians": held["pedestrians"]}, "has the keys ['pedestrians'], expected"),
    "other-key": (lambda held: held | {"cars": []}, "'cars'"),
    "no-keys": (lambda held: {}, "has the keys [], expected"),
    "list-in-place-of-dict": (lambda held: held["pedestrians"], "type list, expected a dict"),
    "array-in-place-of-dict": (lambda held: held["pedestrians"][0], "expected a dict"),
    "dict-in-place-of-list": (lambda held: held | {"pedestrians": {}}, "pedestrians is a value of type dict"),
    "tuple-in-place-of-list": (lambda held: held | {"pedestrians": (1, 2)}, "type tuple"),
    "same-array-twice": (lambda held: held | {"pedestrians": held["pedestrians"][:1] * 5}, "a second time"),
    "number-as-key": (lambda held: {1: held["pedestrians"]}, "a key is a value of type int"),
    "tuple-as-key": (lambda held: {(1, 2): held["pedestrians"]}, "a key is a value of type tuple"),
    "accents": (lambda held: {"pédestriens": held["pedestrians"]}, "not ASCII"),
    "set": (lambda held: {1, 2}, "byte "),
}


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("case", OTHER_CONTENT)
def test_refuses_other_content(tmp_path: Path, case: str, protocol: int) -> None:
    change, *expected = OTHER_CONTENT[case]
    expect_refused(save(tmp_path / "other.pickle", change(content()), protocol), *expected)


def test_refuses_a_key_that_occurs_twice(tmp_path: Path) -> None:
    path = tmp_path / "twice.pickle"
    path.write_bytes(b"\x80\x03}(X\x01\x00\x00\x00aNX\x01\x00\x00\x00aNu.")
    expect_refused(path, "byte 18", "'a' occurs twice")


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_refuses_older_protocols(tmp_path: Path, protocol: int) -> None:
    expect_refused(save(tmp_path / "old.pickle", content(), protocol), "protocol", "3, 4 or 5")


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


def test_factors_are_compared_to_the_bit(tmp_path: Path) -> None:
    held = content()
    held["pedestrians"][2][:] = np.arange(64)[:, None] == 0
    held["pedestrians_latents"][2][:] = -0.0, 31.5, 64
    expect_refused(save(tmp_path / "sign.pickle", held), "sequence 2, frame 0", "(-0, 31.5, 64)", "(0, 31.5, 64)")


def test_factors_of_a_verified_file_are_kept_with_a_warning(tmp_path: Path) -> None:
    held = content()
    held["pedestrians_latents"][1][5:9, 0] += 0.25
    path = save(tmp_path / "released.pickle", held)
    with pytest.warns(DatasetWarning, match="4 of 45 frames .* the first in sequence 1, frame 5"):
        released = read_released(path, verified=True)
    expect_equal(released, held)


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
def test_runs_nothing_in_an_evil_file(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "marker"
    touch = f"touch '{marker}'"
    code = f"open({str(marker)!r}, 'w').close()"
    pickle.loads(pickle.dumps(Evil(os.system, touch), protocol=protocol))
    assert marker.exists(), "the file must be dangerous for this test to mean anything"
    marker.unlink()
    path = tmp_path / "evil.pickle"
    for evil in (Evil(os.system, touch), Evil(eval, code), Evil(exec, code), Evil(subprocess.call, touch)):
        for held in (evil, [evil], {"pedestrians": [evil]}, content() | {"pedestrians": [evil]}):
            expect_refused(save(path, held, protocol), "asks for", "nothing in it was executed")
    handmade = [
        b"\x80\x03cos\nsystem\n" + text(touch) + b"\x85R.",
        b"\x80\x03cposix\nsystem\n" + text(touch) + b"\x85R.",
        b"\x80\x03cbuiltins\neval\n" + text(code) + b"\x85R.",
        b"\x80\x03(" + text(touch) + b"ios\nsystem\n.",
        b"\x80\x03(cos\nsystem\n" + text(touch) + b"o.",
        b"\x80\x03cos\nsystem\n" + text(touch) + b"\x85\x81.",
        b"\x80\x04cos\nsystem\n" + text(touch) + b"\x85}\x92.",
        b"\x80\x03Pmodule\n.",
        b"\x80\x03\x82\x01.",
        b"\x80\x04" + name("numpy", "ndarray") + text("x") + b"\x85R.",
        b"\x80\x04" + name("numpy", "dtype") + text("x") + b"\x85R.",
        b"\x80\x04" + name("numpy.core.multiarray", "_reconstruct") + text("x") + b"\x85R.",
        b"\x80\x04" + name("numpy.core.numeric", "_frombuffer") + text("x") + b"\x85R.",
    ]
    for data in handmade:
        path.write_bytes(data)
        expect_refused(path, "byte ", "nothing in it was executed")
    names = [
        ("os", "system"),
        ("builtins", "exec"),
        ("numpy", "os.system"),
        ("numpy.testing._private.utils", "runstring"),
        ("numpy.core.multiarray", "_reconstruct.__globals__"),
        ("numpy.core", "multiarray._reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy", "load"),
        ("numpy", "core"),
        ("numpy", "ndarray.__reduce__"),
        ("_codecs", "encode"),
        ("copyreg", "_reconstructor"),
    ]
    for module, attribute in names:
        for form in (name(module, attribute), f"c{module}\n{attribute}\n".encode()):
            path.write_bytes(b"\x80\x04" + form + text(touch) + b"\x85R.")
            expect_refused(path, f"asks for {module!r} {attribute!r}", "nothing in it was executed")
    assert not marker.exists()


def test_refuses_every_opcode_that_arrays_do_not_need(tmp_path: Path) -> None:
    path = tmp_path / "opcode.pickle"
    needed = NEEDED_OPCODES.split()
    others = [opcode for opcode in pickletools.opcodes if opcode.name not in needed]
    assert len(others) == len(pickletools.opcodes) - len(needed)
    for opcode in [*others, next(opcode for opcode in pickletools.opcodes if opcode.name == "PROTO")]:
        path.write_bytes(b"\x80\x04N" + opcode.code.encode("latin-1") + b"\x01\n" * 8)
        expect_refused(path, "byte 3", opcode.name)
    path.write_bytes(b"\x80\x04\xff.")
    expect_refused(path, "byte 2", "0xff")


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
BOOL_NAME = b"cnumpy\ndtype\n" + text("b1") + b"\x89\x88\x87R"
BOOL = BOOL_NAME + b"(K\x03" + text("|") + b"NNN" + b"J\xff\xff\xff\xff" * 2 + b"K\x00tb"
ARRAY = RECONSTRUCT + b"(K\x01"
BUFFER = b"cnumpy.core.numeric\n_frombuffer\n(C\x01\x00" + BOOL + b"K\x01\x85"
NEGATIVE = b"J\xff\xff\xff\xff"

HEADERS = {
    b"": "start needs 1 bytes, and 0 are left",
    b"\x80\x03": "the next opcode needs 1 bytes, and 0 are left",
    b"PK\x03\x04" + bytes(99): "does not begin as a pickle",
    b"\x80\x06}.": "pickle protocol 6, expected 3, 4 or 5",
}
MALFORMED = {
    "bare-stop": (b".", "STOP with an unfinished object"),
    "two-objects": (b"}}.", "STOP with an unfinished object"),
    "open-mark": (b"}(.", "STOP with an unfinished object"),
    "pop-through-mark": (b"]N(a.", "APPEND finds nothing on the stack"),
    "no-mark": (b"}u.", "SETITEMS without a mark"),
    "odd-pairs": (b"}(Nu.", "SETITEMS of 1 items"),
    "append-to-dict": (b"}Na.", "APPEND to a value of type dict, expected a list"),
    "items-to-list": (b"]NNs.", "SETITEM of 2 items to a value of type list"),
    "unset-memo": (b"h\x07.", "BINGET of memo 7, which is not set"),
    "put-of-nothing": (b"q\x00.", "BINPUT finds nothing on the stack"),
    "trailing": (b"}.}", "1 bytes follow after STOP"),
    "second-protocol": (b"\x80\x03}.", "PROTO is no opcode that arrays of numbers need"),
    "frame-past-the-end": (b"\x95\x03" + bytes(7) + b"}.", "FRAME of 3 bytes, and 2 are left"),
    "frame-straddled": (
        b"\x95\x03" + bytes(7) + b"X\x01\0\0\0a.",
        "runs past the end of its frame at byte 14",
    ),
    "frame-in-frame": (b"\x95\x0b" + bytes(7) + b"\x95\x02" + bytes(7) + b"}.", "FRAME begins inside another frame"),
    "stop-before-frame-ends": (b"\x95\x03" + bytes(7) + b"}.}", "STOP before the end of its frame at byte 14"),
    "name-without-end": (b"c" + b"n" * 300, "GLOBAL without the end of a line within 128 bytes"),
    "name-of-numbers": (b"K\x01K\x02\x93.", "a name made of a value of type int and a value of type int"),
    "long-integer": (b"\x8a\x09" + bytes(9) + b".", "an integer of 9 bytes, expected at most 8"),
    "call-of-a-number": (b"K\x01)R.", "a call of a value of type int"),
    "call-of-ndarray": (b"cnumpy\nndarray\nK\x02\x85R.", "a call of numpy.ndarray"),
    "call-without-tuple": (b"cnumpy\ndtype\n]R.", "a call with a value of type list, expected a tuple"),
    "build-of-a-list": (b"])b.", "BUILD of a value of type list"),
    "build-without-tuple": (RECONSTRUCT + b"}b.", "BUILD with a value of type dict"),
    "reconstruct-a-dtype": (RECONSTRUCT.replace(b"ndarray", b"dtype"), "arguments of _reconstruct"),
    "reconstruct-with-a-list": (RECONSTRUCT.replace(b"K\x00\x85", b"]K\x00a"), "arguments of _reconstruct"),
    "reconstruct-with-a-size": (RECONSTRUCT.replace(b"K\x00", b"K\x01"), "arguments of _reconstruct"),
    "reconstruct-another-kind": (RECONSTRUCT.replace(b"C\x01b", b"C\x01O"), "arguments of _reconstruct"),
    "reconstruct-a-long-kind": (RECONSTRUCT.replace(b"C\x01b", b"C\x02bb"), "arguments of _reconstruct"),
    "array-without-content": (
        b"]" + RECONSTRUCT + b"a.",
        "APPEND keeps a value of type array",
    ),
    "array-alone-without-content": (RECONSTRUCT + b".", "STOP keeps a value of type array"),
    "dtype-as-content": (b"]" + BOOL + b"a.", "APPEND keeps a value of type dtype"),
    "bytes-as-content": (b"]C\x01xa.", "APPEND keeps a value of type bytes"),
    "name-as-content": (b"cnumpy\nndarray\n.", "STOP keeps numpy.ndarray"),
    "dtype-align": (BOOL.replace(b"\x89\x88", b"\x88\x88"), "arguments of numpy.dtype that NumPy does not write"),
    "dtype-without-order": (ARRAY + b"K\x01\x85" + BOOL_NAME + b"\x89C\x01\x00tb.", "shape or dtype is incomplete"),
    "dtype-flags": (BOOL.replace(b"K\x00tb", b"K\x3ftb"), "a state of dtype bool that NumPy does not write"),
    "dtype-size": (BOOL.replace(NEGATIVE * 2, NEGATIVE + b"K\x08"), "a state of dtype bool that NumPy does not write"),
    "dtype-version": (BOOL.replace(b"(K\x03", b"(K\x04"), "a state of dtype bool that NumPy does not write"),
    "dtype-with-fields": (BOOL.replace(b"NNN", b"N)}"), "a state of dtype bool that NumPy does not write"),
    "dtype-order": (BOOL.replace(b"|", b"<"), "a state of dtype bool that NumPy does not write"),
    "dtype-twice": (BOOL + b")b.", "BUILD of a value of type dtype"),
    "array-version": (ARRAY[:-1] + b"\x02K\x01\x85" + BOOL + b"\x89C\x01\x00tb.", "a state of an array"),
    "array-order": (ARRAY + b"K\x01\x85" + BOOL + b"NC\x01\x00tb.", "a state of an array"),
    "array-of-text": (ARRAY + b"K\x01\x85" + BOOL + b"\x89" + text("a") + b"tb.", "a state of an array"),
    "array-with-true-side": (ARRAY + b"\x88\x85" + BOOL + b"\x89C\x01\x00tb.", "shape or dtype is incomplete"),
    "array-with-negative-sides": (ARRAY + NEGATIVE * 2 + b"\x86" + BOOL + b"\x89C\x01\x00tb.", "shape or dtype"),
    "array-too-short": (ARRAY + b"K\x02\x85" + BOOL + b"\x89C\x01\x00tb.", "an array of 1 bytes, where its shape"),
    "array-too-long": (
        ARRAY + b"K\x02\x85" + BOOL + b"\x89C\x03\x00\x00\x00tb.",
        "an array of 3 bytes, where",
    ),
    "array-too-deep": (ARRAY + b"(" + b"K\x01" * 40 + b"t" + BOOL + b"\x89C\x01\x00tb.", "an array of 40 dimensions"),
    "buffer-order": (BUFFER + text("A") + b"tR.", "arguments of _frombuffer"),
    "buffer-axes": (BUFFER + text("K") + b"K\x01\x85tR.", "arguments of _frombuffer"),
    "buffer-axes-of-another-shape": (BUFFER + text("K") + b"K\x00K\x01\x86tR.", "arguments of _frombuffer"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_refuses_malformed_files(tmp_path: Path, case: str) -> None:
    body, expected = MALFORMED[case]
    path = tmp_path / "malformed.pickle"
    path.write_bytes(b"\x80\x05" + body)
    with pytest.raises(ReleasedFileError, match=r", byte \d+: ") as caught:
        read_arrays(path, lambda array: array)
    assert expected in str(caught.value)


@pytest.mark.parametrize("data", HEADERS)
def test_refuses_files_that_are_no_such_pickles(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.pickle"
    path.write_bytes(data)
    expect_refused(path, HEADERS[data])


def test_the_parts_of_the_malformed_arrays_are_good(tmp_path: Path) -> None:
    path = tmp_path / "array.pickle"
    array = ARRAY + b"K\x01K\x02\x86" + BOOL + b"\x89C\x02\x01\x00tb"
    path.write_bytes(b"\x80\x05]" + array + b"a" + BUFFER + text("K") + b"K\x00\x85tRa.")
    read = read_arrays(path, lambda array: array.tolist())
    assert read == [[[True, False]], [False]]


def structure(data: bytes) -> np.ndarray:
    """Positions of all bytes that are not the content of an array."""
    inside = np.zeros(len(data), np.bool_)
    for (_, argument, _), (_, _, end) in pairwise(pickletools.genops(data)):
        if isinstance(argument, bytes | bytearray) and len(argument) > 8:
            inside[end - len(argument) : end] = True
    return np.flatnonzero(~inside)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_refuses_every_truncation(tmp_path: Path, protocol: int) -> None:
    data = as_numpy_1_19(pickle.dumps(content(), protocol=protocol))
    path = tmp_path / "short.pickle"
    anywhere = np.random.default_rng(1).integers(0, len(data), 200)
    for length in np.concatenate([structure(data), anywhere]).tolist():
        path.write_bytes(data[:length])
        expect_refused(path, "byte ")


def oversized() -> dict[str, tuple[bytes, str]]:
    """Files that ask for far more memory than they hold, in every way that the format offers, and their errors."""
    huge = struct.pack("<Q", 2**62)
    laughs = b"()q\x00" + b"h\x00h\x00\x86q\x00" * 100 + b"t"
    nested = b")" + b"\x85" * 10**6
    payload = b"B" + struct.pack("<I", 2**23) + bytes(2**23) + b"q\x09"
    side = struct.pack("<cI", b"J", 2**23) + b"\x85"
    large = b"\x8a\x08" + struct.pack("<q", 2**40)
    content = BOOL + b"\x89C\x01\x00tb."
    return {
        "bytes": (b"\x8e" + huge, "BINBYTES8 needs 4,611,686,018,427,387,904 bytes"),
        "bytearray": (b"\x96" + huge, "BYTEARRAY8 needs 4,611,686,018,427,387,904 bytes"),
        "text": (b"\x8d" + huge, "BINUNICODE8 of 4,611,686,018,427,387,904 bytes"),
        "long-text": (b"X" + struct.pack("<I", 2**26) + bytes(2**26), "BINUNICODE of 67,108,864 bytes"),
        "frame": (b"\x95" + huge + b"}.", "FRAME of 4,611,686,018,427,387,904 bytes"),
        "memo": (b"}r\xff\xff\xff\xffj\xff\xff\xff\xfes.", "LONG_BINGET of memo 4278190079"),
        "integer": (b"\x8a\xff" + b"\x7f" * 255 + b".", "an integer of 255 bytes"),
        "shape": (ARRAY + large + b"\x85" + content, "need 1,099,511,627,776"),
        "empty-shape": (ARRAY + large + b"K\x00\x86" + BOOL + b"\x89C\x00tb.", "an array of shape [1099511627776, 0]"),
        "shape-product": (ARRAY + b"(" + large * 32 + b"t" + content, "an array of 1 bytes"),
        "shared-bytes": (b"](" + payload + (ARRAY + side + BOOL + b"\x89h\x09tb") * 99, "in several arrays"),
        "laughs-as-item": (b"]" + laughs + b"a.", "APPEND keeps a value of type tuple"),
        "laughs-as-key": (b"}" + laughs + b"Ns.", "a key is a value of type tuple"),
        "laughs-as-arguments": (b"cnumpy\ndtype\n" + laughs + b"R.", "arguments of numpy.dtype"),
        "laughs-as-shape": (ARRAY + laughs + content, "an array of 101 dimensions"),
        "nested-tuples-as-key": (b"}" + nested + b"Ns.", "a key is a value of type tuple"),
        "nested-tuples-as-state": (RECONSTRUCT + nested + b"b.", "a state of an array"),
        "nested-lists": (b"]" * 10**6 + b"a" * (10**6 - 1) + b".", "holds a value of type list"),
        "lists": (b"]\x94" * MAX_OPCODES, f"more than {MAX_OPCODES:,} opcodes"),
    }


READ_IN_LITTLE_MEMORY = """
import json, pathlib, resource, sys
from kittimasks.release import read_released
from temporalpairs.errors import ReleasedFileError

pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 512 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
found = {}
for name in sys.argv[1:]:
    try:
        read_released(pathlib.Path(name))
    except ReleasedFileError as error:
        found[name] = str(error)
print(json.dumps(found))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads its memory from /proc")
def test_memory_is_bounded(tmp_path: Path) -> None:
    cases = oversized()
    for name, (body, _) in cases.items():
        (tmp_path / name).write_bytes(b"\x80\x05" + body)
    with (tmp_path / "sparse").open("wb") as file:
        shape = struct.pack("<cI", b"J", 2**20) + b"K@K@\x87"
        file.write(b"\x80\x05" + ARRAY + shape + BOOL + b"\x89\x8e" + struct.pack("<Q", 2**32))
        file.seek(2**32, os.SEEK_CUR)
        file.write(b"tb.")
    cases["sparse"] = (b"", "an array of shape [1048576, 64, 64], expected at most")
    command = [sys.executable, "-c", READ_IN_LITTLE_MEMORY, *cases]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found.keys() == cases.keys()
    for name, (_, expected) in cases.items():
        assert expected in found[name]
        assert len(found[name]) < 1500


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


@pytest.mark.parametrize("protocol", [3, 4])
def test_damage_is_refused_or_changes_nothing(tmp_path: Path, protocol: int) -> None:
    held = content((1, 22))
    data = as_numpy_1_19(pickle.dumps(held, protocol=protocol))
    rng = np.random.default_rng(protocol)
    anywhere, key_places = np.arange(len(data)), structure(data)
    path = tmp_path / "damaged.pickle"
    refused = identical = 0
    for i in range(5000):
        damaged = corrupt(data, key_places if i % 2 else anywhere, rng)
        path.write_bytes(damaged)
        try:
            released = read_released(path)
        except ReleasedFileError:
            refused += 1
        else:
            expect_equal(released, held)
            identical += 1
    assert refused + identical == 5000
    assert refused > 4000
    print(f"protocol {protocol}: {refused} refused, {identical} read as they were")


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
    assert [entry.name for entry in tmp_path.iterdir()] == ["new.pickle"]


def test_an_existing_file_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.pickle"
    path.write_bytes(b"mine")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: pytest.fail("wrote in vain"))
        with pytest.raises(StoreExistsError, match="exists already"):
            write_released(path, *pack(content()))
    assert path.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_released(tmp_path / "new.pickle", *pack(content()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("start", [[0], [0, 44], [1, 45], [0, 20, 20, 45], [0, 30, 20, 45]])
def test_refuses_to_write_rows_that_are_no_sequences(tmp_path: Path, start: list[int]) -> None:
    frames, factors, _ = pack(content())
    with pytest.raises(OptionError, match="start must rise from 0 to 45"):
        write_released(tmp_path / "new.pickle", frames, factors, np.array(start))
    assert list(tmp_path.iterdir()) == []
