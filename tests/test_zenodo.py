"""Downloads from Zenodo, against a local server with its habits and faults: the right bytes, or an error that helps."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import requests
from zenodo_server import Fault, Kind, ZenodoServer

from temporalpairs.download import zenodo
from temporalpairs.download.zenodo import downloaded
from temporalpairs.errors import DownloadError, OptionError

RECORD = 3931823
NAME = "kitti.pickle"
DATA = random.Random(0).randbytes(1_000_000)
MD5 = hashlib.md5(DATA).hexdigest()
ALWAYS = None
MAKE_PART = (
    "import signal, sys; from pathlib import Path; from temporalpairs.download.zenodo import downloaded\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore SIGINT
    f"with downloaded({RECORD}, {NAME!r}, Path(sys.argv[1])): pass"
)
Serve = Callable[..., ZenodoServer]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note waits instead of waiting."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)  # urllib3's and ours
    monkeypatch.setattr(zenodo, "_TIMEOUT", (5, 5))
    return waited


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start servers that the package then asks instead of Zenodo."""
    started: list[ZenodoServer] = []

    def start(*faults: Fault, files: dict[str, bytes] | None = None, **options: Any) -> ZenodoServer:
        started.append(ZenodoServer({NAME: DATA} if files is None else files, faults=faults, **options).__enter__())
        for name, value in started[-1].environment.items():
            monkeypatch.setenv(name, value)
        return started[-1]

    yield start
    for server in started:
        server.__exit__(None, None, None)


def fetch(folder: Path, name: str = NAME) -> bytes:
    with downloaded(RECORD, name, folder) as (path, _):
        assert path.name == name
        return path.read_bytes()


def leave_part(folder: Path, content: bytes) -> None:
    """Leave what a process that was killed leaves."""
    private = folder / f".{NAME}.download-{os.uname().nodename[:32]}-0123abcd"
    private.mkdir()
    (folder / f"{private.name}.lock").touch()
    (private / NAME).write_bytes(content)


def parts(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.glob(f".{NAME}.download-*/{NAME}")]


def ranges(server: ZenodoServer) -> list[str | None]:
    return [request.headers.get("range") for request in server.downloads]


def refused(folder: Path, told: str, server: ZenodoServer | None = None) -> str:
    """Fetch in vain; return the error's text, which gives the manual way out and comes without foreign tracebacks."""
    with pytest.raises(DownloadError, match=told) as caught:
        fetch(folder)
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None
    text = str(caught.value)
    facts = [NAME, str(folder), 'source="sample"', f"/records/{RECORD}"]
    if server is not None:
        facts += [f"{server.url}/records/{RECORD}", f"{len(DATA):,} bytes, MD5 {MD5}"]
    assert all(fact in text for fact in facts)
    assert "object at 0x" not in text
    return text


# The record


def test_a_file_is_there_while_it_is_needed_and_gone_afterwards(
    serve: Serve, tmp_path: Path, waits: list[float]
) -> None:
    server = serve(files={"other.csv": b"frame,id", NAME: DATA})
    with downloaded(RECORD, NAME, tmp_path) as (path, about):
        assert (path.name, path.read_bytes()) == (NAME, DATA)
        assert (about.size, about.md5, about.license) == (len(DATA), MD5, "cc-by-4.0")
        assert not (tmp_path / NAME).exists()
    assert not list(tmp_path.iterdir())
    assert [wait for wait in waits if wait] == []  # although every answer, good ones too, carries Retry-After: 59
    for request in server.requests:
        agent = request.headers["user-agent"]
        assert re.fullmatch(rf"temporal-pairs/{version('temporal-pairs')} \(requests/[\d.]+\)", agent)
        assert request.headers["accept-encoding"] == "identity"


def test_what_a_failing_block_leaves_needs_no_second_download(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    with pytest.raises(KeyError), downloaded(RECORD, NAME, tmp_path):
        raise KeyError
    assert fetch(tmp_path) == DATA
    assert len(server.downloads) == 1
    assert not list(tmp_path.iterdir())


def test_an_empty_file_and_a_name_that_needs_quoting_are_fetched(serve: Serve, tmp_path: Path) -> None:
    serve(files={NAME: b"", "a b#c?ü.bin": DATA})
    assert fetch(tmp_path) == b""
    assert fetch(tmp_path, "a b#c?ü.bin") == DATA


@pytest.mark.parametrize(("given", "license"), [({"id": "cc0-1.0"}, "cc0-1.0"), ("CC-BY-4.0", "CC-BY-4.0"), ({}, None)])
def test_the_license_is_told_where_it_is_given(serve: Serve, tmp_path: Path, given: Any, license: str | None) -> None:
    serve(license=given)
    with downloaded(RECORD, NAME, tmp_path) as (_, about):
        assert about.license == license


@pytest.mark.parametrize(
    ("files", "told"), [({"b.csv": b"b", "a.pickle": b"a"}, r"it has a\.pickle, b\.csv"), ({}, "it has none")]
)
def test_a_missing_name_is_told_with_those_that_exist(
    serve: Serve, tmp_path: Path, files: dict[str, bytes], told: str
) -> None:
    serve(files=files)
    refused(tmp_path, told)


@pytest.mark.parametrize(
    "patch",
    [
        {"checksum": "md5:xyz"},
        {"checksum": "sha256:" + "0" * 64},
        {"checksum": None},
        {"checksum": ...},
        {"size": -1},
        {"size": "many"},
        {"size": float("inf")},
        {"size": float("nan")},
        {"size": ...},
        {"key": ...},
        {"key": []},
    ],
    ids=str,
)
def test_metadata_without_a_size_or_checksum_that_makes_sense_are_refused(
    serve: Serve, tmp_path: Path, patch: dict[str, object]
) -> None:
    serve(patch=patch)
    refused(tmp_path, "the metadata at|the record gives")


@pytest.mark.parametrize("text", ["[]", "null", "3", "{}", '{"files": 3}', '{"files": [1]}', '{"files": {"a": {}}}'])
def test_metadata_of_another_form_are_refused(serve: Serve, tmp_path: Path, text: str) -> None:
    serve(Fault("text", on="metadata", text=text))
    refused(tmp_path, "are not those of a record with files")


@pytest.mark.parametrize("text", ["", '{"files": [', "[" * 100_000, "\xff", "9" * 5000])
def test_metadata_that_are_not_json_fail_after_the_attempts(serve: Serve, tmp_path: Path, text: str) -> None:
    server = serve(Fault("text", on="metadata", times=ALWAYS, text=text))
    refused(tmp_path, "are not JSON")
    assert len(server.requests) == 5


@pytest.mark.parametrize("kind", ["reset", "truncated", "truncated-unsized", "short"])
def test_metadata_cut_short_are_asked_for_again(serve: Serve, tmp_path: Path, kind: Kind) -> None:
    server = serve(Fault(kind, on="metadata", after=100))
    assert fetch(tmp_path) == DATA
    assert len(server.requests) == 3


def test_endless_metadata_are_not_read_to_the_end(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zenodo, "_MAX_METADATA", 200_000)
    serve(Fault("endless", on="metadata", times=ALWAYS))
    refused(tmp_path, "are not JSON")


def test_the_variable_names_the_mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for wrong in ("zenodo.org", "file:///mirror", "http://"):
        monkeypatch.setenv("TEMPORAL_PAIRS_ZENODO_URL", wrong)
        with pytest.raises(OptionError, match="TEMPORAL_PAIRS_ZENODO_URL"):
            fetch(tmp_path)


# Trying again


@pytest.mark.parametrize("on", ["metadata", "file"])
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_passing_failures_are_tried_again_with_growing_waits(
    serve: Serve, tmp_path: Path, waits: list[float], on: Any, status: int
) -> None:
    serve(Fault("status", on=on, status=status, times=4))
    state = random.getstate()
    assert fetch(tmp_path) == DATA
    assert [wait for wait in waits if wait] == [2, 4, 8]  # the first retry is at once
    assert random.getstate() == state


def test_retry_after_wins_over_the_backoff(serve: Serve, tmp_path: Path, waits: list[float]) -> None:
    serve(
        Fault("status", status=503, retry_after="3", on="metadata"),
        Fault("status", status=429, retry_after="date+40"),
        Fault("status", status=429, retry_after="date+-60"),
    )
    assert fetch(tmp_path) == DATA
    seconds, date, past = (wait for wait in waits if wait)
    assert seconds == 3
    assert 38 <= date <= 40
    assert past == 2


@pytest.mark.parametrize("asked", ["soon", "-1", "9" * 5000, "Wed, 99 Oct 2015 07:28:00 +" + "9" * 20])
def test_a_senseless_retry_after_is_passed_over(serve: Serve, tmp_path: Path, waits: list[float], asked: str) -> None:
    serve(Fault("status", on="metadata", status=429, retry_after=asked, times=2))
    assert fetch(tmp_path) == DATA
    assert [wait for wait in waits if wait] == [2]


@pytest.mark.parametrize("asked", ["3600", "date+3600"])
def test_a_wait_beyond_the_limit_fails_at_once_and_is_told(
    serve: Serve, tmp_path: Path, waits: list[float], asked: str
) -> None:
    server = serve(Fault("status", status=429, retry_after=asked, times=ALWAYS))
    refused(tmp_path, r"429 Too Many Requests and asks to wait 3,(600|599) s, longer than the 300 s", server)
    assert (sum(waits), len(server.downloads)) == (0, 1)


@pytest.mark.parametrize("status", [400, 403, 404, 410, 418, 501])
def test_other_failures_are_final(serve: Serve, tmp_path: Path, status: int) -> None:
    server = serve(Fault("status", status=status, times=ALWAYS))
    refused(tmp_path, f"the server says {status} ", server)
    assert len(server.downloads) == 1
    server = serve(Fault("status", on="metadata", status=status, times=ALWAYS))
    refused(tmp_path, f"the server says {status} ")
    assert len(server.requests) == 1


def test_a_server_that_stays_ill_is_given_up(serve: Serve, tmp_path: Path) -> None:
    server = serve(Fault("status", status=503, times=ALWAYS))
    refused(tmp_path, "503 Service Unavailable", server)
    assert len(server.downloads) == 5
    assert not list(tmp_path.iterdir())


def test_no_network_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("TEMPORAL_PAIRS_ZENODO_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
    monkeypatch.setenv("no_proxy", "*")
    refused(tmp_path, r"no answer from 127\.0\.0\.1 \(.*Connection refused")
    assert sum(waits) == 14
    waits.clear()
    monkeypatch.setenv("TEMPORAL_PAIRS_ZENODO_URL", "https://zenodo.invalid")
    refused(tmp_path, r"no answer from zenodo\.invalid \(Failed to resolve")
    assert sum(waits) == 0  # a name that does not resolve is not asked for again


def test_a_redirect_is_followed_within_http_only(serve: Serve, tmp_path: Path) -> None:
    server = serve(Fault("redirect", text=f"/records/{RECORD}/files/{NAME}"))
    assert fetch(tmp_path) == DATA
    assert len(server.downloads) == 2
    serve(Fault("redirect", text="file:///etc/passwd"))
    refused(tmp_path, "file:///etc/passwd")


# Bodies that break


@pytest.mark.parametrize("kind", ["reset", "truncated", "truncated-unsized"])
def test_a_body_cut_short_is_resumed(serve: Serve, tmp_path: Path, kind: Kind) -> None:
    server = serve(Fault(kind, after=500_000))
    assert fetch(tmp_path) == DATA
    first, second = ranges(server)
    assert first is None
    assert 400_000 < int(str(second).removeprefix("bytes=").removesuffix("-")) <= 500_000
    assert not list(tmp_path.iterdir())


def test_a_silent_server_is_given_up_and_asked_for_the_rest(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zenodo, "_TIMEOUT", (5, 0.3))
    server = serve(Fault("slow", after=300_000, pause=60))
    assert fetch(tmp_path) == DATA
    assert str(ranges(server)[1]).startswith("bytes=2")


def test_attempts_that_bring_bytes_do_not_count_as_failed_but_are_bounded(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(Fault("truncated", after=70_000, times=12))
    assert fetch(tmp_path) == DATA
    assert len(server.downloads) == 13
    monkeypatch.setattr(zenodo, "_REQUESTS", 4)
    server = serve(Fault("truncated", after=150_000, times=ALWAYS))
    refused(tmp_path, r"attempt 4, the last\); what has arrived is kept", server)
    (kept,) = parts(tmp_path)
    assert kept == DATA[: len(kept)]
    assert len(kept) > 400_000


def test_starting_over_again_and_again_is_no_progress(serve: Serve, tmp_path: Path) -> None:
    server = serve(*[fault for _ in range(9) for fault in (Fault("truncated", after=150_000), Fault("no-range"))])
    refused(tmp_path, r"attempt 6, the last")
    assert len(server.downloads) == 11


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault("html", times=ALWAYS), "HTML page, not the file"),
        (Fault("truncated", times=ALWAYS), "the connection broke"),
        (Fault("truncated-unsized", times=ALWAYS), "the server stopped after 0 of 1,000,000 bytes"),
        (Fault("short", after=0, times=ALWAYS), "the server stopped after 0 of 1,000,000 bytes"),
        (Fault("corrupt", times=ALWAYS), f"what arrived has MD5 [0-9a-f]{{32}}, and the record gives {MD5}"),
        (Fault("endless", times=ALWAYS), "the server sends more than the 1,000,000 bytes"),
        (Fault("reset", times=ALWAYS), "the connection broke"),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_what_is_not_the_file_gives_an_error_and_leaves_nothing(
    serve: Serve, tmp_path: Path, fault: Fault, told: str
) -> None:
    refused(tmp_path, told, serve(fault))
    assert not list(tmp_path.iterdir())


def test_a_file_announced_as_shorter_is_completed(serve: Serve, tmp_path: Path) -> None:
    serve(Fault("short", after=400_000))
    assert fetch(tmp_path) == DATA


def test_a_wrong_checksum_in_the_metadata_gives_both(serve: Serve, tmp_path: Path) -> None:
    serve(Fault("wrong-md5", on="metadata"))
    wrong = hashlib.md5(DATA + b"?").hexdigest()
    with pytest.raises(DownloadError, match=f"what arrived has MD5 {MD5}, and the record gives {wrong}"):
        fetch(tmp_path)


# What an earlier call left


def test_an_earlier_part_is_continued_and_the_whole_is_checked(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    leave_part(tmp_path, DATA[:300_000])
    assert fetch(tmp_path) == DATA
    assert ranges(server) == ["bytes=300000-"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "asked"),
    [
        (DATA, []),
        (bytes(1_000_000), [None]),
        (bytes(300_000), ["bytes=300000-", None]),
        (DATA + b"more", [None]),
    ],
    ids=["whole", "other bytes", "other bytes, short", "longer"],
)
def test_a_part_is_used_for_what_it_is_worth(
    serve: Serve, tmp_path: Path, content: bytes, asked: list[str | None]
) -> None:
    server = serve()
    leave_part(tmp_path, content)
    assert fetch(tmp_path) == DATA
    assert ranges(server) == asked


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("ignore-range", ["bytes=300000-"]),
        ("wrong-range", ["bytes=300000-", None]),
        ("no-range", ["bytes=300000-", None]),
        ("corrupt", ["bytes=300000-", None]),
        ("endless", ["bytes=300000-", None]),
    ],
)
def test_a_server_that_cannot_resume_is_asked_for_the_whole(
    serve: Serve, tmp_path: Path, kind: Kind, asked: list[str | None]
) -> None:
    server = serve(Fault(kind))
    leave_part(tmp_path, DATA[:300_000])
    assert fetch(tmp_path) == DATA
    assert ranges(server) == asked


@pytest.mark.parametrize("fault", [Fault("html", times=ALWAYS), Fault("status", status=404, times=ALWAYS)])
def test_an_answer_that_is_not_the_file_leaves_the_part_alone(serve: Serve, tmp_path: Path, fault: Fault) -> None:
    serve(fault)
    leave_part(tmp_path, DATA[:300_000])
    with pytest.raises(DownloadError):
        fetch(tmp_path)
    assert parts(tmp_path) == [DATA[:300_000]]


def test_links_in_the_parts_place_are_never_written_through(serve: Serve, tmp_path: Path) -> None:
    serve()
    victim = tmp_path / "victim"
    victim.write_bytes(DATA[:300_000])
    leave_part(tmp_path, b"")
    (link,) = tmp_path.glob(f".*/{NAME}")
    link.unlink()
    link.symlink_to(victim)
    assert fetch(tmp_path) == DATA
    assert victim.read_bytes() == DATA[:300_000]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_leaves_the_part_for_the_next_call(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: signal.Signals
) -> None:
    monkeypatch.undo()
    server = serve(Fault("slow", after=100_000, pause=0.2))
    command = [sys.executable, "-c", MAKE_PART, str(tmp_path)]
    with subprocess.Popen(command, env=os.environ | server.environment, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while not any(parts(tmp_path)) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(end)
        process.wait()
    (part,) = parts(tmp_path)
    assert 0 < len(part) < len(DATA)
    assert fetch(tmp_path) == DATA
    assert ranges(server) == [None, f"bytes={len(part)}-"]
    assert not list(tmp_path.iterdir())


# The disk and the terminal


def test_a_full_disk_is_told_and_what_arrived_is_kept(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, unlimited[1]))
    try:
        assert "what has arrived is kept" in refused(tmp_path, r"cannot be written \(File too large\)", server)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    (part,) = parts(tmp_path)
    assert 200_000 < len(part) <= 300_000
    assert fetch(tmp_path) == DATA
    assert ranges(server) == [None, f"bytes={len(part)}-"]


def test_a_folder_that_cannot_be_written_is_told(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    (tmp_path / "file").touch()
    refused(tmp_path / "file" / "folder", r"cannot be written \(Not a directory\)", server)


class Terminal(io.StringIO):
    """A stderr that a person looks at."""

    def isatty(self) -> bool:
        return True


def test_a_progress_bar_is_shown_on_a_terminal_and_starts_at_the_part(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    leave_part(tmp_path, DATA[:300_000])
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    fetch(tmp_path)
    assert re.search(rf"{NAME}.* 30%\|.* 300k/1\.00M", shown.getvalue())
    assert "100%" in shown.getvalue()
    for stderr, progress in ((io.StringIO(), True), (Terminal(), False)):
        monkeypatch.setattr(sys, "stderr", stderr)
        with downloaded(RECORD, NAME, tmp_path, progress=progress):
            assert stderr.getvalue() == ""


def test_a_progress_bar_starts_over_with_the_download(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(Fault("ignore-range", times=ALWAYS))
    leave_part(tmp_path, DATA[:900_000])
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    fetch(tmp_path)
    percents = [int(percent) for percent in re.findall(r"(\d+)%", shown.getvalue())]
    assert min(percents) == 0
    assert max(percents) == 100


def test_the_server_refuses_the_name_of_python_requests(serve: Serve) -> None:
    with requests.get(f"{serve().url}/api/records/{RECORD}", timeout=5) as response:
        assert (response.status_code, response.headers["content-type"]) == (403, "text/html")


def test_metadata_are_json(serve: Serve) -> None:
    headers = {"User-Agent": "somebody"}
    with requests.get(f"{serve().url}/api/records/{RECORD}", headers=headers, timeout=5) as response:
        assert json.loads(response.text)["files"][0]["checksum"] == f"md5:{MD5}"
