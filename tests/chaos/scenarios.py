"""The scenarios: what is done to a study, each ending in the tables of an undisturbed run.

A scenario is a function of a `World` and runs one round; it is called again while there is time.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from rdstudy.results.store import Store
from tests.chaos.runs import INTERRUPTED, OK, REFUSED, ROOT, SECRET, SOME_NOT_OK, Run
from tests.chaos.weather import Weather
from tests.chaos.world import ANY_FAULT, World
from tests.fuzz.damage import KINDS, STRAYS, fill_with_zeros, flip_bits
from tests.s3 import s3_uri

_REMEASURED = ("--set", "measures.importance_images=5", "--set", "measures.probe_images=5")
_BAD_WEATHER = (SOME_NOT_OK, REFUSED)  # refused: the first requests of a run do not wait for fair weather
_WORK = "training steps"  # the last words of a plan: work begins


def killed(world: World, study: str = "base") -> None:
    """Signals of all kinds at random moments of one study."""
    reference = world.reference((study, ()), page=True)
    world.disturb_until_done(ANY_FAULT, study=study)
    world.finish(study=study)
    _check_page(world, study)
    world.compare(reference)


def convolutions(world: World) -> None:
    """The same of convolutional networks."""
    killed(world, "cnn")


def annealing(world: World) -> None:
    """The same with annealed importance sampling, on a split by factors."""
    killed(world, "annealing")


def measured_later(world: World) -> None:
    """Weights are kept, and other measures taken of them without training."""
    reference = world.reference(("base", ()), ("base", ("--no-report", *_REMEASURED)))
    world.disturb_until_done(ANY_FAULT, "--no-report", most=2)
    world.finish("--no-report")
    trained = sorted(path.name for path in (world.out / "members").iterdir())
    world.disturb_until_done(ANY_FAULT, "--no-report", *_REMEASURED, most=4)
    world.finish("--no-report", *_REMEASURED)
    if sorted(path.name for path in (world.out / "members").iterdir()) != trained:
        world.wrong("members whose weights were kept were trained again")
    world.compare(reference)


def two_runs(world: World) -> None:
    """A second run of a study beside the first: refused, or by force, or patient, or after a kill."""
    reference = world.reference()
    first = world.start()
    if not first.wait_for(_WORK, world.seconds * 10):
        world.end(first)
        return
    how = world.draw.choice(("refused", "refused", "force", "wait", "killed"))
    world.count(f"a second run, {how}")
    if how == "killed":
        world.disturb(first, ("SIGKILL",))
        world.end(first)
    second = world.start(*(["--force"] if how == "force" else ["--wait"] if how == "wait" else []))
    if how == "refused":
        ended_before = first.status is not None
        world.end(second, REFUSED, *((OK,) if ended_before or first.status is not None else ()))
        _check_refusal(world, first, second)
        world.end(first)
    elif how == "force":
        world.end(second)
        world.end(first, INTERRUPTED, OK, REFUSED)  # refused where it was taken over before its work began
    else:
        world.end(second)
        world.end(first)
    world.finish()
    world.compare(reference)


def overlapping(world: World) -> None:
    """Two studies that share members and a split, at once in one folder."""
    reference = world.reference(("base", ()), ("other", ()))
    runs = {"base": world.start("--no-report"), "other": world.start("--no-report", study="other")}
    for number in range(4):
        if number and world.time_is_over():
            break
        study = world.draw.choice(sorted(runs))
        if world.disturb(runs[study], ("SIGKILL", "SIGKILL", "SIGINT", "SIGSTOP"), moment=world.moment() / 3):
            frozen = runs[study].status is None and not runs[study].wait(2.0)
            if not frozen:
                world.end(runs[study], OK, REFUSED, SOME_NOT_OK)
                runs[study] = world.start("--no-report", study=study)
    for run in runs.values():
        world.end(run, OK, REFUSED, SOME_NOT_OK)
    for study in runs:
        world.finish("--no-report", study=study)
    world.compare(reference)


def folder_lost(world: World) -> None:
    """The results folder is moved, deleted or replaced under a run: one line, and nothing is made anew."""
    reference = world.reference()
    run = world.start("--no-report")
    if run.wait(world.draw.uniform(0.3, 0.8) * world.seconds) or not world.out.exists():
        world.end(run)
        return
    how = world.draw.choice(("moved", "deleted", "replaced"))
    elsewhere = world.folder / "elsewhere"
    world.out.rename(elsewhere)
    if how == "replaced":
        world.out.mkdir()
        (world.out / "store.json").write_text(json.dumps({"format": "rdstudy results", "version": 1, "id": "0" * 32}))
    world.count(f"folder {how}, {run.phase()}")
    was_done = world.end(run, SOME_NOT_OK, OK) == OK
    errors = [line for line in run.stderr().splitlines() if line.startswith("error: ")]
    if run.status == SOME_NOT_OK and not (len(errors) == 1 and "rdstudy.run" in errors[0]):
        world.wrong(f"a lost folder is told in {len(errors)} lines with the command: {run.stderr()[-400:]}")
    made = sorted(str(path.relative_to(world.out)) for path in world.out.rglob("*")) if world.out.exists() else []
    if made != (["store.json"] if how == "replaced" else []) or (how != "replaced" and world.out.exists()):
        world.wrong(f"made anew after the folder was {how}: {made[:5]} (ended: {was_done})")
    shutil.rmtree(world.out, ignore_errors=True)
    if how == "deleted":
        shutil.rmtree(elsewhere)
    else:
        elsewhere.rename(world.out)
    world.finish()
    world.compare(reference)


def damaged_tables(world: World) -> None:
    """Files of a results folder are damaged between runs: the next one makes good what was lost."""
    reference = world.reference()
    shutil.copytree(reference, world.out)
    for _ in range(3):
        for kind in world.draw.choices(("garbage", "truncated", "bits flipped", "zeros", "swapped", "copied"), k=2):
            KINDS[kind](world.out, world.draw)
            world.damaged(kind)
        run = world.start("--no-report")
        if world.end(run, OK, REFUSED) == REFUSED:
            if "store.json" not in run.stderr():
                world.wrong(f"refused: {run.stderr()}")
            shutil.copyfile(reference / "store.json", world.out / "store.json")
            world.finish("--no-report")
        world.compare(reference)
        if world.time_is_over():
            break


def damaged_weights(world: World) -> None:
    """Weights are exchanged, damaged or deleted before other measures are taken of them."""
    reference = world.reference(("base", ()), ("base", ("--no-report", *_REMEASURED)))
    world.finish("--no-report")
    paths = sorted((world.out / "weights").iterdir())
    first, second = world.draw.sample(paths, 2)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    world.damaged("weights exchanged")
    _damage(world.draw.choice(paths), world)
    world.disturb_until_done(ANY_FAULT, "--no-report", *_REMEASURED, most=2)
    world.finish("--no-report", *_REMEASURED)
    world.compare(reference)


def damaged_checkpoints(world: World) -> None:
    """A run is killed at work, and its checkpoints are damaged before it goes on."""
    reference = world.reference()
    for _ in range(4):
        run = world.start("--no-report")
        if not world.disturb(run, ("SIGKILL",), moment=world.draw.uniform(0.3, 0.9) * world.seconds):
            break
        world.end(run)
        for path in sorted(world.out.glob("checkpoints/*/*")):
            if world.draw.random() < 0.7:
                _damage(path, world)
        if world.time_is_over():
            break
    world.finish("--no-report")
    world.compare(reference)


def damaged_cache(world: World) -> None:
    """Files of the cache are damaged between runs and under them."""
    reference = world.reference()
    cache = world.folder / "cache"
    shutil.copytree(world.environment["RDSTUDY_CACHE"], cache)
    world.environment["RDSTUDY_CACHE"] = str(cache)
    for _ in range(2):
        _damage(world.draw.choice(_images(cache)), world)
        run = world.start("--no-report")
        if not run.wait(world.moment()):
            _damage(world.draw.choice(_images(cache)), world)
            world.count(f"cache damaged under a run, {run.phase()}")
        world.end(run, OK, SOME_NOT_OK, REFUSED)
        if run.status in (SOME_NOT_OK, REFUSED) and "cache" not in run.stderr() + run.stdout():
            world.wrong(f"ended with {run.status} and no word of the cache: {(run.stdout() + run.stderr())[-400:]}")
        world.finish("--no-report")
        world.compare(reference)
        shutil.rmtree(world.out)


def strays(world: World) -> None:
    """Files that nobody asked for, everywhere, before and between runs."""
    reference = world.reference()
    for _ in range(2):
        run = world.start("--no-report")
        world.disturb(run, ("SIGKILL",))
        world.end(run, OK)
        for name in world.draw.sample(STRAYS, 8) if (world.out / "store.json").exists() else ():
            path = world.out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(world.draw.choice((b"", b"junk\n" * 9)))
            world.damaged(f"stray {name}")
    world.finish()
    ours = {path.name for path in (world.out / "members").glob("*.parquet")}
    for name in STRAYS:
        path = world.out / name
        if path.is_file() and path.name not in ours and name.startswith(("checkpoints", "tmp", "runs")):
            path.unlink()  # whether they are removed is the store's to decide
    world.compare(reference)


def on_ray(world: World) -> None:
    """The same as `killed` on a Ray of the run's own, and its trials' processes are killed too."""
    reference = world.reference()
    world.environment |= {"RAY_OVERRIDE_RESOURCES": '{"CPU": 2}', "RAY_worker_niceness": "0"}
    world.seconds *= 2.0
    world.disturb_until_done(ANY_FAULT, "--no-report", local=False, most=3)
    world.finish("--no-report", local=False)
    world.compare(reference)


def _damage(path: Path, world: World) -> None:
    """Turn bits of a file, fill it with zeros, cut it, or empty it."""
    if not path.is_file():
        return
    content = path.read_bytes()
    kind = world.draw.choice(("bits", "zeros", "cut", "empty"))
    if kind == "bits":
        damaged = flip_bits(content, world.draw)
    elif kind == "zeros":
        damaged = fill_with_zeros(content, world.draw)
    else:
        damaged = content[: world.draw.randrange(max(1, len(content)))] if kind == "cut" else b""
    if len(damaged) == len(content):
        with path.open("r+b") as file:  # in place, as a disk does it: who has mapped the file sees it
            file.write(damaged)
    else:
        path.write_bytes(damaged)
    world.damaged(f"{kind} of {path.name}")


def _images(cache: Path) -> list[Path]:
    """Files of a cache, without locks."""
    return sorted(path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")


def _check_page(world: World, study: str) -> None:
    page = world.folder / "reports" / f"{study}.html"
    if not page.exists() or not page.read_text().rstrip().endswith("</html>"):
        world.wrong("no whole page at the end")


def _check_refusal(world: World, first: Run, second: Run) -> None:
    """One line that says who runs, where and since when."""
    if second.status == REFUSED and not all(word in second.stderr() for word in (str(first.pid), "--force", "--wait")):
        world.wrong(f"a refusal without who, --force or --wait: {second.stderr()[-400:]}")


def in_a_bucket(world: World) -> None:
    """Results in S3, behind a network that refuses, hangs, dawdles and cuts connections; kills too."""
    reference = world.reference()
    with Weather(world.bucket, world.draw) as weather:
        name = f"{world.folder.name}/results"
        there, here = (
            s3_uri(at, name).replace("s3://", f"s3://KEY:{SECRET}@") for at in (world.bucket, weather.endpoint)
        )
        for number in range(3):
            if number and world.time_is_over():
                break
            run = world.start("--no-report", out=here)
            world.disturb(run, ("SIGKILL", "SIGKILL", "SIGINT", "SIGSTOP"), moment=1.5 * world.moment())
            if world.end(run, OK, *_BAD_WEATHER) == OK:
                break
        for _ in range(9):
            if world.end(world.start("--no-report", out=here), OK, *_BAD_WEATHER) == OK:
                break
            world.count("ended by the weather")
        for kind, times in weather.came.items():
            world.tally.faults[kind] += times
    world.compare(reference, there)
    files = Store.open(there)._files
    for folder in ("studies", "logs", "runs"):
        for name in files.names(folder, ""):
            if SECRET.encode() in files.read(name):
                world.wrong(f"the password is in {name}")


def on_a_cluster(world: World) -> None:
    """Workers, nodes and drivers of a Ray cluster are killed: a process, Ray wants the main thread."""
    command = [
        sys.executable,
        "-m",
        "tests.chaos.cluster",
        "--seconds",
        "20",
        "--folder",
        str(world.folder / "cluster"),
    ]
    done = subprocess.run(
        [*command, "--seed", str(world.draw.randrange(10**6))],
        env={**os.environ, **world.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    for line in done.stdout.splitlines():
        if " s  " in line:
            world.count(line.partition(" s  ")[2])
    world.tally.rounds += 1
    if done.returncode:
        world.wrong(f"{done.stdout[-3_000:]}{done.stderr[-1_000:]}")


SCENARIOS: Mapping[str, Callable[[World], None]] = {
    "killed": killed,
    "two-runs": two_runs,
    "folder-lost": folder_lost,
    "damaged-tables": damaged_tables,
    "weights": damaged_weights,
    "checkpoints": damaged_checkpoints,
    "cache": damaged_cache,
    "overlapping": overlapping,
    "measured-later": measured_later,
    "cnn": convolutions,
    "annealing": annealing,
    "strays": strays,
    "bucket": in_a_bucket,
    "ray": on_ray,
    "cluster": on_a_cluster,
}

SLOW = ("cluster",)
"""Those that take two minutes a round: the first of each round of all, and not among those of less than a minute."""
