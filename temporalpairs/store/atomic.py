"""Atomic publication: build under a private name beside the target, flush to disk, then rename.

Whatever happens in between, kill -9 and power loss included, the target is either absent or whole (`publishing`), or
either the old one or the new one (`replace_file`).
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from temporalpairs.errors import StoreExistsError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARK = ".building-"
_LOCK = "lock"
# zarr's threads go on writing for a moment when one of them has failed.
_ATTEMPTS = 50
_PAUSE = 0.02  # seconds


@contextmanager
def publishing(target: Path) -> Iterator[Path]:
    """Yield a path to build a file or folder at; when the block ends well, it appears as ``target``.

    What killed builds of the same target left behind is swept first. If the target comes into being meanwhile,
    it stays as it is and the work of this block is dropped.

    Raises:
        StoreExistsError: the target exists, before or after.
    """
    if os.path.lexists(target):
        raise StoreExistsError(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    folder, lock = _private_folder(target)
    try:
        built = folder / target.name
        yield built
        _flush(built)
        _rename_unless_there(built, target)
        _flush_entry(target.parent)
    finally:
        with suppress(OSError):  # what cannot be removed now is swept by the next build
            _remove(folder)
        os.close(lock)


def replace_file(path: str | Path, data: bytes) -> Path:
    """Write a file, in place of an older one if there is one: nobody ever sees half of it.

    Raises:
        OSError: it could not be written; an older file is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    private = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        private.write_bytes(data)
        _flush_entry(private)
        private.replace(path)
    finally:
        with suppress(OSError):
            private.unlink()
    _flush_entry(path.parent)
    return path


def _private_folder(target: Path) -> tuple[Path, int]:
    """Make a private folder and hold its lock, which tells other builds that it is in use; close it to let go."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}{_MARK}", dir=target.parent))
        try:
            lock = _lock(folder / _LOCK, os.O_CREAT)
        except BaseException:
            _remove(folder)
            raise
        if lock is not None:
            return folder, lock
        # Swept by another build before it was locked: make another.


def _lock(path: Path, flags: int = 0) -> int | None:
    """Open and lock a file; ``None`` where it is gone, or locked by somebody else."""
    try:
        lock = os.open(path, os.O_RDWR | flags, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(path.stat(), os.fstat(lock)):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _sweep(target: Path) -> None:
    """Remove the private folders of builds that died."""
    for folder in target.parent.glob(f".{glob.escape(target.name)}{_MARK}*"):
        with suppress(OSError):  # somebody else's
            lock = _lock(folder / _LOCK)
            if lock is not None:
                _remove(folder)
                os.close(lock)
            else:
                folder.rmdir()  # killed before it had a lock file; fails where there is anything in it


def _remove(folder: Path) -> None:
    """Remove a private folder, its lock file last: without it, no later build could tell that the rest is dead.

    Raises:
        OSError: something in it cannot be removed; the lock file stays.
    """
    for _ in range(_ATTEMPTS):
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != _LOCK:
                entry.unlink(missing_ok=True)
        if all(entry.name == _LOCK for entry in folder.iterdir()):
            (folder / _LOCK).unlink(missing_ok=True)
            folder.rmdir()
            return
        time.sleep(_PAUSE)
    raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(folder))


def _flush(path: Path) -> None:
    """Force a file, or a folder and all in it, to disk."""
    if path.is_dir():
        for folder, _, files in os.walk(path, topdown=False):
            for name in files:
                _flush_entry(Path(folder, name))
            _flush_entry(Path(folder))
    else:
        _flush_entry(path)


def _flush_entry(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot flush a folder
            raise
    finally:
        os.close(descriptor)


def _rename_unless_there(built: Path, target: Path) -> None:
    try:
        if built.is_dir():
            built.rename(target)  # the system refuses to replace a folder that is not empty
        else:
            _link(built, target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise StoreExistsError(target) from error
        raise


def _link(built: Path, target: Path) -> None:
    """Give a file its final name, which a rename would take away from another."""
    try:
        target.hardlink_to(built)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        # A file system without hard links: the check and the rename are two steps here.
        if os.path.lexists(target):
            raise StoreExistsError(target) from error
        built.rename(target)
