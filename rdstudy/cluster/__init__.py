"""The only door to Ray: packs as Ray Tune trials. A thin adapter with no arithmetic of its own.

    connection.py  a cluster that runs, or a local Ray that is started and stopped
    preflight.py   what is wrong with the nodes, before any of them has worked for nothing
    trials.py      a pack as a trial, and the run of all of them

The environment is set here because Ray reads it when it is imported: no reporter, usage report, loggers or signal
handlers beside ours.
"""

import os

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")

from rdstudy.cluster.connection import connected
from rdstudy.cluster.trials import OnProgress, PackTrial, run_packs

__all__ = ["OnProgress", "PackTrial", "connected", "run_packs"]
