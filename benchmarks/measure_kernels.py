"""Kernels and bytes of the measures of a member, alone and in a group, beside its training: counted, not timed.

    python -m benchmarks.measure_kernels [--size NAME] [--members 1 4] [--images N] [--json FILE]

They are counted on a CPU, see `benchmarks.kernel_counts`, where measures do the same as on a GPU, but for the blocks of
the aggregate posterior, which are set to those of a GPU. How many kernels a measure takes hardly depends on the number
of images, while they fit into the memory at once; its bytes do. A step of a pack takes as many kernels as one member's,
and its members share them.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from benchmarks.contenders.rdstudy_sequential import member
from benchmarks.images import draw_images
from benchmarks.kernel_counts import Counter
from benchmarks.options import whole
from benchmarks.sizes import SIZES
from benchmarks.tables import number, text_table
from rdstudy.datasets import Dataset
from rdstudy.datasets.splits import Split
from rdstudy.measures import aggregate
from rdstudy.measuring import MeasureRows, Measuring, measure_pack
from rdstudy.planning.packs import GPU_PACK_SIZE
from rdstudy.study import MEASURES, PAPER_BETAS, Measures, Member, Recipe, Resources
from rdstudy.training import Subsets, make_subsets
from rdstudy.training.process import prepare_process
from rdstudy.training.sequential import SequentialTrainer

_HEAD = ("members", "measure", "kernels a member", "MB a member")
_CPU = torch.device("cpu")


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    prepare_process()
    rows = list(_rows(options))
    cells = [(str(count), name, number(kernels, 0), number(mega, 1)) for count, name, kernels, mega in rows]
    print(text_table(_HEAD, cells, left=2))
    if options.json:
        names = ("members", "measure", "kernels", "megabytes")
        Path(options.json).write_text(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=1))


def _rows(options: argparse.Namespace) -> Iterator[tuple[int, str, float, float]]:
    betas = [*PAPER_BETAS, *PAPER_BETAS][: max(options.members)]
    members = [member(SIZES[options.size], beta=beta, seed=at // 12) for at, beta in enumerate(betas)]
    images = draw_images(2 * options.images)
    split = Split(np.arange(options.images), np.arange(options.images, 2 * options.images))
    subsets = make_subsets(Dataset(images, None), split, members[0].evaluation, study_seed=0)
    weights = {}
    for each in members:
        trainer = SequentialTrainer(each, subsets.train, image_shape=subsets.image_shape, device=_CPU)
        trainer.advance(0, options.steps)
        with Counter() as step:
            trainer.advance(options.steps, 1)
        weights[each.member_id] = trainer.weights(0)
    kernels, mega = step.kernels.total() * Recipe.steps, step.bytes * Recipe.steps / 1e6
    yield from ((count, "training", kernels / count, mega) for count in (1, GPU_PACK_SIZE))
    for count in options.members:
        yield from _count(weights, members[:count], subsets, options)


def _count(
    weights: dict[str, dict[str, Tensor]], members: list[Member], subsets: Subsets, options: argparse.Namespace
) -> Iterator[tuple[int, str, float, float]]:
    """Each measure of so many members, a member of them."""
    measures = Measures(
        names=MEASURES,
        latent_samples=options.samples,
        importance_images=options.few,
        importance_samples=options.samples,
        memorization_images=options.few,
        probe_images=options.few // 2,
    )
    measuring = Measuring(measures, hard_image=options.images)
    taken = measure_pack(
        weights,
        members,
        subsets,
        measuring,
        device=_CPU,
        resources=Resources(),
        rows=MeasureRows(),
        at_once=len(members),
    )
    all_kernels, all_bytes = 0, 0
    with (
        mock.patch.object(aggregate, "_CPU_BLOCK_BYTES", 2**30),
        mock.patch.object(aggregate, "_CPU_BLOCK_IMAGES", math.inf),
    ):
        for name in MEASURES:
            print(f"{name} of {len(members)} ...", file=sys.stderr)
            with Counter() as counter:
                next(taken)
            all_kernels, all_bytes = all_kernels + counter.kernels.total(), all_bytes + counter.bytes
            yield len(members), name, counter.kernels.total() / len(members), counter.bytes / len(members) / 1e6
    yield len(members), "all measures", all_kernels / len(members), all_bytes / len(members) / 1e6


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.measure_kernels", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--size", choices=list(SIZES), default="mlp-1")
    parser.add_argument(
        "--members", type=whole(24), nargs="+", default=[1, 4], help="members that are measured at once"
    )
    parser.add_argument("--images", type=whole(81_920), default=2_048, help="of each subset")
    parser.add_argument("--few", type=whole(1_000), default=20, help="images whose log p(x) is estimated")
    parser.add_argument("--samples", type=whole(10_000), default=100, help="draws of z")
    parser.add_argument("--steps", type=whole(10_000), default=60, help="training steps before")
    parser.add_argument("--json", metavar="FILE", help="write the rows there too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
