"""What no path can beat, from what a device was measured to do or from a card's data sheet. Standard library alone.

    python -m benchmarks.bounds [--card NAME ...] [--sizes NAME ...] [--kernels]

Two bounds of a GPU stand beside each other. The old one is the larger of a step's arithmetic and the traffic of its
parameters: 40 bytes a parameter, member and step, which is forward and backward reading the weight (8), the gradient
written and read (8), Adam reading and writing the weight and both moments (24). It supposes that products run while
memory is moved. The honest one adds what takes turns: kernel by kernel, see `rdstudy.planning.kernels`. On a CPU the
parameters of one model may stay in its caches, and arithmetic alone bounds.
"""

import argparse
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.sizes import SIZES, Size, parameter_count, step_operations
from benchmarks.tables import number, text_table
from rdstudy.model.architectures import network_cost
from rdstudy.planning.cards import CARDS, Card
from rdstudy.planning.kernels import Kernel, fused_step_kernels, step_kernels, step_seconds, updated_step_kernels
from rdstudy.study import PAPER_BETAS
from rdstudy.study.settings import PRECISIONS

PEAK_SIDE = {"cpu": 2048, "cuda": 8192}
"""Rows and columns of the square matrices whose product shows a device's peak."""

COPY_BUFFER_BYTES = 2**30
"""Of the buffer whose copy shows the bandwidth: far more than any cache on the device."""
COPY_BYTES = 2 * COPY_BUFFER_BYTES
"""Moved by a copy: each byte is read and written."""

PARAMETER_BYTES = 40
"""Traffic of a step for a parameter, see above."""

_HEAD = ("network", "card", "rates", "precision", "arithmetic", "traffic", "larger", "kernels", "fused")
_LEGEND = """\
µs of one member and step. peak: by the data sheet; reached: what a plan takes to be reached of it, not measured
larger: of arithmetic and of 40 bytes a parameter, the old bound; kernels: each kernel the larger of its own two,
  and all of them in turn, the honest one
fused: images of a seed read once for its {members} members, all that is done to a number done where it is made, Adam
  where the gradient of a weight is made"""


@dataclass(frozen=True)
class Bound:
    """The least time of one step of one model."""

    arithmetic_seconds: float
    traffic_seconds: float | None  # None where traffic was not measured: on a CPU
    kernel_seconds: float | None  # of all kernels in turn; None on a CPU

    @property
    def seconds(self) -> float:
        """The larger of arithmetic and traffic."""
        return max(self.arithmetic_seconds, self.traffic_seconds or 0.0)

    @property
    def honest_seconds(self) -> float:
        """Of kernels in turn, where they are known."""
        return self.seconds if self.kernel_seconds is None else self.kernel_seconds


def peak_operations(device: str) -> int:
    """Operations of the square product."""
    return int(2 * PEAK_SIDE[device] ** 3)


def bound(size: Size, device: str, *, peak_seconds: float, copy_seconds: float | None) -> Bound:
    """The bound in float32, from the times of the square product and of the copy."""
    rate = peak_operations(device) / peak_seconds
    if copy_seconds is None:
        return Bound(step_operations(size) / rate, None, None)
    return bound_of_card(size, Card("measured", 0, rate, rate, COPY_BYTES / copy_seconds))


def bound_of_card(size: Size, card: Card, precision: str = "float32") -> Bound:
    """The bound of a card."""
    return Bound(
        step_operations(size) / card.rate(precision),
        PARAMETER_BYTES * parameter_count(size) / card.bandwidth,
        step_seconds(kernels_of(size), card, precision),
    )


def kernels_of(size: Size) -> tuple[Kernel, ...]:
    """Of a step of the stacked path."""
    return step_kernels(size.shape, network_cost(size.shape), size.batch_size)


def table(sizes: Iterable[Size], cards: Iterable[Card]) -> list[tuple[str, ...]]:
    """A line a network, card, rates and precision, for `_HEAD`."""
    lines = []
    for size, card, (rates, at), precision in itertools.product(
        sizes, cards, (("peak", lambda card: card), ("reached", lambda card: card.reached)), PRECISIONS
    ):
        limit = bound_of_card(size, at(card), precision)
        fused = step_seconds(fused_kernels_of(size), at(card), precision)
        times = (limit.arithmetic_seconds, limit.traffic_seconds, limit.seconds, limit.kernel_seconds, fused)
        micro = [number(None if seconds is None else 1e6 * seconds, 1) for seconds in times]
        lines.append((size.name, card.name, rates, precision, *micro))
    return lines


def fused_kernels_of(size: Size) -> tuple[Kernel, ...]:
    """Of the least step for the members of one seed."""
    return fused_step_kernels(size.shape, size.batch_size, members_of_seed=len(PAPER_BETAS))


def steps_of(size: Size) -> dict[str, tuple[Kernel, ...]]:
    """The kernels of each way of taking a step; networks of convolutions are taken as built alone."""
    as_built = {"as built": kernels_of(size)}
    if size.architecture == "cnn":
        return as_built
    updated = updated_step_kernels(size.shape, size.batch_size)
    return {**as_built, "fused updates": updated, "fused products and updates": fused_kernels_of(size)}


def kernel_table(size: Size, cards: Sequence[Card]) -> str:
    """Each kernel of a step as built, in float32 at peak rates."""
    head = (size.name, "million operations", "MB", *(f"µs {card.name}" for card in cards))
    return text_table(head, [_kernel_line(kernel, cards) for kernel in kernels_of(size)], left=1)


def _kernel_line(kernel: Kernel, cards: Sequence[Card]) -> tuple[str, ...]:
    micro = (number(1e6 * kernel.seconds(card, "float32"), 2) for card in cards)
    return (kernel.name, number(kernel.operations / 1e6, 1), number(kernel.traffic / 1e6, 2), *micro)


def steps_table(sizes: Iterable[Size], cards: Sequence[Card]) -> str:
    """Kernels and bytes of each way of taking a step, and their time at the rates that a plan takes to be reached."""
    lines = [
        (
            size.name,
            name,
            str(len(kernels)),
            number(sum(kernel.traffic for kernel in kernels) / 1e6, 1),
            *(
                number(1e6 * step_seconds(kernels, card.reached, how), 1)
                for how, card in itertools.product(PRECISIONS, cards)
            ),
        )
        for size in sizes
        for name, kernels in steps_of(size).items()
    ]
    times = (f"µs {card.name}, {how}" for how, card in itertools.product(PRECISIONS, cards))
    return text_table(("network", "step", "kernels", "MB", *times), lines, left=2)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bounds", description=__doc__.partition("\n")[0])
    parser.add_argument("--card", nargs="+", choices=CARDS, default=list(CARDS), metavar="NAME", help=", ".join(CARDS))
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), metavar="NAME", help=", ".join(SIZES))
    parser.add_argument("--kernels", action="store_true", help="list the kernels of a step too")
    options = parser.parse_args(arguments)
    sizes, cards = [SIZES[name] for name in options.sizes], [CARDS[name] for name in options.card]
    print(text_table(_HEAD, table(sizes, cards), left=4))
    print(f"\n{_LEGEND.format(members=len(PAPER_BETAS))}")
    if options.kernels:
        print("\n" + "\n\n".join([*(kernel_table(size, cards) for size in sizes), steps_table(sizes, cards)]))


if __name__ == "__main__":
    main()
