"""What columns mean, as it is written beside them: in the comments of `rdstudy.results.schema` and, for settings, in
the docstrings of `rdstudy.study`.
"""

import functools
import inspect
import re
from collections.abc import Iterator, Mapping

from rdstudy.results import schema
from rdstudy.study import Cell, Evaluation, Member, Recipe
from rdstudy.study.words import attribute_meanings

_LIST = re.compile(r"([A-Z_]+) = ")
_COLUMN = re.compile(r' +(\*_estimate)?\(?"(\w+)".*?\),(?:  # (.*))?')
_FAMILY = re.compile(r' +\*\[\(f"(\w+_)\{name\}".*\],(?:  # (.*))?')
_PART = re.compile(r" +\*(_[A-Z_]+),(?:  # (.*))?")


def meanings(table: str) -> dict[str, str]:
    """Column -> what it means, of the columns of a table (`schema.TABLES`) in their order."""
    said = dict(_said(table.upper()))
    known = {**_of_settings(), **said} if table == "members" else said
    return {name: known.get(name) or _of_family(name, said) for name in schema.TABLES[table].names}


def setting_meanings() -> Mapping[str, str]:
    """Setting of a member -> what it means."""
    return {name: _of_settings()[name] for name in schema.SETTINGS}


def _said(section: str) -> Iterator[tuple[str, str]]:
    """Columns of a list of the schema, with the comment beside each, or else above it."""
    above: list[str] = []
    for line in _sections()[section]:
        if line.lstrip().startswith("# "):
            above.append(line.lstrip()[2:])
            continue
        part, column, family = (pattern.match(line) for pattern in (_PART, _COLUMN, _FAMILY))
        if part:
            yield from ((name, text or part[2] or "") for name, text in _said(part[1]))
        elif column:
            text = column[3] or " ".join(above)
            yield column[2], text
            if column[1]:
                yield f"{column[2]}_se", f"standard error of {column[2]}"
        elif family:
            yield family[1], family[2] or " ".join(above)
        above = []


def _of_family(name: str, said: Mapping[str, str]) -> str:
    """Of a column that is made of a prefix and another column."""
    for prefix, text in said.items():
        if prefix.endswith("_") and name.startswith(prefix):
            return f"{name.removeprefix(prefix)}: {text}"
    return ""


@functools.cache
def _sections() -> Mapping[str, list[str]]:
    """List of the schema -> the lines of its source."""
    sections: dict[str, list[str]] = {}
    name = ""
    for line in inspect.getsource(schema).splitlines():
        start = _LIST.match(line)
        name = start[1] if start else name
        sections.setdefault(name, []).append(line)
    return sections


@functools.cache
def _of_settings() -> Mapping[str, str]:
    return {
        name: text for kind in (Cell, Member, Recipe, Evaluation) for name, text in attribute_meanings(kind).items()
    }
