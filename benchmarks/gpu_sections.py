"""The sections of `python -m benchmarks.gpu`: each measures one thing and leaves tables. Knows torch and this project.

Each writes its table anew after every line, so that what was measured is there when its time is over. What disagrees
with what must be raises, which is the section's failure.
"""

import argparse
import csv
import dataclasses
import functools
import gc
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import precision, training
from benchmarks.bounds import COPY_BUFFER_BYTES, bound_of_card, fused_kernels_of, table
from benchmarks.contenders import CONTENDERS, DEVICES
from benchmarks.contenders.rdstudy_sequential import member
from benchmarks.devices import wait_for
from benchmarks.gpu import SECTIONS
from benchmarks.sizes import SIZES, Size
from benchmarks.tables import write_table
from rdstudy.planning.cards import CARDS, Card
from rdstudy.planning.kernels import step_seconds
from rdstudy.results.store import Store
from rdstudy.study import PAPER_BETAS
from rdstudy.training.dense_step import reason_against
from rdstudy.training.precision import training_products
from rdstudy.training.process import training_settings
from rdstudy.training.stacked import StackedTrainer
from rdstudy.training.step_modes import CPU_MODES, FUSED_MODES, GPU_MODES, PATCHES, WARM_UP_STEPS, StepMode

EQUAL = 1e-2
"""Largest relative difference of a parameter between two ways of the same steps: rounding gives 1e-6 to 1e-4, a buffer
that does not keep its place 1e-1."""

_PLAIN = CPU_MODES[0]


@dataclass(frozen=True)
class Task:
    """What a section is to do."""

    folder: Path  # of the tables
    store: Path  # of the results of figure-3
    device: torch.device
    is_smoke: bool
    end: float  # of its time, by `time.monotonic`

    @property
    def seconds_left(self) -> float:
        """Of its time."""
        return self.end - time.monotonic()


@dataclass
class Table:
    """A table that is written anew after every line."""

    folder: Path
    name: str
    head: tuple[str, ...]
    rows: list[tuple[object, ...]] = field(default_factory=list)

    def add(self, *row: object) -> None:
        """Add a line."""
        self.rows.append(row)
        write_table(self.folder, self.name, self.head, self.rows)
        print(*row, flush=True)


# --- what the device can do -------------------------------------------------------------------------------------------


def ceilings(task: Task) -> None:
    """The card, and the rates of copies and products that steps are made of."""
    properties = Table(task.folder, "machine", ("what", "value"))
    on_gpu = task.device.type == "cuda"
    properties.add("device", torch.cuda.get_device_name() if on_gpu else "cpu")
    properties.add("torch", torch.__version__)
    properties.add("cuda", torch.version.cuda)
    properties.add("free and all memory, bytes", str(torch.cuda.mem_get_info()) if on_gpu else None)
    properties.add("compute capability", str(torch.cuda.get_device_capability()) if on_gpu else None)
    rates = Table(task.folder, "ceilings", ("what", "precision", "value", "unit"))
    for row in measured_rates(task):
        rates.add(*row)


def measured_rates(task: Task) -> Iterator[tuple[str, str, float, str]]:
    """Copy in bytes a second, large and batched products in operations a second."""
    numbers = 2**12 if task.is_smoke else COPY_BUFFER_BYTES // 4
    source = torch.ones(numbers, device=task.device)
    target = torch.empty_like(source)
    yield "copy", "", 2 * 4 * numbers / seconds_of(lambda: target.copy_(source), task), "bytes/s"
    side = 64 if task.is_smoke else 8192
    members, batch = (3, 16) if task.is_smoke else (60, 128)
    shapes = {
        "large product": ((side, side), (side, side)),
        "batched product": ((members, batch, 3072), (members, 3072, 512)),
        "batched product, gradient of a weight": ((members, 3072, batch), (members, batch, 512)),
    }
    for name, (left_shape, right_shape) in shapes.items():
        left, right = torch.randn(left_shape, device=task.device), torch.randn(right_shape, device=task.device)
        operations = 2 * left.numel() * right.shape[-1]
        for how in ("float32", "tf32"):
            with training_settings(), training_products(how, task.device):
                yield name, how, operations / seconds_of(functools.partial(torch.matmul, left, right), task), "op/s"


def seconds_of(work: Callable[[], object], task: Task) -> float:
    """The median time of some work that a device is given."""
    times = []
    for at in range(2 if task.is_smoke else 13):
        started = time.perf_counter()
        work()
        wait_for(task.device)
        if at:  # the first time chooses kernels
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def measured_card(task: Task) -> Card:
    """The card by the rates in the table of `ceilings`, measured now where there is none."""
    path = task.folder / "ceilings.csv"
    if path.exists():
        with path.open(encoding="utf-8") as file:
            rates = {(row["what"], row["precision"]): float(row["value"]) for row in csv.DictReader(file)}
    else:
        rates = {(name, how): value for name, how, value, _ in measured_rates(task)}
    large = "large product"
    return Card("measured", 0, rates[large, "float32"], rates[large, "tf32"], rates["copy", ""])


def bounds(task: Task) -> None:
    """Both bounds of every size on the card as measured, and by data sheets."""
    head = (
        "network",
        "card",
        "rates",
        "precision",
        "arithmetic µs",
        "traffic µs",
        "larger µs",
        "kernels µs",
        "fused µs",
    )
    write_table(task.folder, "bounds", head, table(SIZES.values(), [measured_card(task), *CARDS.values()]))


# --- the stacked path -------------------------------------------------------------------------------------------------


def make_trainer(task: Task, size: Size, members: int, how: str, modes: Sequence[StepMode] | None) -> StackedTrainer:
    """A pack on drawn pixels, β changing fastest."""
    pairs = islice(product(range(5), PAPER_BETAS), members)
    pack = [member(size, beta=beta, seed=seed, precision=how) for seed, beta in pairs]
    generator = torch.Generator().manual_seed(0)
    count = 200 if task.is_smoke else 16_384
    images = torch.randint(0, 256, (count, size.pixels), dtype=torch.uint8, generator=generator)
    return StackedTrainer(pack, images, image_shape=size.image_shape, device=task.device, modes=modes)


def advance(trainer: StackedTrainer, first: int, steps: int) -> float:
    """Take steps in the precision of the members; the seconds that they took."""
    started = time.perf_counter()
    with training_settings(), training_products(trainer.members[0].recipe.precision, trainer.device):
        trainer.advance(first, steps)
    wait_for(trainer.device)
    return time.perf_counter() - started


def release(trainer: StackedTrainer) -> None:
    """Give its memory back before the next one starts."""
    trainer.close()
    del trainer
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def cases(task: Task, packs: Sequence[tuple[str, int]]) -> list[tuple[Size, int]]:
    """Networks and members; tiny ones of the same kind for a smoke test."""
    if not task.is_smoke:
        return [(SIZES[name], members) for name, members in packs]
    tiny = [Size("tiny-mlp", "mlp", 1, 5, batch_size=7, latent_dim=2, side=4)]
    tiny += [Size("tiny-cnn", "cnn", 1, 3, batch_size=7, latent_dim=2, side=4)]
    return [(size, 2) for size in tiny]


def equality(task: Task) -> None:
    """Every way of taking steps gives what plain steps give, in both precisions."""
    results = Table(task.folder, "equality", ("network", "precision", "asked for", "taken by", "largest difference"))
    steps = 2 * WARM_UP_STEPS if task.is_smoke else 70  # past the end of a chunk of draws
    broken: list[str] = []
    for (size, members), how in product(cases(task, (("mlp-1", 2), ("cnn-1", 2))), ("float32", "tf32")):
        plain = make_trainer(task, size, members, how, (_PLAIN,))
        advance(plain, 0, steps)
        for mode in _ways(task, size, how)[:-1]:
            fast = make_trainer(task, size, members, how, (mode, _PLAIN))
            advance(fast, 0, steps)
            difference = max(
                ((fast.parameters[name] - value).norm() / value.norm()).item()
                for name, value in plain.parameters.items()
            )
            results.add(size.name, how, mode.name, fast.step_mode, difference)
            if not difference < EQUAL:
                broken.append(f"{size.name} in {how} by {mode.name} differs by {difference:.1e}; allowed: {EQUAL:g}")
            if not fast.step_mode.endswith(mode.name):
                broken.append(f"{size.name} in {how} cannot be taken by {mode.name}")
            release(fast)
        release(plain)
    if broken:
        raise AssertionError("; ".join(broken))


def _ways(task: Task, size: Size, how: str) -> tuple[StepMode, ...]:
    """Those that a network can be trained in, the best first, plain steps last."""
    is_dense = reason_against(member(size, beta=1.0, seed=0, precision=how), size.image_shape) is None
    candidates = (*(FUSED_MODES if is_dense else ()), *([PATCHES] if size.architecture == "cnn" else []))
    if task.device.type == "cuda":
        return (*candidates, *GPU_MODES)
    if how != "float32":
        return CPU_MODES  # operands that are rounded cannot be traced
    traced = StepMode("a traced network", "aot_eager", None)
    of_patches = [dataclasses.replace(traced, name=mode.name, patches=True) for mode in candidates if mode.patches]
    return (*of_patches, traced, *CPU_MODES)


def ladder(task: Task) -> None:
    """Each way of taking steps, beside the bounds."""
    head = (
        *("network", "members", "precision", "asked for", "taken by", "first steps s", "ms a step", "µs a member"),
        *("of the larger bound", "of kernels", "of fused kernels", "GiB reserved"),
    )
    results, card = Table(task.folder, "ladder", head), measured_card(task)
    packs = (("mlp-1", 60), ("mlp-3", 60), ("mlp-1", 12), ("cnn-1", 12), ("cnn-3", 12))
    for (size, members), how in product(cases(task, packs), ("float32", "tf32")):
        for mode in _ways(task, size, how):
            if task.seconds_left < 0.1 * (task.end - _STARTED):
                print("no time for", size.name, how, mode.name)
                continue
            trainer = make_trainer(task, size, members, how, (mode, _PLAIN))
            first = advance(trainer, 0, 2 * WARM_UP_STEPS + 2)
            advance(trainer, 8, 8)
            steps = 2 if task.is_smoke else 192 if size.architecture == "mlp" else 24
            step = advance(trainer, 16, steps) / steps
            own, fused = bound_of_card(size, card, how), step_seconds(fused_kernels_of(size), card, how)
            shares = [members * least / step for least in (own.seconds, own.honest_seconds, fused)]
            reserved = torch.cuda.max_memory_reserved() / 2**30 if task.device.type == "cuda" else None
            times = (first, 1e3 * step, 1e6 * step / members)
            results.add(size.name, members, how, mode.name, trainer.step_mode, *times, *shares, reserved)
            release(trainer)


def memory(task: Task) -> None:
    """What is held while packs come and go: as much after the third as after the first."""
    results = Table(task.folder, "memory", ("when", "allocated bytes", "reserved bytes", "trainers' tensors alive"))
    (size, members), *_ = cases(task, (("mlp-1", 60),))
    held: list[int] = []
    for number in range(3):
        trainer = make_trainer(task, size, members, "float32", None)
        advance(trainer, 0, 2 * WARM_UP_STEPS)
        results.add(f"pack {number} in training", *_held(task), _alive(size))
        release(trainer)
        del trainer
        gc.collect()
        alive = _alive(size)
        results.add(f"pack {number} ended", *_held(task), alive)
        held.append(alive)
    if held[-1] > held[0]:
        raise AssertionError(f"after each pack more is alive: {held} tensors as large as a stacked weight")


def _held(task: Task) -> tuple[int | None, int | None]:
    if task.device.type != "cuda":
        return None, None
    return torch.cuda.memory_allocated(), torch.cuda.memory_reserved()


def _alive(size: Size) -> int:
    """Tensors that are as large as the largest stacked weight of a pack."""
    least = size.pixels * size.width
    with_numbers = (each for each in gc.get_objects() if type(each) in (Tensor, torch.nn.Parameter))
    return sum(each.ndim == 3 and each[0].numel() == least for each in with_numbers)


# --- what is run as it is ---------------------------------------------------------------------------------------------


def precision_pairs(task: Task) -> None:
    """Members in float32 and in TF32, paired by seed."""
    few = ["--seeds", "2", "--steps", "2", "--depth", "1"] if task.is_smoke else []
    precision.main(["--device", task.device.type, "--csv", str(task.folder / "precision.csv"), *few])


def race(task: Task) -> None:
    """The benchmark of training steps, with those contenders that count on a GPU."""
    file = task.folder / "training.json"
    if task.is_smoke:
        options = ["--sizes", "mlp-1", "--contenders", "stacked", "--packs", "1", "--steps", "1", "--repeats", "1"]
    else:
        asked = ("stacked", "explicit-graph", "eager", "processes", "cudagraph", "jax")
        options = ["--sizes", "mlp-1", "--packs", "12", "60", "--steps", "192", "--repeats", "5"]
        options += ["--contenders", *(name for name in CONTENDERS if name in asked)]
    training.main(["--device", task.device.type, "--json", str(file), *options])
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    write_table(task.folder, "training", tuple(rows[0]), [tuple(row.values()) for row in rows])


_FIGURE = ("studies/paper.py", "--only", "early-stopping")
"""The paper's Figure 3, sparse, depths of one and three."""

_SMOKE_STUDY = """\
from rdstudy.study import Evaluation, Experiment, Measures, Recipe, Study
STUDY = Study(
    "smoke",
    [Experiment("e", {"dataset": ["tetrominoes"], "split": ["cv(64)"], "width": [5], "beta": [1], "seed": [0]})],
    recipe=Recipe(steps=2, batch_size=7),
    evaluation=Evaluation(trajectory_points=1, trajectory_images=5, final_images=5, validation_images=5),
    measures=Measures(names=[]),
)
"""


def figure_3(task: Task) -> None:
    """As many packs of the paper's Figure 3 as the time allows, each of one seed with all β."""
    from rdstudy import run

    taken = task.folder / "figure-3"
    if taken.exists() and not task.store.exists():
        shutil.copytree(taken, task.store)
    hours = max(task.seconds_left - _COPY_SECONDS, 1) / 3600
    if task.is_smoke:
        study = task.folder / "smoke.py"
        study.write_text(_SMOKE_STUDY, encoding="utf-8")
        asked: tuple[str, ...] = (str(study),)
    else:
        settings = ("resources.gpus=1", "resources.pack_size=12", "resources.checkpoint_seconds=240")
        asked = (*_FIGURE, "--max-hours", f"{hours:.4f}", *(word for each in settings for word in ("--set", each)))
    status = run.main([*asked, "--local", "--no-report", "--out", str(task.store)])
    _take_home(task.store, taken)
    _figure_table(task)
    if status not in _ENDED_WELL:
        raise AssertionError(f"the run ended with status {status}")


_COPY_SECONDS = 20  # that are left for the end of a run and for what is taken home
_ENDED_WELL = (0, 130)  # all members done, or the time over


def _take_home(store: Path, folder: Path) -> None:
    """The store without checkpoints, which are large and of use on this machine alone."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(store, folder, ignore=shutil.ignore_patterns("checkpoints", "tmp", "runs"))


def _figure_table(task: Task) -> None:
    columns = (
        *("depth", "beta", "seed", "outcome", "reason", "distortion", "rate", "stop_step", "wall_seconds"),
        *("peak_memory_bytes", "device", "step_mode", "product_precision"),
    )
    rows = sorted(_test_rows(task.store), key=lambda row: (row["depth"], row["seed"], row["beta"]))
    write_table(task.folder, "figure-3", columns, [tuple(row[name] for name in columns) for row in rows])


def _test_rows(store: Path) -> list[dict[str, Any]]:
    rows = Store.open(str(store)).snapshot(("members",)).table("members").to_pylist()
    return [row for row in rows if row["subset"] == "test"]


_RUN: dict[str, Callable[[Task], None]] = {
    "ceilings": ceilings,
    "bounds": bounds,
    "equality": equality,
    "ladder": ladder,
    "memory": memory,
    "precision": precision_pairs,
    "training": race,
    "figure-3": figure_3,
}
_STARTED = time.monotonic()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_sections")
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--device", choices=DEVICES, required=True)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("--device is cuda, but PyTorch sees no CUDA device; allowed here: --smoke")
    end = _STARTED + options.seconds
    _RUN[options.section](Task(options.out, options.store, torch.device(options.device), options.smoke, end))


if __name__ == "__main__":
    main()
