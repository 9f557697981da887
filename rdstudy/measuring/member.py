"""All measures of one trained member, one after the other."""

import functools
import time
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from rdstudy.measuring.annealing import annealing
from rdstudy.measuring.measures import measures_of
from rdstudy.measuring.own import take_own
from rdstudy.measuring.samples import note_samples
from rdstudy.measuring.trained import MeasureRows, Measuring, TrainedMember
from rdstudy.planning.packs import GIB
from rdstudy.study import Measures, Member, Resources
from rdstudy.study.parts import short_name
from rdstudy.training.process import training_settings
from rdstudy.training.subsets import Subsets


def measure_trained(
    weights: Mapping[str, Tensor],
    member: Member,
    subsets: Subsets,
    measuring: Measuring,
    *,
    device: torch.device,
    resources: Resources,
    rows: MeasureRows,
) -> Iterator[None]:
    """Take all measures of one member, and add its rows when all are taken; a sign of life after each.

    Args:
        weights: of the member.
        member: its settings.
        subsets: its images.
        measuring: what to measure.
        device: where to compute.
        resources: bound on the memory of temporaries, beside posteriors and images; whether weights are kept.
        rows: where the rows are added, all at the end.
    """
    with training_settings():
        memory_bytes = resources.evaluation_memory_gib * GIB
        trained = TrainedMember(weights, member, subsets, measuring, device=device, memory_bytes=memory_bytes)
    taken = measures_of([name for name in measuring.measures.names if name not in measuring.measures.own])
    if _is_annealed(member, measuring.measures):
        taken["annealing"] = (annealing, ("test",))
    if resources.keep_weights:  # pictures of the model that is kept; no measure, and so not in `measures_id`
        taken["samples"] = (note_samples, ("test",))
    for level in measuring.measures.own:
        taken[short_name(level)] = (functools.partial(take_own, level=level), ("train", "test"))
    for name, (measure, names) in taken.items():
        started = time.perf_counter()
        with training_settings():
            trained.attempt(name, measure, names)
        trained.seconds += time.perf_counter() - started
        yield
    trained.finish(rows)


def _is_annealed(member: Member, measures: Measures) -> bool:
    chosen = measures.annealing
    return chosen is not None and all(member.level(factor) in levels for factor, levels in chosen.items())
