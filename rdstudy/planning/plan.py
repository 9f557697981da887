"""A study held against its data sets and its results: what there is to do, and what its packs ask of a device.

Starts nothing, imports no torch.
"""

import dataclasses
import functools
import itertools
import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from rdstudy.datasets import DatasetInfo, dataset_info
from rdstudy.datasets.splits import LEAST_IMAGES, Rule, make_split, parse_rule, resolve_rule
from rdstudy.planning.estimate import Estimate, Speed, estimate
from rdstudy.planning.packs import MeasuringPack, Pack, TrialPack, cost_of, cut_stacks, remaining_packs, stacks_of
from rdstudy.planning.placement import (
    Cost,
    Costs,
    GpuMemory,
    Placement,
    divide,
    gpu_memory,
    pack_load,
    speed_of,
    usual_devices,
)
from rdstudy.results.declaration import Declaration, DeclaredExperiment
from rdstudy.study import Cell, Experiment, Member, Study, parts
from rdstudy.study.bounds import MOST_PARAMETERS
from rdstudy.study.checks import fail, fail_name, id_beginning
from rdstudy.study.claims import Claim, Contrast

_MOST_LEVELS = 20  # that are listed


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
    packs: tuple[TrialPack, ...]  # what remains to be trained, then what remains to be measured
    unmeasurable: int  # members stored without the measures asked for and without their weights
    gpu: GpuMemory | None  # of one GPU; None on a CPU
    placements: Mapping[str, Placement]  # pack id -> what it asks of a GPU; empty on a CPU
    estimate: Estimate  # of what remains

    @property
    def training(self) -> tuple[Pack, ...]:
        """What remains to be trained."""
        return tuple(pack for pack in self.packs if isinstance(pack, Pack))

    @property
    def measuring(self) -> tuple[MeasuringPack, ...]:
        """What remains to be measured alone."""
        return tuple(pack for pack in self.packs if isinstance(pack, MeasuringPack))

    @property
    def remaining(self) -> tuple[Member, ...]:
        """Members to be trained."""
        return tuple(member for pack in self.training for member in pack.members)

    def count(self, outcome: str) -> int:
        """Number of wanted members stored with this outcome."""
        return sum(self.outcomes.get(member.member_id) == outcome for member in self.wanted)


def make_plan(
    study: Study,
    outcomes: Mapping[str, str],
    *,
    only: Sequence[str] = (),
    member_id: str | None = None,
    elsewhere: Collection[str] = (),
    unmeasured: Mapping[str, str | None] = MappingProxyType({}),
    runs: Iterable[Mapping[str, Any]] = (),
    devices: int | None = None,
) -> Plan:
    """Plan a study.

    A member remains when it is not stored, or stored as failed: a later attempt may do better. One that became
    non-finite would become so again.

    Args:
        study: the declaration.
        outcomes: member id -> outcome, of all members stored.
        only: names of experiments; all where empty.
        member_id: of a single member, or its first digits; None for all.
        elsewhere: ids of members at which another run is at work: they do not remain.
        unmeasured: members stored as ok that lack the study's measures -> the run whose weights of them are kept, or
            None: without weights there is nothing to measure, and nothing is trained again for it.
        runs: that are stored, which correct the estimate, see `rdstudy.planning.estimate.calibrate`.
        devices: that the cluster has, for the estimate alone; `resources.devices` goes before it.

    Raises:
        ValueError: a level that the data sets do not allow, or an experiment, a member or models of a claim that the
            study does not have.
    """
    experiments = tuple(_plan_experiment(study, experiment) for experiment in study.experiments)
    study = dataclasses.replace(study, claims=_planned_claims(study, experiments))
    _check_annealing(study, experiments)
    wanted = _wanted(experiments, only, member_id)
    here = [member for member in wanted if member.member_id not in elsewhere]
    remaining = [member for member in here if outcomes.get(member.member_id) not in ("ok", "nonfinite")]
    costs = Costs(study.resources)
    stacks = stacks_of(wanted)
    divisions = divide(stacks, study.resources, costs)  # of all that is wanted: what is stored moves no cut
    cut = cut_stacks(stacks, size=lambda members: divisions[members[0].stack].size)
    packs: tuple[TrialPack, ...] = remaining_packs(cut, remaining)
    lacking = [member for member in here if member.member_id in unmeasured]
    packs += tuple(MeasuringPack((member,), (run,)) for member in lacking if (run := unmeasured[member.member_id]))
    unmeasurable = sum(unmeasured[member.member_id] is None for member in lacking)
    gpu = gpu_memory(study.resources) if study.resources.gpus else None
    pack_costs = [costs.of_pack(pack, share=divisions[pack.stack].share) for pack in packs]
    pairs = zip(packs, pack_costs, strict=True)
    placements = {pack.pack_id: cost.placement for pack, cost in pairs if cost.placement}
    packs, estimated = _estimated(packs, pack_costs, study, speed_of(study, runs, costs), devices)
    return Plan(study, experiments, wanted, outcomes, cut, packs, unmeasurable, gpu, placements, estimated)


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
                count = _cells_of(arm, cells, where)
                if count > 1 and contrast.kind != "distances_alike":  # distances are those of a split
                    factors = ", ".join(f"{factor} {level}" for factor, level in arm.items())
                    raise ValueError(f"{where}: {factors} is {count} cells; allowed: an arm whose factors make it one")
            _check_likelihoods(contrast, cells, where)
    return claims


def _check_likelihoods(contrast: Contrast, cells: Sequence[Member], where: str) -> None:
    """Logs of two likelihoods are not compared."""
    likelihoods = {cell.likelihood for arm in contrast.cells() for cell in _like(arm, cells)}
    if contrast.is_of_one_likelihood and len(likelihoods) > 1:
        value, levels = contrast.settings["value"], ", ".join(sorted(likelihoods))
        raise ValueError(f"{where}: {value} is compared under {levels}; allowed: models of one likelihood")


def _check_annealing(study: Study, experiments: Sequence[PlannedExperiment]) -> None:
    """Every level that chooses members for annealing is one that members have."""
    for factor, levels in (study.measures.annealing or {}).items():
        known = dict.fromkeys(member.level(factor) for planned in experiments for member in planned.members)
        for level in levels:
            if level not in known:
                listed = ", ".join(map(str, itertools.islice(known, _MOST_LEVELS)))
                allowed = f"what members have: {listed}{', ...' if len(known) > _MOST_LEVELS else ''}"
                raise fail(f"measures.annealing: {factor}", level, allowed)


def check_splits(plan: Plan) -> None:
    """Make the splits of members that remain, where the factors of the images decide them.

    A plan loads no images; before anything is trained, this loads those that have factors and are needed.

    Raises:
        ValueError: a split that leaves too few images in a subset, or a data set that cannot be loaded.
    """
    key = operator.attrgetter("dataset", "split", "study_seed", "evaluation")
    for member in {key(member): member for member in plan.remaining}.values():
        rule = parse_rule(member.split)
        if not rule.needs_factors:
            continue
        data = dataset_info(member.dataset).load()
        images, seed = len(data.images), member.study_seed
        split = make_split(rule, dataset=member.dataset, images=images, factors=data.factors, study_seed=seed)
        if min(len(split.train), len(split.test)) < LEAST_IMAGES:
            raise ValueError(
                f"split {rule} of data set {member.dataset!r} leaves {len(split.train)} train and {len(split.test)} "
                f"test images; allowed: {LEAST_IMAGES} or more of each"
            )
        _check_validation(member, len(split.test))
        if _least_batch(member) > 1:
            _check_batch(member, len(split.train))


def _planned_split(arm: Mapping[str, Any], cells: Sequence[Member]) -> str:
    """The name by which cells know an arm's split; as it stands where no cell has that split, or several do."""
    without_split = {factor: level for factor, level in arm.items() if factor != "split"}
    cells = _like(without_split, cells) or cells  # where another factor is wrong, the split is not to look wrong
    names = {dataset: _split_name(arm["split"], dataset) for dataset in {cell.dataset for cell in cells}}
    splits = {cell.split for cell in cells if cell.split == names[cell.dataset]}
    return splits.pop() if len(splits) == 1 else str(arm["split"])


def _like(arm: Mapping[str, Any], cells: Sequence[Member]) -> list[Member]:
    """Those of some cells that have all levels of an arm."""
    return [cell for cell in cells if all(cell.level(factor) == level for factor, level in arm.items())]


def _split_name(split: str, dataset: str) -> str | None:
    """The name of a split of a data set; None where it has no such split."""
    try:
        return str(_rule(split, dataset_info(dataset)))
    except ValueError:
        return None


def _cells_of(arm: Mapping[str, Any], cells: Sequence[Member], where: str) -> int:
    """How many of some cells, a member of each, an arm is; never none."""
    for factor, level in arm.items():
        levels = dict.fromkeys(str(member.level(factor)) for member in cells)
        cells = [member for member in cells if member.level(factor) == level]
        if not cells:
            raise fail(f"{where}: {factor}", level, f"what the models that are left have: {', '.join(levels)}")
    return len(cells)


def _wanted(experiments: Sequence[PlannedExperiment], only: Sequence[str], member_id: str | None) -> tuple[Member, ...]:
    """The distinct members that are asked for."""
    names = [planned.experiment.name for planned in experiments]
    for name in only:
        if name not in names:
            raise fail_name("--only", name, names)
    chosen = [planned for planned in experiments if not only or planned.experiment.name in only]
    wanted = tuple(dict.fromkeys(member for planned in chosen for member in planned.members))
    if member_id is None:
        return wanted
    chosen_id = id_beginning(member_id, (member.member_id for member in wanted), where="asked for")
    return tuple(member for member in wanted if member.member_id == chosen_id)


def _estimated(
    packs: Sequence[TrialPack], costs: Sequence[Cost], study: Study, speed: Speed, devices: int | None
) -> tuple[tuple[TrialPack, ...], Estimate]:
    """The packs, the longest first and those that are only measured last; and what all of them take."""
    resources = study.resources
    loads = [pack_load(pack, cost, study.measures, speed) for pack, cost in zip(packs, costs, strict=True)]
    order = sorted(range(len(packs)), key=lambda at: (isinstance(packs[at], MeasuringPack), -loads[at].seconds))
    estimated = estimate(
        [loads[at] for at in order],
        devices=resources.devices or devices or usual_devices(resources),
        devices_per_slot=1 if resources.gpus else resources.cpus,
        price=resources.price,
        source=speed.source,
    )
    return tuple(packs[at] for at in order), estimated


def declaration(plan: Plan, command: str, *, code_version: str = "") -> Declaration:
    """The study as a store keeps it, with the command that runs the whole of it."""
    study = plan.study
    return Declaration(
        name=study.name,
        title=study.title or study.name,
        description=study.description,
        seed=study.seed,
        command=command,
        code_version=code_version,
        recipe=dataclasses.asdict(study.recipe),
        evaluation=dataclasses.asdict(study.evaluation),
        measures={
            **dataclasses.asdict(study.measures),
            "names": list(study.measures.names),
            "measures_id": study.measures.measures_id,
        },
        resources=dataclasses.asdict(study.resources),
        experiments=tuple(
            DeclaredExperiment(
                planned.experiment.name,
                planned.experiment.title or planned.experiment.name,
                planned.experiment.description,
                tuple(member.member_id for member in planned.members),
                tuple(planned.experiment.figures),
            )
            for planned in plan.experiments
        ),
        claims=tuple(study.claims),
        authors=study.authors,
        members={member.member_id: member.to_dict() for planned in plan.experiments for member in planned.members},
    )


def _plan_experiment(study: Study, experiment: Experiment) -> PlannedExperiment:
    resolved_split = functools.cache(_resolved_split)
    try:
        members = tuple(dict.fromkeys(_named(each, resolved_split(each.cell)) for each in experiment.members(study)))
    except ValueError as error:
        raise ValueError(f"experiment {experiment.name!r}: {error}") from None
    return PlannedExperiment(experiment, members)


def _named(member: Member, split: str) -> Member:
    """A member whose split has the name by which it is known everywhere."""
    return member if split == member.split else dataclasses.replace(member, split=split)


def _resolved_split(cell: Cell) -> str:
    """Hold a cell against its data set; returns the name by which its split is known."""
    info = dataset_info(cell.dataset)
    rule = _rule(cell.split, info)
    _check_parameters(cell, info.image_shape)
    parts.check_steps("objective", "objective", cell.objective, cell.recipe.steps)
    if rule.train_images is not None:
        _check_validation(cell, info.images - rule.train_images)
    if _least_batch(cell) > 1:
        _check_batch(cell, rule.train_images or info.images)
    return str(rule)


def _rule(split: str, info: DatasetInfo) -> Rule:
    return resolve_rule(split, dataset=info.name, images=info.images, has_factors=bool(info.factor_names))


def _check_validation(cell: Cell, test_images: int) -> None:
    """The validation subset comes out of the test subset, which is no more than all images that are not trained on."""
    if cell.evaluation.validation_images >= test_images:
        raise ValueError(
            f"evaluation.validation_images is {cell.evaluation.validation_images} with the split {cell.split!r}; "
            f"allowed: fewer than its {test_images} test images"
        )


def _check_batch(cell: Cell, train_images: int) -> None:
    """An objective without a part of the rate estimates that part from the other images of the batch."""
    least = _least_batch(cell)
    if not least <= cell.recipe.batch_size <= train_images:
        raise ValueError(
            f"recipe.batch_size is {cell.recipe.batch_size} with the objective {cell.objective!r} and the split "
            f"{cell.split!r}; allowed: {least} to {train_images}, its training images"
        )


def _least_batch(cell: Cell) -> int:
    """Images that an objective needs in a batch, as its file says."""
    least: int = parts.constant("objective", cell.objective, "LEAST_BATCH", default=1)
    return least


def _check_parameters(cell: Cell, image_shape: tuple[int, int, int]) -> None:
    try:
        count = cost_of(cell, image_shape).parameters
    except ValueError as error:
        raise ValueError(f"data set {cell.dataset!r}: {error}") from None
    if count > MOST_PARAMETERS:
        raise ValueError(
            f"depth {cell.depth}, width {cell.width} and latent_dim {cell.latent_dim} make {count:.2g} "
            f"parameters on images of {cell.dataset!r}; allowed: {MOST_PARAMETERS:.2g} at most"
        )
