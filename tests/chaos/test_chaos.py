"""The chaos itself sees what is wrong. That nothing is wrong whatever is killed, it says in `make chaos`."""

import copy
from pathlib import Path

from rdstudy.results.store import Store
from tests.chaos.compare import compare, leftovers, table_differences
from tests.chaos.runs import Run

NAN = float("nan")
ROWS = [
    {"member_id": member, "subset": subset, "distortion": value, "rate": NAN, "run_id": "r", "wall_seconds": 1.0}
    for member, subset, value in (("a", "train", 1.0), ("a", "test", 2.0), ("b", "train", 3.0))
]


def counts(rows):
    difference = compare("members", rows, ROWS)
    return difference.lost, difference.doubled, difference.changed


def test_equal_rows_have_no_differences_whatever_the_clock_said_and_nan_equals_nan():
    again = [row | {"run_id": "other", "wall_seconds": 7.0, "rate": float("nan")} for row in reversed(ROWS)]
    assert counts(again) == (0, 0, 0)
    assert not compare("members", again, ROWS)


def test_a_lost_a_doubled_and_a_changed_row_are_seen():
    assert counts(ROWS[1:]) == (1, 0, 0)
    assert counts([*ROWS, ROWS[2]]) == (0, 1, 0)
    changed = copy.deepcopy(ROWS)
    changed[0]["distortion"] = 1.0000000000000002
    assert counts(changed) == (0, 0, 1)
    assert "1.0000000000000002" in str(compare("members", changed, ROWS))
    assert counts([*ROWS, ROWS[0] | {"member_id": "nobody's"}]) == (0, 0, 1)


def test_of_two_rows_of_one_key_the_wrong_one_is_seen_wherever_it_stands():
    wrong = ROWS[0] | {"distortion": 9.0}
    assert counts([wrong, *ROWS]) == counts([*ROWS, wrong]) == (0, 1, 1)


def test_two_results_folders_are_held_against_each_other_and_leftovers_named(tmp_path: Path):
    right, other = (Store.create(str(tmp_path / name)) for name in ("one", "other"))
    for store in (right, other):
        store.rows.write_run("r", {"members": rows_of_members()})
    assert table_differences(right.uri, other.uri) == []
    other.rows.write_run(
        "s", {"members": [row | {"member_id": "f" * 16, "run_id": "s"} for row in rows_of_members()[:1]]}
    )
    (difference,) = table_differences(right.uri, other.uri)
    assert (difference.table, difference.lost, difference.doubled, difference.changed) == ("members", 1, 0, 0)
    assert leftovers(tmp_path / "one") == []
    right.blobs.write_checkpoint("pack", 1, lambda file: file.write(b"x"))
    assert leftovers(tmp_path / "one") == ["checkpoints/pack/1.bin"]


def rows_of_members():
    return [{"member_id": "a" * 16, "run_id": "r", "subset": name, "outcome": "ok"} for name in ("train", "test")]


def offences(folder: Path, code: str, *allowed: int) -> list[str]:
    """Of a command that is no good: a piece of code in its place."""
    run = subprocess_run(folder, code)
    assert run.wait(60)
    return run.offences(allowed)


def subprocess_run(folder: Path, code: str) -> Run:
    class Broken(Run):
        """Python with `-c`."""

        def _start(self, folder, environment):
            self.command = ["python", "-c", code]
            return super()._start(folder, environment)

    return Broken(folder, [], {})


def test_a_traceback_a_second_line_and_another_status_are_offences(tmp_path):
    assert offences(tmp_path, "print('all is well')", 0) == []
    (traceback,) = offences(tmp_path, "1 / 0", 1)
    assert traceback.startswith("traceback: ZeroDivisionError")
    (status,) = offences(tmp_path, "raise SystemExit(3)", 0)
    assert status.startswith("status 3, allowed [0]")
    two = "import sys; print('error: a\\nerror: b', file=sys.stderr); sys.exit(2)"
    (lines,) = offences(tmp_path, two, 2)
    assert lines.startswith("status 2 and 2 lines")
    other = "import sys; print('3 things went wrong\\nerror: b', file=sys.stderr); sys.exit(2)"
    assert len(offences(tmp_path, other, 2)) == 1
    beside = "import sys; print('WARNING: a\\n3/4 models, b\\nerror: c', file=sys.stderr); sys.exit(2)"
    assert offences(tmp_path, beside, 2) == []
    assert offences(tmp_path, "print('s3://KEY:CHAOSSECRET@bucket')", 0) == ["the password is printed"]
