"""A real file server and a real forward proxy on the loopback, with the faults that real ones have.

The server keeps what it was asked for; its faults are attributes, to be set at any time.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class FileServer(ThreadingHTTPServer):
    """Serves `files` by path, with their ETag, and parts of them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _FileHandler)
        self.files: dict[str, bytes] = {}
        self.versions: dict[str, str] = {}  # ETags, where they are not the first version
        self.headers: dict[str, str] = {}  # sent with each answer
        self.redirects: dict[str, str] = {}
        self.ignore_ranges = False
        self.ignore_if_range = False
        self.break_after: int | None = None  # bytes of one answer; each answer takes it up anew
        self.stall_after: int | None = None  # bytes of one answer, after which nothing more comes
        self.go_on = threading.Event()
        self.asked: list[tuple[str, str | None]] = []  # path and Range

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is none of our business."""


class _FileHandler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server, ranged = self.server, self.headers["Range"]
        server.asked.append((self.path, ranged))
        if self.path in server.redirects:
            self._answer(302, {"Location": server.redirects[self.path], **server.headers}, b"")
            return
        if self.path not in server.files:
            self._answer(404, {}, b"there is no such file")
            return
        whole = server.files[self.path]
        tag = server.versions.get(self.path, '"first"')
        told = {"ETag": tag}
        if self.path not in server.redirects.values():
            told |= server.headers
        same = server.ignore_if_range or self.headers["If-Range"] in (None, tag)
        if ranged is None or server.ignore_ranges or not same:
            self._answer(200, told, whole)
            return
        start = int(ranged.removeprefix("bytes=").removesuffix("-"))
        if start >= len(whole):
            self._answer(416, {"Content-Range": f"bytes */{len(whole)}"}, b"")
            return
        part = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
        self._answer(206, told | {"Content-Range": part}, whole[start:])

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.stall_after is not None:
            self.wfile.write(body[: self.server.stall_after])
            self.server.go_on.wait(60)
            return
        self.wfile.write(body[: self.server.break_after])
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """Tests have nothing to log."""


class Proxy(ThreadingHTTPServer):
    """A forward proxy: relays http requests, and tunnels whatever is asked for by CONNECT."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ProxyHandler)
        self.relayed: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _ProxyHandler(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        self.server.relayed.append(self.path)
        target = urlsplit(self.path)
        onward = http.client.HTTPConnection(target.netloc, timeout=30)
        onward.request("GET", target.path, headers=dict(self.headers))
        answer = onward.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.read())
        onward.close()

    def do_CONNECT(self) -> None:
        self.server.relayed.append(f"CONNECT {self.path}")
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=30) as onward:
            self.send_response(200)
            self.end_headers()
            pairs = {self.connection: onward, onward: self.connection}
            while True:
                for ready in select.select(list(pairs), [], [], 30)[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    pairs[ready].sendall(data)

    def log_message(self, format: str, *arguments: object) -> None:
        """Tests have nothing to log."""


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
