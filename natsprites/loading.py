"""`load_natural_sprites`: from a word (release, sample) or a path to a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from natsprites import card
from temporalpairs.download.cache import Release, Sample, provide

if TYPE_CHECKING:
    from natsprites.dataset import NaturalSprites
    from natsprites.rendering.options import SpriteOptions
    from temporalpairs.loaders.arrays import ArrayDataset
    from temporalpairs.loaders.dataset import Transform
    from temporalpairs.loaders.splits import Split

SAMPLE_FILE = Path(__file__).parent / "sample" / "youtube_vis.json"


def _convert(csv: Path, out: Path, license: str | None, verified: bool) -> None:
    from natsprites.convert import convert_release

    convert_release(csv, out, license=license, verified=verified)


def _build_sample(out: Path) -> None:
    from natsprites.build import build_natural_sprites

    build_natural_sprites(out, [SAMPLE_FILE], progress=False, edition=card.SYNTHETIC)


RELEASE = Release(card.FACTS.title, card.RECORD, card.RELEASED_FILENAME, card.FACTS.dataset, _convert)
SAMPLE = Sample(f"{card.FACTS.dataset}-sample", lambda: [SAMPLE_FILE], _build_sample)


def load_natural_sprites(
    root: str | Path | None = None,
    *,
    source: str | Path = "release",
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
    sprites: SpriteOptions | None = None,
) -> NaturalSprites:
    """Load Natural Sprites, downloading and converting the mask statistics the first time.

    Args:
        root: folder where stores live; by default ``$TEMPORAL_PAIRS_HOME``, else the user's cache folder.
        source: ``"release"``, the published file (Zenodo record 3948069); ``"sample"``, a small synthetic one that
            ships with the package and needs no network; or the path of a store.
        split: ``"all"``, ``"train"``, ``"val"`` or ``"test"``: 80, 10 and 10 % of the frames; whole videos each where
            the store knows them, whole objects otherwise.
        window: frames of a sample, 2 or more.
        discrete: move x, y and area to the centers of 32, 32 and 6 bins, as the reference's discrete variant does.
        area_filter: drop this share of the transitions, those with the smallest and the largest areas; 0 keeps all.
        channels: 3 or 1, equal ones unless there are colors.
        seed: of angle, shape and color; a sample is a function of (seed, epoch, index) alone.
        step: frames from one of a window to the next.
        stride: keep every stride-th window of a sequence, counted from its first frame.
        min_length: sequences with fewer frames are left out.
        one_per_sequence: a sample is a sequence, of which an epoch shows one window, drawn anew in every epoch.
        negatives: further windows of a sample, for contrastive methods: each drawn anew in every epoch, uniformly among
            all other windows. Frames become [1 + negatives, window, C, H, W], factors [1 + negatives, window, F].
        download: whether to download the release if it is not there.
        transform: applied to the frames, float32 [window, channels, 64, 64], of each sample.
        sprites: shapes, angles, colors and size of the sprites; by default as in the reference.

    Returns:
        A map-style dataset of (frames float32 [window, channels, 64, 64], factors float32 [window, 5] = x, y, scale,
        angle, shape).

    Raises:
        SourceMissingError: the release is not there and ``download`` is False.
        DownloadError: the release could not be downloaded; the text tells the manual way.
        ReleasedFileError: the released file is damaged or something else.
        StoreError: a store is missing or damaged.
        OptionError: an option does not fit.
    """
    from natsprites.dataset import NaturalSprites
    from temporalpairs.store import read_store

    path = provide(source, root, release=RELEASE, sample=SAMPLE, download=download)
    return NaturalSprites(
        read_store(path),
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
    )


def load_sprite_arrays(
    root: str | Path | None = None,
    *,
    source: str | Path = "release",
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
    sprites: SpriteOptions | None = None,
) -> ArrayDataset:
    """Load Natural Sprites as NumPy arrays, without importing PyTorch; `load_natural_sprites` explains the arguments.

    `temporalpairs.loaders.ArrayLoader` makes batches of it.
    """
    from natsprites.windows import SpriteChoice, choose_sprites
    from temporalpairs.loaders.arrays import ArrayDataset
    from temporalpairs.store import read_store

    path = provide(source, root, release=RELEASE, sample=SAMPLE, download=download)
    choice = SpriteChoice(
        split,
        window,
        step,
        min_length,
        one_per_sequence,
        discrete,
        area_filter,
        channels,
        seed,
        sprites,
        stride,
        negatives,
    )
    return ArrayDataset(choose_sprites(read_store(path), choice).source)
