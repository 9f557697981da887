"""What Ray, checkpoints and tables cost: a study through the command, and its members in plain processes, side by side.

    python -m benchmarks.orchestration [--seconds 60] [--packs 2] [--slots 2] [--repeats 2] [--many 1000] [--json FILE]

Two works, in turn within each repeat: `python -m rdstudy.run` on a local Ray, and as many plain processes as Ray has
slots, each of which trains its share of the same members with the same training functions. Packs are of one member of
the paper's MLP with one layer, batch 128, and as many steps as take --seconds; --packs is a slot's. Then a study of
--many trivial packs, and the memory of the driver while it runs. A CPU alone, with nothing else on it.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.machine import Machine, describe_machine, machine_line
from benchmarks.options import whole
from benchmarks.orchestration_runs import (
    Many,
    Phases,
    Run,
    checkpoint_seconds,
    first_step,
    many_packs,
    plain,
    steps_for,
    through_ray,
    write_study,
)
from benchmarks.tables import number, text_table

ALLOWED_SHARE, ALLOWED_START_SECONDS, MINUTE = 0.05, 15.0, 60.0
_MIB = 2**20
_LONG_RUN_PACKS = 10  # of a slot, in a run whose start hardly counts


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="orchestration-") as folder:
        base = Path(folder)
        steps = options.steps or steps_for(options.seconds, base, slots=options.slots)
        study = write_study(base / "study.py", packs=options.slots * options.packs, steps=steps)
        starts = {
            cache: first_step(base, slots=options.slots, cache=cache, repeats=options.repeats)
            for cache in ("cold", "warm")
        }
        pairs = []
        for repeat in range(options.repeats):
            print(f"repeat {repeat + 1} of {options.repeats}: {steps:,} steps a pack ...", file=sys.stderr)
            pairs.append((through_ray(study, base / f"out-{repeat}", slots=options.slots), plain(study, options.slots)))
        many = many_packs(base, options.many, slots=options.slots) if options.many else None
        saved = checkpoint_seconds(base)
    print(report(pairs, starts, many, saved, options=options, machine=machine))
    if options.json:
        body = {
            "machine": dataclasses.asdict(machine),
            "slots": options.slots,
            "first_step_seconds": starts,
            "checkpoint_seconds": saved,
            "repeats": [{"ray": dataclasses.asdict(ray), "plain": dataclasses.asdict(bare)} for ray, bare in pairs],
            "many": dataclasses.asdict(many) if many else None,
        }
        Path(options.json).write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")


def report(
    pairs: Sequence[tuple[Run, Run]],
    starts: Mapping[str, Sequence[float]],
    many: Many | None,
    saved: float,
    *,
    options: argparse.Namespace,
    machine: Machine,
) -> str:
    """The tables and all that is needed to read them."""
    phases = [(ray.phases(options.slots), bare.phases(options.slots)) for ray, bare in pairs]
    ratios = {
        "whole run": [ray.end / bare.end for ray, bare in pairs],
        "without the start": [
            (ray.end - parts.start) / (bare.end - bare_parts.start)
            for (ray, bare), (parts, bare_parts) in zip(pairs, phases, strict=True)
        ],
        f"{_LONG_RUN_PACKS} such packs a slot": [
            ray.wall(_LONG_RUN_PACKS) / bare.wall(_LONG_RUN_PACKS) for ray, bare in phases
        ],
        f"{_LONG_RUN_PACKS} packs of {MINUTE:.0f} s a slot": [
            ray.wall(_LONG_RUN_PACKS, MINUTE * ray.pack / bare.pack) / bare.wall(_LONG_RUN_PACKS, MINUTE)
            for ray, bare in phases
        ],
    }
    parts = [
        text_table(
            ("wall time over plain processes", "median", "least", "most"), [*map(_ratio, ratios.items())], left=1
        ),
        f"allowed: {1 + ALLOWED_SHARE:.2f} where packs run a minute or more; the last two lines are sums of parts",
        text_table(("seconds", "rdstudy", "plain"), _phase_rows(phases), left=1),
        f"a checkpoint: {saved:.2f} s, once a minute; in a gap: rows written, the next pack's images read, Tune's turn",
        text_table(
            ("start to first training step, s", "median", "least", "most", "allowed"),
            [(f"{name} cache", *_spread(each, 1), number(ALLOWED_START_SECONDS, 1)) for name, each in starts.items()],
            left=1,
        ),
        _many_line(many) if many else "",
        f"{options.repeats} repeats of {options.packs} packs a slot, {options.slots} slots\n{machine_line(machine)}",
    ]
    return "\n\n".join(part for part in parts if part)


def _phase_rows(phases: Sequence[tuple[Phases, Phases]]) -> list[tuple[str, str, str]]:
    rows = []
    for name, field in (
        ("start, to the first training step", "start"),
        ("training of a pack", "pack"),
        ("gap between two packs of a slot", "gap"),
        ("end, from the last pack's training", "end"),
    ):
        medians = [statistics.median(getattr(pair[side], field) for pair in phases) for side in (0, 1)]
        rows.append((name, number(medians[0], 2), number(medians[1], 2)))
    return rows


def _many_line(many: Many) -> str:
    growth = many.bytes_per_pack
    return (
        f"{many.packs:,} trivial packs: {many.seconds_per_pack:.3f} s a pack; the driver held "
        f"{many.start_bytes / _MIB:.0f} MiB after a tenth of them and grew by {growth / 1024:.1f} KiB a pack, "
        f"{growth * many.packs / _MIB:.0f} MiB in all; {growth * 10_000 / _MIB:.0f} MiB for 10,000"
    )


def _ratio(item: tuple[str, Sequence[float]]) -> tuple[str, ...]:
    return (item[0], *_spread(item[1], 3))


def _spread(values: Sequence[float], digits: int) -> tuple[str, str, str]:
    return number(statistics.median(values), digits), number(min(values), digits), number(max(values), digits)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orchestration", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=MINUTE, help="of a pack")
    parser.add_argument("--steps", type=whole(10**7), help="of a pack, instead of --seconds")
    parser.add_argument("--packs", type=whole(1_000), default=2, help="of a slot")
    parser.add_argument("--slots", type=whole(1_024), default=2, help="packs at a time")
    parser.add_argument("--repeats", type=whole(1_000), default=2)
    parser.add_argument("--many", type=int, default=1_000, help="trivial packs; 0 for none")
    parser.add_argument("--json", metavar="FILE", help="write what was measured there too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
