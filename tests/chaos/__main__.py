"""Faults at random, scenario after scenario: each ends in the tables of an undisturbed run, with nothing left over.

    python -m tests.chaos [--seconds 180] [--seed N] [--scenario NAME]... [--lanes 2] [--folder DIR]

A scenario runs a small study, disturbs it, gives the same command until it ends, and compares all tables. Two scenarios
run side by side, round after round, until the seconds are over. `tests.chaos.scenarios` says what each does. Clocks are
not turned: that needs a library that is not installed everywhere. Exit status 1 where anything is wrong.
"""

import argparse
import contextlib
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from tests.chaos.scenarios import SCENARIOS, SLOW
from tests.chaos.tally import Tally, table
from tests.chaos.world import References, Setting, World
from tests.chaos.zygote import Zygote
from tests.s3 import s3_server

_LONG_SECONDS = 60.0  # of faults: time for slow scenarios too


class Schedule:
    """Which scenario is next: each once in a random order, the slow first, then each again, while there is time."""

    def __init__(self, names: list[str], seed: int, seconds: float) -> None:
        self._names, self._draw = names, random.Random(seed)
        self._order: list[str] = []
        self._rounds: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.deadline = time.monotonic() + seconds

    def next(self) -> tuple[str, int] | None:
        """A scenario and the number of its round; None when time is over."""
        with self._lock:
            if time.monotonic() > self.deadline:
                return None
            if not self._order:
                self._order = sorted(self._draw.sample(self._names, len(self._names)), key=SLOW.__contains__)
            name = self._order.pop()
            self._rounds[name] += 1
            return name, self._rounds[name]


def main() -> int:
    """Run scenarios, print what came and what is wrong, and return the exit status."""
    options = _parse()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    names = options.scenario or [name for name in SCENARIOS if name not in SLOW or options.seconds >= _LONG_SECONDS]
    folder = Path(options.folder or tempfile.mkdtemp(prefix="chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    short = tempfile.TemporaryDirectory(prefix="c-", ignore_cleanup_errors=True)  # Ray's sockets have short names
    print(f"seed {seed}, {options.seconds:.0f} s, {', '.join(names)}; in {folder}", flush=True)
    environment = {"RDSTUDY_CACHE": str(folder / "cache"), "RAY_TMPDIR": short.name, "RDSTUDY_OFFLINE": "1"}
    os.environ |= environment
    tallies = {name: Tally() for name in names}
    schedule = Schedule(names, seed, options.seconds)
    with s3_server() as bucket, contextlib.closing(Zygote(environment)) as zygote:
        references = References(folder / "undisturbed", environment, zygote)
        setting = Setting(folder, references, environment, zygote, bucket, schedule.deadline)

        def work() -> None:
            while turn := schedule.next():
                _round(*turn, setting, seed=seed, tally=tallies[turn[0]])

        lanes = [threading.Thread(target=work) for _ in range(options.lanes)]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
    short.cleanup()
    print(table(tallies))
    print("faults: " + ", ".join(f"{kind} {times}" for kind, times in sorted(_all_faults(tallies).items())))
    wrong = [breach for tally in tallies.values() for breach in tally.wrong]
    if wrong:
        chosen = "".join(f" --scenario {name}" for name, tally in tallies.items() if tally.wrong)
        print(
            "\n".join(
                ["", *wrong, f"to repeat it: python -m tests.chaos --seconds {options.seconds:g} --seed {seed}{chosen}"]
            )
        )
    return bool(wrong)


def _round(name: str, number: int, setting: Setting, *, seed: int, tally: Tally) -> None:
    world = World(name, number, setting, tally=tally, draw=random.Random(f"{seed} {name} {number}"))
    try:
        SCENARIOS[name](world)
    except Exception as error:
        world.wrong(f"the scenario itself failed: {type(error).__name__}: {error}")
    finally:
        world.close()


def _all_faults(tallies: dict[str, Tally]) -> Counter[str]:
    return sum((tally.faults for tally in tallies.values()), Counter())


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=180.0, help="how long rounds are begun")
    parser.add_argument("--seed", type=int, help="of the faults; one at random unless given")
    parser.add_argument("--scenario", action="append", choices=[*SCENARIOS], help="these only")
    parser.add_argument("--lanes", type=int, default=2, help="scenarios side by side")
    parser.add_argument("--folder", help="where results and output go, and stay")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
