"""Faults at random moments, then none: the same command must end in the tables of an undisturbed run.

    python -m tests.chaos.cluster [--seconds 60] [--seed N] [--folder DIR]

For so many seconds a study runs on a cluster of this machine's while, again and again, one of these happens: a trial's
process, a node with all its processes, or the driver is killed by SIGKILL, or the driver is told once to stop (Ctrl-C).
Nodes come back as spot nodes do, the driver by the same command. Every fault hits members in the middle of their
training. Then the command runs to its end, beside no faults. Exit status 0: every kind of fault came and was survived.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.chaos.compare import differences
from tests.chaos.nodes import SpotNodes
from tests.chaos.processes import kill

ROOT = Path(__file__).resolve().parents[2]
_NODES = 2
_BETWEEN_SECONDS = (1.0, 5.0)
_AT_FIRST_SECONDS = (0.2, 1.0)  # until each kind has come: work is left for all of them on a fast machine too
_BACK_AFTER_SECONDS = (2.0, 5.0)
_PATIENCE_SECONDS = 90.0  # until somebody trains
_END_SECONDS = 300.0  # from the last fault to the end
_MEMBERS_A_SEED, _SECONDS_A_MEMBER = 4, 3.0
_OK, _INTERRUPTED = 0, 130
_FIRST_WORDS = "study chaos: "


class Driver:
    """The command, started again as often as it takes."""

    def __init__(self, address: str, folder: Path) -> None:
        self._command = _command("--out", str(folder / "chaos"), "--address", address)
        self._log = folder / "chaos.log"
        self.start()

    def start(self) -> None:
        """The same command once more."""
        self._said_before = len(self.log())
        with self._log.open("a") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)

    def ended(self) -> bool:
        """Whether it came to its end by itself."""
        return self.process.poll() is not None

    def log(self) -> str:
        """All that it said."""
        return self._log.read_text() if self._log.exists() else ""

    def has_begun(self) -> bool:
        """Whether this very process has said what there is to do: one that still imports does not listen to Ctrl-C."""
        return _FIRST_WORDS in self.log()[self._said_before :]


class Chaos:
    """The faults, and how many of each came."""

    def __init__(self, nodes: SpotNodes, driver: Driver, randomness: random.Random) -> None:
        self._nodes, self._driver, self._randomness = nodes, driver, randomness
        self.survived: Counter[str] = Counter()
        self.kinds: dict[str, Callable[[], bool]] = {
            "worker killed": self._kill_worker,
            "node killed": self._nodes.kill_one,
            "driver killed": self._kill_driver,
            "Ctrl-C": self._interrupt,
        }

    def rage(self, seconds: float) -> None:
        """One fault after the other, for so long and until each kind has come: each once before any again."""
        self._until_somebody_trains()
        started = time.monotonic()
        for kind in self._order():
            all_came = all(self.survived[each] for each in self.kinds)
            pause = self._randomness.uniform(*(_BETWEEN_SECONDS if all_came else _AT_FIRST_SECONDS))
            self._until(time.monotonic() + pause)
            enough = time.monotonic() - started > seconds and all_came
            if enough or not self._until_somebody_trains():
                return
            if self.kinds[kind]():
                self.survived[kind] += 1
                print(f"{time.monotonic() - started:6.1f} s  {kind}", flush=True)

    def calm(self) -> int:
        """No more faults: the status with which the command ends."""
        if not self._until(time.monotonic() + _END_SECONDS, self._driver.ended):
            raise SystemExit(f"no end after {_END_SECONDS:.0f} s:\n{self._driver.log()}")
        return self._driver.process.wait()

    def _order(self) -> Iterator[str]:
        while True:
            yield from self._randomness.sample(list(self.kinds), len(self.kinds))

    def _until_somebody_trains(self) -> bool:
        """Until a trial is in the middle of its work; False where the command has come to its end."""
        came = self._until(
            time.monotonic() + _PATIENCE_SECONDS, lambda: bool(self._nodes.training()) or self._driver.ended()
        )
        if not came:
            raise SystemExit(f"nobody trained for {_PATIENCE_SECONDS:.0f} s:\n{self._driver.log()}")
        return not self._driver.ended()

    def _until(self, deadline: float, condition: Callable[[], bool] = lambda: False) -> bool:
        """Wait, and look after the nodes meanwhile; whether the condition came true in time."""
        while not condition():
            if time.monotonic() > deadline:
                return False
            self._nodes.tend()
            time.sleep(0.1)
        return True

    def _kill_worker(self) -> bool:
        victims = self._nodes.training()
        kill([self._randomness.choice(sorted(victims))] if victims else [])
        return bool(victims)

    def _kill_driver(self) -> bool:
        kill([self._driver.process.pid])
        self._driver.process.wait()
        self._driver.start()
        return True

    def _interrupt(self) -> bool:
        began = self._until(
            time.monotonic() + _PATIENCE_SECONDS, lambda: self._driver.has_begun() or self._driver.ended()
        )
        if not began:
            raise SystemExit(f"said nothing for {_PATIENCE_SECONDS:.0f} s:\n{self._driver.log()}")
        self._driver.process.send_signal(signal.SIGINT)
        if not self._until(time.monotonic() + _PATIENCE_SECONDS, self._driver.ended):
            raise SystemExit(f"no end after Ctrl-C:\n{self._driver.log()}")
        if self._driver.process.returncode == _OK:  # nothing remained
            return False
        if self._driver.process.returncode != _INTERRUPTED:
            raise SystemExit(f"status {self._driver.process.returncode} after Ctrl-C:\n{self._driver.log()}")
        self._driver.start()
        return True


def main() -> int:
    """Run, print what came and what is wrong, and return the exit status."""
    options = _parse()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    folder = Path(options.folder or tempfile.mkdtemp(prefix="chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    short = tempfile.TemporaryDirectory(prefix="rd-", ignore_cleanup_errors=True)  # sockets have short names
    (Path(short.name) / "ray").mkdir()  # where Ray writes the address of its newest cluster
    seeds = 1 + round(options.seconds / _SECONDS_A_MEMBER / _MEMBERS_A_SEED)
    print(f"seed {seed}, {seeds * _MEMBERS_A_SEED} members, {options.seconds:.0f} s of faults, in {folder}", flush=True)
    os.environ |= {
        "CHAOS_SEEDS": str(seeds),
        "PYTHONPATH": str(ROOT),
        "RAY_TMPDIR": short.name,
        "RAY_worker_niceness": "0",  # else whatever runs beside Ray starves its workers
    }
    randomness = random.Random(seed)
    with (folder / "local.log").open("w") as log:
        undisturbed = subprocess.Popen(
            _command("--out", str(folder / "local"), "--local"), stdout=log, stderr=subprocess.STDOUT, cwd=ROOT
        )
    try:
        with SpotNodes(_NODES, back_after_seconds=_BACK_AFTER_SECONDS, randomness=randomness) as nodes:
            driver = Driver(nodes.address, folder)
            chaos = Chaos(nodes, driver, randomness)
            chaos.rage(options.seconds)
            print("no more faults", flush=True)
            status = chaos.calm()
        wrong = [f"status {status} at the end"] if status else []
        wrong += [f"no {kind}: the work was done before it came" for kind in chaos.kinds if not chaos.survived[kind]]
        if undisturbed.wait(timeout=_END_SECONDS):
            wrong.append(f"the undisturbed run failed:\n{(folder / 'local.log').read_text()}")
    finally:
        undisturbed.kill()
        short.cleanup()
    wrong += list(differences(folder / "chaos", folder / "local"))
    print("survived: " + ", ".join(f"{kind} {chaos.survived[kind]}" for kind in chaos.kinds))
    if wrong:
        print("\n".join([driver.log(), *wrong, f"to repeat it: python -m tests.chaos.cluster --seed {seed}"]))
    return bool(wrong)


def _command(*options: str) -> list[str]:
    return [sys.executable, "-m", "rdstudy.run", str(ROOT / "tests/chaos/study.py"), "--no-report", *options]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.cluster", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults come")
    parser.add_argument("--seed", type=int, help="of the faults; one at random unless given")
    parser.add_argument("--folder", help="where results and logs go, and stay")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
