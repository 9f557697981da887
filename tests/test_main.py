"""The one command: what it names, what a slip is answered with, and that a shell completes it."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import rdstudy
from rdstudy.__main__ import _COMMANDS, main
from rdstudy.results.store import Store
from rdstudy.running.provenance import code_version
from rdstudy.study.study import SETTABLE

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(rdstudy.__file__).parents[1])}
HEAVY = ("torch", "ray", "altair", "pandas", "numpy", "pyarrow")
NAMES = ["run", "report", "retrain", "list", "export", "fetch", "forget"]


def test_without_arguments_it_names_the_commands(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert list(_COMMANDS) == NAMES
    for name in NAMES:
        assert f"\n  {name} " in out
    assert max(map(len, out.splitlines())) <= 80


def test_it_says_its_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"rdstudy {code_version()}\n"


@pytest.mark.parametrize(("given", "nearest"), [("rnu", "run"), ("reprot", "report"), ("forgett", "forget")])
def test_a_misspelt_command_is_answered_with_the_nearest(capsys, given, nearest):
    with pytest.raises(SystemExit) as ended:
        main([given])
    assert ended.value.code == 2
    line = f"error: command is '{given}' (did you mean {nearest}?); allowed: {', '.join(NAMES)}\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_each_command_fits_80_columns(monkeypatch, capsys, name):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: rdstudy {name} ")
    assert max(map(len, out.splitlines())) <= 80


def test_the_help_of_run_lists_all_that_set_takes_with_its_default(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    out = capsys.readouterr().out
    assert {"recipe.steps", "measures.probe_images", "resources.gpus", "seed"} <= set(SETTABLE)
    for name in SETTABLE:
        assert f"\n  {name}=" in out
    assert "\n  recipe.learning_rate=0.001  of the first step, or after the schedule's warm-up" in out
    assert "\n  recipe.steps=257000  of training\n" in out


def programs() -> list[str]:
    """Each module of the package that `python -m` runs, by its file."""
    package = Path(rdstudy.__file__).parent
    files = sorted(path for path in package.rglob("*.py") if "\nif __name__ ==" in path.read_text())
    names = [".".join(path.relative_to(package.parent).with_suffix("").parts) for path in files]
    return [name.removesuffix(".__main__") for name in names]


@pytest.mark.parametrize(
    "words",
    [
        *([name, *([] if name == "rdstudy.running.provenance" else ["--help"])] for name in programs()),
        *(["rdstudy", name, "--help"] for name in NAMES),
        ["rdstudy", "--version"],
        ["rdstudy"],
        ["rdstudy", "list", "{store}"],
    ],
    ids=" ".join,
)
def test_a_reader_that_has_gone_is_no_fault_of_any_command(tmp_path, words):
    """Every module of the package that runs, and every command."""
    words = [word.format(store=Store.create(str(tmp_path)).uri) for word in words]
    line = f"{shlex.join([sys.executable, '-m', *words])} | true; exit ${{PIPESTATUS[0]}}"
    environment = {**ENVIRONMENT, "PYTHONUNBUFFERED": ""}  # so that the end of the process writes what is left
    done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), line


def test_help_imports_nothing_heavy(run_python):
    code = (
        "import sys, contextlib, io, rdstudy.__main__ as command\n"
        f"for name in {NAMES}:\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "        command.main([name, '--help'])\n"
        f"    print(name, *[library for library in {HEAVY} if library in sys.modules])"
    )
    assert run_python(code).splitlines() == NAMES


def test_a_misspelt_study_is_answered_with_the_nearest(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "qick", "--plan"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: study file qick does not exist (did you mean quick?); allowed: a Python file that ")
    assert "or one that comes with rdstudy: linear, mini, paper, precision, priors, quick, examples/" in err


def test_a_file_goes_before_a_study_that_comes_along(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "quick", "--plan"]) == 0
    assert "study quick: 24 distinct members" in capsys.readouterr().out
    (tmp_path / "quick").mkdir()
    assert main(["run", "quick", "--plan"]) == 2
    assert "study file quick is a folder" in capsys.readouterr().err


def completions(line: str, folder: Path) -> list[str]:
    """What a shell is told of a line that is typed, as `register-python-argcomplete` has it asked."""
    answer = folder / "answer"
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(rdstudy.__file__).parents[1]),
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_SHELL": "bash",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    command = [sys.executable, "-c", "import sys; from rdstudy.__main__ import main; sys.exit(main())"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return answer.read_text().split("\n")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rdstudy re", {"report", "retrain"}),
        ("rdstudy run --on", {"--only"}),
        ("rdstudy run qui", {"quick"}),
        ("rdstudy run quick --set recipe.st", {"recipe.steps="}),
        ("rdstudy list results --state st", {"stale"}),
    ],
)
def test_a_shell_completes_commands_options_studies_and_settings(tmp_path, line, expected):
    assert {word.strip() for word in completions(line, tmp_path)} == expected
