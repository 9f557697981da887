"""Whether TF32 changes what a VAE learns: the members of `studies/precision.py` in both precisions, paired by seed.

    python -m benchmarks.precision [--device cpu|cuda] [--seeds N] [--steps K] [--depth D] [--csv FILE]

Here all members of one depth and precision are one pack, on a CPU too: the numbers of one by one, up to rounding.
On a CPU the operands are rounded, on a GPU it is TF32 itself. Of each β and depth: the mean over seeds of D and R in
TF32 less those in float32, over the standard deviation over seeds in float32, with its 90 % interval. The claim is that
it stays within a tenth: it holds where the whole interval does (two one-sided tests, Schuirmann 1987), is refuted where
none of the interval does, and is open where only a part does.

The control is float32 beside float32, with the images of each batch in reverse order: the same numbers but for the
order in which they are added. What it moves is what any rounding moves.
"""

import argparse
import contextlib
import csv
import dataclasses
import math
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks.contenders import DEVICES, ROOT
from benchmarks.options import default_device, whole
from benchmarks.orchestration_process import NoCheckpoint
from benchmarks.tables import number, text_table
from rdstudy.findings.student import student_quantile
from rdstudy.planning.packs import Pack, stacks_of
from rdstudy.planning.plan import make_plan
from rdstudy.running.worker import load_subsets
from rdstudy.study import Member, Resources
from rdstudy.study.studyfile import load_study
from rdstudy.training import Finished, train_pack
from rdstudy.training.draws import BatchDraws, NoiseDraws

STUDY = ROOT / "studies" / "precision.py"
ALLOWED = 0.1
"""Of the standard deviation over seeds: how far TF32 may move distortion and rate."""
ARMS = ("tf32", "reversed")
"""What is held against float32: TF32, and float32 with the images of each batch in reverse order."""

_LEVEL = 0.95  # of each of the two one-sided tests
_HEAD = ("depth", "β", "of", "float32", "σ over seeds", "against", "Δ / σ", "90 % interval", "rms / σ", "seeds", "")


@dataclass(frozen=True)
class Shift:
    """What an arm changes in one value of a depth and β, nats per image of the test subset.

    Attributes:
        depth: of the members.
        beta: of the members; None for all, see `over_betas`.
        value: distortion or rate.
        arm: one of `ARMS`.
        mean: over seeds, in float32.
        deviation: standard deviation over seeds, in float32.
        shifts: of each seed, the arm's value less that in float32.
    """

    depth: int
    beta: float | None
    value: str
    arm: str
    mean: float
    deviation: float
    shifts: tuple[float, ...]

    @property
    def relative(self) -> float:
        """The mean shift over the standard deviation over seeds."""
        return statistics.fmean(self.shifts) / self.deviation

    @property
    def half_width(self) -> float:
        """Of the 90 % interval of `relative`: its error is that of the mean shift, the deviation is taken as known."""
        seeds = len(self.shifts)
        error = statistics.stdev(self.shifts) / math.sqrt(seeds)
        return student_quantile(_LEVEL, seeds - 1) * error / self.deviation

    @property
    def rms(self) -> float:
        """How far single seeds move: the root of their mean squared shift, over the deviation."""
        return math.sqrt(statistics.fmean(shift**2 for shift in self.shifts)) / self.deviation

    @property
    def verdict(self) -> str:
        """Whether the mean shift is within `ALLOWED`: `holds`, `refuted` or `open`."""
        if abs(self.relative) + self.half_width <= ALLOWED:
            return "holds"
        return "refuted" if abs(self.relative) - self.half_width > ALLOWED else "open"


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    shifts: list[Shift] = []
    for depth in options.depth or (1, 3):
        rows = []
        for pack in packs_of(depth=depth, seeds=options.seeds, steps=options.steps):
            rows += _train_arms(pack, torch.device(options.device))
        shifts += shifts_of(rows)
        if options.csv:
            write_csv(Path(options.csv), shifts)
    print(report(shifts))


def packs_of(*, depth: int, seeds: int | None = None, steps: int | None = None) -> list[Pack]:
    """The members of the study with one depth: those in float32, then those in TF32; other numbers are the study's."""
    study = load_study(str(STUDY))
    recipe = dataclasses.replace(study.recipe, steps=steps or study.recipe.steps)
    (experiment,) = study.experiments
    grid = {**experiment.grid, "depth": [depth], "seed": range(seeds) if seeds else experiment.grid["seed"]}
    study = dataclasses.replace(study, recipe=recipe, experiments=[dataclasses.replace(experiment, grid=grid)])
    members: Sequence[Member] = make_plan(study, {}).wanted
    return sorted((Pack(stack) for stack in stacks_of(members)), key=lambda pack: pack.stack.recipe.precision)


def _train_arms(pack: Pack, device: torch.device) -> list[dict[str, Any]]:
    """Rows of a pack with their `arm`; those in float32 are trained in the reverse order too."""
    arm = pack.stack.recipe.precision
    print(f"depth {pack.stack.depth}, {arm}: {len(pack.members)} members ...", file=sys.stderr)
    rows = [{**row, "arm": arm} for row in train(pack, device)]
    if arm == "float32":
        with batches_in_reverse():
            rows += [{**row, "arm": "reversed"} for row in train(pack, device)]
    return rows


def train(pack: Pack, device: torch.device) -> list[dict[str, Any]]:
    """Rows of the members of a pack on the test subset."""
    subsets, never = load_subsets(pack.members[0]), Resources(checkpoint_seconds=1e9)
    events = train_pack(pack, subsets, device=device, checkpoint=NoCheckpoint(), resources=never)
    (finished,) = [event for event in events if isinstance(event, Finished)]
    return [row for row in finished.members if row["subset"] == "test"]


@contextlib.contextmanager
def batches_in_reverse() -> Iterator[None]:
    """Steps read the images of each batch in reverse order, each with the noise that it has otherwise."""
    batches, chunk = BatchDraws.batches, NoiseDraws.chunk

    def reversed_batches(draws: BatchDraws, first_step: int, steps: int) -> Tensor:
        return batches(draws, first_step, steps).flip(1)

    def reversed_chunk(draws: NoiseDraws, first_step: int) -> Tensor:
        return chunk(draws, first_step).flip(1)

    with (
        mock.patch.object(BatchDraws, "batches", reversed_batches),
        mock.patch.object(NoiseDraws, "chunk", reversed_chunk),
    ):
        yield


def shifts_of(rows: Sequence[Mapping[str, Any]]) -> list[Shift]:
    """Of each depth, β, value and arm, paired by seed; rows have an `arm`."""
    values = {(row["depth"], row["beta"], row["seed"], row["arm"]): row for row in rows}
    shifts = []
    for depth, beta in sorted({(depth, beta) for depth, beta, _, _ in values}):
        seeds = sorted({seed for d, b, seed, _ in values if (d, b) == (depth, beta)})
        for value in ("distortion", "rate"):
            exact = [values[depth, beta, seed, "float32"][value] for seed in seeds]
            mean, deviation = statistics.fmean(exact), statistics.stdev(exact)
            for arm in ARMS:
                near = [values[depth, beta, seed, arm][value] for seed in seeds]
                apart = tuple(b - a for a, b in zip(exact, near, strict=True))
                shifts.append(Shift(depth, beta, value, arm, mean, deviation, apart))
    return shifts


def over_betas(shifts: Sequence[Shift]) -> list[Shift]:
    """Of each depth, value and arm, the mean over β of each seed's shift, in standard deviations."""
    kinds = dict.fromkeys((shift.depth, shift.value, shift.arm) for shift in shifts)
    return [
        Shift(depth, None, value, arm, mean=math.nan, deviation=1.0, shifts=_mean_shifts(same))
        for depth, value, arm in kinds
        if len(same := [shift for shift in shifts if (shift.depth, shift.value, shift.arm) == (depth, value, arm)]) > 1
    ]


def _mean_shifts(shifts: Sequence[Shift]) -> tuple[float, ...]:
    """Of each seed, over these."""
    relative = [[apart / shift.deviation for apart in shift.shifts] for shift in shifts]
    return tuple(map(statistics.fmean, zip(*relative, strict=True)))


def report(shifts: Sequence[Shift]) -> str:
    """The table, and in how many values the claim holds."""
    lines = [_line(shift) for shift in [*shifts, *over_betas(shifts)]]
    of_tf32 = [shift.verdict for shift in shifts if shift.arm == "tf32"]
    counts = ", ".join(f"{verdict} in {of_tf32.count(verdict)}" for verdict in ("holds", "open", "refuted"))
    return f"{text_table(_HEAD, lines, left=0)}\n\nTF32 within {ALLOWED:g} σ: {counts} of {len(of_tf32)} values"


def _line(shift: Shift) -> tuple[str, ...]:
    low, high = shift.relative - shift.half_width, shift.relative + shift.half_width
    return (
        str(shift.depth),
        "all" if shift.beta is None else f"{shift.beta:g}",
        "D" if shift.value == "distortion" else "R",
        *(("", "") if shift.beta is None else (number(shift.mean, 3), number(shift.deviation, 3))),
        shift.arm,
        number(shift.relative, 3),
        f"{number(low, 3)} to {number(high, 3)}",
        number(shift.rms, 3),
        str(len(shift.shifts)),
        shift.verdict,
    )


def write_csv(path: Path, shifts: Sequence[Shift]) -> None:
    """One line a depth, β, value and arm."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["depth", "beta", "value", "arm", "mean", "deviation", "relative", "half_width", "rms", "shifts"]
        )
        for shift in shifts:
            plain = (shift.depth, shift.beta, shift.value, shift.arm, shift.mean, shift.deviation)
            derived = (shift.relative, shift.half_width, shift.rms)
            writer.writerow([*plain, *derived, " ".join(map(str, shift.shifts))])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=DEVICES, help="cuda where PyTorch sees a GPU, else cpu")
    parser.add_argument("--seeds", type=whole(10_000), help="instead of the study's")
    parser.add_argument("--steps", type=whole(1_000_000), help="of training, instead of the study's")
    parser.add_argument("--depth", type=int, choices=(1, 3), nargs="+", help="of the networks; default: both")
    parser.add_argument("--csv", metavar="FILE", help="write the table there too")
    options = parser.parse_args(arguments)
    options.device = options.device or default_device()
    return options


if __name__ == "__main__":
    main()
