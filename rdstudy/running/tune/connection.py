"""Joins the Ray cluster that runs, or starts a Ray of this run's own and stops it at the end."""

import contextlib
import logging
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import _raylet
from ray._private import ray_constants
from ray.util.client import ray as ray_client

from rdstudy.planning.packs import MOST_SHARES
from rdstudy.running.provenance import CODE_VERSION_VARIABLE, PACKAGE, stated_version
from rdstudy.running.tune.address import find_head
from rdstudy.running.tune.folders import NotStartedError, own_folder, ray_folder
from rdstudy.running.tune.growth import can_grow
from rdstudy.study import Resources
from rdstudy.study.words import one_line, one_line_with_type

logger = logging.getLogger(__name__)

_OBJECT_STORE_BYTES = 128 * 2**20  # of a Ray of our own: nothing but the settings of the packs goes through it
_LONGEST_REASON = 300


@dataclass(frozen=True)
class Connection:
    """The Ray that is used."""

    joined: bool  # whether it was there before, and outlives this run
    devices: float | None  # GPUs that are up, or CPU cores where no GPU is asked for; None where no trial can run yet
    in_process: bool = False  # whether this process had joined it before, as a notebook does, which shuts it down
    which: str = "Ray"  # says which Ray it is, and what it has


@contextlib.contextmanager
def connected(address: str | None, resources: Resources) -> Iterator[Connection]:
    """Join the cluster at `address`, else one that was started here, else start a Ray and stop it at the end.

    A cluster that is joined gets this very package: it travels to the nodes as they start its processes. Where this
    process is connected to a Ray already, that one is used as it is.

    Raises:
        ValueError: no cluster at `address`, none that has what a trial asks for, or Ray did not start.
    """
    if ray.is_initialized():
        _check_in_process(address)
        logger.warning("this process is connected to Ray already: that Ray is used, and left as it is")
        yield Connection(
            joined=True, devices=_devices(resources, joined=True), in_process=True, which=_which(joined=True)
        )
        return
    head = find_head(address)
    with _own_ray() if head is None else _joined(head):
        joined = head is not None
        private = "; --address local starts a private one" if joined and address is None else ""
        yield Connection(joined, _devices(resources, joined=joined), which=_which(joined=joined) + private)


def _which(*, joined: bool) -> str:
    """Which Ray this process is connected to, and what of it is up."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus, gpus = (sum(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU"))
    up = f"{cpus:g} CPU cores" + (f", {gpus:g} GPUs" if gpus else "")
    if not joined:
        return f"Ray: a private one for this run, {up}"
    address = ray.get_runtime_context().gcs_address
    return f"Ray: joined the one at {address}, {len(nodes)} node{'s' * (len(nodes) != 1)} with {up} up"


def _check_in_process(address: str | None) -> None:
    """Refuse a Ray of this process that is not what is asked for, or that cannot run a study.

    Raises:
        ValueError: Ray Client, or another address.
    """
    if ray_client.is_connected():
        raise ValueError(
            "this process is connected to Ray through Ray Client, through which no study runs; allowed: ray.init() "
            "with the address of the head, on a machine of the cluster"
        )
    if address in (None, "auto"):
        return
    here = ray.get_runtime_context().gcs_address
    if address == "local" or find_head(address) != here:
        raise ValueError(
            f"--address is {address!r}, and this process is connected to the Ray at {here} already; allowed: "
            "ray.shutdown() before, or no --address"
        )


@contextlib.contextmanager
def _joined(head: str) -> Iterator[None]:
    try:
        _close_token_file()
        try:
            with _constants(RAY_ENABLE_UV_RUN_RUNTIME_ENV=False):
                _init(address=head, runtime_env=_runtime_environment())
        except Exception as error:
            reason = one_line(error)[:_LONGEST_REASON]
            if "AuthToken" in str(error.__context__) + str(error):
                reason = "it asks for a token; set RAY_AUTH_MODE=token where ~/.ray/auth_token has it"
            raise ValueError(f"Ray at {head!r} cannot be joined: {reason}") from None
        yield
    finally:
        ray.shutdown()


def _init(**options: Any) -> None:
    """`ray.init` that says nothing but what it raises; after that, errors of Ray's are heard."""
    ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **options)
    logging.getLogger("ray").setLevel(logging.ERROR)


def _close_token_file() -> None:
    """Make `~/.ray/auth_token`, which Ray writes for all to read, this user's alone: whoever reads it runs programs."""
    with contextlib.suppress(OSError, RuntimeError):  # no such file, no home, or another user's
        path = Path.home() / ".ray" / "auth_token"
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
            logger.warning("%s, by which one joins Ray, was open to other users: closed to them (mode 0600)", path)


def _runtime_environment() -> dict[str, Any]:
    """The code of this run, and its version, which its copy on a node could not tell."""
    version = {CODE_VERSION_VARIABLE: stated_version()}
    return {"py_modules": [str(PACKAGE)], "excludes": ["**/__pycache__/"], "env_vars": version}


@contextlib.contextmanager
def _own_ray() -> Iterator[None]:
    """A Ray that listens on the loopback device only, of which nothing stays."""
    with own_folder() as folder, _own_token():
        try:
            _start(ray_folder(folder))
            yield
        finally:
            ray.shutdown()


def _start(folder: Path) -> None:
    """Start Ray with its files in `folder`.

    On Linux, Ray replaces 127.0.0.1 by the machine's outer address and listens on all devices unless
    ENABLE_RAY_CLUSTER, which is off on other systems, says that no cluster is to be formed.

    Raises:
        NotStartedError: whatever went wrong.
    """
    try:
        with _constants(ENABLE_RAY_CLUSTER=False, RAY_ENABLE_UV_RUN_RUNTIME_ENV=False):
            _init(
                address="local",
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                _node_ip_address="127.0.0.1",
                _temp_dir=str(folder),
            )
    except Exception as error:
        raise NotStartedError(
            f"Ray did not start ({one_line_with_type(error)[:_LONGEST_REASON]}); its log is in {folder}/session_latest/"
            "logs until the next run; --local trains without Ray"
        ) from None


@contextlib.contextmanager
def _constants(**values: bool) -> Iterator[None]:
    """Set constants of Ray's, which it reads from the environment but once, where it may have been imported long ago.

    With RAY_ENABLE_UV_RUN_RUNTIME_ENV, Ray under `uv run` would copy the working folder, whatever lies in it, to its
    processes, and start them there: nodes have an environment, and get this run's code by `_runtime_environment`.
    """
    before = {name: getattr(ray_constants, name) for name in values}
    vars(ray_constants).update(values)
    try:
        yield
    finally:
        vars(ray_constants).update(before)


@contextlib.contextmanager
def _own_token() -> Iterator[None]:
    """A token that this run's own Ray asks for and nobody else has.

    It stands in no file: it matters neither whether there is a home, nor who reads `~/.ray/auth_token`, nor what
    RAY_AUTH_MODE says, which is that of a cluster.
    """
    values = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    before = {name: os.environ.pop(name, None) for name in values}
    os.environ.update(values)
    _read_token()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        _read_token()


def _read_token() -> None:
    """Make Ray read anew what it keeps of the environment."""
    raylet: Any = _raylet  # whose types leave these two out
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()


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
