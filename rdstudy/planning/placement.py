"""What packs cost on a device, each cost computed once: memory, share of a GPU, time; and how large packs are.

Starts nothing, imports no torch.
"""

import ctypes
import functools
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rdstudy.datasets import dataset_info
from rdstudy.datasets.splits import parse_rule
from rdstudy.planning.cards import ASSUMED_CARD, CARDS, Card, card_called
from rdstudy.planning.estimate import (
    ASSUMED_CORE,
    Speed,
    calibrate,
    filling,
    measuring_steps,
    pack_step_seconds,
    training_seconds,
)
from rdstudy.planning.packs import (
    GIB,
    GPU_PACK_SIZE,
    MOST_SHARES,
    MeasuringPack,
    Pack,
    PackMemory,
    TrialPack,
    fits,
    gpu_share,
    pack_memory,
)
from rdstudy.planning.schedule import Load, even_sizes
from rdstudy.study import Cell, Measures, Member, Resources, Study

ASSUMED_GPU_GIB = 16.0
"""Memory of a GPU where nobody says how much it has: that of the smallest ones that clouds rent out."""


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
    reason: str  # of the share, in words; empty where the study says it


@dataclass(frozen=True)
class Cost:
    """What a pack of so many members of a cell takes on the devices of a study."""

    placement: Placement | None  # None on a CPU
    training_seconds: float  # modelled
    step_seconds: float  # of one member alone, modelled


class Costs:
    """Costs on the devices of a study, each computed once."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._costs: dict[tuple[Cell, int, int, float], Cost] = {}

    def of(self, cell: Cell, *, members: int, seeds: int, share: float = 0.0) -> Cost:
        """The cost of a pack of so many members of a cell, with as many of its `seeds` as it can have.

        On a share of a GPU; 0 for that which it fits into.
        """
        key = (cell, members, min(members, seeds), share)
        if key not in self._costs:
            self._costs[key] = self._cost(*key)
        return self._costs[key]

    def of_pack(self, pack: TrialPack, *, share: float = 0.0) -> Cost:
        """The cost of a pack."""
        seeds = len({member.seed for member in pack.members})
        return self.of(pack.stack, members=len(pack.members), seeds=seeds, share=share)

    def _cost(self, cell: Cell, members: int, seeds: int, share: float) -> Cost:
        info = dataset_info(cell.dataset)
        card = gpu_card(self._resources).card if self._resources.gpus else None
        placement = self._placement(cell, members, seeds, share, card) if card else None
        seconds = functools.partial(
            training_seconds,
            cell,
            image_shape=info.image_shape,
            images=info.images,
            card=card,
            sharing=round(1 / placement.share) if placement else 1,
        )
        return Cost(placement, seconds(members=members), seconds(members=1) / cell.recipe.steps)

    def _placement(self, cell: Cell, members: int, seeds: int, share: float, card: Card) -> Placement:
        memory = _memory(cell, members, seeds, self._resources)
        gpus = self._resources.gpus
        if not isinstance(gpus, str):
            return Placement(memory, share or gpus, "")
        if share:
            return Placement(memory, share, "as a pack of as many members as fit")
        kernels = pack_step_seconds(
            cell, members=members, image_shape=dataset_info(cell.dataset).image_shape, card=card
        )
        at_once = min(filling(kernels), MOST_SHARES)
        share = gpu_share(memory, gpu_memory(self._resources).bytes, at_once=at_once)
        parts = round(1 / share)
        if parts < at_once:
            reason = "it fits into no smaller share"
        elif parts == 2:
            reason = "one trains while another is measured"
        else:
            reason = f"{parts} at a time hide each other's launches"
        return Placement(memory, share, reason)


def memory_of(pack: TrialPack, resources: Resources) -> PackMemory:
    """What a pack is estimated to take of a GPU."""
    return _memory(pack.stack, len(pack.members), len({member.seed for member in pack.members}), resources)


def _memory(cell: Cell, members: int, seeds: int, resources: Resources) -> PackMemory:
    info, rule = dataset_info(cell.dataset), parse_rule(cell.split)
    return pack_memory(
        cell,
        members=members,
        seeds=seeds,
        image_shape=info.image_shape,
        train_images=rule.train_images or info.images,  # of a checkerboard, half: not known without its factors
        evaluation_bytes=resources.evaluation_memory_gib * GIB,
    )


def gpu_memory(resources: Resources) -> GpuMemory:
    """Memory of one GPU: what the study says, else what the first GPU of this machine has, else an assumption."""
    if resources.gpu_memory_gib is not None:
        return GpuMemory(resources.gpu_memory_gib * GIB, "as resources.gpu_memory_gib says")
    if resources.gpu_model is not None:
        return GpuMemory(CARDS[resources.gpu_model].memory_gb * 1e9, f"of an {resources.gpu_model}, by its data sheet")
    gpu = first_gpu()
    if gpu is not None:
        return GpuMemory(gpu.bytes, "the first GPU of this machine")
    return GpuMemory(ASSUMED_GPU_GIB * GIB, "assumed, no GPU here; resources.gpu_memory_gib says otherwise")


@dataclass(frozen=True)
class AssumedCard:
    """The GPU whose data sheet a plan takes speeds from, and how it is known."""

    card: Card
    source: str  # of the speed, in words


def gpu_card(resources: Resources) -> AssumedCard:
    """The card that the study names, else the first GPU of this machine, else an assumption."""
    if resources.gpu_model is not None:
        card, why = CARDS[resources.gpu_model], ""
    elif (gpu := first_gpu()) is None:
        card, why = ASSUMED_CARD, ", assumed: no GPU here, and resources.gpu_model names none"
    elif (card_here := card_called(gpu.name)) is not None:
        card, why = card_here, ", the first GPU of this machine"
    else:
        card, why = ASSUMED_CARD, f", assumed: no data sheet here of the first GPU, {gpu.name}"
    return AssumedCard(card, f"speed by the data sheet of an {card.name}{why} (nothing measured yet)")


@dataclass(frozen=True)
class Gpu:
    """A GPU as CUDA's driver sees it."""

    name: str
    bytes: int


@functools.cache
def first_gpu() -> Gpu | None:
    """The first GPU that CUDA sees on this machine, as `torch.cuda` would tell, without importing torch."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, memory, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(256)
    calls: tuple[Callable[[], int], ...] = (
        lambda: cuda.cuInit(0),
        lambda: cuda.cuDeviceGet(ctypes.byref(device), 0),
        lambda: cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device),
        lambda: cuda.cuDeviceGetName(name, len(name), device),
    )
    return Gpu(name.value.decode(), memory.value) if all(call() == 0 for call in calls) else None


@dataclass(frozen=True)
class Division:
    """How the members of a cell are divided."""

    size: int  # of a pack, at most
    share: float  # of a GPU that each pack takes; 0 where that follows from the pack


def divide(stacks: Iterable[tuple[Member, ...]], resources: Resources, costs: Costs) -> dict[Cell, Division]:
    """How members are divided: into packs as large as fit, or smaller so that a known number of GPUs end together.

    Packs that are made smaller keep the share of the large ones: more of them at the same time on one GPU would each
    take as long as before. Neither what is stored nor this machine's speed has a say: an interrupted pack is found by
    its members.
    """
    packs = [Pack(members) for members in stacks]  # as if each were one
    sizes = tuple(_pack_size(pack, resources, costs) for pack in packs)
    seeds = [len({member.seed for member in pack.members}) for pack in packs]
    if not resources.gpus or resources.devices is None or resources.pack_size is not None:
        return {pack.stack: Division(size, 0.0) for pack, size in zip(packs, sizes, strict=True)}

    def share(at: int, members: int) -> float:
        placement = costs.of(packs[at].stack, members=members, seeds=seeds[at]).placement
        assert placement is not None, "it is on a GPU"
        return placement.share

    shares = [share(at, size) for at, size in enumerate(sizes)]

    def load(at: int, members: int) -> Load:
        cost = costs.of(packs[at].stack, members=members, seeds=seeds[at], share=shares[at])
        return Load(cost.training_seconds, shares[at])

    sizes = even_sizes([len(pack.members) for pack in packs], sizes, load=load, slots=resources.devices)
    return {pack.stack: Division(size, share) for pack, size, share in zip(packs, sizes, shares, strict=True)}


def usual_devices(resources: Resources) -> int:
    """Devices where nobody says how many there are: the cores of this machine, or one GPU."""
    return 1 if resources.gpus else os.cpu_count() or 1


def pack_load(pack: TrialPack, cost: Cost, measures: Measures, speed: Speed) -> Load:
    """What a pack puts on a slot: training, unless it is only to be measured, and what is measured after it."""
    training = 0.0 if isinstance(pack, MeasuringPack) else cost.training_seconds
    measuring = len(pack.members) * cost.step_seconds * measuring_steps(measures)
    return Load(speed.scale(pack.stack) * (training + measuring), cost.placement.share if cost.placement else 1.0)


def speed_of(study: Study, runs: Iterable[Mapping[str, Any]], costs: Costs) -> Speed:
    """The speed that runs of members on the study's kind of device have shown, see `calibrate`."""

    def modelled(cell: Cell, members: int) -> float:
        return costs.of(cell, members=members, seeds=1).training_seconds

    kind = "cuda" if study.resources.gpus else "cpu"
    assumed = gpu_card(study.resources).source if study.resources.gpus else ASSUMED_CORE
    return calibrate(runs, kind=kind, evaluation=study.evaluation, modelled=modelled, assumed=assumed)


def _pack_size(cell: Pack, resources: Resources, costs: Costs) -> int:
    """Members of a pack: what the study says, else one on a CPU and as many as fit a trial's share of a GPU."""
    if resources.pack_size is not None:
        return resources.pack_size
    if not resources.gpus:
        return 1
    share = 1.0 if isinstance(resources.gpus, str) else resources.gpus
    available = share * gpu_memory(resources).bytes
    seeds = len({member.seed for member in cell.members})

    def is_fitting(members: int) -> bool:
        placement = costs.of(cell.stack, members=members, seeds=seeds).placement
        return placement is not None and fits(placement.memory, available)

    sizes = range(min(len(cell.members), GPU_PACK_SIZE), 1, -1)
    return next(filter(is_fitting, sizes), 1)
