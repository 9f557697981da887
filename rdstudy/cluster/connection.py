"""Joins the Ray cluster that runs, or starts a local Ray and stops it at the end."""

import contextlib
import logging
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray._private import ray_constants, services

from rdstudy.checks import one_line
from rdstudy.cluster.growth import can_grow
from rdstudy.packs import MOST_SHARES
from rdstudy.provenance import CODE_VERSION_VARIABLE, PACKAGE, code_version
from rdstudy.study import Resources

logger = logging.getLogger(__name__)

_OBJECT_STORE_BYTES = 128 * 2**20  # of a local Ray: nothing but the settings of the packs goes through it


@dataclass(frozen=True)
class Connection:
    """The Ray that is joined.

    Attributes:
        joined: whether it was there before, and outlives this run.
        devices: GPUs that are up, or CPU cores where no GPU is asked for; None where no trial could run on them yet.
    """

    joined: bool
    devices: float | None


@contextlib.contextmanager
def connected(address: str | None, resources: Resources) -> Iterator[Connection]:
    """Join the cluster at `address`, else one that was started here, else start a local Ray and stop it at the end.

    A cluster that is joined gets this very package: it travels to the nodes as they start its processes.

    Raises:
        ValueError: no cluster at `address`, or none that has what a trial asks for.
    """
    address = address or _started_here()
    options = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        _start_local(options)
    else:
        _check_listening(address)
        try:
            ray.init(address=address, runtime_env=_runtime_environment(), **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            told = one_line(error)
            if "AuthToken" in str(error.__context__) + told:
                told = "it asks for a token; set RAY_AUTH_MODE=token where ~/.ray/auth_token has it"
            raise ValueError(f"Ray at {address!r} cannot be joined: {told}") from None
    try:
        yield Connection(address is not None, _devices(resources, joined=address is not None))
    finally:
        ray.shutdown()


def _runtime_environment() -> dict[str, Any]:
    """The code of this run, and its version, which its copy on a node could not tell."""
    return {
        "py_modules": [str(PACKAGE)],
        "excludes": ["**/__pycache__/"],
        "env_vars": {CODE_VERSION_VARIABLE: code_version()},
    }


def _check_listening(address: str) -> None:
    """Find out in a moment what Ray takes minutes to find out.

    Raises:
        ValueError: nothing listens at `address`.
    """
    match = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address)
    if match is None:
        raise ValueError(f"--address is {address!r}; allowed: HOST:PORT, ray://HOST:PORT")
    try:
        socket.create_connection((match[1], int(match[2])), timeout=5).close()
    except OSError as error:
        raise ValueError(f"no Ray head listens at {address!r}: {error}") from None


def _started_here() -> str | None:
    """The cluster of `ray start` on this machine, or of RAY_ADDRESS; None where there is none.

    Ray's own search would also join the private Ray of another run, which goes away when that run ends.
    """
    address: str | None = services.canonicalize_bootstrap_address(None)
    if address is None or "RAY_ADDRESS" in os.environ:
        return address
    try:
        _check_listening(address)
    except ValueError as error:
        logger.warning("%s; it was started here once, and is not joined", error)
        return None
    return address


def _start_local(options: dict[str, Any]) -> None:
    """Start a Ray that listens on the loopback device only.

    On Linux, Ray replaces 127.0.0.1 by the machine's outer address and listens on all devices unless this constant,
    which is off on other systems, says that no cluster is to be formed.
    """
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            **options,
        )
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = True


def _devices(resources: Resources, *, joined: bool) -> float | None:
    """The devices that trials share; None where no node has what one of them needs yet, and an autoscaler may bring it.

    A trial runs on one node: what several of them have together is of no use to it.

    Raises:
        ValueError: a trial asks for more than any node of this Ray has, and nothing can bring it.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    share = 1 / MOST_SHARES if isinstance(resources.gpus, str) else resources.gpus
    if any(node.get("CPU", 0.0) >= resources.cpus and node.get("GPU", 0.0) >= share for node in nodes):
        return float(sum(node.get("GPU" if share else "CPU", 0.0) for node in nodes))
    if joined and can_grow({"CPU": resources.cpus, **({"GPU": share} if share else {})}):
        return None
    wanted = f"{resources.cpus} CPUs and {'no' if not share else 'a whole' if share == 1 else 'a share of a'} GPU"
    gpus, cpus = max((node.get("GPU", 0.0) if share else 0.0, node.get("CPU", 0.0)) for node in nodes)
    largest = f"{cpus:g} CPUs and {gpus:g} GPUs" if share else f"{cpus:g} CPUs"
    raise ValueError(
        f"resources ask for {wanted} for each trial; allowed: what the largest node of this Ray has, {largest}"
    )
