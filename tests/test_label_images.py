"""Label images: what is decoded equals what was painted, and no damaged bit is taken for a pixel."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from temporalpairs.builders.formats.reading import decode_png
from temporalpairs.errors import RawDataError

PATH = Path("0000/000007.png")


def decode(data: bytes, *modes: str) -> np.ndarray:
    return decode_png(PATH, data, modes or ("I;16",), "an image of ids", "Give the other images.")


def png_of(image: Image.Image | np.ndarray, **options: object) -> bytes:
    data = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(data, "PNG", **options)
    return data.getvalue()


def painted(height: int = 40, width: int = 90) -> np.ndarray:
    labels = np.zeros((height, width), np.uint16)
    labels[:20, :9], labels[5:30, 40:60], labels[-5:] = 2001, 1000, 10000
    return labels


@settings(deadline=None)
@given(hnp.arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 12))), st.sampled_from([0, 1, 9]))
def test_what_was_painted_is_decoded(labels: np.ndarray, level: int) -> None:
    decoded = decode(png_of(labels, compress_level=level))
    assert decoded.dtype == np.uint16
    assert np.array_equal(decoded, labels)


def test_palette_images_give_indices_whatever_their_colors() -> None:
    labels = np.array([[0, 1, 2], [255, 3, 0]], np.uint8)
    image = Image.fromarray(labels, "P")
    image.putpalette([200, 10, 10] * 256)
    assert np.array_equal(decode(png_of(image), "P"), labels)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "1"])
def test_an_image_of_another_kind_is_refused_by_its_mode(mode: str) -> None:
    with pytest.raises(RawDataError, match=rf"an image of mode {mode}\.\n  Expected an image of ids\. Give the other"):
        decode(png_of(Image.new(mode, (9, 4))))


def test_every_flipped_bit_is_noticed() -> None:
    data = png_of(painted())
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(RawDataError, match=re.escape(str(PATH))):
            decode(bytes(flipped))


def test_an_image_that_ends_early_is_refused_wherever_it_ends() -> None:
    data = png_of(painted())
    for end in range(len(data)):
        with pytest.raises(RawDataError, match=r"the file is no PNG|the file is cut short"):
            decode(data[:end])


def test_bytes_behind_the_end_change_nothing() -> None:
    assert np.array_equal(decode(png_of(painted()) + b"\0\0more"), painted())


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(height: int, width: int, pixels: bytes, before: bytes = b"") -> bytes:
    """A PNG of good checksums, whatever it says."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + before + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


ROWS = zlib.compress(bytes(10))  # two rows of two pixels, each with its filter


@pytest.mark.parametrize(
    "data",
    [
        png(2, 2, zlib.compress(bytes(4))),
        png(2, 2, b""),
        png(2, 2, ROWS[:-6]),
        png(2, 2, b"no deflate stream"),
        png(2, 2, b"BZh9" + ROWS),
        png(2, 2, zlib.compress(b"\0\0\0\0\0\5\0\0\0\0")),
        png(100_000, 100_000, ROWS),
        png(0, 5, zlib.compress(b"")),
        png(2, 2, ROWS, chunk(b"\0\0\0\0", b"")),
        png(2, 2, ROWS).replace(b"IHDR", b"IHDr"),
        b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""),
        b"GIF89a",
        b"",
    ],
)
def test_a_file_that_lies_about_its_pixels_is_refused(data: bytes) -> None:
    assert np.array_equal(decode(png(2, 2, ROWS)), np.zeros((2, 2)))
    with pytest.raises(RawDataError, match=r"000007\.png: the "):
        decode(data)


KINDS = b"tRNS gAMA iCCP pHYs cHRM sRGB tEXt zTXt iTXt eXIf acTL fcTL fdAT PLTE bKGD tIME IHDR IDAT".split()


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of animations and truncated metadata
@pytest.mark.parametrize("count", [300, pytest.param(20_000, marks=pytest.mark.slow)])
def test_chunks_of_any_content_with_good_checksums_give_an_image_or_a_named_error(count: int) -> None:
    rng = np.random.default_rng(1)
    refused = []
    for _ in range(count):
        rows = zlib.compress(bytes(10))
        header = struct.pack(">IIBBBBB", 2, 2, 16, 0, 0, 0, 0)
        chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
        for _ in range(rng.integers(1, 3)):
            body = rng.bytes(int(rng.choice([0, 1, 4, 8, 9, 13, 26, 32])))
            chunks.insert(int(rng.integers(0, 3)), (KINDS[rng.integers(len(KINDS))], body))
        data = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in chunks)
        try:
            assert decode(data).dtype == np.uint16
        except RawDataError as error:
            refused.append(error.path)
    assert set(refused) == {PATH}
    assert count / 10 < len(refused) < count
