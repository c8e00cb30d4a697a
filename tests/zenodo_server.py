"""A local HTTP server that behaves as Zenodo does, faults included; see `ZenodoServer`."""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import re
import socket
import struct
import termios
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote, unquote, urlsplit

Kind = Literal[
    "status",  # `status`, with Retry-After `retry_after`: seconds, or "date+N" for N seconds from now as an HTTP date
    "reset",  # `after` bytes of the body, then the connection is reset
    "truncated",  # `after` bytes of the body under the right Content-Length, then the connection is closed
    "truncated-unsized",  # `after` bytes of the body without any Content-Length, then the connection is closed
    "short",  # `after` bytes of the body, announced as all of it
    "html",  # an HTML page with status 200
    "text",  # `text` as the body, under the content type of what was asked for
    "wrong-md5",  # metadata with a wrong MD5
    "ignore-range",  # the whole file with status 200, whatever the Range
    "wrong-range",  # 206 with the whole file and a Content-Range that starts at 0
    "no-range",  # 416 to any Range
    "corrupt",  # the last byte of the body is another
    "endless",  # the body again and again, without any Content-Length
    "slow",  # the body in pieces of `after` bytes, with a pause of `pause` seconds after each
    "redirect",  # 302 to `text`
]


@dataclass(frozen=True)
class Fault:
    """What to do instead of answering well.

    Args:
        kind: the fault; see `Kind`.
        on: the requests that it may meet: for metadata, or for a file's bytes.
        times: how many of them it meets before the next fault has its turn; None for all.
        status: for kind "status".
        retry_after: the answer's Retry-After, for kind "status".
        after: bytes of the body before the fault; "slow" has its piece here.
        pause: for kind "slow", seconds.
        text: for the kinds "text" and "redirect".
    """

    kind: Kind
    on: Literal["metadata", "file"] = "file"
    times: int | None = 1
    status: int = 503
    retry_after: str | None = None
    after: int = 0
    pause: float = 0.0
    text: str = ""


@dataclass(frozen=True)
class Request:
    """A request as it arrived: its path with the query, and its headers under lower-case names."""

    path: str
    headers: Mapping[str, str]

    @property
    def on(self) -> Literal["metadata", "file"]:
        """Tell what it asks for."""
        return "metadata" if self.path.startswith("/api/") else "file"


class ZenodoServer:
    """A Zenodo of one record on 127.0.0.1, for use as a context manager.

    It serves the record's metadata at /api/records/RECORD and each file at /records/RECORD/files/NAME. As Zenodo does,
    it answers 403 to a User-Agent with "python-requests" in it, sends its rate limit with every answer (Retry-After:
    59 also with a good one), honors Range, and gives JSON or HTML with an error.

    ```python
    with ZenodoServer({"a.bin": data}, faults=[Fault("reset", after=1000), Fault("status", status=429)]) as server:
        monkeypatch.setenv("TEMPORAL_PAIRS_ZENODO_URL", server.url)
        ...
    assert [request.headers.get("range") for request in server.downloads] == [None, "bytes=1000-", "bytes=1000-"]
    ```

    Args:
        files: the record's files, name to bytes.
        record: the record's number.
        faults: met in their order, each by the requests that it is `on`.
        patch: keys to set in (or, with the value ..., to drop from) each file's metadata.
        license: what the metadata have as the record's license.

    Attributes:
        requests: what was asked for, in the order of arrival.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        record: int = 3931823,
        faults: Sequence[Fault] = (),
        patch: Mapping[str, object] | None = None,
        license: object = None,
    ) -> None:
        self.files = dict(files)
        self.record = record
        self.patch = dict(patch or {})
        self.license = license if license is not None else {"id": "cc-by-4.0"}
        self.requests: list[Request] = []
        self.stopped = threading.Event()
        self._faults = list(faults)
        self._left = [fault.times for fault in faults]
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead this package, and no proxy, to the server; for monkeypatch and for subprocesses."""
        return {"TEMPORAL_PAIRS_ZENODO_URL": self.url, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    @property
    def downloads(self) -> list[Request]:
        """The requests for a file's bytes."""
        return [request for request in self.requests if request.on == "file"]

    def arrived(self, request: Request) -> Fault | None:
        """Log a request and return the fault that it meets."""
        with self._lock:
            self.requests.append(request)
            for slot, (fault, left) in enumerate(zip(self._faults, self._left, strict=True)):
                if fault.on == request.on and left != 0:
                    self._left[slot] = None if left is None else left - 1
                    return fault
        return None

    def metadata(self, *, wrong_md5: bool) -> Any:
        """Return the record's metadata."""
        files = [self._entry(name, data + b"?" * wrong_md5) for name, data in self.files.items()]
        about = {"title": "KITTI Masks", "publication_date": "2020-07-06", "license": self.license}
        return {"id": self.record, "metadata": about, "files": files}

    def _entry(self, name: str, data: bytes) -> dict[str, Any]:
        link = f"{self.url}/api/records/{self.record}/files/{quote(name)}/content"
        checksum = f"md5:{hashlib.md5(data).hexdigest()}"
        entry = {
            "key": name,
            "size": len(self.files[name]),
            "checksum": checksum,
            "links": {"self": link},
            **self.patch,
        }
        return {key: value for key, value in entry.items() if value is not ...}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet about clients that hang up: the tests make them."""


def _handler(zenodo: ZenodoServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            request = Request(self.path, {name.lower(): value for name, value in self.headers.items()})
            fault = zenodo.arrived(request)
            if "python-requests" in request.headers.get("user-agent", ""):
                self._send(403, "text/html", b"<html>Our systems have detected unusual traffic.</html>")
            elif fault and fault.kind == "status":
                self._fail(fault.status, "Something is not well.", fault.retry_after)
            elif fault and fault.kind == "html":
                self._send(200, "text/html; charset=utf-8", b"<!DOCTYPE html><html>Zenodo is being repaired.</html>")
            elif fault and fault.kind == "redirect":
                self._send(302, "text/html", b"<html>Found.</html>", {"Location": fault.text})
            else:
                self._answer(request, fault)

        def _answer(self, request: Request, fault: Fault | None) -> None:
            path = urlsplit(request.path).path
            name = unquote(path.rpartition("/")[2])
            if path == f"/api/records/{zenodo.record}":
                answer = zenodo.metadata(wrong_md5=fault is not None and fault.kind == "wrong-md5")
                self._json(200, answer, fault)
            elif path == f"/records/{zenodo.record}/files/{quote(name)}" and name in zenodo.files:
                self._file(request, zenodo.files[name], fault)
            else:
                self._fail(404, "The requested URL was not found on the server.")

        def _file(self, request: Request, data: bytes, fault: Fault | None) -> None:
            kind = fault.kind if fault else None
            start = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
            if kind == "corrupt":
                data = data[:-1] + bytes([data[-1] ^ 1])
            if start is None or kind == "ignore-range":
                self._send(200, "application/octet-stream", data, fault=fault)
            elif kind == "wrong-range":
                span = {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"}
                self._send(206, "application/octet-stream", data, span, fault)
            elif int(start[1]) >= len(data) or kind == "no-range":
                self._send(416, "application/octet-stream", b"", {"Content-Range": f"bytes */{len(data)}"})
            else:
                span = {"Content-Range": f"bytes {start[1]}-{len(data) - 1}/{len(data)}"}
                self._send(206, "application/octet-stream", data[int(start[1]) :], span, fault)

        def _json(self, status: int, answer: object, fault: Fault | None = None) -> None:
            self._send(status, "application/json", json.dumps(answer).encode(), fault=fault)

        def _fail(self, status: int, message: str, retry_after: str | None = None) -> None:
            if retry_after is not None and retry_after.startswith("date+"):
                retry_after = self.date_time_string(time() + float(retry_after.removeprefix("date+")))
            headers = {"Retry-After": retry_after or ""}
            body = json.dumps({"status": status, "message": message}).encode()
            self._send(status, "application/json", body, headers)

        def _send(
            self,
            status: int,
            content_type: str,
            body: bytes,
            headers: Mapping[str, str] | None = None,
            fault: Fault | None = None,
        ) -> None:
            kind = fault.kind if fault else None
            if fault and kind == "text":
                body = fault.text.encode()
            unsized = kind in {"truncated-unsized", "endless"}
            announced = fault.after if fault and kind == "short" else len(body)
            limits = {"X-RateLimit-Limit": "133", "X-RateLimit-Remaining": "131", "Retry-After": "59"}
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            for name, value in {**limits, **(headers or {})}.items():
                if value:
                    self.send_header(name, value)
            if unsized:
                self.send_header("Connection", "close")
                self.close_connection = True
            else:
                self.send_header("Content-Length", str(announced))
            self.end_headers()
            if fault is None or kind in {"text", "wrong-md5", "ignore-range", "wrong-range", "no-range", "corrupt"}:
                self.wfile.write(body)
            elif kind == "endless":
                for _ in itertools.takewhile(lambda _: not zenodo.stopped.is_set(), itertools.count()):
                    self.wfile.write(body)
            elif kind == "slow":
                for piece in range(0, len(body), fault.after):
                    self.wfile.write(body[piece : piece + fault.after])
                    if zenodo.stopped.wait(fault.pause):
                        break
            else:
                self.wfile.write(body[: fault.after])
                self.close_connection = True
                if kind == "reset":
                    self._reset()

        def _reset(self) -> None:
            # A reset discards what has not arrived yet, so that what comes before it would be a matter of luck.
            while struct.unpack("i", fcntl.ioctl(self.connection, termios.TIOCOUTQ, bytes(4)))[0]:
                if zenodo.stopped.wait(0.005):
                    break
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    return Handler
