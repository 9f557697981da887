"""What a command reads of a store of many members: seconds and reads of files, in this checkout and others beside it.

    python -m benchmarks.reads [--per-file 1] [--rounds 2] [--beside CHECKOUT]...

1,440 members are simulated by the tests' own simulation, in files as a CPU writes them (a member in each) unless
`--per-file` says otherwise; their trajectories have 40 points. Two commands are run in processes of their own, in turn
for each checkout: a report, and a run that has nothing to do.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdstudy.results.rows import new_run_id
from rdstudy.results.snapshot import neighbours_key
from rdstudy.results.store import Store
from rdstudy.study import Member, Study
from rdstudy.study.studyfile import load_study
from tests.report.conftest import curve, declaration, examples, measures_row, member_row

_STUDY = """
from rdstudy.study import PAPER_BETAS, Experiment, Recipe, Study

SPLITS = [f"cv({{8_192 + 64 * at}})" for at in range({splits})]
GRID = {{"dataset": ["tetrominoes"], "split": SPLITS, "depth": [1, 2], "beta": PAPER_BETAS, "seed": range(5)}}
STUDY = Study("simulated", [Experiment("depth", GRID)], recipe=Recipe(steps=9_973))
"""
_OF_A_SPLIT = 2 * 12 * 5
_POINTS = 40
_CHILD = """
import importlib, json, sys
from rdstudy.results.files import Files

reads, real = {}, Files.read


def read(files, name):
    if name.endswith(".parquet"):
        reads[name] = reads.get(name, 0) + 1
    return real(files, name)


Files.read = read
module, *arguments = sys.argv[1:]
status = importlib.import_module(module).main(arguments)
print(json.dumps({"status": status, "reads": sum(reads.values()), "most": max(reads.values())}))
"""
_COMMANDS = {
    "report": ("rdstudy.report.__main__", "results", "--out", "page.html"),
    "nothing to do": ("rdstudy.run", "study.py", "--local", "--out", "results", "--no-report"),
}


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    seconds: float  # of its whole process
    reads: int  # of files of rows
    most: int  # reads of one file


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reads", description=__doc__)
    parser.add_argument("--per-file", type=int, default=1, help="members in one file (default: 1)")
    parser.add_argument("--rounds", type=int, default=2, help="times that each command is run; the fastest counts")
    parser.add_argument("--beside", action="append", default=[], metavar="CHECKOUT", help="another checkout")
    options = parser.parse_args()
    checkouts = [*map(os.path.abspath, options.beside), str(Path(__file__).resolve().parents[1])]
    with tempfile.TemporaryDirectory() as folder:
        members, files = write_store(Path(folder), "results", 1_440, options.per_file)
        print(f"{members:,} members, {options.per_file} in a file, {files:,} files of rows", flush=True)
        costs: dict[tuple[str, str], list[Cost]] = {}
        for _ in range(options.rounds):
            for command, words in _COMMANDS.items():
                for checkout in checkouts:
                    costs.setdefault((command, checkout), []).append(_run(Path(folder), checkout, words))
    for (command, checkout), repeats in costs.items():
        best = min(repeats, key=lambda cost: cost.seconds)
        print(f"{command:14} {best.seconds:6.1f} s, {best.reads:7,} reads, of one file at most {best.most}  {checkout}")


def _run(folder: Path, checkout: str, command: tuple[str, ...]) -> Cost:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": checkout},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - started
    counts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert counts["status"] == 0, done.stdout
    return Cost(seconds, counts["reads"], counts["most"])


def write_study(folder: Path, members: int) -> Study:
    """A file `study.py` of so many members, rounded down to whole splits of 120, in cells of 60."""
    file = folder / "study.py"
    file.write_text(_STUDY.format(splits=max(1, members // _OF_A_SPLIT)))
    return load_study(str(file))


def write_store(folder: Path, out: str, members: int, per_file: int) -> tuple[int, int]:
    """A study file in a folder, and its store, in the folder or at a URI; returns the numbers of members and files."""
    study = write_study(folder, members)
    store = Store.create(out if "://" in out else str(folder / out))
    store.declarations.declare(declaration(study))
    wanted = study.experiments[0].members(study)
    files = 0
    for start in range(0, len(wanted), per_file):
        run_id = new_run_id()
        tables = _tables(study, wanted[start : start + per_file], run_id)
        store.rows.write_run(run_id, tables)
        files += len(tables)
    for split in {member.split: member for member in wanted}.values():
        near = {"image": 3, "nearest_image": 5, "distance": 1.0, "hard": True}
        store.rows.write_neighbours(neighbours_key(split, study.measures), [near])
    store.rows.write_examples("tetrominoes", examples("tetrominoes"))
    return len(wanted), files


def _tables(study: Study, members: Sequence[Member], run_id: str) -> dict[str, list[dict[str, Any]]]:
    """Rows of some members of a study."""
    rows = [member_row(member, subset, run_id, "simulated") for member in members for subset in ("train", "test")]
    measures_id = study.measures.measures_id
    measured = [{"member_id": member.member_id, "run_id": run_id, "measures_id": measures_id} for member in members]
    image = {"dataset": "tetrominoes", "image": 3}
    drawn = {**image, "hard": True, "channels": 3, "height": 32, "width": 32, "pixels": bytes(3 * 32 * 32)}
    return {
        "trajectories": [point for row in rows for point in curve(row, _POINTS)],
        "measures": [measures_row(row, measures_id) for row in rows],
        "probes": [{**row, **image, "in_train": True, "log_marginal": -1.0} for row in measured],
        "reconstructions": [{**row, **drawn} for row in measured],
        "members": rows,
    }


if __name__ == "__main__":
    main()
