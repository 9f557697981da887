"""The only door to Ray: packs as Ray Tune trials. A thin adapter with no arithmetic of its own.

    connection.py  a cluster that runs, or a local Ray that is started and stopped
    nodes.py       what is wrong with the nodes, before any of them has worked for nothing
    trial.py       a pack as a trial
    queue.py       which pack is started next, and again
    listener.py    what trials do, and why they fail
    trials.py      the run of all packs

The environment is set here because Ray reads it when it is imported: no reporter, usage report, loggers or signal
handlers beside ours.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "200")  # asked for at once, so that an autoscaler sees them all
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1e9")  # Tune's records grow with the trials, and nobody reads them
# Where this file is, `ray start` asks for its token, and a client that offers none is turned away. A Ray that was
# imported before has made up its mind, and processes that it starts must be of the same.
if "ray" not in sys.modules and (Path.home() / ".ray" / "auth_token").exists():
    os.environ.setdefault("RAY_AUTH_MODE", "token")

from rdstudy.cluster.connection import Connection, connected
from rdstudy.cluster.listener import Usage
from rdstudy.cluster.nodes import check_nodes
from rdstudy.cluster.trials import run_packs

__all__ = ["Connection", "Usage", "check_nodes", "connected", "run_packs"]
