"""The raw files that went into a store, as a table: a million of them are three arrays, not 190 MB of attributes."""

from __future__ import annotations

import hashlib
import json
from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from temporalpairs.files import SourceFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COLUMNS = ("source/name", "source/size", "source/sha256")


class SourceTable:
    """Raw files, each once, in the order in which they came; 100 bytes of memory a file and its name."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._names = bytearray()
        self._sizes = array("q")
        self._digests = bytearray()

    def add(self, files: Iterable[SourceFile]) -> None:
        """Add the files that are not there yet."""
        for file in files:
            name, digest = json.dumps(file.name).encode("ascii"), bytes.fromhex(file.sha256)
            key = hashlib.blake2b(digest + name, digest_size=16).digest()
            if key not in self._known:
                self._known.add(key)
                self._names += (b"," if self._sizes else b"") + name
                self._sizes.append(file.size)
                self._digests += digest

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def attributes(self) -> dict[str, int]:
        """How many files there are, and their bytes."""
        return {"files": len(self), "bytes": sum(self._sizes)}

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The columns: names as the text of a JSON list, sizes in bytes, and SHA-256."""
        columns = (
            np.frombuffer(b"[" + self._names + b"]", np.uint8),
            np.array(self._sizes, "<i8"),
            np.frombuffer(bytes(self._digests), np.uint8).reshape(-1, 32),
        )
        return dict(zip(COLUMNS, columns, strict=True))


def files_of(arrays: Mapping[str, np.ndarray]) -> tuple[SourceFile, ...]:
    """Return the files that the arrays of a `SourceTable` describe."""
    names, sizes, digests = (arrays[name] for name in COLUMNS)
    listed: list[Any] = json.loads(names.tobytes())
    return tuple(
        SourceFile(name, size, digest.tobytes().hex())
        for name, size, digest in zip(listed, sizes.tolist(), digests, strict=True)
    )
