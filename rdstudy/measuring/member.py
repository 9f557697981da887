"""All measures of trained members, one after the other: a member by itself, or the members of a pack in groups."""

import functools
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from rdstudy.measuring.annealing import annealing
from rdstudy.measuring.group import Group
from rdstudy.measuring.held_images import HeldImages
from rdstudy.measuring.measures import measures_of
from rdstudy.measuring.own import take_own
from rdstudy.measuring.samples import note_samples
from rdstudy.measuring.trained import Measure, MeasureRows, Measuring, TrainedMember
from rdstudy.planning.packs import GIB, cost_of, cuts
from rdstudy.study import Measures, Member, Resources
from rdstudy.study.parts import short_name
from rdstudy.training.process import training_settings
from rdstudy.training.subsets import Subsets

_GROUP_SHARE = 0.5
"""Of the memory for measuring, what a group may hold of it; the rest is for temporaries."""

_ANNEALING = "annealing"


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
    """Take all measures of one member; see `measure_pack`."""
    of_member = {member.member_id: weights}
    return measure_pack(of_member, [member], subsets, measuring, device=device, resources=resources, rows=rows)


def measure_pack(
    weights: Mapping[str, Mapping[str, Tensor]],
    members: Sequence[Member],
    subsets: Subsets,
    measuring: Measuring,
    *,
    device: torch.device,
    resources: Resources,
    rows: MeasureRows,
    at_once: int | None = None,
) -> Iterator[None]:
    """Take all measures of members, and add their rows, a member's when all are taken; a sign of life after each.

    Args:
        weights: by id of a member.
        members: of one pack, of which each has weights; none where none is finite.
        subsets: their images.
        measuring: what to measure.
        device: where to compute.
        resources: bound on the memory of temporaries, and of what members that are measured together hold; whether
            weights are kept.
        rows: where the rows are added, in the order of the members.
        at_once: members that are measured together at most; None for one on a CPU, where that is as fast and its
            values are the same bits in any company, and for as many on a GPU as fit into the memory.
    """
    if not members:
        return
    memory_bytes = resources.evaluation_memory_gib * GIB
    held = HeldImages(subsets, device, memory_bytes=memory_bytes)
    if device.type == "cuda":
        memory_bytes = max(memory_bytes - held.held_bytes, memory_bytes / 2)
    most = at_once or _most_at_once(members, subsets, measuring.measures, device=device, memory_bytes=memory_bytes)
    if most > 1:
        memory_bytes *= 1 - _GROUP_SHARE
    bounds = cuts(len(members), most)
    for start, end in itertools.pairwise(bounds):
        with training_settings():
            group = [
                TrainedMember(
                    weights[member.member_id],
                    member,
                    subsets,
                    measuring,
                    device=device,
                    memory_bytes=memory_bytes,
                    held=held,
                )
                for member in members[start:end]
            ]
        yield from _measure_group(group, keep_weights=resources.keep_weights)
        for trained in group:
            trained.finish(rows)


def _most_at_once(
    members: Sequence[Member], subsets: Subsets, measures: Measures, *, device: torch.device, memory_bytes: float
) -> int:
    """Members whose stacked weights, posteriors and images fit into a group's share of the memory; one at least."""
    if device.type != "cuda":
        return 1
    cost = cost_of(members[0], subsets.image_shape)
    posteriors = 2 * members[0].latent_dim * sum(len(subsets.whole[name]) for name in ("train", "test"))
    images = cost.pixels * max(measures.importance_images, measures.probe_images)
    return max(1, int(_GROUP_SHARE * memory_bytes / (4 * (cost.parameters + posteriors + images))))


def _measure_group(members: list[TrainedMember], *, keep_weights: bool) -> Iterator[None]:
    """Take each measure of all members before the next."""
    measures, group = members[0].measures, Group(members)
    for trained in members if len(members) > 1 else ():
        trained.group = group
    for name, (measure, subsets) in _measures_taken(measures, keep_weights=keep_weights).items():
        measured = [each for each in members if name != _ANNEALING or _is_annealed(each.member, measures)]
        if not measured:
            continue
        started = time.perf_counter()
        with training_settings():
            for subset in subsets:
                for trained in measured:
                    trained.attempt(name, measure, [subset])
                group.forget()
        for trained in measured:
            trained.seconds += (time.perf_counter() - started) / len(measured)
        yield
    for trained in members:
        trained.group = None  # which refers to its members: without the cycle they are freed at once


def _measures_taken(measures: Measures, *, keep_weights: bool) -> dict[str, tuple[Measure, Sequence[str]]]:
    """By name, a measure and its subsets, in the order in which they are taken."""
    taken: dict[str, tuple[Measure, Sequence[str]]] = {
        **measures_of([name for name in measures.names if name not in measures.own]),
        _ANNEALING: (annealing, ("test",)),
    }
    if keep_weights:  # pictures of the model that is kept; no measure, and so not in `measures_id`
        taken["samples"] = (note_samples, ("test",))
    for level in measures.own:
        taken[short_name(level)] = (functools.partial(take_own, level=level), ("train", "test"))
    return taken


def _is_annealed(member: Member, measures: Measures) -> bool:
    chosen = measures.annealing
    return chosen is not None and all(member.level(factor) in levels for factor, levels in chosen.items())
