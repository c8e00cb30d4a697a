"""Downloads from Zenodo, against a local server with its habits and faults."""

import errno
import hashlib
import io
import json
import os
import random
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import requests
from zenodo_server import Fault, ZenodoServer

from temporalpairs.download import zenodo
from temporalpairs.download.zenodo import RecordFile, RetryPolicy, download, find_file, record_page
from temporalpairs.errors import DownloadError, OptionError

RECORD = 3931823
NAME = "kitti.pickle"
DATA = random.Random(0).randbytes(1_000_000)
MD5 = hashlib.md5(DATA).hexdigest()
QUICK = RetryPolicy(
    attempts=3, requests=20, base=0.01, cap=0.02, longest_wait=5.0, connect_timeout=5.0, read_timeout=5.0
)
ALWAYS = None
DATE = "Wed, 21 Oct 2015 07:28:00"


@pytest.fixture
def serve(monkeypatch, request):
    """Start servers that the package then asks instead of Zenodo."""

    def start(*faults, files=None, **options):
        server = ZenodoServer({NAME: DATA} if files is None else files, faults=faults, **options)
        request.addfinalizer(lambda: server.__exit__(None, None, None))
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        return server.__enter__()

    return start


@pytest.fixture
def waits():
    return []


@pytest.fixture
def patient(waits):
    """A policy that notes its waits instead of waiting."""
    return replace(QUICK, sleep=waits.append)


def find(folder, name=NAME, policy=QUICK):
    return find_file(RECORD, name, folder=folder, policy=policy)


def fetch(folder, policy=QUICK):
    return download(find(folder), folder, policy=policy)


def partial(folder, content=None):
    """Return the path of the partial file, with this content where some is given."""
    path = folder / f".{NAME}.part"
    if content is not None:
        path.write_bytes(content)
    return path


def ranges(server):
    return [request.headers.get("range") for request in server.downloads]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def by_hand(error, folder, server):
    """Tell whether an error gives the manual way out: address, size, MD5, folder, and the sample."""
    text = str(error)
    facts = (f"{server.url}/records/{RECORD}", f"{len(DATA):,} bytes", MD5, str(folder), 'source="sample"')
    return all(fact in text for fact in facts)


# The record's metadata


@pytest.mark.parametrize("shape", ["key", "filename", "entries", "entries-inline"])
def test_each_shape_of_the_metadata_leads_to_the_file(serve, tmp_path, waits, patient, shape):
    serve(shape=shape, files={"other.csv": b"frame,id", NAME: DATA})
    file = find(tmp_path, policy=patient)
    assert (file.record, file.name, file.size, file.md5, file.license) == (RECORD, NAME, len(DATA), MD5, "cc-by-4.0")
    assert download(file, tmp_path, policy=patient).read_bytes() == DATA
    assert waits == []  # although every answer, good ones too, carries Zenodo's Retry-After: 59


def test_requests_identify_the_package_and_take_bytes_as_they_are(serve, tmp_path):
    server = serve()
    fetch(tmp_path)
    assert len(server.requests) == 2
    for request in server.requests:
        agent = request.headers["user-agent"]
        assert re.fullmatch(rf"temporal-pairs/{version('temporal-pairs')} \(\+https://\S+; requests/[\d.]+\)", agent)
        assert request.headers["accept-encoding"] == "identity"
    assert server.requests[0].headers["accept"] == "application/json"


@pytest.mark.parametrize("record", [{"files": {}}, {"files": None}, {}, {"files": []}, {"files": {"enabled": True}}])
def test_a_record_without_a_list_of_files_is_asked_for_it(serve, tmp_path, record):
    serve(Fault("text", on="metadata", text=json.dumps(record)), shape="entries")
    assert find(tmp_path).md5 == MD5


def test_a_mirror_of_zenodos_metadata_serves_the_bytes_too(serve, tmp_path):
    server = serve(links="https://zenodo.org")
    file = find(tmp_path)
    assert file.url == f"{server.url}/api/records/{RECORD}/files/{NAME}/content"
    assert download(file, tmp_path).read_bytes() == DATA


@pytest.mark.parametrize(
    ("links", "path"),
    [
        ({"self": f"/api/records/{RECORD}/files/{NAME}/content"}, f"/api/records/{RECORD}/files/{NAME}/content"),
        ({"download": "/d", "self": "/s"}, "/d"),
        ({"content": "/c", "download": "/d", "self": "/s"}, "/c"),
        ({"content": f"https://zenodo.org/api/records/{RECORD}/draft/files/{NAME}/content", "self": "/s"}, "/s"),
        ({"content": "http://zenodo.org/c?x=1"}, "/c?x=1"),
        ({}, f"/records/{RECORD}/files/{NAME}?download=1"),
        (..., f"/records/{RECORD}/files/{NAME}?download=1"),
        ({"self": 3}, f"/records/{RECORD}/files/{NAME}?download=1"),
    ],
)
def test_links_are_chosen_by_preference_and_joined_to_the_base(serve, tmp_path, links, path):
    server = serve(patch={"links": links})
    assert find(tmp_path).url == server.url + path


@pytest.mark.parametrize("shape", ["filename", "entries", "entries-inline"])
def test_a_self_link_that_is_not_the_file_is_never_followed(serve, tmp_path, shape):
    server = serve(shape=shape, patch={"links": {"self": "/elsewhere"}})
    assert find(tmp_path).url == f"{server.url}/records/{RECORD}/files/{NAME}?download=1"


@pytest.mark.parametrize("end", [NAME, f"{NAME}/content"])
def test_beside_filename_a_self_link_that_names_the_file_is_followed(serve, tmp_path, end):
    server = serve(shape="filename", patch={"links": {"self": f"/api/files/bucket/{end}"}})
    assert find(tmp_path).url == f"{server.url}/api/files/bucket/{end}"


def test_a_link_to_another_server_is_kept(serve, tmp_path):
    serve(patch={"links": {"self": "https://objects.example.org/x/y"}})
    assert find(tmp_path).url == "https://objects.example.org/x/y"


@pytest.mark.parametrize("link", ["file:///etc/passwd", "ftp://zenodo.org/x", "http://[", "http://:80/x"])
def test_a_link_that_is_not_http_is_refused(serve, tmp_path, link):
    server = serve(patch={"links": {"self": link}})
    with pytest.raises(DownloadError, match=re.escape(repr(link))) as caught:
        find(tmp_path)
    assert by_hand(caught.value, tmp_path, server)


def test_a_redirect_is_followed_within_http_only(serve, tmp_path):
    server = serve(Fault("redirect", text=f"/records/{RECORD}/files/{NAME}"))
    assert fetch(tmp_path).read_bytes() == DATA
    assert len(server.downloads) == 2
    serve(Fault("redirect", text="file:///etc/passwd"))
    with pytest.raises(DownloadError, match="file:///etc/passwd"):
        fetch(tmp_path)


def test_a_name_that_needs_quoting_is_found_and_fetched(serve, tmp_path):
    name = "a b#c?ü.bin"
    for links in ({}, None):
        server = serve(files={name: DATA}, patch={} if links is None else {"links": links})
        assert download(find(tmp_path, name), tmp_path).read_bytes() == DATA
        assert tmp_path.joinpath(name).exists()
        assert len(server.downloads) == 1


@pytest.mark.parametrize(
    ("given", "license"),
    [
        ({"id": "cc-by-nc-sa-3.0"}, "cc-by-nc-sa-3.0"),
        ("CC-BY-4.0", "CC-BY-4.0"),
        ([{"id": "cc0-1.0", "title": {"en": "Zero"}}], "cc0-1.0"),
        ([], None),
        ([{"title": {"en": "Own"}}], None),
        ({}, None),
        (7, None),
    ],
)
def test_the_license_is_told_where_it_is_given(serve, tmp_path, given, license):
    serve(license=given)
    assert find(tmp_path).license == license


def test_a_missing_name_is_told_with_those_that_exist(serve, tmp_path):
    serve(files={"b.csv": b"b", "a.pickle": b"a"})
    with pytest.raises(DownloadError, match=r"no file of this name; it has a\.pickle, b\.csv"):
        find(tmp_path)
    serve(files={})
    with pytest.raises(DownloadError, match="it has none"):
        find(tmp_path)


@pytest.mark.parametrize(
    "patch",
    [
        {"checksum": "md5:xyz"},
        {"checksum": "sha256:" + "0" * 64},
        {"checksum": "0" * 31},
        {"checksum": None},
        {"checksum": ...},
        {"size": -1},
        {"size": "1000"},
        {"size": True},
        {"size": 1.5},
        {"size": float("inf")},
        {"size": float("nan")},
        {"size": ...},
    ],
    ids=str,
)
def test_a_senseless_size_or_checksum_is_refused(serve, tmp_path, patch):
    serve(patch=patch)
    with pytest.raises(DownloadError, match="should give its size in bytes and its MD5"):
        find(tmp_path)


def test_sizes_as_floats_and_bare_checksums_in_capitals_are_understood(serve, tmp_path):
    serve(patch={"size": float(len(DATA)), "checksum": MD5.upper()})
    file = find(tmp_path)
    assert (file.size, type(file.size), file.md5) == (len(DATA), int, MD5)


@pytest.mark.parametrize("text", ["", "{", "nonsense", '{"files": [', "[" * 100_000, "\xff", "9" * 5000])
def test_metadata_that_are_not_json_fail_after_the_attempts(serve, tmp_path, text):
    server = serve(Fault("text", on="metadata", times=ALWAYS, text=text))
    with pytest.raises(DownloadError, match="are not JSON"):
        find(tmp_path)
    assert len(server.requests) == QUICK.attempts


@pytest.mark.parametrize("text", ["[]", "null", '"files"', "3"])
def test_metadata_of_another_form_are_refused(serve, tmp_path, text):
    serve(Fault("text", on="metadata", text=text))
    with pytest.raises(DownloadError, match="where an object was expected"):
        find(tmp_path)


@pytest.mark.parametrize("files", ['"x"', "[1, null]", '{"entries": 3}', '{"entries": {"kitti.pickle": 1}}', "[{}]"])
def test_lists_of_files_of_another_form_hold_no_file(serve, tmp_path, files):
    serve(
        Fault("text", on="metadata", text=f'{{"files": {files}}}'),
        Fault("text", on="metadata", text=files),
    )
    with pytest.raises(DownloadError, match="it has none"):
        find(tmp_path)


def test_endless_metadata_are_not_read_to_the_end(serve, tmp_path):
    serve(Fault("endless", on="metadata", times=ALWAYS))
    with pytest.raises(DownloadError, match=r"longer than 10,000,000 bytes"):
        find(tmp_path)


def test_metadata_cut_short_are_asked_for_again(serve, tmp_path):
    for kind in ("reset", "truncated", "truncated-unsized", "short"):
        server = serve(Fault(kind, on="metadata", after=100))
        assert find(tmp_path).md5 == MD5
        assert len(server.requests) == 2


def test_an_html_page_instead_of_metadata_is_named(serve, tmp_path):
    server = serve(Fault("html", on="metadata", times=ALWAYS))
    with pytest.raises(DownloadError, match="HTML page, not the record's metadata") as caught:
        find(tmp_path)
    assert f"{server.url}/records/{RECORD}" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert len(server.requests) == 1


def test_the_variable_names_the_mirror(monkeypatch):
    monkeypatch.delenv("TEMPORAL_PAIRS_ZENODO_URL", raising=False)
    assert record_page(RECORD) == "https://zenodo.org/records/3931823"
    monkeypatch.setenv("TEMPORAL_PAIRS_ZENODO_URL", "http://mirror.example.org/zenodo//")
    assert record_page(RECORD) == "http://mirror.example.org/zenodo/records/3931823"
    monkeypatch.setenv("TEMPORAL_PAIRS_ZENODO_URL", "")
    assert record_page(RECORD) == "https://zenodo.org/records/3931823"
    for wrong in ("zenodo.org", "file:///mirror", "http://"):
        monkeypatch.setenv("TEMPORAL_PAIRS_ZENODO_URL", wrong)
        with pytest.raises(OptionError, match="TEMPORAL_PAIRS_ZENODO_URL"):
            record_page(RECORD)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc/passwd", "a\0b", "a\\b"])
def test_a_name_that_leads_out_of_the_folder_is_refused(name):
    with pytest.raises(OptionError, match="plain file"):
        RecordFile(RECORD, name, 1, MD5, "https://zenodo.org/x", None)


# Trying again


@pytest.mark.parametrize("on", ["metadata", "file"])
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_passing_failures_are_tried_again_with_growing_waits(serve, tmp_path, waits, on, status):
    serve(Fault("status", on=on, status=status, times=3))
    patient = RetryPolicy(attempts=4, base=1.0, cap=3.0, sleep=waits.append)
    before = random.getstate()
    assert download(find(tmp_path, policy=patient), tmp_path, policy=patient).read_bytes() == DATA
    assert [wait > 0.49 for wait in waits] == [True] * 3
    assert [wait <= longest for wait, longest in zip(waits, (1.0, 2.0, 3.0), strict=True)] == [True] * 3
    assert waits[2] >= 1.5
    assert random.getstate() == before


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("asked", "least", "most"), [("3", 3, 3), ("0", 0, 0), ("date+4", 3, 4.01), ("date+-60", 0, 0)]
)
def test_retry_after_wins_over_the_backoff(serve, tmp_path, waits, patient, status, asked, least, most):
    serve(
        Fault("status", status=status, retry_after=asked), Fault("status", on="metadata", status=429, retry_after=asked)
    )
    download(find(tmp_path, policy=patient), tmp_path, policy=patient)
    assert len(waits) == 2
    assert all(least <= wait <= most for wait in waits)


@pytest.mark.parametrize("clock", [-7200, 7200])
def test_a_retry_after_date_is_read_by_the_servers_clock(serve, tmp_path, waits, patient, clock):
    serve(Fault("status", on="metadata", status=429, retry_after="date+3"), clock=clock)
    find(tmp_path, policy=patient)
    assert len(waits) == 1
    assert 2 <= waits[0] <= 3


@pytest.mark.parametrize(
    "asked", ["soon", "-1", "1.5", "9" * 5000, "Wed, 99 Oct 2015 07:28:00 GMT", DATE + " +" + "9" * 20]
)
def test_a_senseless_retry_after_is_passed_over(serve, tmp_path, waits, patient, asked):
    serve(Fault("status", on="metadata", status=429, retry_after=asked))
    find(tmp_path, policy=patient)
    assert len(waits) == 1
    assert waits[0] <= QUICK.cap


@pytest.mark.parametrize("asked", ["3600", "date+3600"])
def test_a_wait_beyond_the_limit_fails_at_once_and_is_told(serve, tmp_path, waits, patient, asked):
    server = serve(Fault("status", status=429, retry_after=asked, times=ALWAYS))
    with pytest.raises(DownloadError, match=r"429 Too Many Requests and asked to wait 3,(600|599) s") as caught:
        fetch(tmp_path, policy=patient)
    assert "longer than the 5 s" in str(caught.value)
    assert by_hand(caught.value, tmp_path, server)
    assert (waits, len(server.downloads)) == ([], 1)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418, 501])
def test_other_failures_are_final(serve, tmp_path, status):
    server = serve(Fault("status", status=status, times=ALWAYS))
    with pytest.raises(DownloadError, match=f"the server says {status} ") as caught:
        fetch(tmp_path)
    assert by_hand(caught.value, tmp_path, server)
    assert len(server.downloads) == 1
    server = serve(Fault("status", on="metadata", status=status, times=ALWAYS))
    with pytest.raises(DownloadError, match=f"the server says {status} "):
        fetch(tmp_path)
    assert len(server.requests) == 1


def test_a_server_that_stays_ill_is_given_up(serve, tmp_path, waits, patient):
    server = serve(Fault("status", status=503, times=ALWAYS))
    with pytest.raises(DownloadError, match=r"503 Service Unavailable \(attempt 3, the last\)") as caught:
        fetch(tmp_path, policy=patient)
    assert by_hand(caught.value, tmp_path, server)
    assert (len(server.downloads), len(waits)) == (3, 2)


def test_every_wait_is_logged(serve, tmp_path, caplog, patient):
    serve(Fault("status", status=429, retry_after="2"))
    fetch(tmp_path, policy=patient)
    assert [record.getMessage() for record in caplog.records] == [
        f"{NAME}: the server says 429 Too Many Requests; trying again in 2.0 s"
    ]


# Interrupted bodies


@pytest.mark.parametrize("kind", ["reset", "truncated", "truncated-unsized"])
def test_a_body_cut_short_is_resumed(serve, tmp_path, kind):
    server = serve(Fault(kind, after=500_000))
    assert fetch(tmp_path).read_bytes() == DATA
    first, second = ranges(server)
    assert first is None
    assert 400_000 < int(re.fullmatch(r"bytes=(\d+)-", second)[1]) <= 500_000
    assert names(tmp_path) == [NAME]


def test_a_silent_server_is_given_up_and_asked_for_the_rest(serve, tmp_path):
    server = serve(Fault("slow", after=300_000, pause=60))
    start = time.monotonic()
    assert fetch(tmp_path, policy=replace(QUICK, read_timeout=0.3)).read_bytes() == DATA
    assert time.monotonic() - start < 10
    assert ranges(server)[1].startswith("bytes=2")


def test_a_slow_body_is_no_failure(serve, tmp_path, waits, patient):
    serve(Fault("slow", after=100_000, pause=0.02))
    assert fetch(tmp_path, policy=patient).read_bytes() == DATA
    assert waits == []


def test_attempts_that_bring_bytes_do_not_count_as_failed(serve, tmp_path):
    server = serve(Fault("truncated", after=150_000, times=6))
    assert fetch(tmp_path, policy=replace(QUICK, attempts=2)).read_bytes() == DATA
    assert len(server.downloads) == 7


def test_attempts_are_bounded_even_if_they_bring_bytes(serve, tmp_path):
    server = serve(Fault("truncated", after=150_000, times=ALWAYS))
    with pytest.raises(DownloadError, match="attempt 4, the last") as caught:
        fetch(tmp_path, policy=replace(QUICK, requests=4))
    assert by_hand(caught.value, tmp_path, server)
    assert len(server.downloads) == 4
    kept = partial(tmp_path).read_bytes()
    assert kept == DATA[: len(kept)]
    assert len(kept) > 400_000
    assert stat.S_IMODE(partial(tmp_path).stat().st_mode) == 0o600


def test_starting_over_again_and_again_is_no_progress(serve, tmp_path):
    server = serve(
        *[fault for _ in range(9) for fault in (Fault("truncated", after=150_000), Fault("no-range", times=2))]
    )
    with pytest.raises(DownloadError, match=r"attempt 3, the last"):
        fetch(tmp_path)
    assert len(server.downloads) == 7


# The partial file of an earlier call


def test_an_earlier_part_is_continued_and_the_whole_is_checked(serve, tmp_path):
    server = serve()
    partial(tmp_path, DATA[:300_000])
    assert fetch(tmp_path).read_bytes() == DATA
    assert ranges(server) == ["bytes=300000-"]
    assert names(tmp_path) == [NAME]


def test_a_complete_part_needs_no_request(serve, tmp_path):
    server = serve()
    partial(tmp_path, DATA)
    assert fetch(tmp_path).read_bytes() == DATA
    assert server.downloads == []


@pytest.mark.parametrize("length", [300_000, 1_000_000])
def test_a_part_with_other_content_is_replaced(serve, tmp_path, length):
    server = serve()
    partial(tmp_path, bytes(length))
    assert fetch(tmp_path).read_bytes() == DATA
    assert ranges(server)[-1] is None


def test_a_part_longer_than_the_file_is_discarded(serve, tmp_path):
    server = serve()
    partial(tmp_path, DATA + b"more")
    assert fetch(tmp_path).read_bytes() == DATA
    assert ranges(server) == [None]


@pytest.mark.parametrize("kind", ["ignore-range", "wrong-range", "no-range"])
def test_a_server_that_cannot_resume_is_asked_for_the_whole(serve, tmp_path, kind):
    server = serve(Fault(kind, times=ALWAYS))
    partial(tmp_path, DATA[:300_000])
    assert fetch(tmp_path).read_bytes() == DATA
    assert ranges(server) == ["bytes=300000-", "bytes=300000-", None]


def test_a_resumed_file_of_another_length_is_asked_for_anew(serve, tmp_path):
    server = serve()
    file = find(tmp_path)
    partial(tmp_path, DATA[:300_000])
    server.files[NAME] = DATA + b"more"
    with pytest.raises(DownloadError, match="the server has 1000004 bytes, and the record gives 1000000"):
        download(file, tmp_path, policy=QUICK)
    assert ranges(server)[:3] == ["bytes=300000-", "bytes=300000-", None]


def test_the_pages_link_resumes_where_the_api_does_not(serve, tmp_path):
    server = serve(Fault("truncated", after=500_000), content_ranges=False)
    assert fetch(tmp_path).read_bytes() == DATA
    api, page = f"/api/records/{RECORD}/files/{NAME}/content", f"/records/{RECORD}/files/{NAME}?download=1"
    assert [request.path for request in server.downloads] == [api, api, page]


@pytest.mark.parametrize("fault", [Fault("html", times=ALWAYS), Fault("status", status=404, times=ALWAYS)])
def test_an_answer_that_is_not_the_file_leaves_the_part_alone(serve, tmp_path, fault):
    serve(fault)
    partial(tmp_path, DATA[:300_000])
    with pytest.raises(DownloadError):
        fetch(tmp_path)
    assert partial(tmp_path).read_bytes() == DATA[:300_000]


def test_links_in_the_parts_place_are_removed_and_never_written_through(serve, tmp_path):
    folder = tmp_path / "cache"
    for make in (Path.symlink_to, Path.hardlink_to):
        folder.mkdir()
        serve()
        victim = tmp_path / "victim"
        victim.write_bytes(DATA[:300_000])
        make(partial(folder), victim)
        assert fetch(folder).read_bytes() == DATA
        assert victim.read_bytes() == DATA[:300_000]
        assert not (folder / NAME).is_symlink()
        folder.joinpath(NAME).unlink()
        folder.rmdir()


def test_a_pipe_in_the_parts_place_is_removed(serve, tmp_path):
    serve()
    os.mkfifo(partial(tmp_path))
    assert fetch(tmp_path).read_bytes() == DATA


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_part_of_another_user_is_not_trusted(serve, tmp_path):
    server = serve()
    os.chown(partial(tmp_path, DATA[:300_000]), 12345, 12345)
    assert fetch(tmp_path).stat().st_uid == 0
    assert ranges(server) == [None]


def test_an_open_part_is_made_private(serve, tmp_path):
    serve(Fault("status", status=404, times=ALWAYS))
    partial(tmp_path, DATA[:300_000]).chmod(0o666)
    with pytest.raises(DownloadError):
        fetch(tmp_path)
    assert stat.S_IMODE(partial(tmp_path).stat().st_mode) == 0o600


def test_ctrl_c_leaves_the_part_for_the_next_call(serve, tmp_path):
    server = serve(Fault("slow", after=100_000, pause=0.2))
    script = (
        "import signal, sys; from pathlib import Path; from temporalpairs.download.zenodo import download, find_file\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore SIGINT
        f"folder = Path(sys.argv[1]); download(find_file({RECORD}, {NAME!r}, folder=folder), folder)"
    )
    environment = os.environ | server.environment
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env=environment, stderr=subprocess.PIPE)
    with process:
        deadline = time.monotonic() + 20
        while not (partial(tmp_path).exists() and partial(tmp_path).stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in process.stderr.read()
    length = partial(tmp_path).stat().st_size
    assert 0 < length < len(DATA)
    assert not (tmp_path / NAME).exists()
    assert fetch(tmp_path).read_bytes() == DATA
    assert ranges(server) == [None, f"bytes={length}-"]


# What is not the record's file


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault("html", times=ALWAYS), "HTML page, not the file"),
        (Fault("truncated", times=ALWAYS), r"the connection broke|the server stopped after 0 of 1,000,000 bytes"),
        (Fault("truncated-unsized", times=ALWAYS), "the server stopped after 0 of 1,000,000 bytes"),
        (Fault("short", after=400_000, times=ALWAYS), "the server has 400000 bytes, and the record gives 1000000"),
        (Fault("corrupt", times=ALWAYS), "what arrived has MD5 [0-9a-f]{32}, and the record gives " + MD5),
        (Fault("endless", times=ALWAYS), "the server sends more than the 1,000,000 bytes"),
        (Fault("reset", times=ALWAYS), "the connection broke"),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_what_is_not_the_file_gives_an_error_with_the_manual_way_out(serve, tmp_path, fault, told):
    server = serve(fault)
    with pytest.raises(DownloadError, match=told) as caught:
        fetch(tmp_path)
    assert by_hand(caught.value, tmp_path, server)
    assert not (tmp_path / NAME).exists()
    kept = partial(tmp_path)
    assert not kept.exists() or kept.stat().st_size == 0


def test_a_wrong_checksum_in_the_metadata_gives_both(serve, tmp_path):
    server = serve(Fault("wrong-md5", on="metadata"))
    wrong = hashlib.md5(DATA + b"?").hexdigest()
    with pytest.raises(DownloadError, match=f"what arrived has MD5 {MD5}, and the record gives {wrong}"):
        fetch(tmp_path)
    assert names(tmp_path) == []
    assert len(server.downloads) == 1


def test_a_resumed_download_that_mismatches_is_tried_afresh_once(serve, tmp_path):
    server = serve(Fault("corrupt", times=1))
    partial(tmp_path, DATA[:300_000])
    assert fetch(tmp_path).read_bytes() == DATA
    assert ranges(server) == ["bytes=300000-", None]
    (tmp_path / NAME).unlink()
    server = serve(Fault("corrupt", times=2))
    partial(tmp_path, DATA[:300_000])
    with pytest.raises(DownloadError, match="what arrived has MD5"):
        fetch(tmp_path)
    assert ranges(server) == ["bytes=300000-", None]
    assert names(tmp_path) == []


def test_an_endless_body_does_not_fill_the_disk(serve, tmp_path):
    server = serve(Fault("endless", times=ALWAYS))
    partial(tmp_path, DATA[:300_000])
    with pytest.raises(DownloadError, match="sends more than"):
        fetch(tmp_path)
    assert ranges(server) == ["bytes=300000-", None]
    assert names(tmp_path) == []


def test_no_network_gives_the_manual_way_out(serve, tmp_path, monkeypatch):
    server = serve()
    file = find(tmp_path)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}"
    monkeypatch.setenv("TEMPORAL_PAIRS_ZENODO_URL", nowhere)
    with pytest.raises(DownloadError, match=r"no answer from 127\.0\.0\.1 \(.*Connection refused") as caught:
        find(tmp_path)
    for fact in (f"{nowhere}/records/{RECORD}", NAME, str(tmp_path), 'source="sample"'):
        assert fact in str(caught.value)
    assert "object at 0x" not in str(caught.value)
    monkeypatch.setenv("TEMPORAL_PAIRS_ZENODO_URL", server.url)
    with pytest.raises(DownloadError, match="no answer") as caught:
        download(replace(file, url=f"{nowhere}/x"), tmp_path, policy=QUICK)
    assert by_hand(caught.value, tmp_path, server)


def test_an_address_of_another_scheme_is_not_asked_for(serve, tmp_path):
    serve()
    with pytest.raises(DownloadError, match="file:///etc/passwd cannot be asked for"):
        download(replace(find(tmp_path), url="file:///etc/passwd"), tmp_path, policy=QUICK)


def test_an_empty_file_is_a_file(serve, tmp_path):
    serve(files={NAME: b""})
    assert fetch(tmp_path / "new" / "folder").read_bytes() == b""


# The disk and the terminal


def test_a_file_of_that_name_is_replaced_only_by_a_good_one(serve, tmp_path):
    target = tmp_path / NAME
    target.write_bytes(b"old")
    serve(Fault("corrupt"))
    with pytest.raises(DownloadError):
        fetch(tmp_path)
    assert target.read_bytes() == b"old"
    assert fetch(tmp_path) == target
    assert target.read_bytes() == DATA


def test_a_full_disk_is_told_and_what_arrived_is_kept(serve, tmp_path, monkeypatch):
    class FullDisk(io.FileIO):
        def write(self, data):
            if self.tell() + len(data) > 300_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    server = serve()
    path = partial(tmp_path, b"")
    monkeypatch.setattr(zenodo, "_open_private", lambda path: io.BufferedRandom(FullDisk(path, "r+")))
    with pytest.raises(DownloadError, match=r"cannot be written \(No space left on device\)") as caught:
        fetch(tmp_path)
    assert by_hand(caught.value, tmp_path, server)
    assert "what has arrived is kept" in str(caught.value)
    length = path.stat().st_size
    assert path.read_bytes() == DATA[:length]
    assert length > 200_000
    monkeypatch.undo()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    assert fetch(tmp_path).read_bytes() == DATA
    assert ranges(server) == [None, f"bytes={length}-"]


def test_a_folder_that_cannot_be_written_is_told(serve, tmp_path):
    server = serve()
    in_the_way = tmp_path / "file"
    in_the_way.write_bytes(b"")
    with pytest.raises(DownloadError, match=r"cannot be written \(Not a directory\)") as caught:
        fetch(in_the_way / "folder")
    assert by_hand(caught.value, in_the_way / "folder", server)
    partial(tmp_path).mkdir()
    with pytest.raises(DownloadError, match=r"\.part cannot be written \((Is a directory|Operation not permitted)\)"):
        fetch(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_without_permission_is_told(serve, tmp_path):
    serve()
    tmp_path.chmod(0o500)
    with pytest.raises(DownloadError, match=r"cannot be written \(Permission denied\)"):
        fetch(tmp_path)


class Terminal(io.StringIO):
    """A stderr that a person looks at."""

    def isatty(self):
        return True


def test_a_progress_bar_is_shown_on_a_terminal_and_starts_at_the_part(serve, tmp_path, monkeypatch):
    serve()
    partial(tmp_path, DATA[:300_000])
    monkeypatch.setattr(sys, "stderr", Terminal())
    fetch(tmp_path)
    shown = sys.stderr.getvalue()
    assert NAME in shown
    assert re.search(r" 30%\|.* 300k/1\.00M", shown)
    assert "100%" in shown


def test_a_progress_bar_starts_over_with_the_download(serve, tmp_path, monkeypatch):
    serve(Fault("ignore-range", times=ALWAYS))
    partial(tmp_path, DATA[:900_000])
    monkeypatch.setattr(sys, "stderr", Terminal())
    fetch(tmp_path)
    assert [int(percent) for percent in re.findall(r"(\d+)%", sys.stderr.getvalue())][:2] == [90, 0]
    assert max(int(percent) for percent in re.findall(r"(\d+)%", sys.stderr.getvalue())) == 100


def test_no_progress_bar_is_shown_off_a_terminal_or_where_none_is_wanted(serve, tmp_path, monkeypatch):
    serve()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    fetch(tmp_path)
    assert sys.stderr.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", Terminal())
    download(find(tmp_path), tmp_path, progress=False)
    assert sys.stderr.getvalue() == ""


def test_the_module_is_cheap_to_import():
    script = "import sys, temporalpairs.download.zenodo; print({'torch', 'zarr', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# The server itself


def test_the_server_refuses_the_name_of_python_requests(serve, tmp_path):
    server = serve()
    with requests.get(f"{server.url}/api/records/{RECORD}", timeout=5) as response:
        assert (response.status_code, response.headers["content-type"]) == (403, "text/html")
