"""A dataset with a full grid of factors, declared in a few lines, and what follows from that: load and build."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tqdm import tqdm

from temporalpairs.checks import choice, shown
from temporalpairs.download.cache import PublishedFile, PublishedFiles, Sample, provide
from temporalpairs.errors import DatasetWarning, DownloadError, OptionError, StoreExistsError, WrongStoreError
from temporalpairs.factorial.reading import SIDE, RawGrid, given_paths
from temporalpairs.factorial.sample import Scene, draw_grid
from temporalpairs.files import exists
from temporalpairs.sequences import PACKED_BYTES
from temporalpairs.store import StoreFormat, manifest, store_path
from temporalpairs.store.grid import Grid, open_grid, write_grid
from temporalpairs.store.manifest import SYNTHETIC_LICENSE, DatasetDescription, Origin

if TYPE_CHECKING:
    from temporalpairs.factorial.dataset import FactorGrid
    from temporalpairs.factorial.transitions import Law
    from temporalpairs.factorial.windows import Holdout
    from temporalpairs.loaders.arrays import ArrayDataset
    from temporalpairs.loaders.dataset import Transform
    from temporalpairs.loaders.splits import Split


@dataclass(frozen=True, slots=True)
class Factor:
    """A factor of a grid.

    Attributes:
        name: its name.
        size: how many values it takes in the published dataset.
        sample: how many it takes in the synthetic sample.
        categorical: whether its values have no order.
        scored: whether metrics see it.
    """

    name: str
    size: int
    sample: int
    categorical: bool = False
    scored: bool = True


@dataclass(frozen=True)
class GridDataset:
    """A dataset with a full grid of factors; `load` and `build` are what its package offers as functions.

    Attributes:
        name: the dataset's name in stores and on the command line.
        title: its name in prose.
        homepage: where it is published.
        license: license of the data.
        factors: its factors, the last of which moves fastest from image to image.
        channels: of an image.
        files: the published raw files of each variant; the first is the default.
        read: opens raw files, for the length of a ``with``.
        scene: what the sample shows for values of the factors.
        packed: whether images are stored a bit a pixel.
    """

    name: str
    title: str
    homepage: str
    license: str
    factors: tuple[Factor, ...]
    channels: int
    files: Mapping[str, tuple[PublishedFile, ...]]
    read: Callable[[list[Path]], AbstractContextManager[RawGrid]]
    scene: Callable[..., Scene]
    packed: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the factors."""
        return tuple(factor.name for factor in self.factors)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of the published grid."""
        return tuple(factor.size for factor in self.factors)

    @property
    def release(self) -> PublishedFiles:
        """The published files of the default variant."""
        return self._release(next(iter(self.files)))

    @property
    def sample(self) -> Sample:
        """The synthetic sample, which is drawn when it is asked for."""
        here = Path(__file__).parent  # a change of the generator is another sample
        return Sample(f"{self.name}-sample", lambda: [here / "sample.py", here / f"{self.name}.py"], self._build_sample)

    def load(
        self,
        source: str | Path = "release",
        *,
        root: str | Path | None = None,
        split: Split = "all",
        window: int = 2,
        transitions: Law = "laplace",
        rate: float | Literal["random"] = 1.0,
        changing: int | Literal["random"] = "random",
        holdout: Holdout | None = None,
        seed: int = 0,
        variant: str | None = None,
        download: bool = True,
        transform: Transform | None = None,
    ) -> FactorGrid:
        """Load the dataset for PyTorch; the first call downloads and converts its published files.

        Args:
            source: ``"release"``, the published files; ``"sample"``, a small synthetic grid that needs no network; or
                the path of a store.
            root: folder where the stores of release and sample live; by default ``$TEMPORAL_PAIRS_HOME``, else the
                user's cache folder.
            split: ``"all"``, ``"train"``, ``"val"`` or ``"test"``: 80, 10 and 10 % of the combinations of factors, by a
                hash of their class indices. No frame of a split is in another one.
            window: number of frames in a sample, at least 2.
            transitions: law by which the factors move from frame to frame: ``"laplace"`` (LAP in the paper),
                ``"uniform"`` (UNI), ``"gaussian"`` or ``"random"``; see `Transition`.
            rate: rate of ``"laplace"`` and ``"gaussian"``, or ``"random"``: uniform on 1 … 10 in each transition.
            changing: how many factors change in ``"uniform"``, or ``"random"``: uniform on 1 … n − 1 each time.
            holdout: values of one factor, or of several at once, as class indices: ``{"azimuth": [0, 1]}``. Images with
                them are ``split="test"``, and of the others a ninth ``"val"`` and the rest ``"train"``.
            seed: random seed of the transitions; a sample is a function of (seed, epoch, index) alone.
            variant: which of several published versions ``"release"`` is: MPI3D has ``"real"`` (the default), ``"toy"``
                and ``"realistic"``.
            download: whether to download the files if they are not on this machine.
            transform: function of the frames of a sample, float32 [window, channels, 64, 64]; one of two arguments,
                ``transform(frames, generator)``, gets a generator seeded by (seed, epoch, index).

        Returns:
            A map-style dataset of (frames float32 [window, channels, 64, 64] in [0, 1], factors float32 [window,
            factors] as class indices).

        Raises:
            OptionError: ``source`` is neither a known word nor an existing path, or an option does not fit.
            SourceMissingError: the release is not on this machine and ``download`` is False.
            DownloadError: a file could not be downloaded; the text tells how to do it by hand.
            RawDataError: a downloaded file is damaged or something else.
            StoreError: a store is missing or damaged, or holds another dataset.

        Example:
            ```python
            from temporalpairs.factorial import load_dsprites

            sprites = load_dsprites("sample", transitions="laplace", rate="random")
            frames, factors = sprites[0]  # [2, 1, 64, 64] and [2, 5]
            unseen = load_dsprites("sample", split="test", holdout={"shape": [0], "orientation": [2, 3]})
            ```
        """
        from temporalpairs.factorial.dataset import FactorGrid
        from temporalpairs.factorial.windows import GridChoice

        chosen = GridChoice(split, window, transitions, rate, changing, holdout, seed)
        grid = self._open(source, root, variant, download=download)
        return FactorGrid(grid, chosen, transform=transform, more={"variant": variant} if variant else {})

    def load_arrays(
        self,
        source: str | Path = "release",
        *,
        root: str | Path | None = None,
        split: Split = "all",
        window: int = 2,
        transitions: Law = "laplace",
        rate: float | Literal["random"] = 1.0,
        changing: int | Literal["random"] = "random",
        holdout: Holdout | None = None,
        seed: int = 0,
        variant: str | None = None,
        download: bool = True,
    ) -> ArrayDataset:
        """Load the dataset as NumPy arrays, without importing PyTorch; arguments and samples are those of `load`.

        Example:
            ```python
            from temporalpairs.factorial import load_cars3d_arrays

            frames, factors = load_cars3d_arrays("sample", window=4)[0]  # numpy arrays [4, 3, 64, 64] and [4, 3]
            ```
        """
        from temporalpairs.factorial.windows import GridChoice, GridWindows
        from temporalpairs.loaders.arrays import ArrayDataset

        chosen = GridChoice(split, window, transitions, rate, changing, holdout, seed)
        return ArrayDataset(GridWindows.of(self._open(source, root, variant, download=download), chosen))

    def build(
        self,
        out: str | Path,
        raw: str | Path | Sequence[str | Path],
        *,
        format: StoreFormat | None = None,
        progress: bool = True,
        origin: Origin | None = None,
    ) -> Path:
        """Convert raw files at hand to a store.

        A grid that is smaller or larger than the published one raises a warning, not an error.

        Args:
            out: path of the new store, ``NAME.zarr``.
            raw: the published file, the files, or the folder that they are in.
            format: ``"zarr"`` or None; a grid is mapped from a zarr store.
            progress: show a progress bar on a terminal.
            origin: what the store says of its origin; by default, that it was built.

        Returns:
            The path of the store.

        Raises:
            OptionError: an argument does not fit.
            RawDataError: a raw file is missing, damaged or something else. Nothing is written.
            StoreExistsError: there is something at ``out``. It stays as it is.
        """
        path, format = store_path(out, format)
        if exists(path):
            raise StoreExistsError(path)
        with self.read(given_paths(raw)) as grid:
            origin = origin or Origin("built from raw files", self.license)
            written = self._write(path, grid, origin, format, progress=progress)
        differ = [
            f"{size} {factor.name} (published: {factor.size})"
            for factor, size in zip(self.factors, grid.sizes, strict=True)
            if factor.size != size
        ]
        if differ:
            warnings.warn(f"{written}: the raw files hold {', '.join(differ)}.", DatasetWarning, stacklevel=2)
        return written

    def _open(self, source: str | Path, root: str | Path | None, variant: str | None, *, download: bool) -> Grid:
        if variant is not None and "" in self.files:
            raise OptionError(f"variant={shown(variant)}: {self.title} has one version only; leave it out.")
        variant = next(iter(self.files)) if variant is None else choice("variant", variant, list(self.files))
        try:
            path = provide(source, root, release=self._release(variant), sample=self.sample, download=download)
        except DownloadError as error:
            raise error.with_traceback(None) from None  # pages of frames would hide what to do by hand
        grid = open_grid(path)
        if grid.attributes["dataset"] != self.name:
            found = f"it holds {grid.attributes['title']}, not {self.title}"
            raise WrongStoreError(grid.path, found, f"a {self.title} store")
        return grid

    def _release(self, variant: str) -> PublishedFiles:
        store = f"{self.name}-{variant}" if variant else self.name
        origin = Origin(f"release, {variant}" if variant else "release", self.license)
        return PublishedFiles(self.title, self.files[variant], store, partial(_convert, self, origin))

    def _build_sample(self, out: Path) -> None:
        sizes = tuple(factor.sample for factor in self.factors)
        categorical = tuple(factor.categorical for factor in self.factors)
        drawn = draw_grid(sizes, categorical, self.scene, self.channels, packed=self.packed)
        notes = "Synthetic: drawn by temporalpairs.factorial.sample; no image of the dataset is in it."
        origin = Origin("synthetic sample", SYNTHETIC_LICENSE, notes, synthetic=True)
        self._write(store_path(out)[0], RawGrid(sizes, drawn, []), origin, None, progress=False)

    def _write(self, path: Path, grid: RawGrid, origin: Origin, format: StoreFormat | None, *, progress: bool) -> Path:
        description = DatasetDescription(self.name, self.title, self.homepage, self.names, ("",) * len(self.names))
        papers = [Path(__file__).parent / "citations" / f"{name}.bib" for name in (self.name, "klindt2021")]
        attributes: dict[str, Any] = {
            **manifest.attributes(
                description,
                origin,
                image_shape=(SIDE, SIDE),
                videos=[],
                sources=grid.sources,
                builder={"name": f"build_{self.name}", "options": {}},
                categories={},
                citation="\n".join(paper.read_text(encoding="utf-8") for paper in papers),
                reader="",
            ),
            "channels": self.channels,
            "factor_sizes": list(grid.sizes),
            "categorical": [factor.categorical for factor in self.factors],
            "scored": [factor.scored for factor in self.factors],
        }
        count, width = 1, PACKED_BYTES if self.packed else self.channels * SIDE * SIDE
        for size in grid.sizes:
            count *= size
        hidden = None if progress else True  # None: off a terminal
        with tqdm(desc=f"converting {self.title}", total=count, unit=" images", disable=hidden) as bar:
            blocks = (_counted(bar, block) for block in grid.blocks)
            return write_grid(path, blocks, (count, width), attributes, format)


def _convert(dataset: GridDataset, origin: Origin, paths: list[Path], out: Path) -> None:
    dataset.build(out, paths, origin=origin)


def _counted(bar: tqdm[Any], block: Any) -> Any:
    bar.update(len(block))
    return block
