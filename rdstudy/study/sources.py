"""Files of a user's own parts: which this process knows, by the hash of their bytes, and what they define.

A file becomes known when a study names it, when it comes with a run, or when the user trusts a copy in a store: levels
with its digest mean what it defines. It is run once in a process, when something of it is made. Standard library alone.
"""

import ast
import functools
import hashlib
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from rdstudy.study.own_code import run_file, seeded_generators
from rdstudy.study.words import one_line, one_line_with_type

_PACKAGE = Path(__file__).parents[1].name


@dataclass(frozen=True)
class Source:
    """A user's own file."""

    name: str  # such as nets.py
    body: bytes

    @property
    def digest(self) -> str:
        """16 hex digits of a hash of the bytes."""
        return hashlib.sha256(self.body).hexdigest()[:16]


_known: dict[str, Source] = {}
"""By digest: what study files named, and what came with a run."""


def keep_source(source: Source) -> Source:
    """Make a file known to this process: levels with its digest mean what it defines."""
    _known[source.digest] = source
    return source


def keep_sources(sources: Mapping[str, Source]) -> None:
    """Make files known that came from another process.

    Raises:
        ValueError: the bytes of one are not those of its digest.
    """
    for digest, source in sources.items():
        if source.digest != digest:
            raise ValueError(f"part file {source.name} has the digest {source.digest}; allowed: {digest}")
        keep_source(source)


def known_source(digest: str) -> Source | None:
    """The file with a digest, where this process knows it."""
    return _known.get(digest)


def check_imports(source: Source, folder: Path) -> None:
    """A part is one file: what lies beside it would not be where it is run.

    Raises:
        ValueError: it imports a module of its folder, which is none of this package's and of the standard library.
    """
    for node in ast.walk(parsed(source.name, source.body)):
        for name in _imported(node):
            first = name.partition(".")[0]
            beside = (folder / f"{first}.py").is_file() or (folder / first / "__init__.py").is_file()
            known = first == _PACKAGE or first in sys.stdlib_module_names
            if not first or (beside and not known):
                raise ValueError(
                    f"part file {source.name}, line {getattr(node, 'lineno', '?')}: it imports {name}, which lies "
                    "beside it; allowed: libraries alone, a part is one file"
                )


def _imported(node: ast.AST) -> list[str]:
    """The modules that a statement imports; those of a package that the file would be in begin with a dot."""
    if isinstance(node, ast.ImportFrom):
        return ["." * node.level + (node.module or "")]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


@functools.lru_cache(maxsize=2**8)
def parsed(name: str, body: bytes) -> ast.Module:
    """The syntax of a file.

    Raises:
        ValueError: it has none.
    """
    try:
        return ast.parse(body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ValueError(f"part file {name}{line}: {one_line(getattr(error, 'msg', None) or error)}") from None


@functools.cache
def own_module(digest: str) -> ModuleType:
    """A user's file, run once in a process as a module of its own."""
    source = _known[digest]
    module = ModuleType(f"rdstudy_part_{digest}")
    module.__file__ = f"{source.name}@{digest}"
    sys.modules[module.__name__] = module  # dataclasses look it up
    try:
        with seeded_generators(int(digest[:8], 16)):
            run_file(compile(source.body, module.__file__, "exec", dont_inherit=True), module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too, would end the command without a word
        del sys.modules[module.__name__]
        line = line_in(source, error)
        hint = "; a part is one file and imports libraries alone" if isinstance(error, ImportError) else ""
        raise ValueError(f"part file {source.name}{line}: {one_line_with_type(error)}{hint}") from None
    return module


def line_in(source: Source, error: BaseException) -> str:
    """`, line 12`."""
    file = f"{source.name}@{source.digest}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file:
        lines.append(error.lineno)
    return f", line {lines[-1]}" if lines else ""
