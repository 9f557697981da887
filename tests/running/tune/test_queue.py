"""In which order packs are handed out, and when no more come; a queue of many packs weighs as much as one of few."""

import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest
from ray.tune.search import Searcher

from rdstudy.planning.packs import Pack, make_packs
from rdstudy.running.failures import Cause, Failure, Failures, Remedy
from rdstudy.running.tune.queue import PackQueue
from rdstudy.study import Experiment, Resources, Study

BYTES_A_PACK = 16  # a reference, and what a container of references keeps free
REST_BYTES = 20_000


def packs(count: int) -> tuple[Pack, ...]:
    grid: dict[str, list[Any]] = {
        "dataset": ["tetrominoes"],
        "split": ["cv(97)"],
        "depth": [1],
        "beta": [0.1],
        "seed": [*range(count)],
    }
    study = Study("queue", [Experiment("only", grid)])
    return make_packs(study.experiments[0].members(study), size=1)


def queue_of(some: Sequence[Pack]) -> PackQueue:
    return PackQueue(some, placements={}, resources=Resources(), most_cpus=lambda: 1, failures=Failures())


def asked(queue: PackQueue, trial: str) -> str:
    """The pack that a trial gets."""
    config = queue.suggest(trial)
    assert isinstance(config, dict)
    return str(config["pack"])


def test_a_pack_that_came_back_goes_before_those_that_were_not_handed_out_and_the_last_may_come_back():
    first, second, third = wanted = packs(3)
    queue = queue_of(wanted)
    config = queue.suggest("a")
    assert isinstance(config, dict)
    assert asked(queue, "b") == second.pack_id
    queue.on_trial_complete("a", error=True)
    assert queue.failed(config, Failure(first.pack_id, Cause.PREEMPTED, "gone", "host")) is Remedy.AGAIN
    assert asked(queue, "c") == first.pack_id
    assert asked(queue, "d") == third.pack_id
    assert queue.suggest("e") is None
    for trial in "bcd":
        queue.on_trial_complete(trial)
    assert queue.suggest("e") == Searcher.FINISHED


def test_a_queue_that_is_closed_hands_out_nothing_more_whoever_is_at_work():
    queue = queue_of(packs(2))
    asked(queue, "a")
    queue.close()
    assert queue.suggest("b") == Searcher.FINISHED


@pytest.mark.parametrize("count", [7, 1009])
def test_packs_that_wait_weigh_a_reference_each(count):
    wanted = packs(count)
    tracemalloc.start()
    queue = queue_of(wanted)
    for number in range(count // 2):
        asked(queue, str(number))
        queue.on_trial_complete(str(number))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < count * BYTES_A_PACK + REST_BYTES
