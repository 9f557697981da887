"""The declaration of a study, as a store keeps it: what was wanted, what was claimed, and since when.

A record with one writer and one reader; `rdstudy.results.studies` keeps the files. A report needs no more than this and
the tables, and says whether a claim is older than the results that it is held against. Standard library alone.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

from rdstudy.study import NUMERICS_VERSION, Evaluation, Measures, Member, Recipe, Resources
from rdstudy.study.claims import Claim
from rdstudy.study.member import IdText
from rdstudy.study.words import one_line

Kept = Literal["whole", "known", "lost"]
Record = TypeVar("Record")

_WORDS = ("title", "description", "authors", "seed")
_PARTS = (*_WORDS, "experiments", "recipe", "evaluation", "measures")
"""What a `Change` may be in."""
_SETTINGS: Mapping[str, type] = {
    "recipe": Recipe,
    "evaluation": Evaluation,
    "measures": Measures,
    "resources": Resources,
}


@dataclass(frozen=True)
class DeclaredExperiment:
    """A named grid of a study: its members, and the figures of `rdstudy.study.FIGURES` that it shows, all if none."""

    name: str
    title: str
    description: str
    member_ids: tuple[str, ...]
    figures: tuple[str, ...] = ()

    def shows(self, *names: str) -> bool:
        """Whether any of these figures is asked for."""
        return not self.figures or any(name in self.figures for name in names)


@dataclass(frozen=True)
class Change:
    """What a run changed in the declaration of its study: how many models, and which claims by their names."""

    at: str  # UTC in ISO 8601
    parts: tuple[str, ...] = ()  # those of `_PARTS` that are others now
    members_added: int = 0
    members_removed: int = 0
    claims_added: tuple[str, ...] = ()
    claims_changed: tuple[str, ...] = ()
    claims_removed: tuple[str, ...] = ()
    code_version: str = ""  # that it was declared with from then on; empty where that did not change


@dataclass(frozen=True)
class History:
    """Since when a study is declared, and each change after that, oldest first.

    Attributes:
        first_declared_at: UTC in ISO 8601.
        kept: `whole`: from the very first; `known`: an earlier version kept no history, so that the study was declared
            then, or before; `lost`: the same, because the file was damaged.
        changes: none of a run that changed nothing.
    """

    first_declared_at: str = ""
    kept: Kept = "whole"
    changes: tuple[Change, ...] = ()

    def claimed_at(self, claim: str) -> str:
        """Since when a claim says what it says, UTC in ISO 8601."""
        times = [change.at for change in self.changes if claim in (*change.claims_added, *change.claims_changed)]
        return times[-1] if times else self.first_declared_at


@dataclass(frozen=True)
class Former:
    """Members that a study asked for once, and does not ask for now."""

    until: str  # when another declaration took the place of the last one that did, UTC in ISO 8601
    command: str  # of that last one
    code_version: str  # with which it was declared
    member_ids: tuple[str, ...]  # those that no later declaration asked for again


@dataclass(frozen=True)
class Declaration:
    """A study as plain data.

    Settings are kept as they were declared, whatever version declared them: `settings` makes records of them. They, and
    former members, are empty where an earlier version did not keep them.
    """

    name: str
    title: str  # the heading of the page
    description: str = ""  # a paragraph
    seed: int = 0  # of the splits
    command: str = ""  # that runs the study
    code_version: str = ""  # with which it was declared; empty where that is not known
    recipe: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    measures: Mapping[str, Any] = field(default_factory=dict)  # and `measures_id`
    resources: Mapping[str, Any] = field(default_factory=dict)
    experiments: tuple[DeclaredExperiment, ...] = ()  # the grids
    claims: tuple[Claim, ...] = ()  # that the tables decide
    members: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # id -> settings of `Member`
    history: History = field(default_factory=History)  # since when
    authors: str = ""  # who made it; empty where it does not say
    former: tuple[Former, ...] = ()  # members that it asked for before, oldest first

    @property
    def measures_id(self) -> str:
        """Of the settings of the measures, under the version that declared them; empty where there are none."""
        return str(self.measures.get("measures_id") or "")

    def settings(self, kind: type[Record]) -> Record:
        """Recipe, Evaluation, Measures or Resources as they were declared; what is not kept is at its default.

        Raises:
            ValueError: settings of another version, that this one does not allow.
        """
        (name,) = (name for name, part in _SETTINGS.items() if part is kind)
        return _known(kind, getattr(self, name))

    def member(self, member_id: str) -> Member:
        """A member.

        Raises:
            ValueError: of another version, whose settings this one does not allow.
        """
        try:
            return Member.from_dict(self.members[member_id])
        except (TypeError, KeyError) as error:
            raise ValueError(f"model {member_id} is of another version of the program ({error})") from None

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data: what JSON can hold."""
        plain = {name: getattr(self, name) for name in ("name", *_WORDS, "command", "code_version", *_SETTINGS)}
        history = dataclasses.asdict(self.history)
        return {
            **plain,
            "first_declared_at": history["first_declared_at"],
            "history": history["kept"],
            "changes": [{name: value for name, value in change.items() if value} for change in history["changes"]],
            "experiments": [dataclasses.asdict(experiment) for experiment in self.experiments],
            "claims": [claim.to_dict() for claim in self.claims],
            "members": self.members,
            "former": [dataclasses.asdict(former) for former in self.former],
        }

    def to_json(self) -> str:
        """The text that `from_json` reads."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, content: str | bytes, *, path: str) -> "Declaration":
        """The declaration that `to_json` wrote, in this version, an earlier or a later one: what this one does not
        know is left out.

        Raises:
            ValueError: it is damaged: no such text, a part is missing, or settings of a model do not make its id.
        """
        try:
            data = json.loads(content)
            if not isinstance(data, dict):
                raise TypeError("it holds no declaration")
            declaration = _read(data)
            _check_members(declaration)
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else one_line(error)
            raise ValueError(f"{path} is damaged ({reason}); run the study again") from None
        return declaration

    def after(self, earlier: "Declaration | None", *, at: str, lost: bool = False) -> "Declaration":
        """This declaration with the history of the one that it takes the place of.

        Args:
            earlier: the one before; None where there is none.
            at: now, UTC in ISO 8601.
            lost: whether there was one that cannot be read.
        """
        if earlier is None:
            return dataclasses.replace(self, history=History(at, "lost" if lost else "whole"))
        change = _change(earlier, self, at)
        changes = (*earlier.history.changes, change) if change != Change(at) else earlier.history.changes
        history = dataclasses.replace(earlier.history, changes=changes)
        return dataclasses.replace(self, history=history, former=_former(earlier, self, at))


def _read(data: Mapping[str, Any]) -> Declaration:
    return Declaration(
        name=data["name"],
        title=data.get("title") or data["name"],
        description=str(data.get("description", "")),
        authors=str(data.get("authors", "")),
        seed=int(data.get("seed", 0)),
        command=str(data.get("command", "")),
        code_version=str(data.get("code_version", "")),
        recipe=dict(data.get("recipe") or {}),
        evaluation=dict(data.get("evaluation") or {}),
        measures=dict(data.get("measures") or {}),
        resources=dict(data.get("resources") or {}),
        experiments=tuple(_experiment(entry) for entry in data["experiments"]),
        claims=tuple(Claim.from_dict(_fields(Claim, entry)) for entry in data.get("claims", ())),
        members={str(member_id): dict(settings) for member_id, settings in data["members"].items()},
        history=_history(data),
        former=tuple(_known(Former, entry) for entry in data.get("former", ())),
    )


def _experiment(entry: Mapping[str, Any]) -> DeclaredExperiment:
    name = entry["name"]
    figures = tuple(entry.get("figures", ()))
    return DeclaredExperiment(name, entry["title"] or name, entry["description"], tuple(entry["member_ids"]), figures)


def _history(data: Mapping[str, Any]) -> History:
    """An earlier version wrote anew, with each run, when the study was declared."""
    if "first_declared_at" not in data:
        return History(str(data.get("declared_at", "")), "known")
    kept = data["history"]
    if kept not in get_args(Kept):
        raise ValueError(f"its history is {kept!r}")
    return History(str(data["first_declared_at"]), kept, tuple(_known(Change, entry) for entry in data["changes"]))


def _check_members(declaration: Declaration) -> None:
    """Hold that each id is a hash of the settings beside it, under some version, and that experiments have no other."""
    for member_id, settings in declaration.members.items():
        try:
            text = IdText.of(settings, NUMERICS_VERSION)
            if text.member_id(settings["beta"], settings["seed"]) == member_id:  # of this version: no member is made
                continue
        except (ValueError, TypeError, KeyError):
            pass
        try:
            member = Member.from_dict(settings)
        except (ValueError, TypeError):  # of a later version: its settings are not known here
            continue
        if all(member.id_under(numerics) != member_id for numerics in range(NUMERICS_VERSION, 0, -1)):
            raise ValueError(f"the settings of model {member_id} are not those of its id")
    for experiment in declaration.experiments:
        if unknown := set(experiment.member_ids) - declaration.members.keys():
            raise ValueError(f"experiment {experiment.name!r} has a model {min(unknown)} without settings")


def _former(earlier: Declaration, now: Declaration, at: str) -> tuple[Former, ...]:
    """Members that were asked for until now, or before; what is asked for again is not among them."""
    gone = tuple(member_id for member_id in earlier.members if member_id not in now.members)
    before = [
        dataclasses.replace(former, member_ids=tuple(key for key in former.member_ids if key not in now.members))
        for former in earlier.former
    ]
    return tuple(
        former for former in (*before, Former(at, earlier.command, earlier.code_version, gone)) if former.member_ids
    )


def _change(earlier: Declaration, now: Declaration, at: str) -> Change:
    """What differs; equal to `Change(at)` where nothing does."""
    before, after = ({claim.name: _plain(claim.to_dict()) for claim in each.claims} for each in (earlier, now))
    return Change(
        at,
        parts=tuple(name for name in _PARTS if _compared(earlier, name) != _compared(now, name)),
        members_added=len(now.members.keys() - earlier.members.keys()),
        members_removed=len(earlier.members.keys() - now.members.keys()),
        claims_added=tuple(name for name in after if name not in before),
        claims_changed=tuple(name for name in after if name in before and after[name] != before[name]),
        claims_removed=tuple(name for name in before if name not in after),
        code_version=now.code_version if earlier.code_version and now.code_version != earlier.code_version else "",
    )


def _compared(declaration: Declaration, part: str) -> Any:
    """A part as plain data; settings that came with a later version are at their defaults before."""
    value = getattr(declaration, part)
    if part == "experiments":
        return [(each.name, each.title, each.description, each.figures) for each in value]
    return {**_plain(dataclasses.asdict(_SETTINGS[part]())), **_plain(value)} if part in _SETTINGS else value


def _known(kind: type[Record], values: Mapping[str, Any]) -> Record:
    """A record of those values that this version has, lists as tuples."""
    known = _fields(kind, values).items()
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in known})


def _fields(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some values that a record of this version has."""
    names = {each.name for each in dataclasses.fields(kind)}
    return {name: value for name, value in values.items() if name in names}


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))
