"""A failure is looked into: its traceback is kept in the results and shown, and a debugger opens where it happened."""

import os
import pdb
import pty
import sys
import traceback
from pathlib import Path
from types import TracebackType

import pytest
import ray
from ray.exceptions import RayTaskError

from rdstudy.results.store import Store
from rdstudy.run import main
from rdstudy.running import worker
from rdstudy.running.failures import Cause, PackError, place_of, shortened, traceback_text
from rdstudy.running.tune.listener import describe_failure
from rdstudy.training import train_pack
from tests.running.tune.cluster_runs import ENVIRONMENT
from tests.test_run import STUDY, table


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models at β = 1 raise, in a function whose name and values can be told."""

    def multiply(beta: float) -> None:
        evidence = beta + 6
        raise RuntimeError(f"a bug at {evidence}")

    def breaks(pack, *args, **kwargs):
        if pack.members[0].beta == 1:
            multiply(pack.members[0].beta)
        return train_pack(pack, *args, **kwargs)

    monkeypatch.setattr(worker, "train_pack", breaks)


@pytest.mark.usefixtures("study", "broken")
def test_the_traceback_of_a_failure_is_said_once_kept_in_its_rows_and_its_place_listed(capsys):
    assert main(["tiny.py", "--local", "--out", "out", "--no-report"]) == 1
    rows = table()
    for row in rows:
        assert bool(row["traceback"]) == (row["outcome"] == "failed")
    failed = [row for row in rows if row["outcome"] == "failed"]
    assert len(failed) == 4
    for row in failed:
        assert row["traceback"].startswith("Traceback (most recent call last):\n")
        assert row["traceback"].endswith("RuntimeError: a bug at 7.0\n")
        assert "multiply(pack.members[0].beta)" in row["traceback"]
    said = capsys.readouterr()
    assert said.err.count("in multiply") == 1
    assert f"  2 × RuntimeError: a bug at 7.0\n      at {__file__}:" in said.out
    assert ", in multiply\n      rerun one: python -m rdstudy.run tiny.py" in said.out
    (log,) = Store.open("out").blobs.logs("tiny")
    assert Store.open("out").blobs.read_log(log).count("Traceback (most recent call last)") == 1


@pytest.mark.usefixtures("study", "broken")
def test_a_debugger_opens_where_the_first_failure_was_and_the_run_ends_with_it(capsys, monkeypatch):
    seen = []

    def post_mortem(trace: TracebackType) -> None:
        assert sys.stdout is sys.__stdout__, "the terminal itself: lines can be edited"
        while trace.tb_next is not None:
            trace = trace.tb_next
        seen.append((trace.tb_frame.f_code.co_name, trace.tb_frame.f_locals["evidence"]))

    monkeypatch.setattr(pdb, "post_mortem", post_mortem)
    monkeypatch.setattr("rdstudy.run._is_terminal", lambda: True)
    assert main(["tiny.py", "--local", "--out", "out", "--no-report", "--pdb"]) == 130
    assert seen == [("multiply", 7.0)]
    assert "Go on with: python -m rdstudy.run tiny.py --out out --local --no-report\n" in capsys.readouterr().out
    assert set(Store.open("out").snapshot().outcomes().values()) <= {"ok"}, "a failure that is looked at is no outcome"


@pytest.mark.parametrize(
    ("options", "lacking"), [(["--pdb"], "--local, which is missing"), (["--local", "--pdb"], "a terminal, which")]
)
def test_a_debugger_without_a_terminal_or_in_other_processes_is_refused(study, capsys, options, lacking):
    assert main([str(study), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --pdb is for {lacking}")
    assert not Path("results").exists()


BREAKS = """
import rdstudy.running.worker as worker

def breaks(*_, **options):
    evidence = 6 * 7
    raise RuntimeError("a bug")

worker.train_pack = breaks
"""


@pytest.mark.slow
def test_at_a_real_terminal_values_can_be_printed(study):
    study.write_text(BREAKS + STUDY)
    pid, terminal = pty.fork()
    if pid == 0:
        words = [sys.executable, "-m", "rdstudy.run", "tiny.py", "--local", "--no-report", "--pdb"]
        os.execve(sys.executable, words, ENVIRONMENT)
    said = ""
    for asked, typed in (("(Pdb) ", "p evidence\n"), ("\n42", "q\n"), ("Go on with: ", "")):
        while asked not in said:
            said += os.read(terminal, 65536).decode().replace("\r", "")
        said = said.rpartition(asked)[2]
        os.write(terminal, typed.encode())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    os.close(terminal)


def raises_below() -> None:
    raise RuntimeError("a bug")


def through_ray(error: Exception) -> BaseException:
    """An exception of a trial as Tune hands it on: the file of a class that Ray makes of it, read again."""
    try:
        raise error
    except Exception:
        made = RayTaskError("train", traceback.format_exc(), error, proctitle="ray::Trial", pid=1, ip="192.0.2.1")
    read: BaseException = ray.cloudpickle.loads(ray.cloudpickle.dumps(made.as_instanceof_cause()))
    return read


def test_on_ray_the_traceback_of_a_models_training_is_the_one_that_it_had_there():
    try:
        raises_below()
    except RuntimeError as error:
        text = traceback_text(error)
    failure = describe_failure(through_ray(PackError("p", "RuntimeError: a bug", text)), pack_id="p", host="h")
    assert failure.cause is Cause.RAISED
    assert failure.traceback == text
    assert place_of(failure.traceback).endswith(", in raises_below")


def test_on_ray_what_is_raised_outside_of_training_has_its_traceback_too_without_colours():
    try:
        raises_below()
    except RuntimeError as error:
        failure = describe_failure(through_ray(error), pack_id="p", host="h")
    assert failure.cause is Cause.RAISED
    assert "in raises_below" in failure.traceback
    assert "\x1b" not in failure.traceback
    storage = describe_failure(through_ray(OSError(28, "No space left")), pack_id="p", host="h")
    assert (storage.cause, storage.traceback) == (Cause.STORAGE, "")


def test_the_place_of_an_exception_is_its_innermost_frame_and_a_long_traceback_keeps_its_end():
    try:
        int("x", base=10 if place_of("") == "" else 2)
    except ValueError as error:
        text = traceback_text(error)
    assert place_of(text).startswith(f"{__file__}:")
    assert place_of(text).endswith(
        ", in test_the_place_of_an_exception_is_its_innermost_frame_and_a_long_traceback_keeps_its_end"
    )
    assert place_of("no traceback") == ""
    assert traceback_text(None) == ""
    assert shortened(text) == text
    assert len(shortened("x" * 10**6 + text)) < 11_000
    assert shortened("x" * 10**6 + text).endswith(text)
