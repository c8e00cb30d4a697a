"""Pictures of a run: both datasets, gray and colored, runs that hardly began, codes that stand still, long names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageStat
from torch import nn

from kittimasks import load_kitti_masks
from natsprites import SpriteOptions, load_natural_sprites
from slowvae.metrics import mcc
from slowvae.model import SlowVAE
from temporalpairs.errors import OptionError
from temporalpairs.loaders.dataset import WindowDataset
from temporalpairs.report.run_frames import animate_traversals, draw_reconstructions, draw_traversals
from temporalpairs.report.run_plots import plot_correlations, plot_latents, plot_losses
from temporalpairs.report.run_style import fit, font, paper, spread, with_header
from temporalpairs.report.runs import _save as save_pictures

NAMES = ["reconstructions.png", "traversals.png", "traversals.gif", "latents.png", "loss.png", "correlations.png"]
COLORED = SpriteOptions(colors=((1.0, 0.0, 0.0), (0.0, 1.0, 0.5)))
TERMS = ["total", "reconstruction", "normal_entropy", "cross_entropy_normal", "cross_entropy_laplace"]
LONG = "a name with a $dollar and far too long for the room that there is " * 4


@dataclass
class Scored:
    """What `save_pictures` takes."""

    network: SlowVAE
    dataset: WindowDataset
    log: dict[str, np.ndarray]
    codes: np.ndarray
    factors: np.ndarray
    matrix: np.ndarray
    assignment: np.ndarray
    title: str = "SlowVAE · γ = 10"
    seed: int = 0

    def save(self, folder: Path) -> list[Path]:
        return save_pictures(folder, **self.__dict__)

    @property
    def matched(self) -> dict[str, np.ndarray]:
        return {"codes": self.codes, "matrix": self.matrix, "assignment": self.assignment}

    @property
    def named(self) -> dict[str, tuple[str, ...]]:
        return {"factor_names": self.dataset.factor_names, "factor_units": self.dataset.factor_units}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def masks() -> Scored:
    return score(load_kitti_masks(source="sample"), z_dim=5)


@pytest.fixture(scope="module")
def sprites() -> Scored:
    return score(load_natural_sprites(source="sample"), z_dim=6)


@pytest.fixture(scope="module")
def colored() -> Scored:
    return score(load_natural_sprites(source="sample", sprites=COLORED), z_dim=9)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes long, for tests of what happens around it."""
    monkeypatch.setattr("temporalpairs.report.runs.animate_traversals", lambda *_, **__: [Image.new("P", (1, 1))])
    monkeypatch.setattr("temporalpairs.report.runs._plot", lambda _: b"a plot")


def score(dataset: WindowDataset, *, z_dim: int) -> Scored:
    network = made_network(z_dim, dataset.source.frame_shape[0])
    batch = dataset.numpy().__getitems__(range(0, len(dataset), max(len(dataset) // 200, 1)))
    with torch.no_grad():
        codes = network.encode(torch.from_numpy(batch.frames[:, 0])).mu.numpy()
    found = mcc(codes, batch.factors[:, 0])
    return Scored(network, dataset, made_log(300), codes, batch.factors[:, 0], found.matrix, found.assignment)


def made_network(z_dim: int, channels: int) -> SlowVAE:
    """A network whose frames depend on its latents, as if it were trained."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SlowVAE(z_dim, channels)
    with torch.no_grad():
        for layer in network.decoder.modules():
            if isinstance(layer, nn.ConvTranspose2d):
                layer.weight *= 4
    return network.train()


def made_log(rows: int) -> dict[str, np.ndarray]:
    step = 100 * np.arange(1, rows + 1)
    return {"step": step, "epoch": step * 0, **{name: 10 + 1e4 / (i + step) for i, name in enumerate(TERMS)}}


def test_a_run_has_six_pictures(masks: Scored, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "pictures"
    assert masks.save(folder) == [folder / name for name in NAMES]
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES), "nothing else is left there"
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert 1000 <= image.width <= 1400
            assert 400 <= image.height <= 1400
            assert path.stat().st_size < 1_000_000
            assert not {"date", "Creation Time"} & set(image.info)
    with Image.open(folder / "traversals.gif") as image:
        assert getattr(image, "n_frames", 1) == 78
        assert image.info["loop"] == 0
        assert 300 < image.width < 700
    assert (folder / "traversals.gif").stat().st_size < 2_000_000


def test_the_same_run_gives_the_same_bytes_in_place_of_older_pictures(sprites: Scored, tmp_path: Path) -> None:
    assert sprites.network.channels == 3
    (tmp_path / "loss.png").write_bytes(b"an older picture")
    first = [path.read_bytes() for path in sprites.save(tmp_path)]
    assert [path.read_bytes() for path in sprites.save(tmp_path)] == first


def test_the_seed_chooses_the_frames(sprites: Scored) -> None:
    one, other = (draw_reconstructions(sprites.network, sprites.dataset, title="", seed=seed) for seed in (0, 1))
    assert one.tobytes() != other.tobytes()


def test_frames_stand_above_their_reconstructions(colored: Scored) -> None:
    """Cells are 144 pixels wide and 6 apart, in two bands of eight."""
    picture = draw_reconstructions(colored.network, colored.dataset, title="", seed=5)
    chosen = spread(len(colored.dataset), 16, 5)
    frames = np.stack([colored.dataset[i].frames[0].numpy() for i in chosen])
    with torch.no_grad():
        mu = colored.network.encode(torch.from_numpy(frames)).mu
        again = colored.network.decode(mu).sigmoid().numpy()
    pixels = np.asarray(picture).astype(np.float64) / 255
    band = (len(pixels) - pixels_above(picture)) // 2
    for place in range(16):
        left = 6 + 150 + place % 8 * 150
        top = pixels_above(picture) + place // 8 * band + 17
        for row, expected in enumerate((frames[place], again[place])):
            cell = pixels[top + row * 150 : top + row * 150 + 144, left : left + 144]
            np.testing.assert_allclose(cell.mean(axis=(0, 1)), expected.mean(axis=(1, 2)), atol=0.01)


def pixels_above(picture: Image.Image) -> int:
    """Height of a header with an empty title and one line."""
    return with_header(Image.new("RGB", (picture.width, 0)), "", ["line"]).height


def test_a_traversal_starts_from_a_frame_and_changes_one_latent(masks: Scored) -> None:
    """Latent 0, which alone the decoder is made to listen to, changes its row and no other."""
    network = made_network(5, 1)
    linear = next(layer for layer in network.decoder.modules() if isinstance(layer, nn.Linear))
    with torch.no_grad():
        linear.weight[:, 1:] = 0
    picture = draw_traversals(network, masks.dataset, **masks.matched, title="", seed=0)
    pixels = np.asarray(picture).astype(int)
    grid = pixels[-5 * 102 :, -11 * 102 :].reshape(5, 102, 11, 102, 3)[:, :96, :, :96].swapaxes(1, 2)
    rows = [*masks.assignment, *(z for z in range(5) if z not in masks.assignment)]
    for row, latent in enumerate(rows):
        steps = np.abs(np.diff(grid[row], axis=0)).max(axis=(1, 2, 3))
        assert np.all(steps > 0) if latent == 0 else np.all(steps == 0)


def test_rows_go_from_matched_latents_to_those_that_vary_least(colored: Scored) -> None:
    from temporalpairs.report.run_frames import _rows

    std = np.array([0.1, 5.0, 0.2, 0.0, 3.0])
    matrix = np.array([[0.0, -0.9, 0, 0, 0], [0, 0, 0, 0.4, 0]])
    rows = _rows(("y", "x"), std, matrix, np.array([1, 3]))
    assert rows == [(1, "y", 0.9), (3, "x", 0.4), (4, None, 0), (2, None, 0), (0, None, 0)]


def test_an_animation_goes_forth_and_back_with_one_palette(masks: Scored) -> None:
    pictures = animate_traversals(masks.network, masks.dataset, **masks.matched, title="")
    assert len(pictures) == 78
    assert {picture.size for picture in pictures} == {pictures[0].size}
    assert {bytes(picture.getpalette() or ()) for picture in pictures} == {bytes(pictures[0].getpalette() or ())}
    assert [p.tobytes() for p in pictures[1:39]] == [p.tobytes() for p in pictures[:39:-1]]
    cells = [np.asarray(picture)[-86 * 5 :, -86 * 3 :] for picture in pictures[:40]]
    assert sum(np.any(one != other) for one, other in pairwise(cells)) > 10


def test_many_latents_are_not_all_animated(masks: Scored) -> None:
    def height(z_dim: int) -> int:
        codes = np.random.default_rng(0).normal(size=(50, z_dim)).astype(np.float32)
        matched = {"codes": codes, "matrix": np.zeros((3, z_dim)), "assignment": np.arange(3)}
        return animate_traversals(made_network(z_dim, 1), masks.dataset, **matched, title="")[0].height

    assert height(13) == height(5) + 7 * 86


def test_codes_that_stand_still_have_pictures(masks: Scored, tmp_path: Path) -> None:
    still = replace(masks, codes=np.zeros_like(masks.codes), matrix=np.zeros_like(masks.matrix))
    for path in still.save(tmp_path):
        with Image.open(path) as image:
            assert ImageStat.Stat(image.convert("L")).var[0] > 0


def test_a_diverged_network_has_pictures(masks: Scored) -> None:
    network = made_network(5, 1)
    with torch.no_grad():
        next(network.decoder.parameters()).fill_(torch.nan)
    picture = draw_reconstructions(network, masks.dataset, title="")
    assert picture.crop((156, picture.height - 150, 156 + 144, picture.height - 20)).getextrema() == ((0, 0),) * 3


def test_a_network_of_another_kind_of_frames_is_refused(masks: Scored, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="this network takes"):
        replace(masks, network=made_network(5, 3)).save(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("training", [True, False])
def test_a_network_is_left_as_it_was(masks: Scored, training: bool) -> None:
    network = made_network(5, 1).train(training)
    network.encoder.train(not training)
    seen = []
    network.decoder.register_forward_hook(lambda module, *_: seen.append((module.training, torch.is_grad_enabled())))
    draw_reconstructions(network, masks.dataset, title="")
    assert seen == [(False, False)]
    assert (network.training, network.encoder.training, network.decoder.training) == (training, not training, training)
    assert all(layer.training != training for layer in network.encoder.modules())
    with pytest.raises(OptionError):
        draw_reconstructions(made_network(5, 3).train(training), masks.dataset, title="")


def test_frames_go_through_the_network_in_portions(masks: Scored) -> None:
    network, sizes = made_network(5, 1), []
    network.decoder.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    animate_traversals(network, masks.dataset, **masks.matched, title="")
    assert sum(sizes) == 5 * 3 * 40
    assert max(sizes) <= 512


@pytest.mark.usefixtures("quick")
def test_a_folder_that_cannot_be_written_to_is_named(masks: Scored, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OptionError, match=r"file.*the pictures could not be written there \("):
        masks.save(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("log", [{}, made_log(0)], ids=["nothing", "no rows"])
def test_an_empty_log_says_so(log: dict[str, np.ndarray]) -> None:
    figure = plot_losses(log, title="run")
    figure.draw_without_rendering()
    assert not figure.axes
    assert "no log row yet" in [text.get_text() for text in figure.texts]


@pytest.mark.parametrize("rows", [1, 2, 99, 100, 3000])
def test_losses_are_drawn_from_the_first_row_on(rows: int) -> None:
    log = made_log(rows)
    figure = plot_losses(log, title="run")
    figure.draw_without_rendering()
    values = [log["total"], log["reconstruction"]]
    values += [log[f"cross_entropy_{prior}"] - log["normal_entropy"] for prior in ("normal", "laplace")]
    for ax, expected in zip(figure.axes, values, strict=True):
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), expected)
        assert ax.get_ylim()[0] < expected[-1] < ax.get_ylim()[1]
        assert len(ax.lines) == 1 + (rows >= 100)


def test_a_large_beginning_and_values_that_are_not_finite_leave_axes_readable() -> None:
    log = made_log(50)
    log["total"] = np.concatenate(([1e6], np.linspace(30, 20, 48), [np.nan]))
    log["reconstruction"] = np.full(50, np.inf)
    figure = plot_losses(log, title="run")
    figure.draw_without_rendering()
    low, high = figure.axes[0].get_ylim()
    assert 15 < low < 20
    assert 25 < high < 35


def test_latents_stand_beneath_their_factors(masks: Scored) -> None:
    codes = np.random.default_rng(0).normal(size=(3000, 5)).astype(np.float32)
    factors = codes[:, [4, 0, 2]] * [1, -1, 2]
    found = mcc(codes, factors)
    figure = plot_latents(
        codes, factors, **masks.named, matrix=found.matrix, assignment=found.assignment, title="run", seed=3
    )
    figure.draw_without_rendering()
    assert [ax.get_ylabel() for ax in figure.axes[::3]] == ["y [px]", "x [px]", "area [px²]"]
    assert [ax.get_xlabel() for ax in figure.axes[6:]] == ["z4", "z0", "z2"]
    assert [figure.axes[i].get_title(loc="right") for i in (0, 4, 8)] == ["+1.00", "−1.00", "+1.00"]
    points = figure.axes[0].collections[0].get_offsets()
    assert len(points) == 2000
    np.testing.assert_array_equal(points[:, 0], points[:, 1])


@pytest.mark.usefixtures("quick")
def test_factors_of_a_discrete_dataset_are_counted_in_bins(
    masks: Scored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = []

    def note(*args: object, **options: object) -> Figure:
        units.append(options["factor_units"])
        return Figure()

    monkeypatch.setattr("temporalpairs.report.runs.plot_latents", note)
    masks.save(tmp_path)
    replace(masks, factors=np.arange(len(masks.factors) * 3).reshape(-1, 3)).save(tmp_path)
    assert units == [("px", "px", "px²"), ("bin", "bin", "bin")]


def test_correlations_are_numbers_in_a_heat_map() -> None:
    matrix = np.array([[0.1, -0.9, 0.2, 0.3], [0.8, 0.4, 0.0, -0.05]])
    figure = plot_correlations(factor_names=("y", "x"), matrix=matrix, assignment=np.array([1, 0]), title="run")
    figure.draw_without_rendering()
    assert figure.get_suptitle() == "MCC 0.850 · run"
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == [f"{abs(value):.2f}" for value in matrix.flat]
    assert [(round(p.get_x()), round(p.get_y())) for p in ax.patches] == [(1, 0), (0, 1)]


def test_long_names_and_titles_stay_in_their_room(sprites: Scored) -> None:
    names = tuple(f"{i} {LONG}" for i in range(len(sprites.factors[0])))
    matched = {"matrix": sprites.matrix, "assignment": sprites.assignment, "title": LONG}
    for figure in (
        plot_losses(sprites.log, title=LONG),
        plot_correlations(factor_names=names, **matched),
        plot_latents(sprites.codes, sprites.factors, factor_names=names, factor_units=names, **matched),
    ):
        figure.draw_without_rendering()
        drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert drawn.x0 >= 0
        assert drawn.y0 >= 0
        assert drawn.x1 <= width
        assert drawn.y1 <= height
        labels = [ax.yaxis.label.get_window_extent() for ax in figure.axes if ax.get_ylabel()]
        assert not any(one.overlaps(other) for one, other in combinations(labels, 2))


def test_pictures_with_long_names_differ_from_others_only_in_the_names(
    masks: Scored, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = []
    for name in ("b", LONG):
        monkeypatch.setattr(masks.dataset, "factor_names", (name, "x", "area"))
        picture = draw_traversals(masks.network, masks.dataset, **masks.matched, title="")
        named.append(np.asarray(picture).astype(int))
    rows, columns = np.nonzero(np.abs(named[0] - named[1]).max(axis=2))
    assert 0 < rows.max() - rows.min() < 17
    assert columns.max() < 120 + 150 - 36


@pytest.mark.parametrize("title", ["", "short", "one · two", "first part of a title · another part · the third", LONG])
def test_a_title_takes_two_lines_at_most(title: str) -> None:
    from temporalpairs.report.run_style import _in_two

    lines = _in_two(title, 300)
    assert len(lines) <= 2
    assert all(font(17).getlength(line) <= 300 for line in lines)
    if len(title) < 50:
        assert " · ".join(lines) == title
    assert with_header(paper(312, 10)[0], title, ["line"]).width == 312


def test_text_of_a_plot_is_cut_to_inches() -> None:
    assert fit("short", 2.0, 9.0) == "short"
    cut = fit(LONG, 2.0, 9.0)
    assert cut.endswith("…")
    assert font(19).getlength(cut) <= 300


@pytest.mark.parametrize(("total", "most"), [(1, 16), (15, 16), (16, 16), (17, 16), (4384, 16), (10_000, 3)])
def test_an_even_choice_is_of_different_numbers_with_even_gaps(total: int, most: int) -> None:
    for seed in range(20):
        chosen = spread(total, most, seed)
        assert len(set(chosen)) == min(total, most)
        assert chosen.min() >= 0
        assert chosen.max() < total
        gaps = np.diff(chosen)
        assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1
