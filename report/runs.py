"""All pictures of a run; the caller imports this module late, since it brings matplotlib."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, Num
from matplotlib.figure import Figure
from PIL import Image

from slowvae.data import load_data
from slowvae.device import find_device
from slowvae.evaluation import Evaluation
from slowvae.model import SlowVAE
from slowvae.runs import PICTURES, Run, describe_run
from temporalpairs.errors import OptionError
from temporalpairs.loaders.dataset import WindowDataset
from temporalpairs.report.run_frames import animate_traversals, draw_reconstructions, draw_traversals
from temporalpairs.report.run_plots import plot_correlations, plot_latents, plot_losses
from temporalpairs.report.run_style import DPI
from temporalpairs.store.atomic import replace_file

_MILLISECONDS = 50  # a frame of the animation: four seconds forth and back


def plot_run(run: Run) -> Figure:
    """Draw the objective of a run."""
    return plot_losses(run.log(), title=describe_run(run))


def save_pictures(run: Run, evaluation: Evaluation, *, device: torch.device | str = "auto") -> list[Path]:
    """Draw everything of a run into the folder ``pictures`` in its own."""
    dataset = load_data(run.folder, run.config.data)
    return _save(
        run.folder / PICTURES,
        run.network(device=find_device(device)),
        dataset,
        log=run.log(),
        codes=evaluation.codes,
        factors=evaluation.factors,
        matrix=evaluation.correlations,
        assignment=evaluation.assignment,
        title=describe_run(run),
        seed=evaluation.seed,
    )


def _save(
    folder: Path,
    network: SlowVAE,
    dataset: WindowDataset,
    *,
    log: Mapping[str, np.ndarray],
    codes: Float32[np.ndarray, "n z"],
    factors: Num[np.ndarray, "n factors"],
    matrix: Float64[np.ndarray, "factors z"],
    assignment: Int64[np.ndarray, "factors"],
    title: str,
    seed: int = 0,
) -> list[Path]:
    """Draw everything of a run into a folder; older pictures are replaced.

    The same arguments give the same bytes.

    Args:
        folder: made where it is not there.
        network: on any device; its modes of training stay as they are.
        dataset: where frames are taken from.
        log: as `plot_losses` takes it.
        codes: means of the posteriors of frames.
        factors: of the same frames, in the dataset's units; integers are the numbers of bins.
        matrix: correlations of factors and latents, with their signs.
        assignment: the latent that each factor is matched with.
        title: of each picture.
        seed: which frames are shown.

    Returns:
        The paths of reconstructions.png, traversals.png, traversals.gif, latents.png, loss.png and correlations.png.

    Raises:
        OptionError: the network does not fit the dataset, or the pictures cannot be written there.
    """
    folder, names = Path(folder), dataset.factor_names
    # The ground truth of discrete datasets counts bins.
    units = ("bin",) * len(names) if factors.dtype.kind in "iu" else dataset.factor_units
    pictures = {
        "reconstructions.png": _png(draw_reconstructions(network, dataset, title=title, seed=seed)),
        "traversals.png": _png(
            draw_traversals(
                network, dataset, codes=codes, matrix=matrix, assignment=assignment, title=title, seed=seed
            )
        ),
        "traversals.gif": _gif(
            animate_traversals(
                network, dataset, codes=codes, matrix=matrix, assignment=assignment, title=title, seed=seed
            )
        ),
        "latents.png": _plot(
            plot_latents(
                codes, factors, factor_names=names, factor_units=units, matrix=matrix,
                assignment=assignment, title=title, seed=seed,
            )
        ),
        "loss.png": _plot(plot_losses(log, title=title)),
        "correlations.png": _plot(
            plot_correlations(factor_names=names, matrix=matrix, assignment=assignment, title=title)
        ),
    }  # fmt: skip
    try:
        return [replace_file(folder / name, data) for name, data in pictures.items()]
    except OSError as error:
        raise OptionError(f"{folder}: the pictures could not be written there ({error.strerror}).") from error


def _png(picture: Image.Image) -> bytes:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def _gif(pictures: Sequence[Image.Image]) -> bytes:
    data = io.BytesIO()
    first, *rest = pictures
    first.save(data, "GIF", save_all=True, append_images=rest, duration=_MILLISECONDS, loop=0)
    return data.getvalue()


def _plot(figure: Figure) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=DPI)
    return data.getvalue()
