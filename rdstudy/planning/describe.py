"""A plan in words, for a terminal. Starts nothing, imports no torch."""

import collections
import shlex
import textwrap
from collections.abc import Iterable, Sequence

from rdstudy.planning.estimate import Estimate, stops
from rdstudy.planning.packs import GIB, TrialPack, fits
from rdstudy.planning.placement import GpuMemory, Placement
from rdstudy.planning.plan import Plan
from rdstudy.results.standing import Unasked
from rdstudy.results.tables import Damaged
from rdstudy.study.words import aligned, duration

_MOST_LINES = 12
_WIDTH = 80  # of a line of words; commands are not broken
_BUSY = 0.995  # devices busier than this are not worth a word


def describe_plan(plan: Plan, out: str) -> str:
    """A table of what is wanted, done and remaining, per experiment and in all; then what the packs ask of a device."""
    rows: list[tuple[str, ...]] = [("experiment", "cells", "members", "done", "not ok", "remaining")]
    remaining, wanted = set(plan.remaining), set(plan.wanted)
    for planned in plan.experiments:
        members = [member for member in planned.members if member in wanted]
        outcomes = [plan.outcomes.get(member.member_id) for member in members]
        not_ok = sum(outcome in ("nonfinite", "failed") for outcome in outcomes)
        counts = (planned.cells, len(members), outcomes.count("ok"), not_ok, sum(m in remaining for m in members))
        rows.append((planned.experiment.name, *map(str, counts)))
    sizes = sorted({len(pack.members) for pack in plan.training})
    packs = f"{len(plan.training)} packs of {_range(sizes)} members" if sizes else "no packs"
    steps = sum(member.recipe.steps for pack in plan.training for member in pack.members)
    measured = sum(len(pack.members) for pack in plan.measuring)
    return "\n".join(
        [
            f"study {plan.study.name}: {len(plan.wanted)} distinct members, {plan.count('ok')} done, "
            f"{len(plan.remaining)} remaining; results in {out}",
            *aligned(rows, left=1),
            f"remaining: {packs}, {steps:,} training steps",
            *([f"to be measured, without training: {measured} members whose weights are kept"] if measured else []),
            *describe_packs(plan),
            *describe_estimate(plan),
        ]
    )


def describe_lacking(plan: Plan, *, weightless: int) -> list[str]:
    """Lines on what the study asks of stored members and can no longer have, and how to get it.

    `weightless` counts wanted members that are stored without the weights that the study asks to be kept.
    """
    remedy = "with another --out they are trained again, and have it"
    lines = []
    if plan.unmeasurable:
        lines.append(
            f"not measured as the study asks: {plan.unmeasurable} members, whose weights were not kept "
            f"(resources.keep_weights): {remedy}"
        )
    if weightless:
        lines.append(f"without weights, which the study asks to be kept since then: {weightless} members: {remedy}")
    return lines


def describe_unasked(plan: Plan, unasked: Sequence[Unasked], *, out: str, command: str) -> list[str]:
    """Lines on what is kept, what is new, and what is stored under the study's name and it does not ask for.

    `command` runs the whole study as it is now.
    """
    kept = sum(member.member_id in plan.outcomes for member in plan.wanted)
    stale, orphaned = (
        sum(len(each.member_ids) for each in unasked if each.state == state) for state in ("stale", "orphaned")
    )
    lines = [f"kept: {kept}, new: {len(plan.wanted) - kept}, stale: {stale}, orphaned: {orphaned}"]
    for each in unasked[:_MOST_LINES]:
        lines += textwrap.wrap(each.sentence(), _WIDTH, subsequent_indent="  ")
        lines.append(f"  to get them back: {each.remedy(out, command)}")
    if unasked:
        listing = ["rdstudy", "list", out, "--study", plan.study.name, "--state", "stale", "--state", "orphaned"]
        lines.append(f"  each of them: {shlex.join(listing)}")
    return lines


def describe_damaged(files: Iterable[Damaged]) -> list[str]:
    """Lines on files that cannot be read, and that a run sets aside."""
    return [f"{bad.path} is damaged ({bad.reason}): a run sets it aside, and makes what it held again" for bad in files]


def _range(sizes: list[int]) -> str:
    return str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"


def describe_packs(plan: Plan) -> list[str]:
    """What the packs that remain ask of a device, in lines for people."""
    resources = plan.study.resources
    if plan.gpu is None or not plan.packs:
        return [f"a trial takes {resources.cpus} CPU and {'no' if plan.gpu is None else 'a share of a'} GPU"]
    alike = collections.Counter(_describe_pack(pack, plan.placements[pack.pack_id], plan.gpu) for pack in plan.packs)
    lines = [f"  {count} × {text}" for text, count in alike.items()]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"  and {len(lines) - _MOST_LINES} more kinds of packs"]
    memory = f"{plan.gpu.bytes / GIB:.3g} GiB ({plan.gpu.source})"
    return [f"a trial takes {resources.cpus} CPU and a share of a GPU of {memory}", *lines]


def _describe_pack(pack: TrialPack, placement: Placement, gpu: GpuMemory) -> str:
    parts = round(1 / placement.share)
    share = "a whole GPU" if parts == 1 else f"1/{parts} of a GPU"
    share += f" ({placement.reason})" if placement.reason else ""
    text = f"{len(pack.members)} members, about {max(0.1, placement.memory.peak / GIB):.1f} GiB, on {share}"
    if fits(placement.memory, gpu.bytes * placement.share):
        return text
    return f"{text}: this may not fit, and a pack that does not is halved as it runs"


def describe_estimate(plan: Plan) -> list[str]:
    """What remains will take and cost, in a line for people; none where nothing remains."""
    expected, resources = plan.estimate, plan.study.resources
    if not plan.packs:
        return []
    device = "GPU" if resources.gpus else "CPU core"
    devices = f"{expected.devices} {device}{'s' if expected.devices > 1 else ''}"
    parts = [
        f"estimated: {_amount(expected.device_hours)} device-hours, {duration(3600 * expected.wall_hours)} on {devices}"
    ]
    if expected.cost is not None:
        paid = "GPU-hour" if resources.gpus else "core-hour"
        parts.append(f"about ${_amount(expected.cost)} at ${expected.price:.2f} a {paid}")
    if expected.utilization < _BUSY:
        parts.append(f"devices {100 * expected.utilization:.0f} % busy")
    return [f"{', '.join(parts)}; {expected.source}"]


def describe_limits(expected: Estimate, *, max_hours: float | None, max_cost: float | None) -> list[str]:
    """The limits, hours and USD, that will stop a run before it has finished, in lines for people; none if none will.

    Raises:
        ValueError: see `rdstudy.planning.limits.check_limits`.
    """
    return [
        f"{stop.limit} stops this run at about {100 * stop.share:.0f} % of its work, about "
        f"{duration(3600 * stop.hours)}; nothing is lost, the same command goes on"
        for stop in stops(expected, max_hours=max_hours, max_cost=max_cost)
    ]


def _amount(value: float) -> str:
    """A number of hours or dollars, with what digits it can claim."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"
