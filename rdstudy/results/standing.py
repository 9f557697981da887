"""How stored members stand to a study: those that it asks for, and those that are under its name and it does not.

A row does not say whose it is: a declaration lists the members that its study asks for, and has asked for. What no
declaration of the store has ever listed counts as every study's, since it may be of any.

    stale       in the place of a member that the study asks for: trained under another version of the numerics, or with
                other settings that the study fixes, such as those of its recipe
    orphaned    in no such place: a level was taken out of a grid, or an experiment out of the study
"""

import collections
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from rdstudy.results import schema
from rdstudy.results.declaration import Declaration
from rdstudy.study import NUMERICS_VERSION, Member, parts
from rdstudy.study.factors import FACTORS, SETTINGS
from rdstudy.study.sources import known_source

State = Literal["stale", "orphaned"]
Record = TypeVar("Record")
Levels = Mapping[str, Any]
"""Setting of a member (`schema.SETTINGS`) -> its level."""

_MOST_VERSIONS = 3  # of the program, that are named
COLUMNS = ("member_id", "numerics_version", "code_version", *schema.SETTINGS)
"""Those of `members` that `unasked` reads."""


@dataclass(frozen=True)
class Unasked:
    """Stored members that a study does not ask for, alike in why.

    `why` says what differs from the member in whose place stale ones are, such as `recipe.steps 500, now 2000`.
    """

    state: State
    why: str  # empty for orphaned ones
    member_ids: tuple[str, ...]  # sorted
    code_versions: tuple[str, ...]  # that trained them, most of them first
    command: str  # that asked for them last; empty where that is not known
    is_trainable: bool  # whether this version of the program can train them again

    def sentence(self) -> str:
        """What they are and what made them, for people."""
        count = f"{len(self.member_ids):,} model{'' if len(self.member_ids) == 1 else 's'}"
        made = f"; made by {', '.join(self.code_versions[:_MOST_VERSIONS])}" if self.code_versions else ""
        if self.state == "stale":
            return f"stale: {count} under this study's name, {self.why}{made}"
        return f"orphaned: {count} that no experiment of the study asks for now{made}"

    def remedy(self, uri: str, command: str) -> str:
        """The command that gets them back: the one that asked for them, or else one that trains one of them again.

        Args:
            uri: of the results folder.
            command: that runs the study as it is now.
        """
        again = f"python -m rdstudy.retrain {shlex.quote(uri)} {self.member_ids[0]}"
        commit = next(filter(None, map(_commit, self.code_versions)), "")
        checkout = f"git checkout {commit} && " if commit and not self.is_trainable else ""
        return checkout + (self.command if self.command not in ("", command) else again)


def _commit(code_version: str) -> str:
    """The commit in a version such as `0.1.0-gd8e1b28+`; empty where it has none."""
    match = re.search(r"-g([0-9a-f]+)\+?$", code_version)
    return match[1] if match else ""


def levels_of(member: Member) -> dict[str, Any]:
    """The settings of a member by their columns."""
    return {name: member.level(name) for name in schema.SETTINGS}


def declared_levels(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a member as a declaration keeps it, of this version or an earlier one."""
    return {
        setting.name: (settings[setting.holder] if setting.holder else settings).get(setting.name, setting.default)
        for setting in SETTINGS
    }


def unasked(
    members: pa.Table,
    wanted: Mapping[str, Record],
    study: str,
    declarations: Callable[[], Mapping[str, Declaration]],
    *,
    levels: Callable[[Record], Levels],
) -> list[Unasked]:
    """The stored members under a study's name that it does not ask for, the most first.

    Args:
        members: the table of that name.
        wanted: member id -> what says its settings, of all members that the study asks for.
        study: its name.
        declarations: gives name -> declaration, of the studies of the store; the study itself may not be among them
            yet. Called where something is stored that is not wanted: those of 100,000 members are large.
        levels: gives the settings.
    """
    beside = _without(members.select(COLUMNS), wanted)
    if not len(beside):
        return []
    known = declarations()
    declared = known.get(study)
    elsewhere = [each for name, each in known.items() if name != study]
    own = _ever(declared) if declared else set()
    current = {member_id for each in elsewhere for member_id in each.members}
    apart = {member_id for each in elsewhere for member_id in _ever(each)} - own
    rows = {row["member_id"]: row for row in _without(beside, current | apart).to_pylist()[::-1]}  # the first of each
    commands = _commands(declared) if declared else {}
    places = _Places(map(levels, wanted.values()))
    groups: dict[tuple[State, str, str, bool], list[Mapping[str, Any]]] = collections.defaultdict(list)
    for row in rows.values():
        why = places.difference(row)
        command = commands.get(row["member_id"], "")
        state: State = "orphaned" if why is None else "stale"
        groups[state, why or "", command, _is_trainable(row)].append(row)
    records = [_unasked(*key, rows_of) for key, rows_of in groups.items()]
    return sorted(records, key=lambda each: (each.state != "stale", -len(each.member_ids), each.why))


def _unasked(state: State, why: str, command: str, is_trainable: bool, rows: Sequence[Levels]) -> Unasked:
    codes = collections.Counter(row["code_version"] for row in rows if row["code_version"])
    ids = tuple(sorted(row["member_id"] for row in rows))
    return Unasked(state, why, ids, tuple(code for code, _ in codes.most_common()), command, is_trainable)


def _ever(declaration: Declaration) -> set[str]:
    """Ids of the members that a study asks for or has asked for."""
    return {*declaration.members, *(member_id for former in declaration.former for member_id in former.member_ids)}


def _commands(declaration: Declaration) -> dict[str, str]:
    """Member id -> the command that asked for it last."""
    former = {member_id: each.command for each in declaration.former for member_id in each.member_ids}
    return {**former, **dict.fromkeys(declaration.members, declaration.command)}


def _without(members: pa.Table, ids: Iterable[str]) -> pa.Table:
    """The rows of members whose ids are not among these."""
    return members.filter(pc.invert(pc.is_in(members["member_id"], value_set=pa.array(ids, pa.string()))))


def _is_trainable(row: Mapping[str, Any]) -> bool:
    return row["numerics_version"] in (None, NUMERICS_VERSION)


class _Places:
    """The places of wanted members: their settings but for those that a study fixes for all of them.

    Args:
        wanted: settings of the members that a study asks for.
    """

    def __init__(self, wanted: Iterable[Levels]) -> None:
        listed = list(wanted)
        self._fixed = [
            setting.name
            for setting in SETTINGS
            if (setting.holder or setting.name not in FACTORS) and len({each[setting.name] for each in listed}) <= 1
        ]
        self._wanted = {self._place(each): each for each in listed}

    def _place(self, levels: Levels) -> tuple[Any, ...]:
        """Files of a user's own count by what they are called, whatever their bytes."""
        return tuple(_without_digest(levels[name]) for name in schema.SETTINGS if name not in self._fixed)

    def difference(self, row: Levels) -> str | None:
        """What differs between a stored member and the one that is wanted in its place; None where there is none."""
        now = self._wanted.get(self._place(row))
        if now is None:
            return None
        differences = [
            _said(setting.holder, setting.name, row[setting.name], now[setting.name])
            for setting in SETTINGS
            if row[setting.name] is not None and row[setting.name] != now[setting.name]
        ]
        if not _is_trainable(row):
            differences.insert(0, f"numerics version {row['numerics_version']}, now {NUMERICS_VERSION}")
        return "; ".join(differences) or "settings that an earlier version did not keep"


def _without_digest(level: Any) -> Any:
    return parts.short_name(level) if isinstance(level, str) else level


def _said(holder: str, name: str, before: Any, now: Any) -> str:
    """Such as `recipe.steps 500, now 2000`; of a user's own file with other bytes, which bytes it had."""
    if _without_digest(before) == _without_digest(now) and isinstance(before, str):
        source = known_source(parts.digest_of(now))
        return f"another {source.name if source else parts.short_name(now)} ({parts.digest_of(before)[:4]}…)"
    return f"{holder}{'.' if holder else ''}{name.removeprefix('study_')} {before}, now {now}"
