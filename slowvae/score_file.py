"""The scores.json of a run: evaluations of it, none of which is lost to a later one.

The summary of several runs is made of theirs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowvae.runs import SCORES, present
from slowvae.seeds import summarize
from temporalpairs.errors import RunError
from temporalpairs.store.atomic import replace_file

if TYPE_CHECKING:
    from slowvae.runs import Run


def read_scores(folder: Path) -> dict[str, Any]:
    """Return what a run's scores.json holds, or nothing where there is none.

    Raises:
        RunError: it is damaged.
    """
    return _read(folder, lambda found: merged(found, found))


def merged(known: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Add an evaluation to those that a scores.json holds; none is lost.

    The new one comes first, together with the scores of those that were made in the same way: of the same checkpoint,
    dataset, fraction and seed. Others follow under ``"others"``.
    """
    if not known:
        return new
    others = [record for record in _records(known) if made_how(record) != made_how(new)]
    for same in _records(known):
        if made_how(same) == made_how(new):
            joined = {name: {**same.get(name, {}), **new[name]} for name in ("scores", "protocol", "seconds")}
            notes = list(dict.fromkeys([*same["notes"], *new["notes"]]))
            new = {**same, **new, **joined, "notes": notes}
    return {**new, "others": others} if others else new


def write_scores(folder: Path, found: dict[str, Any]) -> None:
    """Replace a folder's scores.json.

    Raises:
        RunError: it cannot be written.
    """
    try:
        replace_file(folder / SCORES, json.dumps(found, indent=2).encode())
    except OSError as error:
        raise RunError(
            folder / SCORES, f"cannot be written ({error.strerror or error})", "Make room, or mend its permissions."
        ) from error


def read_summary(folder: Path) -> dict[str, Any]:
    """Return the summary of several runs in a folder's scores.json, or nothing where there is none.

    Raises:
        RunError: it is damaged.
    """
    return _read(folder, lambda found: [(made_how(one), one["seeds"], one["agreement"]) for one in _records(found)])


def summarized(runs: Sequence[Run], agreement: dict[str, float], known: dict[str, Any]) -> dict[str, Any]:
    """Return the summary of several runs of which each was just evaluated in the same way.

    Args:
        runs: the runs, each with a scores.json.
        agreement: scores of all runs together.
        known: the summary so far, or nothing; its scores of the same runs together are kept.
    """
    ways: dict[str, list[tuple[Run, dict[str, Any]]]] = {}
    for run in runs:
        for record in _records(read_scores(run.folder)):
            ways.setdefault(json.dumps(made_how(record)), []).append((run, record))
    before = _records(known) if known else []
    parts = [_summary(evaluated, before) for evaluated in ways.values()]
    parts[0]["agreement"] |= agreement
    return {**parts[0], "others": parts[1:]} if parts[1:] else parts[0]


def _read(folder: Path, check: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    path = folder / SCORES
    if not present(path):
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        check(found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(path, f"is not a file of scores ({error!r})", "Delete it; evaluating writes it anew.") from error
    return found


def _summary(evaluated: list[tuple[Run, dict[str, Any]]], before: list[dict[str, Any]]) -> dict[str, Any]:
    how = {name: evaluated[0][1][name] for name in ("format", "step", "data", "windows", "fraction", "seed")}
    seeds = [run.config.options.seed for run, _ in evaluated]
    scores = [record["scores"] for _, record in evaluated]
    kept = [old for old in before if made_how(old) == made_how(how) and old["seeds"] == seeds]
    means = summarize(scores)
    return {
        **how,
        "runs": [str(run.folder) for run, _ in evaluated],
        "seeds": seeds,
        "scores": scores,
        "mean": {name: mean for name, (mean, _) in means.items()},
        "std": {name: deviation for name, (_, deviation) in means.items()},
        "agreement": {name: value for old in kept for name, value in old["agreement"].items()},
    }


def _records(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [{name: value for name, value in found.items() if name != "others"}, *found.get("others", [])]


def made_how(record: dict[str, Any]) -> list[Any]:
    """Return what two evaluations have in common whose scores belong together."""
    data = {name: record["data"][name] for name in ("dataset", "digest", "options")}
    return [record["step"], data, record["windows"], record["fraction"], record["seed"]]
