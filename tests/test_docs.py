"""README and the pages under docs/: what they tell a reader to type is typed here, page by page, in an empty folder.

How a block is fenced says what is done with it:

    sh       commands that succeed: run in this process, in order; `--local` is added to a run, as Ray takes seconds
    console  commands after `$`, and all that they print, `...` for any text; one that prints an error ends with 2
    python   a file of the name in its first line, `# mine.py`, or else code that is run where earlier code left off
    text     what needs a cluster, a card or an hour: its commands are parsed, and the files and targets must be there

A page that goes on where another one ends says so, and finds that one's folder.
"""

import contextlib
import doctest
import importlib
import io
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rdstudy import __main__ as command
from rdstudy import commandline

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
SLOW = {"figures.md", "network.md"}
"""Pages whose commands take more than a few seconds."""

MAKEFILE = (ROOT / "Makefile").read_text()
MODULES = {name: module for name, (module, _) in command._COMMANDS.items()}
"""A command, as in `python -m rdstudy.run` and `rdstudy run` -> the module whose `main` it is."""

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_GOES_ON = re.compile(r"^Goes on where \[.*?\]\((.*?)\) ends", re.MULTILINE)
_COMMAND = re.compile(r"(?:^|[ /])(?:python -m rdstudy\.|rdstudy )([a-z]+)(?: (.*))?$")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FILE = re.compile(r"(?<![\w/.-])(?:rdstudy|studies|tests|docs|benchmarks|clusters)/[\w/.-]*\w|\bcluster[\w.]*\.yaml")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and content of each fenced block."""
    return _BLOCK.findall(page.read_text())


def goes_on_from(page: Path) -> Path | None:
    """The page whose folder this one finds."""
    named = _GOES_ON.search(page.read_text())
    return (page.parent / named[1]).resolve() if named else None


@pytest.fixture(scope="module")
def folder_after(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Page -> the folder that its blocks leave, run once."""
    known: dict[Path, Path] = {}

    def folder_of(page: Path) -> Path:
        if page not in known:
            folder = tmp_path_factory.mktemp(page.stem)
            before = goes_on_from(page)
            if before:
                shutil.copytree(folder_of(before), folder, dirs_exist_ok=True)
            else:
                shutil.copytree(ROOT / "studies", folder / "studies")
            run_blocks(page, folder)
            known[page] = folder
        return known[page]

    return folder_of


def run_blocks(page: Path, folder: Path) -> None:
    names: dict[str, object] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for language, content in blocks(page):
            if language == "python":
                run_python(content, names)
            elif language == "sh":
                for line in lines_of(content):
                    status, printed = run_line(line)
                    assert status == 0, f"{page.name}: {line}\n{printed}"
            elif language == "console":
                for line, expected in exchanges(content):
                    status, printed = run_line(line)
                    assert agrees(expected, printed), f"{page.name}: {line}\n{printed}"
                    assert (status == 2) == expected.startswith("error: "), f"{page.name}: {line}\n{printed}"


def run_python(content: str, names: dict[str, object]) -> None:
    file = re.match(r"# ([\w/]+\.py)\n", content)
    if file:
        Path(file[1]).parent.mkdir(parents=True, exist_ok=True)
        Path(file[1]).write_text(content)
    else:
        exec(compile(content, "page", "exec"), names)


def lines_of(content: str) -> list[str]:
    """Commands, each in a line; one that ends in a backslash goes on in the next."""
    lines = map(str.strip, content.replace("\\\n", " ").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def exchanges(content: str) -> Iterator[tuple[str, str]]:
    """Each command of a console, and what it prints."""
    for part in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
        line, _, printed = part.partition("\n")
        yield line, printed


def agrees(expected: str, printed: str) -> bool:
    return doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS)


def run_line(line: str) -> tuple[int, str]:
    """The exit status of a command of this package, and all that it prints."""
    words = shlex.split(line, comments=True)
    with pytest.MonkeyPatch.context() as patch:
        while re.match(r"[A-Z_]+=", words[0]):
            patch.setenv(*words.pop(0).split("=", 1))
        name, options = command_in(shlex.join(words))
        if name == "run" and not {"--plan", "--local", "--address"} & set(options):
            options = [*options, "--local"]
        return call(importlib.import_module(MODULES[name]).main, options)


def command_in(line: str) -> tuple[str, list[str]]:
    """The command of this package that a line ends with, and its options."""
    typed = _COMMAND.search(line)
    assert typed, f"no command of this package: {line}"
    return typed[1], shlex.split(typed[2] or "", comments=True)


def call(main: Callable[[list[str]], int], options: list[str]) -> tuple[int, str]:
    """What a command returns or exits with, and what it prints on either stream."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            status = main(options)
        except SystemExit as end:
            status = int(end.code or 0)
    return status, printed.getvalue()


pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow if page.name in SLOW else ()) for page in PAGES],
    ids=lambda page: page.name,
)
def test_what_a_page_tells_to_type_works(page, folder_after):
    folder_after(page)


@pages
def test_every_block_is_of_a_kind_that_is_tested(page):
    text = page.read_text()
    assert len(blocks(page)) == text.count("\n```") / 2
    assert {language for language, _ in blocks(page)} <= {"sh", "console", "python", "text", "mermaid"}
    outside = _BLOCK.sub("", text)
    assert not re.search(r"^\n {4}\S", outside, re.MULTILINE), "an indented block is not tested"


@pages
def test_commands_that_are_not_run_are_such_that_can_be(page, monkeypatch):
    monkeypatch.setattr(commandline, "answer", lambda *_, **__: 0)  # parsed, and not run
    for line in (line for language, content in blocks(page) if language == "text" for line in lines_of(content)):
        if re.search(rf"\brdstudy[. ](?:{'|'.join(MODULES)})\b", line):
            name, options = command_in(line)
            status, printed = call(importlib.import_module(MODULES[name]).main, options)
            assert status == 0, f"{line}\n{printed}"
        for targets in re.findall(r"(?:^|\s)make ((?:[a-z-]+ ?)+)", line):
            assert all(f"\n{target}:" in MAKEFILE for target in targets.split()), line
            assert all(f"$({name})" in MAKEFILE for name in re.findall(r"\b([A-Z]+)=", line)), line


@pages
def test_files_and_pages_that_are_named_are_there(page):
    text = page.read_text()
    for name in _FILE.findall(text):
        assert (ROOT / name).exists() or (ROOT / "rdstudy" / name).exists(), name
    for target in _LINK.findall(text):
        if not re.match("[a-z]+:", target):
            file, _, anchor = target.partition("#")
            linked = (page.parent / file).resolve() if file else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), target


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)", _BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_is_short():
    assert len(README.read_text().splitlines()) <= 150
    assert all(f"docs/{page.name}" in README.read_text() for page in DOCS.glob("*.md"))


def test_what_the_code_says_of_itself_is_on_the_pages(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["reference.py"])
    runpy.run_path(str(DOCS / "reference.py"), run_name="__main__")  # docs/ is no package
    parts = capsys.readouterr().out.split("<!-- end -->\n")[:-1]
    assert len(parts) == 4
    written = "".join(page.read_text() for page in PAGES)
    for part in parts:
        assert part.strip() in written, "write it again: python docs/reference.py --write"


def code_with_gaps(path: Path) -> str:
    """A module with strings that go on in the next line made one, and … for what is put into them."""
    joined = re.sub(r'"\s*f?"', "", path.read_text())
    return re.sub(r"\{[^{}]*\}", "…", joined)


def test_errors_that_are_not_provoked_are_quoted_word_for_word():
    code = [code_with_gaps(path) for path in (ROOT / "rdstudy").rglob("*.py")]
    quoted = [line for language, text in blocks(DOCS / "errors.md") if language == "text" for line in text.splitlines()]
    assert len(quoted) > 10
    for line in quoted:
        assert len(line) > 20
        assert any(line in text for text in code), line


@pytest.mark.slow
def test_the_notebook_runs_in_a_kernel_and_shows_charts(tmp_path, monkeypatch):
    import nbclient  # late: what else is tested here needs no kernel
    import nbformat

    notebook = nbformat.read(DOCS / "notebook.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs for cell in code), "what is stored grows old: clear it"
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    nbclient.NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output.get("data", {}).get("text/html", "") for cell in code for output in cell.outputs]
    assert sum("vegaEmbed" in html for html in shown) == 2
    assert sum("<table" in html for html in shown) == 2
