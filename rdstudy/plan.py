"""A study held against its data sets and its results: what there is to do, and what its packs ask of a device.

Starts nothing, imports no torch.
"""

import ctypes
import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from rdstudy.datasets import dataset_info
from rdstudy.packs import GIB, GPU_PACK_SIZE, Pack, PackMemory, fits, gpu_share, make_packs, pack_memory
from rdstudy.splits import parse_rule, resolve_rule
from rdstudy.study import Experiment, Member, Resources, Study

ASSUMED_GPU_GIB = 16.0
"""Memory of a GPU where nobody says how much it has: that of the smallest ones that clouds rent out."""


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
class GpuMemory:
    """Memory of one GPU, and how it is known."""

    bytes: float
    source: str  # in words


@dataclass(frozen=True)
class Placement:
    """What a pack asks of a GPU."""

    memory: PackMemory
    share: float  # of one GPU


@dataclass(frozen=True)
class Plan:
    """What is wanted, what is stored, and what remains."""

    study: Study
    experiments: tuple[PlannedExperiment, ...]  # all of the study
    wanted: tuple[Member, ...]  # distinct members of the experiments asked for
    outcomes: Mapping[str, str]  # member id -> outcome, of all members stored
    packs: tuple[Pack, ...]  # what remains to be trained, then what remains to be measured
    unmeasurable: int  # members stored without the measures asked for and without their weights
    gpu: GpuMemory | None  # of one GPU; None on a CPU
    placements: Mapping[str, Placement]  # pack id -> what it asks of a GPU; empty on a CPU

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
    packs = make_packs(remaining, size=functools.partial(_pack_size, resources=study.resources))
    lacking = [member for member in wanted if member.member_id in unmeasured]
    packs += tuple(Pack((member,), (run,)) for member in lacking if (run := unmeasured[member.member_id]))
    unmeasurable = sum(unmeasured[member.member_id] is None for member in lacking)
    gpu = gpu_memory(study.resources) if study.resources.gpus else None
    placements = place(packs, study.resources)
    return Plan(study, experiments, wanted, outcomes, packs, unmeasurable, gpu, placements)


def place(packs: Iterable[Pack], resources: Resources) -> dict[str, Placement]:
    """Pack id -> the memory that a pack is estimated to take, and its share of a GPU; nothing on a CPU."""
    if not resources.gpus:
        return {}
    gpu = gpu_memory(resources)
    placements = {}
    for pack in packs:
        memory = _memory(pack.members, len(pack.members), resources)
        share = gpu_share(memory, gpu.bytes) if isinstance(resources.gpus, str) else resources.gpus
        placements[pack.pack_id] = Placement(memory, share)
    return placements


def gpu_memory(resources: Resources) -> GpuMemory:
    """Memory of one GPU: what the study says, else what the first GPU of this machine has, else an assumption."""
    if resources.gpu_memory_gib is not None:
        return GpuMemory(resources.gpu_memory_gib * GIB, "as resources.gpu_memory_gib says")
    found = first_gpu_bytes()
    if found is not None:
        return GpuMemory(found, "the first GPU of this machine")
    return GpuMemory(ASSUMED_GPU_GIB * GIB, "assumed, no GPU here; resources.gpu_memory_gib says otherwise")


@functools.cache
def first_gpu_bytes() -> int | None:
    """Memory of the first GPU that CUDA sees on this machine, as `torch.cuda` would tell, without importing torch."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, memory = ctypes.c_int(), ctypes.c_size_t()
    calls: tuple[Callable[[], int], ...] = (
        lambda: cuda.cuInit(0),
        lambda: cuda.cuDeviceGet(ctypes.byref(device), 0),
        lambda: cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device),
    )
    return memory.value if all(call() == 0 for call in calls) else None


def _pack_size(cell: tuple[Member, ...], *, resources: Resources) -> int:
    """Members of a pack: what the study says; one on a CPU; as many as fit the trial's share of a GPU, one at least."""
    if resources.pack_size is not None:
        return resources.pack_size
    if not resources.gpus:
        return 1
    share = 1.0 if isinstance(resources.gpus, str) else resources.gpus
    available = share * gpu_memory(resources).bytes
    sizes = range(min(len(cell), GPU_PACK_SIZE), 1, -1)
    return next((size for size in sizes if fits(_memory(cell, size, resources), available)), 1)


def _memory(members: tuple[Member, ...], size: int, resources: Resources) -> PackMemory:
    """Of a pack of so many of the members of a cell, with as many seeds as it can have."""
    member = members[0]
    info, rule = dataset_info(member.dataset), parse_rule(member.split)
    return pack_memory(
        member,
        members=size,
        seeds=min(size, len({member.seed for member in members})),
        image_shape=info.image_shape,
        train_images=rule.train_images or info.images,  # of a checkerboard, half: not known without its factors
        evaluation_bytes=resources.evaluation_memory_gib * GIB,
    )


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
    rule = resolve_rule(member.split, dataset=info.name, images=info.images, has_factors=bool(info.factor_names))
    if member.architecture == "cnn":
        _check_depth(member, info.image_shape)
    if rule.train_images is not None:
        _check_validation(member, info.images - rule.train_images)
    if member.objective != "beta":
        _check_batch(member, rule.train_images or info.images)
    return dataclasses.replace(member, split=str(rule))


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
