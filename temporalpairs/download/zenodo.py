"""One file of a Zenodo record or another publisher: downloaded with resume, and checked before anybody may use it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.exceptions import InvalidHeader, MaxRetryError, NameResolutionError
from urllib3.util import Retry

from temporalpairs.errors import DownloadError, OptionError
from temporalpairs.files import abandoned, private_folder, remove_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from urllib3.response import BaseHTTPResponse

    from temporalpairs.download.cache import PublishedFile

URL_VARIABLE = "TEMPORAL_PAIRS_ZENODO_URL"
MIRROR_VARIABLE = "TEMPORAL_PAIRS_MIRROR_URL"
_ZENODO = "https://zenodo.org"
_ATTEMPTS = 5  # failures in a row, none of which brought a new byte
_REQUESTS = 100  # in all, those that brought some bytes included
_BACKOFF = 1.0  # seconds; each further wait is twice as long
_LONGEST_BACKOFF = 30  # seconds
_LONGEST_WAIT = 300  # seconds; Zenodo's limits are per minute and, too long to wait for, per hour
_TIMEOUT = (10, 60)  # seconds to connect, and without a byte
_CHUNK = 2**16  # bytes; what a dropped connection can lose of those that had arrived
_MAX_METADATA = 10_000_000  # bytes; a record of 100 files, Zenodo's limit, has less than a hundredth of it


@dataclass(frozen=True, slots=True)
class RecordFile:
    """One file, as the metadata of its Zenodo record (/api/records) or its publisher describe it.

    Attributes:
        url: where the bytes are.
        name: the file's name.
        size: the file's size in bytes.
        md5: the file's MD5, 32 lower-case hexadecimal digits; None where its publisher states none.
        license: the id of the record's license, such as "cc-by-4.0"; None where the record gives none.
    """

    url: str
    name: str
    size: int
    md5: str | None
    license: str | None


@contextmanager
def downloaded(record: int, name: str, folder: Path, *, progress: bool = True) -> Iterator[tuple[Path, RecordFile]]:
    """Download a file, check size and MD5, yield its path and what the record says of it, and remove it in the end.

    It lies in a folder of this process's own, .NAME.download-… in ``folder``. An interrupted download leaves that
    folder, and so does a block that fails; the next call resumes there.

    Args:
        record: the record's number.
        name: the file's name.
        folder: where to put it.
        progress: show a progress bar where stderr is a terminal.

    Raises:
        DownloadError: the file cannot be had, differs from what the record says, or cannot be written; the text tells
            how to fetch it by hand.
        OptionError: TEMPORAL_PAIRS_ZENODO_URL is not an http(s) address.
    """
    page = f"{_base()}/records/{record}"
    api = f"{_base()}/api/records/{record}"
    look_up = partial(_look_up, api=api, page=page, name=name)
    with _fetched(look_up, page, name, folder, progress=progress) as found:
        yield found


@contextmanager
def downloaded_from_publisher(
    published: PublishedFile, folder: Path, *, progress: bool = True
) -> Iterator[tuple[Path, RecordFile]]:
    """Download a file from its publisher, or the mirror that TEMPORAL_PAIRS_MIRROR_URL names, as `downloaded` does.

    The size is what the publisher states or the server announces; the MD5 is compared where the publisher states one.

    Raises:
        DownloadError: as for `downloaded`.
        OptionError: TEMPORAL_PAIRS_MIRROR_URL is not an http(s) address.
    """
    mirror = os.environ.get(MIRROR_VARIABLE, "").strip().rstrip("/")
    url = f"{_address(MIRROR_VARIABLE, mirror)}/{quote(published.name)}" if mirror else published.url
    look_up = partial(_look_at, published=published, url=url)
    with _fetched(look_up, url, published.name, folder, progress=progress) as found:
        yield found


@contextmanager
def _fetched(
    look_up: Callable[[requests.Session], RecordFile], page: str, name: str, folder: Path, *, progress: bool
) -> Iterator[tuple[Path, RecordFile]]:
    error = partial(DownloadError, url=page, filename=name, folder=folder)
    with ExitStack() as held, _session() as session:
        try:
            file = look_up(session)
            error = partial(error, size=file.size, md5=file.md5)
            private = held.enter_context(private_folder(folder / name, "download"))
            held.callback(_drop_if_empty, private / name)
            for left in abandoned(folder / name, "download"):
                part = left / name
                if part.is_file() and not part.is_symlink() and not (private / name).exists():
                    part.rename(private / name)
            _download(session, file, private / name, progress)
        except (_RefusedError, requests.RequestException) as problem:
            raise error(_reason(problem)) from None
        except OSError as problem:
            told = f"{problem.filename or folder / name} cannot be written ({problem.strerror})"
            raise error(f"{told}; mend that and call again, what has arrived is kept") from None
        yield private / name, file
        remove_folder(private)


class _RefusedError(Exception):
    """An answer that ends the download."""


class _MismatchError(_RefusedError):
    """What arrived is not the record's file."""


class _Patience(Retry):
    """Tries again as urllib3 does, but waits neither for hours nor for a host whose name does not resolve."""

    def increment(self, method: str | None = None, url: str | None = None, *args: Any, **more: Any) -> Self:
        error = more.get("error")
        if isinstance(getattr(error, "original_error", error), NameResolutionError):
            raise MaxRetryError(more["_pool"], url or "", error)
        return super().increment(method, url, *args, **more)

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        try:
            seconds = super().get_retry_after(response)
        except (InvalidHeader, ValueError, OverflowError):
            return None
        if seconds is not None and seconds > _LONGEST_WAIT:
            told = f"the server says {response.status} {response.reason} and asks to wait {seconds:,.0f} s"
            raise _RefusedError(f"{told}, longer than the {_LONGEST_WAIT} s that are waited here; call again later")
        return seconds


def _session() -> requests.Session:
    session = requests.Session()
    patience = _Patience(
        _ATTEMPTS - 1,
        status_forcelist=(429, 500, 502, 503, 504),
        backoff_factor=_BACKOFF,
        backoff_max=_LONGEST_BACKOFF,
        raise_on_status=False,
    )
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=patience))
    # Without "python-requests": that is the name which Zenodo answers with 403.
    agent = f"temporal-pairs/{version('temporal-pairs')} (requests/{requests.__version__})"
    session.headers.update({"User-Agent": agent, "Accept-Encoding": "identity"})
    return session


def _look_up(session: requests.Session, api: str, page: str, name: str) -> RecordFile:
    about = _json(session, api)
    try:
        files = {entry["key"]: entry for entry in about["files"]}
        if name not in files:
            raise _RefusedError(f"the record has no file of this name; it has {', '.join(sorted(files)) or 'none'}")
        size, md5 = int(files[name]["size"]), files[name]["checksum"].lower().removeprefix("md5:")
        license = about["metadata"].get("license")
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise _RefusedError(f"the metadata at {api} are not those of a record with files ({error!r:.100})") from None
    if size < 0 or not re.fullmatch("[0-9a-f]{32}", md5):
        raise _RefusedError(f"the record gives the size {size} and the checksum {md5:.100}, not bytes and an MD5")
    # The page's link honors Range, the API's does not (zenodo/zenodo#2593).
    url = f"{page}/files/{quote(name)}?download=1"
    return RecordFile(url, name, size, md5, license.get("id") if isinstance(license, dict) else license)


def _look_at(session: requests.Session, published: PublishedFile, url: str) -> RecordFile:
    size = published.size
    if size is None:
        with session.head(url, allow_redirects=True, timeout=_TIMEOUT) as response:
            _require(response, 200, "the file")
            announced = response.headers.get("Content-Length", "")
        if not announced.isdecimal():
            raise _RefusedError(f"the server does not say how large the file at {url} is")
        size = int(announced)
    return RecordFile(url, published.name, size, published.md5, None)


def _json(session: requests.Session, url: str) -> Any:
    problem = ""
    for attempt in range(_ATTEMPTS):
        time.sleep(_BACKOFF * attempt)
        with session.get(url, headers={"Accept": "application/json"}, stream=True, timeout=_TIMEOUT) as response:
            _require(response, 200, "the record's metadata")
            try:
                return json.loads(b"".join(islice(response.iter_content(_CHUNK), _MAX_METADATA // _CHUNK)))
            except (requests.RequestException, ValueError, RecursionError) as error:  # a connection that dropped?
                problem = _reason(error)
    raise _RefusedError(f"the metadata at {url} are not JSON ({problem})")


def _download(session: requests.Session, file: RecordFile, path: Path, progress: bool) -> None:
    """Complete and check a partial file; bytes of several calls that do not match get a second chance."""
    with path.open("ab") as body:
        resumed = body.tell() > 0
        try:
            _fill(session, file, body, progress)
        except _MismatchError:
            body.truncate(0)
            if not resumed:
                raise
            _fill(session, file, body, progress)


def _fill(session: requests.Session, file: RecordFile, body: IO[bytes], progress: bool) -> None:
    have = furthest = body.seek(0, os.SEEK_END)
    attempts = fruitless = 0
    hidden = None if progress else True  # None: off a terminal
    with tqdm(desc=file.name, total=file.size, unit="B", unit_scale=True, disable=hidden) as bar:
        while have != file.size:
            problem = _receive(session, file, body, bar, have if have < file.size else 0)
            have, attempts = body.seek(0, os.SEEK_END), attempts + 1
            fruitless, furthest = (0, have) if have > furthest else (fruitless + 1, furthest)
            if have != file.size and (fruitless == _ATTEMPTS or attempts == _REQUESTS):
                raise _RefusedError(f"{problem} (attempt {attempts}, the last); what has arrived is kept")
            time.sleep(min(_LONGEST_BACKOFF, _BACKOFF * (2**fruitless - 1)))
    if file.md5 is None:
        return
    with Path(body.name).open("rb") as whole:
        found = hashlib.file_digest(whole, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
    if found != file.md5:
        raise _MismatchError(f"what arrived has MD5 {found}, and the record gives {file.md5}")


def _receive(session: requests.Session, file: RecordFile, body: IO[bytes], bar: tqdm[Any], offset: int) -> str:
    """Ask for the bytes from an offset on, append what comes, and tell what ended it."""
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    with session.get(file.url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        span = re.fullmatch(rf"bytes {offset}-\d+/{file.size}", response.headers.get("Content-Range", ""))
        if offset and not span and response.status_code in (206, 416):
            return _receive(session, file, body, bar, 0)
        _require(response, 206 if span else 200, "the file")
        if not span:
            offset = body.truncate(0)
        bar.n = bar.initial = offset
        bar.refresh()
        try:
            for chunk in response.iter_content(_CHUNK):
                offset += len(chunk)
                if offset > file.size:
                    raise _MismatchError(f"the server sends more than the {file.size:,} bytes that the record gives")
                body.write(chunk)
                bar.update(len(chunk))
        except requests.RequestException as error:
            return f"the connection broke ({_reason(error)})"
    return f"the server stopped after {offset:,} of {file.size:,} bytes"


def _require(response: requests.Response, status: int, wanted: str) -> None:
    """Refuse an answer that cannot be what was asked for."""
    if response.status_code != status:
        raise _RefusedError(f"the server says {response.status_code} {response.reason} at {response.url}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise _RefusedError(f"the server answered with an HTML page, not {wanted}, at {response.url}")


def _base() -> str:
    return _address(URL_VARIABLE, os.environ.get(URL_VARIABLE, "").strip().rstrip("/") or _ZENODO)


def _address(variable: str, base: str) -> str:
    if not re.match(r"https?://[^/]", base):
        raise OptionError(f"{variable}={base!r} is not an address; give one such as {_ZENODO}, or unset it.")
    return base


def _reason(error: Exception) -> str:
    """Return what an exception of requests says at its heart, without the names of objects and pools."""
    cause = error.args[0] if error.args else error
    cause = getattr(cause, "reason", None) or cause
    words = str(cause.args[0] if isinstance(cause, Exception) and cause.args else cause)
    heart = re.sub(r"^(<[^>]*>|\w+\([^)]*\)): ", "", words)
    request = getattr(error, "request", None)
    return heart if request is None else f"no answer from {urlsplit(request.url).hostname} ({heart})"


def _drop_if_empty(path: Path) -> None:
    with suppress(OSError):
        if not path.stat().st_size:
            remove_folder(path.parent)
