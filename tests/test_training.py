"""Training: what resumes, what stops it, what it leaves behind, and that ranks, seeds and files repeat it."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from datasets_made import write_sprites
from launched import TORCHRUN, environment, run
from sequences_made import made_attributes, made_sequences
from statistics_made import made_statistics
from stores import as_nobody
from torch import Tensor, nn
from torch.utils.data import DataLoader

from kittimasks import KittiMasks, load_kitti_masks
from natsprites import SpriteOptions, load_natural_sprites
from natsprites.statistics import to_sequences
from slowvae import Run, SlowVAE, Terms, TrainOptions, evaluate, resume, train, train_seeds
from slowvae.data import load_data
from slowvae.device import fast_step
from slowvae.model import default_decoder, default_encoder
from slowvae.objectives import find_objective
from slowvae.ranks import Ranks, process_group
from slowvae.resume import restore
from slowvae.run_log import LATENTS, LOG
from slowvae.runs import CHECKPOINT, CONFIG, RunConfig, find_runs
from slowvae.seeds import resume_each, summarize, table
from slowvae.training import Training
from temporalpairs.errors import (
    OptionError,
    RunError,
    RunNotWrittenError,
    RunWarning,
    TemporalPairsError,
    TrainingDivergedError,
    TrainingInterrupted,
)
from temporalpairs.store import write_store

CPU = torch.device("cpu")
QUIET: dict[str, Any] = {"device": "cpu", "progress": False, "tensorboard": False}
FEW: dict[str, Any] = {"batch_size": 4, "log_every": 4, "checkpoint_every": 6, **QUIET}
STEPS = 14  # two epochs of five batches, and some batches more
TERMS = Terms._fields


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of 21 pairs of masks."""
    path = tmp_path_factory.mktemp("stores") / "masks.h5"
    return write_store(path, made_sequences([12, 11], videos=2), made_attributes(2))


@pytest.fixture(scope="module")
def sprites_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    statistics = made_statistics([15, 18], videos=2, crops=2)
    whole = replace(statistics, values=np.nan_to_num(statistics.values, nan=32.0))
    return write_sprites(tmp_path_factory.mktemp("stores") / "sprites.h5", to_sequences(whole), videos=2)


@pytest.fixture(scope="module")
def masks(store: Path) -> KittiMasks:
    return load_kitti_masks(source=store, seed=3)


@pytest.fixture(scope="module")
def whole(masks: KittiMasks, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run without a break."""
    return train(masks, tmp_path_factory.mktemp("whole") / "run", steps=STEPS, **FEW)


def weights(run: Run) -> dict[str, Tensor]:
    return run.checkpoint()["network"]


def assert_equal_runs(one: Run, other: Run) -> None:
    a, b = one.checkpoint(), other.checkpoint()
    assert a["step"] == b["step"]
    assert a["loader"] == b["loader"]
    assert torch.equal(a["noise"], b["noise"])
    for name, value in a["network"].items():
        assert torch.equal(value, b["network"][name]), name
    for number, state in a["optimizer"]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, b["optimizer"]["state"][number][name]), (number, name)
    logs = one.log(), other.log()
    for name in ("step", "epoch", *TERMS):
        assert np.array_equal(logs[0][name], logs[1][name]), name
    assert (one.folder / LATENTS).read_text() == (other.folder / LATENTS).read_text()


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, action: Callable[[], object]) -> None:
    """Do something while a step is under way."""
    taken = 0
    original = Training.take_step

    def take_step(self: Training, frames: Tensor) -> None:
        nonlocal taken
        taken += 1
        original(self, frames)
        if taken == step:
            action()

    monkeypatch.setattr(Training, "take_step", take_step)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_a_run_has_what_the_docs_say(whole: Run) -> None:
    names = sorted(path.name for path in whole.folder.iterdir())
    assert names == [".lock", CHECKPOINT, CONFIG, LATENTS, LOG]
    log = whole.log()
    assert log["step"].tolist() == [4, 8, 12, 14]
    assert np.isfinite(log["total"]).all()
    assert log["total"][-1] < log["total"][0]
    found = torch.load(whole.folder / CHECKPOINT, weights_only=True)
    assert found["step"] == STEPS
    assert whole.network().training is False


def test_the_log_holds_means_of_all_steps(masks: KittiMasks, whole: Run, tmp_path: Path) -> None:
    each = train(masks, tmp_path / "run", steps=4, **FEW | {"log_every": 1}).log()
    for name in TERMS:
        assert whole.log()[name][0] == pytest.approx(each[name].mean(), rel=1e-5), name


def test_options_are_given_as_a_whole_or_one_by_one(masks: KittiMasks, tmp_path: Path) -> None:
    """The objective's own hyperparameters hold unless they are given, and another objective has its own."""
    few = TrainOptions(steps=50, batch_size=4, hyperparameters={"gamma": 0.5})
    options = train(masks, tmp_path / "run", few, steps=1, adam_beta1=0.8, entropies="paper", **QUIET).config.options
    assert (options.steps, options.batch_size, options.adam_beta1) == (1, 4, 0.8)
    weights = {"beta": 1.0, "gamma": 0.5, "rate": 6.0, "entropies": "paper", "likelihood": "bernoulli"}
    assert options.hyperparameters == weights
    assert TrainOptions.of(options, objective="beta-vae").hyperparameters == {}
    assert TrainOptions.of(options, objective="beta-vae", beta=2).hyperparameters == {"beta": 2}
    assert TrainOptions.of(options, objective=find_objective("pcl")).objective == "pcl"
    assert all(field.metadata["help"] for field in fields(TrainOptions)), "what the command line shows"


def test_options_survive_json() -> None:
    options = TrainOptions.of(None, objective="slowvae", steps=np.int64(7), gamma=0.5)
    assert TrainOptions.of(None, **json.loads(json.dumps(options.to_json()))) == options


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"epochs": 3}, "'epochs': unknown; the options of a training run are objective, hyper.* slowvae beta, gamma"),
        ({"objective": "vae", "beta": 1}, "objective='vae' is unknown; there are slowvae, beta-vae"),
        ({"objective": "no.such:Thing", "beta": 1}, "objective='no.such:Thing': there is no such class"),
        ({"objective": "json:JSONDecoder", "beta": 1}, "is no subclass of slowvae.Objective"),
        (
            {"objective": "beta-vae", "gamma": 1},
            "'gamma': unknown; .* of the objective beta-vae beta, likelihood",
        ),
        ({"hyperparameters": {"alpha": 1}}, "'alpha' is no hyperparameter of SlowVAE; there are beta, gamma"),
        ({"hyperparameters": 5}, "hyperparameters=5"),
        ({"precision": "float16"}, "precision='float16' is unknown"),
        ({"entropies": "both"}, "entropies='both' is unknown; give 'reference' or 'paper'"),
        ({"objective": ["slowvae"]}, "objective="),
        ({"steps": 0}, "steps=0 is out of range; give a whole number from 1"),
        ({"batch_size": 2.5}, "batch_size=2.5"),
        ({"z_dim": "ten"}, "z_dim='ten'"),
        ({"beta": -1.0}, "beta=-1.0 is out of range; give a number from 0"),
        ({"gamma": "1"}, "gamma='1' is no number; give a number"),
        ({"rate": 0.0}, "rate=0.0 is out of range; give a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"learning_rate": None}, "learning_rate=None"),
        ({"adam_beta1": 1.0}, "adam_beta1=1.0"),
        ({"adam_beta2": float("nan")}, "adam_beta2=nan"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": None}, "seed=None"),
    ],
)
def test_wrong_options_are_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        TrainOptions.of(None, **given)


def test_what_does_not_fit_is_said_before_writing(
    masks: KittiMasks, sprites_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = tmp_path / "run"
    for options, says in (
        ({"batch_size": 1000}, "batch_size=1000: an epoch has"),
        ({"options": {"steps": 3}}, "give a TrainOptions"),
        ({"device": "cuda"}, "device='cuda' cannot be used here"),
        ({"device": "cuda:9"}, "device='cuda:9' cannot be used here"),
        ({"device": "meta"}, "device='meta' cannot be used here"),
        ({"device": None}, "device=None cannot be used here"),
        ({"network": SlowVAE}, r"give a network, such as SlowVAE\(z_dim=10\), and not its class"),
        ({"network": SlowVAE(channels=3)}, r"frames have shape \[1, 64, 64\]; this network takes \[3, 64, 64\]"),
    ):
        with pytest.raises(OptionError, match=says):
            train(masks, out, **{"steps": 1, **FEW, **options})
    small = load_natural_sprites(source=sprites_store, sprites=SpriteOptions(size=16))
    with pytest.raises(OptionError, match=r"frames have shape \[3, 16, 16\]"):
        train(small, out, steps=1, **FEW)
    for wrong in ("sample", DataLoader(masks), None):
        with pytest.raises(OptionError, match="give what the load functions return"):
            train(wrong, out, steps=1, **FEW)  # type: ignore[arg-type]
        with pytest.raises(OptionError, match="give what the load functions return"):
            train_seeds(wrong, out, [1], steps=1, **FEW)  # type: ignore[arg-type]
    for nowhere in (None, 3):
        with pytest.raises(OptionError, match="is no path"):
            train(masks, nowhere, steps=1, **FEW)  # type: ignore[arg-type]
    assert not out.exists()


WRONG = [
    None,
    0,
    -1,
    1.5,
    float("nan"),
    "x",
    "",
    [],
    [1],
    {},
    object(),
    True,
    b"y",
    SlowVAE,
    torch.zeros(2),
    2**70,
    int,
]


def test_a_part_of_a_dataset_trains(masks: KittiMasks, tmp_path: Path) -> None:
    chosen = list(range(0, len(masks), 2))
    part = train(torch.utils.data.Subset(masks, chosen), tmp_path / "part", steps=4, **FEW)  # type: ignore[arg-type]
    same = train(masks.subset(chosen), tmp_path / "same", steps=4, **FEW)
    assert all(torch.equal(value, weights(same)[name]) for name, value in weights(part).items())


@pytest.mark.parametrize("act", [train, train_seeds, resume, evaluate])
def test_wrong_arguments_give_no_foreign_error(
    act: Callable[..., Any], masks: KittiMasks, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def enough(*_: object, **__: object) -> NoReturn:
        raise OptionError("The arguments are as they should be.")

    monkeypatch.chdir(tmp_path)  # "x" is a folder
    monkeypatch.setattr(Training, "go", enough)
    monkeypatch.setattr("slowvae.evaluation.draw_codes", enough)
    monkeypatch.setattr(Run, "save_config", lambda self: None)
    right = {
        train: {"dataset": masks, "out": tmp_path / "run", "options": TrainOptions(batch_size=4)},
        train_seeds: {"dataset": masks, "out": tmp_path / "runs", "seeds": [1], "options": TrainOptions(batch_size=4)},
        resume: {"out": whole.folder, "steps": STEPS + 1},
        evaluate: {"run": whole},
    }[act]
    with pytest.raises(OptionError, match="The arguments are as they should be"):
        act(**right, device="cpu")
    for name in inspect.signature(act).parameters:
        for wrong in WRONG if name not in ("fields", "tensorboard") else []:
            with suppress(TemporalPairsError):
                act(**{**right, "device": "cpu", name: wrong})


@contextmanager
def of_64_bits() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


SETTINGS = {
    "float64": of_64_bits,
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "another device": lambda: torch.device("meta"),
}


@pytest.mark.filterwarnings("ignore:The dataset has 21 windows")
@pytest.mark.parametrize("setting", SETTINGS)
def test_what_pytorch_is_set_to_does_not_matter(setting: str, store: Path, whole: Run, tmp_path: Path) -> None:
    with SETTINGS[setting]():
        masks = load_kitti_masks(source=store, seed=3)
        train(masks, tmp_path / "run", steps=8, **FEW)
        run = resume(tmp_path / "run", steps=STEPS, **QUIET)
        scores = evaluate(run, fraction=0.02, device="cpu").scores
    assert_equal_runs(run, whole)
    assert scores == evaluate(whole, fraction=0.02, device="cpu").scores


def test_a_network_of_64_bits_is_trained_in_32(masks: KittiMasks, tmp_path: Path) -> None:
    network = SlowVAE(4).double()
    train(masks, tmp_path / "run", network=network, steps=1, **FEW).network(network)
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}


def test_event_files_hold_the_log(masks: KittiMasks, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = train(masks, tmp_path / "run", steps=4, **FEW | {"tensorboard": True, "log_every": 2})
    events = EventAccumulator(str(found.folder / "tensorboard")).Reload()
    log = found.log()
    for name in TERMS:
        scalars = events.Scalars(name)
        assert [scalar.step for scalar in scalars] == log["step"].tolist()
        assert np.allclose([scalar.value for scalar in scalars], log[name], rtol=1e-5)


def test_without_tensorboard_there_are_no_event_files(
    masks: KittiMasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slowvae.run_log.find_spec", lambda name: None)
    found = train(masks, tmp_path / "run", steps=2, **FEW | {"tensorboard": True})
    assert not (found.folder / "tensorboard").exists()
    assert len(found.log()["step"]) == 1


class BrokenAtImport(types.ModuleType):
    """A TensorBoard whose protobuf does not fit."""

    def __getattr__(self, name: str) -> NoReturn:
        raise TypeError("Descriptors cannot be created directly.")


class BrokenAtWriting(types.ModuleType):
    """A TensorBoard that cannot write."""

    class SummaryWriter:
        def __init__(self, *_: object, **__: object) -> None: ...

        def add_scalar(self, *_: object) -> NoReturn:
            raise OSError("No space left on device")


@pytest.mark.parametrize("broken", [BrokenAtImport, BrokenAtWriting])
def test_a_broken_tensorboard_is_done_without(
    broken: type[types.ModuleType], masks: KittiMasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", broken("tensorboard"))
    with pytest.warns(RunWarning, match="TensorBoard does not work, so no event files are written"):
        found = train(masks, tmp_path / "run", steps=4, **FEW | {"tensorboard": True, "log_every": 2})
    assert found.log()["step"].tolist() == [2, 4]
    assert found.step == 4


@pytest.mark.parametrize("step", [2, 6, 9])
def test_an_interrupted_run_resumes_bit_for_bit(
    step: int, masks: KittiMasks, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, step, interrupt)
        with pytest.raises(TrainingInterrupted, match=f"Interrupted at step {step}; resume with: .*--resume"):
            train(masks, tmp_path / "run", steps=STEPS, **FEW)
    assert Run.open(tmp_path / "run").step == step
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert_equal_runs(resume(tmp_path / "run", **QUIET), whole)


def test_a_signal_that_is_ignored_stays_ignored(
    masks: KittiMasks, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a shell's background job."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        at_step(monkeypatch, 3, interrupt)
        assert_equal_runs(train(masks, tmp_path / "run", steps=STEPS, **FEW), whole)
    finally:
        assert signal.signal(signal.SIGINT, before) is signal.SIG_IGN


def test_a_killed_run_resumes_from_its_checkpoint(
    masks: KittiMasks, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between checkpoints: the log has rows that no checkpoint holds."""
    with monkeypatch.context() as patch:
        at_step(patch, 9, lambda: shutil.copytree(tmp_path / "run", tmp_path / "killed"))
        train(masks, tmp_path / "run", steps=STEPS, **FEW)
    killed = Run.open(tmp_path / "killed")
    assert (killed.step, killed.log()["step"].tolist()) == (6, [4, 8])
    assert_equal_runs(resume(killed.folder, masks, **QUIET), whole)


TRAIN = """
import sys
from kittimasks import load_kitti_masks
from slowvae import train

few = {"batch_size": 4, "log_every": 4, "checkpoint_every": 6, "device": "cpu", "progress": False}
train(load_kitti_masks(source=sys.argv[1], seed=3), sys.argv[2], steps=100_000, tensorboard=False, **few)
"""


@pytest.mark.slow
def test_kill_minus_9_leaves_a_run_that_resumes(store: Path, masks: KittiMasks, tmp_path: Path) -> None:
    out = tmp_path / "run"
    started = subprocess.Popen([sys.executable, "-c", TRAIN, str(store), str(out)], env=environment(tmp_path))
    try:
        while not (out / LOG).exists() or "\n8," not in (out / LOG).read_text():
            assert started.poll() is None
            time.sleep(0.01)
    finally:
        started.kill()
        started.wait()
    checkpoint = Run.open(out).step
    assert checkpoint is not None
    assert checkpoint % FEW["checkpoint_every"] == 0
    steps = checkpoint + 4
    expected = train(masks, tmp_path / "expected", steps=steps, **FEW)
    assert_equal_runs(resume(out, steps=steps, **QUIET), expected)


def test_a_row_that_was_cut_off_is_dropped(masks: KittiMasks, whole: Run, tmp_path: Path) -> None:
    first = train(masks, tmp_path / "run", steps=12, **FEW)
    with (first.folder / LOG).open("a") as file:
        file.write("2")
    assert first.log()["step"].tolist() == [4, 8, 12]
    assert_equal_runs(resume(first.folder, masks, steps=STEPS, **QUIET), whole)


@pytest.mark.parametrize("damage", ["1,2,3\n", "x\n", "\n", "\x00\xff,1,2,3,4,5,6,7\n"])
def test_a_damaged_log_is_named(damage: str, whole: Run, tmp_path: Path) -> None:
    copied = Run(Path(shutil.copytree(whole.folder, tmp_path / "run")), whole.config)
    with (copied.folder / LOG).open("a", encoding="latin-1") as file:
        file.write(damage)
    for act in (copied.log, lambda: resume(copied.folder, steps=STEPS + 1, **QUIET)):
        with pytest.raises(RunError, match=r"log\.csv: is damaged: line 6 is not 8 numbers"):
            act()
    (copied.folder / LOG).write_text("a photo of a cat\n")
    with pytest.raises(RunError, match=r"line 1 is not the names of columns"):
        copied.log()


def with_dropout() -> SlowVAE:
    torch.manual_seed(5)
    return SlowVAE(4, encoder=nn.Sequential(default_encoder(4, 1), nn.Dropout(0.3)))


def test_a_network_with_dropout_resumes_bit_for_bit(
    masks: KittiMasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train(masks, tmp_path / "whole", steps=5, network=with_dropout(), **FEW)
    with monkeypatch.context() as patch:
        at_step(patch, 3, interrupt)
        with pytest.raises(TrainingInterrupted):
            train(masks, tmp_path / "run", steps=5, network=with_dropout(), **FEW)
    torch.manual_seed(99)  # what the caller draws meanwhile does not matter
    assert_equal_runs(resume(tmp_path / "run", network=with_dropout(), **QUIET), expected)


def test_a_checkpoint_of_another_device_leaves_the_optimizer_its_ways(masks: KittiMasks, whole: Run) -> None:
    state = whole.checkpoint()
    state["optimizer"]["param_groups"][0].update(capturable=True, fused=None)
    state["noise"] = state["noise"][:16]  # as of a GPU
    training = Training(masks, whole.config, CPU, None, Ranks())
    restore(training, state, whole.folder)
    (group,) = training.optimizer.param_groups
    assert (group["capturable"], group["fused"]) == (False, True)
    assert all(torch.equal(s["step"], torch.tensor(float(STEPS))) for s in training.optimizer.state.values())


def test_more_steps_are_what_they_would_have_been(masks: KittiMasks, whole: Run, tmp_path: Path) -> None:
    first = train(masks, tmp_path / "run", steps=12, **FEW)
    longer = resume(first.folder, masks, steps=STEPS, **QUIET)
    assert longer.config.options.steps == Run.open(first.folder).config.options.steps == STEPS
    assert_equal_runs(longer, whole)
    assert_equal_runs(resume(first.folder, masks, **QUIET), whole)


@pytest.mark.parametrize(("steps", "says"), [(STEPS - 1, "has taken 14 steps already"), (0, "steps=0"), (2.5, "2.5")])
def test_fewer_steps_than_taken_change_nothing(steps: Any, says: str, whole: Run) -> None:
    before = {path.name: path.read_bytes() for path in whole.folder.iterdir() if path.is_file()}
    with pytest.raises(OptionError, match=says):
        resume(whole.folder, steps=steps, **QUIET)
    assert before == {path.name: path.read_bytes() for path in whole.folder.iterdir() if path.is_file()}


def test_the_callers_chance_is_left_alone_and_does_not_matter(masks: KittiMasks, whole: Run, tmp_path: Path) -> None:
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again = train(masks, tmp_path / "run", steps=STEPS, **FEW)
    assert torch.equal(before, torch.get_rng_state())
    assert_equal_runs(again, whole)


def test_a_configuration_repeats_the_run(whole: Run, tmp_path: Path) -> None:
    config = Run.open(whole.folder).config
    again = train(load_data(whole.folder, config.data), tmp_path / "run", config.options, **QUIET)
    assert_equal_runs(again, whole)


def test_nan_stops_and_keeps_the_last_good_checkpoint(masks: KittiMasks, tmp_path: Path) -> None:
    options = FEW | {"learning_rate": 1e12, "log_every": 1, "checkpoint_every": 1}
    with pytest.raises(TrainingDivergedError, match="smaller learning_rate") as caught:
        train(masks, tmp_path / "run", steps=50, **options)
    kept = Run.open(tmp_path / "run").checkpoint()
    assert kept["step"] == caught.value.step - 1
    assert all(value.isfinite().all() for value in kept["network"].values())
    assert f"the checkpoint of step {kept['step']} is kept" in str(caught.value)
    with pytest.raises(TrainingDivergedError, match="no checkpoint was written before"):
        train(masks, tmp_path / "other", steps=50, **FEW | {"learning_rate": 1e12})


def test_a_full_disk_keeps_the_last_checkpoint(
    masks: KittiMasks, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patch:
        at_step(patch, 9, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, unlimited[1])))
        try:
            with pytest.raises(RunNotWrittenError, match=r"at step 12 .*File too large.* step 6 is intact") as caught:
                train(masks, tmp_path / "run", steps=STEPS, **FEW)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert "--resume" in str(caught.value)
    stopped = Run.open(tmp_path / "run")
    assert stopped.step == 6
    assert sorted(path.name for path in stopped.folder.iterdir()) == [".lock", CHECKPOINT, CONFIG, LATENTS, LOG]
    assert_equal_runs(resume(stopped.folder, masks, **QUIET), whole)


def test_a_folder_that_cannot_be_made_is_named(masks: KittiMasks, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="file/run: cannot be written"):
        train(masks, tmp_path / "file" / "run", steps=1, **FEW)


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "code"])
def test_a_damaged_checkpoint_is_named_and_nothing_in_it_runs(damage: str, whole: Run, tmp_path: Path) -> None:
    copied = Run(Path(shutil.copytree(whole.folder, tmp_path / "run")), whole.config)
    path = copied.folder / CHECKPOINT
    data = path.read_bytes()
    touched = tmp_path / "touched"
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        path.write_bytes(data[:100] + bytes(byte ^ 255 for byte in data[100:400]) + data[400:])
    elif damage == "foreign":
        path.write_bytes(b"not a checkpoint")
    else:
        path.write_bytes(pickle.dumps(Touch(touched)))
    with pytest.raises(RunError, match=r"checkpoint\.pt: is not a checkpoint that can be read"):
        copied.network()
    assert not touched.exists()


class Touch:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not the configuration of a run"),
        ("[]", "is not the configuration of a run"),
        ('{"format": 1}', "is not the configuration of a run"),
        ('{"format": 1, "training": {"steps": "x"}}', "is not the configuration of a run"),
        ('{"format": 99}', "has format 99; this version reads up to 1"),
    ],
)
def test_a_damaged_configuration_is_named(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text(text)
    with pytest.raises(RunError, match=says):
        Run.open(tmp_path)


def test_a_run_that_may_not_be_read_is_not_taken_for_none(
    masks: KittiMasks, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.open(shutil.copytree(whole.folder, tmp_path / "run"))
    monkeypatch.setattr(Path, "exists", os.path.exists)  # Python 3.14's, which hides that something may not be read
    for locked in (run.folder / CHECKPOINT, run.folder):
        locked.chmod(0)
        with as_nobody():
            for use in (
                run.checkpoint,
                lambda: run.step,
                lambda: resume(run.folder, masks, steps=STEPS + 1, **QUIET),
                lambda: evaluate(run, dataset=masks),
                lambda: find_runs(run.folder)[0].step,
                lambda: train(masks, run.folder / "new", steps=1, **FEW),
            ):
                with pytest.raises(RunError, match=r"cannot be (read|written) \(Permission denied"):
                    use()


def test_a_folder_that_holds_something_is_left_as_it_is(masks: KittiMasks, whole: Run, tmp_path: Path) -> None:
    before = (whole.folder / CONFIG).read_bytes(), (whole.folder / CHECKPOINT).read_bytes()
    with pytest.raises(RunError, match="something is there already and was left as it is"):
        train(masks, whole.folder, steps=1, **FEW)
    assert before == ((whole.folder / CONFIG).read_bytes(), (whole.folder / CHECKPOINT).read_bytes())
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="something is there already"):
        train(masks, tmp_path / "file", steps=1, **FEW)


def test_two_processes_do_not_train_one_run(masks: KittiMasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[bytes] = []

    def second() -> None:
        with pytest.raises(RunError, match="another process trains this run"):
            resume(tmp_path / "run", masks, steps=9, **QUIET)
        found.append((tmp_path / "run" / CONFIG).read_bytes())

    at_step(monkeypatch, 2, second)
    train(masks, tmp_path / "run", steps=3, **FEW)
    assert found == [(tmp_path / "run" / CONFIG).read_bytes()]


def test_a_run_goes_on_with_its_own_data_only(whole: Run, store: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="it was trained on another dataset: its options was"):
        resume(whole.folder, load_kitti_masks(source=store, seed=4), **QUIET)
    other = write_store(tmp_path / "other.h5", made_sequences([12, 11], videos=1), made_attributes(1))
    with pytest.raises(RunError, match="it was trained on another dataset: its digest was"):
        resume(whole.folder, load_kitti_masks(source=other, seed=3), **QUIET)


def test_the_data_of_a_run_load_again(masks: KittiMasks, whole: Run, sprites_store: Path, tmp_path: Path) -> None:
    assert repr(load_data(whole.folder, whole.config.data)) == repr(masks)
    sprites = load_natural_sprites(
        source=sprites_store, discrete=True, channels=1, sprites=SpriteOptions(shapes=("square", "circle"))
    )
    made = train(sprites, tmp_path / "sprites", steps=1, **FEW)
    assert repr(load_data(made.folder, Run.open(made.folder).config.data)) == repr(sprites)
    assert resume(made.folder, sprites, steps=2, **QUIET).step == 2


def test_a_store_that_moved_is_told_or_found_again(
    masks: KittiMasks, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = Path(shutil.copy(store, tmp_path / "first.h5"))
    made = train(load_kitti_masks(source=moved, seed=3), tmp_path / "run", steps=1, **FEW)
    moved = moved.rename(tmp_path / "second.h5")
    monkeypatch.setenv("TEMPORAL_PAIRS_HOME", str(tmp_path))
    with pytest.raises(RunError, match=r"first\.h5; nothing is at .*first\.h5 or \w+\.\n .*source=… \(--source\)"):
        resume(made.folder, steps=2, **QUIET)
    assert resume(made.folder, steps=2, source=moved, **QUIET).step == 2
    other = write_store(tmp_path / "other.h5", made_sequences([12, 11], videos=1), made_attributes(1))
    with pytest.raises(RunError, match=r"it was trained on the store \w+… at .*; .*other\.h5 holds \w+…"):
        resume(made.folder, source=other, **QUIET)
    with pytest.raises(OptionError, match="Both a dataset and source= are given"):
        resume(made.folder, masks, source=moved, **QUIET)


def test_a_sample_is_found_wherever_it_is(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    home = tmp_path_factory.getbasetemp() / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPORAL_PAIRS_HOME", str(home))
        made = train(load_kitti_masks(source="sample"), tmp_path / "run", steps=1, **FEW)
        elsewhere = {**made.config.data, "store": str(tmp_path / "of another machine.zarr")}
        assert repr(load_data(made.folder, elsewhere)) == repr(load_kitti_masks(source="sample"))
        assert resume(made.folder, steps=2, source="sample", **QUIET).step == 2


def test_a_dataset_with_a_transform_is_the_callers(store: Path, tmp_path: Path) -> None:
    flipped = load_kitti_masks(source=store, transform=lambda frames: frames.flip(-1))
    made = train(flipped, tmp_path / "run", steps=2, **FEW)
    with pytest.raises(RunError, match="had a transform"):
        resume(made.folder, steps=3, **QUIET)
    assert resume(made.folder, flipped, steps=3, **QUIET).step == 3


def test_a_network_of_ones_own_is_trained_in_place(masks: KittiMasks, tmp_path: Path) -> None:
    torch.manual_seed(5)
    own = SlowVAE(z_dim=4, encoder=default_encoder(4, 1), decoder=default_decoder(4, 1))
    before = own.encoder[0].weight.detach().clone()  # type: ignore[index]
    made = train(masks, tmp_path / "run", steps=3, network=own, **FEW)
    assert not torch.equal(before, own.encoder[0].weight)  # type: ignore[index]
    assert made.config.options.z_dim == 4
    for act in (Run.open(made.folder).network, lambda: resume(made.folder, **QUIET)):
        with pytest.raises(RunError, match="trained with a network of your own"):
            act()
    other = made.network(SlowVAE(z_dim=4))
    assert torch.equal(other.encoder[0].weight, own.encoder[0].weight)  # type: ignore[index]
    for act in (lambda: made.network(SlowVAE(5)), lambda: resume(made.folder, network=SlowVAE(5), **QUIET)):
        with pytest.raises(RunError, match="weights do not fit this network"):
            act()


@pytest.mark.parametrize(
    ("load", "options", "precision"),
    [
        (load_kitti_masks, {"window": 3}, "bfloat16"),
        (load_natural_sprites, {}, "float32"),
        (load_natural_sprites, {"channels": 1, "discrete": True}, "bfloat16"),
    ],
)
def test_every_kind_of_data_trains(
    load: Callable[..., Any], options: dict[str, Any], precision: Any, store: Path, sprites_store: Path, tmp_path: Path
) -> None:
    dataset = load(source=store if load is load_kitti_masks else sprites_store, **options)
    made = train(
        dataset, tmp_path / "run", steps=5, precision=precision, objective="beta-vae", learning_rate=1e-3, **FEW
    )
    assert made.config.frame_shape == dataset.source.frame_shape
    assert made.config.window == options.get("window", 2)
    log = made.log()
    assert log["total"][1:].min() < log["total"][0]
    assert np.allclose(log["total"], 2 * log["reconstruction"] + 8 * log["divergence"], rtol=1e-5)


def test_the_entropies_are_those_that_were_asked_for(masks: KittiMasks, tmp_path: Path) -> None:
    log = train(masks, tmp_path / "run", steps=2, entropies="paper", **FEW | {"log_every": 1}).log()
    normal = log["cross_entropy_normal"] - log["normal_entropy"]
    transition = log["cross_entropy_laplace"] / 2 - log["normal_entropy"]
    assert np.allclose(log["total"], 2 * log["reconstruction"] + normal + 10 * transition, rtol=1e-5)


def test_bfloat16_stays_close_to_float32(masks: KittiMasks, tmp_path: Path) -> None:
    logs = [
        train(masks, tmp_path / precision, steps=3, precision=precision, **FEW).log()["total"]
        for precision in ("float32", "bfloat16")
    ]
    assert np.allclose(*logs, rtol=0.01)
    assert not np.array_equal(*logs)


def test_seeds_are_runs_of_their_own(masks: KittiMasks, whole: Run, tmp_path: Path) -> None:
    runs = train_seeds(masks, tmp_path / "runs", [0, 7], steps=STEPS, **FEW)
    assert [run.folder.name for run in runs] == ["seed-0", "seed-7"]
    assert_equal_runs(runs[0], whole)
    one, other = (weights(run)["encoder.0.weight"] for run in runs)
    assert not torch.equal(one, other)
    assert [run.folder for run in find_runs(tmp_path / "runs")] == [run.folder for run in runs]
    with pytest.raises(RunError, match="seed-7: something is there already"):
        train_seeds(masks, tmp_path / "runs", [3, 7], steps=1, **FEW)
    assert not (tmp_path / "runs" / "seed-3").exists()
    for seeds, says in (([], "give at least one, and each once"), ([1, 1], "each once"), (3, "give several seeds")):
        with pytest.raises(OptionError, match=says):
            train_seeds(masks, tmp_path / "none", seeds, steps=1, **FEW)  # type: ignore[arg-type]


def test_seeds_go_on(masks: KittiMasks, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, 7, lambda: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(TrainingInterrupted):
            train_seeds(masks, tmp_path / "runs", [0, 7], steps=STEPS, **FEW)
    assert [run.step for run in find_runs(tmp_path / "runs")] == [7, None]
    runs = resume_each(tmp_path / "runs", **QUIET)
    assert [run.step for run in runs] == [STEPS, STEPS]
    assert_equal_runs(runs[0], whole)


def test_ranks_share_a_batch_evenly_or_say_so(masks: KittiMasks) -> None:
    config = RunConfig.of(masks, TrainOptions(batch_size=8), CPU)
    with pytest.raises(OptionError, match="batch_size=8: 3 ranks cannot share it evenly"):
        Training(masks, config, CPU, None, Ranks(0, 3))


def test_a_launchers_variable_alone_starts_no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with process_group() as ranks:
        assert ranks == Ranks()


RANKS = """
import sys, time
from kittimasks import load_kitti_masks
from slowvae import resume, train
from slowvae.ranks import process_group
from slowvae.training import Training

quiet = {"device": "cpu", "progress": False, "tensorboard": False}
store, out, steps, job = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
with process_group("cpu") as ranks:
    if job == "fail" and ranks.rank == 1:
        original, taken = Training.take_step, []
        def take_step(self, frames):
            taken.append(0)
            if len(taken) == 3:
                print("failing", time.time(), flush=True)
                raise MemoryError("rank 1 has no room")
            original(self, frames)
        Training.take_step = take_step
    if job == "resume":
        resume(out, steps=steps, **quiet)
    else:
        masks = load_kitti_masks(source=store, seed=3)
        train(masks, out, steps=steps, batch_size=4, log_every=4, checkpoint_every=6, precision="float32", **quiet)
"""


def ranks_command(script: Path, *arguments: object) -> list[str]:
    script.write_text(RANKS)
    return [str(word) for word in (*TORCHRUN, "2", script, *arguments)]


@pytest.mark.slow
def test_two_ranks_train_as_one(store: Path, masks: KittiMasks, tmp_path: Path) -> None:
    """The whole batch is the same, and so is the noise; sums over ranks are rounded in another order."""
    out, script = tmp_path / "two", tmp_path / "ranks.py"
    run(ranks_command(script, store, out, 8, "train"), tmp_path)
    alone = train(masks, tmp_path / "one", steps=STEPS, precision="float32", **FEW)
    two = Run.open(out)
    assert np.allclose(two.log()["total"][:2], alone.log()["total"][:2], rtol=1e-4)
    # One process goes on where two stopped, and the other way round.
    resume(out, steps=11, **QUIET)
    run(ranks_command(script, store, out, STEPS, "resume"), tmp_path)
    assert np.allclose(two.log()["total"][-1], alone.log()["total"][-1], rtol=1e-3)
    for name, value in weights(two).items():
        assert torch.allclose(value, weights(alone)[name], atol=1e-3), name


@pytest.mark.slow
def test_a_rank_that_fails_ends_the_others(store: Path, tmp_path: Path) -> None:
    command = ranks_command(tmp_path / "ranks.py", store, tmp_path / "run", 100_000, "fail")
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, timeout=280)
    ended = time.time()
    assert done.returncode
    assert "rank 1 has no room" in done.stderr
    assert ended - float(done.stdout.partition("failing ")[2].split()[0]) < 20


class FakeGraph:
    """A CUDA graph that runs its step again where a GPU would replay it."""

    def __init__(self) -> None:
        self.registered: list[torch.Generator] = []
        self.replay: Callable[[], None] = lambda: None

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.registered.append(generator)


class FakeStream:
    def wait_stream(self, other: object) -> None: ...


@contextmanager
def doing_nothing(*_: object) -> Iterator[None]:
    yield


def cpu_frames(training: Training) -> Any:
    """Return frames that say they are on a GPU."""
    frames = next(training.batches())
    return types.SimpleNamespace(device=torch.device("cuda:0"), clone=lambda **_: frames)


@pytest.mark.parametrize("taken", [0, 2])
def test_capturing_changes_nothing(taken: int, masks: KittiMasks, whole: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs: list[FakeGraph] = []
    for name in ("device", "stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, doing_nothing)
    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "current_stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graphs.append(FakeGraph()) or graphs[-1])
    eager, captured = (Training(masks, whole.config, CPU, None, Ranks()) for _ in range(2))
    for _ in range(taken):
        for training in (eager, captured):
            training.take_step(next(training.batches()))
    fast_step(captured, cpu_frames(captured))
    assert graphs[0].registered == [captured.noise]
    for training in (eager, captured):
        training.take_step(next(training.batches()))
    for one, other in zip(eager.network.parameters(), captured.network.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(eager.sums, captured.sums)


def test_where_capturing_fails_steps_are_eager(masks: KittiMasks, whole: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> NoReturn:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "device", failing)
    training = Training(masks, whole.config, CPU, None, Ranks())
    before = training.noise.get_state()
    with pytest.warns(RunWarning, match="could not be captured as a CUDA graph, so it runs eagerly"):
        step = fast_step(training, cpu_frames(training))
    assert step == training.take_step
    assert torch.equal(training.noise.get_state(), before)


def test_the_log_of_a_run_that_logged_nothing_is_empty(whole: Run, tmp_path: Path) -> None:
    assert len(Run(tmp_path, whole.config).log()["step"]) == 0
    assert Run(tmp_path, whole.config).step is None
    with pytest.raises(RunError, match="there is no checkpoint"):
        replace(whole, folder=tmp_path).network()


def test_scores_are_summed_up() -> None:
    scores = [{"a": 1.0, "b": 2.0}, {"a": 3.0}]
    assert summarize(scores) == {"a": (2.0, pytest.approx(2**0.5)), "b": (2.0, 0.0)}
    text = table([0, 5], scores)
    assert "seed 0" in text
    assert "2.0000 ± 1.4142" in text
    assert text.splitlines()[2].split() == ["b", "2.0000", "-", "2.0000", "±", "0.0000"]
