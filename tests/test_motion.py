"""Natural Sprites that move by a law: its distribution, its scale and range, and the same pairs everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch.utils.data import DataLoader

from natsprites import SpriteOptions, load_natural_sprites, load_sprite_arrays
from natsprites.motion import Motion
from temporalpairs.errors import OptionError
from temporalpairs.loaders import ArrayLoader, PairLoader
from temporalpairs.loaders.chance import TRANSITION, words

LAWS: dict[str, Any] = {
    "laplace": (None, stats.laplace()),
    "uniform": (None, stats.uniform(loc=-0.5)),
    "gaussian": (None, stats.norm()),
    "generalized-normal": (0.5, stats.gennorm(0.5)),
}
SMALL = SpriteOptions(size=16, anti_aliasing=2)


@pytest.fixture
def sprites(sample_home: Path) -> Any:
    return lambda **options: load_natural_sprites(
        "sample", root=sample_home, channels=1, **{"sprites": SMALL, **options}
    )


@pytest.mark.parametrize("law", LAWS)
def test_steps_are_of_the_law_with_the_standard_deviation_that_is_asked_for(law: str) -> None:
    shape, distribution = LAWS[law]
    std = np.array([1.0, 2.0, 3.0, 4.0])
    motion = Motion(law, shape, std, np.full(3, -1e9), np.full(3, 1e9))  # type: ignore[arg-type]
    index, start = np.arange(100_000), np.tile([0.0, 0.0, 0.0, 180.0], (100_000, 1))
    steps = motion.follow(start, lambda j: words(1, 0, TRANSITION, index, j)) - start
    for column, scale in zip(steps.T, std, strict=True):
        scaled = column / scale * distribution.std()
        assert stats.kstest(scaled[np.abs(column) < 90], distribution.cdf).pvalue > 1e-4


@pytest.mark.parametrize("options", [{}, {"discrete": True}, {"window": 4}])
@pytest.mark.parametrize("law", LAWS)
def test_all_loaders_give_the_same_sprites(law: str, options: dict[str, Any], sprites: Any, sample_home: Path) -> None:
    how = {"transitions": law, "shape": LAWS[law][0], "seed": 5, **options}
    dataset, natural = sprites(**how), sprites(**{**how, "transitions": "natural", "shape": None})
    frames, factors = dataset[:64]
    assert torch.equal(frames[:, 0], natural[:64].frames[:, 0]), "the first frame is the mask's"
    assert torch.equal(factors[:, 0], natural[:64].factors[:, 0])
    assert (factors[:, :, 4] == factors[:, :1, 4]).all(), "the shape stays"
    assert dataset.load_options["transitions"] == law
    plain = load_sprite_arrays("sample", root=sample_home, channels=1, sprites=SMALL, **how)
    for loader in (
        PairLoader(dataset, 64, shuffle=False),
        ArrayLoader(plain, 64, shuffle=False),
        DataLoader(dataset, 64),
    ):
        for ours, theirs in zip((frames, factors), next(iter(loader)), strict=True):
            assert np.array_equal(ours, np.asarray(theirs))
    assert torch.equal(dataset.subset([9, 4])[1].factors, factors[4])
    drawn = dataset.ground_truth().sample(3, np.random.RandomState(0))[1]
    assert drawn.shape == (3, 16, 16, 1)


def test_moved_sprites_keep_the_range_and_the_classes_of_the_masks(sprites: Any) -> None:
    natural = sprites(window=3)[:].factors
    moved = sprites(transitions="gaussian", window=3)[:].factors[:, 1:]
    low, high = (getattr(natural[..., :3].flatten(0, 1), which)(dim=0).values for which in ("min", "max"))
    assert (moved[..., :3] >= low - 1e-6).all()
    assert (moved[..., :3] <= high + 1e-6).all()
    assert ((moved[..., 3] >= 0) & (moved[..., 3] <= 360)).all()
    classes = sprites(transitions="laplace", discrete=True)[:].factors.flatten(0, 1)
    assert [len(np.unique(column)) for column in classes.numpy().T[:4]] == pytest.approx([32, 32, 6, 40], abs=3)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"transitions": "sparse"}, "transitions='sparse' is unknown"),
        ({"transitions": "generalized-normal"}, "shape=None: transitions='generalized-normal' takes a shape"),
        ({"transitions": "laplace", "shape": 1}, "shape=1: "),
        ({"transitions": "generalized-normal", "shape": 0}, "shape=0 is out of range"),
    ],
)
def test_what_is_no_law_is_told(options: dict[str, Any], told: str, sprites: Any) -> None:
    with pytest.raises(OptionError, match=told):
        sprites(**options)
