"""``temporal-pairs``: find the command, read its arguments, run it, and turn what goes wrong into a line and a status.

The exit status is 0 for success, 1 for an error that was told, 2 for wrong usage, 3 for a store that videos
were left out of, 130 for an interruption and 141 where nobody reads the output any more.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import warnings
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pkgutil import iter_modules
from typing import IO, TYPE_CHECKING, Any, cast

import temporalpairs
from temporalpairs import cli
from temporalpairs.errors import DatasetWarning, RunWarning, TemporalPairsError, escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130  # the shell's status of a process that Ctrl-C ended
EXIT_UNREAD = 141  # the shell's status of a process that wrote into a closed pipe


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Args:
        arguments: the words after ``temporal-pairs``; by default those of this process.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without our letters shows \xb2 for ²
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings(), redirect_stdout(cast("io.TextIOBase", _Plain(sys.stdout))):
        for kind in (DatasetWarning, RunWarning):
            warnings.simplefilter("always", kind)
        warnings.showwarning = _show_warning
        try:
            status = _run(sys.argv[1:] if arguments is None else list(arguments))
            print(end="", flush=True)
        except BrokenPipeError:
            _discard_output()
            return EXIT_UNREAD
        except OSError as error:  # the disk behind the output is full, say
            _tell(error)
            _discard_output()
            return EXIT_FAILED
    return status


def _run(words: list[str]) -> int:
    options = argparse.Namespace()
    try:
        _parser(words).parse_args(words, options)
        return int(options.run(options) or 0)
    except SystemExit as end:  # argparse has told help, version or what is wrong
        return int(end.code or 0)
    except TemporalPairsError as error:
        if getattr(options, "json", False):
            print(json.dumps({"ok": False, "error": type(error).__name__, "message": str(error)}, indent=2))
        print(escaped(f"{type(error).__name__}: {error}"), file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:
        raise
    except OSError as error:
        _tell(error)
        return EXIT_FAILED
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not _is_torch_short_of_memory(error):
            raise
        print(f"There is not enough memory. {error}".rstrip(), file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt as interruption:
        text = str(interruption) or "Interrupted; nothing unfinished was left under a final name."
        print(escaped(text), file=sys.stderr)
        return EXIT_INTERRUPTED


def _is_torch_short_of_memory(error: RuntimeError) -> bool:
    return type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error)  # a GPU's, or the CPU's


class _Plain:
    """The standard output without the control characters that names of files and categories may hold."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(escaped(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _discard_output() -> None:
    """Let what is still in the output's buffer go nowhere, so that the interpreter's end says nothing about it."""
    with suppress(OSError):  # where it is no file of the system's
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(error: OSError) -> None:
    print(escaped(f"{error.filename or 'the system'}: {error.strerror or error}"), file=sys.stderr)


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    print(escaped(f"{category.__name__}: {message}"), file=sys.stderr)


def _parser(words: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="temporal-pairs",
        description="Temporally sparse pairs of natural images with known factors: download, build, look at and train "
        "on datasets of them.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=temporalpairs.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for _, name, _ in iter_modules(cli.__path__):
        if name.startswith("_") or name == "main":
            continue
        module = import_module(f"temporalpairs.cli.{name}")
        description = f"{module.HELP[0].upper()}{module.HELP[1:]}."
        command = commands.add_parser(name, help=module.HELP, description=description, allow_abbrev=False)
        command.set_defaults(run=module.run)
        if name in words:
            module.add(command)
    return parser
