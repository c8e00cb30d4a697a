"""What is wrong with an image is named with its path, in every layout of images."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from temporalpairs.builders import open_annotations
from temporalpairs.errors import DatasetWarning, RawDataError

Labels = np.ndarray


def save(folder: Path, name: str, paint: Callable[[Labels], Labels]) -> Path:
    """Write five images in which an object moves; ``name`` is their names' format."""
    folder.mkdir(parents=True)
    for t in range(5):
        shown = np.zeros((40, 90), bool)
        shown[5:30, 5 + 3 * t : 25 + 3 * t] = True
        Image.fromarray(paint(shown)).save(folder / name.format(t))
    return folder


def instances(label: int) -> Callable[[Labels], Labels]:
    return lambda shown: (shown * np.uint16(label)).astype(np.uint16)


def bytes_of(label: int) -> Callable[[Labels], Labels]:
    return lambda shown: shown * np.uint8(label)


def bitmask(shown: Labels) -> Labels:
    return shown[..., None] * np.array((3, 0, 1, 7), np.uint8)


def sav(folder: Path) -> Path:
    objects = folder / "sav_val" / "Annotations_6fps" / "sav_000007"
    save(objects / "000", "{:05d}.png", bytes_of(255))
    return save(objects / "001", "{:05d}.png", bytes_of(255))


def cvat(folder: Path) -> Path:
    made = save(folder / "instances", "frame_{:06d}.png", instances(1001))
    (made / "labels.txt").write_text("person\n")
    return made


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "vos": lambda folder: save(folder / "Annotations" / "bear", "{:05d}.png", bytes_of(3)),
    "sav": sav,
    "bdd100k": lambda folder: save(folder / "train" / "garden", "garden-{:07d}.png", bitmask),
    "mots": lambda folder: save(folder / "instances" / "0002", "{:06d}.png", instances(2001)),
    "kitti-360": lambda folder: save(
        folder / "train" / "2013_05_28_drive_0000_sync" / "image_00" / "instance", "{:010d}.png", instances(26001)
    ),
    "cvat": cvat,
}


def replace_bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda image: image.write_bytes(change(image.read_bytes()))


def flip(data: bytes) -> bytes:
    damaged = bytearray(data)
    damaged[data.index(b"IDAT") + 8] ^= 4
    return bytes(damaged)


def in_color(image: Path) -> None:
    Image.open(image).convert("RGB").save(image)


def smaller(image: Path) -> None:
    Image.fromarray(np.asarray(Image.open(image))[:-1]).save(image)


def folder_instead(image: Path) -> None:
    image.unlink()
    image.mkdir()


def dangling(image: Path) -> None:
    image.unlink()
    image.symlink_to("nowhere")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (replace_bytes(lambda data: data[:-20]), "the file is cut short"),
    "empty": (replace_bytes(lambda data: b""), "the file is no PNG"),
    "a GIF": (replace_bytes(lambda data: b"GIF89a" + data), "the file is no PNG"),
    "flipped bit": (replace_bytes(flip), "the image cannot be decoded"),
    "damaged header": (replace_bytes(lambda data: data[:23] + b"\7" + data[24:]), r"cannot be decoded \([^<]*\)"),
    "in color": (in_color, "an image of mode RGB"),
    "another size": (smaller, "an image of 39 × 90 pixels"),
    "no number": (lambda image: image.rename(image.with_name("mean.png")), "the name is no frame number"),
    "eleven digits": (lambda image: image.rename(image.with_name("12345678901.png")), "the name is no frame number"),
    "a folder": (folder_instead, "cannot be read"),
    "a dangling link": (dangling, "cannot be read"),
    "a frame twice": (lambda image: shutil.copy(image, image.with_name("2.png")), "a second time|no frame number"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_wrong_image_is_named(layout: str, damage: str, tmp_path: Path) -> None:
    if damage == "another size" and layout in ("mots", "kitti-360", "cvat"):
        pytest.skip("images of MOTS may change their size, as the reference takes them")
    folder = LAYOUTS[layout](tmp_path / "raw")
    image = sorted(folder.glob("*.png"))[2]
    harm, found = DAMAGE[damage]
    harm(image)
    with pytest.raises(RawDataError, match=found) as caught:
        [video.read() for video in open_annotations(tmp_path / "raw").videos]
    assert caught.value.path.parent == folder
    assert caught.value.path.name in {image.name, "mean.png", "12345678901.png", "2.png"}
    assert "\n  Expected " in str(caught.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_image_is_told_or_is_an_absent_object(layout: str, tmp_path: Path) -> None:
    folder = LAYOUTS[layout](tmp_path / "raw")
    sorted(folder.glob("*.png"))[2].unlink()
    (video,) = open_annotations(tmp_path / "raw").videos
    if layout == "sav":  # the other object's folder has the frame
        assert [len(track) for track in video.read().tracks] == [5, 4]
    else:
        with pytest.warns(DatasetWarning, match="1 of the frames 0 … 4 have no image, the first is 000002"):
            assert [len(track) for track in video.read().tracks] == [4]


def test_an_object_without_masks_is_told(tmp_path: Path) -> None:
    folder = sav(tmp_path)
    for image in folder.glob("*.png"):
        image.rename(image.with_suffix(".jpg"))
    (video,) = open_annotations(tmp_path).videos
    with pytest.warns(DatasetWarning, match="sav_000007: left out '001'"):
        assert [track.track for track in video.read().tracks] == [0]
