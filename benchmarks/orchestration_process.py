"""Members trained one after the other by the same functions as in a study, without Ray, store or checkpoints.

    python -m benchmarks.orchestration_process STUDY.py FIRST STRIDE

Trains every STRIDE-th member of the study from FIRST on, and prints `[[begin, end], ...]`, seconds since the epoch.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from rdstudy.planning.packs import Pack
from rdstudy.planning.plan import make_plan
from rdstudy.run import load_study
from rdstudy.running.worker import load_subsets
from rdstudy.study import Resources
from rdstudy.training import train_pack


class NoCheckpoint:
    """Keeps nothing."""

    def load(self) -> None:
        """Nothing was kept."""

    def save(self, write: Callable[[Any], object]) -> None:
        """Write nothing."""

    def clear(self) -> None:
        """Nothing is there."""


def train(pack: Pack) -> tuple[float, float]:
    """Train a pack of one member; when its training began and ended, seconds since the epoch."""
    subsets = load_subsets(pack.members[0])
    begin = time.time()
    never = Resources(checkpoint_seconds=1e9)
    for _ in train_pack(pack, subsets, device=torch.device("cpu"), checkpoint=NoCheckpoint(), resources=never):
        pass
    return begin, time.time()


if __name__ == "__main__":
    packs = make_plan(load_study(sys.argv[1]), {}).training
    print(json.dumps([train(pack) for pack in packs[int(sys.argv[2]) :: int(sys.argv[3])]]))
