"""Locks and private folders on file systems that have locks, have none, or pretend; "is it there?" unpermitted."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import stores
from filelock import Timeout

from temporalpairs.files import abandoned, exists, locked, private_folder


def lockless(number: int) -> Callable[[int, int], None]:
    """Stand in for flock on a file system that has none."""

    def flock(_: int, operation: int) -> None:
        if not operation & fcntl.LOCK_UN:
            raise OSError(number, os.strerror(number))

    return flock


LOCKLESS = {name: lockless(getattr(errno, name)) for name in ("ENOLCK", "ENOSYS", "EOPNOTSUPP")}
LOCKLESS["does nothing"] = lambda *_: None


def leave(target: Path, machine: str, *, age: float = 0) -> Path:
    """Leave what a killed build leaves."""
    folder = target.with_name(f".{target.name}.building-{machine}-0123abcd")
    folder.mkdir()
    folder.with_name(f"{folder.name}.lock").touch()
    (folder / "half").touch()
    os.utime(folder, (time.time() - age, time.time() - age))
    return folder


HERE = platform.node()[:32]


def test_a_lock_keeps_others_out_until_it_is_let_go(tmp_path: Path) -> None:
    with locked(tmp_path / "lock") as works:
        assert works
        with pytest.raises(Timeout), locked(tmp_path / "lock", timeout=0):
            pass
    with locked(tmp_path / "lock", timeout=0) as works:
        assert works


@pytest.mark.parametrize("kind", LOCKLESS)
def test_where_locks_do_not_work_the_work_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(fcntl, "flock", LOCKLESS[kind])
    with locked(tmp_path / "lock") as works:
        assert not works
    target = tmp_path / "target.zarr"
    with private_folder(target, "building") as folder:
        assert folder.is_dir()
        assert list(abandoned(target, "building")) == []
        folder.rmdir()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    assert leave(target, HERE, age=100_000) in abandoned(target, "building")


@pytest.mark.parametrize("name", ["target.zarr", "masks [v1] *?.zarr"])
def test_what_dead_processes_of_this_machine_left_is_removed_and_nothing_else(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    others = [
        leave(tmp_path / "another.zarr", HERE),
        leave(tmp_path / f"{name}.zarr", HERE),
        leave(target, "elsewhere"),
    ]
    lock_alone = tmp_path / f".{name}.building-{HERE}-00000000.lock"
    lock_alone.touch()
    dead = leave(target, HERE)
    old = leave(target, "far-away", age=100_000)
    with private_folder(target, "building") as alive:
        found = [(folder, (folder / "half").exists()) for folder in abandoned(target, "building")]
        assert sorted(found) == sorted([(dead, True), (old, True), (lock_alone.with_suffix(""), False)])
        kept = [*others, alive]
        assert set(tmp_path.iterdir()) == {*kept, *(folder.with_name(f"{folder.name}.lock") for folder in kept)}


def test_a_folder_that_may_not_be_entered_is_not_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert exists(tmp_path)
    assert not exists(tmp_path / "none")
    (tmp_path / "file").touch()
    assert not exists(tmp_path / "file" / "none")
    assert not exists(Path("a\0b"))
    monkeypatch.setattr(Path, "exists", lambda _: False)  # Python 3.14's, for a folder that may not be entered

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(PermissionError):
        exists(tmp_path)


def test_a_live_process_is_left_alone_and_a_killed_one_is_not(tmp_path: Path) -> None:
    target = tmp_path / "target.h5"
    with stores.running("hold-open", target) as holder:
        private = Path(stores.answer(holder)).parent
        assert list(abandoned(target, "building")) == []
        holder.kill()
        holder.wait()
        assert list(abandoned(target, "building")) == [private]
    assert not list(tmp_path.iterdir())
