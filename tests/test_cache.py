"""From ``source=`` to a store: words, paths, one download for many, file systems without locks, nothing left over."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import stores
from zenodo_server import Fault, ZenodoServer

from temporalpairs.download.cache import HOME_VARIABLE, Release, Sample, default_root, provide
from temporalpairs.errors import (
    DownloadError,
    OptionError,
    ReleasedFileError,
    SourceMissingError,
    StoreNotFoundError,
    TemporalPairsError,
)
from temporalpairs.store import read_attributes, write_store

NAME = "made.bin"
DATA = os.urandom(300_000)


def convert(file: Path, out: Path, license: str | None, verified: bool) -> None:
    """Stand in for a dataset's conversion: a store that says what it was made of."""
    if file.read_bytes() != DATA:
        raise ReleasedFileError(file, "it is another file")
    write_store(out, stores.make_sequences(30), {"file": file.name, "license": license, "verified": verified})


def build(out: Path) -> None:
    write_store(out, stores.make_sequences(30), {"title": "sample"})


RELEASE = Release("Made", 3931823, NAME, "made", convert)
SAMPLE = Sample("made-sample", lambda: [Path(__file__)], build)


def find(source: Any = "release", root: Any = None, **options: Any) -> Path:
    return provide(source, root, release=RELEASE, sample=SAMPLE, **options)


@pytest.fixture
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ZenodoServer]:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with ZenodoServer({NAME: DATA}, faults=getattr(request, "param", [])) as server:
        for key, value in server.environment.items():
            monkeypatch.setenv(key, value)
        yield server


def seen(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_release_is_downloaded_converted_and_removed(tmp_path: Path, server: ZenodoServer) -> None:
    root = tmp_path / "new" / "root"
    path = find(root=root)
    attributes = read_attributes(path)
    assert (attributes["file"], attributes["license"], attributes["verified"]) == (NAME, "cc-by-4.0", True)
    assert seen(root) == [".made.lock", "made.zarr"]
    assert find(root=str(root)) == path
    assert len(server.requests) == 2


def test_a_file_that_was_put_there_is_converted_offline_and_stays(tmp_path: Path, server: ZenodoServer) -> None:
    (tmp_path / NAME).write_bytes(DATA)
    attributes = read_attributes(find(root=tmp_path, download=False))
    assert (attributes["license"], attributes["verified"]) == (None, False)
    assert (tmp_path / NAME).read_bytes() == DATA
    assert not server.requests


def test_what_cannot_be_converted_is_kept(
    tmp_path: Path, server: ZenodoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[__name__], "DATA", b"")
        with pytest.raises(ReleasedFileError, match=NAME):
            find(root=tmp_path)
    assert read_attributes(find(root=tmp_path))["verified"]
    assert len(server.downloads) == 1
    assert seen(tmp_path) == [".made.lock", "made.zarr"]


def test_without_download_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceMissingError, match="download=True"):
        find(root=tmp_path, download=False)


def test_the_sample_is_built_once_and_the_home_variable_names_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    path = find("sample")
    assert path.parent == default_root() == tmp_path / "home"
    before = path.stat().st_mtime_ns
    assert find("sample").stat().st_mtime_ns == before
    assert find(path) == find(str(path)) == path


@pytest.mark.skipif(os.name != "posix", reason="Windows has no database of users")
def test_a_user_without_a_home_is_told_and_loads_what_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = find("sample", tmp_path)

    def refuse(number: int) -> NoReturn:  # `docker run --user 4242`
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr("pwd.getpwuid", refuse)
    for name in ("HOME", "XDG_CACHE_HOME", HOME_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for source in ("sample", "release"):
        with pytest.raises(TemporalPairsError, match=HOME_VARIABLE):
            find(source)
    assert find(path) == find("sample", tmp_path) == path


def test_an_unknown_word_names_those_that_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match=r"source='smaple' is unknown.* 'release', 'sample', or the path of a"):
        find("smaple")
    (tmp_path / "masks").mkdir()
    assert find("masks") == Path("masks")
    for missing in (Path("smaple"), "masks.zarr", "masks/none"):
        with pytest.raises(StoreNotFoundError, match="there is no store here"):
            find(missing)
    assert seen(tmp_path) == ["masks"]


@pytest.mark.parametrize(
    ("source", "options"),
    [
        (None, {}),
        (3, {}),
        (b"release", {}),
        ("release", {"root": 3}),
        ("release", {"download": "no"}),
        ("~nobody-of-this-name/store", {}),
    ],
)
def test_arguments_of_another_kind_are_refused(source: Any, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        find(source, **options)


@pytest.mark.parametrize("source", ["sample", "release"])
def test_a_root_that_cannot_be_used_says_what_to_do(tmp_path: Path, source: str, server: ZenodoServer) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TemporalPairsError, match=HOME_VARIABLE) as told:
        find(source, tmp_path / "file" / "root")
    assert str(told.value).startswith(str(tmp_path / "file"))


@pytest.mark.parametrize("mode", [0o000, 0o555])
@pytest.mark.parametrize("since", ["3.13", "3.14"])
def test_a_locked_root_is_not_taken_for_an_empty_one(
    server: ZenodoServer, monkeypatch: pytest.MonkeyPatch, mode: int, since: str
) -> None:
    if since == "3.14":
        monkeypatch.setattr(Path, "exists", os.path.exists)
    root = Path("/var/tmp", f"temporal-pairs-{os.getpid()}")
    root.mkdir(mode=mode)
    try:
        with stores.as_nobody(), pytest.raises(TemporalPairsError, match="Permission denied"):
            find(root=root)
    finally:
        shutil.rmtree(root)
    assert bool(server.requests) == (mode != 0)


@pytest.mark.parametrize("server", [[Fault("truncated", after=1000, times=None)]], indirect=True)
def test_a_failed_download_keeps_what_arrived_and_gives_the_manual_way_out(
    tmp_path: Path, server: ZenodoServer
) -> None:
    with pytest.raises(DownloadError, match=f"3. put it into {tmp_path}"):
        find(root=tmp_path)
    assert [name for name in seen(tmp_path) if not name.startswith(".")] == []


NO_LOCKS = {
    "locks": "",
    "do nothing": "fcntl.flock = lambda *_: None",
    "fail": "def fail(_, op):\n if op != fcntl.LOCK_UN: raise OSError(37, 'no locks')\nfcntl.flock = fail",
}


@pytest.mark.parametrize("kind", ["locks", "do nothing", pytest.param("fail", marks=pytest.mark.slow)])
@pytest.mark.parametrize("server", [[Fault("slow", after=30_000, pause=0.1)] * 2], indirect=True)
def test_of_many_processes_each_gets_the_store_with_and_without_locks(
    tmp_path: Path, server: ZenodoServer, kind: str
) -> None:
    (tmp_path / "data").write_bytes(DATA)
    script = (
        f"import fcntl, sys\n{NO_LOCKS[kind]}\nimport test_cache\nfrom pathlib import Path\n"
        "test_cache.DATA = Path(sys.argv[1]).read_bytes()\n"
        "print(test_cache.find(root=sys.argv[2]))"
    )
    root = tmp_path / "root"
    command = [sys.executable, "-c", script, str(tmp_path / "data"), str(root)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in started] == [str(root / "made.zarr")] * 2
    assert kind != "locks" or len(server.downloads) == 1
    assert len(server.downloads) <= 2
    assert read_attributes(root / "made.zarr")["verified"]
    assert set(seen(root)) <= {".made.lock", "made.zarr"}


def test_a_lock_that_is_not_to_be_had_is_no_error(
    tmp_path: Path, server: ZenodoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(_: int, operation: int) -> None:
        if not operation & fcntl.LOCK_UN:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    assert read_attributes(find(root=tmp_path))["verified"]
