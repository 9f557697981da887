"""The only door to Ray: packs as Ray Tune trials. A thin adapter with no arithmetic of its own.

    connection.py  a cluster that runs, or a local Ray that is started and stopped
    nodes.py       what is wrong with the nodes, before any of them has worked for nothing
    trial.py       a pack as a trial
    queue.py       which pack is started next, and again
    listener.py    what trials do, and why they fail
    trials.py      the run of all packs

Ray reads its environment when it is imported, which is why that is set first.
"""

from rdstudy.ray_settings import set_environment

set_environment()

from rdstudy.cluster.connection import Connection, connected
from rdstudy.cluster.listener import Usage
from rdstudy.cluster.nodes import check_nodes
from rdstudy.cluster.trials import run_packs

__all__ = ["Connection", "Usage", "check_nodes", "connected", "run_packs"]
