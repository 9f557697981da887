"""What packs ask of a device: their members, memory, share of a GPU, and time.

Starts nothing, imports no torch.
"""

import ctypes
import functools
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from rdstudy.datasets import dataset_info
from rdstudy.estimate import Speed, calibrate, measuring_steps, training_seconds
from rdstudy.packs import GIB, GPU_PACK_SIZE, Pack, PackMemory, cells_of, fits, gpu_share, pack_memory
from rdstudy.schedule import Job, even_sizes
from rdstudy.splits import parse_rule
from rdstudy.study import Member, Resources, Study

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


def place(
    packs: Iterable[Pack], resources: Resources, shares: Mapping[Member, float] = MappingProxyType({})
) -> dict[str, Placement]:
    """Pack id -> the memory that a pack is estimated to take, and its share of a GPU; nothing on a CPU.

    Args:
        packs: of any cells.
        resources: of a trial.
        shares: cell -> the share of its packs; that which each pack fits into where it is not among these.
    """
    if not resources.gpus:
        return {}
    placements = {}
    for pack in packs:
        memory = _memory(pack.members, len(pack.members), resources)
        share = shares.get(pack.members[0].cell) or _share(memory, resources)
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


@dataclass(frozen=True)
class Division:
    """How the members of a cell are divided."""

    size: int  # of a pack, at most
    share: float  # of a GPU that each pack takes; 0 where that follows from the pack


def divide(wanted: Iterable[Member], resources: Resources) -> dict[Member, Division]:
    """Cell -> how its members are divided: as large as fit, or smaller for a known number of GPUs to end together.

    Packs that are made smaller keep the share of the large ones: more of them at the same time on one GPU would each
    take as long as before. Neither what is stored nor this machine's speed has a say: an interrupted pack is found by
    its members.
    """
    cells = cells_of(wanted)
    sizes = tuple(_pack_size(cell, resources) for cell in cells)
    names = [cell[0].cell for cell in cells]
    if not resources.gpus or resources.devices is None or resources.pack_size is not None:
        return {name: Division(size, 0.0) for name, size in zip(names, sizes, strict=True)}
    shares = [_share(_memory(cell, size, resources), resources) for cell, size in zip(cells, sizes, strict=True)]

    def job(at: int, members: int) -> Job:
        return Job(_training_seconds(cells[at][0], members, share=shares[at], gpu=True), shares[at])

    sizes = even_sizes([len(cell) for cell in cells], sizes, job=job, slots=resources.devices)
    return {name: Division(size, share) for name, size, share in zip(names, sizes, shares, strict=True)}


def usual_devices(resources: Resources) -> int:
    """Devices where nobody says how many there are: the cores of this machine, or one GPU."""
    return 1 if resources.gpus else os.cpu_count() or 1


def pack_job(pack: Pack, study: Study, speed: Speed, *, share: float) -> Job:
    """What a pack takes: training, unless it is only to be measured, and what is measured of its members after it.

    Args:
        pack: of a study.
        study: says what is measured.
        speed: of the devices.
        share: of a GPU, or 1 on a CPU.
    """
    member, gpu = pack.members[0], bool(study.resources.gpus)
    seconds = 0.0 if pack.runs else _training_seconds(member, len(pack.members), share=share, gpu=gpu)
    alone = _training_seconds(member, 1, share=share, gpu=gpu) / member.recipe.steps
    measuring = len(pack.members) * alone * measuring_steps(study.measures)
    return Job(speed.scale(member) * (seconds + measuring), share)


def speed_of(study: Study, rows: Iterable[Mapping[str, Any]]) -> Speed:
    """The speed that members trained on the study's kind of device have shown.

    Args:
        study: says on what its members train.
        rows: of the `members` table, see `rdstudy.estimate.calibrate`.
    """
    resources = study.resources

    def modelled(member: Member, members: int) -> float:
        share = _share(_memory((member,), members, resources), resources) if resources.gpus else 1.0
        return _training_seconds(member, members, share=share, gpu=bool(resources.gpus))

    kind = "cuda" if resources.gpus else "cpu"
    return calibrate(rows, kind=kind, evaluation=study.evaluation, modelled=modelled)


def _training_seconds(member: Member, members: int, *, share: float, gpu: bool) -> float:
    info = dataset_info(member.dataset)
    return training_seconds(
        member,
        members=members,
        image_shape=info.image_shape,
        images=info.images,
        gpu=gpu,
        sharing=round(1 / share),
    )


def _share(memory: PackMemory, resources: Resources) -> float:
    return gpu_share(memory, gpu_memory(resources).bytes) if isinstance(resources.gpus, str) else resources.gpus


def _pack_size(cell: tuple[Member, ...], resources: Resources) -> int:
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
