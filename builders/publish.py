"""Atomic publication: build under a private name beside the target, flush to disk, then rename.

Whatever happens in between, kill -9 and power loss included, the target is either absent or whole.
"""

from __future__ import annotations

import errno
import glob
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from temporalpairs.builders.errors import StoreExistsError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARK = ".building-"


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
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _private_folder(target: Path) -> tuple[Path, FileLock]:
    """Make a private folder and hold its lock, which tells other builds that it is in use."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}{_MARK}", dir=target.parent))
        lock = FileLock(folder / "lock")
        try:
            lock.acquire(timeout=0)
        except (Timeout, FileNotFoundError):
            continue  # swept by another build before it was locked
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return folder, lock


def _sweep(target: Path) -> None:
    """Remove the private folders of builds that died."""
    for folder in target.parent.glob(f".{glob.escape(target.name)}{_MARK}*"):
        lock = FileLock(folder / "lock")
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue  # in use, or somebody else's
        try:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            lock.release()


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
