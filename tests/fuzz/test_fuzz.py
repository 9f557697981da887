"""The fuzz itself: it sees every breach of the law, its damage is damage, and its good study is good."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.run import main
from tests.fuzz.cases import Case, Outcome
from tests.fuzz.damage import KINDS, Damage, fill_with_zeros, flip_bits
from tests.fuzz.forks import run_process
from tests.fuzz.law import breaches, hashes
from tests.fuzz.odd import RESULTS, SECRET
from tests.fuzz.parts import PARTS, study_text
from tests.fuzz.strategies import cases

RUN = Case("command", "run", ["study.py", "--local"])
REFUSED = Outcome(2, "", "error: depth is 0; allowed: 1 or more\n", 0.1)
ROWS = {"members/r.parquet": b"rows", "measures/r.parquet": b"more rows", "studies/fuzz.json": b"{}"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in ROWS.items():
        path = tmp_path / RESULTS / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    return tmp_path


def breaches_of(outcome: Outcome, folder: Path, *, case: Case = RUN, before: dict | None = None) -> list[str]:
    return list(breaches(case, outcome, before=before or hashes(folder / RESULTS), folder=folder))


def test_what_is_refused_in_one_line_and_what_is_done_keeps_the_law(folder):
    assert breaches_of(REFUSED, folder) == []
    assert breaches_of(Outcome(0, "report: reports/fuzz.html\n", "", 3.0), folder) == []
    assert breaches_of(Outcome(1, "1 of 2 members are not ok:\n  1 × nan\n", "", 3.0), folder) == []
    limited = Case("command", "run", ["study.py", "--max-hours", "0.001"])
    assert breaches_of(Outcome(130, "the limit\n", "", 3.0), folder, case=limited) == []
    interrupted = Case("study", "run", ["study.py"], study="raise KeyboardInterrupt")
    assert breaches_of(Outcome(130, "", "stopped\n", 0.1), folder, case=interrupted) == []
    assert breaches_of(Outcome(130, "", "", 0.1), folder, case=interrupted) == ["status 130 and silence"]


TRACEBACK = "Traceback (most recent call last):\n  File \"rdstudy/run.py\", line 1, in main\nKeyError: 'x'\n"


@pytest.mark.parametrize(
    ("outcome", "breach"),
    [
        (Outcome(1, "", "error: x\n" + TRACEBACK, 0.1), "traceback: KeyError: 'x' [rdstudy/run.py:main]"),
        (Outcome(0, TRACEBACK, "", 0.1), "traceback: "),
        (Outcome(0, "done", "x.py:1: UserWarning: odd\n  f()\n", 0.1), "a library's warning: x.py:1: UserWarning: odd"),
        (Outcome(2, "", "error: a\nerror: b\n", 0.1), "status 2 and 2 lines on standard error"),
        (Outcome(2, "", "", 0.1), "status 2 and 0 lines on standard error"),
        (Outcome(2, "", "depth is 0\n", 0.1), "status 2 and 1 lines on standard error"),
        (Outcome(2, "", "error: x\n", 11.0), "refused after 11 s"),
        (Outcome(2, "", f"error: {'x' * 5_000}\n", 0.1), "a line of 5008 characters"),
        (Outcome(0, "", "", 0.1), "status 0 and silence"),
        (Outcome(1, "oh no", "", 0.1), "status 1 without a cause"),
        (Outcome(130, "", "", 0.1), "status 130"),
        (Outcome(-11, "", "", 0.1), "status -11"),
        (Outcome(None, "", "", 15.0), "no end after 15 s"),
        (Outcome(2, "", f"error: s3://KEY:{SECRET}@bucket\n", 0.1), "the password is printed: error: s3://KEY:"),
    ],
)
def test_every_breach_is_seen_and_nothing_else_is_told(folder, outcome, breach):
    (only,) = breaches_of(outcome, folder)
    assert only.startswith(breach)


def test_a_password_in_a_file_or_in_the_name_of_one_is_seen(folder):
    (folder / RESULTS / "studies" / "x.json").write_text(f"s3://KEY:{SECRET}@bucket")
    assert breaches_of(REFUSED, folder) == ["the password is in out/studies/x.json"]
    (folder / f"s3:KEY:{SECRET}@bucket").mkdir()
    assert breaches_of(REFUSED, folder)[-1] == "the password is a file's name"


def test_a_row_that_is_lost_and_a_file_that_a_refusal_changed_are_seen(folder):
    before = dict(hashes(folder / RESULTS))
    assert set(before) == set(ROWS)
    done = Outcome(0, "report: x\n", "", 1.0)
    (folder / RESULTS / "members" / "r.parquet").rename(folder / RESULTS / "members" / "r.parquet.damaged")
    assert breaches_of(done, folder, before=before) == [], "set aside is not lost"
    assert breaches_of(REFUSED, folder, before=before) == [
        "refused, and yet files changed: members/r.parquet, members/r.parquet.damaged"
    ]
    (folder / RESULTS / "measures" / "r.parquet").write_bytes(b"fewer rows")
    assert breaches_of(done, folder, before=before) == ["lost: measures/r.parquet"]


def test_every_kind_of_damage_changes_a_folder_and_the_same_seed_does_the_same(tmp_path):
    for kind in KINDS:
        trees = []
        for number in range(2):
            root = tmp_path / f"{kind} {number}"
            for name, content in ROWS.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            (root / "store.json").write_text('{"format": "rdstudy results", "version": 1, "id": "x"}')
            Damage(kind, 5).apply(root)
            trees.append({str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()})
        assert trees[0] == trees[1]
        assert trees[0] != ROWS | {"store.json": b'{"format": "rdstudy results", "version": 1, "id": "x"}'}, kind


@given(st.binary(min_size=1, max_size=50), st.integers())
def test_flipped_bits_and_zeros_keep_the_length(content, seed):
    draw = random.Random(seed)
    assert len(flip_bits(content, draw)) == len(fill_with_zeros(content, draw)) == len(content)


@given(st.one_of(*cases().values()))
def test_every_case_can_be_told_and_starts_no_ray(case):
    assert str(case).startswith("python -m rdstudy.")
    assert case.module != "run" or {"--plan", "--local", "--address"} & set(case.arguments)


def test_the_good_study_is_good_and_one_odd_value_is_refused(tmp_path, image_cache, monkeypatch, capsys):
    (tmp_path / "study.py").write_text(study_text())
    variables = {"RDSTUDY_CACHE": str(image_cache)}
    good = run_process("run", ["study.py", "--plan"], tmp_path, limit_seconds=60, environment=variables)
    assert (good.status, good.stderr) == (0, "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.py").write_text(study_text({**PARTS, "grid": {**PARTS["grid"], "depth": "[0]"}}))
    assert main(["study.py", "--plan"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")


def test_a_command_without_end_is_ended(tmp_path):
    (tmp_path / "study.py").write_text("import time\ntime.sleep(600)")
    outcome = run_process("run", ["study.py", "--plan"], tmp_path, limit_seconds=2)
    assert outcome.status is None
