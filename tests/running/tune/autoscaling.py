"""Ray's own autoscaler on one machine, with nodes that are processes: what a cloud does, without one."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

_PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
_OBJECT_STORE_BYTES = 80 * 2**20
_END_SECONDS = 40
_EMPTY = (  # lists that must be there
    "cluster_synced_files",
    "rsync_exclude",
    "rsync_filter",
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)


@contextlib.contextmanager
def autoscaling_head(worker_types: dict[str, dict[str, Any]], *, idle_minutes: float) -> Iterator[str]:
    """A head without CPUs whose autoscaler starts nodes of these types as they are asked for; its address.

    `ray.cluster_utils.AutoscalingCluster` does the same, but stops every Ray process of the machine when it starts and
    when it ends, and reads a file that the wheel lacks.
    """
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="rd-", ignore_cleanup_errors=True) as folder:  # short: it holds sockets
        config = Path(folder) / "cluster.yaml"
        config.write_text(json.dumps(_config(worker_types, port=port, idle_minutes=idle_minutes)))
        with (Path(folder) / "head.log").open("w") as log:
            head = subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("ray")),
                    "start",
                    "--head",
                    "--block",
                    f"--port={port}",
                    "--num-cpus=0",
                    "--min-worker-port=0",  # any that are free: else they are those of every other `ray start`
                    "--max-worker-port=0",
                    "--include-dashboard=false",
                    f"--object-store-memory={_OBJECT_STORE_BYTES}",
                    f"--temp-dir={folder}",
                    f"--autoscaling-config={config}",
                ],
                env=_environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield f"127.0.0.1:{port}"
        finally:
            head.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                head.wait(timeout=_END_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(head.pid, signal.SIGKILL)
            head.wait()


def _config(worker_types: dict[str, dict[str, Any]], *, port: int, idle_minutes: float) -> dict[str, Any]:
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    workers = {
        name: {"node_config": {}, "min_workers": 0, **settings, "resources": _with_store(settings["resources"])}
        for name, settings in worker_types.items()
    }
    return {
        "cluster_name": "fake",
        "max_workers": sum(settings["max_workers"] for settings in worker_types.values()),
        "idle_timeout_minutes": idle_minutes,
        "provider": {
            "type": "external",
            "module": _PROVIDER,
            "gcs_address": f"127.0.0.1:{port}",
            "head_node_id": FAKE_HEAD_NODE_ID,
            "launch_multiple": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "auth": {"ssh_user": "nobody"},
        "available_node_types": {"ray.head.default": head, **workers},
        "head_node_type": "ray.head.default",
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        **{name: [] for name in _EMPTY},
    }


def _with_store(resources: dict[str, float]) -> dict[str, float]:
    return {**resources, "object_store_memory": _OBJECT_STORE_BYTES}


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_FAKE_CLUSTER": "1",
        "RAY_AUTH_MODE": "disabled",  # whatever lies in the home of whoever tests
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
    }


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
