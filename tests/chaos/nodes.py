"""A Ray cluster of several nodes on one machine: a head without CPUs, and spot nodes that can be taken away."""

import os
import random
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

from ray.cluster_utils import Cluster

from tests.chaos.processes import below, kill, training

_OBJECT_STORE_BYTES = 80 * 2**20


class SpotNodes:
    """Nodes of one CPU each below a head that has none. One that is killed comes back some seconds later.

    Everything that Ray writes lies in a temporary folder: no other run on this machine finds this cluster.
    """

    def __init__(self, count: int, *, back_after_seconds: tuple[float, float], randomness: random.Random) -> None:
        self._count, self._back_after, self._randomness = count, back_after_seconds, randomness
        self._due: list[float] = []  # when nodes that were killed come back

    def __enter__(self) -> "SpotNodes":
        self._folder = tempfile.TemporaryDirectory(prefix="rd-", ignore_cleanup_errors=True)  # short: it holds sockets
        (Path(self._folder.name) / "ray").mkdir()  # where Ray writes the address by which other runs would find it
        with mock.patch.dict(os.environ, RAY_TMPDIR=self._folder.name):
            self._cluster = Cluster(
                initialize_head=True,
                head_node_args={
                    "num_cpus": 0,
                    "include_dashboard": False,
                    "object_store_memory": _OBJECT_STORE_BYTES,
                    "temp_dir": self._folder.name,
                },
            )
        for _ in range(self._count):
            self._add()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cluster.shutdown()
        self._folder.cleanup()

    @property
    def address(self) -> str:
        """Of the head."""
        return str(self._cluster.address)

    def training(self) -> list[int]:
        """Processes of trials that take a step."""
        return [pid for node in self._cluster.worker_nodes for pid in training(_processes(node))]

    def kill_one(self) -> bool:
        """SIGKILL all processes of a node that trains; False where none does."""
        busy = [node for node in self._cluster.worker_nodes if training(_processes(node))]
        if not busy:
            return False
        victim = self._randomness.choice(sorted(busy, key=lambda node: str(node.node_id)))
        kill(_processes(victim))
        self._cluster.remove_node(victim, allow_graceful=False)  # what is left of it: its entry in our list
        self._due.append(time.monotonic() + self._randomness.uniform(*self._back_after))
        return True

    def tend(self) -> None:
        """Bring nodes back whose time has come. Ray starts nodes in the main thread alone."""
        for due in [due for due in self._due if due <= time.monotonic()]:
            self._due.remove(due)
            self._add()

    def _add(self) -> None:
        self._cluster.add_node(num_cpus=1, object_store_memory=_OBJECT_STORE_BYTES)


def _processes(node: Any) -> list[int]:
    """A node's own processes and everything that they started, Ray's workers among them."""
    own = [info.process.pid for infos in node.all_processes.values() for info in infos]
    return [pid for process in own for pid in (process, *below(process))]
