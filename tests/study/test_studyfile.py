"""Reading a study file: whatever it does, the answer is a study or one line that names its line."""

import contextlib
import os
import sys
from pathlib import Path

import pytest

from rdstudy.run import load_study, main
from rdstudy.study import Study
from rdstudy.study.bounds import MOST_FILE_BYTES

STUDY = """
from rdstudy.study import Experiment, Recipe, Study

STUDY = Study("s", [Experiment("e", {"dataset": ["gaussian"], "split": ["default"], "beta": [1], "seed": SEEDS})])
"""


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch):
    """What reading leaves behind for functions of a study file is gone after each test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in {"small", "helpers", "later", "own", "places"}:
            del sys.modules[name]


def write(folder: Path, text: str, name: str = "a.py") -> str:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)


def seeds(study: Study) -> list[int]:
    return list(study.experiments[0].grid["seed"])


def refused(path: str) -> str:
    """What is said of a study file, without its name."""
    with pytest.raises(ValueError, match=r"^study file ") as caught:
        load_study(path)
    text = str(caught.value)
    assert "\n" not in text
    return text.removeprefix(f"study file {path}")


# --- what a study file may do -------------------------------------------------------------------------------------


def test_dataclasses_with_postponed_annotations_are_declared(tmp_path):
    text = "from dataclasses import dataclass\n\n@dataclass\nclass Own:\n    seed: int = 3\n"
    path = write(tmp_path, f"from __future__ import annotations\n{text}{STUDY.replace('SEEDS', '[Own().seed]')}")
    assert seeds(load_study(path)) == [3]


def test_a_module_and_a_package_beside_it_are_imported(tmp_path):
    write(tmp_path, "SEED = 5\n", "small.py")
    write(tmp_path, "from helpers.more import SEED\n", "helpers/__init__.py")
    write(tmp_path, "SEED = 7\n", "helpers/more.py")
    write(tmp_path, "SEED = 11\n", "places/one.py")  # a package without a file of its own
    imports = "import small, helpers\nfrom places.one import SEED\n"
    path = write(tmp_path, imports + STUDY.replace("SEEDS", "[small.SEED, helpers.SEED, SEED]"))
    assert seeds(load_study(path)) == [5, 7, 11]


def test_two_studies_do_not_see_each_others_modules(tmp_path):
    for folder, seed in (("one", 3), ("other", 5)):
        write(tmp_path / folder, f"SEED = {seed}\n", "small.py")
        write(tmp_path / folder, "import small\n" + STUDY.replace("SEEDS", "[small.SEED]"))
    write(tmp_path / "one", "", "own.py")
    for folder, seed in (("one", 3), ("other", 5), ("one", 3)):
        assert seeds(load_study(str(tmp_path / folder / "a.py"))) == [seed]
    load_study(str(tmp_path / "other" / "a.py"))
    assert refused(write(tmp_path / "other", "import own", "b.py")) == (
        ", line 1: ModuleNotFoundError: No module named 'own'"
    )


def test_functions_of_a_study_file_import_later_what_is_beside_it(tmp_path):
    write(tmp_path, "SEED = 5\n", "later.py")
    text = STUDY.replace("SEEDS})]", "[0]})], callbacks=callbacks")
    path = write(tmp_path, f"def callbacks():\n    import later\n    return [later.SEED]\n{text}")
    study = load_study(path)
    assert study.callbacks is not None
    assert study.callbacks() == [5]
    assert len(sys.meta_path) == len({id(finder) for finder in sys.meta_path})


def test_what_is_beside_a_study_file_hides_no_library(tmp_path, run_python):
    """A folder of the name of a library, as trackers leave them, and a file of the name of a standard module."""
    (tmp_path / "jinja2").mkdir()
    write(tmp_path, "raise AssertionError", "statistics.py")
    text = "import jinja2, statistics\njinja2.Template, statistics.mean\n"
    path = write(tmp_path, text + STUDY.replace("SEEDS", "[0]"))
    code = f"import sys; from rdstudy.run import load_study; path = list(sys.path); load_study({path!r})"
    assert run_python(f"{code}; assert sys.path[:-1] == path; print(sys.path[-1])") == str(tmp_path)


def test_libraries_that_a_study_file_imports_are_kept_for_the_next_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "xxsubtype", raising=False)
    path = write(tmp_path, f"import xxsubtype\n{STUDY.replace('SEEDS', '[0]')}")  # built into Python: it has no file
    load_study(path)
    first = sys.modules["xxsubtype"]
    load_study(path)
    assert sys.modules["xxsubtype"] is first


def test_a_study_file_that_hides_a_library_is_refused(tmp_path, monkeypatch):
    text = STUDY.replace("SEEDS", "[0]")
    path = write(tmp_path, text, "torch.py")
    assert isinstance(load_study(path), Study)
    monkeypatch.syspath_prepend(str(tmp_path))  # as `python -m` does with the folder where it is started
    assert refused(path).startswith(" hides the library torch from those who import it; allowed: another name")
    assert isinstance(load_study(write(tmp_path, text, "mine.py")), Study)


def test_a_link_is_read_where_it_points_to(tmp_path):
    write(tmp_path / "there", "SEED = 5\n", "small.py")
    path = write(tmp_path / "there", "import small\n" + STUDY.replace("SEEDS", "[small.SEED]"))
    link = tmp_path / "link.py"
    link.symlink_to(path)
    assert seeds(load_study(str(link))) == [5]


@pytest.mark.parametrize("name", ["two words.py", "-x.py", "β.py", "a.b.py"])
def test_any_name_of_a_file_will_do(tmp_path, name):
    assert seeds(load_study(write(tmp_path, STUDY.replace("SEEDS", "[3]"), name))) == [3]


def test_the_working_folder_and_the_code_under_main_stay_as_they_are(tmp_path):
    text = STUDY.replace("SEEDS", "[3]") + "import os\nos.chdir('/')\nif __name__ == '__main__':\n    raise KeyError\n"
    before = os.getcwd()
    assert seeds(load_study(write(tmp_path, text))) == [3]
    assert os.getcwd() == before


def test_it_knows_its_own_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "from pathlib import Path\nassert Path(__file__).is_absolute()\n" + STUDY.replace("SEEDS", "[3]"))
    assert seeds(load_study("a.py")) == [3]


# --- what it may not ----------------------------------------------------------------------------------------------

ENDS = "; allowed: a file that defines STUDY"
MISTAKES = {
    "import sys\nsys.exit(0)": f", line 2: it ends the process, with 0{ENDS}",
    "import sys\n\nsys.exit('text')": f", line 3: it ends the process, with 'text'{ENDS}",
    "exit()": f", line 1: it ends the process, with None{ENDS}",
    "class Own(BaseException): pass\nraise Own('no\\nno')": ", line 2: Own: no no",
    "\nraise GeneratorExit": ", line 2: GeneratorExit",
    "raise ValueError": ", line 1: ValueError",
    "int('x')": ", line 1: invalid literal for int() with base 10: 'x'",
    "class Own(Exception):\n    def __str__(self): 1 / 0\nraise Own": ", line 3: Own: Own without a text",
    "def f():\n    f()\nf()": ", line 2: RecursionError: maximum recursion depth exceeded",
    "raise KeyError('x' * 10**7)": ", line 1: KeyError: 'xxx",
    "x = (\n": ", line 1: '(' was never closed",
    "import small": ", line 1 (small.py, line 2): ZeroDivisionError: division by zero",
    "x = 1\nimport own": ", line 2: ",
    "x = 1\0": ": source code string cannot contain null bytes",
    f"x = {'(' * 1000}{')' * 1000}": ", line 1: too many nested parentheses",
    f"x = {'-' * 100_000}1": " has brackets too deep inside each other; allowed: what Python can compile",
    "STUDY = None": " defines no STUDY; allowed: STUDY = Study(...)",
    "": " defines no STUDY; allowed: STUDY = Study(...)",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_named_with_the_line_that_led_to_it(tmp_path, text):
    write(tmp_path, "x = 1\n1 / 0\n", "small.py")
    write(tmp_path, "x = 1\nx = (\n", "own.py")
    line = refused(write(tmp_path, text))
    assert line.startswith(MISTAKES[text])
    assert len(line) < 3_000
    if "own" in text:
        assert line.endswith("own.py, line 2: '(' was never closed")


def test_an_interrupt_stays_one(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        load_study(write(tmp_path, "raise KeyboardInterrupt"))


def test_bytes_that_are_no_text_are_named(tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes(b"x = 1\ny = '\xe9'\n")
    assert "'utf-8' codec can't decode byte 0xe9" in refused(str(path))
    path.write_bytes(b"# coding: latin-1\nx = '\xe9'\n" + STUDY.replace("SEEDS", "[ord(x)]").encode())
    assert seeds(load_study(str(path))) == [0xE9]


def test_what_is_no_file_is_not_read(tmp_path):
    pipe, folder, loop = tmp_path / "pipe.py", tmp_path / "folder.py", tmp_path / "loop.py"
    os.mkfifo(pipe)
    folder.mkdir()
    loop.symlink_to(loop)
    allowed = "; allowed: a Python file that defines STUDY"
    for path in (str(pipe), "/dev/zero"):
        assert refused(path) == f" is a device or pipe{allowed}"
    assert refused(str(folder)) == f" is a folder{allowed}"
    assert refused(str(loop)).startswith(" cannot be read: Too many levels of symbolic links")
    assert refused("a\0.py").startswith(" cannot be read: embedded null byte")
    assert refused("a" * 300 + ".py").startswith(" cannot be read: File name too long")
    assert refused(str(tmp_path / "none.py")).startswith(f" does not exist{allowed}, or one that comes with rdstudy: ")
    assert refused(write(tmp_path, "", "a.txt")) == " is no Python file; allowed: a name that ends in .py"


def test_a_file_of_data_is_too_large(tmp_path):
    path = write(tmp_path, "#" * MOST_FILE_BYTES + "\n")
    assert refused(path).startswith(f" has {MOST_FILE_BYTES + 1:,} bytes; allowed: up to {MOST_FILE_BYTES:,}, ")


@pytest.mark.parametrize("text", ["import sys\nsys.exit(0)", "raise GeneratorExit"])
def test_the_command_does_not_end_with_a_study_file(tmp_path, capsys, text):
    assert main([write(tmp_path, text), "--plan"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: study file ")


def test_a_study_file_may_close_what_is_printed_to(tmp_path, capsys):
    path = write(tmp_path, STUDY.replace("SEEDS", "[3]") + "import sys\nprint('hello')\nsys.stderr = None\n")
    with contextlib.chdir(tmp_path):
        assert main([path, "--plan"]) == 0
    assert capsys.readouterr().out.startswith("hello\nstudy s: 1 distinct members")
