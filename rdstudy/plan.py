"""A study held against its data sets and its results: what there is to do, and what its packs ask of a device.

Starts nothing, imports no torch.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from rdstudy.checks import fail
from rdstudy.claims import Claim
from rdstudy.datasets import DatasetInfo, dataset_info
from rdstudy.estimate import Estimate, Speed, estimate
from rdstudy.packs import Pack, make_packs, remaining_packs
from rdstudy.placement import GpuMemory, Placement, divide, gpu_memory, pack_job, place, speed_of, usual_devices
from rdstudy.splits import Rule, resolve_rule
from rdstudy.study import Experiment, Member, Study


@dataclass(frozen=True)
class PlannedExperiment:
    """An experiment with its members, all levels resolved."""

    experiment: Experiment
    members: tuple[Member, ...]

    @property
    def cells(self) -> int:
        """Number of distinct cells."""
        return len({member.cell for member in self.members})


@dataclass(frozen=True)
class Plan:
    """What is wanted, what is stored, and what remains."""

    study: Study
    experiments: tuple[PlannedExperiment, ...]  # all of the study
    wanted: tuple[Member, ...]  # distinct members of the experiments asked for
    outcomes: Mapping[str, str]  # member id -> outcome, of all members stored
    cut: tuple[Pack, ...]  # what is wanted, stored or not, as it was and is divided
    packs: tuple[Pack, ...]  # what remains to be trained, then what remains to be measured
    unmeasurable: int  # members stored without the measures asked for and without their weights
    gpu: GpuMemory | None  # of one GPU; None on a CPU
    placements: Mapping[str, Placement]  # pack id -> what it asks of a GPU; empty on a CPU
    estimate: Estimate  # of what remains

    @property
    def remaining(self) -> tuple[Member, ...]:
        """Members to be trained."""
        return tuple(member for pack in self.packs if not pack.runs for member in pack.members)

    def count(self, outcome: str) -> int:
        """Number of wanted members stored with this outcome."""
        return sum(self.outcomes.get(member.member_id) == outcome for member in self.wanted)


def make_plan(
    study: Study,
    outcomes: Mapping[str, str],
    *,
    only: Sequence[str] = (),
    member_id: str | None = None,
    unmeasured: Mapping[str, str | None] = MappingProxyType({}),
    rows: Iterable[Mapping[str, Any]] = (),
    devices: int | None = None,
) -> Plan:
    """Plan a study.

    A member remains when it is not stored, or stored as failed: a later attempt may do better. One that became
    non-finite would become so again.

    Args:
        study: the declaration.
        outcomes: member id -> outcome, of all members stored.
        only: names of experiments; all where empty.
        member_id: a single member, or None.
        unmeasured: members stored as ok that lack the study's measures -> the run whose weights of them are kept, or
            None: without weights there is nothing to measure, and nothing is trained again for it.
        rows: of the `members` table, which correct the estimate, see `rdstudy.estimate.calibrate`.
        devices: that the cluster has, for the estimate alone; `resources.devices` goes before it.

    Raises:
        ValueError: a level that the data sets do not allow, or an experiment, a member or models of a claim that the
            study does not have.
    """
    experiments = tuple(_plan_experiment(study, experiment) for experiment in study.experiments)
    study = dataclasses.replace(study, claims=_planned_claims(study, experiments))
    wanted = _wanted(experiments, only, member_id)
    remaining = [member for member in wanted if outcomes.get(member.member_id) not in ("ok", "nonfinite")]
    divisions = divide(wanted, study.resources)  # of all that is wanted: what is stored moves no cut
    cut = make_packs(wanted, size=lambda members: divisions[members[0].cell].size)
    packs = remaining_packs(cut, remaining)
    lacking = [member for member in wanted if member.member_id in unmeasured]
    packs += tuple(Pack((member,), (run,)) for member in lacking if (run := unmeasured[member.member_id]))
    unmeasurable = sum(unmeasured[member.member_id] is None for member in lacking)
    gpu = gpu_memory(study.resources) if study.resources.gpus else None
    placements = place(packs, study.resources, {cell: division.share for cell, division in divisions.items()})
    packs, found = _estimated(packs, placements, study, speed_of(study, rows), devices)
    return Plan(study, experiments, wanted, outcomes, cut, packs, unmeasurable, gpu, placements, found)


def _planned_claims(study: Study, experiments: Sequence[PlannedExperiment]) -> tuple[Claim, ...]:
    """The claims, with the names that members' splits have.

    Every one is about models of the study, and says which: found out before they are trained.
    """
    cells = tuple({member.cell: member for planned in experiments for member in planned.members}.values())
    claims = tuple(claim.with_splits(lambda arm: _planned_split(arm, cells)) for claim in study.claims)
    for claim in claims:
        where = f"study {study.name!r}: claim {claim.name!r}"
        for contrast in claim.flat():
            for arm in contrast.cells():
                found = _cells_of(arm, cells, where)
                if found > 1 and contrast.kind != "distances_alike":  # distances are those of a split
                    told = ", ".join(f"{factor} {level}" for factor, level in arm.items())
                    raise ValueError(f"{where}: {told} is {found} cells; allowed: an arm whose factors make it one")
    return claims


def _planned_split(arm: Mapping[str, Any], cells: Sequence[Member]) -> str:
    """The name that an arm's split has among some cells; as it stands where it is none of theirs, or several."""
    others = [(factor, level) for factor, level in arm.items() if factor != "split"]
    like = [cell for cell in cells if all(getattr(cell, factor) == level for factor, level in others)]
    cells = like or cells  # where another factor is the mistake, the split is not to look like one
    names = {dataset: _split_name(arm["split"], dataset) for dataset in {cell.dataset for cell in cells}}
    found = {cell.split for cell in cells if cell.split == names[cell.dataset]}
    return found.pop() if len(found) == 1 else str(arm["split"])


def _split_name(split: str, dataset: str) -> str | None:
    """The name of a split of a data set; None where it has no such split."""
    try:
        return str(_rule(split, dataset_info(dataset)))
    except ValueError:
        return None


def _cells_of(arm: Mapping[str, Any], cells: Sequence[Member], where: str) -> int:
    """How many of some cells, a member of each, an arm is; never none."""
    for factor, level in arm.items():
        levels = dict.fromkeys(str(getattr(member, factor)) for member in cells)
        cells = [member for member in cells if getattr(member, factor) == level]
        if not cells:
            raise fail(f"{where}: {factor}", level, f"what the models that are left have: {', '.join(levels)}")
    return len(cells)


def _wanted(experiments: Sequence[PlannedExperiment], only: Sequence[str], member_id: str | None) -> tuple[Member, ...]:
    """The distinct members that are asked for."""
    names = [planned.experiment.name for planned in experiments]
    for name in only:
        if name not in names:
            raise ValueError(f"--only is {name!r}; allowed: {', '.join(names)}")
    chosen = [planned for planned in experiments if not only or planned.experiment.name in only]
    wanted = tuple(dict.fromkeys(member for planned in chosen for member in planned.members))
    if member_id is None:
        return wanted
    wanted = tuple(member for member in wanted if member.member_id == member_id)
    if not wanted:
        raise ValueError(f"--member is {member_id!r}; allowed: the id of one of the members asked for")
    return wanted


def _estimated(
    packs: Sequence[Pack], placements: Mapping[str, Placement], study: Study, speed: Speed, devices: int | None
) -> tuple[tuple[Pack, ...], Estimate]:
    """The packs, those that take longest first and those that are only measured last, and what all of them take."""
    resources = study.resources
    shares = [placements[pack.pack_id].share if resources.gpus else 1.0 for pack in packs]
    jobs = [pack_job(pack, study, speed, share=share) for pack, share in zip(packs, shares, strict=True)]
    order = sorted(range(len(packs)), key=lambda at: (bool(packs[at].runs), -jobs[at].seconds))
    found = estimate(
        [jobs[at] for at in order],
        devices=resources.devices or devices or usual_devices(resources),
        devices_per_slot=1 if resources.gpus else resources.cpus,
        price=resources.price,
        source=speed.source,
    )
    return tuple(packs[at] for at in order), found


def declaration(plan: Plan, command: str) -> dict[str, Any]:
    """The study as plain data, for `Store.declare`: a report needs no more than this and the tables."""
    members = {member.member_id: member for planned in plan.experiments for member in planned.members}
    study = plan.study
    return {
        "name": study.name,
        "title": study.title or study.name,
        "description": study.description,
        "seed": study.seed,
        "recipe": dataclasses.asdict(study.recipe),
        "evaluation": dataclasses.asdict(study.evaluation),
        "measures": {
            **dataclasses.asdict(study.measures),
            "names": list(study.measures.names),
            "measures_id": study.measures.measures_id,
        },
        "resources": dataclasses.asdict(study.resources),
        "command": command,
        "declared_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "experiments": [
            {
                "name": planned.experiment.name,
                "title": planned.experiment.title or planned.experiment.name,
                "description": planned.experiment.description,
                "figures": list(planned.experiment.figures),
                "member_ids": [member.member_id for member in planned.members],
            }
            for planned in plan.experiments
        ],
        "claims": [claim.to_dict() for claim in study.claims],
        "members": {member_id: member.to_dict() for member_id, member in members.items()},
    }


def _plan_experiment(study: Study, experiment: Experiment) -> PlannedExperiment:
    try:
        members = tuple(dict.fromkeys(_resolve(member) for member in experiment.members(study)))
    except ValueError as error:
        raise ValueError(f"experiment {experiment.name!r}: {error}") from None
    return PlannedExperiment(experiment, members)


def _resolve(member: Member) -> Member:
    """Hold a member against its data set; its split gets the name by which it is known everywhere."""
    info = dataset_info(member.dataset)
    rule = _rule(member.split, info)
    if member.architecture == "cnn":
        _check_depth(member, info.image_shape)
    if rule.train_images is not None:
        _check_validation(member, info.images - rule.train_images)
    if member.objective != "beta":
        _check_batch(member, rule.train_images or info.images)
    return dataclasses.replace(member, split=str(rule))


def _rule(split: str, info: DatasetInfo) -> Rule:
    return resolve_rule(split, dataset=info.name, images=info.images, has_factors=bool(info.factor_names))


def _check_validation(member: Member, others: int) -> None:
    """The validation subset comes out of the test subset, which is no more than all images that are not trained on."""
    if member.evaluation.validation_images >= others:
        raise ValueError(
            f"evaluation.validation_images is {member.evaluation.validation_images} with the split {member.split!r}; "
            f"allowed: fewer than its {others} test images"
        )


def _check_batch(member: Member, train_images: int) -> None:
    """An objective without a part of the rate estimates that part from the other images of the batch."""
    if not 2 <= member.recipe.batch_size <= train_images:
        raise ValueError(
            f"recipe.batch_size is {member.recipe.batch_size} with the objective {member.objective!r} and the split "
            f"{member.split!r}; allowed: 2 to {train_images}, its training images"
        )


def _check_depth(member: Member, image_shape: tuple[int, int, int]) -> None:
    """Each CNN layer halves the image's sides, which must stay whole."""
    rows, columns = image_shape[1:]
    deepest = min((side & -side).bit_length() - 1 for side in (rows, columns))
    if member.depth > deepest:
        raise ValueError(
            f"depth is {member.depth} for a cnn on {rows}×{columns} images of {member.dataset!r}; "
            f"allowed: 1 to {deepest}, each layer halves the image"
        )
