"""The one law of input: it is worked on, or refused in one line, and nothing that was stored is lost.

Status 0 with what was asked for; 2 with exactly one line on standard error, in ten seconds, and all files as they were;
1 with its causes said; 130 where a limit was given, or where the study file itself raises what Ctrl-C does. Never a
traceback, never a password, never silence.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.fuzz.cases import Case, Outcome
from tests.fuzz.odd import RESULTS, SECRET

SECONDS = 10.0  # in which bad input is refused
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)|^Fatal Python error|panicked at", re.MULTILINE)
_FRAME = re.compile(r'File ".*?(rdstudy/[^"]*)", line \d+, in (\S+)')
_WARNING = re.compile(r"^.*\w+Warning: .*$", re.MULTILINE)
_CAUSES = re.compile(r"members are not ok:|members were not measured|^stopped: |^error: |^other numbers:", re.MULTILINE)
_LONGEST_LINE = 4_000  # characters: a line that fills a screen is not one that is read

Hashes = Mapping[str, str]


def hashes(folder: Path) -> Hashes:
    """File -> hash of its contents, of all files of a results folder that hold rows, weights or a declaration."""
    kept = ("members", "trajectories", "measures", "probes", "reconstructions", "neighbours", "examples")
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    names = {path: str(path.relative_to(folder)) for path in files}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path, name in names.items()
        if name.partition("/")[0] in (*kept, "weights", "studies", "store.json")
    }


def breaches(case: Case, outcome: Outcome, *, before: Hashes, folder: Path) -> Iterator[str]:
    """What is against the law in what a command did, one short line each.

    Args:
        case: what it was fed.
        outcome: what it said, and how it ended.
        before: `hashes` of its results folder before.
        folder: in which it ran.
    """
    yield from _said(outcome, folder)
    yield from _status(case, outcome)
    results = folder / RESULTS
    after = hashes(results) if results.is_dir() else {}
    if outcome.status == 2 and after != before:
        changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
        yield f"refused, and yet files changed: {', '.join(changed[:3])}"
    rows = {
        name: digest for name, digest in before.items() if not name.startswith(("studies", "store", "neighb", "examp"))
    }
    lost = sorted(name for name, digest in rows.items() if digest not in after.values())
    if lost:
        yield f"lost: {', '.join(lost[:3])}"


def _said(outcome: Outcome, folder: Path) -> Iterator[str]:
    """Of its words."""
    both = outcome.stdout + outcome.stderr
    if _TRACEBACK.search(both):
        yield f"traceback: {_last_line(both)}"
    elif warning := _WARNING.search(outcome.stderr):
        yield f"a library's warning: {warning[0][-200:]}"
    if SECRET in both:
        yield f"the password is printed: {next(line for line in both.splitlines() if SECRET in line)[:200]}"
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix in (".log", ".json", ".html", ".parquet") and SECRET.encode() in _read(path):
            yield f"the password is in {path.relative_to(folder)}"
    if any(SECRET in str(path) for path in folder.rglob("*")):
        yield "the password is a file's name"


def _status(case: Case, outcome: Outcome) -> Iterator[str]:
    """Of its exit status."""
    lines = outcome.stderr.splitlines()
    limited = any(name in case.arguments for name in ("--max-hours", "--max-cost"))
    interrupts = "KeyboardInterrupt" in (case.study or "")
    if outcome.status is None:
        yield f"no end after {outcome.seconds:.0f} s"
    elif outcome.status == 0:
        if not outcome.stdout.strip():
            yield "status 0 and silence"
    elif outcome.status == 2:
        if len(lines) != 1 or not lines[0].startswith("error: "):
            yield f"status 2 and {len(lines)} lines on standard error"
        if len(outcome.stderr) > _LONGEST_LINE:
            yield f"a line of {len(outcome.stderr)} characters"
        if outcome.seconds > SECONDS:
            yield f"refused after {outcome.seconds:.0f} s"
    elif outcome.status == 1:
        if not _CAUSES.search(outcome.stdout + "\n" + outcome.stderr):
            yield "status 1 without a cause"
    elif outcome.status != 130 or not (limited or interrupts):
        yield f"status {outcome.status}"
    elif not lines and not outcome.stdout.strip():
        yield "status 130 and silence"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _last_line(text: str) -> str:
    """What a traceback ends in, and where in this package it was raised."""
    lines = [line for line in text.splitlines() if line.strip()]
    ours = [line.strip() for line in lines if re.search(_FRAME, line)]
    place = re.sub(_FRAME, r"\1:\2", ours[-1]) if ours else ""
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Exit|Interrupt|Group|Iteration)\b", line)]
    return f"{(raised or lines)[-1][:160]} [{place}]"
