"""`load_kitti_masks`: from a word (release, sample) or a path to a dataset."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kittimasks.facts import SAMPLE_LICENCE, Edition
from temporalpairs.builders.errors import SourceMissingError, StoreExistsError, StoreNotFoundError, TemporalPairsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kittimasks.dataset import KittiMasks
    from temporalpairs.loaders.dataset import Transform
    from temporalpairs.loaders.options import Boundary
    from temporalpairs.loaders.splits import Split

HOME_VARIABLE = "TEMPORAL_PAIRS_HOME"
SAMPLE = Path(__file__).parent / "sample" / "instances_txt"
SAMPLE_EDITION = Edition(
    edition="synthetic sample",
    licence=SAMPLE_LICENCE,
    notes="Synthetic: drawn by kittimasks.synthetic in the format of KITTI MOTS. No real person is in it.",
    synthetic=True,
)


def load_kitti_masks(
    root: str | Path | None = None,
    *,
    source: str | Path = "release",
    split: Split = "all",
    window: int = 2,
    max_delta_t: int = 5,
    boundary: Boundary = "clamp",
    seed: int = 0,
    download: bool = True,
    transform: Transform | None = None,
) -> KittiMasks:
    """Load KITTI Masks, downloading and converting it the first time.

    Args:
        root: folder where stores live; by default ``$TEMPORAL_PAIRS_HOME``, else the user's cache folder.
        source: ``"release"``, the published file (Zenodo record 3931823); ``"sample"``, a small synthetic one that
            ships with the package and needs no network; or the path of a store.
        split: ``"all"``, ``"train"``, ``"val"`` or ``"test"``: 80, 10 and 10 % of the frames, whole videos each
            where the store knows them.
        window: frames of a sample, 2 or more.
        max_delta_t: neighbouring frames of a sample lie 1 … max_delta_t frames apart.
        boundary: at the end of a sequence, ``"clamp"`` shrinks the distance as the reference does, ``"valid"`` draws
            among the distances that fit.
        seed: of the distances; a sample is a function of (seed, epoch, index) alone.
        download: whether to download the release if it is not there.
        transform: applied to the frames, float32 [window, 1, 64, 64], of each sample.

    Returns:
        A map-style dataset of (frames float32 [window, 1, 64, 64], factors float32 [window, 3] = y, x, area).

    Raises:
        SourceMissingError: the release is not there and ``download`` is False.
        DownloadError: the release could not be downloaded; the text tells the manual way.
        ReleasedFileError: the released file is damaged or something else.
        StoreError: a store is missing or damaged.
        OptionError: an option does not fit.
    """
    from kittimasks.dataset import KittiMasks
    from temporalpairs.builders.store import read_store

    folder = default_root() if root is None else Path(root).expanduser()
    if source == "release":
        path = ensure_release(folder, download=download)
    elif source == "sample":
        path = ensure_sample(folder)
    else:
        path = Path(source).expanduser()
        if not path.exists():
            raise StoreNotFoundError(path)
    return KittiMasks(
        read_store(path),
        split=split,
        window=window,
        max_delta_t=max_delta_t,
        boundary=boundary,
        seed=seed,
        transform=transform,
    )


def default_root() -> Path:
    """Where stores live unless a caller says otherwise: ``$TEMPORAL_PAIRS_HOME``, else the user's cache folder."""
    import platformdirs

    chosen = os.environ.get(HOME_VARIABLE)
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("temporal-pairs")


def ensure_sample(root: Path) -> Path:
    """Return the store of the synthetic sample, building it if it is not there.

    Its name carries a digest of the raw sample and of what the builder makes of it, so an upgrade of the package never
    serves an older one.
    """
    import hashlib

    from temporalpairs.builders.build import build_kitti_masks
    from temporalpairs.builders.store import SCHEMA_VERSION

    files = sorted(SAMPLE.glob("*.txt"))
    digest = hashlib.sha256(str(SCHEMA_VERSION).encode())
    for file in files:
        digest.update(file.read_bytes())
    path = root / f"kitti-masks-sample-{digest.hexdigest()[:8]}.zarr"
    if not path.exists():
        _make_folder(root)
        with _another_may_win():
            build_kitti_masks(path, [SAMPLE], progress=False, edition=SAMPLE_EDITION)
    return path


def ensure_release(root: Path, *, download: bool = True, progress: bool = True) -> Path:
    """Return the store of the released dataset, downloading and converting the file if it is not there.

    A released file that lies in ``root`` is converted without asking the network. Of several processes, one works and
    the others wait.

    Raises:
        SourceMissingError: it is not there and ``download`` is False.
        DownloadError: it could not be downloaded.
        ReleasedFileError: the file is damaged or something else.
    """
    from filelock import FileLock

    from kittimasks.convert import convert_release
    from kittimasks.released import RECORD, RELEASED_FILENAME

    path = root / "kitti-masks.zarr"
    if path.exists():
        return path
    pickle = root / RELEASED_FILENAME
    if not download and not pickle.exists():
        raise SourceMissingError("KITTI Masks", path, RELEASED_FILENAME)
    _make_folder(root)
    with FileLock(root / ".kitti-masks.lock"):
        if path.exists():
            return path
        licence = None
        verified = False
        if not pickle.exists():
            from temporalpairs.builders import zenodo

            file = zenodo.find_file(RECORD, RELEASED_FILENAME, folder=root)
            zenodo.download(file, root, progress=progress)
            licence, verified = file.licence, True
        with _another_may_win():
            convert_release(pickle, path, licence=licence, verified=verified)
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
