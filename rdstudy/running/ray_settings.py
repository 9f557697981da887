"""What Ray reads from the environment when it is imported; set before anybody imports it, a study file too."""

import os

_SETTINGS = {  # no reporter, usage report, loggers or signal handlers beside ours
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "200",  # asked for at once, so that an autoscaler sees them all
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # Tune's records grow with the trials, and nobody reads them
}


def set_environment() -> None:
    """Set what is not set yet. RAY_AUTH_MODE is left alone: it must be that of the cluster, or Ray breaks halfway."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
