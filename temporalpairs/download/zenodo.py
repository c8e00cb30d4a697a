"""The files of a Zenodo record: `find_file` reads what the record says of one, `download` fetches and checks it.

Whatever goes wrong for good is a `DownloadError`, whose text tells how to fetch the file by hand. The caller holds the
lock: no two processes may download one file into one folder at the same time.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import random
import re
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from importlib.metadata import metadata
from pathlib import Path
from typing import NoReturn, TypeVar
from urllib.parse import quote, urljoin, urlsplit

import requests
from tqdm import tqdm

from temporalpairs.download.zenodo_record import by_name, license_of, md5_of, names_file, size_of, trusted_link
from temporalpairs.errors import DownloadError, OptionError

URL_VARIABLE = "TEMPORAL_PAIRS_ZENODO_URL"
_ZENODO = "https://zenodo.org"
_MAX_METADATA = 10_000_000  # bytes; a record of 100 files, Zenodo's limit, has less than a hundredth of it
_CHUNK = 2**16  # bytes; what a dropped connection can lose of those that had arrived
_RETRIED = frozenset({429, 500, 502, 503, 504})
_LOGGER = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True)
class RetryPolicy:
    """How patiently a server is asked again; all times are in seconds."""

    attempts: int = 5  # failures in a row, none of which brought a new byte
    requests: int = 100  # attempts in all, those that brought some bytes included
    base: float = 1.0  # the first wait; each further one is twice as long, less up to a half at random
    cap: float = 30.0  # the longest wait that doubling leads to
    longest_wait: float = 300.0  # the longest Retry-After; Zenodo's limits are per minute and, too long, per hour
    connect_timeout: float = 10.0
    read_timeout: float = 60.0  # without a byte
    sleep: Callable[[float], None] = time.sleep


DEFAULT_POLICY = RetryPolicy()


@dataclass(frozen=True)
class RecordFile:
    """One file of a Zenodo record, as the record's metadata describe it.

    Raises:
        OptionError: the name is not that of a plain file.
    """

    record: int
    name: str
    size: int  # in bytes
    md5: str  # 32 lower-case hexadecimal digits
    url: str  # where the bytes are
    license: str | None  # the license's id, such as "cc-by-4.0", where the record gives one

    def __post_init__(self) -> None:
        if self.name in {"", ".", ".."} or set("/\\\0") & set(self.name):
            raise OptionError(f"name={self.name!r} does not name a plain file; give a name without folders.")


def record_page(record: int) -> str:
    """Return the address of a record's page for people, on the mirror where one is set.

    Raises:
        OptionError: TEMPORAL_PAIRS_ZENODO_URL is not an http(s) address.
    """
    return f"{_base()}/records/{record}"


def find_file(record: int, name: str, *, folder: Path, policy: RetryPolicy = DEFAULT_POLICY) -> RecordFile:
    """Look up one file in a record's metadata (Zenodo's REST API, /api/records).

    All forms that the answer has had over the years are read: ``files[].key``, ``files[].filename`` and ``entries``,
    the last within the record or under its own address.

    Args:
        record: the record's number.
        name: the file's name.
        folder: where the caller wants the file; the error's text names it, nothing is written.
        policy: how patiently the server is asked again.

    Raises:
        DownloadError: the metadata cannot be had, cannot be understood, or know no such file.
        OptionError: TEMPORAL_PAIRS_ZENODO_URL is not an http(s) address.
    """
    error = partial(DownloadError, url=record_page(record), filename=name, folder=folder)
    api = f"{_base()}/api/records/{record}"
    with _session() as session:
        client = _Client(session, policy, error, name)
        answer = client.json(api)
        if not isinstance(answer, dict):
            raise error(f"the metadata at {api} are a JSON {type(answer).__name__}, where an object was expected")
        files = answer.get("files")
        if not by_name(files):
            files = client.json(f"{api}/files")
    named = by_name(files)
    if name not in named:
        raise error(f"the record has no file of this name; it has {', '.join(sorted(named)) or 'none'}")
    entry = named[name]
    size, md5 = size_of(entry), md5_of(entry)
    if size is None or md5 is None:
        given = [entry.get(key) for key in ("size", "filesize", "checksum") if key in entry]
        raise error(f"the record should give its size in bytes and its MD5, and gives {given}")
    # In a plain list `self` is the file, but beside `filename` only where it names it: by an id, it leads nowhere.
    # Elsewhere it is the file's metadata.
    links = entry.get("links")
    named_by_self = "key" in entry or names_file(links, name)
    trusted = ["content", "download"] + (["self"] if isinstance(files, list) and named_by_self else [])
    link = trusted_link(links, trusted)
    url = _file_link(record, name) if link is None else _absolute(link)
    if url is None:
        raise error(f"the record gives {link!r} as its address, which is not an http(s) one", size=size, md5=md5)
    return RecordFile(record, name, size, md5, url, license_of(answer.get("metadata")))


def download(file: RecordFile, folder: Path, *, progress: bool = True, policy: RetryPolicy = DEFAULT_POLICY) -> Path:
    """Download a file, check its size and MD5, only then give it its name in `folder`, and return its path.

    Until then the bytes lie in the private ``.NAME.part`` beside it. An interrupted download leaves that file, and the
    next call goes on from it.

    Args:
        file: what to download.
        folder: where to put it; made where it is missing.
        progress: show a progress bar where stderr is a terminal.
        policy: how patiently the server is asked again.

    Raises:
        DownloadError: the file cannot be had, differs from what the record says, or cannot be written.
        OptionError: TEMPORAL_PAIRS_ZENODO_URL is not an http(s) address.
    """
    target, path = Path(folder, file.name), Path(folder, f".{file.name}.part")
    page = record_page(file.record)
    error = partial(DownloadError, url=page, filename=file.name, folder=folder, size=file.size, md5=file.md5)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _session() as session, _open_private(path) as body:
            _Transfer(_Client(session, policy, error, file.name), file, body).finish(progress)
            body.flush()
            os.fsync(body.fileno())
        path.replace(target)
    except _MismatchError as mismatch:
        path.unlink(missing_ok=True)
        raise error(str(mismatch)) from None
    except OSError as failure:
        problem = f"{failure.filename or path} cannot be written ({failure.strerror})"
        raise error(f"{problem}; mend that and call again, what has arrived is kept") from failure
    return target


class _TransientError(Exception):
    """A request failed in a way that may pass; `wait` is how many seconds the server asked for, if it did."""

    def __init__(self, problem: str, wait: float | None = None) -> None:
        super().__init__(problem)
        self.wait = wait


class _MismatchError(Exception):
    """What arrived is not the record's file."""


@dataclass(frozen=True)
class _Client:
    """Asks a server for what belongs to one file, and again where that can help."""

    session: requests.Session
    policy: RetryPolicy
    error: Callable[[str], DownloadError]
    name: str

    def persist(self, attempt: Callable[[], _T], position: Callable[[], int]) -> _T:
        """Return what `attempt` returns, trying again after transient failures; `position` tells how far it came."""
        count, fruitless, furthest = 0, 0, position()
        while True:
            try:
                return attempt()
            except _TransientError as failure:
                wait, granted = failure.wait, self.policy.longest_wait
                if wait is not None and wait > granted:
                    asked = f"asked to wait {wait:,.0f} s, longer than the {granted:,.0f} s that are waited here"
                    raise self.error(f"{failure} and {asked}; call again later") from None
                reached = position()
                count, fruitless = count + 1, 1 if reached > furthest else fruitless + 1
                furthest = max(reached, furthest)
                if fruitless >= self.policy.attempts or count >= self.policy.requests:
                    raise self.error(f"{failure} (attempt {count}, the last)") from failure.__cause__
                if wait is None:
                    longest = min(self.policy.cap, self.policy.base * 2.0 ** (fruitless - 1))
                    # SystemRandom: jitter must not draw from the generator that the user has seeded.
                    wait = random.SystemRandom().uniform(longest / 2, longest)
                _LOGGER.warning("%s: %s; trying again in %.1f s", self.name, failure, wait)
            self.policy.sleep(wait)

    def get(self, url: str, headers: dict[str, str]) -> requests.Response:
        """Return the answer to a request, its body unread, unless it is one of those worth another try."""
        timeouts = (self.policy.connect_timeout, self.policy.read_timeout)
        try:
            response = self.session.get(url, headers=headers, stream=True, timeout=timeouts)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise _TransientError(f"no answer from {urlsplit(url).hostname} ({_reason(error)})") from error
        except requests.RequestException as error:
            raise self.error(f"{url} cannot be asked for ({_reason(error)})") from error
        if response.status_code in _RETRIED:
            response.close()
            raise _TransientError(f"the server says {response.status_code} {response.reason}", _retry_after(response))
        return response

    def require(self, response: requests.Response, wanted: str) -> None:
        """Refuse an answer that cannot be what was asked for."""
        if response.status_code != 200:
            raise self.error(f"the server says {response.status_code} {response.reason} at {response.url}")
        if response.headers.get("Content-Type", "").lower().startswith(("text/html", "application/xhtml")):
            raise self.error(f"the server answered with an HTML page, not {wanted}, at {response.url}")

    def json(self, url: str) -> object:
        """Return the JSON document at `url`."""

        def attempt() -> object:
            body = bytearray()
            with self.get(url, {"Accept": "application/json"}) as response:
                self.require(response, "the record's metadata")
                for chunk in _chunks(response):
                    body += chunk
                    if len(body) > _MAX_METADATA:
                        raise self.error(f"the metadata at {url} are longer than {_MAX_METADATA:,} bytes")
            try:
                return json.loads(body)
            except (ValueError, RecursionError) as error:
                # A connection that drops where no length was announced looks just like this.
                raise _TransientError(f"the metadata at {url} are not JSON ({error})") from error

        return self.persist(attempt, lambda: 0)


class _Transfer:
    """Fills a partial file from the server until it is the record's file."""

    def __init__(self, client: _Client, file: RecordFile, body: io.BufferedRandom) -> None:
        self.client = client
        self.file = file
        self.body = body
        self.mixed = self._position() > 0  # whether the bytes come from more than one answer

    def finish(self, progress: bool) -> None:
        """Fetch what is missing and check the whole; bytes of several answers that do not match get a second chance."""
        if self._position() > self.file.size:
            self._discard()
        name, size, hidden = self.file.name, self.file.size, None if progress else True  # None: off a terminal
        with tqdm(desc=name, total=size, initial=self._position(), unit="B", unit_scale=True, disable=hidden) as bar:
            try:
                self._fill(bar)
            except _MismatchError:
                if not self.mixed:
                    raise
                self._discard()
                self._fill(bar)

    def _fill(self, bar: tqdm[NoReturn]) -> None:
        if self._position() < self.file.size:
            self.client.persist(partial(self._receive, bar), self._position)
        self.body.seek(0)
        found = hashlib.file_digest(self.body, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
        if found != self.file.md5:
            raise _MismatchError(f"what arrived has MD5 {found}, and the record gives {self.file.md5}")

    def _receive(self, bar: tqdm[NoReturn]) -> None:
        """Make one attempt: go on from the partial file where the server lets us, or else begin anew."""
        offset = self._position()
        # Zenodo honours Range at the page's link, and ignores it at the API's (zenodo/zenodo#2593).
        links = (self.file.url, _file_link(self.file.record, self.file.name)) if offset else ()
        for url in dict.fromkeys(links):
            with self.client.get(url, {"Range": f"bytes={offset}-"}) as response:
                if self._continues(response, offset):
                    self.mixed = True
                    return self._append(response, bar)
        with self.client.get(self.file.url, {}) as response:
            self.client.require(response, "the file")
            length = response.headers.get("Content-Length", str(self.file.size))
            if length != str(self.file.size) and "Content-Encoding" not in response.headers:
                raise _TransientError(f"the server has {length:.20} bytes, and the record gives {self.file.size}")
            self._discard()
            return self._append(response, bar)

    def _continues(self, response: requests.Response, offset: int) -> bool:
        expected = rf"bytes {offset}-\d+/{self.file.size}"
        found = re.fullmatch(expected, response.headers.get("Content-Range", ""))
        return response.status_code == 206 and found is not None and "Content-Encoding" not in response.headers

    def _append(self, response: requests.Response, bar: tqdm[NoReturn]) -> None:
        position = self._position()
        bar.n = bar.initial = position
        bar.refresh()
        for chunk in _chunks(response):
            position += len(chunk)
            if position > self.file.size:
                raise _MismatchError(f"the server sends more than the {self.file.size:,} bytes that the record gives")
            self.body.write(chunk)
            bar.update(len(chunk))
            if position == self.file.size:
                return
        raise _TransientError(f"the server stopped after {position:,} of {self.file.size:,} bytes")

    def _discard(self) -> None:
        self.body.seek(0)
        self.body.truncate()
        self.mixed = False

    def _position(self) -> int:
        return self.body.seek(0, os.SEEK_END)


def _base() -> str:
    base = os.environ.get(URL_VARIABLE, "").strip().rstrip("/") or _ZENODO
    if not re.match(r"https?://[^/]", base):
        raise OptionError(f"{URL_VARIABLE}={base!r} is not an address; give one such as {_ZENODO}, or unset it.")
    return base


def _file_link(record: int, name: str) -> str:
    return f"{record_page(record)}/files/{quote(name)}?download=1"


def _session() -> requests.Session:
    about = metadata("temporal-pairs")
    homepage = dict(line.split(", ", 1) for line in about.get_all("Project-URL", []))["Homepage"]
    session = requests.Session()
    # Without "python-requests": that is the name which Zenodo answers with 403.
    agent = f"temporal-pairs/{about['Version']} (+{homepage}; requests/{requests.__version__})"
    session.headers.update({"User-Agent": agent, "Accept-Encoding": "identity"})
    return session


def _reason(error: OSError) -> str:
    """Return what an exception of requests says at its heart, without the names of objects and pools."""
    cause = error.args[0] if error.args else error
    cause = getattr(cause, "reason", None) or cause
    words = cause.args[0] if isinstance(cause, Exception) and cause.args else cause
    return re.sub(r"^(<[^>]*>|\w+\([^)]*\)): ", "", str(words))


def _retry_after(response: requests.Response) -> float | None:
    """Return the seconds that a Retry-After asks for (RFC 9110, section 10.2.3), None where there is none."""
    value = response.headers.get("Retry-After", "")
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    # Measured by the server's own clock where it tells the time: ours may be wrong.
    until, now = _http_date(value), _http_date(response.headers.get("Date", "")) or datetime.now(UTC)
    return None if until is None else max(0.0, (until - now).total_seconds())


def _http_date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _chunks(response: requests.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_content(_CHUNK)
    except OSError as error:
        raise _TransientError(f"the connection broke ({_reason(error)})") from error


def _absolute(link: str) -> str | None:
    """Return a link of Zenodo's as an address, on the mirror where one is set; None if it is no http(s) one."""
    try:
        url = urlsplit(urljoin(f"{_ZENODO}/", link))
    except ValueError:
        return None
    if url.scheme not in {"http", "https"} or not url.hostname:
        return None
    if url.hostname == urlsplit(_ZENODO).hostname:
        return _base() + url._replace(scheme="", netloc="").geturl()
    return url.geturl()


def _open_private(path: Path) -> io.BufferedRandom:
    """Open the partial file to go on with it; whatever else lies there is removed, never written to."""
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        pass
    except OSError:
        path.unlink()
    else:
        found = os.fstat(descriptor)
        # A second name would let what is written here appear elsewhere.
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1:
            os.fchmod(descriptor, 0o600)
            return os.fdopen(descriptor, "r+b")
        os.close(descriptor)
        path.unlink()
    return os.fdopen(os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600), "r+b")
