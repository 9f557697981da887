"""What is wrong with the nodes of a cluster, in one line, before any of them has worked for nothing."""

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rdstudy.results.store import Store


def check_nodes_see(store: Store) -> None:
    """Refuse a folder of one node where there are several, before any of them has worked for nothing."""
    nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    if len(nodes) == 1:
        return
    exists = ray.remote(num_cpus=0)(_exists)
    seen = {
        node: exists.options(scheduling_strategy=_on(node)).remote(f"{store.location}/store.json") for node in nodes
    }
    blind = [nodes[node] for node, answer in seen.items() if not ray.get(answer)]
    if blind:
        raise ValueError(
            f"results folder {store.uri} is not seen by {', '.join(blind)}; "
            "allowed with several nodes: a folder that all of them share, s3://, gs://"
        )


def _exists(uri: str) -> bool:
    return Store.exists(uri)


def _on(node: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node, soft=False)
