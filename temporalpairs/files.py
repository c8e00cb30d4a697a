"""Files: what says which one it was, and what file systems do differently, from locks to "is it there?"."""

from __future__ import annotations

import glob
import os
import platform
import secrets
import shutil
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DAY = 86_400  # seconds
_ROOM = 1 << 26  # bytes: more than a library needs to decode a chunk
# zarr's threads go on writing for a moment when one of them has failed.
_ATTEMPTS = 50
_PAUSE = 0.02  # seconds


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A raw file that went into a store: its name below the path that the user gave, bytes and SHA-256."""

    name: str
    size: int
    sha256: str


def exists(path: Path) -> bool:
    """Tell whether there is something at a path; unlike `Path.exists`, never take "not permitted" for "not there".

    Raises:
        OSError: the system does not let us look.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null byte
        return False
    return True


@contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[bool]:
    """Hold a lock that ends with its process, and yield whether it keeps others out.

    It does not where a file system has no locks (NFS without lockd), or where they do nothing (some of Lustre's).

    Args:
        path: the lock file; it stays.
        timeout: seconds to wait while somebody else holds the lock; -1 for ever.

    Raises:
        Timeout: somebody else held it all the time.
    """
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        raise
    except OSError:
        works = False
    else:
        works = not _can_be_taken(path)
    try:
        yield works
    finally:
        lock.release()


@contextmanager
def private_folder(target: Path, purpose: str) -> Iterator[Path]:
    """Make a folder beside the target that others leave alone while this process lives; to remove it is the caller's.

    It is called .TARGET.PURPOSE-MACHINE-RANDOM. Its lock comes first, so that it is never there without one.
    """
    folder = target.with_name(f".{target.name}.{purpose}-{_machine()}-{secrets.token_hex(4)}")
    lock = folder.with_name(f"{folder.name}.lock")
    try:
        with locked(lock):
            folder.mkdir(mode=0o700)
            yield folder
    finally:
        if not os.path.lexists(folder):
            lock.unlink(missing_ok=True)


def abandoned(target: Path, purpose: str) -> Iterator[Path]:
    """Yield the private folders that dead processes left; each is removed when the next is asked for.

    A process of this machine is dead if the lock of its folder is free. Elsewhere, and where locks do not work, a
    folder is abandoned when nothing has been added to it for a day.
    """
    prefix = f".{target.name}.{purpose}-"
    for lock in list(target.parent.glob(f"{glob.escape(prefix)}*.lock")):
        folder = lock.with_suffix("")
        with suppress(OSError):  # the lock is held, or the folder is somebody else's
            with locked(lock, timeout=0) as works:
                if (works and folder.name.startswith(f"{prefix}{_machine()}-")) or _is_old(folder):
                    yield folder
                    remove_folder(folder)
            if not os.path.lexists(folder):
                lock.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a private folder; what cannot be removed now is abandoned to the next process."""
    for _ in range(_ATTEMPTS):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        time.sleep(_PAUSE)


def check_memory(wanted: int = 0) -> None:
    """Raise MemoryError where memory is so short that a library may fail for that, and call it what it likes.

    Args:
        wanted: bytes of what the library was to make, which it has given back since.
    """
    bytearray(wanted + _ROOM)


def _can_be_taken(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0, fallback_to_soft=False):
            return True
    except Timeout:
        return False


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > _DAY


def _machine() -> str:
    return platform.node()[:32]
