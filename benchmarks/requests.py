"""Requests to a bucket of the same command again, and of a page, by their kind: a bucket's owner pays for each.

    python -m benchmarks.requests [--members 6000] [--per-file 60]

Members are simulated by the tests' own simulation and stored in an S3 server on loopback, which counts. Each command
runs in a process of its own. Seconds are those of that server, and of no network.
"""

import argparse
import collections
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from benchmarks.reads import write_store
from benchmarks.tables import text_table
from tests.s3 import s3_server, s3_uri

KINDS = ("GET", "HEAD", "LIST", "PUT", "POST", "DELETE")
_OUT = "{out}"
_COMMANDS = {
    "nothing to do": ("rdstudy.run", "study.py", "--local", "--out", _OUT, "--no-report"),
    "page": ("rdstudy.report", _OUT, "--out", "page.html"),
}


class Counter:
    """A WSGI application that counts the requests to another one."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.kinds: collections.Counter[str] = collections.Counter()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Count a request, and hand it on."""
        self.kinds[_kind(environ)] += 1
        answer: Iterable[bytes] = self._application(environ, start_response)
        return answer


def _kind(environ: dict[str, Any]) -> str:
    method = str(environ["REQUEST_METHOD"])
    return "LIST" if method == "GET" and "list-type" in parse_qs(environ.get("QUERY_STRING", "")) else method


@contextmanager
def counting_server() -> Iterator[tuple[str, Counter]]:
    """An S3 server, as HOST:PORT, and the counter of its requests."""
    counters: list[Counter] = []

    def wrap(application: Any) -> Counter:
        counters.append(Counter(application))
        return counters[0]

    with s3_server(wrap) as endpoint:
        yield endpoint, counters[0]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.requests", description=__doc__)
    parser.add_argument("--members", type=int, default=6_000, help="stored, in cells of 60 (default: 6,000)")
    parser.add_argument("--per-file", type=int, default=60, help="members in one file: those of a pack (default: 60)")
    options = parser.parse_args()
    head = ["command", *KINDS, "all", "seconds"]
    with tempfile.TemporaryDirectory() as folder, counting_server() as (endpoint, counter):
        out = s3_uri(endpoint, "requests")
        members, files = write_store(Path(folder), out, options.members, options.per_file)
        print(f"{members:,} members, {options.per_file} in a file: {files:,} files of rows", flush=True)
        rows = []
        for name, command in _COMMANDS.items():
            counter.kinds.clear()
            seconds = _run(folder, [out if word == _OUT else word for word in command])
            counts = [counter.kinds[kind] for kind in KINDS]
            assert sum(counts) == counter.kinds.total(), counter.kinds
            rows.append([name, *(f"{count:,}" for count in [*counts, sum(counts)]), f"{seconds:.1f}"])
    print(text_table(head, rows, left=1))


def _run(folder: str, command: list[str]) -> float:
    """Seconds of a command in a process of its own, which ends well."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
