"""What experiment trackers see of a pack: means of D, R and ELBO, while it trains and at its end."""

import math

import pytest
import torch

from rdstudy.planning.packs import Pack
from rdstudy.results.store import Store
from rdstudy.running import worker
from rdstudy.running.tracked import PackValues
from rdstudy.study import Resources
from rdstudy.training.trainer import Measured
from tests.running.test_worker import CPU, MEMBER, MEMBERS


def test_means_are_over_the_members_that_are_finite():
    values = PackValues()
    assert values.means() == {}
    values.measured(MEMBERS[:2], {"train": Measured((10.0, math.nan), (1.0, 3.0))})
    assert values.means() == {"train/distortion": 10.0, "train/rate": 1.0, "train/elbo": -11.0}
    values.measured(MEMBERS[2:3], {"train": Measured((20.0,), (5.0,)), "test": Measured((7.0,), (2.0,))})
    assert values.means() == {
        "train/distortion": 15.0,
        "train/rate": 3.0,
        "train/elbo": -18.0,
        "test/distortion": 7.0,
        "test/rate": 2.0,
        "test/elbo": -9.0,
    }
    values.finished([{"subset": "test", "member_id": MEMBERS[2].member_id, "outcome": "failed"}])
    assert "test/distortion" not in values.means(), "a value from before a failure is no value of the end"


@pytest.mark.parametrize("members", [(MEMBER,), MEMBERS], ids=["one", "pack"])
def test_a_pack_ends_with_the_values_of_its_rows_and_says_some_before(tmp_path, members):
    store = Store.create(str(tmp_path / "out"))
    events = list(worker.run_pack(Pack(tuple(members)), store, device=CPU, resources=Resources(checkpoint_seconds=1e9)))
    rows = store.snapshot().table("members").to_pylist()
    for subset in ("train", "test"):
        for name in ("distortion", "rate", "elbo"):
            stored = [row[name] for row in rows if row["subset"] == subset]
            assert len(stored) == len(members)
            assert events[-1].values[f"{subset}/{name}"] == pytest.approx(sum(stored) / len(stored), rel=1e-12)
    running = [event.values for event in events[:-1] if event.values]
    assert running
    assert running[0] != events[-1].values


def test_members_that_are_trained_at_once_say_their_mean(tmp_path, monkeypatch):
    """As on a GPU: a stacked pack."""
    monkeypatch.setattr(worker, "packs_on", lambda pack, _: (pack,))
    store = Store.create(str(tmp_path / "out"))
    *before, last = worker.run_pack(Pack(MEMBERS), store, device=torch.device("cpu"), resources=Resources())
    rows = [row for row in store.snapshot().table("members").to_pylist() if row["subset"] == "test"]
    assert last.values["test/rate"] == pytest.approx(sum(row["rate"] for row in rows) / len(MEMBERS), rel=1e-12)
    assert any("test/rate" in event.values for event in before)
