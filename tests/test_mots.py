"""Readers of MOTS annotations: every layout gives the same tracks, and every fault a message that names its place."""

from __future__ import annotations

import gzip
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from kitti_masks_sample import synthesize_mots
from painting import paint_video
from PIL import Image
from raw import (
    assert_same_tracks,
    encode,
    line,
    lines_of,
    random_video,
    write_challenge,
    write_pngs,
    write_seqinfo,
    write_text,
)

from kittimasks.build import build_kitti_masks
from kittimasks.cut import cut_video
from temporalpairs.builders import open_annotations
from temporalpairs.builders.formats.mots import MotsVideo
from temporalpairs.errors import DatasetWarning, OptionError, RawDataError
from temporalpairs.store import read_store
from temporalpairs.tracks import VideoTracks

HEIGHT, WIDTH = 40, 90


def box(*boxes: tuple[int, int, int, int, int], height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Draw boxes of (id, top, left, bottom, right)."""
    labels = np.zeros((height, width), np.uint16)
    for track, top, left, bottom, right in boxes:
        labels[top:bottom, left:right] = track
    return labels


# A pedestrian with a gap, a car, an ignore region, a class that nobody named, the highest id, an empty frame.
VIDEO = [
    box((2001, 0, 0, 20, 9), (1000, 5, 40, 30, 60), (10000, 35, 0, 40, 90)),
    box((2001, 1, 1, 21, 10), (3004, 0, 88, 2, 90)),
    box(),
    box((2001, 2, 1, 22, 11), (1000, 6, 41, 31, 60), (65535, 39, 89, 40, 90)),
    box((1000, 6, 41, 31, 61)),
]


def find_videos(*paths: str | Path) -> list[MotsVideo]:
    return list(open_annotations(paths, "mots").videos)


def read_one(path: Path) -> VideoTracks:
    (video,) = find_videos(path)
    return video.read()


def read_all(path: Path) -> list[VideoTracks]:
    return [video.read() for video in find_videos(path)]


def kept(video: VideoTracks) -> dict[int, tuple[int, list[int]]]:
    return {track.track: (track.category, track.frames.tolist()) for track in video.tracks}


def refuse(path: Path, *parts: str) -> RawDataError:
    """Read what must be refused; the message names the path and has the parts, in this order."""
    with pytest.raises(RawDataError) as caught:
        read_all(path)
    error = caught.value
    text = str(error)
    assert error.path == path or path in error.path.parents
    assert text.startswith(str(error.path))
    assert "\n  Expected " in text
    position = len(str(path.parent))
    for part in parts:
        assert part in text[position:], text
        position = text.index(part, position) + len(part)
    return error


# --- what every layout gives


def text_file(folder: Path) -> Path:
    return write_text(folder / "0005.txt", VIDEO)


def text_folder(folder: Path) -> Path:
    return write_text(folder / "instances_txt" / "0005.txt", VIDEO).parent


def parent_of_text(folder: Path) -> Path:
    return text_folder(folder).parent


def png_folder(folder: Path) -> Path:
    return write_pngs(folder / "0005", VIDEO)


def folder_of_png_folders(folder: Path) -> Path:
    return write_pngs(folder / "instances" / "0005", VIDEO).parent


def parent_of_pngs(folder: Path) -> Path:
    return folder_of_png_folders(folder).parent


def pngs_without_zeros(folder: Path) -> Path:
    folder = folder / "0005"
    folder.mkdir()
    for frame, labels in enumerate(VIDEO):
        assert cv2.imwrite(str(folder / f"{frame}.png"), labels)
    return folder


KITTI = [
    text_file,
    text_folder,
    parent_of_text,
    png_folder,
    folder_of_png_folders,
    parent_of_pngs,
    pngs_without_zeros,
]


def challenge_folder(folder: Path) -> Path:
    return write_challenge(folder / "MOTS20-05", VIDEO)


def folder_of_challenge_folders(folder: Path) -> Path:
    return write_challenge(folder / "train" / "MOTS20-05", VIDEO).parent


def parent_of_train(folder: Path) -> Path:
    return folder_of_challenge_folders(folder).parent


def challenge_file(folder: Path) -> Path:
    return challenge_folder(folder) / "gt" / "gt.txt"


def challenge_without_seqinfo(folder: Path) -> Path:
    (challenge_folder(folder) / "seqinfo.ini").unlink()
    return folder / "MOTS20-05"


def challenge_flat_file(folder: Path) -> Path:
    return write_text(folder / "MOTS20-05.txt", VIDEO, first_frame=1)


def challenge_flat_folder(folder: Path) -> Path:
    return challenge_flat_file(folder).parent


def challenge_pngs(folder: Path) -> Path:
    return write_pngs(folder / "MOTS20-05", VIDEO, first_frame=1)


def folder_of_challenge_pngs(folder: Path) -> Path:
    return write_pngs(folder / "instances" / "MOTS20-05", VIDEO, first_frame=1).parent


CHALLENGE = [
    challenge_folder,
    folder_of_challenge_folders,
    parent_of_train,
    challenge_file,
    challenge_without_seqinfo,
    challenge_flat_file,
    challenge_flat_folder,
    challenge_pngs,
    folder_of_challenge_pngs,
]


@pytest.mark.parametrize(
    ("layout", "name", "first"),
    [(layout, "0005", 0) for layout in KITTI] + [(layout, "MOTS20-05", 1) for layout in CHALLENGE],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_every_layout_keeps_ids_categories_frame_numbers_and_run_lengths(tmp_path, layout, name, first):
    video = read_one(layout(tmp_path))
    assert video.name == name
    assert {track.video for track in video.tracks} == {name}
    assert kept(video) == {
        1000: (1, [first, first + 3, first + 4]),
        2001: (2, [first, first + 1, first + 3]),
        3004: (3, [first + 1]),
        10000: (10, [first]),
        65535: (65, [first + 3]),
    }
    for track in video.tracks:
        for frame, runs in zip(track.frames, track, strict=True):
            mask = VIDEO[frame - first] == track.track
            assert (runs.height, runs.width, runs.to_string()) == (HEIGHT, WIDTH, encode(mask))
            np.testing.assert_array_equal(runs.to_mask(), mask)
    assert video.length == len(VIDEO)
    for source in video.sources:
        (file,) = [file for file in tmp_path.rglob(Path(source.name).name) if file.stat().st_size == source.size]
        assert str(file).endswith(source.name)


def test_a_folder_gives_its_videos_in_the_order_of_their_names(tmp_path):
    for name in ("0010", "0002", "0000"):
        write_text(tmp_path / "instances_txt" / f"{name}.txt", VIDEO)
        write_pngs(tmp_path / "instances" / name, VIDEO[:2])
        write_challenge(tmp_path / "train" / f"MOTS20-{name}", VIDEO)
    names = ["0000", "0002", "0010"]
    assert [video.name for video in find_videos(tmp_path / "instances_txt")] == names
    assert [video.name for video in find_videos(tmp_path / "instances")] == names
    assert [video.name for video in find_videos(tmp_path / "train")] == [f"MOTS20-{name}" for name in names]


def test_where_text_and_images_lie_side_by_side_the_text_is_read(tmp_path):
    folder_of_png_folders(tmp_path)
    text_folder(tmp_path)
    (source,) = read_one(tmp_path).sources
    assert source.name == "instances_txt/0005.txt"


def test_synthetic_text_and_the_images_painted_from_it_give_equal_tracks(tmp_path):
    synthesize_mots(tmp_path, seed=3, videos=2, frames=25, height=128, width=420)
    for text in find_videos(tmp_path):
        read = text.read()
        painted = read_one(paint_video(read, tmp_path / "instances", compress_level=1))
        assert painted.name == read.name
        assert_same_tracks(painted.tracks, read.tracks)


@pytest.mark.parametrize("seed", range(8))
def test_random_text_and_images_give_equal_tracks(tmp_path, seed):
    video = random_video(np.random.default_rng(seed))
    text = read_one(write_text(tmp_path / "0001.txt", video))
    images = read_one(write_pngs(tmp_path / "0001", video))
    assert_same_tracks(text.tracks, images.tracks)
    assert len(images.tracks) == len({label for labels in video for label in np.unique(labels) if label})


def test_images_of_another_encoder_are_read_alike(tmp_path):
    rng = np.random.default_rng(2)
    labels = rng.choice(np.array([0, 2001, 65535, 256, 255], np.uint16), (60, 70))
    folder = tmp_path / "0000"
    folder.mkdir()
    for frame, strategy in enumerate(range(5)):
        assert cv2.imwrite(str(folder / f"{frame:06d}.png"), labels, [cv2.IMWRITE_PNG_STRATEGY, strategy])
    for track in read_one(folder).tracks:
        assert track.frames.tolist() == list(range(5))
        for runs in track:
            np.testing.assert_array_equal(runs.to_mask(), labels == track.track)


SPELLINGS: dict[str, Callable[[list[str]], str]] = {
    "Windows line ends": lambda lines: "".join(lines).replace("\n", "\r\n"),
    "no final newline": lambda lines: "".join(lines)[:-1],
    "blank lines at the end": lambda lines: "".join(lines) + "\n \n\t\r\n\n",
    "blank lines in between": lambda lines: "\n\n".join(lines),
    "tabs": lambda lines: "".join(lines).replace(" ", "\t"),
    "more and trailing blanks": lambda lines: "".join(f"  {line[:-1]} \n".replace(" ", "  ") for line in lines),
    "leading zeros": lambda lines: "".join("0000000000" + line for line in lines),
    "a byte order mark": lambda lines: "\ufeff" + "".join(lines),
    "a score behind the class": lambda lines: "".join(
        " ".join([*line.split()[:3], "0.91", *line.split()[3:]]) + "\n" for line in lines
    ),
    "lines backwards": lambda lines: "".join(lines[::-1]),
    "lines by track": lambda lines: "".join(sorted(lines, key=lambda line: line.split()[1])),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_the_spelling_of_a_text_file_changes_nothing(tmp_path, spelling):
    plain = read_one(write_text(tmp_path / "0000.txt", VIDEO))
    path = tmp_path / "0001.txt"
    path.write_bytes(spelling(lines_of(VIDEO)).encode())
    assert path.read_bytes() != (tmp_path / "0000.txt").read_bytes()
    assert_same_tracks(read_one(path).tracks, plain.tracks)


@pytest.mark.parametrize("content", ["", "\n", "\r\n \n"])
def test_a_video_without_any_annotation_has_no_tracks_and_no_sequences(tmp_path, content):
    path = tmp_path / "0006.txt"
    path.write_text(content)
    video = read_one(path)
    assert (video.tracks, video.length) == ((), 0)
    assert [source.size for source in video.sources] == [len(content)]
    assert len(cut_video(video)) == 0


def test_images_without_any_annotation_have_no_tracks_and_no_sequences(tmp_path):
    video = read_one(write_pngs(tmp_path / "0006", [box()] * 3))
    assert (video.tracks, video.length, len(video.sources)) == ((), 3, 3)
    assert len(cut_video(video)) == 0


def test_a_video_may_change_its_image_size(tmp_path):
    small, large = box((2001, 0, 0, 8, 8)), box((2001, 0, 0, 9, 9), height=50, width=100)
    for path in (write_text(tmp_path / "0000.txt", [small, large]), write_pngs(tmp_path / "0000", [small, large])):
        (track,) = read_one(path).tracks
        assert track.sizes.tolist() == [[HEIGHT, WIDTH], [50, 100]]


def test_the_length_of_a_challenge_video_is_what_its_seqinfo_states(tmp_path):
    folder = write_challenge(tmp_path / "MOTS20-02", [*VIDEO, box(), box()])
    assert read_one(folder).length == len(VIDEO) + 2


# --- text that must be refused

GOOD = line(0, 2001, VIDEO[0] == 2001)
RLE = GOOD.split()[-1]
FIELDS = "six fields: frame id class_id height width rle"

REFUSED = {
    "too few fields": (GOOD + "1 2001 2 40 90\n", "line 2", "5 fields", FIELDS),
    "too many fields": (GOOD[:-1] + " 7 7\n", "line 1", "8 fields", FIELDS),
    "a seventh field that is no score": (GOOD[:-1] + " 7\n", "line 1", f"'{RLE[:40]}' is not a number", FIELDS),
    "a word for the score": (f"1 2001 2 high 40 90 {RLE}", "line 1", "7 fields", FIELDS),
    "one word": (GOOD + "\n\nend\n", "line 4", "1 field.", FIELDS),
    "old Macintosh line ends": (GOOD.replace("\n", "\r") * 2, "line 1", "12 fields", FIELDS),
    "a word for the frame": (f"one 2001 2 40 90 {RLE}", "line 1", "'one' is not a number of at most 9 digits", FIELDS),
    "a word for the class": (f"1 2001 person 40 90 {RLE}", "line 1", "'person' is not a number", FIELDS),
    "negative frame": (f"{GOOD}-1 2001 2 40 90 {RLE}", "line 2", "'-1' is not a number", FIELDS),
    "negative id": (f"1 -2001 2 40 90 {RLE}", "line 1", "'-2001' is not a number", FIELDS),
    "fraction": (f"1 2001 2.0 40 90 {RLE}", "line 1", "'2.0' is not a number", FIELDS),
    "ten digits": (f"1 2001 2 40 1234567890 {RLE}", "line 1", "'1234567890' is not a number", FIELDS),
    "digits of another script": (f"٣ 2001 2 40 90 {RLE}", "line 1", "'٣' is not a number", FIELDS),
    "commas": (GOOD.replace(" ", ","), "line 1", "1 field.", FIELDS),
    "height of 0": (f"{GOOD}1 2001 2 0 90 {RLE}", "line 2", "0 × 90 pixels", "1 to 2,147,483,647 pixels"),
    "width of 0": (f"1 2001 2 40 0 {RLE}", "line 1", "40 × 0 pixels", "1 to 2,147,483,647 pixels"),
    "image too large": (f"1 2001 2 65536 65536 {RLE}", "line 1", "65536 × 65536 pixels", "1 to 2,147,483,647 pixels"),
    "id twice in a frame": (GOOD * 2, "line 2", "id 2001 a second time in frame 0", "one mask of an id in a frame"),
    "class of a track changes": (
        GOOD + "\n" + line(5, 2001, VIDEO[0] == 2001, category=1),
        "line 3",
        "id 2001 with class 1",
        "the class that its earlier frames have",
    ),
    "sizes contradict within a frame": (
        GOOD + line(1, 2002, np.ones((3, 4), bool)) + line(0, 2003, np.ones((90, 40), bool)),
        "line 3",
        "90 × 40 pixels in frame 0",
        "the size of the frame's other masks",
    ),
    "mask of another image": (
        GOOD + f"1 2001 2 40 91 {RLE}",
        "line 2",
        "the runs do not add up to height × width",
        "a COCO compressed run-length string of 40 × 91 pixels",
    ),
    "mask beyond its image": (
        f"1 2001 2 4 9 {RLE}",
        "line 1",
        "a run is negative or longer than the image",
        "a COCO compressed run-length string of 4 × 9 pixels",
    ),
    "mask cut short": (
        f"{GOOD}\n1 2001 2 40 90 {RLE[:-1]}\n",
        "line 3",
        "ends in the middle of a number",
        "a COCO compressed run-length string of 40 × 90 pixels",
    ),
    "mask with a strange character": (
        f"{GOOD}1 2001 2 40 90 {RLE[:-1]}é\n",
        "line 2",
        "a character outside '0' … 'o'",
        "a COCO compressed run-length string of 40 × 90 pixels",
    ),
}


@pytest.mark.parametrize(("content", "place", "found", "expected"), REFUSED.values(), ids=REFUSED)
def test_a_faulty_line_is_refused_by_number_with_what_was_expected(tmp_path, content, place, found, expected):
    path = tmp_path / "0000.txt"
    path.write_text(content, encoding="utf-8", newline="")
    error = refuse(path, f", {place}: ", found, f"\n  Expected {expected}")
    assert error.place == place


@pytest.mark.parametrize("content", [bytes(range(256)) * 9, b"\0" * 500, b"\x89PNG\r\n\x1a\n", GOOD.encode("utf-16")])
def test_binary_garbage_is_refused_in_printable_words(tmp_path, content):
    path = tmp_path / "0000.txt"
    path.write_bytes(content)
    error = refuse(path, ", line ", FIELDS)
    assert str(error).replace("\n", "").isprintable()


def test_one_bad_file_among_good_ones_is_the_one_that_is_named(tmp_path):
    folder = text_folder(tmp_path)
    (folder / "0006.txt").write_text(GOOD + "x")
    refuse(folder, "0006.txt, line 2")


@pytest.mark.parametrize("first", [0, 1])
def test_a_sequence_with_seqinfo_may_count_its_frames_from_0_or_from_1(tmp_path, first):
    folder = write_challenge(tmp_path / "000", VIDEO)
    write_text(folder / "gt" / "gt.txt", VIDEO, first_frame=first)
    video = read_one(folder)
    assert (video.first_frame, video.length, video.open_end) == (first, len(VIDEO), False)
    flat = read_one(write_text(tmp_path / "MOTS20-09.txt", VIDEO, first_frame=first))
    assert (flat.first_frame, flat.length, flat.open_end) == (first, len(VIDEO), True)


def test_a_seqinfo_of_another_size_is_refused(tmp_path):
    folder = write_challenge(tmp_path / "MOTS20-05", VIDEO)
    write_seqinfo(folder, length=len(VIDEO), height=HEIGHT, width=WIDTH + 1)
    refuse(folder, "gt.txt, line 1: 40 × 90 pixels", "Expected the 40 × 91 that seqinfo.ini states")


def test_frames_beyond_the_length_that_seqinfo_states_are_refused(tmp_path):
    folder = write_challenge(tmp_path / "MOTS20-05", VIDEO)
    write_seqinfo(folder, length=len(VIDEO) - 1, height=HEIGHT, width=WIDTH)
    last = len(lines_of(VIDEO))
    refuse(folder, f"gt.txt, line {last}: frame 5", "Expected at most the 4 frames that seqinfo.ini states")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"seqLength=5",
        b"[Sequence]\nseqLength=five\nimHeight=40\nimWidth=90",
        b"[Sequence]\nseqLength=5\nimHeight=40",
        b"[Sequence]\nseqLength=%(a)s\nimHeight=40\nimWidth=90",
        b"[Sequence]\nseqLength=5\nseqLength=5\n",
        b"\xff\xfe\0",
    ],
)
def test_a_damaged_seqinfo_is_refused_by_name(tmp_path, content):
    folder = write_challenge(tmp_path / "MOTS20-05", VIDEO)
    (folder / "seqinfo.ini").write_bytes(content)
    refuse(folder, "seqinfo.ini: cannot be read", "[Sequence] with the numbers seqLength, imHeight and imWidth")


@pytest.mark.parametrize("count", [150, pytest.param(2500, marks=pytest.mark.slow)])
def test_any_damage_to_a_text_file_ends_in_a_named_error_or_in_a_valid_video(tmp_path, count):
    rng = np.random.default_rng(13)
    rows = [box((2001, 3, t, 30, 9 + t), (1002, 0, 50, 20, 60 + t), (10000, 35, 0, 40, 90)) for t in range(4)]
    good = "".join(lines_of(rows)).encode()
    path = tmp_path / "0000.txt"
    path.touch()
    (video,) = find_videos(path)
    outcomes = {"refused": 0, "read": 0}
    for _ in range(count):
        data = damaged(good, rng)
        path.write_bytes(data)
        try:
            read = video.read()
            cut_video(read)
        except RawDataError as error:
            outcomes["refused"] += 1
            refused = error
        else:
            refused = None
        if refused:
            number = re.fullmatch(r"line (\d+)", refused.place)
            assert refused.path.name == "0000.txt"
            assert not refused.place or (number and 1 <= int(number[1]) <= data.count(b"\n") + 1)
            continue
        outcomes["read"] += 1
        assert len({track.track for track in read.tracks}) == len(read.tracks)
        for track in read.tracks:
            assert np.all(np.diff(track.frames) > 0)
            for runs in track:
                assert runs.counts.sum(dtype=np.int64) == runs.height * runs.width
    assert min(outcomes.values()) > count / 25, outcomes


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Damage a text in one to three places."""
    text = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        here = int(rng.integers(len(text) + 1)) if len(text) else 0
        there = here + int(rng.integers(1, 12))
        kind = rng.integers(8)
        if kind == 0 and here < len(text):
            text[here] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del text[here:there]
        elif kind == 2:
            text[here:here] = rng.integers(0, 256, 3, np.uint8).tobytes()
        elif kind == 3:
            text[here:here] = bytes(rng.choice(list(b" \n\t\r0123456789"), 1).astype(np.uint8))
        elif kind == 4:
            text[here:there] = text[here:there][::-1]
        elif kind == 5:
            text = text[:here] if rng.random() < 0.3 else text
        elif kind == 6:
            lines = bytes(text).splitlines(keepends=True)
            i, j = (int(n) for n in rng.integers(0, len(lines), 2)) if lines else (0, 0)
            lines[i : i + 1] = lines[j : j + 1] * int(rng.integers(0, 3))
            text = bytearray(b"".join(lines))
        else:
            words = bytes(text).split(b" ")
            words[int(rng.integers(len(words)))] = str(int(rng.integers(0, 10 ** rng.integers(1, 11)))).encode()
            text = bytearray(b" ".join(words))
    return bytes(text)


# --- images that must be refused

INSTANCES = "a 16-bit grayscale PNG whose pixels are instance ids"


def png_of(image: np.ndarray, mode: str | None = None) -> bytes:
    file = io.BytesIO()
    (Image.fromarray(image).convert(mode) if mode else Image.fromarray(image)).save(file, "PNG")
    return file.getvalue()


def video_of(folder: Path, *images: bytes) -> Path:
    folder.mkdir()
    for frame, data in enumerate(images):
        (folder / f"{frame:06d}.png").write_bytes(data)
    return folder


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "1"])
def test_an_image_that_is_no_16_bit_grayscale_is_refused_by_its_mode(tmp_path, mode):
    wrong = png_of(np.zeros((40, 90), np.uint8), mode)
    folder = video_of(tmp_path / "0000", png_of(VIDEO[0]), wrong)
    refuse(folder, "000001.png: an image of mode " + mode, INSTANCES, "Give the instance images, not the color ones.")


def test_a_16_bit_color_image_is_refused(tmp_path):
    folder = video_of(tmp_path / "0000", png_of(VIDEO[0]))
    assert cv2.imwrite(str(folder / "000001.png"), np.dstack([VIDEO[0]] * 3))
    refuse(folder, "000001.png: an image of mode RGB", INSTANCES)


def test_files_that_are_no_png_are_refused(tmp_path):
    jpeg = io.BytesIO()
    Image.new("L", (90, 40)).save(jpeg, "JPEG")
    for n, content in enumerate([b"", b"P", GOOD.encode(), jpeg.getvalue()]):
        refuse(video_of(tmp_path / f"{n:04d}", content), "000000.png: the file is no PNG", INSTANCES)


def test_a_folder_with_the_name_of_an_image_is_refused(tmp_path):
    folder = png_folder(tmp_path)
    (folder / "000005.png").mkdir()
    refuse(folder, "000005.png: cannot be read (Is a directory)")


@pytest.mark.parametrize("name", ["000001 (copy)", "frame", "²", "-1", "1.5", "1234567890"])
def test_an_image_whose_name_is_no_frame_number_is_refused(tmp_path, name):
    folder = png_folder(tmp_path)
    shutil.copy(folder / "000001.png", folder / f"{name}.png")
    refuse(
        folder,
        f"{name}.png: the name is no frame number",
        "names of at most 9 digits, such as 000000.png",
        "Move other images elsewhere.",
    )


def test_two_images_of_one_frame_are_refused(tmp_path):
    folder = png_folder(tmp_path)
    shutil.copy(folder / "000001.png", folder / "1.png")
    refuse(folder, "frame 1 a second time, beside ", "one image of a frame")


def test_missing_images_are_warned_of_and_no_sequence_crosses_them(tmp_path):
    still = [box((2001, 0, 0, 38, 40), (10000, 38, 0, 40, 90)) for _ in range(10)]
    folder = write_pngs(tmp_path / "0000", still)
    for frame in (4, 5):
        (folder / f"{frame:06d}.png").unlink()
    with pytest.warns(DatasetWarning, match=r"0000: 2 of the frames 0 … 9 have no image, the first is frame 4"):
        video = read_one(folder)
    assert video.tracks[0].frames.tolist() == [0, 1, 2, 3, 6, 7, 8, 9]
    sequences = cut_video(video)
    assert set(sequences.first_frame.tolist()) == {0, 6}
    assert set(sequences.lengths.tolist()) == {4}


def test_a_stray_high_number_costs_a_warning_and_not_the_memory(tmp_path):
    folder = write_pngs(tmp_path / "0000", VIDEO[:2])
    (folder / "000001.png").rename(folder / "999999999.png")
    with pytest.warns(DatasetWarning, match=r"999999998 of the frames 0 … 999999999 have no image"):
        video = read_one(folder)
    cut_video(video)
    (tmp_path / "0000.txt").write_text(GOOD + line(999_999_999, 2001, VIDEO[0] == 2001))
    cut_video(read_one(tmp_path / "0000.txt"))


# --- paths

LAYOUTS = ("0000.txt", "instances_txt/0000.txt", "instances/0000/000000.png", "MOTS20-02/gt/gt.txt")


def test_a_folder_of_something_else_is_refused_with_the_layouts_that_would_do(tmp_path):
    (tmp_path / "image_02" / "0000").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "overview.png").write_bytes(png_of(VIDEO[0]))
    refuse(tmp_path, "no MOTS annotation was found in this folder", *LAYOUTS, "Check the path.")


def test_an_image_in_the_place_of_a_text_file_is_refused(tmp_path):
    refuse(write_pngs(tmp_path / "0000", VIDEO) / "000000.png", "000000.png, line 1: ", FIELDS)


def test_a_text_file_that_vanished_is_reported(tmp_path):
    (video,) = find_videos(text_file(tmp_path))
    (tmp_path / "0005.txt").unlink()
    with pytest.raises(RawDataError, match=r"0005\.txt: cannot be read \(No such file or directory\)"):
        video.read()


def test_videos_of_several_paths_keep_their_names_where_they_differ(tmp_path):
    kitti, challenge = text_folder(tmp_path), folder_of_challenge_folders(tmp_path)
    assert [video.name for video in find_videos(challenge, kitti)] == ["MOTS20-05", "0005"]


def test_videos_of_one_name_get_distinct_names_from_their_paths(tmp_path):
    paths = [text_folder(tmp_path / place / "mots") for place in ("kitti", "other")]
    videos = find_videos(*paths)
    assert [video.name for video in videos] == ["kitti/mots/instances_txt/0005", "other/mots/instances_txt/0005"]
    assert [{track.video for track in video.read().tracks} for video in videos] == [{v.name} for v in videos]
    images = folder_of_png_folders(tmp_path / "kitti" / "mots")
    assert [video.name for video in find_videos(paths[0], images)] == ["instances_txt/0005", "instances/0005"]


def test_the_same_videos_twice_are_refused_however_the_path_is_written(tmp_path, monkeypatch):
    folder = text_folder(tmp_path)
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "link"
    link.symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    for other in (folder, Path("instances_txt"), folder / ".." / "instances_txt", link, tmp_path):
        with pytest.raises(OptionError, match=r"0005\.txt was given twice"):
            find_videos(folder, other)
    images = folder_of_png_folders(tmp_path)
    with pytest.raises(OptionError, match="0005 was given twice"):
        find_videos(images, images / "0005")


def test_a_folder_given_by_two_dots_has_its_own_name(tmp_path, monkeypatch):
    (png_folder(tmp_path) / "deeper").mkdir()
    monkeypatch.chdir(tmp_path / "0005" / "deeper")
    with pytest.warns(DatasetWarning, match="left out 'deeper'"):
        video = read_one(Path(".."))
    assert (video.name, video.sources[0].name) == ("0005", "0005/000000.png")


# --- what tools write


def names_left_out(path: Path) -> list[str]:
    """Open a path; return the names of the videos, after comparing the warning's with what must not be silent."""
    with pytest.warns(DatasetWarning, match="left out") as caught:
        open_annotations(path, "mots")
    (warning,) = caught
    return re.findall(r"'([^']+)'", str(warning.message))


def test_text_of_any_name_and_case_is_a_video_and_the_rest_is_named(tmp_path):
    for name in ("0000.txt", "0001.TXT", "KITTI-0002.txt", "MOTS20-02.Txt"):
        write_text(tmp_path / "a" / name, VIDEO)
    assert [video.name for video in find_videos(tmp_path / "a")] == ["0000", "0001", "KITTI-0002", "MOTS20-02"]
    (tmp_path / "a" / "README.txt").write_text("Frames are numbered from 0.")
    (tmp_path / "a" / "seqmap.csv").write_text("0005")
    (tmp_path / "a" / "²³.txt").write_text("no video")
    (tmp_path / "a" / "later").mkdir()
    assert names_left_out(tmp_path / "a") == ["README.txt", "later", "seqmap.csv", "²³.txt"]
    write_text(tmp_path / "b" / "0001.TXT", VIDEO)
    write_text(tmp_path / "b" / "0001.txt", VIDEO)
    assert names_left_out(tmp_path / "b") == ["0001.txt"]


def test_many_left_out_are_counted(tmp_path):
    folder = text_folder(tmp_path)
    for n in range(9):
        (folder / f"note-{n}.md").touch()
    with pytest.warns(DatasetWarning, match=r"'note-4\.md' and 4 more"):
        open_annotations(folder, "mots")


@pytest.mark.parametrize("spelling", ["{:06d}.PNG", "frame_{:06d}.png", "0002_{:06d}.png", "{:010d}.png", "img{}.Png"])
def test_images_of_any_case_prefix_and_number_of_digits_are_read(tmp_path, spelling):
    plain = read_one(png_folder(tmp_path))
    for frame in range(len(VIDEO)):
        (tmp_path / "0005" / f"{frame:06d}.png").rename(tmp_path / "0005" / spelling.format(frame))
    video = read_one(tmp_path)
    assert_same_tracks(video.tracks, plain.tracks)
    assert (video.first_frame, video.length, video.frame_step) == (0, len(VIDEO), 1)


def test_images_with_suffixes_of_both_cases_are_one_video(tmp_path):
    folder = png_folder(tmp_path)
    for frame in (1, 3):
        (folder / f"{frame:06d}.png").rename(folder / f"{frame:06d}.PNG")
    assert read_one(folder).length == len(VIDEO)


def test_other_files_among_the_images_are_named(tmp_path):
    folder = png_folder(tmp_path)
    (folder / "000005.tif").touch()
    with pytest.warns(DatasetWarning, match=r"0005: left out '000005\.tif'"):
        read_one(folder)


def test_a_sequence_without_its_text_is_named_beside_the_others(tmp_path):
    train = folder_of_challenge_folders(tmp_path)
    write_challenge(train / "MOTS20-09", VIDEO)
    (train / "MOTS20-09" / "gt" / "gt.txt").unlink()
    assert names_left_out(train) == ["MOTS20-09"]
    refuse(train / "MOTS20-09", "no MOTS annotation was found in this folder")


def test_parts_beside_the_one_that_is_read_are_named(tmp_path):
    for part in ("train", "val", "mine"):
        write_challenge(tmp_path / part / f"MOTS20-{part}", VIDEO)
    (tmp_path / "test" / "MOTS20-01" / "img1").mkdir(parents=True)  # whose annotations are withheld
    assert names_left_out(tmp_path) == ["val", "mine", "test"]
    other = tmp_path / "kitti"
    text_folder(other)
    folder_of_png_folders(other)
    assert [video.name for video in find_videos(other)] == ["0005"]
    write_pngs(other / "instances" / "0006", VIDEO)
    assert names_left_out(other) == ["instances"]


def test_images_of_another_kind_are_named_beside_the_others(tmp_path):
    folder = folder_of_png_folders(tmp_path)
    video_of(folder / "0006", png_of(np.zeros((40, 90), np.uint8), "RGB"))
    assert names_left_out(folder) == ["0006"]


def cvat_export(folder: Path, labels: str, name: str = "{:06d}.png") -> Path:
    folder = write_pngs(folder / "instances", [box((1001, 0, 0, 20, 9), (2001, 5, 40, 30, 60))] * 3)
    for frame in range(3):
        (folder / f"{frame:06d}.png").rename(folder / name.format(frame))
    (folder / "labels.txt").write_text(labels, encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["{:06d}.png", "frame_{:06d}.png"])
def test_labels_beside_the_images_name_the_classes(tmp_path, name):
    annotations = open_annotations(cvat_export(tmp_path / "train", "person\ncar\n", name).parent, "mots")
    assert annotations.categories == {1: "person", 2: "car", 10: "ignore"}
    assert (annotations.left_out, annotations.not_objects) == ({2}, {10})
    assert annotations.release_of == ""
    assert [track.category for track in annotations.videos[0].read().tracks] == [1, 2]
    store = read_store(build_kitti_masks(tmp_path / "m.zarr", annotations, progress=False))
    assert set(store.sequences.track.tolist()) == {1001}
    assert store.attributes["categories"] == {"1": "person", "2": "car", "10": "ignore"}
    assert "MOTS" not in store.attributes["citation"]
    both = read_store(build_kitti_masks(tmp_path / "n.zarr", annotations, categories=["car", 1], progress=False))
    assert set(both.sequences.track.tolist()) == {1001, 2001}


@pytest.mark.parametrize("place", [".", "instances"])
def test_labels_above_the_videos_hold_for_all_and_ten_of_them_leave_no_ignore_region(tmp_path, place):
    given = parent_of_pngs(tmp_path / "given")
    (tmp_path / "labels.txt").write_text("of something else")
    text = "\ufeffIgnored\r\n\r\n" + "".join(f"c{n}\n" for n in range(2, 11))
    (given / place / "LABELS.txt").write_text(text, encoding="utf-8")
    annotations = open_annotations(given, "mots")
    assert annotations.categories == {1: "Ignored"} | {n: f"c{n}" for n in range(2, 11)}
    assert (annotations.left_out, annotations.not_objects) == (set(), {1})


def test_paths_that_name_the_classes_differently_are_refused(tmp_path):
    one, other = cvat_export(tmp_path / "a", "person\ncar\n"), cvat_export(tmp_path / "b", "car\nperson\n")
    for first, second in ((one, other), (one, text_folder(tmp_path))):
        with pytest.raises(OptionError, match=r"name their classes differently\. Build one store of each"):
            find_videos(first, second)


def test_several_regions_of_a_frame_are_their_union(tmp_path):
    person, left, right = (box((1, *place)) == 1 for place in ((0, 40, 30, 50), (5, 0, 20, 9), (0, 4, 10, 30)))
    path = tmp_path / "0000.txt"
    text = [
        line(frame, track, mask, category)
        for frame in (0, 1)
        for track, mask, category in ((2001, person, 2), (10000, left, 2), (10000, right, 2), (10000, left, 2))
    ]
    path.write_text("".join([*text, line(2, 10000, right, 2)]))
    people, crowd = read_one(path).tracks
    assert (people.track, people.frames.tolist()) == (2001, [0, 1])
    assert (crowd.track, crowd.category, crowd.frames.tolist()) == (10000, 10, [0, 1, 2])
    for runs, expected in zip(crowd, (left | right, left | right, right), strict=True):
        np.testing.assert_array_equal(runs.to_mask(), expected)
    path.write_text(line(0, 2001, left) + line(0, 2001, right))
    refuse(path, "line 2: id 2001 a second time in frame 0")


@pytest.mark.parametrize("name", ["0000.txt.gz", "KITTI-0000.TXT.GZ", "MOTS20-02/gt/gt.txt.gz", "0000.txt"])
def test_compressed_text_is_read_as_plain_text_is(tmp_path, name):
    data = "".join(lines_of(VIDEO)).encode()
    plain = read_one(write_text(tmp_path / "plain" / "0000.txt", VIDEO))
    path = tmp_path / "packed" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(data))
    folder = tmp_path / "packed"
    assert_same_tracks(read_one(folder).tracks, plain.tracks)
    assert read_one(path).name == {"KITTI-0000.TXT.GZ": "KITTI-0000", "MOTS20-02/gt/gt.txt.gz": "MOTS20-02"}.get(
        name, "0000"
    )
    path.write_bytes(gzip.compress(data)[:-9])
    if "KITTI" not in name:  # whose content alone says that it is a video
        refuse(path, "cannot be decompressed", "a whole file, plain or gzip")


def test_images_numbered_in_steps_are_neighbors(tmp_path):
    still = [box((2001, 0, 0, 38, 40)) for _ in range(4)]
    folder = write_pngs(tmp_path / "0000", still)
    for frame in (3, 2, 1):
        (folder / f"{frame:06d}.png").rename(folder / f"{5 * frame + 10:06d}.png")
    (folder / "000000.png").rename(folder / "000010.png")
    video = read_one(folder)
    assert (video.first_frame, video.frame_step, video.length) == (10, 5, 4)
    sequences = cut_video(video)
    assert set(sequences.lengths.tolist()) == {4}
    assert set(sequences.first_frame.tolist()) == {10}


def test_control_characters_in_names_are_printed_with_escapes(tmp_path):
    folder = tmp_path / "a\x1b[31mred\n"
    write_text(folder / "0000.txt", VIDEO).write_text("x")
    with pytest.raises(RawDataError) as caught:
        read_one(folder)
    assert "a\\x1b[31mred\\n/0000.txt', line 1: 1 field" in str(caught.value)
    (folder / "\x1b.csv").touch()
    with pytest.warns(DatasetWarning, match=r"left out '\\x1b\.csv'") as warned:
        open_annotations(folder, "mots")
    assert str(warned[0].message).isprintable()


def kitti_360(folder: Path, drives: int = 1) -> Path:
    """Write drives of KITTI-360: roads and cars without instances, and persons, riders and cars with them."""
    still = box((7000, 0, 0, 40, 20), (24001, 5, 30, 30, 50), (26000, 0, 60, 9, 70), (26013, 20, 60, 40, 90))
    for n in range(drives):
        images = write_pngs(folder / "train" / f"2013_05_28_drive_000{n}_sync" / "image_00" / "instance", [still] * 3)
        for frame in (2, 1, 0):
            (images / f"{frame:06d}.png").rename(images / f"{frame + 250:010d}.png")
    return folder


@pytest.mark.parametrize("level", ["", "train", "train/{drive}", "train/{drive}/image_00/instance"])
def test_kitti_360_has_its_own_classes_and_none_of_the_releases_quirks(tmp_path, level):
    drive = "2013_05_28_drive_0000_sync"
    opened = open_annotations(kitti_360(tmp_path / "data_2d_semantics") / level.format(drive=drive))
    (video,) = opened.videos
    read = video.read()
    assert (opened.reader, video.name) == ("mots", drive)
    assert kept(read) == {24001: (24, [250, 251, 252]), 26013: (26, [250, 251, 252])}
    assert (read.first_frame, read.frame_step, read.interval) == (250, 1, 0.1)
    assert (opened.categories[24], opened.categories[26], opened.release_of) == ("person", "car", "")
    assert (opened.not_objects, opened.left_out) == (set(), set())
    assert "liao2022kitti360" in opened.citation


def test_several_drives_and_other_annotations_beside_them(tmp_path):
    raw = kitti_360(tmp_path / "data_2d_semantics", drives=2)
    assert len(find_videos(raw)) == 2
    with pytest.raises(OptionError, match="name their classes differently"):
        find_videos(raw, text_file(tmp_path))


@pytest.mark.parametrize("first", [0, 1])
def test_motsynth_has_several_lines_of_a_crowd_and_counts_from_either_number(tmp_path, first):
    crowd = [box((1, 0, 0, 9, 9)) == 1, box((1, 5, 5, 20, 20)) == 1]
    text = [line(first + t, 2001, VIDEO[0] == 2001, 2) for t in range(3)]
    text += [line(first + t, 10000, mask, 2) for t in range(3) for mask in crowd]
    folder = tmp_path / "mots_annotations" / "000"
    (folder / "gt").mkdir(parents=True)
    (folder / "gt" / "gt.txt").write_text("".join(text))
    write_seqinfo(folder, length=3, height=HEIGHT, width=WIDTH)
    video = read_one(tmp_path / "mots_annotations")
    assert (video.name, video.first_frame, video.length, video.interval) == ("000", first, 3, 1 / 30)
    person, ignored = video.tracks
    assert (person.frames.tolist(), ignored.category) == ([first, first + 1, first + 2], 10)
    np.testing.assert_array_equal(ignored[0].to_mask(), crowd[0] | crowd[1])


def test_text_files_named_after_their_videos_are_read_from_an_archive(tmp_path):
    for name in ("b1c66a42-6f7d68ca", "KITTI-0002", "scene"):
        write_text(tmp_path / "text" / f"{name}.txt", VIDEO)
    archive = shutil.make_archive(str(tmp_path / "text"), "zip", tmp_path / "text")
    assert [video.name for video in open_annotations(archive).videos] == ["KITTI-0002", "b1c66a42-6f7d68ca", "scene"]


def test_robmots_has_the_classes_of_coco_and_ignore_regions_from_100_on(tmp_path):
    person, dog, region = (box((1, *place)) == 1 for place in ((0, 40, 30, 50), (5, 0, 20, 9), (0, 60, 10, 80)))
    masks = ((1, 1, person), (2, 17, dog), (3, 100, region), (3, 100, dog), (4, 101, region))
    rows = [line(t, track, mask, category).split() for t in range(3) for track, category, mask in masks]
    text = "".join(" ".join([*row[:3], "0.97", *row[3:]]) + "\n" for row in rows)
    folder = tmp_path / "kitti_mots"
    folder.mkdir()
    for name, content in (
        ("0002.txt", text), ("0003.txt", ""), ("clsmap.txt", "1 3"), ("seqmap.txt", "0002 3 40 90\n0003 3 40 90\n")
    ):  # fmt: skip
        (folder / name).write_text(content)
    opened = open_annotations(folder)
    assert [video.name for video in opened.videos] == ["0002", "0003"]
    assert kept(opened.videos[0].read()).keys() == {1, 2, 3, 4}
    assert (opened.categories[1], opened.categories[17], opened.categories[80]) == ("person", "dog", "toothbrush")
    assert (opened.categories[101], opened.categories[100]) == ("ignore person", "ignore")
    assert (opened.release_of, opened.left_out, opened.not_objects >= {100, 101, 180}) == ("", set(), True)
    store = read_store(build_kitti_masks(tmp_path / "a.zarr", opened, progress=False))
    assert set(store.sequences.category.tolist()) == {1, 17}
    with pytest.raises(OptionError, match="name their classes differently"):
        find_videos(folder, text_file(tmp_path))
