"""`load_kitti_masks`: from a word (release, sample) or a path to a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kittimasks import card
from temporalpairs.download.cache import Release, Sample, provide

if TYPE_CHECKING:
    from kittimasks.dataset import KittiMasks
    from temporalpairs.loaders.arrays import ArrayDataset
    from temporalpairs.loaders.dataset import Transform
    from temporalpairs.loaders.options import Boundary
    from temporalpairs.loaders.splits import Split

SAMPLE_FOLDER = Path(__file__).parent / "sample" / "instances_txt"


def _convert(pickle: Path, out: Path, license: str | None, verified: bool) -> None:
    from kittimasks.convert import convert_release

    convert_release(pickle, out, license=license, verified=verified)


def _build_sample(out: Path) -> None:
    from kittimasks.build import build_kitti_masks

    build_kitti_masks(out, [SAMPLE_FOLDER], progress=False, edition=card.SYNTHETIC)


RELEASE = Release(card.FACTS.title, card.RECORD, card.RELEASED_FILENAME, card.FACTS.dataset, _convert)
SAMPLE = Sample(f"{card.FACTS.dataset}-sample", lambda: sorted(SAMPLE_FOLDER.glob("*.txt")), _build_sample)


def load_kitti_masks(
    root: str | Path | None = None,
    *,
    source: str | Path = "release",
    split: Split = "all",
    window: int = 2,
    max_delta_t: int = 5,
    boundary: Boundary = "clamp",
    seed: int = 0,
    step: int | None = None,
    stride: int = 1,
    min_length: int = 1,
    one_per_sequence: bool = False,
    negatives: int = 0,
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
        max_delta_t: neighboring frames of a sample lie 1 … max_delta_t frames apart.
        boundary: at the end of a sequence, ``"clamp"`` shrinks the distance as the reference does, ``"valid"`` draws
            among the distances that fit.
        seed: of the distances; a sample is a function of (seed, epoch, index) alone.
        step: a fixed distance of neighboring frames instead of a random one.
        stride: keep every stride-th window of a sequence, counted from its first frame.
        min_length: sequences with fewer frames are left out.
        one_per_sequence: a sample is a sequence, of which an epoch shows one window, drawn anew in every epoch.
        negatives: further windows of a sample, for contrastive methods: each drawn anew in every epoch, uniformly among
            all other windows. Frames become [1 + negatives, window, C, H, W], factors [1 + negatives, window, F].
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
    from temporalpairs.store import read_store

    path = provide(source, root, release=RELEASE, sample=SAMPLE, download=download)
    return KittiMasks(
        read_store(path),
        split=split,
        window=window,
        max_delta_t=max_delta_t,
        boundary=boundary,
        seed=seed,
        step=step,
        stride=stride,
        min_length=min_length,
        one_per_sequence=one_per_sequence,
        negatives=negatives,
        transform=transform,
    )


def load_kitti_arrays(
    root: str | Path | None = None,
    *,
    source: str | Path = "release",
    split: Split = "all",
    window: int = 2,
    max_delta_t: int = 5,
    boundary: Boundary = "clamp",
    seed: int = 0,
    step: int | None = None,
    stride: int = 1,
    min_length: int = 1,
    one_per_sequence: bool = False,
    negatives: int = 0,
    download: bool = True,
) -> ArrayDataset:
    """Load KITTI Masks as NumPy arrays, without importing PyTorch; `load_kitti_masks` explains the arguments.

    `temporalpairs.loaders.ArrayLoader` makes batches of it.
    """
    from kittimasks.windows import choose_windows
    from temporalpairs.loaders.arrays import ArrayDataset
    from temporalpairs.loaders.options import WindowOptions
    from temporalpairs.store import read_store

    path = provide(source, root, release=RELEASE, sample=SAMPLE, download=download)
    options = WindowOptions(window, max_delta_t, boundary, seed, step, min_length, one_per_sequence, stride, negatives)
    return ArrayDataset(choose_windows(read_store(path), split, options)[1])
