"""Instance PNGs: every filter, agreement with Pillow, and files that lie about their pixels."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from temporalpairs.builders.formats.instance_png import decode_labels
from temporalpairs.errors import RawDataError

PATH = Path("0000/000007.png")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(height: int, width: int, rows: bytes, *, parts: int = 1, depth: int = 16) -> bytes:
    stream = zlib.compress(rows)
    step = -(-len(stream) // parts)
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    pixels = b"".join(chunk(b"IDAT", stream[i : i + step]) for i in range(0, len(stream), step))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def filtered(labels: np.ndarray, kinds: list[int]) -> bytes:
    """Filter rows after the letter of the specification, byte by byte."""
    out = bytearray()
    above = [0] * (2 * labels.shape[1])
    for row, kind in zip(labels.astype(">u2"), kinds, strict=True):
        raw = list(row.tobytes())
        out.append(kind)
        for i, byte in enumerate(raw):
            left, up, corner = (raw[i - 2], above[i], above[i - 2]) if i > 1 else (0, above[i], 0)
            estimate = left + up - corner
            nearest = min((abs(estimate - value), order, value) for order, value in enumerate((left, up, corner)))
            guess = [0, left, up, (left + up) // 2, nearest[2]][kind]
            out.append((byte - guess) % 256)
        above = raw
    return bytes(out)


@st.composite
def images(draw: st.DrawFn) -> tuple[np.ndarray, list[int]]:
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 12)))
    values = st.sampled_from([0, 0, 1001, 2000, 2001, 10000, 65535]) | st.integers(0, 65535)
    labels = draw(hnp.arrays(np.uint16, shape, elements=values))
    return labels, draw(st.lists(st.integers(0, 4), min_size=shape[0], max_size=shape[0]))


@settings(deadline=None)  # the first example may compile the kernel
@given(image=images(), parts=st.integers(1, 3))
def test_every_filter_is_undone_as_the_specification_and_pillow_do(
    image: tuple[np.ndarray, list[int]], parts: int
) -> None:
    labels, kinds = image
    data = png(*labels.shape, filtered(labels, kinds), parts=parts)
    decoded = decode_labels(PATH, data)
    assert decoded.dtype == np.uint16
    assert np.array_equal(decoded, labels)
    with Image.open(io.BytesIO(data)) as other:
        assert np.array_equal(decoded, np.asarray(other))


@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_what_pillow_writes_is_read(level: int) -> None:
    labels = np.zeros((375, 1242), np.uint16)
    labels[100:300, 200:260] = 2001
    labels[120:180, 250:900] = 10000
    data = io.BytesIO()
    Image.fromarray(labels).save(data, "PNG", compress_level=level)
    assert np.array_equal(decode_labels(PATH, data.getvalue()), labels)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (png(2, 2, bytes(9)), "not 2 rows of 2"),
        (png(2, 2, bytes(11)), "not 2 rows of 2"),
        (png(2, 2, bytes(5_000_000)), "not 2 rows of 2"),
        (png(2, 2, b"\x00\0\0\0\0\x05\0\0\0\0"), "row 1 has a filter that PNG does not know"),
        (png(100_000, 100_000, bytes(10)), "000007.png"),
        (png(0, 5, b""), "000007.png"),
        (png(2, 2, bytes(6), depth=8), "an image of mode L"),
        (png(2, 2, bytes(10)).replace(b"IHDR", b"IHDr"), "checksum of chunk 'IHDr'"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), "000007.png"),
        (b"GIF89a", "no PNG"),
        (b"", "no PNG"),
    ],
)
def test_a_file_that_lies_about_its_pixels_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(RawDataError, match=says):
        decode_labels(PATH, data)


def test_a_stream_that_cannot_be_inflated_is_refused() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"no deflate stream") + chunk(b"IEND", b"")
    with pytest.raises(RawDataError, match="cannot be inflated"):
        decode_labels(PATH, data)
