"""Archives, pipes and standard input: read like the files in them, and nothing leaves its temporary folder."""

from __future__ import annotations

import gc
import gzip
import io
import os
import pickle
import stat
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from raw import assert_same_tracks, write_pngs, write_text

from natsprites.loading import SAMPLE_FILE
from temporalpairs.builders import open_annotations
from temporalpairs.cli.main import main
from temporalpairs.errors import OptionError, RawDataError
from temporalpairs.store import read_store

LABELS = np.zeros((64, 128), np.uint16)
LABELS[10:40, 10:60], LABELS[20:60, 70:110] = 2001, 2002


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have temporary folders made where the test can look at them."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def zipped(archive: Path, **members: str | bytes | Path) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content.read_bytes() if isinstance(content, Path) else content)
    return archive


def zipped_folder(archive: Path, folder: Path) -> Path:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return zipped(archive, **{file.relative_to(folder).as_posix(): file for file in files})


def give_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


@pytest.mark.parametrize("level", ["", "KITTI_MOTS/", "a/b/instances/"])
def test_an_archive_gives_what_its_folder_gives(tmp_path: Path, temporary: Path, level: str) -> None:
    root = tmp_path / "raw"
    (root / level).mkdir(parents=True)
    for name in ("0000", "0001"):
        write_pngs(root / level / name, [LABELS] * 2)
    plain = open_annotations(root / level)
    archive = zipped_folder(tmp_path / "instances.zip", root)
    zipfile.ZipFile(archive, "a").writestr("__MACOSX/._0000", "resource fork")
    opened = open_annotations(archive)
    assert (opened.reader, [video.name for video in opened.videos]) == ("mots", ["0000", "0001"])
    videos = list(opened.videos)
    sent = pickle.loads(pickle.dumps(videos[0])).read()
    del opened
    gc.collect()
    for video, same in zip(videos, plain.videos, strict=True):
        read, expected = video.read(), same.read()
        assert_same_tracks(read.tracks, expected.tracks)
        assert [source.sha256 for source in read.sources] == [source.sha256 for source in expected.sources]
        assert str(read.path).startswith(str(archive))
    assert_same_tracks(sent.tracks, plain.videos[0].read().tracks)
    assert list(temporary.iterdir())
    del videos, video
    gc.collect()
    assert not list(temporary.iterdir())


def test_a_member_is_named_below_its_archive(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "vis.zip", **{"a/train.json": SAMPLE_FILE, "b/notes.md": "", "a/0.jpg": ""})
    with pytest.raises(RawDataError, match=r"vis\.zip: no reader recognizes .*") as caught:
        open_annotations(archive)
    assert f"Name one of its members, such as a, b: {archive}/NAME" in str(caught.value)
    assert len(open_annotations(archive / "a" / "train.json").videos) == 12
    with pytest.raises(RawDataError, match=r"vis\.zip/a/test\.json: the archive has no such member"):
        open_annotations(archive / "a" / "test.json")
    only = zipped(tmp_path / "only.zip", **{"a/train.json.gz": gzip.compress(SAMPLE_FILE.read_bytes())})
    for reader in (None, "youtube-vis"):
        assert len(open_annotations(only, reader).videos) == 12


def test_errors_name_files_by_the_paths_that_users_know(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "text.zip", **{"instances_txt/0000.txt": "0 2001 2 4 9 xyz"})
    with pytest.raises(RawDataError) as caught:
        open_annotations(archive).videos[0].read()
    assert str(caught.value).startswith(f"{archive / 'instances_txt' / '0000.txt'}, line 1: ")
    archive = zipped(tmp_path / "vis.zip", **{"train.json": b'{"videos": 5}'})
    with pytest.raises(RawDataError) as caught:
        open_annotations(archive)
    assert str(caught.value).startswith(f"{archive / 'train.json'}: ")


UNSAFE: dict[str, tuple[str, int, str]] = {
    "above": ("../0000.txt", 0, "would lie outside"),
    "above in the middle": ("a/../../0000.txt", 0, "would lie outside"),
    "above by backslashes": ("..\\..\\0000.txt", 0, "would lie outside"),
    "from the root": ("/tmp/0000.txt", 0, "would lie outside"),
    "another drive": ("C:\\0000.txt", 0, "would lie outside"),
    "a link": ("0000.txt", stat.S_IFLNK | 0o777, "a link"),
    "a device": ("0000.txt", stat.S_IFCHR | 0o666, "a link or another special file"),
}


@pytest.mark.parametrize(("name", "kind", "says"), UNSAFE.values(), ids=UNSAFE)
def test_a_member_that_would_escape_is_refused(
    tmp_path: Path, temporary: Path, name: str, kind: int, says: str
) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("0001.txt", "")
        member = zipfile.ZipInfo(name)
        member.external_attr = kind << 16
        made.writestr(member, "/etc/passwd")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RawDataError, match=rf"a\.zip, member .*{says}") as caught:
        open_annotations(archive)
    assert "ZIP or tar archive of plain files" in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before
    del caught
    gc.collect()
    assert not list(temporary.iterdir())


def twice(archive: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(archive, "a") as made:
        made.writestr("0000.txt", "")


def flip(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    data[data.index(b"0000.txt") + 30] ^= 8
    archive.write_bytes(data)


def encrypt(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    for start, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(start) + offset] |= 1
    archive.write_bytes(data)


def file_and_folder(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a") as made:
        made.writestr("0000.txt/0001.txt", "")


@pytest.mark.parametrize(
    ("damage", "says"),
    [(twice, "a second member"), (flip, "cannot be read"), (encrypt, "encrypted"), (file_and_folder, "cannot be read")],
)
def test_a_damaged_archive_is_refused(tmp_path: Path, damage: Callable[[Path], None], says: str) -> None:
    write_text(tmp_path / "0000.txt", [LABELS] * 9)
    archive = zipped(tmp_path / "a.zip", **{"0000.txt": tmp_path / "0000.txt"})
    damage(archive)
    with pytest.raises(RawDataError, match=rf"a\.zip, member '0000\.txt.*{says}"):
        open_annotations(archive)


def test_an_archive_without_room_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(tmp_path / "a.zip", **{"0000.txt": b" " * 100})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=99))
    with pytest.raises(RawDataError, match=r"its 100 bytes have no room in .*temporary, where 99 bytes are free"):
        open_annotations(archive)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input_is_read_like_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    give_input(monkeypatch, pack(SAMPLE_FILE.read_bytes()))
    command = ["build", "natural-sprites", "--annotations", "-", "--quiet", "--out", str(tmp_path / "a.zarr")]
    assert main(command) == 0
    assert len(read_store(tmp_path / "a.zarr").attributes["videos"]) == 12
    text = write_text(tmp_path / "0000.txt", [LABELS] * 2)
    give_input(monkeypatch, pack(text.read_bytes()))
    assert_same_tracks(
        open_annotations("-", "mots").videos[0].read().tracks, open_annotations(text).videos[0].read().tracks
    )


def test_standard_input_may_be_an_archive_and_errors_say_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_input(monkeypatch, zipped(tmp_path / "a.zip", **{"b/train.json": SAMPLE_FILE}).read_bytes())
    assert open_annotations("-").reader == "youtube-vis"
    give_input(monkeypatch, b"neither")
    with pytest.raises(RawDataError, match=r"^standard input: no reader recognizes"):
        open_annotations("-")
    with pytest.raises(OptionError, match="given twice"):
        open_annotations(["-", "-"])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    text = write_text(tmp_path / "0000.txt", [LABELS] * 2)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(text.read_bytes(),))
    writer.start()
    opened = open_annotations(pipe)
    writer.join()
    assert opened.reader == "mots"
    assert len(opened.videos[0].read().tracks) == 2


def tarred(archive: Path, folder: Path, kind: str = "gz") -> Path:
    with tarfile.open(archive, f"w:{kind}") as made:
        made.add(folder, arcname=".")
    return archive


@pytest.mark.parametrize(("name", "kind"), [("sav_000.tar", ""), ("a.tar.gz", "gz"), ("a.tgz", "gz"), ("a.bin", "xz")])
def test_a_tar_archive_gives_what_its_folder_gives(tmp_path: Path, temporary: Path, name: str, kind: str) -> None:
    for video in ("0000", "0001"):
        write_pngs(tmp_path / "raw" / "instances" / video, [LABELS] * 2)
    (tmp_path / "raw" / "0000.jpg").write_bytes(b"")
    archive = tarred(tmp_path / name, tmp_path / "raw", kind)
    for given in (archive, archive / "instances"):
        opened, plain = open_annotations(given), open_annotations(tmp_path / "raw" / "instances")
        for video, same in zip(opened.videos, plain.videos, strict=True):
            assert_same_tracks(video.read().tracks, same.read().tracks)
            assert str(video.read().path).startswith(str(archive))
    del opened, video
    gc.collect()
    assert not list(temporary.iterdir())


UNSAFE_TAR: dict[str, tuple[str, bytes, str]] = {
    "above": ("../0000.txt", tarfile.REGTYPE, "would lie outside"),
    "from the root": ("/tmp/0000.txt", tarfile.REGTYPE, "would lie outside"),
    "a link": ("0000.txt", tarfile.SYMTYPE, "a link"),
    "a hard link": ("0000.txt", tarfile.LNKTYPE, "a link"),
    "a device": ("0000.txt", tarfile.CHRTYPE, "a link or another special file"),
    "a name twice": ("0001.txt", tarfile.REGTYPE, "a second member"),
}


@pytest.mark.parametrize(("name", "kind", "says"), UNSAFE_TAR.values(), ids=UNSAFE_TAR)
def test_a_member_of_a_tar_that_would_escape_is_refused(
    tmp_path: Path, temporary: Path, name: str, kind: bytes, says: str
) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as made:
        made.addfile(tarfile.TarInfo("0001.txt"))
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        made.addfile(member)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RawDataError, match=rf"a\.tar, member .*{says}") as caught:
        open_annotations(archive)
    assert sorted(tmp_path.iterdir()) == before
    del caught
    gc.collect()
    assert not list(temporary.iterdir())


def halve(data: bytearray) -> bytes:
    return bytes(data[: len(data) // 2])


def flip_second_header(data: bytearray) -> bytes:
    data[data.index(b"0001.txt") + 2] ^= 8
    return bytes(data)


def end_before_second(data: bytearray) -> bytes:
    return bytes(data[: data.index(b"./0001.txt")])


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("", halve),
        ("gz", halve),
        ("xz", halve),
        ("", flip_second_header),
        ("", end_before_second),
        ("", lambda data: b""),
    ],
    ids=["half", "half of gz", "half of xz", "a header", "no end", "empty"],
)
def test_a_damaged_tar_archive_is_refused(tmp_path: Path, kind: str, damage: Callable[[bytearray], bytes]) -> None:
    for name in ("0000", "0001"):
        write_text(tmp_path / "raw" / f"{name}.txt", [LABELS] * 9)
    (tmp_path / "raw" / "noise.md").write_bytes(np.random.default_rng(0).bytes(4000))
    archive = tarred(tmp_path / f"a.tar.{kind}".removesuffix("."), tmp_path / "raw", kind)
    archive.write_bytes(damage(bytearray(archive.read_bytes())))
    with pytest.raises(RawDataError, match=r"a\.tar.*cannot be read \(.*\n  Expected a whole ZIP or tar archive"):
        open_annotations(archive)
