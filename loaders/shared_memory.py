"""Memory that a dataset shares with worker processes: its arrays, so that a worker costs no second copy, and batches.

Forked workers have the arrays anyway. Spawned ones get them in a block of memory without a name, which leaves nothing
behind and takes no room in /dev/shm; batches go through /dev/shm, as PyTorch hands them over.
"""

from __future__ import annotations

import errno
import mmap
import os
import pickle
import weakref
from dataclasses import dataclass
from io import BytesIO
from math import prod
from multiprocessing.context import get_spawning_popen
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.multiprocessing import get_sharing_strategy

from temporalpairs.errors import TemporalPairsError

_SMALL = 1 << 14  # bytes; smaller arrays are pickled
_ALIGNED = 64  # bytes; a line of the cache
_SHARED_FOLDER = "/dev/shm"  # noqa: S108 - where the C library's shm_open has its files
_MB = 1e6


class SharedMemoryError(TemporalPairsError, OSError):
    """There is no room in shared memory; the text says how much was needed and what helps."""


class Block:
    """Memory without a name, which lives as long as a process has it.

    Args:
        size: in bytes.

    Raises:
        SharedMemoryError: the system has no memory left.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.file = os.memfd_create("temporal-pairs")
        weakref.finalize(self, os.close, self.file)
        try:
            os.posix_fallocate(self.file, 0, size)
        except OSError as error:
            raise SharedMemoryError(
                f"The workers' dataset needs {size / _MB:,.1f} MB of memory that processes share, and the system "
                f"refused it ({error.strerror}). PairLoader serves the same batches without workers."
            ) from error
        self.bytes: UInt8[np.ndarray, "size"] = np.frombuffer(mmap.mmap(self.file, size), np.uint8)

    def place_of(self, array: np.ndarray) -> int | None:
        """Return at which byte of the block an array begins, or None where it lies elsewhere."""
        offset = array.ctypes.data - self.bytes.ctypes.data
        return offset if 0 <= offset <= self.size - array.nbytes else None


@dataclass(frozen=True, slots=True)
class SharedState:
    """The attributes of an object on their way to a worker that is being spawned.

    Attributes:
        pickled: the attributes, without their larger arrays.
        block: where those lie.
        places: byte at which each begins, and its bytes.
    """

    pickled: bytes
    block: Block
    places: list[tuple[int, int]]

    def __reduce__(self) -> tuple[Any, ...]:
        from multiprocessing.reduction import DupFd

        return _arrived, (self.pickled, DupFd(self.block.file), self.block.size, self.places)

    def restored(self) -> dict[str, Any]:
        """Return the attributes, with arrays that lie in the block."""
        return _restored(self.pickled, self.block.bytes, self.places)


def is_spawning() -> bool:
    """Whether what is pickled now goes to a process that is being started, on a system that shares memory this way."""
    return get_spawning_popen() is not None and hasattr(os, "memfd_create")


def share(state: dict[str, Any], block: Block | None) -> SharedState:
    """Put the larger arrays among an object's attributes into shared memory, unless they lie in its block already."""
    found: list[np.ndarray] = []

    def is_small(buffer: pickle.PickleBuffer) -> bool:
        array = np.frombuffer(buffer.raw(), np.uint8)
        if len(array) >= _SMALL:
            found.append(array)
        return len(array) < _SMALL

    pickled = BytesIO()
    pickle.Pickler(pickled, 5, buffer_callback=is_small).dump(state)
    lengths = [len(array) for array in found]
    known = [None if block is None else block.place_of(array) for array in found]
    if block is not None and None not in known:
        begins = [place for place in known if place is not None]
    else:
        begins = np.cumsum([0] + [-(-length // _ALIGNED) * _ALIGNED for length in lengths]).tolist()
        block = Block(max(begins[-1], 1))
        for begin, array in zip(begins, found, strict=False):
            block.bytes[begin : begin + len(array)] = array
    return SharedState(pickled.getvalue(), block, list(zip(begins, lengths, strict=False)))


def _restored(pickled: bytes, block: UInt8[np.ndarray, "size"], places: list[tuple[int, int]]) -> dict[str, Any]:
    state: dict[str, Any] = pickle.loads(  # noqa: S301 - what the parent process has just written
        pickled, buffers=[block[begin : begin + length] for begin, length in places]
    )
    return state


def _arrived(pickled: bytes, file: Any, size: int, places: list[tuple[int, int]]) -> dict[str, Any]:
    """Make an object's attributes anew in a worker."""
    descriptor = file.detach()
    try:
        # Whoever writes gets pages of their own, as after a fork.
        memory = mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    finally:
        os.close(descriptor)
    return _restored(pickled, np.frombuffer(memory, np.uint8), places)


def batch_in_shared_memory(shape: tuple[int, ...]) -> Tensor:
    """Return an empty float32 tensor that a worker hands over without copying it.

    Left to PyTorch, a tensor moves into shared memory on a thread of the worker's, where an error is printed and the
    batch waited for in vain, and a lack of room kills the worker.

    Raises:
        SharedMemoryError: /dev/shm has no room for it.
    """
    needed = prod(shape) * torch.float32.itemsize
    free = _free()
    try:
        # As torch.utils.data.default_collate does in a worker.
        storage = torch.UntypedStorage._new_shared(needed)  # type: ignore[no-untyped-call]  # torch ships it so
        by_descriptor = get_sharing_strategy() == "file_descriptor"  # type: ignore[no-untyped-call]  # likewise
        if by_descriptor and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(storage._share_fd_cpu_()[0], 0, needed)
    except (OSError, RuntimeError) as error:
        if os.strerror(errno.ENOSPC) in str(error):  # all that PyTorch's RuntimeError tells of its cause
            raise _no_room(needed, free) from None
        raise
    return torch.empty(0, dtype=torch.float32).set_(storage).view(shape)


def check_room(needed: int) -> None:
    """Look whether /dev/shm has room for a batch.

    Raises:
        SharedMemoryError: it has not.
    """
    free = _free()
    if free is not None and free < needed:
        raise _no_room(needed, free)


def _no_room(needed: int, free: int | None) -> SharedMemoryError:
    there = "which is not there" if free is None else f"where {free / _MB:,.1f} MB are free"
    return SharedMemoryError(
        f"A worker's batch needs {needed / _MB:,.1f} MB in {_SHARED_FOLDER}, {there}; each worker of a DataLoader "
        "keeps prefetch_factor batches in it.\n"
        "  Take fewer workers, smaller batches, or temporalpairs.loaders.PairLoader, which needs no workers; in a "
        "container, give it more room: docker run --shm-size=1g"
    )


def _free() -> int | None:
    """Return the bytes that are free in /dev/shm; None where there is no such folder."""
    try:
        there = os.statvfs(_SHARED_FOLDER)
    except FileNotFoundError:
        return None
    return there.f_bavail * there.f_frsize
