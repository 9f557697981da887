"""The command: what it prints, its exit status, and that nothing stored is lost, whatever it is fed."""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from rdstudy.planning.packs import Pack
from rdstudy.planning.plan import declaration, make_plan
from rdstudy.report.__main__ import main as report
from rdstudy.results.blobs import Blobs
from rdstudy.results.files import StorageError
from rdstudy.results.presence import this_run
from rdstudy.results.rows import Rows
from rdstudy.results.snapshot import stem
from rdstudy.results.store import Store
from rdstudy.results.tables import to_parquet
from rdstudy.run import load_study, main
from rdstudy.running.driver import Ended
from rdstudy.running.executor import Work
from rdstudy.running.log import RunLog
from rdstudy.running.progress import PackProgress, ProgressLine
from rdstudy.running.tune.connection import Connection
from rdstudy.study.words import duration
from tests.running.test_worker import MEMBERS, rows
from tests.waiting import PATIENCE_SECONDS, wait_until

ROOT = Path(__file__).resolve().parents[1]

STUDY = """
from rdstudy.study import Evaluation, Experiment, Measures, Recipe, Resources, Study

STUDY = Study(
    name="tiny",
    experiments=[
        Experiment(
            "few",
            grid={
                "dataset": ["tetrominoes"],
                "split": ["cv(97)"],
                "depth": [1, 2],
                "width": [7],
                "latent_dim": [3],
                "beta": [0.1, 1],
                "seed": [0],
            },
        ),
    ],
    recipe=Recipe(steps=23, batch_size=11),
    evaluation=Evaluation(trajectory_points=3, trajectory_images=31, final_images=53),
    measures=Measures(names=[]),
    resources=Resources(),
)
"""
MEASURES = """Measures(
        names=["rate_parts", "log_marginal", "probe", "reconstructions"],
        aggregate_images=101,
        latent_samples=11,
        importance_images=3,
        importance_samples=151,
        refit_steps=5,
        neighbour_images=53,
        probe_images=3,
    )"""


OFTEN_SAVED = ("--set", "resources.checkpoint_seconds=0")

ONE_FIGURE = STUDY.replace('"few",', '"few",\n            figures=["distortion"],')  # a page that is soon made

TWO_MEMBERS = ONE_FIGURE.replace('"depth": [1, 2]', '"depth": [2]').replace('"distortion"', '"rate-parts"')

REMEDY = "with another --out they are trained again, and have it"


def run(study: Path, *options: str) -> int:
    return main([str(study), "--local", "--out", "out", *options])


def table(name: str = "members", out: str = "out") -> list[dict[str, Any]]:
    return rows(Store.open(out), name)


def test_a_study_runs_to_a_page_and_the_second_time_does_nothing_and_says_so(study, capsys):
    study.write_text(ONE_FIGURE)
    assert run(study) == 0
    first = capsys.readouterr().out
    assert "4 distinct members, 0 done, 4 remaining" in first
    assert "report: reports/tiny.html" in first
    assert Path("reports/tiny.html").stat().st_size > 100_000
    files = sorted(Path("out/members").iterdir())
    assert run(study, "--no-report") == 0
    assert "nothing to do: all members are stored" in capsys.readouterr().out
    assert sorted(Path("out/members").iterdir()) == files
    assert len(table()) == 8


def with_measures(study: Path, text: str = STUDY, *, keep_weights: bool) -> None:
    measured = text.replace("Measures(names=[])", MEASURES)
    study.write_text(measured.replace("Resources()", f"Resources(keep_weights={keep_weights})"))


def test_measures_are_part_of_a_run_and_of_its_page(study, capsys):
    with_measures(study, TWO_MEMBERS, keep_weights=False)
    assert run(study) == 0
    assert len(table("measures")) == 2 * 2
    assert len(table("probes")) == 2 * 3
    assert len(table("reconstructions")) == 2 * 4
    assert len(Store.open("out").snapshot().table("neighbours")) == 53
    assert "What the rate is made of" in Path("reports/tiny.html").read_text()
    capsys.readouterr()
    assert run(study, "--no-report") == 0
    assert "nothing to do: all members are stored" in capsys.readouterr().out


def test_members_whose_weights_were_kept_are_measured_later_without_training(study, capsys):
    study.write_text(TWO_MEMBERS.replace("Resources()", "Resources(keep_weights=True)"))
    assert run(study, "--no-report") == 0
    trained = sorted(Path("out/members").iterdir())
    before = table()
    with_measures(study, TWO_MEMBERS, keep_weights=True)
    capsys.readouterr()
    assert run(study, "--plan") == 0
    assert "to be measured, without training: 2 members whose weights are kept" in capsys.readouterr().out
    assert run(study, "--no-report") == 0
    assert sorted(Path("out/members").iterdir()) == trained
    assert table() == before
    later = {(row["member_id"], row["subset"]): row for row in table("measures")}
    assert main([str(study), "--local", "--out", "at once", "--no-report"]) == 0
    at_once = {(row["member_id"], row["subset"]): row for row in table("measures", out="at once")}
    for row in (*later.values(), *at_once.values()):
        del row["measure_seconds"]
    assert later == at_once
    assert table("probes") == table("probes", out="at once")
    assert table("reconstructions") == table("reconstructions", out="at once")
    capsys.readouterr()
    assert run(study, "--no-report") == 0
    assert "nothing to do: all members are stored" in capsys.readouterr().out


def test_members_that_could_not_be_measured_are_told_and_are_no_success(study, capsys, monkeypatch):
    study.write_text(STUDY.replace("Resources()", "Resources(keep_weights=True)"))
    assert run(study, "--no-report") == 0
    with_measures(study, keep_weights=True)
    capsys.readouterr()
    monkeypatch.setattr("rdstudy.running.driver.train", lambda *_, **__: Ended())  # as if every trial had died
    assert run(study, "--no-report") == 1
    assert "4 members were not measured; to measure them: python -m rdstudy.run" in capsys.readouterr().out


def test_members_without_weights_are_not_trained_again_for_their_measures(study, capsys):
    assert run(study, "--no-report") == 0
    with_measures(study, keep_weights=True)
    capsys.readouterr()
    assert run(study, "--no-report") == 0
    *printed, unmeasured, weightless = capsys.readouterr().out.splitlines()
    assert "nothing to do: all members are stored, but not all that the study asks for" in printed
    assert unmeasured.startswith("not measured as the study asks: 4 members, whose weights were not kept")
    assert weightless.startswith("without weights, which the study asks to be kept since then: 4 members")
    assert unmeasured.endswith(REMEDY)
    assert weightless.endswith(REMEDY)
    assert {unmeasured, weightless} <= set(printed)  # before it, as a part of the plan, too
    assert not table("measures")


def test_weights_that_are_asked_for_after_training_are_said_to_be_lacking_and_what_gives_them(study, capsys):
    study.write_text(TWO_MEMBERS)
    assert run(study, "--no-report") == 0
    kept = ("--set", "resources.keep_weights=True")
    assert run(study, "--plan", *kept) == 0
    assert "without weights, which the study asks to be kept since then: 2 members" in capsys.readouterr().out
    assert run(study, "--no-report", *kept) == 0
    *_, nothing, last = capsys.readouterr().out.splitlines()
    assert nothing == "nothing to do: all members are stored, but not all that the study asks for"
    assert last == f"without weights, which the study asks to be kept since then: 2 members: {REMEDY}"
    assert main([str(study), "--local", "--out", "another", "--no-report", *kept]) == 0
    assert "without weights" not in capsys.readouterr().out
    assert len(list(Path("another/weights").iterdir())) == 2


def test_weights_of_members_that_came_later_are_kept_and_only_the_others_lack_them(study, capsys):
    member_id = sorted(_planned_ids(study))[0]
    assert run(study, "--no-report", "--member", member_id) == 0
    assert run(study, "--no-report", "--set", "resources.keep_weights=True") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"without weights, which the study asks to be kept since then: 1 members: {REMEDY}"


def test_a_study_is_declared_once_and_each_change_is_noted(study):
    assert run(study, "--no-report") == 0
    declarations = Store.open("out").declarations
    first = declarations.read("tiny").history
    assert run(study, "--no-report") == 0
    assert run(study, "--no-report", "--only", "few") == 0
    assert declarations.read("tiny").history == first
    assert (first.kept, first.changes) == ("whole", ())
    study.write_text(STUDY.replace("[0.1, 1]", "[0.1, 0.5, 1]"))
    assert run(study, "--no-report") == 0
    history = declarations.read("tiny").history
    assert history.first_declared_at == first.first_declared_at
    (change,) = history.changes
    assert (change.members_added, change.members_removed, change.parts) == (2, 0, ())


def test_a_damaged_declaration_stops_no_run_and_is_said(study, capsys):
    study.write_text(ONE_FIGURE)
    assert run(study, "--no-report") == 0
    os.truncate("out/studies/tiny.json", 100)
    capsys.readouterr()
    assert run(study) == 0
    printed = capsys.readouterr().out
    assert "out/studies/tiny.json is damaged (" in printed
    assert "set aside as studies/tiny.json.damaged" in printed
    assert Path("out/studies/tiny.json.damaged").stat().st_size == 100
    assert "an earlier declaration was damaged, and its history is lost" in Path("reports/tiny.html").read_text()


def test_adding_a_beta_trains_only_that_beta(study, capsys):
    assert run(study, "--no-report") == 0
    before = {path: path.read_bytes() for path in Path("out/members").iterdir()}
    study.write_text(STUDY.replace("[0.1, 1]", "[0.1, 0.5, 1]"))
    capsys.readouterr()
    assert run(study, "--no-report") == 0
    assert "6 distinct members, 4 done, 2 remaining" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in before} == before
    assert sorted({row["beta"] for row in table()}) == [0.1, 0.5, 1.0]


def test_plan_starts_and_makes_nothing(study, capsys):
    assert run(study, "--plan") == 0
    assert "few             2        4     0       0          4" in capsys.readouterr().out
    assert not Path("out").exists()


def test_set_only_and_member_choose_what_is_run(study):
    member = next(iter(_planned_ids(study)))
    assert run(study, "--member", member, "--no-report") == 0
    assert {row["member_id"] for row in table()} == {member}
    assert run(study, "--set", "recipe.steps=11", "--only", "few", "--no-report") == 0
    assert sorted({row["steps"] for row in table()}) == [11, 23]


def _planned_ids(study: Path) -> set[str]:
    return {member.member_id for member in make_plan(load_study(str(study)), {}).wanted}


def test_a_truncated_file_is_repaired_with_the_same_rows(study, capsys):
    assert run(study, "--no-report") == 0
    whole, course = table(), table("trajectories")
    victim = min(Path("out/members").iterdir())
    os.truncate(victim, 100)
    capsys.readouterr()
    assert run(study, "--no-report") == 0
    said = capsys.readouterr().out
    assert "was damaged" in said
    assert str(victim.name) in said
    assert table() == whole
    assert table("trajectories") == course


def test_members_that_are_not_ok_are_listed_with_the_command_that_reruns_one(study, capsys):
    assert run(study, "--set", "recipe.learning_rate=1e18", "--no-report") == 1
    said = capsys.readouterr().out
    assert "4 of 4 members are not ok:" in said
    assert "× not finite at step" in said
    assert "rerun one: python -m rdstudy.run" in said
    assert "--set recipe.learning_rate=1e18 --local --member" in said
    assert run(study, "--set", "recipe.learning_rate=1e18", "--no-report") == 1
    assert "nothing to do" in capsys.readouterr().out


def interrupted(*_: object, **__: object) -> Ended:
    return Ended(interrupted="--max-cost 0.5 is reached")


def stopped_at_once(*_: object, **__: object) -> Ended:
    raise KeyboardInterrupt


@pytest.mark.parametrize("ends", [interrupted, stopped_at_once])
def test_the_command_that_goes_on_has_all_that_was_asked_for(study, capsys, monkeypatch, ends):
    monkeypatch.setattr("rdstudy.running.driver.train", ends)
    member = next(iter(_planned_ids(study)))
    limits = ["--max-hours", "1.5", "--max-cost", "0.5"]
    options = ["--out", "out", "--only", "few", "--set", "resources.price=2"]
    assert main(["tiny.py", *options, "--local", "--member", member, *limits, "--no-report"]) == 130
    words = ["python", "-m", "rdstudy.run", "tiny.py", *options, "--local", "--member", member, *limits, "--no-report"]
    assert f"Go on with: {' '.join(words)}" in capsys.readouterr().out.splitlines()[-1]
    declared = Store.open("out").declarations.read("tiny").command
    assert "--max-cost 0.5" in declared
    assert "--member" not in declared  # the page counts the whole study
    assert "--only" not in declared
    assert main(["tiny.py", *options, "--address", "10.0.0.1:6379", "--max-cost", "1"]) == 130
    assert "--address 10.0.0.1:6379 --max-cost 1.0" in capsys.readouterr().out


@pytest.mark.parametrize(("stored", "status"), [(1, 130), (2, 0)])
def test_a_limit_ends_a_run_early_only_while_something_remains(study, capsys, monkeypatch, stored, status):
    study.write_text(TWO_MEMBERS)

    def limit(*_: object, **__: object) -> str | None:
        return "the limit" if len(Store.open("out").snapshot().outcomes()) >= stored else None

    monkeypatch.setattr("rdstudy.running.driver.limit_reached", limit)
    assert run(study, "--no-report") == status
    assert ("Go on with" in capsys.readouterr().out) == (status == 130)


def with_callbacks(study: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> list[list[Any]]:
    """A study with a tracker, on a Ray that trains nothing: what is told to each of its rounds."""
    given: list[list[Any]] = []

    @contextlib.contextmanager
    def connected(*_: object) -> Iterator[Connection]:
        yield Connection(joined=False, devices=2.0)

    def run_round(_packs: object, work: Work, _observer: object) -> dict[str, str]:
        given.append(list(work.callbacks))
        return {}

    monkeypatch.setattr("rdstudy.running.tune.executor.connected", connected)
    monkeypatch.setattr("rdstudy.running.tune.executor.run_round", run_round)
    study.write_text(STUDY.replace('name="tiny",', f'name="tiny", callbacks={body},'))
    return given


def test_callbacks_are_made_once_for_all_rounds(study, monkeypatch):
    given = with_callbacks(study, monkeypatch, "lambda: [object()]")
    main([str(study), "--out", "out", "--no-report"])
    assert len(given) == 3
    assert len({id(callback) for callbacks in given for callback in callbacks}) == 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("lambda: __import__('no_tracker')", "callbacks() raised ModuleNotFoundError: No module named 'no_tracker'; "),
        ("lambda: exit(0)", "callbacks() raised SystemExit: 0; allowed: a function that returns a list"),
        ("lambda: None", "callbacks() is None; allowed: a function that returns a list of Tune's callbacks"),
    ],
)
def test_callbacks_that_cannot_be_made_are_one_line_and_no_ray(study, capsys, monkeypatch, body, expected):
    given = with_callbacks(study, monkeypatch, body)
    assert main([str(study), "--out", "out", "--no-report"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: study 'tiny': {expected}")
    assert not given


def test_a_failure_is_shown_by_one_member_in_one_process_said_once(study, capsys, monkeypatch):
    first, other = sorted(_planned_ids(study))[:2]
    monkeypatch.setattr("rdstudy.running.driver.train", lambda *_, **__: Ended(failed="a bug", example=other))
    assert main(["tiny.py", "--out", "out", "--local", "--member", first]) == 1
    shown, goes_on = capsys.readouterr().out.splitlines()[-2:]
    assert shown.endswith(f"see it here: python -m rdstudy.run tiny.py --out out --local --member {other}")
    assert goes_on.endswith(f"Go on with: python -m rdstudy.run tiny.py --out out --local --member {first}")


BAD_STUDIES = {
    "syntax error": (STUDY + "\nSTUDY = (", "line 26: '(' was never closed"),
    "no STUDY": ("x = 1", "defines no STUDY; allowed: STUDY = Study(...)"),
    "STUDY of another kind": ("STUDY = 3", "defines STUDY as a int"),
    "a name error": ("STUDY = Studdy()", "line 1: NameError: name 'Studdy' is not defined"),
    "unknown factor": (
        STUDY.replace('"depth"', '"debth"'),
        "factor is 'debth' (did you mean depth?); allowed: dataset",
    ),
    "unknown level": (
        STUDY.replace('"seed": [0]', '"seed": [0], "architecture": ["rnn"]'),
        "'rnn' (did you mean cnn?); allowed: cnn, linear, mlp",
    ),
    "unknown data set": (STUDY.replace('["tetrominoes"]', '["cifar"]'), "data set is 'cifar'; allowed: tetrominoes"),
    "unknown split": (STUDY.replace("cv(97)", "kfold(3)"), "split is 'kfold(3)'; allowed: default, checkerboard"),
    "empty axis": (STUDY.replace("[0.1, 1]", "[]"), "factor 'beta' has no levels"),
    "negative beta": (STUDY.replace("[0.1, 1]", "[0.1, -1]"), "beta is -1; allowed: a finite number, 0 or more"),
    "n too large": (STUDY.replace("cv(97)", "cv(163840)"), "(163840 images); allowed: N from 2 to 163838"),
    "too deep": (STUDY.replace('"depth": [1, 2]', '"architecture": ["cnn"], "depth": [6]'), "allowed: 1 to 5"),
    "no experiments": ("from rdstudy.study import Study\nSTUDY = Study('x', [])", "has no experiments"),
}


@pytest.mark.parametrize("mistake", BAD_STUDIES)
def test_a_mistake_in_a_study_is_one_line_and_status_2(study, capsys, mistake):
    text, expected = BAD_STUDIES[mistake]
    study.write_text(text)
    assert run(study) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert expected in captured.err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--only", "fwe"], "--only is 'fwe' (did you mean few?); allowed: few"),
        (
            ["--set", "recipe.stepps=3"],
            "--set is 'recipe.stepps' (did you mean recipe.steps?); allowed: recipe.optimizer",
        ),
        (["--set", "recipe.steps"], "allowed: NAME=VALUE"),
        (["--set", "recipe.steps=many"], "recipe.steps is 'many'; allowed: a whole number, 1 or more"),
        (["--member", "0123"], "no model asked for with an id that begins with '0123'; allowed: the id of one"),
        (["--set", "resources.gpus=0.3"], "allowed: 0, 1, or 1/k"),
    ],
)
def test_a_mistake_in_an_option_is_one_line_and_status_2(study, capsys, options, expected):
    assert run(study, *options) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.err.count("\n") == 1
    assert not Path("out").exists()


def test_folders_that_cannot_serve_are_one_line_and_status_2(study, capsys):
    Path("file").write_text("")
    Path("photos").mkdir()
    Path("photos/cat.png").write_text("")
    for out in ("file", "file/below", "photos"):
        assert main([str(study), "--local", "--out", out]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["nowhere.py"]) == 2
    assert "nowhere.py does not exist" in capsys.readouterr().err


def test_a_follower_counts_models_by_the_split_that_the_plan_knows(study, capsys, monkeypatch):
    study.write_text(STUDY.replace("cv(97)", "default"))
    (first, *_) = make_plan(load_study(str(study)), {}).wanted
    store = Store.create("out")
    row = {"member_id": first.member_id, "run_id": "a" * 32, "subset": "test", "outcome": "ok", "distortion": 2.5}
    store.rows.write_run("a" * 32, {"members": [row]})
    RunLog(store, "tiny").close("exit status 0")
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert run(study, "--follow") == 0
    assert re.search(r"1 layer +1/2 +2\.50 +0\.1", capsys.readouterr().out)


@pytest.mark.parametrize("option", ["--plan", "--follow"])
def test_storage_that_fails_is_one_line_and_status_1(study, capsys, monkeypatch, option):
    def fails(*_: object) -> None:
        raise StorageError("s3://bucket/out cannot be read: it is away")

    Store.create("out")
    monkeypatch.setattr(Rows, "read", fails)
    monkeypatch.setattr(Blobs, "logs", fails)
    assert run(study, option) == 1
    assert report(["out"]) == 2  # nothing is declared there, and nothing was read
    Store.open("out").declarations.declare(declaration(make_plan(load_study(str(study)), {}), "the command"))
    assert report(["out"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[::2] == ["error: s3://bucket/out cannot be read: it is away"] * 2


def test_an_error_of_the_program_itself_is_not_hidden(study, monkeypatch):
    monkeypatch.setattr("rdstudy.planning.plan.cut_stacks", lambda *_, **__: int("a bug"))
    with pytest.raises(ValueError, match="invalid literal"):
        run(study)


KILLER = """
import os, signal, sys, time
from pathlib import Path
import torch._dynamo
from tests.test_run import main

kills = kills_at_work = 0
for attempt in range(50):
    run = os.fork()
    if run == 0:
        os._exit(main(sys.argv[1:]))
    time.sleep(0.3 * 1.15**attempt)
    os.kill(run, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(run, 0)[1])
    if status != -signal.SIGKILL:
        break
    kills += 1
    kills_at_work += any(Path("killed/checkpoints").glob("*/*"))
print(status, kills, kills_at_work)
"""
"""Starts a run, in a process that has imported all, and kills it after ever longer times, until one survives."""


@pytest.mark.slow
def test_killed_at_any_moment_and_repeated_ends_in_the_same_tables(study, run_python):
    """Growing by a factor, times are long enough on a slow machine and fine enough on a fast one."""
    often = ["--set", "recipe.steps=120", "--set", "evaluation.trajectory_points=30", *OFTEN_SAVED]
    options = [str(study), "--local", "--no-report", *often, "--out"]
    assert main([*options, "whole"]) == 0  # first: it draws the images, which are shared
    printed = run_python(f"import sys\nsys.argv[1:] = {[*options, 'killed']!r}\n{KILLER}")
    status, kills, kills_at_work = map(int, printed.splitlines()[-1].split())
    assert status == 0
    assert kills > 2
    assert kills_at_work
    for name in ("members", "trajectories"):
        assert table(name, "killed") == table(name, "whole")
    assert table("members", "whole")
    assert not list(Path("killed/checkpoints").glob("*/*"))


@pytest.mark.slow
@pytest.mark.usefixtures("study")
def test_an_interrupt_saves_says_how_to_go_on_and_ends_with_130():
    import signal

    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "rdstudy.run",
        "tiny.py",
        "--local",
        "--out",
        "out",
        "--set",
        "recipe.steps=100000",
        *OFTEN_SAVED,
    ]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    wait_until(lambda: list(Path("out").glob("checkpoints/*/*")), "something is saved", process=process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert (
        f"Go on with: python -m rdstudy.run tiny.py --out out --set recipe.steps=100000 {' '.join(OFTEN_SAVED)}" in said
    )
    assert list(Path("out").glob("checkpoints/*/*"))


def test_what_killed_runs_left_is_told_and_deleted_by_the_next_run(study, capsys):
    member_id = sorted(_planned_ids(study))[0]
    assert run(study, "--no-report", "--member", member_id) == 0
    store = Store.open("out")
    store.blobs.write_checkpoint("of-nobody", 1, lambda file: file.write(b"left by a process that was killed"))
    Path("out/tmp/half").write_bytes(b"half")
    capsys.readouterr()
    assert run(study, "--no-report", *OFTEN_SAVED) == 0
    assert (
        "deleting what killed runs left: 1 half-written files and the checkpoints of 1 packs" in capsys.readouterr().out
    )
    assert store.blobs.checkpoint_packs() == store.blobs.temporary_files() == store.blobs.run_tokens() == []


def test_a_second_run_of_what_a_first_one_trains_is_refused_and_goes_on_when_it_is_gone(study, capsys):
    store = Store.create("out")
    first = replace(this_run("tiny", sorted(_planned_ids(study))), settled=True)
    store.blobs.write_run_entry(first.token, json.dumps(vars(first)))
    assert run(study, "--no-report") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {first} is at work on the same 4 models; allowed: --follow")
    assert store.declarations.names() == []
    assert run(study, "--no-report", "--force") == 0
    assert len(store.snapshot().outcomes()) == 4


def test_what_another_run_trains_is_left_to_it_and_the_end_says_so(study, capsys):
    store = Store.create("out")
    first = replace(this_run("another", sorted(_planned_ids(study))[:1]), settled=True)
    store.blobs.write_run_entry(first.token, json.dumps(vars(first)))
    assert run(study, "--no-report") == 1
    assert "1 models were left to another run; once it has ended: python -m rdstudy.run" in capsys.readouterr().out
    assert len(store.snapshot().outcomes()) == 3
    store.blobs.delete_run(first.token)
    assert run(study, "--no-report") == 0


def test_neighbours_and_examples_that_are_damaged_are_made_again(study, capsys):
    study.write_text(TWO_MEMBERS)
    measured = ("--set", "measures.names=['reconstructions']", "--set", "measures.neighbour_images=7")
    assert run(study, "--no-report", *measured) == 0
    store = Store.open("out")
    before = {table: store.snapshot().table(table) for table in ("neighbours", "examples")}
    for table in before:
        (path,) = Path("out", table).glob("*.parquet")
        path.write_bytes(path.read_bytes()[:-9])
    assert run(study, "--no-report", *measured) == 0
    output = capsys.readouterr().out
    assert output.count("set aside as") == 2
    assert "the neighbours of tetrominoes, cv(97) are gone: finding them again" in output
    assert all(store.snapshot().table(table).equals(rows) for table, rows in before.items())
    assert all(len(rows) for rows in before.values())


def test_a_row_of_other_settings_is_done_neither_for_a_plan_nor_for_a_run(study, capsys):
    assert run(study, "--no-report") == 0
    store = Store.open("out")
    (name, part), *_ = sorted(store.snapshot(("members",)).parts["members"].items())
    assert isinstance(part, pa.Table)
    rows = [{**row, "beta": row["beta"] + 1} for row in part.to_pylist()]
    store._files.write(name, to_parquet("members", rows, file=stem(name)))  # whole, and its checksums are right
    capsys.readouterr()
    assert run(study, "--plan") == 0
    said = capsys.readouterr().out
    assert "kept: 3, new: 1, stale: 0, orphaned: 0" in said
    assert f"{name} is damaged (the settings beside member {rows[0]['member_id']} are not those of that member)" in said
    assert run(study, "--no-report") == 0
    assert f"{name}.damaged" in capsys.readouterr().out
    assert len(store.snapshot().outcomes()) == 4
    assert run(study, "--plan") == 0
    assert "is damaged" not in capsys.readouterr().out


@pytest.mark.parametrize("place", ["gone", "another"])
def test_a_folder_that_goes_under_a_run_ends_it_with_the_command_that_goes_on(study, capsys, monkeypatch, place):
    real = Rows.write_run
    stored: list[str] = []

    def write_run(rows, run_id, tables):
        if len(stored) == 1:
            Path("out").rename("moved")
            if place == "another":
                Store.create("out")
        stored.append(run_id)
        real(rows, run_id, tables)

    monkeypatch.setattr(Rows, "write_run", write_run)
    assert run(study, "--no-report") == 1
    err = capsys.readouterr().err
    assert f"error: results folder out is {'gone' if place == 'gone' else 'another one now'}" in err
    assert "Go on with: python -m rdstudy.run" in err
    assert Path("out").exists() == (place == "another")
    assert place == "gone" or Store.open("out").snapshot().outcomes() == {}
    monkeypatch.setattr(Rows, "write_run", real)  # `undo` would leave the folder of the test, too
    (entry,) = Path("moved", "runs").glob("*.json")  # of this process, which by now would have ended
    entry.write_text(json.dumps({**json.loads(entry.read_text()), "process_started": "before this process"}))
    assert Store.open("moved").snapshot().outcomes()
    assert main([str(study), "--out", "moved", "--local", "--no-report"]) == 0
    assert len(Store.open("moved").snapshot().outcomes()) == 4


def test_progress_says_models_rate_time_left_and_what_is_not_ok(capsys):
    packs = [Pack(MEMBERS[:2]), Pack(MEMBERS[2:])]
    log: list[str] = []
    line = ProgressLine(packs, log=log.append)
    assert line.line(1.0) == "0/4 models, no rate yet, 1 s so far, time left unknown, 0 not ok"
    line.usage = ("2 GPUs", "97% at work")
    assert line.update(packs[0].pack_id, PackProgress(2, 1, 1.0)) == PackProgress(0, 0, 0.0)
    assert line.line(60.0) == "2/4 models, 2.0 models/min, 60 s so far, 60 s left, 1 not ok, 2 GPUs, 97% at work"
    line.say("something else")
    line.close()
    assert capsys.readouterr().err.splitlines() == log
    assert len(log) == 2
    assert [duration(s) for s in (0, 89, 120, 7200, 400_000)] == ["0 s", "89 s", "2 min", "2.0 h", "4.6 d"]
