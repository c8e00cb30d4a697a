"""What the tests of stores share: content to write, content to compare, ways to damage a store, processes that build.

Run as a script it is such a process: see `SCRIPTS`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temporalpairs.errors import StoreError
from temporalpairs.sequences import TABLE_COLUMNS, Sequences
from temporalpairs.store import Store, read_store, schema, write_store
from temporalpairs.store import hdf5 as hdf5_format
from temporalpairs.store.atomic import publishing

SUFFIXES = {"zarr": ".zarr", "hdf5": ".h5"}
NOBODY = 65534  # the user id without rights


def make_sequences(rows: int = 300, *, frames: bool = True, seed: int = 0) -> Sequences:
    """Sequences of 2 to 40 frames; the masks are cheap to compress and differ from row to row."""
    rng = np.random.default_rng(seed)
    ends = np.cumsum(rng.integers(2, 41, rows // 2))
    start = np.concatenate([[0], ends[ends < rows - 1], [rows]]).astype(np.int64)
    masks = np.zeros((rows, 512), np.uint8)
    masks[:, 100:108] = rng.integers(0, 256, (rows, 8))
    table = {name: rng.integers(-1, 20, len(start) - 1) for name in TABLE_COLUMNS}
    return Sequences(
        frames=masks if frames else None, factors=rng.normal(30, 9, (rows, 3)).astype(np.float32), start=start, **table
    )


def arrays_of(sequences: Sequences) -> dict[str, np.ndarray]:
    """The arrays of a store under their names in it."""
    table = {f"sequence/{name}": getattr(sequences, name) for name in ("start", *TABLE_COLUMNS)}
    frames = {} if sequences.frames is None else {"frames": sequences.frames}
    return {**frames, "factors": sequences.factors, **table}


def equal_arrays(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(
        array.dtype == other[name].dtype and array.shape == other[name].shape and np.array_equal(array, other[name])
        for name, array in one.items()
    )


def equal_stores(one: Store, other: Store) -> bool:
    return one.attributes == other.attributes and equal_arrays(arrays_of(one.sequences), arrays_of(other.sequences))


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if ".building-" in path.name]


def delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def is_helpful(error: StoreError, path: Path) -> bool:
    """Whether the text names the store, says what is wrong with it, and on the next line what to do."""
    problem, remedy = str(error).split("\n", 1)
    return problem.startswith(f"{path}: ") and problem.endswith(".") and len(remedy.strip()) > 20


def sign(attributes: dict[str, Any]) -> dict[str, Any]:
    """Give attributes the digest that a program writing them on purpose would."""
    return {**attributes, "manifest_sha256": schema.manifest_digest(attributes)}


def replace_attributes(path: Path, attributes: dict[str, Any]) -> None:
    """Put other attributes into a store; what guards the bytes of an HDF5 file is made to match."""
    if path.is_dir():
        metadata = json.loads((path / "zarr.json").read_text())
        (path / "zarr.json").write_text(json.dumps({**metadata, "attributes": attributes}))
        return
    import h5py

    with h5py.File(path, "r+") as file:
        for name in list(file.attrs):
            del file.attrs[name]
        for name, value in attributes.items():
            file.attrs[name] = hdf5_format._encode(value)
    image = path.read_bytes()[hdf5_format._USER_BLOCK :]
    path.write_bytes(hdf5_format._user_block(hashlib.sha256(image).hexdigest()) + image)


def files_of(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def pick_file(files: list[Path], rng: random.Random) -> Path:
    """Half of the picks are fair to files, so that small metadata is hit, and half to bytes, so that shards are."""
    return rng.choice(files) if rng.random() < 0.5 else rng.choices(files, [file.stat().st_size for file in files])[0]


def flip_a_bit(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(8 * len(data))
    damaged = bytearray(data)
    damaged[place // 8] ^= 1 << place % 8
    return bytes(damaged)


def cut_short(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def append(data: bytes, rng: random.Random) -> bytes:
    return data + rng.randbytes(rng.randrange(1, 64))


def zero_a_block(data: bytes, rng: random.Random) -> bytes:
    first = rng.randrange(len(data))
    last = min(len(data), first + rng.randrange(1, 512))
    return data[:first] + bytes(last - first) + data[last:]


def swap_blocks(data: bytes, rng: random.Random) -> bytes:
    size = rng.randrange(1, len(data) // 2)
    first = rng.randrange(len(data) - 2 * size + 1)
    second = rng.randrange(first + size, len(data) - size + 1)
    one, other = data[first : first + size], data[second : second + size]
    return data[:first] + other + data[first + size : second] + one + data[second + size :]


def overwrite(data: bytes, rng: random.Random) -> bytes:
    first = rng.randrange(len(data))
    noise = rng.randbytes(min(len(data) - first, rng.randrange(1, 64)))
    return data[:first] + noise + data[first + len(noise) :]


Damage = Callable[[bytes, random.Random], bytes]
OTHER_DAMAGE: tuple[Damage, ...] = (cut_short, append, zero_a_block, swap_blocks, overwrite)


def outcome_of_reading(path: Path, original: Store) -> str:
    """How a damaged store reads: the name of the error, ``unharmed``, or ``SILENT``: other data without an error."""
    try:
        read = read_store(path)
    except StoreError as error:
        return type(error).__name__ if is_helpful(error, path) else f"without a remedy: {error}"
    return "unharmed" if equal_stores(read, original) else "SILENT"


@contextmanager
def as_nobody() -> Iterator[None]:
    """Take the rights away for a while that let the root user read anything; others have none to lose."""
    user = os.geteuid()
    if user == 0:
        try:
            os.seteuid(NOBODY)
        except OSError as error:
            pytest.skip(f"this root user cannot give up rights ({error})")
    try:
        yield
    finally:
        os.seteuid(user)


def write(out: Path) -> str:
    """Write the same store anywhere, and return the error that came of it, if one did."""
    try:
        write_store(out, make_sequences(60), {"title": "made"})
    except StoreError as error:
        return f"{type(error).__name__}: {error}"
    return ""


@contextmanager
def running(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run one of `SCRIPTS` in a process of its own, ready for work; it is gone at the end of the block."""
    words = [sys.executable, __file__, script, *map(str, arguments)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen[str], question: object) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(question) + "\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def _write_on_demand() -> None:
    """Write the store at each path that stdin names."""
    for line in sys.stdin:
        print(json.dumps(write(Path(json.loads(line)))), flush=True)


def _write_with_little_room() -> None:
    """Write the store at [path, bytes] while no file may grow beyond that, as on a disk that is full."""
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    for line in sys.stdin:
        path, room = json.loads(line)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, unlimited[1]))
        answered = write(Path(path))
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        print(json.dumps(answered), flush=True)


def _hold_open(target: str) -> None:
    """Build at the path until stdin says that it may be published; say how that went."""
    try:
        with publishing(Path(target)) as built:
            built.write_text("held")
            print(json.dumps(str(built)), flush=True)
            sys.stdin.readline()
    except StoreError as error:
        print(json.dumps(type(error).__name__), flush=True)
    else:
        print(json.dumps("published"), flush=True)


_STEPS = ("open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "fcntl.flock")


def _die_at_later_and_later_steps(target: str, kept: str, stride: str) -> None:
    """Write the same store over and over, each time killed `stride` file-system calls later, until one write ends.

    What comes into being under the final name is moved to the folder `kept`; the number of kills is told.
    """
    import h5py  # noqa: F401  # the children find all modules loaded
    import zarr  # noqa: F401

    out = Path(target)
    for kills in range(10_000):
        child = os.fork()
        if child == 0:
            _kill_this_process_at(kills * int(stride))
            write(out)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.path.lexists(out):
            out.rename(Path(kept, f"{kills}{out.suffix}"))
        if status == 0:
            print(json.dumps(kills), flush=True)
            return
        assert os.WTERMSIG(status) == signal.SIGKILL


def _kill_this_process_at(step: int) -> None:
    calls = 0

    def hook(event: str, _: object) -> None:
        nonlocal calls
        if event in _STEPS:
            if calls == step:
                os.kill(os.getpid(), signal.SIGKILL)
            calls += 1

    sys.addaudithook(hook)


def disk_full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


SCRIPTS = {
    "write": lambda out: write(Path(out)),
    "write-on-demand": _write_on_demand,
    "write-with-little-room": _write_with_little_room,
    "hold-open": _hold_open,
    "die-at-later-and-later-steps": _die_at_later_and_later_steps,
}

if __name__ == "__main__":
    print("ready", flush=True)
    SCRIPTS[sys.argv[1]](*sys.argv[2:])  # type: ignore[operator]
