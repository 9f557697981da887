"""Bad input at random: a command works on it, or refuses it in one line, and nothing that was stored is lost.

    python -m tests.fuzz [--examples 600 | --seconds 90] [--seed N] [--kind study]... [--processes 0.03]

Four kinds of input: study files, `--set`, command lines, results folders. Most commands run in children of this
process, which has everything imported; a few in processes of their own. Exit status 0: all kept `tests.fuzz.law`.
"""

import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.chaos.compare import table_differences
from tests.fuzz.cases import STUDY, Case, Outcome, lay_out
from tests.fuzz.damage import MENDED
from tests.fuzz.forks import ask_forked, run_forked, run_process, warm_up
from tests.fuzz.law import SECONDS, breaches, hashes
from tests.fuzz.odd import RESULTS
from tests.fuzz.parts import study_text
from tests.fuzz.strategies import cases

_RUN_SECONDS = 60.0  # until a run that is valid has ended, or stopped in order at its limit
_MEMBER = "MEMBER"
_CLASSES = ("traceback", "lost", "status 0 with wrong tables", "the password", "no end")
_MANY = 10**6  # inputs: more than anybody asks for


class EnoughError(Exception):
    """As many inputs were tried as were asked for, or for as long."""


class Fuzz:
    """The folder in which cases happen, and what came of them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._prepared = folder, folder / "prepared"
        self._count = 0
        self._hung: set[str] = set()
        self.tried: Counter[tuple[str, str]] = Counter()  # (kind, exit status)
        self.breached: Counter[tuple[str, str]] = Counter()  # (kind, class of breach)
        self.wrong: dict[str, tuple[Case, Outcome, int]] = {}  # breach -> first case, and how often it came

    def prepare(self) -> None:
        """A results folder with all tables, weights, a log and a page."""
        self._prepared.mkdir()
        (self._prepared / STUDY).write_text(study_text())
        outcome = run_forked("run", [STUDY, "--local", "--out", RESULTS], self._prepared, limit_seconds=_RUN_SECONDS)
        if outcome.status:
            raise SystemExit(f"the good study failed:\n{outcome.stdout}{outcome.stderr}")
        self._members = sorted(path.name[:16] for path in (self._prepared / RESULTS / "weights").iterdir())

    def try_out(self, case: Case, *, process: bool) -> None:
        """Run a case and hold it against the law; twice where the machine may have been slow."""
        if _unreachable(case) in self._hung:
            return
        outcome, wrong = self._once(case, process=process)
        if wrong and (outcome.status is None or outcome.seconds > SECONDS):
            outcome, wrong = self._once(case, process=process)
        if outcome.status is None:
            self._hung.add(_unreachable(case))
        self.tried[case.kind, "no end" if outcome.status is None else str(outcome.status)] += 1
        for breach in wrong:
            kind = f"{case.module}, {re.sub('[0-9a-f]{16,}|[0-9]+', '#', breach)}"
            first, said, times = self.wrong.get(kind, (case, outcome, 0))
            self.wrong[kind] = (first, said, times + 1)
            self.breached[case.kind, next((word for word in _CLASSES if breach.startswith(word)), "other")] += 1
            if times == 0:
                print(f"wrong: {breach[:200]}", flush=True)

    def _once(self, case: Case, *, process: bool) -> tuple[Outcome, list[str]]:
        self._count += 1
        folder = self._folder / f"case-{self._count}"
        folder.mkdir()
        try:
            lay_out(case, folder, self._prepared)
            before = hashes(folder / RESULTS)
            words = [self._members[0] if word == _MEMBER else word for word in case.arguments]
            limit = _RUN_SECONDS if case.module == "run" and "--plan" not in words else 2 * SECONDS
            run = run_process if process else run_forked
            outcome = run(case.module, words, folder, limit_seconds=limit)
            wrong = list(breaches(case, outcome, before=before, folder=folder))
            mended = case.damage and all(damage.kind in MENDED for damage in case.damage) and outcome.status == 0
            if mended and case.module == "run" and "--plan" not in words:
                wrong += self._tables(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            for name in ("stdout", "stderr"):
                folder.with_name(f"{folder.name}.{name}").unlink(missing_ok=True)
        return outcome, wrong

    def _tables(self, folder: Path) -> list[str]:
        """What a run that says that all is done left wrong in tables that were damaged before it."""

        def compare() -> list[str]:
            return [str(difference) for difference in table_differences(folder / RESULTS, self._prepared / RESULTS)]

        return [f"status 0 with wrong tables: {answer}" for answer in ask_forked(compare, folder)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz, print what was tried and what is wrong, and return the exit status."""
    options = _parse(arguments)
    number = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    warnings.simplefilter("ignore")  # of forks beside Hypothesis's own threads: there are none
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    os.environ |= _environment(folder)
    warm_up()
    started = time.monotonic()
    try:
        fuzz = Fuzz(folder)
        fuzz.prepare()
        _fuzz(fuzz, options, number, started)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _tell(fuzz)
    if fuzz.wrong:
        kinds = "".join(f" --kind {kind}" for kind in options.kind or ())
        print(f"to repeat it: python -m tests.fuzz --examples {sum(fuzz.tried.values())} --seed {number}{kinds}")
    return bool(fuzz.wrong)


def _unreachable(case: Case) -> str:
    """What has hung a command once is not waited for again: the command and the kind of its place."""
    words = [word.rpartition("=")[2] if word.startswith("--out=") else word for word in case.arguments]
    return next((f"{case.module} {word.partition('://')[0]}" for word in words if "://" in word), case.kind + str(case))


def _environment(folder: Path) -> Mapping[str, str]:
    return {
        "RDSTUDY_CACHE": str(folder / "cache"),
        "RDSTUDY_OFFLINE": "1",
        "RAY_TMPDIR": str(folder),
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",  # nobody: a URI without an endpoint leads to no other machine
        "AWS_MAX_ATTEMPTS": "1",
    }


def _fuzz(fuzz: Fuzz, options: argparse.Namespace, number: int, started: float) -> None:
    """All kinds in turn, so that each has its share of the time."""
    chosen = {kind: of_kind for kind, of_kind in cases().items() if kind in (options.kind or cases())}

    def test(case: Case) -> None:
        tried = sum(fuzz.tried.values())
        if tried >= options.examples if options.seconds is None else time.monotonic() - started > options.seconds:
            raise EnoughError
        process = random.Random(f"{number} {tried}").random() < options.processes
        fuzz.try_out(case, process=process)

    suite = settings(
        max_examples=_MANY,  # the same number always: it is part of what is drawn
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    try:
        seed(number)(suite(given(st.one_of(*chosen.values()))(test)))()
    except EnoughError:
        return


def _tell(fuzz: Fuzz) -> None:
    statuses = sorted({status for _, status in fuzz.tried})
    classes = [*_CLASSES, "other"]
    widths = [len(word) + 2 for word in classes]
    print(f"{'input':<10}{'tried':>8}" + "".join(f"{status:>8}" for status in statuses) + "  " + "  ".join(classes))
    for kind in sorted({kind for kind, _ in fuzz.tried}):
        counts = [fuzz.tried[kind, status] for status in statuses]
        wrong = "".join(f"{fuzz.breached[kind, word]:>{width}}" for word, width in zip(classes, widths, strict=True))
        print(f"{kind:<10}{sum(counts):>8}" + "".join(f"{count:>8}" for count in counts) + wrong)
    print(f"{sum(fuzz.tried.values())} bad inputs, {len(fuzz.wrong)} kinds of breach")
    for breach, (case, outcome, times) in sorted(fuzz.wrong.items(), key=lambda breach: -breach[1][2]):
        print(
            f"\n{times} × {breach}\n{case}\nstatus {outcome.status} after {outcome.seconds:.1f} s, on standard error:"
        )
        print("\n".join("    " + line[:300] for line in outcome.stderr.splitlines()[-8:]))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--examples", type=int, default=600, help="inputs to try, unless seconds are given")
    parser.add_argument("--seconds", type=float, help="try inputs for so long")
    parser.add_argument("--seed", type=int, help="of the inputs; one at random unless given")
    parser.add_argument("--kind", action="append", choices=[*cases()], help="these kinds of input only")
    parser.add_argument("--processes", type=float, default=0.03, help="share of commands in processes of their own")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())
