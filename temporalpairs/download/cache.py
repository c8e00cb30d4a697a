"""Find, download or build the store that ``source=`` names."""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from temporalpairs.checks import as_path, truth
from temporalpairs.errors import (
    DatasetWarning,
    OptionError,
    SourceMissingError,
    StoreBusyError,
    StoreExistsError,
    StoreNotFoundError,
    TemporalPairsError,
)
from temporalpairs.files import exists, locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HOME_VARIABLE = "TEMPORAL_PAIRS_HOME"
_POLL = 0.1  # seconds between two looks at what another process builds


@dataclass(frozen=True, slots=True)
class Release:
    """A released file, and how it becomes a store.

    Attributes:
        title: the dataset's title.
        record: number of the Zenodo record.
        filename: name of the released file in that record.
        store: name of the store that the file is converted to, without suffix.
        convert: takes the file, the path of the new store, the license that the record states (None if it was not
            asked) and whether the file's MD5 was compared with the record's.
    """

    title: str
    record: int
    filename: str
    store: str
    convert: Callable[[Path, Path, str | None, bool], object]

    @property
    def filenames(self) -> list[str]:
        """Names of its files."""
        return [self.filename]

    def convert_found(self, folder: Path, out: Path) -> None:
        """Convert the file that somebody put into a folder."""
        self.convert(folder / self.filename, out, None, False)

    def download(self, folder: Path, out: Path, *, progress: bool) -> None:
        """Download the file, convert it and remove it."""
        from temporalpairs.download.zenodo import downloaded

        fetched = downloaded(self.record, self.filename, folder, progress=progress)
        with fetched as (raw, about), suppress(StoreExistsError):  # another process published the same meanwhile
            self.convert(raw, out, about.license, True)


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file at its publisher's.

    Attributes:
        url: its address; its name is the last part.
        size: bytes, where the publisher states them.
        md5: 32 lower-case hexadecimal digits, where the publisher states them.
    """

    url: str
    size: int | None = None
    md5: str | None = None

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class PublishedFiles:
    """Raw files at their publisher's, and how they become a store.

    Attributes:
        title: the dataset's title.
        files: all of them.
        store: name of the store that they are converted to, without suffix.
        convert: takes the files and the path of the new store.
    """

    title: str
    files: tuple[PublishedFile, ...]
    store: str
    convert: Callable[[list[Path], Path], object]

    @property
    def filenames(self) -> list[str]:
        """Names of the files."""
        return [file.name for file in self.files]

    def convert_found(self, folder: Path, out: Path) -> None:
        """Convert the files that somebody put into a folder."""
        self.convert([folder / name for name in self.filenames], out)

    def download(self, folder: Path, out: Path, *, progress: bool) -> None:
        """Download the files, convert them and remove them; what no publisher's MD5 vouches for is told."""
        from temporalpairs.download.zenodo import downloaded_from_publisher

        with ExitStack() as held:
            paths = [
                held.enter_context(downloaded_from_publisher(file, folder, progress=progress))[0] for file in self.files
            ]
            for file, path in zip(self.files, paths, strict=True):
                if file.md5 is None:
                    with path.open("rb") as raw:
                        digest = hashlib.file_digest(raw, "sha256").hexdigest()
                    told = f"{file.name}: its publisher states no checksum; what arrived has SHA-256 {digest}."
                    warnings.warn(f"{told}\n  The store keeps it among its sources.", DatasetWarning, stacklevel=2)
            with suppress(StoreExistsError):  # another process published the same meanwhile
                self.convert(paths, out)


@dataclass(frozen=True, slots=True)
class Sample:
    """A synthetic sample of raw annotations that ships with the package, and how it becomes a store.

    Attributes:
        store: name of the store, without suffix.
        files: lists the raw files.
        build: builds the store at a path.
    """

    store: str
    files: Callable[[], Sequence[Path]]
    build: Callable[[Path], object]


def provide(
    source: str | Path,
    root: str | Path | None,
    *,
    release: Release | PublishedFiles,
    sample: Sample,
    download: bool = True,
) -> Path:
    """Return the path of the store that a user means.

    Args:
        source: ``"release"``, ``"sample"``, or the path of a store.
        root: folder where stores live; by default `default_root`.
        release: what ``"release"`` means.
        sample: what ``"sample"`` means.
        download: whether to download the release if it is not there.

    Raises:
        OptionError: ``source`` is neither one of the words nor a path at which there is anything.
        StoreNotFoundError: there is nothing at the path.
        SourceMissingError: the release is not there and ``download`` is False.
        DownloadError: the release could not be downloaded.
        ReleasedFileError: the released file is damaged or something else.
        TemporalPairsError: the system does not let ``root`` be used.
    """
    truth("download", download)
    path = _expanded(as_path("source", source))
    given = None if root is None else _expanded(as_path("root", root))
    if source == "release":
        return ensure_release(release, given or default_root(), download=download)
    if source == "sample":
        return ensure_sample(sample, given or default_root())
    try:
        found = exists(path)
    except OSError:
        found = True  # reading it tells why it cannot be read
    if not found and isinstance(source, str) and Path(path.name).stem == source:
        raise OptionError(
            f"source={source!r} is unknown, and nothing here has that name; give 'release', 'sample', or the path of a "
            "NAME.zarr folder or a NAME.h5 file."
        )
    if not found:
        raise StoreNotFoundError(path)
    return path


def default_root() -> Path:
    """Return the folder where stores live by default: ``$TEMPORAL_PAIRS_HOME``, else the user's cache folder.

    Raises:
        OptionError: ``$TEMPORAL_PAIRS_HOME`` is no path.
        TemporalPairsError: the variable is not set, and the user has no home folder.
    """
    import platformdirs

    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return _expanded(Path(chosen))
    try:
        return platformdirs.user_cache_path("temporal-pairs").expanduser()  # older versions leave the ~ of nobody there
    except RuntimeError:
        raise TemporalPairsError(
            "This user has no home folder, where stores live by default.\n"
            f"  Pass another root, or set {HOME_VARIABLE} to a folder that you may write to."
        ) from None


def ensure_sample(sample: Sample, root: Path) -> Path:
    """Return the store of a synthetic sample, building it if it is not there.

    Its name carries a digest of the raw sample and of the store's schema, so an upgrade of the package never serves an
    older one.
    """
    from temporalpairs.store import SCHEMA_VERSION

    digest = hashlib.sha256(str(SCHEMA_VERSION).encode())
    for file in sample.files():
        digest.update(file.read_bytes())
    path = root / f"{sample.store}-{digest.hexdigest()[:8]}.zarr"
    with _telling(root):
        root.mkdir(parents=True, exist_ok=True)
        while not exists(path):
            try:
                sample.build(path)
            except StoreExistsError:  # another process published the same meanwhile
                break
            except StoreBusyError:  # or is about to
                time.sleep(_POLL)
    return path


def ensure_release(
    release: Release | PublishedFiles, root: Path, *, download: bool = True, progress: bool = True
) -> Path:
    """Return the store of a released dataset, downloading and converting the file, or files, if it is not there.

    A released file that lies in ``root`` is converted without asking the network, and stays there. Of several
    processes, one works and the others wait; where the file system has no locks, each works by itself, and the first
    to finish wins.

    Raises:
        SourceMissingError: it is not there and ``download`` is False.
        DownloadError: it could not be downloaded.
        ReleasedFileError: the file is damaged or something else.
        TemporalPairsError: the system does not let ``root`` be used.
    """
    path = root / f"{release.store}.zarr"
    with _telling(root):
        if exists(path):
            return path
        by_hand = all(exists(root / name) for name in release.filenames)
        if not download and not by_hand:
            raise SourceMissingError(release.title, path, ", ".join(release.filenames))
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / f".{release.store}.lock"):
            if not exists(path) and by_hand:
                with suppress(StoreExistsError):  # another process published the same meanwhile
                    release.convert_found(root, path)
            elif not exists(path):
                release.download(root, path, progress=progress)
    return path


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:  # ~somebody, who is nobody here
        raise OptionError(f"{path} is no path here ({error}).") from None


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into an error that says where stores may live instead."""
    try:
        yield
    except TemporalPairsError:
        raise
    except OSError as error:
        raise TemporalPairsError(
            f"{error.filename or path}: cannot be used ({error.strerror or error}).\n"
            f"  Pass another root, or set {HOME_VARIABLE} to a folder that you may write to."
        ) from None
