"""Parts: what a level names when it is more than a number, written `name` or `name(argument=value)`.

A part is one file. Built in: a file in the folder of its kind, found by its name; adding one touches no other file. A
user's own: `part("nets.py:ResNet", blocks=3)` in a study file gives the level `ResNet(blocks=3)@<16 hex>`, the hash of
that file's bytes, which travel with the run; nothing that lies in a store is ever run.

Which parts there are and which arguments they take is read from the files' syntax: nothing is imported for it. The
arguments of a part are the keyword-only ones of its function or class; of type `int` they are 1 or more, of type
`float` above 0, of type `Steps` steps of training, at most as many as the training has. A default may be anything.
Standard library alone.
"""

import ast
import functools
import importlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NewType, TypeVar

from rdstudy.study.bounds import MOST_FILE_BYTES, MOST_NAME
from rdstudy.study.checks import fail, fail_name, single, text, whole
from rdstudy.study.sources import Source, check_imports, keep_source, known_source, line_in, own_module
from rdstudy.study.sources import parsed as parsed_file

Made = TypeVar("Made")
_Definition = ast.FunctionDef | ast.ClassDef

Steps = NewType("Steps", int)
"""An argument that counts steps of training."""

_PACKAGE = Path(__file__).parents[1]
_FOLDERS = {
    "architecture": "model/architectures",
    "prior": "model/priors",
    "likelihood": "model/likelihoods",
    "objective": "training/objectives",
    "optimizer": "training/optimizers",
    "schedule": "training/schedules",
    "measure": "measuring/measures",
    "figure": "report/figures",
}
"""Where the built-in parts of a kind are, a file each; those whose names begin with an underscore are none."""

KINDS = tuple(kind for kind in _FOLDERS if kind not in ("measure", "figure"))
"""Of parts that members are made of, each a factor of the same name."""

_ORDER = re.compile(r"^ORDER\b[^=\n]*=\s*(\d+)", re.MULTILINE)
_LEVEL = re.compile(r"(?P<name>[A-Za-z_]\w*)(?:\((?P<arguments>[^()]*)\))?(?:@(?P<digest>[0-9a-f]{16}))?")
_NO_DEFAULT: Any = object()


@dataclass(frozen=True)
class Argument:
    """An argument of a part, as its file declares it."""

    kinds: tuple[str, ...]  # of numbers that are allowed: int, float, Steps
    words: tuple[str, ...]  # that are allowed
    default: Any = _NO_DEFAULT

    def allowed(self) -> str:
        """What a user may write."""
        numbers = {"int": "a whole number, 1 or more", "Steps": "a number of steps, 1 or more", "float": "a number > 0"}
        return " or ".join([*(numbers[kind] for kind in self.kinds), *self.words])


@dataclass(frozen=True)
class Level:
    """A level that names a part, taken apart."""

    name: str
    arguments: tuple[tuple[str, Any], ...] = ()  # those that differ from their defaults, in the order of the file
    digest: str = ""  # of the file of a user's own part

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={_written(value)}" for name, value in self.arguments)
        return f"{self.name}{f'({arguments})' if arguments else ''}{f'@{self.digest}' if self.digest else ''}"


# --- a user's own -----------------------------------------------------------------------------------------------------


def part(file: str, **arguments: Any) -> str:
    """The level that a user's own part is, for a grid or a recipe.

    Args:
        file: `nets.py:ResNet`: a file, beside the file that calls this unless its path is whole, and what it defines.
        arguments: of the part.

    Returns:
        Such as `ResNet(blocks=3)@0123456789abcdef`.

    Raises:
        ValueError: no such file, nothing of that name in it, or an argument that it does not take.
    """
    path, colon, name = text("part", file).rpartition(":")
    if not colon or not path.endswith(".py") or not name.isidentifier():
        raise fail("part", file, "FILE.py:NAME, such as nets.py:ResNet")
    beside = Path(sys._getframe(1).f_globals.get("__file__") or "study").parent
    try:
        body = (beside / path).read_bytes()
    except OSError as error:
        raise ValueError(f"part {file!r} cannot be read: {error.strerror}; allowed: a file beside the study") from None
    if len(body) > MOST_FILE_BYTES:
        raise ValueError(f"part {file!r} has {len(body):,} bytes; allowed: up to {MOST_FILE_BYTES:,}")
    source = Source(Path(path).name, body)
    check_imports(source, (beside / path).resolve().parent)
    keep_source(source)
    return str(_checked(f"part {file!r}", Level(name, tuple(arguments.items()), source.digest)))


def source_of(level: str) -> Source | None:
    """The file of a user's own part; None for a built-in one.

    Raises:
        ValueError: the file is not known.
    """
    digest = parse(level).digest
    source = known_source(digest)
    if digest and source is None:
        raise ValueError(f"the code of {level} is not here; allowed: a study file that names it by part(...)")
    return source


def own_sources(levels: Iterable[str]) -> dict[str, Source]:
    """The files behind the levels that are a user's own, by digest: what another process needs to know them.

    Raises:
        ValueError: one of them is not known here.
    """
    sources = [source for level in levels if (source := source_of(level))]
    return {source.digest: source for source in sources}


def is_own(level: str) -> bool:
    """Whether a level names a user's own part."""
    return bool(digest_of(level))


def digest_of(level: str) -> str:
    """Of a user's own part, 16 hex digits; empty for any other text, such as what a damaged file holds."""
    match = _LEVEL.fullmatch(level)
    return (match["digest"] or "") if match else ""


def is_known(level: str) -> bool:
    """Whether this process has what a level names: built in, or a file that a study has named."""
    digest = digest_of(level)
    return not digest or known_source(digest) is not None


def line_in_own_file(level: str, error: BaseException) -> str:
    """`, nets.py, line 12`: the last line of a user's own file that an error went through; else empty."""
    source = known_source(parse(level).digest)
    return "" if source is None or not (line := line_in(source, error)) else f", {source.name}{line}"


# --- levels -----------------------------------------------------------------------------------------------------------


@functools.cache
def names(kind: str) -> tuple[str, ...]:
    """The built-in parts of a kind."""
    return tuple(sorted(path.stem for path in _files(kind)))


def _files(kind: str) -> Iterable[Path]:
    return (_PACKAGE / _FOLDERS[kind]).glob("[a-z]*.py")


def figure_names() -> tuple[str, ...]:
    """The built-in figures, in the order of a page: files with a line `ORDER = 30`; active_units.py is active-units.

    Every command asks at its start: to parse the files would take it 30 ms.
    """
    placed = [(_ORDER.search(path.read_text(encoding="utf-8")), path.stem) for path in _files("figure")]
    return tuple(stem.replace("_", "-") for _, stem in sorted((int(line[1]), stem) for line, stem in placed if line))


def check(kind: str) -> Callable[[str, object], str]:
    """The check that a value names a part of a kind: returns the level in the one way that it is written.

    Arguments at their defaults are left out; those without a name are the first ones.
    """

    def checked(where: str, value: object) -> str:
        written = str.__str__(value) if isinstance(value, str) and len(value) <= MOST_NAME else ""
        match = _LEVEL.fullmatch(written.strip())
        if match is None:
            raise fail_name(where, value, names(kind), also="or part(...)")
        name, given, digest = match["name"], match["arguments"], match["digest"] or ""
        if not digest and name not in names(kind):
            raise fail_name(where, value, names(kind), also="or part(...)")
        if digest and known_source(digest) is None:
            return written  # as tables hold it
        known = _arguments(where, Level(name, digest=digest), kind)
        return str(_checked(where, Level(name, _pairs(where, given or "", known), digest), kind))

    return checked


def check_named(kind: str, built_in: Sequence[str]) -> Callable[[str, object], str]:
    """The check that a value is one of these names, or a user's own part of a kind."""

    def checked(where: str, value: object) -> str:
        if isinstance(value, str) and "@" in value:
            return check(kind)(where, value)
        if not isinstance(value, str) or value not in built_in:
            raise fail_name(where, value, built_in, also="or part(...)")
        return str.__str__(value)

    return checked


def short_name(level: str) -> str:
    """A level without its digest, as tables and pages name it: `sharpness(k=3)`."""
    return level.partition("@")[0]


@functools.lru_cache(maxsize=2**12)
def parse(level: str) -> Level:
    """A checked level, taken apart."""
    match = _LEVEL.fullmatch(level)
    assert match is not None, level
    pairs = [item.partition("=") for item in (match["arguments"] or "").split(",") if item.strip()]
    return Level(match["name"], tuple((k.strip(), _value(v.strip())) for k, _, v in pairs), match["digest"] or "")


@functools.lru_cache(maxsize=2**12)
def arguments_of(kind: str, level: str) -> Mapping[str, Any]:
    """All arguments of a level, those at their defaults too."""
    parsed = parse(level)
    known = _arguments(level, Level(parsed.name, digest=parsed.digest), kind)
    defaults = {name: argument.default for name, argument in known.items() if argument.default is not _NO_DEFAULT}
    return defaults | dict(parsed.arguments)


@functools.lru_cache(maxsize=2**12)
def constant(kind: str, level: str, name: str, *, default: Any) -> Any:
    """A constant of the file of a part, such as `WIDTH = 512`, read without running it."""
    return _constant(_tree(level, parse(level), kind), name, default=default)


def _constant(tree: ast.Module, name: str, *, default: Any) -> Any:
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and [ast.unparse(target) for target in statement.targets] == [name]:
            return _literal(statement.value)
    return default


def check_steps(kind: str, where: str, level: str, steps: int) -> None:
    """Hold arguments that count steps against the steps of training.

    Raises:
        ValueError: one is longer than the training.
    """
    parsed = parse(level)
    if parsed.digest and known_source(parsed.digest) is None:
        return
    known = _arguments(where, Level(parsed.name, digest=parsed.digest), kind)
    for name, value in parsed.arguments:
        if "Steps" in known[name].kinds and isinstance(value, int) and value > steps:
            raise fail(f"{where}: {name}", value, f"at most the {steps:,} steps of training")


def load(kind: str, level: str) -> Callable[..., Any]:
    """What a level names, with its arguments: a function or class that takes what its kind says.

    Raises:
        ValueError: a user's own file that is not known, does not run, or lacks the name.
    """
    parsed = parse(level)
    made = getattr(_module(kind, parsed), _definition(level, parsed, kind).name)
    return functools.partial(made, **dict(parsed.arguments)) if parsed.arguments else made


def make(kind: str, level: str, record: type[Made], *context: Any) -> Made:
    """What a level makes, where a kind's parts make one type of thing.

    Args:
        kind: of the part.
        level: that names it.
        record: the type.
        context: what parts of the kind are called with, beside their arguments.

    Raises:
        ValueError: there is no such part, or a user's own makes something else.
    """
    made = load(kind, check(kind)(kind, level))(*context)
    if not isinstance(made, record):
        raise ValueError(f"{kind} {level} makes a {type(made).__name__}; allowed: a {record.__name__}")
    return made


def _module(kind: str, parsed: Level) -> ModuleType:
    if parsed.digest:
        source_of(str(parsed))
        return own_module(parsed.digest)
    return importlib.import_module(f"rdstudy.{_FOLDERS[kind].replace('/', '.')}.{parsed.name}")


# --- what files say ---------------------------------------------------------------------------------------------------


def _tree(where: str, parsed: Level, kind: str = "") -> ast.Module:
    if parsed.digest:
        source = known_source(parsed.digest)
        if source is None:
            raise ValueError(f"the code of {where} is not here; allowed: a study file that names it by part(...)")
        return parsed_file(source.name, source.body)
    path = _PACKAGE / _FOLDERS[kind] / f"{parsed.name}.py"
    return _built_in(path)


@functools.cache
def _built_in(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def _definition(where: str, parsed: Level, kind: str = "") -> _Definition:
    """What a file calls a part: a user's own its name, a built-in one its file's, in any case of letters."""

    def plain(name: str) -> str:
        return name if parsed.digest else name.replace("_", "").lower()

    defined = [node for node in _tree(where, parsed, kind).body if isinstance(node, _Definition)]
    for node in defined:
        if plain(node.name) == plain(parsed.name):
            return node
    raise fail(where, parsed.name, f"what the file defines: {', '.join(node.name for node in defined) or 'nothing'}")


@functools.lru_cache(maxsize=2**12)
def _arguments(where: str, part_name: Level, kind: str = "") -> dict[str, Argument]:
    """The arguments that a part takes, as its file declares them."""
    node = _definition(where, part_name, kind)
    if isinstance(node, ast.ClassDef):
        made = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        if not made:
            return {}
        node = made[0]
    return {
        argument.arg: _argument(argument.annotation, default)
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    }


def _argument(annotation: ast.expr | None, default: ast.expr | None) -> Argument:
    kinds, words = [], []
    for node in ast.walk(annotation) if annotation is not None else ():
        if isinstance(node, ast.Name) and node.id in ("int", "float", "Steps"):
            kinds.append(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.append(node.value)
    value = _NO_DEFAULT if default is None else _literal(default)
    return Argument(tuple(kinds) or ("float",), tuple(words), value)


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise ValueError(
            f"line {node.lineno} of a part's file says {ast.unparse(node)}; allowed: a number or a word as it stands"
        ) from None


# --- arguments --------------------------------------------------------------------------------------------------------


def _pairs(where: str, given: str, known: Mapping[str, Argument]) -> tuple[tuple[str, Any], ...]:
    """Arguments as a level writes them: by name, or in the order of the file."""
    pairs: list[tuple[str, Any]] = []
    for at, item in enumerate(item.strip() for item in given.split(",") if item.strip()):
        name, equals, value = item.partition("=")
        if not equals:
            if at >= len(known):
                raise fail(f"{where}: argument {at + 1}", item, _takes(known))
            name, value = list(known)[at], item
        pairs.append((name.strip(), _value(value.strip())))
    return tuple(pairs)


def _checked(where: str, level: Level, kind: str = "") -> Level:
    """The level with checked arguments, in the order of the file and without those at their defaults."""
    known = _arguments(where, Level(level.name, digest=level.digest), kind)
    given: dict[str, Any] = {}
    for name, value in level.arguments:
        if name not in known or name in given:
            raise ValueError(
                f"{where}: argument {name!r} {'twice' if name in given else 'is unknown'}; {_takes(known)}"
            )
        given[name] = _checked_value(f"{where}: {name}", value, known[name])
    lacking = [name for name, argument in known.items() if name not in given and argument.default is _NO_DEFAULT]
    if lacking:
        raise ValueError(f"{where}: argument {lacking[0]!r} is missing; {_takes(known)}")
    kept = tuple((name, given[name]) for name in known if name in given and given[name] != known[name].default)
    return Level(level.name, kept, level.digest)


def _takes(known: Mapping[str, Argument]) -> str:
    return f"allowed: {', '.join(f'{name} ({argument.allowed()})' for name, argument in known.items()) or 'none'}"


def _checked_value(where: str, value: object, argument: Argument) -> Any:
    if value == argument.default and type(value) is type(argument.default):
        return value
    if isinstance(value, str) and value in argument.words:
        return value
    try:
        if "float" in argument.kinds:
            return single(where, value, zero=False)
        if argument.kinds:
            return whole(where, value, least=1)
    except ValueError:
        pass
    raise fail(where, value, argument.allowed())


def _value(written: str) -> Any:
    """A number where the text is one; else the word, without quotes."""
    for read in (int, float):
        try:
            return read(written)
        except ValueError:
            continue
    return written.strip("'\"")


def _written(value: object) -> str:
    return value if isinstance(value, str) else repr(value)
