"""Pictures of a run: gray and colored frames, runs that hardly began, codes that stand still, long names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from sequences_made import made_attributes, made_sequences
from torch import nn

from kittimasks import load_kitti_masks
from slowvae import Run
from slowvae.metrics import mcc
from slowvae.model import SlowVAE
from slowvae.options import TrainOptions
from slowvae.runs import RunConfig
from temporalpairs.errors import OptionError
from temporalpairs.loaders.dataset import WindowDataset
from temporalpairs.report import figures, plot, runs
from temporalpairs.report.figures import colored
from temporalpairs.store import write_store

TERMS = ["total", "reconstruction", "normal_entropy", "cross_entropy_normal", "cross_entropy_laplace"]
LONG = "a name with a $dollar and far too long for the room that there is " * 4


@dataclass(frozen=True)
class Scored:
    """What pictures need of an evaluation."""

    factor_names: tuple[str, ...]
    codes: np.ndarray
    factors: np.ndarray
    correlations: np.ndarray
    assignment: np.ndarray
    seed: int = 0


@pytest.fixture(scope="module", autouse=True)
def one_thread_and_small_pictures() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "DPI", 40)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> WindowDataset:
    path = tmp_path_factory.mktemp("masks") / "masks.h5"
    return load_kitti_masks(source=write_store(path, made_sequences([30, 20]), made_attributes()))


@pytest.fixture(scope="module")
def network() -> SlowVAE:
    return made_network(4)


def made_network(z_dim: int, channels: int = 1) -> SlowVAE:
    """A network whose frames depend on its latents, as if it were trained."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = SlowVAE(z_dim, channels)
    with torch.no_grad():
        for layer in made.decoder.modules():
            if isinstance(layer, nn.ConvTranspose2d):
                layer.weight *= 4
    return made.train()


def scored(factors: int = 3, latents: int = 4, n: int = 60) -> Scored:
    codes = np.random.default_rng(0).normal(size=(n, latents)).astype(np.float32)
    values = codes[:, [latents - 1, 0, 1][:factors]] * np.array([1, -1, 2])[:factors]
    found = mcc(codes, values)
    return Scored(("y", "x", "area")[:factors], codes, values, found.matrix, found.assignment)


def made_log(rows: int) -> dict[str, np.ndarray]:
    step = 100 * np.arange(1, rows + 1)
    return {"step": step, "epoch": step * 0, **{name: 10 + 1e4 / (i + step) for i, name in enumerate(TERMS)}}


def images_of(figure: Figure) -> np.ndarray:
    return np.asarray(figure.axes[0].images[0].get_array())[:, :, :3]


def test_a_run_has_six_pictures_the_same_bytes_each_time(
    network: SlowVAE, masks: WindowDataset, tmp_path: Path
) -> None:
    data = {"dataset": "kitti-masks", "title": "KITTI Masks"}
    run = Run(tmp_path, RunConfig(TrainOptions(z_dim=4, steps=1), data, (1, 64, 64), 2, False, "cpu", {}))
    run.save_checkpoint({"step": 1, "network": network.state_dict()})
    paths = runs.save_pictures(run, scored(), dataset=masks, device="cpu")
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [f"pictures/{name}" for name in runs.NAMES]
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == sorted(runs.NAMES)
    with Image.open(tmp_path / "pictures" / "traversals.gif") as image:
        assert (getattr(image, "n_frames", 1), image.info["loop"], image.info["duration"]) == (78, 0, 50)
    title = plot(run).get_suptitle().split(" · ")[0]
    assert title == runs.plot_run(run, scored()).get_suptitle()
    assert "KITTI Masks" in title
    again = runs.draw_pictures(tmp_path / "again", network, masks, scored(), run.log(), title)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]


def test_frames_stand_above_their_reconstructions(network: SlowVAE, masks: WindowDataset) -> None:
    figure = runs.plot_reconstructions(network, masks, title="", seed=5)
    rows = images_of(figure)
    chosen = [int(word.strip(",").replace(",", "")) for word in figure.texts[1].get_text().split()[4:20]]
    frames = torch.stack([masks[i].frames[0] for i in chosen])
    with torch.no_grad():
        again = network.eval().decode(network.encode(frames).mu).sigmoid()
    for place in range(16):
        top, left = 136 * (place // 8), 68 * (place % 8)
        np.testing.assert_array_equal(rows[top : top + 64, left : left + 64], colored(frames.numpy())[place])
        np.testing.assert_array_equal(rows[top + 68 : top + 132, left : left + 64], colored(again.numpy())[place])
    other = runs.plot_reconstructions(network, masks, title="", seed=6)
    assert other.texts[1].get_text() != figure.texts[1].get_text()


def test_fewer_windows_than_the_picture_has_room_for_are_drawn(network: SlowVAE, tmp_path: Path) -> None:
    path = write_store(tmp_path / "few.h5", made_sequences([4]), made_attributes())
    few = load_kitti_masks(source=path)
    assert images_of(runs.plot_reconstructions(network, few, title="")).shape == (132, 3 * 68 - 4, 3)
    assert len(images_of(runs.plot_traversals(network, few, scored(n=3), title=""))) == 5 * 68 - 4


def test_a_traversal_changes_one_latent_in_each_row_matched_ones_first(masks: WindowDataset) -> None:
    """The decoder is made to listen to latent 0 alone."""
    network = made_network(5)
    linear = next(layer for layer in network.decoder.modules() if isinstance(layer, nn.Linear))
    with torch.no_grad():
        linear.weight[:, 1:] = 0
    evaluation = replace(scored(latents=5), factor_names=("y", LONG, "area"))
    figure = runs.plot_traversals(network, masks, evaluation, title="")
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert [label.split()[0] for label in labels] == ["frame", "z4", "z0", "z1", "z3", "z2"]
    assert labels[1].startswith("z4 ↔ y 1.00\nstd ")
    assert len(labels[2]) < 40
    rows = images_of(figure).astype(int)
    for row, latent in enumerate([4, 0, 1, 3, 2], start=1):
        cells = [rows[68 * row : 68 * row + 64, 68 * column : 68 * column + 64] for column in range(11)]
        changed = [bool(np.any(one != other)) for one, other in zip(cells[1:], cells[:-1], strict=True)]
        assert changed == [latent == 0] * 10


def test_an_animation_goes_forth_and_back_and_leaves_out_what_is_too_much(masks: WindowDataset) -> None:
    pictures = runs.animate_traversals(made_network(13), masks, scored(latents=13), title="")
    assert len(pictures) == 78
    assert [p.tobytes() for p in pictures[1:39]] == [p.tobytes() for p in pictures[:39:-1]]
    assert pictures[0].tobytes() != pictures[20].tobytes()
    few = runs.animate_traversals(made_network(3), masks, scored(latents=3), title="")
    assert pictures[0].height - few[0].height == 9 * 85


@pytest.mark.parametrize("training", [True, False])
def test_a_network_is_left_as_it_was(masks: WindowDataset, training: bool) -> None:
    network = made_network(4).train(training)
    network.encoder.train(not training)
    seen = []
    network.decoder.register_forward_hook(
        lambda module, inputs, _: seen.append((module.training, torch.is_grad_enabled(), len(inputs[0]) <= 512))
    )
    runs.animate_traversals(network, masks, scored(), title="")
    assert set(seen) == {(False, False, True)}
    assert (network.training, network.encoder.training, network.decoder.training) == (training, not training, training)
    with pytest.raises(OptionError, match="this network takes"):
        runs.plot_reconstructions(made_network(4, 3).train(training), masks, title="")


def test_a_network_that_does_not_fit_leaves_no_picture(masks: WindowDataset, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="this network takes"):
        runs.draw_pictures(tmp_path / "new", made_network(4, 3), masks, scored(), made_log(1), "run")
    assert not list(tmp_path.iterdir())


def test_codes_that_stand_still_and_diverged_networks_have_pictures(masks: WindowDataset) -> None:
    still = replace(scored(), codes=np.zeros((60, 4), np.float32), correlations=np.zeros((3, 4)))
    runs.plot_latents(still, title="run").draw_without_rendering()
    network = made_network(4)
    with torch.no_grad():
        next(network.decoder.parameters()).fill_(torch.nan)
    assert not images_of(runs.plot_traversals(network, masks, still, title=""))[68:].any()


def test_factors_without_a_latent_or_without_variation_are_drawn(masks: WindowDataset, network: SlowVAE) -> None:
    three = scored(latents=3)
    matrix = np.array([[0.0, 1.0], [-1.0, 0.0], [0.5, 0.5]])
    short = replace(three, codes=three.codes[:, :2], correlations=matrix, assignment=np.array([1, 0, -1]))
    figure = runs.plot_latents(short, title="run")
    assert [ax.get_xlabel() for ax in figure.axes[-2:]] == ["z1", "z0"]
    assert len(figure.axes) == 6
    assert runs.plot_correlations(short, title="run").get_suptitle() == "MCC 0.667 · run"
    none = replace(scored(), factor_names=(), factors=np.zeros((60, 0)), correlations=np.zeros((0, 4)))
    none = replace(none, assignment=np.zeros(0, np.int64))
    for draw in (runs.plot_latents, runs.plot_correlations):
        assert "no factor varies" in [text.get_text() for text in draw(none, title="run").texts]
    runs.plot_traversals(network, masks, none, title="run")


@pytest.mark.parametrize("rows", [0, 1, 2, 100])
def test_losses_are_drawn_from_the_first_row_on(rows: int) -> None:
    log = made_log(rows)
    figure = runs.plot_losses(log, title="run")
    figure.draw_without_rendering()
    values = [log["total"], log["reconstruction"]]
    values += [log[f"cross_entropy_{prior}"] - log["normal_entropy"] for prior in ("normal", "laplace")]
    assert len(figure.axes) == 4 * (rows > 0)
    assert ("no log row yet" in [text.get_text() for text in figure.texts]) == (rows == 0)
    for ax, expected in zip(figure.axes, values, strict=False):
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), expected)
        assert ax.get_ylim()[0] < expected[-1] < ax.get_ylim()[1]
        assert len(ax.lines) == 1 + (rows >= 100)


def test_a_large_beginning_and_values_that_are_not_finite_leave_axes_readable() -> None:
    log = made_log(50)
    log["total"] = np.concatenate(([1e6], np.linspace(30, 20, 48), [np.nan]))
    log["reconstruction"] = np.full(50, np.inf)
    low, high = runs.plot_losses(log, title="run").axes[0].get_ylim()
    assert 15 < low < 20
    assert 25 < high < 35


def test_latents_stand_beneath_their_factors() -> None:
    evaluation = scored(n=3000)
    figure = runs.plot_latents(evaluation, title="run", units=("px", "px", ""))
    assert [ax.get_ylabel() for ax in figure.axes[::3]] == ["y [px]", "x [px]", "area"]
    assert [ax.get_xlabel() for ax in figure.axes[6:]] == ["z3", "z0", "z1"]
    assert [figure.axes[i].get_title(loc="right") for i in (0, 4, 8)] == ["+1.00", "−1.00", "+1.00"]
    points = np.asarray(figure.axes[0].collections[0].get_offsets())
    assert len(points) == 2000
    np.testing.assert_array_equal(points[:, 0], points[:, 1])


def test_correlations_are_numbers_in_a_heat_map() -> None:
    matrix = np.array([[0.1, -0.9, 0.2, 0.3], [0.8, 0.4, 0.0, -0.05]])
    evaluation = replace(scored(factors=2), correlations=matrix, assignment=np.array([1, 0]))
    figure = runs.plot_correlations(evaluation, title="run")
    assert figure.get_suptitle() == "MCC 0.850 · run"
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == [f"{abs(value):.2f}" for value in matrix.flat]
    assert [(round(p.get_x()), round(p.get_y())) for p in ax.patches] == [(1, 0), (0, 1)]


def test_long_names_and_titles_stay_in_their_room() -> None:
    long = replace(scored(), factor_names=tuple(f"{i} {LONG}" for i in range(3)))
    for figure in (
        runs.plot_losses(made_log(3), title=LONG),
        runs.plot_correlations(long, title=LONG),
        runs.plot_latents(long, title=LONG, units=(LONG,) * 3),
    ):
        figure.draw_without_rendering()
        drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert 0 <= drawn.x0 < drawn.x1 <= width
        assert 0 <= drawn.y0 < drawn.y1 <= height


def test_factors_that_are_classes_are_counted_in_bins(masks: WindowDataset) -> None:
    assert runs._units(scored(), masks) == ["px", "px", "px²"]
    assert runs._units(replace(scored(), factors=np.zeros((60, 3), np.int64)), masks) == ["bin"] * 3
