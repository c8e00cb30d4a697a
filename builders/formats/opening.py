"""Where annotations lie: what is neither a file nor a folder of its own is put into a temporary folder first.

That is a ZIP or tar archive as it was downloaded, a member of one, a pipe, and standard input. Readers see plain files
and folders only; gzip they do not see either, as `reading.read_file` takes it off.
"""

from __future__ import annotations

import lzma
import re
import shutil
import stat
import sys
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from temporalpairs.errors import OptionError, RawDataError
from temporalpairs.files import exists

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import IO, BinaryIO

    from temporalpairs.builders.formats import Video
    from temporalpairs.tracks import VideoTracks

STANDARD_INPUT = Path("-")

_NOT_ANNOTATIONS = (".jpg", ".jpeg", ".mp4", ".webm", ".avi")  # what archives hold beside masks, and no reader reads
_ZIP_START = b"PK"
_TAR_NAME = re.compile(r"\.(tar(\.(gz|bz2|xz))?|tgz)$", re.IGNORECASE)
_ARCHIVE = "a whole ZIP or tar archive of plain files and folders"
_ERRORS = (
    zipfile.BadZipFile, tarfile.TarError, NotImplementedError, RuntimeError, ValueError, EOFError, zlib.error,
    lzma.LZMAError, OSError,
)  # fmt: skip


class Place:
    """A path of annotations, and where readers find them.

    A temporary folder goes when nothing refers to the place any more. A copy in another process does not remove it.

    Attributes:
        given: the path that the user gave.
        root: what it stands for: the same path, or a file or folder in a temporary folder.
        path: what lies there.
        paths: the annotations, at ``path`` or below it.
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
            self.root = self._folder() / _TAR_NAME.sub("", archive.stem)
            _unpack(archive, self.given, self.root)
            self.path = self.root.joinpath(*inside)
            if not self.path.exists():
                raise RawDataError(given, "the archive has no such member", "one of its files or folders")
        self.paths = [self.path]

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
        except OptionError as error:
            if not self.is_temporary:
                raise
            raise OptionError(str(error).replace(str(self.root), str(self.given))) from error

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
        return _TAR_NAME.search(path.name) is not None or _is_zip(path) or tarfile.is_tarfile(path)
    except _ERRORS:  # reading it says why
        return False


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_ZIP_START)) == _ZIP_START and zipfile.is_zipfile(file)


@dataclass(frozen=True, slots=True)
class _Member:
    """A file of an archive: its name there, its bytes, and whether it is no link or another special file."""

    name: str
    size: int
    is_plain: bool
    open: Callable[[], IO[bytes] | None]


@contextmanager
def _opened(archive: Path) -> Iterator[list[_Member]]:
    """Open an archive and list its members that are no folders."""
    if _is_zip(archive):
        with zipfile.ZipFile(archive) as zipped:
            infos = [info for info in zipped.infolist() if not info.is_dir()]
            kinds = [stat.S_IFMT(info.external_attr >> 16) for info in infos]
            yield [
                _Member(info.filename, info.file_size, kind in (0, stat.S_IFREG), partial(zipped.open, info))
                for info, kind in zip(infos, kinds, strict=True)
            ]
        return
    with tarfile.open(archive) as tarred:
        members = [member for member in tarred.getmembers() if not member.isdir()]
        # tarfile takes whatever it cannot read behind the first member for the end.
        tarred.fileobj.seek(tarred.offset)
        if tarred.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"it is cut short, or damaged behind its member {len(members)}")
        yield [_Member(m.name, m.size, m.isfile(), partial(tarred.extractfile, m)) for m in members]


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
    with _told(shown), _opened(archive) as found:
        members: dict[PurePosixPath, _Member] = {}
        for member in found:
            path = PurePosixPath(member.name.replace("\\", "/"))
            if path.suffix.lower() in _NOT_ANNOTATIONS or "__MACOSX" in path.parts:
                continue
            place = f"member {member.name!r}"
            if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]):
                raise RawDataError(shown, "a member that would lie outside of the archive", _ARCHIVE, place=place)
            if not member.is_plain:
                raise RawDataError(shown, "a link or another special file", _ARCHIVE, place=place)
            if path in members:
                raise RawDataError(shown, "a second member of this name", _ARCHIVE, place=place)
            members[path] = member
        root.mkdir()
        size, free = sum(member.size for member in members.values()), shutil.disk_usage(root).free
        if size > free:
            found_size = f"its {size:,} bytes have no room in {root.parent.parent}, where {free:,} bytes are free"
            remedy = "Unpack it elsewhere and give the folder, or set TMPDIR to a folder with room."
            raise RawDataError(shown, found_size, "an archive that fits", remedy=remedy)
        for path, member in members.items():
            target = root / path
            with _told(shown, f"member {member.name!r}"):
                target.parent.mkdir(parents=True, exist_ok=True)
                with member.open() as source, target.open("xb") as copy:  # type: ignore[union-attr]
                    shutil.copyfileobj(source, copy)


@contextmanager
def _told(path: Path, place: str = "") -> Iterator[None]:
    """Turn what reading a pipe or an archive raises into an error that names it."""
    try:
        yield
    except _ERRORS as error:
        raise RawDataError(path, f"cannot be read ({' '.join(str(error).split())})", _ARCHIVE, place=place) from error
