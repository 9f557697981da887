"""The house is as it is drawn: the picture, the table of rooms, one word for one thing, short functions."""

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def test_the_picture_is_what_the_imports_say():
    drawn = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "house.py")], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert "running --> measuring" in drawn
    assert drawn in PAGE, "draw it again: python docs/house.py --write"


def test_every_room_says_what_it_decides_and_every_file_named_is_there():
    rooms = [path.name for path in (ROOT / "rdstudy").iterdir() if (path / "__init__.py").exists()]
    assert len(rooms) == 13
    assert all(f"| `{room}` |" in PAGE for room in rooms)
    named = [word.strip("`.,;:()") for word in PAGE.split() if "/" in word and ".py" in word]
    assert len(named) > 12
    for name in named:
        assert (ROOT / "rdstudy" / name).exists() or (ROOT / name).exists(), name


RETIRED = {
    "unit": "pack",
    "job": "pack",
    "ensemble": "pack",
    "learner": "trainer",
    "course": "state",
    "subject": "trained member",
    "piece": "measure",
    "meter": "total",
    "way": "step mode",
}
"""A word that names once had in the rooms that train and measure -> the word for it."""

OF_MEASURE = {"active_units", "to_unit"}
"""Names whose unit is one of measure."""


def names_in(path: Path) -> Iterator[str]:
    """All that a file names, and the file itself."""
    yield path.stem
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name


def words_of(name: str) -> set[str]:
    """The words of a name in either spelling, without the s of many."""
    return {word.lower().removesuffix("s") for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def test_words_are_taken_out_of_either_spelling():
    assert words_of("_SequentialLearners") == {"sequential", "learner"}
    assert words_of("GPU_WAYS") == words_of("gpu_way") == {"gpu", "way"}


def test_a_word_that_was_retired_does_not_come_back():
    rooms = ("training", "measuring", "planning", "running")
    files = [path for room in rooms for path in (ROOT / "rdstudy" / room).rglob("*.py")]
    assert len(files) > 40
    for path in files:
        names = {name for name in names_in(path) if name.strip("_") not in OF_MEASURE}
        assert not {name: RETIRED[word] for name in names for word in words_of(name) & RETIRED.keys()}, path


VAGUE = {"found", "one", "told", "some", "others"}
"""Names that say nothing of what they hold."""


def variables_in(path: Path) -> Iterator[str]:
    """Arguments and variables of the functions of a file, comprehensions among them."""
    todo = [compile(path.read_bytes(), str(path), "exec", dont_inherit=True)]
    for code in todo:
        yield from (*code.co_varnames, *code.co_cellvars)
        todo += [inner for inner in code.co_consts if isinstance(inner, CodeType)]


def test_variables_say_what_they_hold():
    for path in (ROOT / "rdstudy").rglob("*.py"):
        assert not VAGUE.intersection(variables_in(path)), path


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body, without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_functions_are_short():
    lengths = [
        lines_of(node)
        for path in (ROOT / "rdstudy").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    assert len(lengths) > 1_000
    assert statistics.median(lengths) <= 6
    assert sum(length <= 30 for length in lengths) >= 0.98 * len(lengths)
