"""Bad weather between a run and its bucket: a proxy on loopback that refuses, hangs, dawdles and cuts connections."""

import http.client
import random
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_KINDS = {  # of a request, in per cent; else fair weather
    "503": 4.0,
    "hang": 1.0,
    "slow": 2.0,
    "cut before": 1.5,
    "cut within": 1.5,
    "cut after": 1.0,
}
_HANG_SECONDS = (1.0, 5.0)
_SLOW_SECONDS = 2.0
_PIECES = 8
_SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)


class Weather:
    """A proxy to a server at HOST:PORT, with a random fault now and then; `came` counts them."""

    def __init__(self, server: str, draw: random.Random) -> None:
        self._server, self._draw = server, random.Random(draw.random())
        self.came: Counter[str] = Counter()
        self._lock = threading.Lock()
        weather = self

        class Handler(_Handler):
            """With this weather."""

            def setup(self) -> None:
                self.weather = weather
                super().setup()

        self._proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._proxy.daemon_threads = True
        self.endpoint = f"127.0.0.1:{self._proxy.server_port}"

    def __enter__(self) -> "Weather":
        threading.Thread(target=self._proxy.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.shutdown()
        self._proxy.server_close()

    def next(self) -> tuple[str, float]:
        """What happens to a request, and a number from 0 to 1 for how much of it."""
        with self._lock:
            left = 100 * self._draw.random()
            for kind, share in _KINDS.items():
                left -= share
                if left < 0:
                    self.came[kind] += 1
                    return kind, self._draw.random()
            return "fair", 0.0

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> http.client.HTTPResponse:
        """The server's own answer."""
        connection = http.client.HTTPConnection(self._server, timeout=60)
        connection.request(method, path, body=body, headers=headers)
        return connection.getresponse()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    weather: Weather

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""

    def _handle(self) -> None:
        kind, much = self.weather.next()
        if kind == "cut before":
            self._cut()
            return
        body = self._body()
        if kind == "hang":
            time.sleep(_HANG_SECONDS[0] + much * (_HANG_SECONDS[1] - _HANG_SECONDS[0]))
        if kind == "503":
            self._answer(503, {"Content-Type": "application/xml"}, _SLOW_DOWN, kind)
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        answer = self.weather.forward(self.command, self.path, headers, body)
        content = answer.read()
        if kind == "cut after":  # what was asked for is done, and nobody is told
            self._cut()
            return
        self._answer(answer.status, dict(answer.getheaders()), content, kind)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _answer(self, status: int, headers: dict[str, str], content: bytes, kind: str) -> None:
        self.send_response_only(status)
        is_head = self.command == "HEAD"
        for name, value in headers.items():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = next((value for name, value in headers.items() if name.lower() == "content-length"), "0")
        self.send_header("Content-Length", length if is_head else str(len(content)))
        self.end_headers()
        if is_head:
            return
        size = max(1, len(content) // _PIECES)
        for at in range(0, len(content), size):
            if kind == "cut within" and at >= len(content) // 2:
                self._cut()
                return
            self.wfile.write(content[at : at + size])
            self.wfile.flush()
            if kind == "slow":
                time.sleep(_SLOW_SECONDS / _PIECES)

    def _cut(self) -> None:
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def handle(self) -> None:
        """As ever; a client that goes away is none of our business."""
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815  # the library's names
