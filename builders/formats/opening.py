"""Where annotations lie: what is neither a file nor a folder of its own is put into a temporary folder first.

That is a ZIP archive as it was downloaded, a member of one, a pipe, and standard input. Readers see plain files and
folders only; gzip they do not see either, as `reading.read_file` takes it off.
"""

from __future__ import annotations

import lzma
import shutil
import stat
import sys
import tempfile
import weakref
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from temporalpairs.errors import OptionError, RawDataError
from temporalpairs.files import exists

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from temporalpairs.builders.formats import Video
    from temporalpairs.tracks import VideoTracks

STANDARD_INPUT = Path("-")

_NOT_ANNOTATIONS = (".jpg", ".jpeg", ".mp4", ".webm", ".avi")  # what archives hold beside masks, and no reader reads
_ZIP_START = b"PK"
_ARCHIVE = "a whole ZIP archive of plain files and folders"
_ZIP_ERRORS = (
    zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, zlib.error, lzma.LZMAError, OSError,
)  # fmt: skip


class Place:
    """A path of annotations, and where readers find them.

    A temporary folder goes when nothing refers to the place any more. A copy in another process does not remove it.

    Attributes:
        given: the path that the user gave.
        root: what it stands for: the same path, or a file or folder in a temporary folder.
        path: the annotations, at ``root`` or below it.
    """

    def __init__(self, given: Path) -> None:
        """Find what is given, unpacking it where necessary.

        Raises:
            RawDataError: there is nothing, it cannot be read, or an archive is damaged, unsafe or too large.
        """
        self.given = self.root = self.path = given
        archive = next((path for path in (given, *given.parents) if _is_archive(path)), None)
        if given == STANDARD_INPUT:
            self.given = Path("standard input")
            self.root = self.path = self._copied(sys.stdin.buffer, "standard-input")
            archive = self.path if _is_archive(self.path) else None
        elif _exists(given) and not given.is_file() and not given.is_dir():
            with _told(given), given.open("rb") as pipe:
                self.root = self.path = self._copied(pipe, given.name)
            archive = self.path if _is_archive(self.path) else None
        elif archive is None and not _exists(given):
            raise RawDataError(given, "there is nothing here", "annotations", remedy="Check the path.")
        if archive is not None:
            inside = () if archive == self.path else given.relative_to(archive).parts
            self.given = self.given if archive == self.path else archive
            self.root = self._folder() / archive.stem
            _unpack(archive, self.given, self.root)
            self.path = self.root.joinpath(*inside)
            if not self.path.exists():
                raise RawDataError(given, "the archive has no such member", "one of its files or folders")

    @property
    def is_temporary(self) -> bool:
        """Whether readers find a copy of what the user gave."""
        return self.root != self.given

    def shown(self, path: Path) -> Path:
        """Return the path by which the user knows a file or folder at or below `root`."""
        return self.given / path.relative_to(self.root) if path.is_relative_to(self.root) else path

    @contextmanager
    def known_by(self) -> Iterator[None]:
        """Let errors name files by the paths that the user knows."""
        try:
            yield
        except RawDataError as error:
            raise error.at(self.shown(error.path)) from error

    def _folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="temporal-pairs-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _copied(self, stream: BinaryIO, name: str) -> Path:
        path = self._folder() / name
        with path.open("wb") as copy:
            shutil.copyfileobj(stream, copy)
        return path


@dataclass(frozen=True, slots=True)
class UnpackedVideo:
    """A video of a temporary place, which lives as long as its videos do."""

    video: Video
    place: Place

    @property
    def name(self) -> str:
        """The video's name."""
        return self.video.name

    def read(self) -> VideoTracks:
        """Read the video's masks; errors name files by the paths that the user knows."""
        with self.place.known_by():
            read = self.video.read()
        return replace(read, path=read.path and self.place.shown(read.path))


def find_places(paths: Sequence[Path]) -> list[Place]:
    """Find what lies at paths, unpacking it where necessary.

    Raises:
        OptionError: standard input was given twice.
        RawDataError: see `Place`.
    """
    if paths.count(STANDARD_INPUT) > 1:
        raise OptionError("-, the standard input, was given twice. It can be read once.")
    return [Place(path) for path in paths]


def _exists(path: Path) -> bool:
    try:
        return exists(path)
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
        raise RawDataError(path, found, "annotations", remedy="Check its permissions.") from error


def _is_archive(path: Path) -> bool:
    if not path.is_file():  # a pipe could be read once only
        return False
    try:
        with path.open("rb") as file:
            return file.read(2) == _ZIP_START and zipfile.is_zipfile(file)
    except OSError:  # reading it says why
        return False


def _unpack(archive: Path, shown: Path, root: Path) -> None:
    """Unpack what may be annotations; nothing is written outside of ``root``.

    Args:
        archive: the file.
        shown: its path for the text of errors.
        root: the folder to make.

    Raises:
        RawDataError: the archive is damaged or encrypted, has links, members that lie outside or two of one name, or
            needs more room than there is.
    """
    with _told(shown), zipfile.ZipFile(archive) as opened:
        members = {}
        for member in opened.infolist():
            path = PurePosixPath(member.filename.replace("\\", "/"))
            if member.is_dir() or path.suffix.lower() in _NOT_ANNOTATIONS or "__MACOSX" in path.parts:
                continue
            place = f"member {member.filename!r}"
            kind = stat.S_IFMT(member.external_attr >> 16)
            if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
                raise RawDataError(shown, "a member that would lie outside of the archive", _ARCHIVE, place=place)
            if kind not in (0, stat.S_IFREG):
                raise RawDataError(shown, "a link or another special file", _ARCHIVE, place=place)
            if path in members:
                raise RawDataError(shown, "a second member of this name", _ARCHIVE, place=place)
            members[path] = member
        root.mkdir()
        size, free = sum(member.file_size for member in members.values()), shutil.disk_usage(root).free
        if size > free:
            found = f"its {size:,} bytes have no room in {root.parent.parent}, where {free:,} bytes are free"
            remedy = "Unpack it elsewhere and give the folder, or set TMPDIR to a folder with room."
            raise RawDataError(shown, found, "an archive that fits", remedy=remedy)
        for path, member in members.items():
            target = root / path
            with _told(shown, f"member {member.filename!r}"):
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, target.open("xb") as copy:
                    shutil.copyfileobj(source, copy)


@contextmanager
def _told(path: Path, place: str = "") -> Iterator[None]:
    """Turn what reading a pipe or an archive raises into an error that names it."""
    try:
        yield
    except _ZIP_ERRORS as error:
        raise RawDataError(path, f"cannot be read ({error})", _ARCHIVE, place=place) from error
