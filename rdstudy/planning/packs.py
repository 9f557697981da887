"""Members to packs: a pure partition, and the memory that a pack takes.

A pack holds members whose tensors have equal shapes and which read the same images, see `Member.stack`. One Ray trial
trains it. Memory is estimated in closed form, before anything is started; no torch is needed for it.
"""

import functools
import hashlib
import itertools
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from rdstudy.datasets import dataset_info
from rdstudy.model.architectures import network_cost
from rdstudy.model.description import NetworkCost, NetworkShape
from rdstudy.study import Cell, Member

GPU_PACK_SIZE = 60
"""Most members of a pack on a GPU unless a study says otherwise: the paper's 12 β × 5 seeds."""

GIB = 2**30
MOST_SHARES = 8
"""Most packs that are put on one GPU at the same time unless a study says otherwise."""
SAFETY = 1.25
"""An estimate times this must fit: for copies inside kernels, workspaces, and gaps between blocks of memory."""
CONTEXT_BYTES = GIB // 2
"""What a process takes of a GPU before its first tensor: CUDA's context and kernels. An allowance, not measured."""
BLOCK_IMAGES = 1024
"""Images measured at once. It is part of the numerics: the noise of a block comes from a generator of its own."""
CHUNK_STEPS = 64
"""Steps of which noise and indices are drawn at once. It is part of the numerics, too."""

_FLOAT_BYTES, _INDEX_BYTES = 4, 8
_OPTIMIZER_COPIES = 4  # weights, gradients, and Adam's two moments; one more with early stopping
_USUAL_SHAPE = (3, 32, 32)  # of the paper's images


@dataclass(frozen=True)
class TrialPack:
    """Members of one stack, in a fixed order, that one trial trains or measures: a `Pack` or a `MeasuringPack`."""

    members: tuple[Member, ...]

    @property
    def stack(self) -> Cell:
        """Of all its members, see `Member.stack`."""
        return self.members[0].stack

    @property
    def pack_id(self) -> str:
        """16 hex digits: a hash of the members' ids, and of the runs that trained them where they are only measured."""
        ids = ",".join([*(member.member_id for member in self.members), *runs_of(self)])
        return hashlib.sha256(ids.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class MeasuringPack(TrialPack):
    """Members that are trained and only to be measured."""

    runs: tuple[str, ...]  # that trained these members, one each


@dataclass(frozen=True)
class Pack(TrialPack):
    """Members to be trained."""

    def halves(self) -> "tuple[Pack, Pack]":
        """The first and the second half of two or more members, as packs of their own."""
        middle = (len(self.members) + 1) // 2
        return Pack(self.members[:middle]), Pack(self.members[middle:])


@dataclass(frozen=True)
class PackMemory:
    """Bytes that a pack takes on a device, by what they hold."""

    parameters: int  # float32 weights, gradients and Adam's two moments: 16 bytes a parameter
    step: int  # activations, their gradients and the float images of a training step
    shared: int  # the training subset, indices and noise, whatever the number of members
    evaluation: int  # activations and images when measuring

    @property
    def peak(self) -> int:
        """Most bytes held at the same time: a CUDA graph keeps the memory of its step while members are measured."""
        return self.parameters + self.shared + self.step + self.evaluation


def trial_pack(members: tuple[Member, ...], runs: tuple[str, ...]) -> TrialPack:
    """A pack by what `runs_of` it says."""
    return MeasuringPack(members, runs) if runs else Pack(members)


def runs_of(pack: TrialPack) -> tuple[str, ...]:
    """The runs that trained the members of a pack that is only to be measured; none of one that is to be trained."""
    return pack.runs if isinstance(pack, MeasuringPack) else ()


def make_packs(members: Iterable[Member], *, size: int | Callable[[tuple[Member, ...]], int]) -> tuple[Pack, ...]:
    """Divide members into packs of at most `size`, the most costly first so that no device waits at the end.

    Every member is in exactly one pack; the packs of a cell are as few as can be, and equal up to one member. The
    order of `members` changes neither the packs nor their order. `size` may be a function of the members of a cell.
    """
    return cut_stacks(stacks_of(members), size=size)


def cut_stacks(
    stacks: Iterable[tuple[Member, ...]], *, size: int | Callable[[tuple[Member, ...]], int]
) -> tuple[Pack, ...]:
    """The same of members that `stacks_of` has put together."""
    return _in_order(
        Pack(stack[start:end])
        for stack in stacks
        for start, end in itertools.pairwise(cuts(len(stack), size if isinstance(size, int) else size(stack)))
    )


def remaining_packs(packs: Iterable[Pack], remaining: Collection[Member]) -> tuple[Pack, ...]:
    """Packs of the members that remain.

    A pack of which every member remains stays as it is: one that was interrupted is found again by its id, whatever
    has been stored of other packs. Members that remain of the other packs of a cell are packed anew, together.
    """
    wanted = frozenset(remaining)
    whole: list[Pack] = []
    broken: list[Member] = []
    largest: dict[Cell, int] = {}
    for pack in packs:
        left = [member for member in pack.members if member in wanted]
        if len(left) == len(pack.members):
            whole.append(pack)
        elif left:
            broken += left
            largest[pack.stack] = max(largest.get(pack.stack, 0), len(pack.members))
    if not broken:
        return tuple(whole)
    return _in_order([*whole, *make_packs(broken, size=lambda members: largest[members[0].stack])])


def stacks_of(members: Iterable[Member]) -> list[tuple[Member, ...]]:
    """Members that can share a pack, each once, in an order that is theirs alone: equal learning rates side by side."""
    stacks: dict[Cell, list[Member]] = {}
    for member in set(members):
        stacks.setdefault(member.stack, []).append(member)
    ordered = [tuple(sorted(stack, key=_within_stack)) for stack in stacks.values()]
    return sorted(ordered, key=lambda stack: stack[0].member_id)


def _within_stack(member: Member) -> tuple[float, ...]:
    return (member.recipe.learning_rate, member.recipe.weight_decay, member.seed, member.beta)


def cuts(members: int, size: int) -> list[int]:
    """Where so many members are cut into the fewest parts of at most `size`, equal up to one: 0, ..., members."""
    parts = -(-members // size)
    return [at * members // parts for at in range(parts + 1)]


def _in_order(packs: Iterable[Pack]) -> tuple[Pack, ...]:
    return tuple(sorted(packs, key=lambda pack: (-pack_cost(pack), pack.members[0].seed, pack.pack_id)))


def pack_cost(pack: TrialPack) -> float:
    """Relative cost of a pack, in operations: for the order of packs only."""
    member = pack.members[0]
    step = cost_of(member, _image_shape(member.dataset)).step_operations(member.recipe.batch_size)
    return len(pack.members) * step * member.recipe.steps


@functools.cache
def _image_shape(dataset: str) -> tuple[int, int, int]:
    """Of the images of a data set; the paper's where it is not known here."""
    try:
        return dataset_info(dataset).image_shape
    except ValueError:
        return _USUAL_SHAPE


def cost_of(cell: Cell, image_shape: tuple[int, int, int]) -> NetworkCost:
    """What the network of a cell's members costs, for images of `channel, row, column`."""
    return network_cost(NetworkShape.of(cell, image_shape))


def pack_memory(
    cell: Cell,
    *,
    members: int,
    seeds: int,
    image_shape: tuple[int, int, int],
    train_images: int,
    evaluation_bytes: float,
) -> PackMemory:
    """Estimate what members that are trained at once take on a device.

    Counts what is alive at the worst moments of a step and of a measurement, as the stacked path works; what kernels
    take for themselves is left to `SAFETY`. Within a factor of 1.6 of the tensors that are alive on a CPU.

    Args:
        cell: to which they belong.
        members: how many there are.
        seeds: distinct seeds among them; members of a seed share batches and noise.
        image_shape: channel, row, column.
        train_images: images of the training subset, which is kept on the device.
        evaluation_bytes: bound of `members_at_once`.
    """
    cost, batch = cost_of(cell, image_shape), cell.recipe.batch_size
    chunk = CHUNK_STEPS * batch
    indices = 2 * _INDEX_BYTES * (chunk + 2 * train_images)  # two epochs may meet in a chunk
    noise = 2 * _FLOAT_BYTES * chunk * cell.latent_dim
    images = (1 + _FLOAT_BYTES) * batch * cost.pixels
    at_once = min(members, members_at_once(cost, BLOCK_IMAGES, bytes_bound=evaluation_bytes))
    measured = _FLOAT_BYTES * at_once * cost.evaluation_numbers + (1 + _FLOAT_BYTES) * cost.pixels
    copies = _OPTIMIZER_COPIES + bool(cell.evaluation.validation_images)
    passing = cost.largest_layer  # the gradient of one layer, before it has its final layout
    return PackMemory(
        parameters=members * _FLOAT_BYTES * copies * cost.parameters,
        step=members * _FLOAT_BYTES * (passing + batch * cost.step_numbers + 2 * cost.fixed_numbers),
        shared=train_images * cost.pixels + seeds * (images + noise + indices),
        evaluation=BLOCK_IMAGES * measured,
    )


def members_at_once(cost: NetworkCost, images: int, *, bytes_bound: float, number_bytes: int = _FLOAT_BYTES) -> int:
    """How many members can be measured on so many images at the same time; one where not even one fits.

    The bound is of memory beside parameters; a number has 4 bytes as float32, 8 as float64.
    """
    of_a_member = number_bytes * images * cost.evaluation_numbers
    return max(1, int((bytes_bound - number_bytes * images * cost.pixels) // of_a_member))


def fits(memory: PackMemory, available_bytes: float) -> bool:
    """Whether a pack fits into that much of a device, with `SAFETY` and CUDA's own part."""
    return SAFETY * memory.peak + CONTEXT_BYTES <= available_bytes


def gpu_share(memory: PackMemory, gpu_bytes: float, *, at_once: int) -> float:
    """The smallest share 1/k of a GPU, k up to `at_once`, that a pack fits into; 1 where it fits into none.

    More packs at the same time than are of use would only wait for each other.
    """
    return next((1 / k for k in range(at_once, 1, -1) if fits(memory, gpu_bytes / k)), 1.0)
