"""What is wrong with the nodes of a cluster, in one line, before any of them has worked for nothing.

A node that joins later is held against the same versions and the same store by each of its trials.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ray
from ray.exceptions import GetTimeoutError, NodeDiedError, RayError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rdstudy.results.store import Store
from rdstudy.running.provenance import versions
from rdstudy.running.tune.trial import describe_difference, folder_problem
from rdstudy.study.words import one_line

_ANSWER_SECONDS = 120.0  # for the first task on a node: its process starts, and the package travels there


@dataclass(frozen=True)
class NodeReport:
    """What a node says of itself."""

    versions: Mapping[str, str]
    storage: str  # what is wrong with the store there, or nothing
    gpu: bool  # whether PyTorch sees one; asked where Ray counts one


def check_nodes(store: Store, *, gpus: bool) -> None:
    """Hold all nodes that are up against this process: versions, storage, GPUs.

    Args:
        store: must be readable and writable from each of them.
        gpus: whether trials ask for GPUs.

    Raises:
        ValueError: what is wrong, and on which nodes.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    look = ray.remote(num_cpus=0, max_retries=2)(_look)
    identity = store.identity()
    pending = [
        look.options(scheduling_strategy=on_node(node["NodeID"])).remote(
            store.location, identity, gpus and bool(node["Resources"].get("GPU"))
        )
        for node in nodes
    ]
    names = [f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})" for node in nodes]
    answers = [(name, _answer(name, each)) for name, each in zip(names, pending, strict=True)]
    refuse(store.uri, [(name, answer) for name, answer in answers if answer is not None])


def refuse(uri: str, reports: Sequence[tuple[str, NodeReport]]) -> None:
    """Raise a ValueError if any node's report is not as it must be."""
    here = versions()
    for name, report in reports:
        differ = describe_difference(report.versions, here)
        if differ:
            raise ValueError(f"node {name} runs {differ}; allowed: the same on all nodes, see the cluster file's setup")
    blind = {name: report.storage for name, report in reports if report.storage}
    if blind:
        raise ValueError(
            f"results folder {uri} cannot be used from {', '.join(blind)}: {next(iter(blind.values()))}; "
            "allowed with several nodes: a folder that all of them share, s3://, gs://"
        )
    without = [name for name, report in reports if not report.gpu]
    if without:
        raise ValueError(
            f"PyTorch sees no GPU on {', '.join(without)}, where Ray counts one; allowed: a node with a driver that "
            "PyTorch can use, or resources.gpus=0"
        )


def on_node(node_id: str) -> NodeAffinitySchedulingStrategy:
    """The strategy that runs a task on one node and nowhere else."""
    return NodeAffinitySchedulingStrategy(node_id, soft=False)


def _answer(name: str, pending: "ray.ObjectRef[NodeReport]") -> NodeReport | None:
    """What a node says; None where it has gone away, which Ray learns some seconds later than it happens."""
    try:
        report: NodeReport = ray.get(pending, timeout=_ANSWER_SECONDS)
    except (NodeDiedError, TaskUnschedulableError):
        return None
    except (RayError, GetTimeoutError) as error:
        reason = one_line(error)[:300] or "no answer"
        raise ValueError(f"node {name} runs no task ({reason}); allowed: nodes on which `rdstudy` starts") from None
    return report


def _look(uri: str, identity: str, asked_for_gpu: bool) -> NodeReport:
    return NodeReport(versions(), _storage(uri, identity), not asked_for_gpu or _sees_gpu())


def _storage(uri: str, identity: str) -> str:
    """What is wrong with a store from here, in one line: it must be the driver's, and writable."""
    try:
        problem = folder_problem(Store(uri), identity)
        if not problem:
            Store.create(uri)
    except (OSError, ValueError) as error:
        return one_line(error)
    return problem


def _sees_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())
