"""Whether a cluster could grow to hold what no node of it holds now: only its autoscaler knows, so it is asked."""

import time
from collections.abc import Mapping

import ray
from ray.autoscaler.sdk import request_resources
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.core.generated import autoscaler_pb2

_ANSWER_SECONDS = 20.0  # the autoscaler looks every five seconds
_LOOK_SECONDS = 0.5


def can_grow(wanted: Mapping[str, float]) -> bool:
    """Ask for a node with so much of each resource, see what the autoscaler makes of it, and take the request back.

    False where there is no autoscaler, and with its first version, which the `local` provider needs: that one keeps
    all its nodes up, so that what is there is all that there will be.
    """
    if not is_autoscaler_v2(fetch_from_server=True):
        return False
    # Whole GPUs: a node is asked for, not a share of one.
    request_resources(bundles=[{name: max(1, round(amount)) for name, amount in wanted.items()}])
    try:
        return _is_feasible(asked_at=_status().cluster_resource_state.cluster_resource_state_version)
    finally:
        request_resources(bundles=[])  # or the node would be kept up for ever


def _is_feasible(*, asked_at: int) -> bool:
    """What the autoscaler says once it has seen a state of the cluster that is younger than `asked_at`.

    Ray counts each state that it tells anybody, idle or not; the autoscaler's own version, which counts changes of its
    nodes, stands still while they start.
    """
    deadline = time.monotonic() + _ANSWER_SECONDS
    while time.monotonic() < deadline:
        answer = _status().autoscaling_state
        if answer.last_seen_cluster_resource_state_version > asked_at:
            return not answer.infeasible_cluster_resource_constraints
        time.sleep(_LOOK_SECONDS)
    return False


def _status() -> "autoscaler_pb2.GetClusterStatusReply":
    client = ray._raylet.GcsClient(address=ray.get_runtime_context().gcs_address)
    return autoscaler_pb2.GetClusterStatusReply.FromString(client.get_cluster_status(timeout_s=5))
