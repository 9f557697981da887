"""Experiment trackers: what they are told, and where what they write stays."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from rdstudy.planning.packs import Pack
from rdstudy.results.store import Store
from rdstudy.running.failures import Failures
from rdstudy.running.tune.queue import PackQueue
from rdstudy.running.tune.tracking import TrackerFiles
from rdstudy.study import Resources
from tests.running.test_worker import MEMBERS
from tests.running.tune.cluster_runs import run
from tests.test_run import STUDY, table

TRACKED = """
import json
from pathlib import Path
from ray import tune
from ray.tune.logger import TBXLoggerCallback

class Notes(tune.Callback):
    def note(self, what, trial, result):
        with Path("notes").open("a") as file:
            kept = {key: value for key, value in result.items() if isinstance(value, int | float | str)}
            file.write(json.dumps([what, trial.config, kept]) + "\\n")

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.note("result", trial, result)

    def on_trial_complete(self, iteration, trials, trial, **info):
        self.note("complete", trial, trial.last_result)

def callbacks():
    return [Notes(), TBXLoggerCallback()]
"""


def test_a_trial_names_its_members_and_its_factors():
    pack = Pack(MEMBERS)
    queue = PackQueue(
        [pack, Pack(MEMBERS[:1])], placements={}, resources=Resources(), most_cpus=lambda: 1, failures=Failures()
    )
    several, single = queue.suggest("a"), queue.suggest("b")
    assert isinstance(several, dict)
    assert isinstance(single, dict)
    assert several["member_ids"].split(", ") == [member.member_id for member in MEMBERS]
    assert several["beta"] == ", ".join(str(beta) for beta in dict.fromkeys(member.beta for member in MEMBERS))
    assert single["member_ids"] == MEMBERS[0].member_id
    assert (single["beta"], single["seed"]) == (MEMBERS[0].beta, MEMBERS[0].seed)
    assert single["dataset"] == MEMBERS[0].dataset


@pytest.fixture
def trial(tmp_path: Path) -> SimpleNamespace:
    (tmp_path / "trial" / "plugins").mkdir(parents=True)
    return SimpleNamespace(trial_id="t1", config={"pack": "p1"}, local_path=str(tmp_path / "trial"))


def test_what_trackers_write_is_copied_now_and_then_and_at_the_end_and_tunes_own_is_not(tmp_path, trial):
    store, now = Store.create(str(tmp_path / "out")), [0.0]
    files = TrackerFiles(store, "tiny", clock=lambda: now[0])
    there = tmp_path / "out" / "trackers" / "tiny" / "p1-t1"
    events = Path(trial.local_path) / "events.out.tfevents.1"
    files.on_trial_start(0, [trial], trial)
    events.write_bytes(b"one")
    (Path(trial.local_path) / "error.txt").write_text("x")
    files.on_step_end(0, [trial])
    assert not there.exists(), "not each time Tune goes round"
    now[0] = 31.0
    files.on_step_end(0, [trial])
    assert [path.name for path in there.iterdir()] == [events.name]
    events.write_bytes(b"one two")
    (Path(trial.local_path) / "plugins" / "deep").write_bytes(b"3")
    files.on_trial_complete(0, [trial], trial)
    assert (there / events.name).read_bytes() == b"one two"
    assert (there / "plugins" / "deep").read_bytes() == b"3"


def test_a_file_that_cannot_be_copied_is_said_and_stops_nothing(tmp_path, trial, monkeypatch, caplog):
    store = Store.create(str(tmp_path / "out"))
    files = TrackerFiles(store, "tiny")

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files._store.blobs, "write_tracked", fails)
    (Path(trial.local_path) / "events").write_bytes(b"one")
    files.on_trial_error(0, [trial], trial)
    assert "events could not be copied into the results: [Errno 28] No space left" in caplog.text


@pytest.mark.cluster
def test_trackers_get_values_and_ids_and_tensorboards_files_lie_with_the_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracked = STUDY.replace("\nSTUDY = Study(", TRACKED + "\nSTUDY = Study(\n    callbacks=callbacks,")
    Path("tiny.py").write_text(tracked)
    home = tmp_path / "home"
    home.mkdir()
    done = run("--out", "out", "--address", "local", environment={"HOME": str(home)})
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {(row["member_id"], row["subset"]): row for row in table("members", "out")}
    notes = [json.loads(line) for line in Path("notes").read_text().splitlines()]
    ended = [(config, result) for what, config, result in notes if what == "complete"]
    assert {config["member_ids"] for config, _ in ended} == {member for member, _ in rows}
    for config, result in ended:
        for subset in ("train", "test"):
            row = rows[config["member_ids"], subset]
            assert (config["beta"], config["depth"], config["seed"]) == (row["beta"], row["depth"], row["seed"])
            for name in ("distortion", "rate", "elbo"):
                assert result[f"{subset}/{name}"] == pytest.approx(row[name], rel=1e-12)
        assert result["timesteps_total"] == 23
    files = list(Path("out", "trackers", "tiny").glob("*/events.out.tfevents.*"))
    assert len(files) == 4
    assert all(b"ray/tune/test/distortion" in file.read_bytes() for file in files)
    assert not (home / "ray_results").exists()
