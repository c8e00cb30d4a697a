"""The examples in public docstrings run as they stand, offline."""

from __future__ import annotations

import doctest
import inspect
import re
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

PACKAGES = (
    "kittimasks",
    "natsprites",
    "slowvae",
    "slowvae.metrics",
    "temporalpairs",
    "temporalpairs.builders",
    "temporalpairs.factorial",
    "temporalpairs.loaders",
    "temporalpairs.report",
)
MUST_HAVE = (
    "kittimasks.load_kitti_masks",
    "kittimasks.load_kitti_arrays",
    "natsprites.load_natural_sprites",
    "natsprites.load_sprite_arrays",
    "natsprites.render",
    "slowvae.evaluate",
    "slowvae.resume",
    "slowvae.train",
    "slowvae.train_seeds",
    "slowvae.objective",
    "temporalpairs.read_store",
    "temporalpairs.builders.build_kitti_masks",
    "temporalpairs.builders.build_natural_sprites",
    "temporalpairs.builders.open_annotations",
    "temporalpairs.factorial.load_dsprites",
    "temporalpairs.factorial.load_cars3d_arrays",
    "temporalpairs.loaders.ArrayLoader",
    "temporalpairs.loaders.PairLoader",
    "temporalpairs.loaders.interleave",
)


def public() -> dict[str, Any]:
    """Every public object by its full name, once."""
    found: dict[str, Any] = {}
    for name in PACKAGES:
        package = import_module(name)
        found |= {f"{name}.{member}": getattr(package, member) for member in package.__all__}
    return found


def blocks(text: str) -> list[str]:
    return [dedent(block) for block in re.findall(r"^ *```python\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)]


def with_examples() -> list[str]:
    names = list(PACKAGES) + [name for name in public() if not name.startswith("temporalpairs.builders.build")]
    return [name for name in [*names, *MUST_HAVE] if _has_example(_documented(name))]


def _documented(name: str) -> Any:
    package, _, member = name.rpartition(".")
    return import_module(name) if name in PACKAGES else getattr(import_module(package), member)


def _has_example(thing: Any) -> bool:
    text = inspect.getdoc(thing) or ""
    return ">>>" in text or bool(blocks(text))


@pytest.mark.parametrize("name", MUST_HAVE)
def test_what_users_call_has_an_example(name: str) -> None:
    assert _has_example(_documented(name)), f"{name} has no example"


@pytest.mark.parametrize("name", sorted(set(with_examples())))
def test_an_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample_home: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEMPORAL_PAIRS_HOME", str(sample_home))
    thing = _documented(name)
    for block in blocks(inspect.getdoc(thing) or ""):
        exec(compile(block, name, "exec"), {"__name__": "example"})
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(thing) or "", {}, name, None, 0)
    told: list[str] = []
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert not doctest.DocTestRunner(optionflags=flags).run(test, out=told.append).failed, "".join(told)
