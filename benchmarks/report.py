"""The time to build the page of a study as large as the paper's, and the size of the page.

    python -m benchmarks.report [--per-file 60] [--large]

Rows are simulated by the tests' own simulation: 6,480 members with 40 points of a trajectory each, measured on train
and test, and stopped early; with --large 95,040 members of 396 cells, with 10 points.
"""

import argparse
import dataclasses
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from rdstudy.report.build import Source, read_report, write_report
from rdstudy.results.rows import new_run_id
from rdstudy.results.store import Store
from rdstudy.study import PAPER_BETAS
from tests.report.conftest import Simulation, curve, declaration, examples, measures_row, member_row

SIZES = range(8_192, 65_537, 8_192)
SIMULATION = Simulation(
    depths=(1, 2, 3),
    betas=PAPER_BETAS,
    seeds=5,
    splits=("cv(81920)", "checkerboard", *(f"{kind}({size})" for kind in ("cv", "cd") for size in SIZES)),
    architectures=("mlp", "cnn"),
    points=40,
)
LARGE = dataclasses.replace(SIMULATION, depths=tuple(range(1, 12)), seeds=20, points=10)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--per-file", type=int, default=60, help="members in one file: those of a pack (default: 60)")
    parser.add_argument("--large", action="store_true", help="nearly as many members as a study may have")
    arguments = parser.parse_args()
    simulation = LARGE if arguments.large else SIMULATION
    with tempfile.TemporaryDirectory() as folder:
        members = _write(simulation, Path(folder) / "results", arguments.per_file)
        started = time.perf_counter()
        page = write_report(read_report(Source(f"{folder}/results")), out=f"{folder}/page.html")
        seconds = time.perf_counter() - started
        megabytes = page.stat().st_size / 1e6
    allowed = "" if arguments.large else " of the allowed 15 s"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{members:,} members, {arguments.per_file} in a file: {seconds:.1f} s{allowed}, {megabytes:.1f} of 10 MB")
    print(f"peak memory {memory:.1f} GiB, of the simulation too")


def _write(simulation: Simulation, folder: Path, per_file: int) -> int:
    study = simulation.study()
    store = Store.create(str(folder))
    store.declarations.declare(declaration(study))
    members = study.experiments[0].members(study)
    for start in range(0, len(members), per_file):
        batch = members[start : start + per_file]
        run_id = new_run_id()
        rows = [member_row(member, subset, run_id, "simulated") for member in batch for subset in ("train", "test")]
        trajectories: list[dict[str, Any]] = [point for row in rows for point in curve(row, simulation.points)]
        measures = [measures_row(row, study.measures.measures_id) for row in rows]
        rows = [row | {"stop_step": 101, "stop_distortion": row["distortion"] - 3.0, "stop_rate": 5.0} for row in rows]
        store.rows.write_run(run_id, {"members": rows, "trajectories": trajectories, "measures": measures})
    store.rows.write_examples("tetrominoes", examples("tetrominoes"))
    return len(members)


if __name__ == "__main__":
    main()
