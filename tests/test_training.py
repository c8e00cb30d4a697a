"""Training: what resumes, what stops it, what it leaves behind, and that ranks, seeds and files repeat it."""

from __future__ import annotations

import json
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets_made import Stores, make_stores
from launched import TORCHRUN, environment, run
from torch import Tensor

from kittimasks import KittiMasks, load_kitti_masks
from natsprites import SpriteOptions, load_natural_sprites
from slowvae import Run, SlowVAE, TrainOptions, resume, train, train_seeds
from slowvae.data import load_data
from slowvae.model import default_decoder, default_encoder
from slowvae.ranks import Ranks
from slowvae.runs import CHECKPOINT, CONFIG, LOG, find_runs
from slowvae.seeds import resume_each, summarize, table
from slowvae.steps import TERMS, Step
from slowvae.training import Session, configure
from temporalpairs.errors import OptionError, RunError, RunNotWrittenError, TrainingDivergedError, TrainingInterrupted

FEW: dict[str, Any] = {"batch_size": 8, "log_every": 5, "checkpoint_every": 10, "device": "cpu", "progress": False}
STEPS = 24  # of three epochs and some batches more


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return make_stores(tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="module")
def masks(stores: Stores) -> KittiMasks:
    return load_kitti_masks(source=stores.masks, seed=3)


@pytest.fixture(scope="module")
def whole(masks: KittiMasks, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run without a break."""
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


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, action: Callable[[], None]) -> None:
    """Do something while a step is under way."""
    taken = 0
    original = Step.__call__

    def call(self: Step, frames: Tensor) -> None:
        nonlocal taken
        taken += 1
        original(self, frames)
        if taken == step:
            action()

    monkeypatch.setattr(Step, "__call__", call)


def test_a_run_has_what_the_docs_say(whole: Run) -> None:
    names = sorted(path.name for path in whole.folder.iterdir())
    assert names == [".lock", CHECKPOINT, CONFIG, LOG, "tensorboard"]
    log = whole.log()
    assert log["step"].tolist() == [5, 10, 15, 20, 24]
    assert np.isfinite(log["total"]).all()
    assert log["total"][-1] < log["total"][0]
    found = torch.load(whole.folder / CHECKPOINT, weights_only=True)
    assert found["step"] == STEPS
    assert whole.network().training is False


def test_the_log_holds_means_of_all_steps(masks: KittiMasks, whole: Run, tmp_path: Path) -> None:
    each = train(masks, tmp_path / "run", steps=5, **FEW | {"log_every": 1}).log()
    for name in TERMS:
        assert whole.log()[name][0] == pytest.approx(each[name].mean(), rel=1e-5), name


def test_event_files_hold_the_log(whole: Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(whole.folder / "tensorboard")).Reload()
    log = whole.log()
    for name in TERMS:
        scalars = events.Scalars(name)
        assert [scalar.step for scalar in scalars] == log["step"].tolist()
        assert np.allclose([scalar.value for scalar in scalars], log[name], rtol=1e-5)


def test_without_tensorboard_there_are_no_event_files(
    masks: KittiMasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    found = train(masks, tmp_path / "run", steps=2, **FEW)
    assert not (found.folder / "tensorboard").exists()
    assert len(found.log()["step"]) == 1


@pytest.mark.parametrize("step", [3, 10, 17])
def test_an_interrupted_run_goes_on_bit_for_bit(
    step: int, masks: KittiMasks, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, step, lambda: signal.raise_signal(signal.SIGINT))
        with pytest.raises(TrainingInterrupted, match=f"Interrupted at step {step}; go on .*--resume"):
            train(masks, tmp_path / "run", steps=STEPS, **FEW)
    assert Run.open(tmp_path / "run").step == step
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert_equal_runs(resume(tmp_path / "run", masks, device="cpu", progress=False), whole)


def test_a_killed_run_goes_on_in_a_new_process(masks: KittiMasks, whole: Run, tmp_path: Path) -> None:
    """Killed between checkpoints: the log has rows that no checkpoint holds."""
    out = tmp_path / "run"
    few = [f"--{name.replace('_', '-')}={value}" for name, value in FEW.items() if name != "progress"]
    command = [sys.executable, "-c", "from temporalpairs.cli.main import main; main()", "train"]
    words = ["kitti-masks", f"--source={masks.store}", "--data-seed=3", "--steps=100000", "--no-evaluation", *few]
    started = subprocess.Popen([*command, *words, f"--out={out}"], env=environment(tmp_path))
    try:
        while not (out / LOG).exists() or "\n15," not in (out / LOG).read_text():
            assert started.poll() is None
            time.sleep(0.01)
    finally:
        started.kill()
        started.wait()
    checkpoint = Run.open(out).step
    assert checkpoint is not None
    assert checkpoint % FEW["checkpoint_every"] == 0
    steps = 10 * (checkpoint // 10 + 1) + 4
    run([*command, f"--resume={out}", f"--steps={steps}", "--device=cpu", "--no-evaluation", "--quiet"], tmp_path)
    expected = train(masks, tmp_path / "expected", steps=steps, **FEW)
    assert_equal_runs(Run.open(out), expected)


def test_a_row_that_was_cut_off_is_dropped(masks: KittiMasks, whole: Run, tmp_path: Path) -> None:
    first = train(masks, tmp_path / "run", steps=20, **FEW)
    with (first.folder / LOG).open("a") as file:
        file.write("2")
    assert_equal_runs(resume(first.folder, masks, steps=STEPS, device="cpu", progress=False), whole)


def test_a_checkpoint_of_another_device_leaves_the_optimizer_its_ways(masks: KittiMasks, tmp_path: Path) -> None:
    made = train(masks, tmp_path / "run", steps=2, **FEW)
    state = made.checkpoint()
    state["optimizer"]["param_groups"][0].update(capturable=True, fused=None)
    session = Session(masks, made.config, torch.device("cpu"), None, Ranks())
    session.load(state)
    (group,) = session.update.optimizer.param_groups
    assert (group["capturable"], group["fused"]) == (False, True)
    assert all(torch.equal(s["step"], torch.tensor(2.0)) for s in session.update.optimizer.state.values())


def test_more_steps_are_what_they_would_have_been(masks: KittiMasks, whole: Run, tmp_path: Path) -> None:
    first = train(masks, tmp_path / "run", steps=20, **FEW)
    longer = resume(first.folder, masks, steps=STEPS, device="cpu", progress=False)
    assert longer.config.options.steps == Run.open(first.folder).config.options.steps == STEPS
    assert_equal_runs(longer, whole)
    again = resume(first.folder, masks, device="cpu", progress=False)
    assert_equal_runs(again, whole)


def test_the_callers_chance_is_left_alone_and_does_not_matter(masks: KittiMasks, whole: Run, tmp_path: Path) -> None:
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again = train(masks, tmp_path / "run", steps=STEPS, **FEW)
    assert torch.equal(before, torch.get_rng_state())
    assert_equal_runs(again, whole)


def test_a_configuration_repeats_the_run(whole: Run, masks: KittiMasks, tmp_path: Path) -> None:
    from temporalpairs.cli.main import main

    words = ["train", "--config", str(whole.folder / CONFIG), "--out", str(tmp_path / "run"), "--device", "cpu"]
    assert main([*words, "--no-evaluation", "--quiet"]) == 0
    assert_equal_runs(Run.open(tmp_path / "run"), whole)


def test_nan_stops_and_keeps_the_last_good_checkpoint(masks: KittiMasks, tmp_path: Path) -> None:
    options = FEW | {"learning_rate": 1e12, "log_every": 1, "checkpoint_every": 1}
    with pytest.raises(TrainingDivergedError, match="smaller learning_rate") as caught:
        train(masks, tmp_path / "run", steps=50, **options)
    kept = Run.open(tmp_path / "run").checkpoint()
    assert kept["step"] == caught.value.step - 1
    assert all(value.isfinite().all() for value in kept["network"].values())
    assert f"the checkpoint of step {kept['step']} is kept" in str(caught.value)


def test_nan_before_any_checkpoint_says_so(masks: KittiMasks, tmp_path: Path) -> None:
    with pytest.raises(TrainingDivergedError, match="no checkpoint was written before"):
        train(masks, tmp_path / "run", steps=50, **FEW | {"learning_rate": 1e12})


def test_a_full_disk_keeps_the_last_checkpoint(
    masks: KittiMasks, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patch:
        at_step(patch, 15, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, unlimited[1])))
        try:
            with pytest.raises(RunNotWrittenError, match=r"at step 20 .*File too large.* step 10 is intact") as caught:
                train(masks, tmp_path / "run", steps=STEPS, **FEW)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert "--resume" in str(caught.value)
    stopped = Run.open(tmp_path / "run")
    assert stopped.step == 10
    assert sorted(path.name for path in stopped.folder.iterdir()) == [".lock", CHECKPOINT, CONFIG, LOG, "tensorboard"]
    assert_equal_runs(resume(stopped.folder, masks, device="cpu", progress=False), whole)


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
        ('{"format": 99}', "has format 99; this version reads up to 1"),
    ],
)
def test_a_damaged_configuration_is_named(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text(text)
    with pytest.raises(RunError, match=says):
        Run.open(tmp_path)


def test_a_folder_that_holds_something_is_left_as_it_is(masks: KittiMasks, whole: Run, tmp_path: Path) -> None:
    before = (whole.folder / CONFIG).read_bytes(), (whole.folder / CHECKPOINT).read_bytes()
    with pytest.raises(RunError, match="something is there already and was left as it is"):
        train(masks, whole.folder, steps=1, **FEW)
    assert before == ((whole.folder / CONFIG).read_bytes(), (whole.folder / CHECKPOINT).read_bytes())
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="something is there already"):
        train(masks, tmp_path / "file", steps=1, **FEW)


def test_what_does_not_fit_is_said_before_writing(masks: KittiMasks, stores: Stores, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for options, says in (
        ({"batch_size": 1000}, "batch_size=1000: an epoch has"),
        ({"model": "vae"}, "model='vae' is unknown; it is one of 'slowvae', 'beta-vae'"),
        ({"steps": 0}, "steps=0: give at least 1"),
        ({"beta": -1.0}, "beta=-1.0: give a number of at least 0"),
        ({"rate": 0.0}, "rate=0.0: give a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"adam_beta1": 1.0}, "adam_beta1=1.0"),
        ({"precision": "float16"}, "precision='float16' is unknown"),
        ({"seed": -1}, "seed=-1 is out of range"),
        ({"device": "cuda:9"}, "device='cuda:9' cannot be used here"),
        ({"network": SlowVAE(channels=3)}, r"frames have shape \[1, 64, 64\]; the network takes \[3, 64, 64\]"),
    ):
        with pytest.raises(OptionError, match=says):
            train(masks, out, **{"steps": 1, **FEW, **options})
    small = load_natural_sprites(source=stores.sprites, sprites=SpriteOptions(size=16))
    with pytest.raises(OptionError, match=r"frames have shape \[3, 16, 16\]"):
        train(small, out, steps=1, **FEW)
    assert not out.exists()


def test_two_processes_do_not_train_one_run(masks: KittiMasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []

    def second() -> None:
        with pytest.raises(RunError, match="another process trains this run") as caught:
            resume(tmp_path / "run", masks, device="cpu", progress=False)
        found.append(str(caught.value))

    at_step(monkeypatch, 2, second)
    train(masks, tmp_path / "run", steps=3, **FEW)
    assert found


def test_a_run_goes_on_with_its_own_data_only(whole: Run, stores: Stores) -> None:
    other = load_kitti_masks(source=stores.masks, seed=4)
    with pytest.raises(RunError, match="it is of another dataset: its options was"):
        resume(whole.folder, other, device="cpu", progress=False)


def test_the_data_of_a_run_load_again(masks: KittiMasks, whole: Run, stores: Stores, tmp_path: Path) -> None:
    loaded = load_data(whole.folder, whole.config.data)
    assert repr(loaded) == repr(masks)
    sprites = load_natural_sprites(
        source=stores.sprites, discrete=True, channels=1, sprites=SpriteOptions(shapes=("square", "circle"))
    )
    made = train(sprites, tmp_path / "sprites", steps=1, **FEW)
    assert repr(load_data(made.folder, Run.open(made.folder).config.data)) == repr(sprites)
    changed = {**whole.config.data, "manifest_sha256": "0" * 64}
    with pytest.raises(RunError, match="manifest 0000000000000000…, which has"):
        load_data(whole.folder, changed)


def test_a_dataset_with_a_transform_is_the_callers(stores: Stores, tmp_path: Path) -> None:
    flipped = load_kitti_masks(source=stores.masks, transform=lambda frames: frames.flip(-1))
    made = train(flipped, tmp_path / "run", steps=2, **FEW)
    with pytest.raises(RunError, match="had a transform"):
        load_data(made.folder, made.config.data)
    assert resume(made.folder, flipped, steps=3, device="cpu", progress=False).step == 3


def test_a_network_of_ones_own_is_trained_in_place(masks: KittiMasks, tmp_path: Path) -> None:
    torch.manual_seed(5)
    own = SlowVAE(z_dim=4, encoder=default_encoder(4, 1), decoder=default_decoder(4, 1))
    before = own.encoder[0].weight.detach().clone()  # type: ignore[index]
    made = train(masks, tmp_path / "run", steps=3, network=own, **FEW)
    assert not torch.equal(before, own.encoder[0].weight)  # type: ignore[index]
    assert made.config.options.z_dim == 4
    with pytest.raises(RunError, match="trained with a network of your own"):
        Run.open(made.folder).network()
    other = made.network(SlowVAE(z_dim=4))
    assert torch.equal(other.encoder[0].weight, own.encoder[0].weight)  # type: ignore[index]
    with pytest.raises(RunError, match="weights do not fit this network"):
        made.network(SlowVAE(z_dim=5))


@pytest.mark.parametrize(
    ("load", "channels", "window"),
    [
        (lambda s: load_kitti_masks(source=s.masks, window=3), 1, 3),
        (lambda s: load_natural_sprites(source=s.sprites), 3, 2),
        (lambda s: load_natural_sprites(source=s.sprites, channels=1, discrete=True), 1, 2),
    ],
)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_kind_of_data_trains(
    load: Callable[[Stores], Any], channels: int, window: int, precision: Any, stores: Stores, tmp_path: Path
) -> None:
    made = train(load(stores), tmp_path / "run", steps=6, precision=precision, model="beta-vae", **FEW)
    assert (made.config.channels, made.config.window) == (channels, window)
    log = made.log()
    assert log["total"][-1] < log["total"][0]
    normal = log["cross_entropy_normal"] - log["normal_entropy"]
    assert np.allclose(log["total"], 2 * log["reconstruction"] + 8 * normal, rtol=1e-5), "β = 8, γ = 0"


def test_bfloat16_stays_close_to_float32(masks: KittiMasks, tmp_path: Path) -> None:
    logs = [
        train(masks, tmp_path / precision, steps=10, precision=precision, **FEW).log()["total"]
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
    for seeds in ([], [1, 1]):
        with pytest.raises(OptionError, match="give at least one, and each once"):
            train_seeds(masks, tmp_path / "none", seeds, steps=1, **FEW)


def test_seeds_go_on(masks: KittiMasks, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, 7, lambda: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(TrainingInterrupted):
            train_seeds(masks, tmp_path / "runs", [0, 7], steps=STEPS, **FEW)
    assert [run.step for run in find_runs(tmp_path / "runs")] == [7, None]
    runs = resume_each(tmp_path / "runs", masks, device="cpu", progress=False)
    assert [run.step for run in runs] == [STEPS, STEPS]
    assert_equal_runs(runs[0], whole)


def test_two_ranks_train_as_one(masks: KittiMasks, whole: Run, tmp_path: Path) -> None:
    """The whole batch is the same, and so is the noise; sums over ranks are rounded in another order."""
    options = [f"--source={masks.store}", "--data-seed=3", "--no-evaluation", "--device=cpu", "--precision=float32"]
    options += ["--batch-size=8", "--log-every=5", "--checkpoint-every=10"]
    start = [*TORCHRUN, "2", "--no-python", Path(sys.executable).with_name("temporal-pairs"), "train"]
    run([*start, "kitti-masks", *options, "--steps=12", f"--out={tmp_path / 'two'}"], tmp_path)
    alone = train(masks, tmp_path / "one", steps=STEPS, **FEW | {"precision": "float32"})
    two = Run.open(tmp_path / "two")
    assert np.allclose(two.log()["total"][:2], alone.log()["total"][:2], rtol=1e-4)
    assert two.checkpoint()["loader"]["position"] == 8 * 12 % (8 * (len(masks) // 8))
    # One process goes on where two stopped, and the other way round.
    resume(two.folder, masks, steps=18, device="cpu", progress=False)
    run([*start, "--resume", two.folder, "--steps", str(STEPS), "--no-evaluation", "--device=cpu"], tmp_path)
    assert np.allclose(two.log()["total"][-1], alone.log()["total"][-1], rtol=1e-3)
    for name, value in weights(two).items():
        assert torch.allclose(value, weights(alone)[name], atol=1e-3), name


def test_ranks_share_a_batch_evenly_or_say_so(masks: KittiMasks) -> None:
    config = configure(masks, TrainOptions(batch_size=8), torch.device("cpu"))
    with pytest.raises(OptionError, match="batch_size=8: 3 ranks cannot share it evenly"):
        Session(masks, config, torch.device("cpu"), None, Ranks(0, 3))


def test_options_survive_json() -> None:
    options = TrainOptions(model="beta-vae", steps=7, gamma=0.5)
    assert TrainOptions.from_json(json.loads(json.dumps(options.to_json()))) == options
    assert (options.beta, options.gamma) == (8.0, 0.5)
    assert (TrainOptions().beta, TrainOptions().gamma) == (1.0, 10.0)
    with pytest.raises(OptionError, match="not the options of a training run"):
        TrainOptions.from_json({"epochs": 3})


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
