"""What the tests of data sets share: no setting of the user's, mirrors on this machine, MNIST's real files."""

import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rdstudy.datasets.files import DATA_VARIABLE, OFFLINE_VARIABLE

REAL_FILES = os.environ.get(DATA_VARIABLE)
"""The folder of real files, as it was when the tests were started: `<data set>/<file>`."""
REAL_NAME = "t10k-images-idx3-ubyte.gz"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in (DATA_VARIABLE, OFFLINE_VARIABLE, "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def real_mnist() -> Path:
    """The folder with MNIST's real test images."""
    if not REAL_FILES or not (Path(REAL_FILES) / "mnist" / REAL_NAME).exists():
        pytest.skip(f"{DATA_VARIABLE} names no folder with mnist/{REAL_NAME}")
    return Path(REAL_FILES)


class Handler(BaseHTTPRequestHandler):
    """Answers as the mirror's next behaviour says; the last one stays."""

    server: "Mirror"

    def do_GET(self):
        mirror = self.server
        mirror.ranges.append(self.headers.get("Range"))
        behave = mirror.behaviours[min(len(mirror.ranges), len(mirror.behaviours)) - 1]
        behave(self)
        self.close_connection = True

    def start(self, status: int, **headers: str | int):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, format, *args):
        pass


Behaviour = Callable[[Handler], None]


class Mirror(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, behaviours: tuple[Behaviour, ...]):
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviours = behaviours
        self.ranges: list[str | None] = []  # of each request, in order
        self.released = threading.Event()  # set at the end, so that what hangs ends
        self.url = f"http://127.0.0.1:{self.server_port}/file"

    def handle_error(self, request, client_address):
        """A client that has left is no error here."""


@pytest.fixture
def mirror() -> Iterator[Callable[..., Mirror]]:
    """Start a mirror that answers its requests with one behaviour after the other."""
    running = []

    def start(*behaviours: Behaviour) -> Mirror:
        server = Mirror(behaviours)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.released.set()
        server.shutdown()
        server.server_close()
