"""`rdstudy list`: every model that is stored or asked for is on it, once, with its state."""

import sys

import pytest

from rdstudy.__main__ import main
from rdstudy.results.store import Store
from tests.commands.conftest import STORED
from tests.report.conftest import declaration
from tests.results.test_standing import changed


def listed(capsys, *options: str) -> list[list[str]]:
    """The rows of the table, as words."""
    assert main(["list", "results", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [line.split() for line in lines if line[:1] in "0123456789abcdef" and len(line.split()[0]) == 16]


@pytest.mark.usefixtures("store")
def test_each_model_is_listed_once_with_its_state_and_what_tells_it_apart(capsys, ids):
    rows = listed(capsys)
    states = dict(zip(ids, ["done", "nonfinite", "failed", "remaining", *["done"] * 4], strict=True))
    assert {row[0]: row[1] for row in rows} == states
    assert sorted(row[2:5] for row in rows) == [[d, b, s] for d in "13" for b in ("0.1", "1") for s in "01"]
    order = [row[1] for row in rows]
    assert order == sorted(order, key=["done", "nonfinite", "failed", "remaining"].index)


@pytest.mark.usefixtures("store")
def test_what_all_share_is_said_once_in_80_columns_and_why_a_model_is_not_done(capsys, ids):
    assert main(["list", "results"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("study simulated: 5 done, 1 nonfinite, 1 failed, 1 remaining\n  all of them: dataset ")
    assert max(len(line) for line in out.partition("id ")[0].splitlines()) <= 80
    (line,) = (line for line in out.splitlines() if line.startswith(ids[1]))
    assert "loss is not finite at step 101" in line


@pytest.mark.usefixtures("store")
def test_filters_choose(capsys, ids):
    assert [row[0] for row in listed(capsys, "--state", "remaining")] == [ids[3]]
    assert {row[0] for row in listed(capsys, "--where", "depth=3", "--where", "beta=1")} == {ids[6], ids[7]}
    assert {row[0] for row in listed(capsys, ids[2][:9], ids[5])} == {ids[2], ids[5]}
    assert len(listed(capsys, "--only", "depth")) == 8
    assert len(listed(capsys, "--where", "depth=3", "--where", "depth=1")) == 8  # of one factor any
    assert listed(capsys, "--where", "depth=2") == []


@pytest.mark.usefixtures("store")
def test_filters_that_choose_nothing_are_named(capsys, ids):
    asked = [ids[0][:8], "--study", "simulated", "--state", "stale", "--where", "depth=3"]
    assert main(["list", "results", *asked]) == 0
    assert capsys.readouterr().out == f"no models with {' '.join(asked)}; without that, all are listed\n"


def test_what_no_experiment_asks_for_now_is_listed_as_orphaned(capsys, ids, store: Store):
    store.declarations.declare(declaration(changed(STORED.study(), depth=[3])))
    assert {row[0] for row in listed(capsys, "--state", "orphaned")} == set(ids[:3])
    assert len(listed(capsys)) == 7


MISTAKES = (
    (["--state", "don"], "argument --state: invalid choice: 'don'"),
    (["--only", "dpeth"], "--only is 'dpeth' (did you mean depth?); allowed: depth"),
    (["--study", "simulate"], "--study is 'simulate' (did you mean simulated?); allowed: simulated"),
    (["--where", "dept=3"], "--where is 'dept' (did you mean depth?); allowed: dataset"),
    (["--where", "depth"], "--where is 'depth'; allowed: FACTOR=LEVEL, such as depth=3"),
    (["--where", "depth=x"], "--where depth is 'x'; allowed: a whole number"),
    (["zz"], "no model in results with an id that begins with 'zz'; allowed: the id of one"),
    ([""], "8 models in results with an id that begins with '': "),
)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(("options", "message"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_one_line(capsys, options, message):
    with pytest.raises(SystemExit) as ended:
        sys.exit(main(["list", "results", *options]))
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")


def test_a_misspelt_id_is_answered_with_the_nearest(capsys, ids, store):  # noqa: ARG001
    wrong = ids[0][:-1] + ("0" if ids[0][-1] != "0" else "1")
    assert main(["list", "results", wrong]) == 2
    assert f"(did you mean {ids[0]}?)" in capsys.readouterr().err
