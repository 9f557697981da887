"""The works of `benchmarks.orchestration`: a study through the command, its members in plain processes, many packs."""

import functools
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.contenders import ROOT

_STUDY = """
from rdstudy.study import Evaluation, Experiment, Measures, Recipe, Resources, Study

STUDY = Study(
    name="orchestration",
    experiments=[
        Experiment(
            "all",
            grid={{
                "dataset": ["tetrominoes"], "split": ["cv({images})"], "width": [{width}], "latent_dim": [{latent}],
                "depth": [1], "beta": [1], "seed": range({packs}),
            }},
        )
    ],
    recipe=Recipe(steps={steps}, batch_size={batch}),
    evaluation=Evaluation(trajectory_points=3, trajectory_images=100, final_images=1_000),
    measures=Measures(names=[]),
    resources=Resources(),
)
"""


@dataclass(frozen=True)
class Run:
    """When a work was done, seconds since it was started.

    Attributes:
        trained: begin and end of each pack's training; none of loading, writing or waiting for the next pack.
        end: of the last process.
    """

    trained: tuple[tuple[float, float], ...]
    end: float

    def phases(self, slots: int) -> "Phases":
        """The run in parts, each in seconds of a slot."""
        begins, ends = sorted(begin for begin, _ in self.trained), sorted(end for _, end in self.trained)
        first, last = statistics.mean(begins[:slots]), statistics.mean(ends[-slots:])
        training = sum(end - begin for begin, end in self.trained)
        gaps = len(self.trained) - slots
        return Phases(
            start=first,
            pack=training / len(self.trained),
            gap=((last - first) * slots - training) / gaps if gaps else 0.0,
            end=self.end - last,
        )


@dataclass(frozen=True)
class Phases:
    """A run in parts, seconds."""

    start: float  # from the command to the first training step
    pack: float  # training of one pack
    gap: float  # from the end of a pack's training to the begin of the next one's on the same slot
    end: float  # from the last pack's end to the command's

    def wall(self, packs: int, seconds: float | None = None) -> float:
        """Of a run of so many packs on a slot, each of so many seconds: as long as these were unless given."""
        return self.start + packs * (seconds or self.pack) + (packs - 1) * self.gap + self.end


@dataclass(frozen=True)
class Many:
    """A run of trivial packs."""

    packs: int
    seconds_per_pack: float
    start_bytes: float  # of the driver, when a tenth of the packs was done
    bytes_per_pack: float  # by which the driver grew for each pack, a straight line through what was seen


def through_ray(study: Path, out: Path, *, slots: int, cache: Path | None = None) -> Run:
    """Run a study by the command, on a local Ray of so many CPUs."""
    before = time.time()
    _finish(_start_command(study, out, slots=slots, cache=cache))
    return Run(tuple((begin - before, end - before) for begin, end in trained(out)), time.time() - before)


def trained(out: Path) -> list[tuple[float, float]]:
    """When the packs of a store were trained: their last row less the clock that ran while they were trained."""
    times = []
    for path in sorted((out / "members").glob("*.parquet")):
        row = pq.read_table(path).select(["finished_at", "wall_seconds"]).to_pylist()[0]
        end = row["finished_at"].timestamp()
        times.append((end - row["wall_seconds"], end))
    return times


def plain(study: Path, slots: int) -> Run:
    """Train the same members in so many processes."""
    before = time.time()
    command = [sys.executable, "-m", "benchmarks.orchestration_process", str(study)]
    processes = [
        subprocess.Popen([*command, str(slot), str(slots)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for slot in range(slots)
    ]
    said = [json.loads(_finish(process)) for process in processes]
    return Run(tuple((begin - before, end - before) for each in said for begin, end in each), time.time() - before)


def first_step(base: Path, *, slots: int, cache: str, repeats: int) -> list[float]:
    """Seconds from the command to its first training step, the images drawn before or not."""
    study = write_study(base / "start.py", packs=slots, steps=16)
    seconds = []
    for repeat in range(repeats):
        folder = base / f"cache-{repeat}" if cache == "cold" else None
        out = base / f"start-{cache}-{repeat}"
        seconds.append(min(begin for begin, _ in through_ray(study, out, slots=slots, cache=folder).trained))
    return seconds


def many_packs(base: Path, packs: int, *, slots: int) -> Many:
    """Run a study of trivial packs, and look at the driver's memory a few times a second."""
    study = write_study(base / "many.py", packs=packs, steps=2, width=2, latent=2, batch=8, images=16)
    out, seen = base / "many", []
    process = _start_command(study, out, slots=slots)
    while process.poll() is None:
        done = len(list((out / "members").glob("*.parquet")))
        resident = _resident_bytes(process.pid)
        if done and resident:
            seen.append((time.monotonic(), done, resident))
        time.sleep(0.25)
    _finish(process)
    trained = [each for each in seen if packs / 10 <= each[1] < packs]  # at the end, all tables are read
    times, done_packs, resident_bytes = np.array(trained).T
    return Many(
        packs=packs,
        seconds_per_pack=float(np.polyfit(done_packs, times, 1)[0]),
        start_bytes=float(resident_bytes[0]),
        bytes_per_pack=float(np.polyfit(done_packs, resident_bytes, 1)[0]),
    )


def checkpoint_seconds(base: Path) -> float:
    """Seconds to write one checkpoint of such a pack to the disk, the median of five."""
    import torch

    from rdstudy.planning.plan import make_plan
    from rdstudy.results.checkpoints import Checkpoints
    from rdstudy.results.store import Store
    from rdstudy.run import load_study
    from rdstudy.running.worker import load_subsets
    from rdstudy.training.sequential import SequentialTrainer
    from rdstudy.training.state import TrainingState, write_state

    pack = make_plan(load_study(str(write_study(base / "one.py", packs=1, steps=2))), {}).training[0]
    subsets = load_subsets(pack.members[0])
    trainer = SequentialTrainer(
        pack.members[0], subsets.train, image_shape=subsets.image_shape, device=torch.device("cpu")
    )
    slot, seconds = Checkpoints(Store.create(str(base / "checkpoints")), pack.pack_id), []
    trainer.advance(0, 1)
    for _ in range(5):
        before = time.perf_counter()
        slot.save(functools.partial(write_state, trainer, TrainingState()))
        seconds.append(time.perf_counter() - before)
    return statistics.median(seconds)


def steps_for(seconds: float, base: Path, *, slots: int) -> int:
    """Steps that take so many seconds while all slots are at work."""
    few = 200
    run = plain(write_study(base / "pace.py", packs=slots, steps=few), slots)
    return max(few, round(seconds * few / run.phases(slots).pack))


def write_study(
    path: Path, *, packs: int, steps: int, width: int = 512, latent: int = 10, batch: int = 128, images: int = 2_000
) -> Path:
    path.write_text(
        _STUDY.format(packs=packs, steps=steps, width=width, latent=latent, batch=batch, images=images),
        encoding="utf-8",
    )
    return path


def _start_command(study: Path, out: Path, *, slots: int, cache: Path | None = None) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": slots})}
    if cache:
        environment["RDSTUDY_CACHE"] = str(cache)
    command = [sys.executable, "-m", "rdstudy.run", str(study), "--out", str(out), "--no-report"]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _finish(process: "subprocess.Popen[str]") -> str:
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args!r} ended with status {process.returncode}:\n{said}")
    return said


def _resident_bytes(pid: int) -> int | None:
    """Of a process; None where it is gone, or this is not Linux."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
