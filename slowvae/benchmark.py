"""A table of methods on datasets, from a file that names both: every run once, whatever happens between.

A specification is TOML:

    title = "KITTI Masks"
    seeds = [0, 1, 2]
    metrics = ["mcc", "r2"]  # by default all that a dataset allows
    fraction = 0.1  # of the protocol's observations; by default 1
    training = { steps = 3000 }  # for all methods

    [[data]]
    name = "Δt 5"
    dataset = "kitti-masks"
    source = "sample"
    options = { max_delta_t = 5 }

    [[methods]]
    name = "SlowVAE"
    training = { objective = "slowvae", gamma = 10.0 }

Every run has a folder, ``runs/DATA/METHOD/seed-N``, and is one like any other.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from slowvae.data import load_data
from slowvae.evaluation import evaluate
from slowvae.options import TrainOptions
from slowvae.resume import resume
from slowvae.runs import CONFIG, Run, RunConfig, present
from slowvae.score_file import read_scores
from slowvae.seeds import summarize
from slowvae.training import train
from temporalpairs.checks import as_path, shown, whole
from temporalpairs.datasets import find_dataset
from temporalpairs.errors import OptionError, TemporalPairsError
from temporalpairs.store.atomic import replace_file

RESULTS = "results"  # .json, .csv and .md
FORMAT = 1


class _Data(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    dataset: str
    source: str = "release"
    options: dict[str, Any] = {}


class _Method(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    training: dict[str, Any] = {}


class Spec(msgspec.Struct, forbid_unknown_fields=True):
    """What a specification names; see the module."""

    title: str
    data: list[_Data]
    methods: list[_Method]
    seeds: list[int]
    metrics: list[str] | None = None
    fraction: float = 1.0
    training: dict[str, Any] = {}

    @classmethod
    def read(cls, path: str | Path) -> Spec:
        """Read a specification.

        Raises:
            OptionError: it cannot be read, or names something twice or nothing at all.
        """
        path = as_path("spec", path)
        try:
            spec = msgspec.toml.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OptionError(f"{path} is no specification of a benchmark: {reason}.") from error
        for field, names in (
            ("data", [data.name for data in spec.data]),
            ("methods", [method.name for method in spec.methods]),
            ("seeds", spec.seeds),
        ):
            if not names or len({_word(str(name)) for name in names}) < len(names):
                raise OptionError(f"{path}: {field} has {names}; give at least one, and names that differ.")
        for method in spec.methods:
            spec.options(method, 0)
        return spec

    def options(self, method: _Method, seed: int) -> TrainOptions:
        """Return the options of a run.

        Raises:
            OptionError: one is unknown, or does not fit.
        """
        return TrainOptions.of(None, **{**self.training, **method.training, "seed": seed})


@dataclass(frozen=True, slots=True)
class Job:
    """A run of a benchmark.

    Attributes:
        number: of the run, from 1 on.
        data: what it is trained on.
        method: how it is trained.
        seed: random seed of the training.
        folder: folder of the run.
    """

    number: int
    data: _Data
    method: _Method
    seed: int
    folder: Path


def list_jobs(spec: Spec, out: str | Path) -> list[Job]:
    """Return all runs of a benchmark in their order: by dataset, by method, by seed."""
    runs = as_path("out", out) / "runs"
    each = [(data, method, seed) for data in spec.data for method in spec.methods for seed in spec.seeds]
    return [
        Job(number, data, method, seed, runs / _word(data.name) / _word(method.name) / f"seed-{seed}")
        for number, (data, method, seed) in enumerate(each, 1)
    ]


def run_benchmark(
    spec: str | Path,
    out: str | Path,
    *,
    only: int | None = None,
    device: str = "auto",
    progress: Callable[[str], object] | None = None,
) -> dict[str, Any]:
    """Train and score all runs of a specification, and write their table.

    Runs that are complete are not made again, those that were interrupted go on, and a run that fails is a row that
    says why. Several processes may work on one folder: a run that another one trains is left to it.

    Example:
        ```python
        from pathlib import Path
        from slowvae.benchmark import run_benchmark

        Path("spec.toml").write_text('''
        title = "floors"
        seeds = [0]
        metrics = ["mcc"]
        fraction = 0.02
        data = [{ name = "sample", dataset = "kitti-masks", source = "sample" }]
        methods = [{ name = "untrained", training = { objective = "untrained" } }]
        ''')
        run_benchmark("spec.toml", "floors")["rows"][0]["scores"]["mcc_spearman"]
        ```

    Args:
        spec: the specification, a TOML file.
        out: folder of the benchmark.
        only: number of the one run to make, as `list_jobs` counts them; the table is of all that there are.
        device: device to train on; ``"auto"`` takes a GPU if there is one.
        progress: called with a line about each run before it starts.

    Returns:
        What results.json holds: title, specification, a row for each run, and mean and standard deviation of each
        score of each method.

    Raises:
        OptionError: the specification does not fit, or there is no run of that number.
        TrainingInterrupted: Ctrl-C; the run under way was saved.
    """
    read = Spec.read(spec)
    jobs = list_jobs(read, out)
    if progress is not None and not callable(progress):
        raise OptionError(f"progress={shown(progress)}: give a function of a line, such as print.")
    for job in jobs if only is None else [jobs[whole("only", only, 1, len(jobs)) - 1]]:
        if progress is not None:
            progress(f"run {job.number} of {len(jobs)}: {job.method.name} on {job.data.name}, seed {job.seed}")
        error = _made(read, job, device)
        if error:
            _write(job.folder.parent / f"seed-{job.seed}.error.txt", error)
        else:
            (job.folder.parent / f"seed-{job.seed}.error.txt").unlink(missing_ok=True)
    found = _collected(read, jobs)
    folder = as_path("out", out)
    _write(folder / f"{RESULTS}.json", json.dumps(found, indent=2))
    _write(folder / f"{RESULTS}.csv", _csv(found))
    _write(folder / f"{RESULTS}.md", to_markdown(found))
    return found


def to_markdown(found: dict[str, Any]) -> str:
    """Write the table of a benchmark as Markdown: mean ± standard deviation of each score, by dataset and method."""
    lines = [f"# {found['title']}", ""]
    for data in dict.fromkeys(entry["data"] for entry in found["table"]):
        entries = [entry for entry in found["table"] if entry["data"] == data]
        names = list(dict.fromkeys(name for entry in entries for name in entry["mean"]))
        lines += [f"## {data}", "", f"| method | runs | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
        for entry in entries:
            cells = [
                f"{entry['mean'][name]:.3f} ± {entry['std'][name]:.3f}" if name in entry["mean"] else "–"
                for name in names
            ]
            lines.append(f"| {entry['method']} | {entry['runs']} | {' | '.join(cells)} |")
        lines.append("")
    failed = [row for row in found["rows"] if row["state"] != "done"]
    lines += [
        f"- {row['method']} on {row['data']}, seed {row['seed']}: {row['state']}. {row['error']}" for row in failed
    ]
    return "\n".join(lines).rstrip() + "\n"


def _made(spec: Spec, job: Job, device: str) -> str:
    """Make a run, or what is missing of it; return why it could not be made, or nothing."""
    try:
        options = spec.options(job.method, job.seed)
        entry = find_dataset(job.data.dataset)
        if present(job.folder / CONFIG):
            run = Run.open(job.folder)
            _check_options(run, options)
            dataset = load_data(run.folder, run.config.data, job.data.source)
            if run.step != run.config.options.steps:
                run = resume(run.folder, dataset, device=device)
        else:
            dataset = entry.resolve("load")(job.data.source, **job.data.options)
            run = train(dataset, job.folder, options, device=device)
        if not _scored(spec, run):
            evaluate(run, metrics=spec.metrics, fraction=spec.fraction, dataset=dataset, device=device)
    except TypeError as error:  # an option that the load function does not have
        return f"options of the data: {error}"
    except (TemporalPairsError, MemoryError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _check_options(run: Run, wanted: TrainOptions) -> None:
    """Check that a run which is there already was made as the specification says.

    Raises:
        OptionError: it was not.
    """
    made, settled = run.config.options, RunConfig.settled(wanted)
    for name, value in settled.to_json().items():
        if name != "precision" and getattr(made, name) != value:
            raise OptionError(
                f"{run.folder} was made with {name}={getattr(made, name)!r}, the specification says {value!r}. Choose "
                "another folder, or delete that run."
            )


def _scored(spec: Spec, run: Run) -> dict[str, float]:
    """Return the scores of a run in the way of the specification, or nothing if one is missing."""
    known = read_scores(run.folder)
    for record in [known, *known.get("others", [])]:
        same = record.get("fraction") == spec.fraction and record.get("step") == run.step and record.get("seed") == 0
        if same and set(spec.metrics or []) <= set(record["protocol"]):
            scores: dict[str, float] = record["scores"]
            return scores
    return {}


def _collected(spec: Spec, jobs: list[Job]) -> dict[str, Any]:
    rows = [_row(spec, job) for job in jobs]
    table = []
    for data in spec.data:
        for method in spec.methods:
            scores = [r["scores"] for r in rows if (r["data"], r["method"]) == (data.name, method.name) and r["scores"]]
            means = summarize(scores)
            table.append(
                {
                    "data": data.name,
                    "method": method.name,
                    "runs": len(scores),
                    "mean": {name: mean for name, (mean, _) in means.items()},
                    "std": {name: deviation for name, (_, deviation) in means.items()},
                }
            )
    return {"format": FORMAT, "title": spec.title, "spec": msgspec.to_builtins(spec), "rows": rows, "table": table}


def _row(spec: Spec, job: Job) -> dict[str, Any]:
    row = {"number": job.number, "data": job.data.name, "method": job.method.name, "seed": job.seed}
    error, scores = job.folder.parent / f"seed-{job.seed}.error.txt", {}
    state, told = "not begun", ""
    if error.exists():
        state, told = "failed", error.read_text(encoding="utf-8")
    elif present(job.folder / CONFIG):
        scores = _scored(spec, Run.open(job.folder))
        state = "done" if scores else "begun"
    return {**row, "state": state, "error": told, "scores": scores, "folder": str(job.folder)}


def _csv(found: dict[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["data", "method", "seed", "metric", "score"])
    writer.writerows(_cells(found["rows"]))
    return text.getvalue()


def _cells(rows: list[dict[str, Any]]) -> Iterator[list[Any]]:
    for row in rows:
        for name, score in row["scores"].items():
            yield [row["data"], row["method"], row["seed"], name, score]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.encode())


def _word(name: str) -> str:
    """Return a name as a folder can have it."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "unnamed"
