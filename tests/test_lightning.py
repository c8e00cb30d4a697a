"""`PairDataModule` under Lightning's trainer: epochs, splits, ranks, and going on within an epoch."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from launched import TORCHRUN, digests, environment, run

from kittimasks import load_kitti_masks
from temporalpairs.download.cache import HOME_VARIABLE
from temporalpairs.loaders import PairLoader

SCRIPT = Path(__file__).with_name("on_a_trainer.py")
SIZE, STOPPED = 40, 5  # as on_a_trainer.py has them

needs_lightning = pytest.mark.skipif(
    find_spec("lightning") is None and find_spec("pytorch_lightning") is None,
    reason="Lightning is not installed: pip install temporal-pairs[lightning]",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp()


@pytest.fixture(scope="module")
def straight(base: Path) -> Path:
    """Return the folder of a run of three epochs in one process."""
    folder = base / "straight"
    folder.mkdir()
    run([sys.executable, SCRIPT, folder], base)
    return folder


def seen(folder: Path, rank: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folder / f"rank{rank}.pt", weights_only=True)
    return found


def expected(base: Path, split: Any, *, epoch: int, **options: Any) -> list[list[int]]:
    """Return the batches of a loader that no trainer has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(base / "home"))
        loader = PairLoader(load_kitti_masks(source="sample", split=split), SIZE, seed=4, **options)
    loader.set_epoch(epoch)
    return digests(loader)


@needs_lightning
def test_each_of_the_trainers_epochs_is_an_epoch_of_the_plan(straight: Path, base: Path) -> None:
    trained = seen(straight)["trained"]
    assert trained == {epoch: expected(base, "train", epoch=epoch) for epoch in range(3)}
    assert trained[0] != trained[1]


@needs_lightning
def test_validation_shows_the_whole_split_and_the_same_every_time(straight: Path, base: Path) -> None:
    checked, *validated = seen(straight)["validated"]
    whole = expected(base, "val", epoch=0, shuffle=False, drop_last=False)
    assert validated == [whole] * 3
    assert checked == whole[:1], "before the training, Lightning tries one batch"


@needs_lightning
@pytest.mark.slow
def test_training_resumes_with_the_next_batch_of_an_epoch(straight: Path, base: Path) -> None:
    folder = base / "resumed"
    folder.mkdir()
    run([sys.executable, SCRIPT, folder, straight / "within.ckpt"], base)
    before, after = seen(straight)["trained"], seen(folder)["trained"]
    assert sorted(after) == [1, 2]
    assert after[1] == before[1][STOPPED:]
    assert after[2] == before[2]


@needs_lightning
@pytest.mark.slow
def test_two_ranks_share_the_epochs_and_no_sampler_is_injected(base: Path) -> None:
    folder = base / "two"
    folder.mkdir()
    run([*TORCHRUN, "2", SCRIPT, folder], base)
    ranks = [seen(folder, rank) for rank in (0, 1)]
    for epoch in range(3):
        alone = list(chain(*expected(base, "train", epoch=epoch)))
        dealt = zip(*(chain(*rank["trained"][epoch]) for rank in ranks), strict=True)
        assert list(chain(*dealt)) == alone + alone[: len(alone) % 2], "no window twice but what evens the ranks out"
    whole = list(chain(*expected(base, "val", epoch=0, shuffle=False, drop_last=False)))
    dealt = zip(*(chain(*rank["validated"][-1]) for rank in ranks), strict=True)
    assert list(chain(*dealt)) == whole + whole[: len(whole) % 2]


def test_without_lightning_the_import_says_what_to_install(base: Path) -> None:
    hidden = "import sys; sys.modules |= dict.fromkeys(('lightning', 'pytorch_lightning'))"
    done = subprocess.run(
        [sys.executable, "-c", f"{hidden}; import temporalpairs.loaders.lightning"],
        env=environment(base),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith("PairDataModule needs Lightning: pip install temporal-pairs[lightning]")
