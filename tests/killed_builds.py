"""Annotations that count how often they are read; and, as a program of its own, builds that are killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from kittimasks.loading import SAMPLE_FOLDER
from temporalpairs.builders import open_annotations
from temporalpairs.builders.formats import Annotations
from temporalpairs.tracks import VideoTracks


@dataclass(frozen=True)
class CountedVideo:
    """A video that notes in a file each time that it is read, and waits a moment."""

    path: Path
    log: Path
    wait: float = 0

    @property
    def name(self) -> str:
        return self.path.stem

    def read(self) -> VideoTracks:
        time.sleep(self.wait)
        with self.log.open("a") as log:
            log.write(f"{self.name}\n")
        (video,) = open_annotations(self.path).videos
        return video.read()


def counted(folder: Path, *, copies: int = 1, wait: float = 0) -> tuple[Annotations, Path]:
    """Copy the sample's files, as annotations of videos that count how often they are read."""
    raw = folder / "raw"
    raw.mkdir()
    for copy in range(copies):
        for file in sorted(SAMPLE_FOLDER.glob("*.txt")):
            shutil.copy(file, raw / f"{copy:03d}{file.stem}.txt")
    opened = open_annotations(raw)
    videos = tuple(CountedVideo(path, folder / "log", wait) for path in sorted(raw.iterdir()))
    return replace(opened, videos=videos), folder / "log"


def build(out: str, raw: str) -> int:
    """Fork a process that builds."""
    child = os.fork()
    if child == 0:
        from temporalpairs.builders import build_kitti_masks

        build_kitti_masks(out, raw, jobs=2, progress=False)
        os._exit(0)
    return child


def main(folder: str, raw: str, *delays: str) -> None:
    """Kill a build after each of some seconds, build again, and tell what was there in between."""
    import zarr  # noqa: F401

    from temporalpairs.builders import build_kitti_masks  # noqa: F401  # the children find all modules loaded

    for number, delay in enumerate(delays):
        out = Path(folder, f"{number}.zarr")
        child = build(str(out), raw)
        time.sleep(float(delay))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = {"store": out.exists(), "parts": len(list(out.with_name(f".{out.name}.parts").glob("*.zip")))}
        _, status = os.waitpid(build(str(out), raw), 0)
        print(json.dumps({**found, "status": status}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
