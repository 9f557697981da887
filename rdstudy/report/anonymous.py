"""Tables for double-blind review: no machine, person, path, commit or command can be read from what is made of them.

What the author wrote stays: names and titles, descriptions, claims, and names of parts of one's own. Machines and
versions of the code keep numbers, so that it still can be seen how many there were and what was mixed.
"""

import dataclasses
import getpass
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from rdstudy.report.page import Page
from rdstudy.report.read import Settings, StudyTables
from rdstudy.results.declaration import Declaration, History
from rdstudy.results.standing import Unasked
from rdstudy.results.tables import Damaged

KEPT = (
    "kept as the author wrote them, and to be looked at: names, titles and descriptions of the study and its "
    "experiments, claims with their sources, and names of parts, data sets, measures and figures of one's own"
)
"""What the command says of an anonymous export."""

WITHHELD = "withheld"
_COMMAND = "python -m rdstudy.run STUDY.py"
_IDS = ("member_id", "run_id", "measures_id", "subset", "outcome")
_VERSIONS = ("python_version", "torch_version", "numpy_version")
_TABLES = ("members", "measures", "own_measures", "probes", "reconstructions", "examples", "neighbours")
_LEAST = 3  # letters of a name that is looked for in other texts

_PATH = re.compile(
    r"""(?<![\w.])(?:[A-Za-z][\w+.-]*://|~?/|~\w+/|\.{1,2}/|[A-Za-z]:\\|\\\\)[^\s"'<>|,;)]+"""
    r"""|(?<![\w.])[\w.-]+(?:[/\\][\w.-]+)*[/\\][\w-]+\.\w+"""
)
_USER = re.compile(r"[/\\](?:home|Users|users|scratch|data|work)[/\\]([\w.-]+)")
_COMMIT = re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{7,40}\b")
_VERSION = re.compile(r"\d+(?:\.\d+)*(?:\+(?:cu\d+|cpu|rocm[\d.]+))?")
_NOT_FINITE = re.compile(r"[\w ]*not finite[\w ]*")
_TYPE = re.compile(r"[A-Za-z_]\w*(?:Error|Exception|Exit|Interrupt)\b")


@dataclass
class Veil:
    """What is put before the names of machines, persons, paths and commits; the same for all tables of an export.

    Attributes:
        machines: name -> what stands in its place; grows as names come.
        codes: the same of versions of the code.
        names: that are taken out of other texts.
    """

    machines: dict[str, str] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    @classmethod
    def over(cls, studies: Iterable[StudyTables], *, places: Iterable[str]) -> "Veil":
        """A veil for all studies that are shown, which lie in these places."""
        veil = cls()
        texts = [*places]
        for study in studies:
            for table in (study.members, study.measures, study.own_measures):
                for column, number in (("host", veil._machine), ("code_version", veil._code)):
                    for name in table.get(column, pd.Series(dtype=object)).dropna().unique():
                        number(name)  # in the order of the rows
                texts += [text for name in _texts_of(table) for text in table[name].dropna().unique()]
            texts += [study.command, *(bad.path for bad in study.damaged), *study.copies]
            for change in study.history.changes:
                veil._code(change.code_version)
        users = {user for text in texts for user in _USER.findall(str(text))} | {_own_name()}
        versions = {part for code in veil.codes for part in (code, code.partition("+")[2].rstrip("+"))}
        veil.names = {name for name in {*users, *veil.machines, *versions, *places} if len(name) >= _LEAST}
        return veil

    def study(self, study: StudyTables) -> StudyTables:
        """The tables of a study behind the veil."""
        tables: dict[str, Any] = {name: self.table(getattr(study, name)) for name in _TABLES}
        return dataclasses.replace(
            study,
            uri="",
            authors="",
            declared=self._declared(study.declared),
            command=_COMMAND,
            history=self._history(study.history),
            settings=tuple(self._settings(group) for group in study.settings),
            damaged=tuple(Damaged(f"file {number}", WITHHELD) for number, _ in enumerate(study.damaged, start=1)),
            copies=tuple(f"file {number}" for number, _ in enumerate(study.copies, start=1)),
            unasked=tuple(self._unasked(each) for each in study.unasked),
            **tables,
        )

    def table(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows behind the veil."""
        veils = {"host": self._machine, "code_version": self._code, "reason": self._reason}
        veils |= {
            "traceback": lambda _: WITHHELD,
            "null_reasons": self._null_reasons,
            **dict.fromkeys(_VERSIONS, _version),
        }
        changed = {}
        for name in _texts_of(table):
            veil = veils.get(name, self.text)
            kinds = {text: veil(text) for text in table[name].dropna().unique()}
            changed[name] = table[name].map(lambda text, kinds=kinds: kinds.get(text, text), na_action="ignore")
        return table.assign(**changed)

    def declaration(self, declaration: Declaration) -> Declaration:
        """A declaration behind the veil."""
        return dataclasses.replace(
            declaration,
            authors="",
            command=_COMMAND,
            code_version=self._code(declaration.code_version),
            history=self._history(declaration.history),
            resources={name: self._value(value) for name, value in declaration.resources.items()},
        )

    def _declared(self, declared: Mapping[str, Any]) -> dict[str, Any]:
        """A declaration as plain data behind the veil, without its changes: when they were made stands on the page."""
        code = self._code(str(declared.get("code_version") or ""))
        words = {"authors": "", "command": _COMMAND, "code_version": code}
        resources = {name: self._value(value) for name, value in declared.get("resources", {}).items()}
        return {**declared, **words, "resources": resources, "changes": []}

    def page(self, page: Page) -> Page:
        """A page whose lines about figures that broke hold no path."""
        sections = [
            dataclasses.replace(section, missing=tuple(self._free(line) for line in section.missing))
            for section in page.experiments
        ]
        return dataclasses.replace(page, experiments=tuple(sections))

    def text(self, text: str) -> str:
        """A text without names and paths."""
        for name in sorted(self.names, key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", WITHHELD, text)
        return _PATH.sub(WITHHELD, text)

    def _machine(self, name: str) -> str:
        return self.machines.setdefault(name, f"machine {len(self.machines) + 1}")

    def _code(self, version: str) -> str:
        return self.codes.setdefault(version, f"code {len(self.codes) + 1}") if version else ""

    def _free(self, text: str) -> str:
        return _COMMIT.sub(WITHHELD, self.text(text))

    def _reason(self, reason: str) -> str:
        """Why a member failed, as far as the program alone says it: an exception's words may hold anything."""
        line = next((line.strip() for line in reason.splitlines() if line.strip()), "")
        known = _NOT_FINITE.fullmatch(line) or _TYPE.match(line)
        return self._free(known[0]) if known else WITHHELD

    def _null_reasons(self, reasons: str) -> str:
        return " | ".join(self._null_reason(reason) for reason in reasons.split(" | "))

    def _null_reason(self, reason: str) -> str:
        measure, colon, why = reason.partition(": ")
        kind = _TYPE.match(why)
        return self._free(f"{measure}{colon}{kind[0] if kind else why}")

    def _history(self, history: History) -> History:
        codes = [self._code(change.code_version) for change in history.changes]
        changes = map(lambda change, code: dataclasses.replace(change, code_version=code), history.changes, codes)
        return dataclasses.replace(history, changes=tuple(changes))

    def _settings(self, group: Settings) -> Settings:
        return Settings(group.name, tuple((name, self.text(value)) for name, value in group.values))

    def _unasked(self, each: Unasked) -> Unasked:
        codes = tuple(self._code(code) for code in each.code_versions)
        return dataclasses.replace(each, why=self.text(each.why), code_versions=codes, command=_COMMAND)

    def _value(self, value: Any) -> Any:
        return self.text(value) if isinstance(value, str) else value


def _texts_of(table: pd.DataFrame) -> Iterator[str]:
    """The columns of a table that hold text, but for ids."""
    for name in table.columns:
        if name not in _IDS and any(isinstance(value, str) for value in table[name].dropna().head(1)):
            yield name


def _version(text: str) -> str:
    known = _VERSION.match(text)
    return known[0] if known else WITHHELD


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # of a container without one
        return ""
