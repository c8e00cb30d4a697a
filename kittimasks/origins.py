"""Which video the sequences of the released file come from, which the file itself does not say.

A sequence of masks identifies itself: ``origins.csv`` has the first 8 bytes of the SHA-256 of the packed frames of each
sequence that the recipe makes of KITTI MOTS 0000–0020 and MOTSChallenge 05, and where the sequence is from.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from temporalpairs.sequences import UNKNOWN

_TABLE = Path(__file__).parent / "origins.csv"
_BYTES = 8  # of a digest


@dataclass(frozen=True, slots=True, eq=False)
class Origins:
    """Where sequences are from; all numbers are −1 where that is not known.

    Attributes:
        videos: names of the videos.
        video: index into ``videos`` of each sequence.
        track: id of the object within its video, as KITTI MOTS has it.
        crop: number of the crop, from left to right.
        first_frame: number of the first frame.
    """

    videos: tuple[str, ...]
    video: Int64[np.ndarray, "sequences"]
    track: Int64[np.ndarray, "sequences"]
    crop: Int64[np.ndarray, "sequences"]
    first_frame: Int64[np.ndarray, "sequences"]


def find_origins(frames: UInt8[np.ndarray, "rows 512"], start: Int64[np.ndarray, "borders"]) -> Origins:
    """Look sequences up in the table of those whose video is known.

    Args:
        frames: bit-packed 64×64 masks (`numpy.packbits` of the row-major image).
        start: first row of each sequence; the last entry is the number of rows.
    """
    known = read_table()
    found = [known.get(digest(frames[first:end])) for first, end in pairwise(start.tolist())]
    videos = tuple(sorted({origin[0] for origin in found if origin is not None}))
    numbers = [(videos.index(origin[0]), *origin[1:]) if origin else (UNKNOWN,) * 4 for origin in found]
    return Origins(videos, *np.array(numbers, np.int64).reshape(-1, 4).T)


def read_table() -> dict[str, tuple[str, int, int, int]]:
    """Read the table: video, track, crop and number of the first frame, by digest."""
    with _TABLE.open(encoding="ascii", newline="") as file:
        return {
            row["digest"]: (row["video"], int(row["track"]), int(row["crop"]), int(row["first_frame"]))
            for row in csv.DictReader(file)
        }


def digest(frames: UInt8[np.ndarray, "rows 512"]) -> str:
    """Return the digest by which the table knows a sequence: 16 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(frames).data).hexdigest()[: 2 * _BYTES]
