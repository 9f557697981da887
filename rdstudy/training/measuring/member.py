"""All measures of one trained member, one after the other."""

import time
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from rdstudy.packs import GIB
from rdstudy.study import Measures, Member, Resources
from rdstudy.training.measuring.pieces import ON_TEST_ONLY, PIECES, annealing
from rdstudy.training.measuring.subject import MeasureRows, Measuring, Subject
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
        resources: bound on the memory of temporaries, beside posteriors and images.
        rows: where the rows are added, all at the end.
    """
    with training_settings():
        memory_bytes = resources.evaluation_memory_gib * GIB
        subject = Subject(weights, member, subsets, measuring, device=device, memory_bytes=memory_bytes)
    taken = {name: measure for name, measure in PIECES.items() if name in measuring.measures.names}
    if _is_annealed(member, measuring.measures):
        taken["annealing"] = annealing
    for name, measure in taken.items():
        started = time.perf_counter()
        with training_settings():
            subject.attempt(name, measure, ("test",) if name in ON_TEST_ONLY else ("train", "test"))
        subject.seconds += time.perf_counter() - started
        yield
    subject.finish(rows)


def _is_annealed(member: Member, measures: Measures) -> bool:
    chosen = measures.annealing
    return chosen is not None and all(getattr(member, factor) in levels for factor, levels in chosen.items())
