"""What can go wrong with a training run."""

from __future__ import annotations

from pathlib import Path

from temporalpairs.builders.errors import TemporalPairsError


class RunError(TemporalPairsError):
    """A run's folder does not fit what was asked of it.

    Args:
        folder: of the run, or the file in it.
        problem: what is wrong, as a phrase.
        remedy: what to do, as a sentence.
    """

    def __init__(self, folder: str | Path, problem: str, remedy: str) -> None:
        super().__init__(f"{folder}: {problem}.\n  {remedy}")
        self.folder = Path(folder)


class TrainingDivergedError(RunError):
    """The objective or the weights are no longer finite; the last checkpoint is of before.

    Args:
        folder: of the run.
        step: at which it was seen.
        kept: step of the checkpoint that is there, or None.
    """

    def __init__(self, folder: str | Path, step: int, kept: int | None) -> None:
        last = "no checkpoint was written before" if kept is None else f"the checkpoint of step {kept:,} is kept"
        super().__init__(
            folder,
            f"training diverged: at step {step:,} the objective or a weight is NaN or infinite; {last}",
            "Train anew with a smaller learning_rate or with precision='float32'; resuming would diverge again.",
        )
        self.step = step


class RunNotWrittenError(RunError):
    """A file of a run could not be written; what was there before is intact.

    Args:
        path: the file.
        step: of the training.
        kept: step of the checkpoint that is there, or None.
        reason: of the system.
    """

    def __init__(self, path: str | Path, step: int, kept: int | None, reason: str) -> None:
        last = "there is no checkpoint yet" if kept is None else f"the checkpoint of step {kept:,} is intact"
        super().__init__(
            path,
            f"could not be written at step {step:,} ({reason}); {last}",
            "Make room, then go on from there: temporal-pairs train --resume RUN",
        )
        self.step = step


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C, or the system's request to end, met a training run, which saved a checkpoint first.

    Args:
        folder: of the run.
        step: of the checkpoint.
    """

    def __init__(self, folder: str | Path, step: int) -> None:
        super().__init__(f"Interrupted at step {step:,}; go on from there with: temporal-pairs train --resume {folder}")
        self.folder = Path(folder)
        self.step = step
