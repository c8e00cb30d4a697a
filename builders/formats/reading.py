"""What readers share: entries of folders, files with their digest, videos of label images, names of videos."""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import mmap
import re
import struct
import warnings
import zlib
from collections import Counter
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from temporalpairs.errors import DatasetWarning, OptionError, RawDataError, printable
from temporalpairs.tracks import SourceFile, VideoTracks, tracks_of_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from jaxtyping import UInt

HEAD = 65_536  # bytes of a file that tell its format
LABELS = "labels.txt"  # names of the classes, which CVAT writes beside the images

_GZIP = b"\x1f\x8b"  # magic number of gzip (RFC 1952, section 2.3.1)
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk: no content, its name, its checksum
# What Pillow's decoder raises.
_PNG_ERRORS = (OSError, SyntaxError, ValueError, IndexError, TypeError, struct.error, Image.DecompressionBombError)
_DIGITS = 9  # of the number of a frame; leading zeros do not count
_NUMBERED = re.compile(r"(.*?)([0-9]+)\.png", re.IGNORECASE | re.DOTALL)
_NAMED = 5  # files that a warning names before it only counts
_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)


def entries(folder: Path) -> list[Path]:
    """List a folder's entries in the order of their names, hidden ones left out.

    Raises:
        RawDataError: the folder cannot be read.
    """
    try:
        listed = sorted((entry for entry in folder.iterdir() if not entry.name.startswith(".")), key=lambda e: e.name)
        if listed:
            listed[0].lstat()  # a folder can let its names be listed and nothing be looked at
    except OSError as error:
        raise _unreadable(folder, error) from error
    return listed


def child(folder: Path, name: str) -> Path | None:
    """Find an entry of a folder by its name in lower case, so that every file system gives the same answer."""
    return next((entry for entry in entries(folder) if entry.name.lower() == name), None)


def read_file(path: Path, root: Path) -> tuple[bytes, SourceFile]:
    """Read a file's bytes, decompressed where they are gzip's, and describe the file for the store.

    Args:
        path: the file.
        root: a folder above it, which its name in the store is relative to.

    Raises:
        RawDataError: the file cannot be read or decompressed.
    """
    try:
        written = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    source = SourceFile(path.relative_to(root).as_posix(), len(written), hashlib.sha256(written).hexdigest())
    try:
        return gzip.decompress(written) if written.startswith(_GZIP) else written, source
    except (OSError, EOFError, zlib.error) as error:
        raise RawDataError(path, f"cannot be decompressed ({error})", "a whole file, plain or gzip") from error


def map_file(path: Path, root: Path) -> tuple[bytes | mmap.mmap, SourceFile]:
    """Map a large file instead of reading it whole; one that is compressed or empty is read as by `read_file`.

    Args:
        path: the file.
        root: a folder above it, which its name in the store is relative to.

    Raises:
        RawDataError: the file cannot be read or decompressed.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_GZIP)) in (_GZIP, b""):
                return read_file(path, root)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise _unreadable(path, error) from error
    return mapped, SourceFile(path.relative_to(root).as_posix(), len(mapped), digest)


def read_head(path: Path) -> bytes | None:
    """Return a file's first bytes, decompressed, or None where it cannot be read: reading all of it says why."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, HEAD) if head.startswith(_GZIP) else head
    except (OSError, zlib.error):
        return None


def read_label_images(
    name: str,
    folder: Path,
    root: Path,
    decode: Callable[[Path, bytes], UInt[np.ndarray, "height width"]],
    category_of: Callable[[int], int],
    *,
    rate: float | None = None,
) -> VideoTracks:
    """Read a video that is a folder of numbered PNGs, whose pixels hold the id of their object or 0 for background.

    Frame numbers that are evenly spaced, three or more, give the video's ``frame_step``.

    Args:
        name: the video's name.
        folder: the folder; the file names are `numbered_pngs`.
        root: a folder above it, which the names of files in the store are relative to.
        decode: turns a file's path, for the text of errors, and its bytes into ids; `decode_png` helps.
        category_of: gives the category id of an object's id.
        rate: frame numbers a second, where they are known.

    Raises:
        RawDataError: an image is missing or cannot be decoded, or its name is no frame number.
    """
    files = dict(numbered_pngs(folder))
    frames, step, length = frame_grid(folder, files)
    sources: list[SourceFile] = []

    def labels(path: Path) -> UInt[np.ndarray, "height width"]:
        data, source = read_file(path, root)
        sources.append(source)
        return decode(path, data)

    tracks = tracks_of_labels(name, ((frame, labels(files[frame])) for frame in frames), category_of)
    return VideoTracks(
        name, tracks, tuple(sources), length, frames[0], step, interval=rate and step / rate, path=folder
    )  # fmt: skip


def frame_grid(video: str | Path, numbers: Iterable[int]) -> tuple[list[int], int, int]:
    """Work out in which steps the frames of a video are numbered.

    Of two frames, others may be missing in between: they are taken for numbered one by one. Frames that are missing,
    and frames that lie between the steps and are left out, are warned of.

    Args:
        video: where the frames are, for the text of warnings.
        numbers: of the frames, at least one.

    Returns:
        The numbers that lie on the grid, ascending, the step from one to the next, and how many there would be if none
        were missing.
    """
    frames = sorted(numbers)
    steps = Counter(after - before for before, after in pairwise(frames))
    step = math.gcd(*steps) if len(frames) > 2 else 1
    if step not in steps and len(frames) > 2:  # no common step: the most frequent one, and what fits it
        step = steps.most_common(1)[0][0]
        phase = Counter(frame % step for frame in frames).most_common(1)[0][0]
        between = [frame for frame in frames if frame % step != phase]
        frames = [frame for frame in frames if frame % step == phase]
        warn(
            f"{printable(video)}: left out the images of {len(between)} frames between the others, which are numbered "
            f"in steps of {step}; the first is {between[0]}."
        )
    length = (frames[-1] - frames[0]) // step + 1
    if length > len(frames):
        hole = next(before for before, after in pairwise(frames) if after - before > step)
        warn(
            f"{printable(video)}: {length - len(frames)} of the frames {frames[0]} … {frames[-1]} have no image, "
            f"the first is frame {hole + step}; sequences are cut there."
        )
    return frames, step, length


def numbered_pngs(folder: Path) -> list[tuple[int, Path]]:
    """List the PNGs of a folder by frame number: ``000000.png`` or, all with one prefix, ``frame_000000.png``.

    Other files of the folder are named in a warning.

    Raises:
        RawDataError: there is no PNG, a name has no frame number or another prefix, or a frame has two images.
    """
    listed = entries(folder)
    images = [file for file in listed if file.suffix.lower() == ".png"]
    matches = [_NUMBERED.fullmatch(file.name) for file in images]
    prefixes = Counter(match[1] for match in matches if match)
    if not prefixes:
        raise RawDataError(folder, "there is no numbered PNG in this folder", "images such as 000000.png")
    prefix = prefixes.most_common(1)[0][0]
    others = [file for file in listed if file.suffix.lower() != ".png" and file.name.lower() != LABELS]
    warn_of_left_out(folder, others)
    numbered = []
    for file, match in zip(images, matches, strict=True):
        if match is None or match[1] != prefix or len(match[2].lstrip("0")) > _DIGITS:
            expected = f"names of at most {_DIGITS} digits, such as {prefix}000000.png"
            raise RawDataError(file, "the name is no frame number", expected, remedy="Move other images elsewhere.")
        numbered.append((int(match[2]), file))
    numbered.sort()
    for (frame, first), (other, second) in pairwise(numbered):
        if frame == other:
            raise RawDataError(second, f"frame {frame} a second time, beside {first.name}", "one image of a frame")
    return numbered


def first_numbered_png(folder: Path) -> Path | None:
    """Find a folder's first PNG whose name ends with a number; only folders that have one are videos."""
    return next((file for file in entries(folder) if _NUMBERED.fullmatch(file.name)), None)


def decode_png(
    path: Path, data: bytes, modes: Collection[str], expected: str, remedy: str = ""
) -> UInt[np.ndarray, "height width *channels"]:
    """Decode a PNG whose pixels are ids; palette images give their indices, color images their channels.

    Args:
        path: the file, for the text of errors.
        data: its bytes.
        modes: Pillow's names of the kinds of image to take: ``"P"`` palette, ``"L"`` and ``"I;16"`` gray of 8 and 16
            bits, ``"RGB"`` and ``"RGBA"`` color.
        expected: what a good image is, as a phrase.
        remedy: what to do about an image of another kind.

    Raises:
        RawDataError: the image is damaged or of another kind.
    """
    if not data.startswith(_PNG_START):
        raise RawDataError(path, "the file is no PNG", expected)
    if _PNG_END not in data:  # which Pillow does not look at
        raise RawDataError(path, "the file is cut short, or damaged at its end", expected)
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.verify()  # compares every chunk's checksum; decoding alone took some flipped bits for pixels
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            mode = image.mode
            labels = np.asarray(image) if mode in modes else None
    except _PNG_ERRORS as error:
        raise RawDataError(path, f"the image cannot be decoded ({error})", expected) from error
    if labels is None:
        raise RawDataError(path, f"an image of mode {mode}", expected, remedy=remedy)
    return labels


def of_one_size(
    decode: Callable[[Path, bytes], UInt[np.ndarray, "height width"]],
) -> Callable[[Path, bytes], UInt[np.ndarray, "height width"]]:
    """Let a function that decodes the images of a video refuse those of another size than the first.

    Raises:
        RawDataError: an image has another size.
    """
    first: list[tuple[Path, tuple[int, ...]]] = []

    def checked(path: Path, data: bytes) -> UInt[np.ndarray, "height width"]:
        labels = decode(path, data)
        first[:] = first or [(path, labels.shape)]
        known, (height, width) = first[0]
        if labels.shape != (height, width):
            found = f"an image of {labels.shape[0]} × {labels.shape[1]} pixels"
            raise RawDataError(path, found, f"{height} × {width}, the size of {known.name}")
        return labels

    return checked


def warn_of_left_out(folder: Path, left_out: Sequence[Path]) -> None:
    """Name the entries below a folder that a reader does not take, if there are any."""
    if left_out:
        names = ", ".join(repr(str(entry.relative_to(folder))) for entry in left_out[:_NAMED])
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        warn(f"{printable(folder)}: left out {names}{more}. If they hold annotations, give their paths too.")


def warn(text: str) -> None:
    """Issue a `DatasetWarning`, or keep it where somebody collects those of a task, which may run elsewhere."""
    collected = _collected.get()
    if collected is None:
        warnings.warn(text, DatasetWarning, stacklevel=3)
    else:
        collected.append(text)


@contextmanager
def collecting() -> Iterator[list[str]]:
    """Collect what `warn` is given while the block lasts, in this thread."""
    collected: list[str] = []
    token = _collected.set(collected)
    try:
        yield collected
    finally:
        _collected.reset(token)


def join_videos(paths: Sequence[Path], groups: Iterable[Sequence[Any]]) -> tuple[Any, ...]:
    """Join the videos found at several paths; where names occur twice, paths tell the videos apart.

    Args:
        paths: where the videos of each group were found.
        groups: data classes with the fields ``name`` and ``path``.

    Raises:
        OptionError: a video was found twice.
        RawDataError: a file has two videos of one name.
    """
    groups = [list(group) for group in groups]
    for group in groups:
        (name, times), *_ = Counter(video.name for video in group).most_common(1) or [("", 0)]
        if times > 1:
            same = [video.path for video in group if video.name == name]
            found = f"a second video {name!r}" + f", beside {same[0].name}" * (same[1] != same[0])
            raise RawDataError(same[1], found, "one video of a name")
    places = Counter((video.path.resolve(), video.name) for group in groups for video in group)
    for (place, _), times in places.items():
        if times > 1:
            raise OptionError(f"{printable(place)} was given twice; each video can enter a dataset once.")
    names = [video.name for group in groups for video in group]
    if len(set(names)) < len(names):
        labels = _tails([path.resolve() for path in paths])
        groups = [
            [replace(video, name=f"{label}/{video.name}") for video in group]
            for label, group in zip(labels, groups, strict=True)
        ]
    return tuple(video for group in groups for video in group)


def name_once(known: dict[str, Path], name: str, path: Path) -> None:
    """Remember the file of a video whose name is its own wherever it lies.

    Raises:
        OptionError: another file has the video too.
    """
    if known.setdefault(name, path) != path:
        twice = f"{printable(path)}: video {name!r} is in {printable(known[name])} too"
        raise OptionError(f"{twice}. Give each video once; it would be on both sides of a split.")


def _tails(paths: Sequence[Path]) -> list[str]:
    """Return the shortest tails of the paths that tell them apart."""
    for length in range(1, max(len(path.parts) for path in paths) + 1):
        tails = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(tails)) == len(tails):
            return tails
    return [str(path) for path in paths]


def _unreadable(path: Path, error: OSError) -> RawDataError:
    return RawDataError(
        path, f"cannot be read ({error.strerror})", "a readable file or folder", remedy="Check its permissions."
    )
