"""Whether TF32 changes what a VAE learns: the members of `studies/precision.py` in both precisions, paired by seed.

    python -m benchmarks.precision [--device cpu|cuda] [--steps K] [--csv FILE]

Here all members of one depth and precision are one pack, on a CPU too: the numbers of one by one, up to rounding.
On a CPU the operands are rounded, on a GPU it is TF32 itself. Of each β and depth: the mean over seeds of D and R in
TF32 less those in float32, over the standard deviation over seeds in float32; the claim is that it stays within a
tenth. `largest` is the same of the seed that moved most.
"""

import argparse
import csv
import dataclasses
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.contenders import DEVICES, ROOT
from benchmarks.options import default_device, whole
from benchmarks.orchestration_process import NoCheckpoint
from benchmarks.tables import number, text_table
from rdstudy.planning.packs import Pack, stacks_of
from rdstudy.planning.plan import make_plan
from rdstudy.running.worker import load_subsets
from rdstudy.study import Member, Resources
from rdstudy.study.studyfile import load_study
from rdstudy.training import Finished, train_pack

STUDY = ROOT / "studies" / "precision.py"
ALLOWED = 0.1
"""Of the standard deviation over seeds: how far TF32 may move distortion and rate."""

_HEAD = ("depth", "β", "of", "float32", "σ over seeds", "ΔTF32", "|Δ| / σ", "largest", "seeds")


@dataclass(frozen=True)
class Shift:
    """What TF32 changes in one value of a cell and β, nats per image of the test subset."""

    depth: int
    beta: float
    value: str  # distortion or rate
    mean: float  # in float32
    deviation: float  # over seeds, in float32
    shifts: tuple[float, ...]  # [seed] TF32 - float32

    @property
    def relative(self) -> float:
        """The mean shift over the standard deviation over seeds, without sign."""
        return abs(statistics.fmean(self.shifts)) / self.deviation

    @property
    def largest(self) -> float:
        """The same of the seed that moved most."""
        return max(map(abs, self.shifts)) / self.deviation


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    rows = []
    for pack in packs_of(steps=options.steps):
        first = pack.members[0]
        print(f"depth {first.depth}, {first.recipe.precision}: {len(pack.members)} members ...", file=sys.stderr)
        rows += train(pack, torch.device(options.device))
    shifts = shifts_of(rows)
    if options.csv:
        write_csv(Path(options.csv), shifts)
    print(report(shifts))


def packs_of(*, steps: int | None) -> list[Pack]:
    """The members of the study, all of one depth and precision together, the shallow ones first."""
    study = load_study(str(STUDY))
    recipe = dataclasses.replace(study.recipe, steps=steps or study.recipe.steps)
    members: Sequence[Member] = make_plan(dataclasses.replace(study, recipe=recipe), {}).wanted
    packs = [Pack(stack) for stack in stacks_of(members)]
    return sorted(packs, key=lambda pack: (pack.stack.depth, pack.stack.recipe.precision))


def train(pack: Pack, device: torch.device) -> list[dict[str, Any]]:
    """Rows of the members of a pack on the test subset."""
    subsets, never = load_subsets(pack.members[0]), Resources(checkpoint_seconds=1e9)
    events = train_pack(pack, subsets, device=device, checkpoint=NoCheckpoint(), resources=never)
    (finished,) = [event for event in events if isinstance(event, Finished)]
    return [row for row in finished.members if row["subset"] == "test"]


def shifts_of(rows: Sequence[Mapping[str, Any]]) -> list[Shift]:
    """Paired by depth, β and seed."""
    values = {(r["depth"], r["beta"], r["seed"], r["precision"]): r for r in rows}
    cells = sorted({(depth, beta) for depth, beta, _, _ in values})
    shifts = []
    for depth, beta in cells:
        seeds = sorted({seed for d, b, seed, _ in values if (d, b) == (depth, beta)})
        for value in ("distortion", "rate"):
            exact, near = (
                [values[depth, beta, seed, precision][value] for seed in seeds] for precision in ("float32", "tf32")
            )
            apart = tuple(b - a for a, b in zip(exact, near, strict=True))
            shifts.append(Shift(depth, beta, value, statistics.fmean(exact), statistics.stdev(exact), apart))
    return shifts


def report(shifts: Sequence[Shift]) -> str:
    """The table, and whether the claim holds."""
    cells = [
        (
            str(shift.depth),
            f"{shift.beta:g}",
            "D" if shift.value == "distortion" else "R",
            number(shift.mean, 3),
            number(shift.deviation, 3),
            number(statistics.fmean(shift.shifts), 4),
            number(shift.relative, 3),
            number(shift.largest, 3),
            str(len(shift.shifts)),
        )
        for shift in shifts
    ]
    beyond = [shift for shift in shifts if not shift.relative <= ALLOWED]
    root = math.sqrt(len(shifts[0].shifts))
    verdict = (
        f"mean over seeds within {ALLOWED:g} σ in {len(shifts) - len(beyond)} of {len(shifts)} values; the standard "
        f"error of a mean over seeds is σ / {root:.2f}"
    )
    return f"{text_table(_HEAD, cells, left=0)}\n\n{verdict}"


def write_csv(path: Path, shifts: Sequence[Shift]) -> None:
    """One line a depth, β and value."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["depth", "beta", "value", "mean", "deviation", "relative", "largest", "shifts"])
        for shift in shifts:
            plain = (shift.depth, shift.beta, shift.value, shift.mean, shift.deviation, shift.relative, shift.largest)
            writer.writerow([*plain, " ".join(map(str, shift.shifts))])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=DEVICES, help="cuda where PyTorch sees a GPU, else cpu")
    parser.add_argument("--steps", type=whole(1_000_000), help="of training, instead of the study's")
    parser.add_argument("--csv", metavar="FILE", help="write the table there too")
    options = parser.parse_args(arguments)
    options.device = options.device or default_device()
    return options


if __name__ == "__main__":
    main()
