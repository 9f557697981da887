"""A study held against its data sets and its results: what there is to do. Starts nothing, imports no torch."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rdstudy.datasets import dataset_info
from rdstudy.packs import GPU_PACK_SIZE, Pack, make_packs
from rdstudy.splits import resolve_rule
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
    packs: tuple[Pack, ...]  # what remains

    @property
    def remaining(self) -> tuple[Member, ...]:
        """Members to be trained."""
        return tuple(member for pack in self.packs for member in pack.members)

    def count(self, outcome: str) -> int:
        """Number of wanted members stored with this outcome."""
        return sum(self.outcomes.get(member.member_id) == outcome for member in self.wanted)


def make_plan(
    study: Study, outcomes: Mapping[str, str], *, only: Sequence[str] = (), member_id: str | None = None
) -> Plan:
    """Plan a study.

    A member remains when it is not stored, or stored as failed: a later attempt may do better. One that became
    non-finite would become so again.

    Args:
        study: the declaration.
        outcomes: member id -> outcome, of all members stored.
        only: names of experiments; all where empty.
        member_id: a single member, or None.

    Raises:
        ValueError: a level that the data sets do not allow, or an experiment or member that is not in the study.
    """
    experiments = tuple(_plan_experiment(study, experiment) for experiment in study.experiments)
    names = [planned.experiment.name for planned in experiments]
    for name in only:
        if name not in names:
            raise ValueError(f"--only is {name!r}; allowed: {', '.join(names)}")
    chosen = [planned for planned in experiments if not only or planned.experiment.name in only]
    wanted = tuple(dict.fromkeys(member for planned in chosen for member in planned.members))
    if member_id is not None:
        wanted = tuple(member for member in wanted if member.member_id == member_id)
        if not wanted:
            raise ValueError(f"--member is {member_id!r}; allowed: the id of one of the members asked for")
    remaining = [member for member in wanted if outcomes.get(member.member_id) not in ("ok", "nonfinite")]
    size = study.resources.pack_size or (GPU_PACK_SIZE if study.resources.gpus else 1)
    return Plan(study, experiments, wanted, outcomes, make_packs(remaining, size=size))


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
        "resources": dataclasses.asdict(study.resources),
        "command": command,
        "declared_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "experiments": [
            {
                "name": planned.experiment.name,
                "title": planned.experiment.title or planned.experiment.name,
                "description": planned.experiment.description,
                "member_ids": [member.member_id for member in planned.members],
            }
            for planned in plan.experiments
        ],
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
    rule = resolve_rule(member.split, dataset=info.name, images=info.images, has_factors=bool(info.factor_names))
    if member.architecture == "cnn":
        _check_depth(member, info.image_shape)
    return dataclasses.replace(member, split=str(rule))


def _check_depth(member: Member, image_shape: tuple[int, int, int]) -> None:
    """Each CNN layer halves the image's sides, which must stay whole."""
    rows, columns = image_shape[1:]
    deepest = min((side & -side).bit_length() - 1 for side in (rows, columns))
    if member.depth > deepest:
        raise ValueError(
            f"depth is {member.depth} for a cnn on {rows}×{columns} images of {member.dataset!r}; "
            f"allowed: 1 to {deepest}, each layer halves the image"
        )
