"""Atomic publication: build under a private name beside the target, flush to disk, then rename.

Whatever happens in between, kill -9 and power loss included, the target is either absent or whole (`publishing`), or
either the old one or the new one (`replace_file`).
"""

from __future__ import annotations

import errno
import os
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from temporalpairs.errors import StoreExistsError
from temporalpairs.files import abandoned, private_folder, remove_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

# Some network file systems cannot flush a folder, and one that may be written to need not be readable.
_UNFLUSHABLE = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM)


@contextmanager
def publishing(target: Path) -> Iterator[Path]:
    """Yield a path to build a file or folder at; when the block ends well, it appears as ``target``.

    What killed builds of the same target left behind is removed first. If the target comes into being meanwhile,
    it stays as it is and the work of this block is dropped.

    Raises:
        StoreExistsError: the target exists, before or after.
    """
    if os.path.lexists(target):
        raise StoreExistsError(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    for _ in abandoned(target, "building"):
        pass
    with private_folder(target, "building") as folder:
        try:
            built = folder / target.name
            yield built
            for path in [built, *built.rglob("*")]:
                _flush(path)
            _rename_unless_there(built, target)
            _flush(target.parent)
        finally:
            remove_folder(folder)


def replace_file(path: str | Path, data: bytes) -> Path:
    """Write a file, in place of an older one if there is one: nobody ever sees half of it.

    Raises:
        OSError: it could not be written; an older file is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    private = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        private.write_bytes(data)
        _flush(private)
        private.replace(path)
    finally:
        with suppress(OSError):
            private.unlink()
    _flush(path.parent)
    return path


def _flush(path: Path) -> None:
    """Force the content of a file, or the names in a folder, to disk."""
    folder = path.is_dir()
    if folder and os.name == "nt":  # Windows opens no folders
        return
    try:
        descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)  # Windows flushes only what may be written
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _UNFLUSHABLE:
            raise


def _rename_unless_there(built: Path, target: Path) -> None:
    if not built.is_dir():
        with suppress(OSError):  # the name is taken, or the file system has no hard links
            target.hardlink_to(built)  # never replaces anything, where a rename may
            return
    if os.path.lexists(target):
        raise StoreExistsError(target)
    try:
        built.rename(target)
    except OSError:
        if os.path.lexists(target):
            raise StoreExistsError(target) from None
        raise
