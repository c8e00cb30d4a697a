"""From a word (release, sample) or a path to a store on this machine: how `load_kitti_masks` and its kin begin."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from temporalpairs.errors import (
    OptionError,
    SourceMissingError,
    StoreExistsError,
    StoreNotFoundError,
    TemporalPairsError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HOME_VARIABLE = "TEMPORAL_PAIRS_HOME"


@dataclass(frozen=True, slots=True)
class Release:
    """A released file, and how it becomes a store.

    Attributes:
        title: of the dataset.
        record: number of the Zenodo record.
        filename: of the file in it.
        store: name of the store that the file is converted to.
        convert: takes the file, the path of the new store, the license that the record states (None if it was not
            asked) and whether the file's MD5 was compared with the record's.
    """

    title: str
    record: int
    filename: str
    store: str
    convert: Callable[[Path, Path, str | None, bool], object]


@dataclass(frozen=True, slots=True)
class Sample:
    """A synthetic sample of raw annotations that ships with the package, and how it becomes a store.

    Attributes:
        store: the store's name, without suffix.
        files: lists the raw files.
        build: builds the store at a path.
    """

    store: str
    files: Callable[[], Sequence[Path]]
    build: Callable[[Path], object]


def provide(
    source: str | Path, root: str | Path | None, *, release: Release, sample: Sample, download: bool = True
) -> Path:
    """Return the path of the store that a user means.

    Args:
        source: ``"release"``, ``"sample"``, or the path of a store.
        root: folder where stores live; by default `default_root`.
        release: what ``"release"`` means.
        sample: what ``"sample"`` means.
        download: whether to download the release if it is not there.

    Raises:
        SourceMissingError, DownloadError, ReleasedFileError: as `ensure_release`.
        StoreNotFoundError: there is nothing at the path.
    """
    folder = default_root() if root is None else Path(root).expanduser()
    if source == "release":
        return ensure_release(release, folder, download=download)
    if source == "sample":
        return ensure_sample(sample, folder)
    path = Path(source).expanduser()
    if not path.exists():
        if isinstance(source, str) and Path(path.name).stem == source:
            raise OptionError(
                f"source={source!r} is unknown, and nothing here has that name; give 'release', 'sample', or the path "
                "of a NAME.zarr folder or a NAME.h5 file."
            )
        raise StoreNotFoundError(path)
    return path


def default_root() -> Path:
    """Where stores live unless a caller says otherwise: ``$TEMPORAL_PAIRS_HOME``, else the user's cache folder."""
    import platformdirs

    chosen = os.environ.get(HOME_VARIABLE)
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("temporal-pairs")


def ensure_sample(sample: Sample, root: Path) -> Path:
    """Return the store of a synthetic sample, building it if it is not there.

    Its name carries a digest of the raw sample and of the store's schema, so an upgrade of the package never serves an
    older one.
    """
    import hashlib

    from temporalpairs.store import SCHEMA_VERSION

    digest = hashlib.sha256(str(SCHEMA_VERSION).encode())
    for file in sample.files():
        digest.update(file.read_bytes())
    path = root / f"{sample.store}-{digest.hexdigest()[:8]}.zarr"
    if not path.exists():
        _make_folder(root)
        with _another_may_win():
            sample.build(path)
    return path


def ensure_release(release: Release, root: Path, *, download: bool = True, progress: bool = True) -> Path:
    """Return the store of a released dataset, downloading and converting the file if it is not there.

    A released file that lies in ``root`` is converted without asking the network. Of several processes, one works and
    the others wait.

    Raises:
        SourceMissingError: it is not there and ``download`` is False.
        DownloadError: it could not be downloaded.
        ReleasedFileError: the file is damaged or something else.
    """
    from filelock import FileLock

    path = root / f"{release.store}.zarr"
    if path.exists():
        return path
    file = root / release.filename
    if not download and not file.exists():
        raise SourceMissingError(release.title, path, release.filename)
    _make_folder(root)
    with FileLock(root / f".{release.store}.lock"):
        if path.exists():
            return path
        license = None
        verified = False
        if not file.exists():
            from temporalpairs.download import zenodo

            found = zenodo.find_file(release.record, release.filename, folder=root)
            zenodo.download(found, root, progress=progress)
            license, verified = found.license, True
        with _another_may_win():
            release.convert(file, path, license, verified)
        if verified:
            file.unlink()  # downloaded above; a file that the user put there stays
    return path


@contextmanager
def _another_may_win() -> Iterator[None]:
    """Accept that another process published the same store meanwhile."""
    try:
        yield
    except StoreExistsError:
        return


def _make_folder(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TemporalPairsError(
            f"{root}: cannot be made ({error.strerror}).\n"
            f"  Pass another root, or set {HOME_VARIABLE} to a folder that you may write to."
        ) from error
