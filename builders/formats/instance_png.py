"""Instance PNGs to labels: 16-bit grayscale images whose pixels are ids.

Decoding is where building from PNGs spends its time. The plain kind, which the publishers of MOTS write, is inflated by
zlib-ng and unfiltered by a kernel of ours, in less than half the time that Pillow takes (docs/benchmarks.md); other
kinds, interlaced ones for example, go through Pillow. Every chunk's checksum is compared first: Pillow does not, where
the pixels are. Format: https://www.w3.org/TR/png-3, sections 5 and 9.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from zlib_ng import zlib_ng

from temporalpairs import runlength_kernels as kernels
from temporalpairs.errors import RawDataError

if TYPE_CHECKING:
    from pathlib import Path

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")  # width, height and the kind of image
_CRITICAL = (b"IHDR", b"IDAT", b"IEND")  # the chunks that a grayscale image is made of; a decoder must know them all
_PLAIN = (16, 0, 0, 0, 0)  # bit depth, grayscale, deflate, the five filters, not interlaced
_INFLATE_ERROR: type[Exception] = zlib_ng.error  # type: ignore[assignment]  # its stub says an instance
_EXPECTED = "a 16-bit grayscale PNG whose pixels are instance ids"


def decode_labels(path: Path, data: bytes) -> np.ndarray:
    """Decode an instance PNG.

    Args:
        path: the file, for errors.
        data: its bytes.

    Returns:
        uint16 or uint32 [height, width].

    Raises:
        RawDataError: the image is damaged, or is no 16-bit grayscale PNG.
    """
    chunks = _chunks(path, data)
    first, header = chunks[0]
    strange = any(_is_critical(name) and name not in _CRITICAL for name, _ in chunks)
    if first == b"IHDR" and len(header) == _HEADER.size and not strange:
        width, height, *kind = _HEADER.unpack(header)
        if tuple(kind) == _PLAIN and 0 < width * height <= kernels.MAX_PIXELS:
            return _decode_plain(path, b"".join(body for name, body in chunks if name == b"IDAT"), height, width)
    return _decode_other(path, data)


def _is_critical(name: bytes) -> bool:
    return name[0] & 0x20 == 0


def _chunks(path: Path, data: bytes) -> list[tuple[bytes, bytes]]:
    """Split a PNG into the names and bodies of its chunks, after their checksums were found to fit."""
    if not data.startswith(_SIGNATURE):
        raise RawDataError(path, "the file is no PNG", _EXPECTED)
    position, kind = len(_SIGNATURE), b""
    chunks = []
    while kind != b"IEND":
        body = position + 8
        if body > len(data):
            raise RawDataError(path, "the file is cut short", _EXPECTED)
        length, kind = struct.unpack_from(">I4s", data, position)
        end = body + length
        if end + 4 > len(data):
            raise RawDataError(path, "the file is cut short", _EXPECTED)
        if zlib_ng.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4]):
            name = kind.decode("latin-1")
            raise RawDataError(path, f"the checksum of chunk {name!r} at byte {position} does not fit it", _EXPECTED)
        chunks.append((kind, data[body:end]))
        position = end + 4
    return chunks


def _decode_plain(path: Path, stream: bytes, height: int, width: int) -> np.ndarray:
    size = height * (1 + 2 * width)  # each row: its filter, then two bytes a pixel
    inflater = zlib_ng.decompressobj()
    try:
        rows = inflater.decompress(stream, size + 1)  # not without bound, whatever the stream holds
    except _INFLATE_ERROR as error:
        raise RawDataError(path, f"its pixels cannot be inflated ({error})", _EXPECTED) from error
    if len(rows) != size or not inflater.eof:
        raise RawDataError(path, f"its pixels are not {height} rows of {width}", _EXPECTED)
    labels = np.empty((height, width), np.uint16)
    bad_row = kernels.unfilter_png(np.frombuffer(rows, np.uint8), labels)
    if bad_row >= 0:
        raise RawDataError(path, f"row {bad_row} has a filter that PNG does not know", _EXPECTED)
    return labels


def _decode_other(path: Path, data: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            mode = image.mode
            labels = np.asarray(image) if mode.startswith("I") else None
    except (OSError, SyntaxError, ValueError, IndexError, Image.DecompressionBombError) as error:
        raise RawDataError(path, f"cannot be decoded ({error})", _EXPECTED) from error
    if labels is None:
        remedy = "Give the instance images, not the color ones."
        raise RawDataError(path, f"an image of mode {mode}", _EXPECTED, remedy=remedy)
    return np.ascontiguousarray(labels, dtype=np.uint16 if labels.dtype.itemsize == 2 else np.uint32)
