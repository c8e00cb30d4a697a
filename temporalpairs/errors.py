"""The product's own exceptions: one per problem that a user can meet, each saying what to do next.

All descend from `TemporalPairsError`; the command line prints their text and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unicodedata import category

_CONTROL = ("Cc", "Cf")  # controls, and formats such as those that change the direction of writing


class TemporalPairsError(Exception):
    """The root of every error that this package raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker process pickles what it raises, and the arguments of __init__ are not those of the text.
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[TemporalPairsError], args: tuple[Any, ...], state: dict[str, Any]) -> TemporalPairsError:
    error = kind.__new__(kind, *args)
    error.args = args  # OSError's __new__ leaves them to __init__
    error.__dict__.update(state)
    return error


def printable(path: str | Path) -> str:
    """Write a path as it is, or quoted with escapes where a terminal would act on its characters."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def escaped(text: str) -> str:
    """Write control characters, on which a terminal would act, as escapes; line breaks and tabs stay."""
    return "".join(c if category(c) not in _CONTROL or c in "\n\t" else ascii(c)[1:-1] for c in text)


class OptionError(TemporalPairsError, ValueError):
    """An argument has a value that does not fit; the text names the value and those that would."""


class RawDataError(TemporalPairsError):
    """A raw annotation file cannot be used.

    Args:
        path: the file.
        found: what is wrong with it, as a phrase.
        expected: what a good file has there.
        place: the line, frame or track within the file.
        remedy: what to do; by default, to fetch the file again.
    """

    def __init__(self, path: str | Path, found: str, expected: str, *, place: str = "", remedy: str = "") -> None:
        where = f"{printable(path)}, {place}" if place else printable(path)
        remedy = remedy or "Mend the file or fetch it again from its publisher."
        super().__init__(f"{where}: {found}.\n  Expected {expected}. {remedy}")
        self.path = Path(path)
        self.found, self.expected, self.place, self.remedy = found, expected, place, remedy

    def at(self, path: Path) -> RawDataError:
        """Return the same error of another path, where the file is a copy of the one that the user knows."""
        return RawDataError(path, self.found, self.expected, place=self.place, remedy=self.remedy)


class MaskFormatError(TemporalPairsError, ValueError):
    """A run-length encoding is malformed; readers turn it into a `RawDataError` with file and line.

    Args:
        problem: what is wrong, as a phrase.
        index: which of several masks it is.
    """

    def __init__(self, problem: str, *, index: int = 0) -> None:
        super().__init__(problem)
        self.index = index


class StoreError(TemporalPairsError):
    """The root of errors about a store.

    Args:
        path: the store.
        problem: what is wrong, as a phrase.
        remedy: what to do, as a sentence.
    """

    def __init__(self, path: str | Path, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}.\n  {remedy}")
        self.path = Path(path)
        self.problem = problem


class StoreNotFoundError(StoreError, FileNotFoundError):
    """There is no store at the path."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(
            path,
            "there is no store here",
            "Give the path of a NAME.zarr folder or a NAME.h5 file, or make one: temporal-pairs build --help",
        )


class StoreExistsError(StoreError, FileExistsError):
    """The target of a build exists already; nothing was touched."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, "exists already and was left as it is", "Choose another --out, or delete it first.")


class StoreBusyError(StoreError):
    """Another process is building the store."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, "is being built by another process", "Wait for it, or choose another --out.")


class NotAStoreError(StoreError):
    """There is something at the path, but not a store of this package."""

    def __init__(self, path: str | Path, found: str) -> None:
        super().__init__(
            path,
            f"is not a temporal-pairs store ({found})",
            "Give the path of a NAME.zarr folder or a NAME.h5 file that temporal-pairs wrote.",
        )


class WrongStoreError(NotAStoreError):
    """A store of this package holds another dataset or kind of data than the one asked for.

    Args:
        path: the store.
        problem: what it holds instead, as a phrase.
        wanted: the kind of store that would do, as a phrase.
    """

    def __init__(self, path: str | Path, problem: str, wanted: str) -> None:
        StoreError.__init__(self, path, problem, f"Give the path of {wanted}.")


class StoreCorruptError(StoreError):
    """A store of this package is damaged or incomplete; nothing of it was used."""

    def __init__(self, path: str | Path, problem: str) -> None:
        super().__init__(
            path,
            problem,
            "Delete it and make it again: temporal-pairs build …, or load again to download it afresh.",
        )


class StoreVersionError(StoreError):
    """The store's schema is newer than this package reads."""

    def __init__(self, path: str | Path, found: object, supported: int) -> None:
        super().__init__(
            path,
            f"has schema version {found}; this package reads versions up to {supported}",
            "Upgrade it: pip install --upgrade temporal-pairs",
        )


class ReleasedFileError(TemporalPairsError):
    """A released file (the pickle or the CSV) cannot be read as what it should be; nothing in it was executed."""

    def __init__(self, path: str | Path, found: str, *, place: str = "") -> None:
        where = f"{path}, {place}" if place else f"{path}"
        super().__init__(
            f"{where}: {found}.\n  The file is damaged or is not the released one, and nothing in it was executed. "
            "Delete it and download it again."
        )
        self.path = Path(path)


class DownloadError(TemporalPairsError):
    """A download failed for good; the text tells the manual way out.

    Args:
        problem: what went wrong, as a phrase.
        url: the address that a person can open in a browser.
        filename: the name that the file must have.
        folder: the folder to put it in.
        size: the expected size in bytes, where the record's metadata could be read.
        md5: the expected MD5, where the record's metadata could be read.
    """

    def __init__(
        self,
        problem: str,
        *,
        url: str,
        filename: str,
        folder: str | Path,
        size: int | None = None,
        md5: str | None = None,
    ) -> None:
        lines = [
            f"{filename} could not be downloaded: {problem}.",
            "  To download it by hand:",
            f"  1. open {url}",
            f"  2. download {filename}"
            + (f" ({size:,} bytes, MD5 {md5})" if size is not None and md5 else " (its size and MD5 are on that page)"),
            f"  3. put it into {folder}",
            "  4. call again: the file is found there, checked and converted.",
            '  To work offline, use the synthetic sample: source="sample".',
        ]
        super().__init__("\n".join(lines))
        self.url = url
        self.folder = Path(folder)
        self.size = size
        self.md5 = md5


class SourceMissingError(TemporalPairsError):
    """A released dataset is not on this machine and the caller asked not to download it."""

    def __init__(self, title: str, store: Path, filename: str) -> None:
        super().__init__(
            f"{title} is not at {store}, and download=False.\n"
            f"  Load it with download=True, pass another root, put {filename} into {store.parent}, "
            'or use the synthetic sample: source="sample".'
        )


class DatasetWarning(UserWarning):
    """A dataset differs from what was published of it, but is usable."""


class RunWarning(UserWarning):
    """A run trains or is scored, but not in every respect; the text names what was left out and why."""


class RunError(TemporalPairsError):
    """The folder of a training run does not fit what was asked.

    Args:
        folder: the run's folder, or the file in it.
        problem: what is wrong, as a phrase.
        remedy: what to do, as a sentence.
    """

    def __init__(self, folder: str | Path, problem: str, remedy: str) -> None:
        super().__init__(f"{folder}: {problem}.\n  {remedy}")
        self.folder = Path(folder)


class TrainingDivergedError(RunError):
    """The objective or the weights are no longer finite; the last checkpoint was written before that.

    Args:
        folder: the run's folder.
        step: the step at which it was noticed.
        kept: the step of the last checkpoint, or None where there is none.
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
        step: the step that training had reached.
        kept: the step of the last checkpoint, or None where there is none.
        reason: why, in the system's words.
    """

    def __init__(self, path: str | Path, step: int, kept: int | None, reason: str) -> None:
        last = "there is no checkpoint yet" if kept is None else f"the checkpoint of step {kept:,} is intact"
        super().__init__(
            path,
            f"could not be written at step {step:,} ({reason}); {last}",
            "Make room, then resume: temporal-pairs train --resume RUN",
        )
        self.step = step


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or a request of the system ended a training run, which saved a checkpoint first.

    Args:
        folder: the run's folder.
        step: the step of that checkpoint.
    """

    def __init__(self, folder: str | Path, step: int) -> None:
        super().__init__(f"Interrupted at step {step:,}; resume with: temporal-pairs train --resume {folder}")
        self.folder = Path(folder)
        self.step = step
