"""Since when a study is declared, what was changed, which claims are younger than the results, and when a page is
made: in words.
"""

import os
from datetime import UTC, datetime

import pandas as pd

from rdstudy.report import text
from rdstudy.report.read import StudyTables
from rdstudy.results.declaration import Change, History
from rdstudy.study.checks import fail

_VARIABLE = "SOURCE_DATE_EPOCH"
_MOST = 253_402_300_799  # the last second of the year 9999
_MOST_CHANGES = 12  # that are listed
_NOT_WHOLE = {
    "known": " (an earlier version of the program kept no history)",
    "lost": " (an earlier declaration was damaged, and its history is lost)",
}


def declared(history: History) -> str:
    """Such as "declared first 2026-01-02 03:04 UTC, changed 2026-01-03 10:00 UTC (4 models added)"."""
    return ", ".join(_declared(history))


def declared_lines(history: History) -> tuple[str, ...]:
    """The same as a list: the date of the first declaration, then each change with what it changed."""
    return tuple(f"{line[0].upper()}{line[1:]}" for line in _declared(history))


def _declared(history: History) -> list[str]:
    since = "declared first" if history.kept == "whole" else "known since"
    lines = [f"{since} {_time(history.first_declared_at)}{_NOT_WHOLE.get(history.kept, '')}"]
    earlier, listed = history.changes[:-_MOST_CHANGES], history.changes[-_MOST_CHANGES:]
    if changed := [change for change in earlier if not _is_repetition(change)]:
        lines.append(f"changed {len(changed)} times until {_time(changed[-1].at)}")
    return lines + [_said(change) for change in listed]


def _is_repetition(change: Change) -> bool:
    """Whether other code declared the same."""
    return bool(change.code_version) and change == Change(change.at, code_version=change.code_version)


def _said(change: Change) -> str:
    if _is_repetition(change):
        return f"declared again, the same, {_time(change.at)} by code {change.code_version}"
    return f"changed {_time(change.at)} ({_what(change) or 'what changed is not known'})"


def claimed_late(study: StudyTables) -> str:
    """Which claims say what they say only since the first result of the study's models; empty where none does."""
    finished = study.members["finished_at"].dropna()
    if finished.empty:
        return ""
    first = pd.Timestamp(finished.min())
    since = {claim.name: study.history.claimed_at(claim.name) for claim in study.claims}
    late = {name: at for name, at in since.items() if _is_after(at, first)}
    known_since = study.history.first_declared_at
    unknown = [name for name, at in late.items() if at == known_since and study.history.kept != "whole"]
    later = [f"{name} ({_time(at)})" for name, at in late.items() if name not in unknown]
    when = f"the first result of these models, {first:%Y-%m-%d %H:%M} UTC"
    sentences = []
    if later:
        sentences.append(f"Claims added or changed after {when}: {', '.join(later)}.")
    if unknown:
        known = f"{_time(known_since)}, which is after {when},"
        sentences.append(f"Whether these claims are older than {known} is not known: {', '.join(unknown)}.")
    return " ".join(sentences)


def _what(change: Change) -> str:
    parts = [*change.parts]
    for count, verb in ((change.members_added, "added"), (change.members_removed, "removed")):
        parts += [f"{text.models(count)} {verb}"] if count else []
    for names, verb in (
        (change.claims_added, "added"),
        (change.claims_changed, "changed"),
        (change.claims_removed, "removed"),
    ):
        parts += [f"claim{'' if len(names) == 1 else 's'} {', '.join(names)} {verb}"] if names else []
    parts += [f"code {change.code_version}"] if change.code_version else []
    return "; ".join(parts)


def _is_after(at: str, first: pd.Timestamp) -> bool:
    time = _parsed(at)
    return time is not None and pd.Timestamp(time) > first


def _time(at: str) -> str:
    time = _parsed(at)
    return f"{time:%Y-%m-%d %H:%M} UTC" if time else "an unknown time"


def _parsed(at: str) -> datetime | None:
    """A time of a declaration; None where it is none."""
    try:
        return datetime.fromisoformat(at).astimezone(UTC)
    except ValueError:
        return None


def reported_at() -> str:
    """When a page is made: now, or when `SOURCE_DATE_EPOCH` says, so that the same tables make the same bytes.

    See https://reproducible-builds.org/specs/source-date-epoch.

    Raises:
        ValueError: the variable is no time.
    """
    given = os.environ.get(_VARIABLE, "")
    if given and not (given.isascii() and given.isdigit() and int(given[:12]) <= _MOST):
        raise fail(_VARIABLE, given, "seconds since 1970, a whole number")
    time = datetime.fromtimestamp(int(given), UTC) if given else datetime.now(UTC)
    return f"{time:%Y-%m-%d %H:%M} UTC"
