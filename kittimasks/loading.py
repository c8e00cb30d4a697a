"""`load_kitti_masks` and `load_kitti_arrays`: the release, the sample or any store as a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kittimasks import card
from temporalpairs.download.cache import Release, Sample, provide
from temporalpairs.errors import DownloadError

if TYPE_CHECKING:
    from kittimasks.dataset import KittiMasks
    from temporalpairs.loaders.arrays import ArrayDataset
    from temporalpairs.loaders.dataset import Transform
    from temporalpairs.loaders.options import Boundary
    from temporalpairs.loaders.splits import Split
    from temporalpairs.store import Store

SAMPLE_FOLDER = Path(__file__).parent / "sample" / "instances_txt"


def _convert(pickle: Path, out: Path, license: str | None, verified: bool) -> None:
    from kittimasks.release import convert_release

    convert_release(pickle, out, license=license, verified=verified)


def _build_sample(out: Path) -> None:
    from kittimasks.build import build_kitti_masks

    build_kitti_masks(out, [SAMPLE_FOLDER], progress=False, origin=card.SYNTHETIC)


RELEASE = Release(card.DESCRIPTION.title, card.RECORD, card.RELEASED_FILENAME, card.DESCRIPTION.dataset, _convert)
SAMPLE = Sample(f"{card.DESCRIPTION.dataset}-sample", lambda: sorted(SAMPLE_FOLDER.glob("*.txt")), _build_sample)


def load_kitti_masks(
    source: str | Path = "release",
    *,
    root: str | Path | None = None,
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
    """Load KITTI Masks as a PyTorch dataset; the first call downloads and converts the release.

    Args:
        source: ``"release"``, the published file (Zenodo record 3931823); ``"sample"``, a small synthetic one that
            ships with the package and needs no network; or the path of a store.
        root: folder where the stores of release and sample live; by default ``$TEMPORAL_PAIRS_HOME``, else the user's
            cache folder.
        split: ``"all"``, ``"train"``, ``"val"`` or ``"test"``: 80, 10 and 10 % of the frames, whole videos each
            where the store knows them.
        window: number of frames in a sample, at least 2.
        max_delta_t: largest distance between neighboring frames of a sample, in frames; the distance is drawn
            uniformly from 1 … max_delta_t.
        boundary: rule at the end of a sequence: ``"clamp"`` shrinks the distance as the reference does, ``"valid"``
            draws among the distances that fit.
        seed: random seed of the frame distances; a sample is a function of (seed, epoch, index) alone.
        step: fixed distance between neighboring frames of a sample, instead of a random one.
        stride: keep every stride-th window of a sequence, counted from its first frame.
        min_length: number of frames below which a sequence is left out.
        one_per_sequence: whether a sample is a sequence, of which an epoch shows one window, drawn anew in every epoch.
        negatives: number of further windows in a sample, for contrastive methods: each is drawn anew in every epoch,
            uniformly among all other windows. Frames become [1 + negatives, window, C, H, W] and factors
            [1 + negatives, window, F].
        download: whether to download the release if it is not on this machine.
        transform: function of the frames of a sample, float32 [window, 1, 64, 64]; one of two arguments,
            ``transform(frames, generator)``, gets a generator seeded by (seed, epoch, index).

    Returns:
        A map-style dataset of (frames float32 [window, 1, 64, 64] in [0, 1], factors float32 [window, 3] = y, x, area
        in pixels; origin top left, y down).

    Raises:
        OptionError: ``source`` is neither a known word nor an existing path, or an option does not fit.
        SourceMissingError: the release is not on this machine and ``download`` is False.
        DownloadError: the release could not be downloaded; the text tells how to do it by hand.
        ReleasedFileError: the released file is damaged or something else.
        StoreError: a store is missing or damaged.

    Example:
        ```python
        from kittimasks import load_kitti_masks
        from torch.utils.data import DataLoader

        masks = load_kitti_masks("sample", split="train", max_delta_t=3)
        frames, factors = masks[0]  # [2, 1, 64, 64] and [2, 3]
        loader = DataLoader(masks, batch_size=32, shuffle=True)
        frames, factors = next(iter(loader))  # [32, 2, 1, 64, 64] and [32, 2, 3]
        ```
    """
    from kittimasks.dataset import KittiMasks

    return KittiMasks(
        _open(source, root, download=download),
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
    source: str | Path = "release",
    *,
    root: str | Path | None = None,
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
    """Load KITTI Masks as NumPy arrays, without importing PyTorch.

    Arguments, samples and errors are those of `load_kitti_masks`; `temporalpairs.loaders.ArrayLoader` makes batches.

    Example:
        ```python
        from kittimasks import load_kitti_arrays

        masks = load_kitti_arrays("sample", window=4, step=1)
        frames, factors = masks[0]  # numpy arrays [4, 1, 64, 64] and [4, 3]
        ```
    """
    from kittimasks.windows import choose_windows
    from temporalpairs.loaders.arrays import ArrayDataset
    from temporalpairs.loaders.options import WindowOptions

    options = WindowOptions(
        window=window,
        max_delta_t=max_delta_t,
        boundary=boundary,
        seed=seed,
        step=step,
        stride=stride,
        min_length=min_length,
        one_per_sequence=one_per_sequence,
        negatives=negatives,
    )
    return ArrayDataset(choose_windows(_open(source, root, download=download), split, options)[1])


def _open(source: str | Path, root: str | Path | None, *, download: bool) -> Store:
    """Find, download or build the store that ``source`` names, and read it."""
    from temporalpairs.store import read_store

    try:
        path = provide(source, root, release=RELEASE, sample=SAMPLE, download=download)
    except DownloadError as error:
        raise error.with_traceback(None) from None  # pages of frames would hide what to do by hand
    return read_store(path)
