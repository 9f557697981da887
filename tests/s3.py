"""An S3 server on loopback for tests, and a network to it that can be cut."""

import contextlib
import logging
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import make_server

from rdstudy.results.files import Files

BUCKET = "bucket"


@contextlib.contextmanager
def s3_server(wrap: Callable[[Any], Any] = lambda application: application) -> Iterator[str]:
    """A server with one bucket, as HOST:PORT; the environment has the credentials, for child processes too.

    All servers of a process hold the same objects: a test takes a folder of its own in the bucket.

    Args:
        wrap: puts another WSGI application around the server's own.
    """
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each request
    application = wrap(create_backend_app("s3"))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        thread.start()
        endpoint = f"127.0.0.1:{server.server_port}"
        request = urllib.request.Request(f"http://{endpoint}/{BUCKET}", method="PUT")
        urllib.request.urlopen(request).close()
        yield endpoint
        server.shutdown()
        thread.join()
        server.server_close()


def s3_uri(endpoint: str, folder: str) -> str:
    """What a user gives as --out."""
    return f"s3://{BUCKET}/{quote(folder)}?endpoint_override={endpoint}&scheme=http&region=us-east-1"


def upload(folder: Path, uri: str) -> None:
    """Put a copy of a results folder into a bucket."""
    bucket = Files(uri)
    for path in folder.rglob("*"):
        if path.is_file():
            bucket.write(path.relative_to(folder).as_posix(), path.read_bytes())


class Network:
    """A TCP proxy to a server: `cut` drops its connections and refuses new ones, `mend` lets them through again."""

    def __init__(self, endpoint: str) -> None:
        host, port = endpoint.rsplit(":", 1)
        self._server = (host, int(port))
        self._open: set[socket.socket] = set()
        self._listen(0)
        self.endpoint = f"127.0.0.1:{self._port}"

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in tuple(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._listen(self._port)

    def _listen(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        """Carry bytes both ways until either end has closed."""
        with near, socket.create_connection(self._server) as far:
            self._open.update((near, far))
            there = threading.Thread(target=_carry, args=(near, far), daemon=True)
            there.start()
            _carry(far, near)
            there.join()
            self._open.difference_update((near, far))


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
