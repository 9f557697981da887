"""Members to packs: a pure partition, what a step of a member costs, and the memory that a pack takes.

A pack holds members of one cell, whose tensors have equal shapes and which read the same images. It is the unit of
work: one Ray trial. Memory is estimated in closed form, before anything is started; no torch is needed for it.
"""

import hashlib
import itertools
import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from rdstudy.study import Member

GPU_PACK_SIZE = 60
"""Most members of a pack on a GPU unless a study says otherwise: the paper's 12 β × 5 seeds."""

GIB = 2**30
MOST_SHARES = 8
"""Most packs that are put on one GPU at the same time unless a study says otherwise."""
SAFETY = 1.25
"""An estimate times this must fit: for copies inside kernels, workspaces, and gaps between blocks of memory."""
CONTEXT_BYTES = GIB // 2
"""What a process takes of a GPU before its first tensor: CUDA's context and kernels. An allowance, not measured."""
EVALUATION_BLOCK_IMAGES = 1024
"""Images measured at once, `rdstudy.training.subsets.BLOCK_IMAGES`."""

_FLOAT_BYTES, _INDEX_BYTES = 4, 8
_OPTIMIZER_COPIES = 4  # weights, gradients, and Adam's two moments; one more with early stopping
_CHUNK_STEPS = 64  # of noise and indices drawn at once, `rdstudy.training.streams.CHUNK_STEPS`
_KERNEL_PIXELS = 16  # of a convolution, 4 × 4
_USUAL_SHAPE = (3, 32, 32)  # of the paper's images


@dataclass(frozen=True)
class Pack:
    """Members of one cell, in a fixed order."""

    members: tuple[Member, ...]
    runs: tuple[str, ...] = ()  # that trained these members, where they are only to be measured; else none

    @property
    def pack_id(self) -> str:
        """16 hex digits: a hash of the members' ids, and of their runs."""
        ids = ",".join([*(member.member_id for member in self.members), *self.runs])
        return hashlib.sha256(ids.encode()).hexdigest()[:16]

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
    evaluation: int  # activations and images when measuring, at a time when no training step is held

    @property
    def peak(self) -> int:
        """Most bytes held at the same time."""
        return self.parameters + self.shared + max(self.step, self.evaluation)


@dataclass(frozen=True)
class _Layer:
    parameters: int  # weights and biases
    outputs: int  # numbers, an image
    products: int  # multiplications of a weight and a number, an image


def make_packs(members: Iterable[Member], *, size: int | Callable[[tuple[Member, ...]], int]) -> tuple[Pack, ...]:
    """Divide members into packs of at most `size`, the most costly first so that no device waits at the end.

    Every member is in exactly one pack; the packs of a cell are as few as can be, and equal up to one member. The
    order of `members` changes neither the packs nor their order.

    Args:
        members: of any cells.
        size: members of a pack, or a function that gives it for the members of a cell.
    """
    return _in_order(
        Pack(cell[start:end])
        for cell in cells_of(members)
        for start, end in itertools.pairwise(cuts(len(cell), size if isinstance(size, int) else size(cell)))
    )


def remaining_packs(packs: Iterable[Pack], remaining: Collection[Member]) -> tuple[Pack, ...]:
    """What remains of packs: those of which all remains as they are, and what is left of a cell's others, together.

    A pack that was interrupted is found again, by its id, whatever has been stored of other packs.
    """
    left = frozenset(remaining)
    whole, rest = [], []
    largest: dict[Member, int] = {}
    for pack in packs:
        some = [member for member in pack.members if member in left]
        if len(some) == len(pack.members):
            whole.append(pack)
        elif some:
            rest += some
            cell = some[0].cell
            largest[cell] = max(largest.get(cell, 0), len(pack.members))
    if not rest:
        return tuple(whole)
    return _in_order([*whole, *make_packs(rest, size=lambda members: largest[members[0].cell])])


def cells_of(members: Iterable[Member]) -> list[tuple[Member, ...]]:
    """Members by their cells, each once, in an order that is theirs alone."""
    cells: dict[Member, list[Member]] = {}
    for member in set(members):
        cells.setdefault(member.cell, []).append(member)
    ordered = [tuple(sorted(cell, key=lambda member: (member.seed, member.beta))) for cell in cells.values()]
    return sorted(ordered, key=lambda cell: cell[0].member_id)


def cuts(members: int, size: int) -> list[int]:
    """Where so many members are cut into the fewest parts of at most `size`, equal up to one: 0, ..., members."""
    parts = -(-members // size)
    return [at * members // parts for at in range(parts + 1)]


def _in_order(packs: Iterable[Pack]) -> tuple[Pack, ...]:
    return tuple(sorted(packs, key=lambda pack: (-pack_cost(pack), pack.members[0].seed, pack.pack_id)))


def pack_cost(pack: Pack) -> float:
    """Relative cost of a pack, as if on images of 3 × 32 × 32: operations, for the order of packs only."""
    member = pack.members[0]
    return len(pack.members) * step_operations(member, _USUAL_SHAPE) * member.recipe.steps


def step_operations(member: Member, image_shape: tuple[int, int, int]) -> int:
    """Floating-point operations of the matrix products and convolutions of a member's training step.

    Forward, and backward for weights and for inputs, each 2 an image and product; the images need no gradient.
    """
    layers = _layers(member, image_shape)
    return 2 * member.recipe.batch_size * (3 * sum(layer.products for layer in layers) - layers[0].products)


def measure_operations(member: Member, image_shape: tuple[int, int, int]) -> int:
    """Floating-point operations of the products behind one image's rate and distortion."""
    return 2 * sum(layer.products for layer in _layers(member, image_shape))


def output_count(member: Member, image_shape: tuple[int, int, int]) -> int:
    """Numbers that a member's layers put out for one image."""
    return sum(layer.outputs for layer in _layers(member, image_shape))


def parameter_count(member: Member, image_shape: tuple[int, int, int]) -> int:
    """Trained numbers of a member's encoder and decoder, for images of `channel, row, column`."""
    return sum(layer.parameters for layer in _layers(member, image_shape))


def pack_memory(
    member: Member,
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
        member: any of them.
        members: how many there are.
        seeds: distinct seeds among them; members of a seed share batches and noise.
        image_shape: channel, row, column.
        train_images: images of the training subset, which is kept on the device.
        evaluation_bytes: bound of `members_at_once`.
    """
    layers, pixels, batch = _layers(member, image_shape), math.prod(image_shape), member.recipe.batch_size
    count = sum(layer.parameters for layer in layers)
    passing = max(layer.parameters for layer in layers)  # the gradient of one layer, before it has its final layout
    chunk = _CHUNK_STEPS * batch
    indices = 2 * _INDEX_BYTES * (chunk + 2 * train_images)  # two epochs may meet in a chunk
    noise = 2 * _FLOAT_BYTES * chunk * member.latent_dim
    images = (1 + _FLOAT_BYTES) * batch * pixels
    at_once = min(members, members_at_once(member, image_shape, EVALUATION_BLOCK_IMAGES, bytes_bound=evaluation_bytes))
    measured = _FLOAT_BYTES * at_once * evaluation_numbers(member, image_shape) + (1 + _FLOAT_BYTES) * pixels
    return PackMemory(
        parameters=members * _FLOAT_BYTES * (_OPTIMIZER_COPIES + bool(member.evaluation.validation_images)) * count,
        step=members * _FLOAT_BYTES * (passing + batch * step_numbers(member, image_shape)),
        shared=train_images * pixels + seeds * (images + noise + indices),
        evaluation=EVALUATION_BLOCK_IMAGES * measured,
    )


def step_numbers(member: Member, image_shape: tuple[int, int, int]) -> int:
    """Numbers that a member's training step holds for each image of its batch.

    The output of every layer, the image, the gradient in the logits, and a gradient on its way through the widest
    layer, before it and after it.
    """
    outputs = [layer.outputs for layer in _layers(member, image_shape)]
    return sum(outputs) + 2 * math.prod(image_shape) + 2 * max(outputs)


def evaluation_numbers(member: Member, image_shape: tuple[int, int, int]) -> int:
    """Numbers that a member holds, at most, for each image that is measured.

    Logits and three terms of the distortion; the widest layer before and after its ReLU.
    """
    return 4 * math.prod(image_shape) + 2 * max(layer.outputs for layer in _layers(member, image_shape))


def members_at_once(
    member: Member,
    image_shape: tuple[int, int, int],
    images: int,
    *,
    bytes_bound: float,
    number_bytes: int = _FLOAT_BYTES,
) -> int:
    """How many members can be measured at the same time within a bound; one where not even one fits.

    Args:
        member: any of a cell.
        image_shape: channel, row, column.
        images: images measured at once.
        bytes_bound: of memory, beside parameters.
        number_bytes: 4 for float32, 8 for float64.
    """
    one = number_bytes * images * evaluation_numbers(member, image_shape)
    return max(1, int((bytes_bound - number_bytes * images * math.prod(image_shape)) // one))


def fits(memory: PackMemory, available_bytes: float) -> bool:
    """Whether a pack fits into that much of a device, with `SAFETY` and CUDA's own part."""
    return SAFETY * memory.peak + CONTEXT_BYTES <= available_bytes


def gpu_share(memory: PackMemory, gpu_bytes: float) -> float:
    """The smallest share 1/k of a GPU, k up to `MOST_SHARES`, that a pack fits into; 1 where it fits into none."""
    return next((1 / k for k in range(MOST_SHARES, 1, -1) if fits(memory, gpu_bytes / k)), 1.0)


def _layers(member: Member, image_shape: tuple[int, int, int]) -> tuple[_Layer, ...]:
    """The layers of the encoder, then those of the decoder, as `rdstudy.model.networks` builds them."""
    return _LAYERS[member.architecture](member, image_shape)


def _mlp_layers(member: Member, image_shape: tuple[int, int, int]) -> tuple[_Layer, ...]:
    hidden, pixels = [member.width] * member.depth, math.prod(image_shape)
    encoder = _dense([pixels, *hidden, 2 * member.latent_dim])
    return encoder + _dense([member.latent_dim, *hidden, pixels])


def _cnn_layers(member: Member, image_shape: tuple[int, int, int]) -> tuple[_Layer, ...]:
    channels, rows, columns = image_shape
    sizes = [channels] + [member.width] * member.depth
    sides = [(rows >> at) * (columns >> at) for at in range(member.depth + 1)]
    flat = member.width * sides[-1]
    pairs = list(itertools.pairwise(zip(sizes, sides, strict=True)))
    down = tuple(_convolution(outer, inner, places=coarse, coarse=coarse) for (outer, _), (inner, coarse) in pairs)
    up = tuple(
        _convolution(inner, outer, places=fine, coarse=coarse) for (outer, fine), (inner, coarse) in reversed(pairs)
    )
    return (*down, *_dense([flat, 2 * member.latent_dim]), *_dense([member.latent_dim, flat]), *up)


def _linear_layers(member: Member, image_shape: tuple[int, int, int]) -> tuple[_Layer, ...]:
    pixels = math.prod(image_shape)
    return _dense([pixels, 2 * member.latent_dim]) + _dense([member.latent_dim, pixels])


def _dense(sizes: list[int]) -> tuple[_Layer, ...]:
    pairs = itertools.pairwise(sizes)
    return tuple(_Layer((inputs + 1) * outputs, outputs, inputs * outputs) for inputs, outputs in pairs)


def _convolution(inputs: int, outputs: int, *, places: int, coarse: int) -> _Layer:
    """A layer that puts out numbers at so many places; the coarse side, in or out, has a quarter of the fine one's."""
    weights = _KERNEL_PIXELS * inputs * outputs
    return _Layer(weights + outputs, outputs * places, weights * coarse)


_LAYERS = {"mlp": _mlp_layers, "cnn": _cnn_layers, "linear": _linear_layers}
