"""Every public function with every argument wrong: what fits is taken, and anything else is an error of ours."""

from __future__ import annotations

import dataclasses
import inspect
import io
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import jaxtyping
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from datasets_made import make_stores
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_checks import ANYTHING

import kittimasks
import natsprites
import slowvae
import temporalpairs
from kittimasks.loading import SAMPLE_FOLDER
from slowvae import metrics
from temporalpairs import builders, loaders, report
from temporalpairs.download.cache import HOME_VARIABLE
from temporalpairs.errors import TemporalPairsError

Right = dict[str, Any]

WRONG: list[Any] = [
    None, True, 0, -1, 2**63, 2**70, 10**400, 2.5, float("nan"), float("inf"), 1j,
    "", "x", "x" * 10_000, "\0", "\ud800", "sample", b"x", [], [1], [1.5], ["a"], [[1, 2], [3]], (2, 3), {}, {"a": 1},
    {1}, object(), int, print, Path("nowhere"), Path(), np.zeros(3), np.zeros(0), np.full((4, 4), np.nan),
    np.array("x"), np.array([object()]), np.array(3), np.zeros((2, 3, 4, 5)), np.datetime64("2020"), np.bool_(True),
    np.float32(2), torch.zeros(2), torch.zeros(2, 2, requires_grad=True), torch.zeros(2, device="meta"),
    torch.zeros(3).to_sparse(), torch.int8, torch.device("meta"), range(3), sys, ...,
]  # fmt: skip
FEW = [None, -1, 2.5, 2**70, float("nan"), "x", "\0", [], [1], {}, object(), np.zeros((2, 2)), torch.zeros(2)]

# Functions that cost milliseconds or more get few wrong values.
CALLS: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "find_dataset": (temporalpairs.find_dataset, WRONG),
    "find_store": (temporalpairs.find_store, WRONG),
    "register": (temporalpairs.register, WRONG),
    "DatasetEntry": (temporalpairs.DatasetEntry, WRONG),
    "Option": (temporalpairs.Option, WRONG),
    "read_attributes": (temporalpairs.read_attributes, WRONG),
    "read_store": (temporalpairs.read_store, WRONG),
    "write_store": (temporalpairs.write_store, WRONG),
    "merge_stores": (temporalpairs.merge_stores, WRONG),
    "to_mask": (lambda **runs: temporalpairs.RunLengths(**runs).to_mask(), WRONG),
    "to_string": (lambda **runs: temporalpairs.RunLengths(**runs).to_string(), WRONG),
    "from_mask": (temporalpairs.RunLengths.from_mask, WRONG),
    "from_string": (temporalpairs.RunLengths.from_string, WRONG),
    "concatenate": (temporalpairs.Sequences.concatenate, WRONG),
    "open_annotations": (builders.open_annotations, WRONG),
    "inspect_annotations": (builders.inspect_annotations, WRONG),
    "build_kitti_masks": (builders.build_kitti_masks, WRONG),
    "build_natural_sprites": (builders.build_natural_sprites, WRONG),
    "load_kitti_masks": (kittimasks.load_kitti_masks, WRONG),
    "load_kitti_arrays": (kittimasks.load_kitti_arrays, FEW),
    "KittiMasks": (kittimasks.KittiMasks, FEW),
    "cut_video": (kittimasks.cut_video, WRONG),
    "CutOptions": (kittimasks.CutOptions, WRONG),
    "CutOptions.of": (kittimasks.CutOptions.of, WRONG),
    "Augmentation": (kittimasks.Augmentation, WRONG),
    "augment": (kittimasks.Augmentation(), WRONG),
    "load_natural_sprites": (natsprites.load_natural_sprites, WRONG),
    "load_sprite_arrays": (natsprites.load_sprite_arrays, FEW),
    "NaturalSprites": (natsprites.NaturalSprites, FEW),
    "measure_track": (natsprites.measure_track, WRONG),
    "MeasureOptions": (natsprites.MeasureOptions, WRONG),
    "SpriteOptions": (natsprites.SpriteOptions, WRONG),
    "SpriteOptions.from_json": (natsprites.SpriteOptions.from_json, WRONG),
    "Renderer": (natsprites.Renderer, WRONG),
    "Renderer.of": (natsprites.Renderer.of, WRONG),
    "render": (natsprites.render, WRONG),
    "render_torch": (natsprites.render_torch, WRONG),
    "TorchRenderer": (natsprites.TorchRenderer, WRONG),
    "TorchRenderer.of": (natsprites.TorchRenderer.of, WRONG),
    "WindowOptions": (loaders.WindowOptions, WRONG),
    "Windows.of": (loaders.Windows.of, WRONG),
    "WindowDataset": (loaders.WindowDataset, WRONG),
    "DatasetInfo": (loaders.DatasetInfo.from_attributes, WRONG),
    "assign_videos": (loaders.assign_videos, WRONG),
    "interleave": (loaders.interleave, WRONG),
    "PairLoader": (loaders.PairLoader, WRONG),
    "ArrayLoader": (loaders.ArrayLoader, WRONG),
    "batch": (lambda **how: next(iter(loaders.PairLoader(**how))), WRONG),
    "dataset[]": (lambda dataset, index: dataset[index], WRONG),
    "arrays[]": (lambda dataset, index: dataset.numpy()[index], WRONG),
    "sequences[]": (lambda dataset, index: dataset.sequences[index], WRONG),
    "subset": (lambda dataset, index: dataset.subset(index), WRONG),
    "set_epoch": (lambda dataset, epoch: dataset.set_epoch(epoch), WRONG),
    "load_state_dict": (lambda dataset, state: dataset.load_state_dict(state), WRONG),
    "loader.load_state_dict": (lambda dataset, state: loaders.PairLoader(dataset).load_state_dict(state), WRONG),
    "sample": (lambda truth, num, chance: truth.sample(num, chance), WRONG),
    "observe": (lambda truth, factors, chance: truth.sample_observations_from_factors(factors, chance), WRONG),
    "sample masks": (lambda dataset, num, chance: dataset.ground_truth().sample(num, chance), WRONG),
    "TrainOptions": (slowvae.TrainOptions, WRONG),
    "SlowVAE": (slowvae.SlowVAE, WRONG),
    "network()": (lambda network, frames, noise: network(frames, noise), WRONG),
    "decode": (lambda network, z: network.decode(z), WRONG),
    "objective": (slowvae.objective, WRONG),
    "Run.open": (slowvae.Run.open, WRONG),
    "Run.network": (lambda run, network, device: run.network(network, device), FEW),
    "mcc": (metrics.mcc, WRONG),
    "mig": (metrics.mig, WRONG),
    "dci": (metrics.dci, FEW),
    "sap": (metrics.sap, WRONG),
    "modularity_explicitness": (metrics.modularity_explicitness, FEW),
    "mcc_linear": (metrics.mcc_linear, WRONG),
    "r2": (metrics.r2, WRONG),
    "dci_es": (metrics.dci_es, FEW),
    "infomec": (metrics.infomec, FEW),
    "irs": (metrics.irs, WRONG),
    "sparsity": (metrics.sparsity, FEW),
    "cross_seed_mcc": (metrics.cross_seed_mcc, WRONG),
    "udr": (metrics.udr, WRONG),
    "beta_vae_score": (metrics.beta_vae_score, FEW),
    "factor_vae_score": (metrics.factor_vae_score, FEW),
    "plot": (report.plot, WRONG),
    "plot_sequences": (report.plot_sequences, FEW),
    "plot_pairs": (report.plot_pairs, FEW),
    "plot_run": (report.plot_run, FEW),
    "plot_losses": (report.plot_losses, FEW),
    "plot_latents": (report.plot_latents, FEW),
    "plot_correlations": (report.plot_correlations, FEW),
    "plot_reconstructions": (report.plot_reconstructions, FEW),
    "plot_traversals": (report.plot_traversals, FEW),
    "plot_transitions": (report.plot_transitions, FEW),
    "plot_joint_transitions": (report.plot_joint_transitions, FEW),
    "transition_statistics": (report.transition_statistics, FEW),
    "run_stats": (report.run_stats, FEW),
    "save_figure": (report.save_figure, FEW),
    "save_animation": (report.save_animation, FEW),
    "save_preview": (report.save_preview, FEW),
    "save_pictures": (report.save_pictures, FEW),
}
ELSEWHERE = {  # tried in tests of their own, or classes that functions return and that check nothing themselves
    *("train", "train_seeds", "resume", "evaluate", "run_benchmark"),
    *("Annotations", "MaskTrack", "SourceFile", "VideoTracks", "RunLengths", "Sequences", "Store"),
    *("ArrayDataset", "ArraySample", "Sample", "Sequence", "SequenceView", "WindowOrigin", "WindowSource"),
    *(
        "WindowTable",
        "Windows",
        "Transitions",
        "Evaluation",
        "Inspection",
        "Objective",
        "Terms",
        "Run",
        "Fit",
        "TransitionStatistics",
    ),
}


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Right]:
    """Return, for the name of a call, arguments that fit."""
    folder = tmp_path_factory.mktemp("right")
    stores = make_stores(folder)
    masks = kittimasks.load_kitti_masks(stores.masks)
    sprites = natsprites.load_natural_sprites(stores.sprites, discrete=True)
    store, statistics_store = temporalpairs.read_store(stores.masks), temporalpairs.read_store(stores.sprites)
    annotations = builders.open_annotations(sorted(SAMPLE_FOLDER.glob("*.txt"))[0])
    video = annotations.videos[0].read()
    network, truth, chance = slowvae.SlowVAE(), sprites.ground_truth(), np.random.RandomState(0)
    quiet = {"device": "cpu", "tensorboard": False, "progress": False}
    run = slowvae.train(masks, folder / "run", steps=1, batch_size=4, **quiet)
    with warnings.catch_warnings(action="ignore"):
        found = slowvae.evaluate(run, fraction=0.01, device="cpu", metrics=["mcc"])
    measured = report.transition_statistics(stores.sprites)
    codes, factors = chance.normal(size=(40, 2)), chance.randint(0, 2, (40, 2))
    arrays = {"codes": codes, "factors": factors}
    both = {**arrays, "codes_test": codes, "factors_test": factors}
    drawn = {"ground_truth": truth, "encode": lambda images: images.mean((1, 2)) + chance.normal(size=(len(images), 3))}
    drawn |= {"random_state": chance, "batch_size": 4, "num_train": 40, "num_eval": 20}
    building = {"annotations": annotations, "jobs": 1, "progress": False}
    looks = {"x": [0.5], "y": [0.5], "scale": [0.2], "angle": [0], "shape": ["square"], "size": 16, "color": None}
    frames, latents = torch.rand(8, 1, 64, 64), torch.rand(8, 10)
    sequences = store.sequences
    known = {
        "find_dataset": {"name": "kitti-masks"},
        "find_store": {"words": stores.masks},
        "register": {"entry": temporalpairs.find_dataset("kitti-masks")},
        "DatasetEntry": {"name": "a", "title": "A", "load": "a:b"},
        "Option": {"name": "a", "help": "b"},
        "read_attributes": {"path": stores.masks},
        "read_store": {"path": stores.masks},
        "write_store": {"out": folder / "new.h5", "sequences": sequences, "attributes": {}},
        "merge_stores": {"stores": [stores.masks], "out": folder / "merged.h5"},
        "to_mask": {"height": 2, "width": 3, "counts": np.array([1, 5], np.uint32)},
        "to_string": {"height": 2, "width": 3, "counts": np.array([1, 5], np.uint32)},
        "from_mask": {"mask": np.zeros((3, 3), np.bool_)},
        "from_string": {"text": "04", "height": 2, "width": 2},
        "concatenate": {"parts": [sequences, sequences]},
        "open_annotations": {"paths": SAMPLE_FOLDER},
        "inspect_annotations": {"paths": SAMPLE_FOLDER},
        "build_kitti_masks": {"out": folder / "masks built.h5", **building},
        "build_natural_sprites": {"out": folder / "sprites built.h5", **building},
        "load_kitti_masks": {"source": stores.masks, "root": folder / "root", "download": False},
        "load_kitti_arrays": {"source": stores.masks, "root": folder / "root", "download": False},
        "KittiMasks": {"store": store},
        "cut_video": {"video": video},
        "CutOptions.of": {"annotations": annotations},
        "augment": {"frames": frames, "generator": torch.Generator()},
        "load_natural_sprites": {"source": stores.sprites, "root": folder / "root", "download": False},
        "load_sprite_arrays": {"source": stores.sprites, "root": folder / "root", "download": False},
        "NaturalSprites": {"store": statistics_store},
        "measure_track": {"track": video.tracks[0]},
        "SpriteOptions.from_json": {"values": natsprites.SpriteOptions().to_json()},
        "Renderer.of": {"options": natsprites.SpriteOptions()},
        "render": looks,
        "render_torch": looks,
        "TorchRenderer.of": {"options": natsprites.SpriteOptions(size=16)},
        "Windows.of": {"sequences": sequences, "chosen": np.arange(2), "options": loaders.WindowOptions()},
        "WindowDataset": {"source": masks.source, "factor_names": masks.factor_names},
        "DatasetInfo": {"attributes": store.attributes},
        "assign_videos": {"videos": ["a", "b"], "frames": [1, 2]},
        "interleave": {"batch": frames},
        "PairLoader": {"dataset": masks},
        "ArrayLoader": {"dataset": masks.numpy()},
        "batch": {"dataset": masks, "batch_size": 4, "seed": 0, "device": "cpu", "dtype": torch.float16, "rank": None},
        **{name: {"dataset": masks, "index": 0} for name in ("dataset[]", "arrays[]", "sequences[]")},
        "subset": {"dataset": masks, "index": [0]},
        "set_epoch": {"dataset": masks, "epoch": 0},
        "load_state_dict": {"dataset": masks, "state": masks.state_dict()},
        "loader.load_state_dict": {"dataset": masks, "state": loaders.PairLoader(masks).state_dict()},
        "sample": {"truth": truth, "num": 2, "chance": chance},
        "observe": {"truth": truth, "factors": truth.sample_factors(2, chance), "chance": chance},
        "sample masks": {"dataset": masks, "num": 2, "chance": chance},
        "network()": {"network": network, "frames": frames, "noise": latents},
        "decode": {"network": network, "z": latents},
        "objective": {"x": frames, "logits": frames, "mu": latents, "logvar": latents},
        "Run.open": {"folder": run.folder},
        "Run.network": {"run": run, "network": None, "device": "cpu"},
        "mcc": arrays,
        "mig": arrays,
        "dci": both,
        "sap": both,
        "modularity_explicitness": both,
        "mcc_linear": both,
        "r2": both,
        "dci_es": {**both, "jobs": 1},
        "infomec": arrays,
        "irs": arrays,
        "sparsity": {"codes": codes.reshape(20, 2, 2), "factors": factors.reshape(20, 2, 2)},
        **{name: {"runs": [codes, codes[:, ::-1]]} for name in ("cross_seed_mcc", "udr")},
        "beta_vae_score": drawn,
        "factor_vae_score": {**drawn, "num_variance_estimate": 40},
        "plot": {"thing": stores.masks},
        "plot_sequences": {"data": masks, "rows": 1, "columns": 2},
        "plot_pairs": {"data": sprites, "pairs": 1, "columns": 1},
        "plot_run": {"run": run},
        "plot_losses": {"log": run.log(), "title": ""},
        "plot_latents": {"evaluation": found, "title": ""},
        "plot_correlations": {"evaluation": found, "title": ""},
        "plot_reconstructions": {"network": network, "dataset": masks, "title": ""},
        "plot_traversals": {"network": network, "dataset": masks, "evaluation": found, "title": ""},
        "plot_transitions": {"store": stores.sprites, "statistics": measured},
        "plot_joint_transitions": {"store": stores.sprites, "statistics": measured},
        "transition_statistics": {"store": stores.masks},
        "run_stats": {"store": stores.masks},
        "save_figure": {"figure": report.plot_correlations(found, title=""), "path": folder / "a.svg"},
        "save_animation": {"data": masks, "path": folder / "a.txt"},
        "save_preview": {"data": masks, "out": folder / "a.txt"},
        "save_pictures": {"run": run, "evaluation": found, "network": network, "dataset": None, "device": "nowhere"},
    }
    return lambda name: known.get(name, {})


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take what users have: no checks of shapes and types at run time, a folder, a home, and no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.setenv("TEMPORAL_PAIRS_ZENODO_URL", "http://127.0.0.1:9")
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    plt.close("all")


def call(name: str, right: Right, argument: str, wrong: Any) -> None:
    """Call with one argument replaced; all errors but our own, and an index out of range, are let through."""
    out = right.get("out")
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stderr(io.StringIO()):
            CALLS[name][0](**{**right, argument: wrong})
    except TemporalPairsError as error:
        assert len(str(error)) < 3_000  # noqa: PT017
    except IndexError:
        assert argument == "index"
    if isinstance(out, Path) and name.startswith(("write", "build")):
        out.unlink(missing_ok=True)


def arguments(name: str, right: Right) -> list[str]:
    """Name the arguments, but for the object that a method is called on."""
    words = dict.fromkeys([*right, *inspect.signature(CALLS[name][0]).parameters])
    method = getattr(CALLS[name][0], "__name__", "") == "<lambda>"
    bound = ("how", "runs", "dataset", "network", "run", "truth") if method else ("fields",)
    return [word for word in words if word not in bound]


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_argument_gives_no_foreign_error(name: str, right: Callable[[str], Right]) -> None:
    fitting = right(name)
    for argument in arguments(name, fitting):
        for wrong in CALLS[name][1]:
            try:
                call(name, fitting, argument, wrong)
            except Exception as error:
                error.add_note(f"{name}: {argument} of {type(wrong).__name__}")
                raise


@pytest.mark.slow
@given(st.sampled_from([name for name, (_, wrong) in CALLS.items() if wrong is WRONG]), st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_at_all_gives_a_foreign_error(right: Callable[[str], Right], name: str, data: st.DataObject) -> None:
    fitting = right(name)
    call(name, fitting, data.draw(st.sampled_from(arguments(name, fitting))), data.draw(ANYTHING))


def test_every_public_function_is_tried() -> None:
    public = {
        name
        for package in (temporalpairs, builders, loaders, kittimasks, natsprites, slowvae, metrics, report)
        for name in package.__all__
        if callable(found := getattr(package, name)) and not (isinstance(found, type) and _checks_nothing(found))
    }
    assert public - set(CALLS) - ELSEWHERE == set()


def _checks_nothing(kind: type) -> bool:
    """Errors and warnings, and results of metrics."""
    return issubclass(kind, BaseException) or (dataclasses.is_dataclass(kind) and kind.__name__.endswith("Score"))
