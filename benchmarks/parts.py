"""What a step costs with other parts than the paper's, over the step of a pack that differs in β alone.

    python -m benchmarks.parts [--device cpu|cuda] [--size NAME] [--pack P] [--steps K] [--repeats K]

Packs take their steps in turn, so that what else the machine does is shared by all; the table says the median ratio of
a pack's time to that of the plain pack beside it, and its spread over the repeats.
"""

import argparse
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.devices import wait_for
from benchmarks.images import draw_images
from benchmarks.machine import describe_machine, machine_line
from benchmarks.options import default_device, gpu_name, whole
from benchmarks.sizes import SIZES, Size
from benchmarks.tables import text_table
from rdstudy.study import PAPER_BETAS, Member, Recipe, parts
from rdstudy.training.process import prepare_process
from rdstudy.training.stacked import StackedTrainer

_IMAGES = 4_096

OWN_MLP = """
from torch import nn


def mlp(shape):
    encoder = nn.Sequential(nn.Linear(shape.pixels, 512), nn.ReLU(), nn.Linear(512, 2 * shape.latent_dim))
    return encoder, nn.Sequential(nn.Linear(shape.latent_dim, 512), nn.ReLU(), nn.Linear(512, shape.pixels))
"""
"""The paper's MLP of one layer, as a user would write it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    options = _options(arguments)
    device = torch.device(options.device)
    if device.type == "cpu":
        prepare_process()
    print(machine_line(describe_machine(gpu=gpu_name() if device.type == "cuda" else None)))
    size = SIZES[options.size]
    packs = _packs(size, options.pack)
    plain = "β alone"
    takers = {name: _taker(members, size, device, options.steps) for name, members in packs.items()}
    for take in takers.values():
        take()  # compiles, allocates
    seconds: dict[str, list[float]] = {name: [] for name in takers}
    for _ in range(options.repeats):
        for name, take in takers.items():
            seconds[name].append(take())
    rows = []
    for name, times in seconds.items():
        ratios = [of_part / of_plain for of_part, of_plain in zip(times, seconds[plain], strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        milliseconds = 1_000 * statistics.median(times) / options.steps
        rows.append([name, f"{milliseconds:.1f}", f"{statistics.median(ratios):.2f}", spread])
    print(
        f"{options.size}, a pack of {options.pack} on {device.type}, {options.steps} steps, {options.repeats} repeats"
    )
    print(text_table(["members differ in", "ms a step", "over β alone", "spread"], rows, left=1))
    return 0


def _packs(size: Size, count: int) -> dict[str, tuple[Member, ...]]:
    def pack(*, own: bool = False, **settings: Any) -> tuple[Member, ...]:
        return tuple(_member(size, at, own=own, **settings) for at in range(count))

    rates = tuple(
        dataclasses.replace(member, recipe=dataclasses.replace(member.recipe, learning_rate=1e-3 * (1 + at // 4)))
        for at, member in enumerate(pack())
    )
    packs = {"β alone": pack(), "β and learning rate": rates}
    for prior in ("mixture(k=10)", "mixture(k=100)", "vamp(k=10)", "vamp(k=100)", "flow(layers=2)", "flow(layers=8)"):
        packs[f"β, {prior}"] = pack(prior=prior)
    packs["β, gaussian(sigma=optimal)"] = pack(likelihood="gaussian(sigma=optimal)")
    if (size.architecture, size.depth) == ("mlp", 1):
        packs["β, the same network as one's own module"] = pack(own=True)
    return packs


def _member(size: Size, at: int, *, own: bool, **settings: Any) -> Member:
    beta = PAPER_BETAS[at % len(PAPER_BETAS)]
    member = Member(
        *("tetrominoes", "default"),
        beta=beta,
        seed=at // len(PAPER_BETAS),
        architecture=_own_level() if own else size.architecture,
        depth=size.depth,
        width=size.width,
        latent_dim=size.latent_dim,
        recipe=Recipe(batch_size=size.batch_size),
    )
    return dataclasses.replace(member, **settings)


def _own_level() -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "nets.py"
        path.write_text(OWN_MLP)
        return parts.part(f"{path}:mlp")


def _taker(members: tuple[Member, ...], size: Size, device: torch.device, steps: int) -> Callable[[], float]:
    """Takes some steps and returns their seconds."""
    train = torch.from_numpy(draw_images(_IMAGES)).flatten(1)
    trainer = StackedTrainer(members, train, image_shape=size.image_shape, device=device)
    at = 0

    def take() -> float:
        nonlocal at
        started = time.perf_counter()
        trainer.advance(at, steps)
        wait_for(device)
        at += steps
        return time.perf_counter() - started

    return take


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parts", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default=default_device())
    parser.add_argument("--size", choices=list(SIZES), default="mlp-1")
    parser.add_argument("--pack", type=whole(1_000), default=12)
    parser.add_argument("--steps", type=whole(10_000), default=8)
    parser.add_argument("--repeats", type=whole(1_000), default=7)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
