"""Instance PNGs painted from MOTS text, as the publishers made both from the same masks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from temporalpairs.tracks import VideoTracks


def paint_video(video: VideoTracks, folder: Path, *, first_frame: int = 0, compress_level: int = 6) -> Path:
    """Write one 16-bit PNG a frame, unannotated frames included, into ``folder / video.name``."""
    out = folder / video.name
    out.mkdir(parents=True)
    sizes = video.tracks[0].sizes[0]
    last = max(int(track.frames[-1]) for track in video.tracks)
    where = {(int(f), n): i for n, track in enumerate(video.tracks) for i, f in enumerate(track.frames)}

    def paint(frame: int) -> None:
        image = None
        for n, track in enumerate(video.tracks):
            if (i := where.get((frame, n))) is not None:
                image = np.zeros(track.sizes[i], np.uint16) if image is None else image
                image[track[i].to_mask()] = track.track
        image = np.zeros(sizes, np.uint16) if image is None else image
        Image.fromarray(image).save(out / f"{frame:06d}.png", compress_level=compress_level)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(paint, range(first_frame, last + 1)))
    return out
