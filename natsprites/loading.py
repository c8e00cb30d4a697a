"""`load_natural_sprites` and `load_sprite_arrays`: the release, the sample or any store as a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from natsprites import card
from temporalpairs.download.cache import Release, Sample, provide
from temporalpairs.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from natsprites.dataset import NaturalSprites
    from natsprites.motion import MotionLaw
    from natsprites.rendering.options import SpriteOptions
    from temporalpairs.loaders.arrays import ArrayDataset
    from temporalpairs.loaders.dataset import Transform
    from temporalpairs.loaders.splits import Split
    from temporalpairs.store import Store

SAMPLE_FILE = Path(__file__).parent / "sample" / "youtube_vis.json"


def _convert(csv: Path, out: Path, license: str | None, verified: bool) -> None:
    from natsprites.release import convert_release

    convert_release(csv, out, license=license, verified=verified)


def _build_sample(out: Path) -> None:
    from natsprites.build import build_natural_sprites

    build_natural_sprites(out, [SAMPLE_FILE], progress=False, origin=card.SYNTHETIC)


RELEASE = Release(card.DESCRIPTION.title, card.RECORD, card.RELEASED_FILENAME, card.DESCRIPTION.dataset, _convert)
SAMPLE = Sample(f"{card.DESCRIPTION.dataset}-sample", lambda: [SAMPLE_FILE], _build_sample)


def load_natural_sprites(
    source: str | Path = "release",
    *,
    root: str | Path | None = None,
    split: Split = "all",
    window: int = 2,
    discrete: bool = False,
    area_filter: float = 0.1,
    channels: int = 3,
    seed: int = 0,
    step: int = 1,
    stride: int = 1,
    min_length: int = 1,
    one_per_sequence: bool = False,
    negatives: int = 0,
    download: bool = True,
    transform: Transform | None = None,
    sprites: SpriteOptions | Mapping[str, Any] | None = None,
    transitions: MotionLaw = "natural",
    shape: float | None = None,
) -> NaturalSprites:
    """Load Natural Sprites as a PyTorch dataset; the first call downloads and converts the mask statistics.

    Args:
        source: ``"release"``, the published file (Zenodo record 3948069); ``"sample"``, a small synthetic one that
            ships with the package and needs no network; or the path of a store.
        root: folder where the stores of release and sample live; by default ``$TEMPORAL_PAIRS_HOME``, else the user's
            cache folder.
        split: ``"all"``, ``"train"``, ``"val"`` or ``"test"``: 80, 10 and 10 % of the frames; whole videos each where
            the store knows them, whole objects otherwise.
        window: number of frames in a sample, at least 2.
        discrete: whether to move x, y and area to the centers of 32, 32 and 6 bins, as the reference's discrete
            variant does.
        area_filter: share of the transitions that is dropped, those with the smallest and the largest areas; 0 keeps
            all.
        channels: number of channels of a frame, 3 or 1; all are equal unless there are colors.
        seed: random seed of angle, shape and color; a sample is a function of (seed, epoch, index) alone.
        step: distance between neighboring frames of a sample, in frames.
        stride: keep every stride-th window of a sequence, counted from its first frame.
        min_length: number of frames below which a sequence is left out.
        one_per_sequence: whether a sample is a sequence, of which an epoch shows one window, drawn anew in every epoch.
        negatives: number of further windows in a sample, for contrastive methods: each is drawn anew in every epoch,
            uniformly among all other windows. Frames become [1 + negatives, window, C, H, W] and factors
            [1 + negatives, window, F].
        download: whether to download the release if it is not on this machine.
        transform: function of the frames of a sample, float32 [window, channels, 64, 64]; one of two arguments,
            ``transform(frames, generator)``, gets a generator seeded by (seed, epoch, index).
        sprites: shapes, angles, colors and size of the sprites, as `SpriteOptions` or the mapping that their
            ``to_json()`` gives; by default as in the reference.
        transitions: ``"natural"``, sprites move as the masks do; or the law by which x, y, scale and angle move from
            the first frame on: ``"laplace"``, ``"uniform"``, ``"gaussian"`` or ``"generalized-normal"``, each with the
            masks' standard deviations.
        shape: exponent of ``"generalized-normal"``: 2 is a normal distribution, 1 Laplace's, below that it is sparser;
            the paper reports 0.44 to 0.55 for real masks.

    Returns:
        A map-style dataset of (frames float32 [window, channels, 64, 64] in [0, 1], factors float32 [window, 5] = x, y
        and scale as shares of the side (y up), angle in degrees, code of the shape).

    Raises:
        OptionError: ``source`` is neither a known word nor an existing path, or an option does not fit.
        SourceMissingError: the release is not on this machine and ``download`` is False.
        DownloadError: the release could not be downloaded; the text tells how to do it by hand.
        ReleasedFileError: the released file is damaged or something else.
        StoreError: a store is missing or damaged.

    Example:
        ```python
        from natsprites import SpriteOptions, load_natural_sprites

        sprites = load_natural_sprites("sample", discrete=True, channels=1)
        frames, factors = sprites[0]  # [2, 1, 64, 64] and [2, 5]
        red_or_green = SpriteOptions(shapes=("square", "star_4"), colors=((1, 0, 0), (0, 1, 0)))
        frames, factors = load_natural_sprites("sample", sprites=red_or_green)[0]  # [2, 3, 64, 64] and [2, 8]
        ```
    """
    from natsprites.dataset import NaturalSprites

    return NaturalSprites(
        _open(source, root, download=download),
        split=split,
        window=window,
        discrete=discrete,
        area_filter=area_filter,
        channels=channels,
        seed=seed,
        step=step,
        stride=stride,
        min_length=min_length,
        one_per_sequence=one_per_sequence,
        negatives=negatives,
        transform=transform,
        sprites=sprites,
        transitions=transitions,
        shape=shape,
    )


def load_sprite_arrays(
    source: str | Path = "release",
    *,
    root: str | Path | None = None,
    split: Split = "all",
    window: int = 2,
    discrete: bool = False,
    area_filter: float = 0.1,
    channels: int = 3,
    seed: int = 0,
    step: int = 1,
    stride: int = 1,
    min_length: int = 1,
    one_per_sequence: bool = False,
    negatives: int = 0,
    download: bool = True,
    sprites: SpriteOptions | Mapping[str, Any] | None = None,
    transitions: MotionLaw = "natural",
    shape: float | None = None,
) -> ArrayDataset:
    """Load Natural Sprites as NumPy arrays, without importing PyTorch.

    Arguments, samples and errors are those of `load_natural_sprites`; `temporalpairs.loaders.ArrayLoader` makes
    batches.

    Example:
        ```python
        from natsprites import load_sprite_arrays

        sprites = load_sprite_arrays("sample", window=4, channels=1)
        frames, factors = sprites[0]  # numpy arrays [4, 1, 64, 64] and [4, 5]
        ```
    """
    from natsprites.windows import SpriteChoice, choose_sprites
    from temporalpairs.loaders.arrays import ArrayDataset

    choice = SpriteChoice(
        split=split,
        window=window,
        discrete=discrete,
        area_filter=area_filter,
        channels=channels,
        seed=seed,
        step=step,
        stride=stride,
        min_length=min_length,
        one_per_sequence=one_per_sequence,
        negatives=negatives,
        sprites=sprites,  # type: ignore[arg-type]  # SpriteChoice reads a mapping
        transitions=transitions,
        shape=shape,
    )
    return ArrayDataset(choose_sprites(_open(source, root, download=download), choice).source)


def _open(source: str | Path, root: str | Path | None, *, download: bool) -> Store:
    """Find, download or build the store that ``source`` names, and read it."""
    from temporalpairs.store import read_store

    try:
        path = provide(source, root, release=RELEASE, sample=SAMPLE, download=download)
    except DownloadError as error:
        raise error.with_traceback(None) from None  # pages of frames would hide what to do by hand
    return read_store(path)
