"""A pack to stored rows: what is stored is what was trained, whoever trains it; failures are rows."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from rdstudy import worker
from rdstudy.packs import Pack
from rdstudy.results.store import Store
from rdstudy.study import Evaluation, Member, Recipe
from rdstudy.training import train_unit

CPU = torch.device("cpu")
MEMBER = Member(
    dataset="tetrominoes",
    split="cv(97)",
    beta=0.5,
    seed=1,
    width=7,
    latent_dim=3,
    recipe=Recipe(steps=23, batch_size=11),
    evaluation=Evaluation(trajectory_points=3, trajectory_images=31, final_images=53),
)
MEMBERS = tuple(dataclasses.replace(MEMBER, beta=beta, seed=seed) for beta in (0.1, 1.0) for seed in (1, 2))


def store_of(path: Path, *packs: Pack) -> Store:
    store = Store.create(str(path))
    for pack in packs:
        for _ in worker.run_pack(pack, store, device=CPU, checkpoint_seconds=1e9):
            pass
    return store


def rows(store: Store, name: str) -> list[dict[str, Any]]:
    """All rows of a table, without the columns that differ from run to run."""
    table = store.read(name)
    kept = [column for column in table.column_names if column not in ("run_id", "wall_seconds", "finished_at")]
    return list(table.select(kept).to_pylist())


def test_tables_do_not_depend_on_packs_or_order(tmp_path):
    one = store_of(tmp_path / "one", Pack(MEMBERS))
    each = store_of(tmp_path / "each", *(Pack((member,)) for member in reversed(MEMBERS)))
    for table in ("members", "trajectories"):
        assert rows(one, table) == rows(each, table)
        assert rows(one, table)
    assert set(one.outcomes()) == {member.member_id for member in MEMBERS}


def test_progress_counts_members_and_ends_at_one(tmp_path):
    store = Store.create(str(tmp_path / "out"))
    seen = list(worker.run_pack(Pack(MEMBERS), store, device=CPU, checkpoint_seconds=1e9))
    shares = [progress.share for progress in seen]
    assert shares == sorted(shares)
    assert (seen[-1].members_done, seen[-1].members_not_ok, seen[-1].share) == (4, 0, 1.0)


def test_a_closed_pack_leaves_a_checkpoint_and_the_next_run_goes_on_from_it(tmp_path):
    undisturbed = store_of(tmp_path / "whole", Pack((MEMBER,)))
    store = Store.create(str(tmp_path / "out"))
    events = worker.run_pack(Pack((MEMBER,)), store, device=CPU, checkpoint_seconds=1e9)
    next(events)
    next(events)
    events.close()
    unit = Pack((MEMBER,)).pack_id
    assert store.checkpoint_names(unit)
    assert store.outcomes() == {}
    store_of(tmp_path / "out", Pack((MEMBER,)))
    assert rows(store, "members") == rows(undisturbed, "members")
    assert rows(store, "trajectories") == rows(undisturbed, "trajectories")
    assert store.checkpoint_names(unit) == []


def test_an_exception_is_a_row_with_its_reason_and_leaves_the_others_alone(tmp_path, monkeypatch, caplog):
    real = train_unit

    def breaks(unit, *args, **kwargs):
        if unit.members[0] == MEMBERS[1]:
            raise RuntimeError("a bug\nin two lines")
        return real(unit, *args, **kwargs)

    monkeypatch.setattr(worker, "train_unit", breaks)
    store = Store.create(str(tmp_path / "out"))
    *_, last = worker.run_pack(Pack(MEMBERS), store, device=CPU, checkpoint_seconds=1e9)
    assert (last.members_done, last.members_not_ok) == (4, 1)
    outcomes = store.outcomes()
    assert outcomes[MEMBERS[1].member_id] == "failed"
    assert sorted(outcomes.values()) == ["failed", "ok", "ok", "ok"]
    failed = [row for row in store.read("members").to_pylist() if row["outcome"] == "failed"]
    assert {row["reason"] for row in failed} == {"RuntimeError: a bug in two lines"}
    assert {row["beta"] for row in failed} == {MEMBERS[1].beta}
    assert "Traceback" in caplog.text


def test_rows_that_cannot_be_written_stop_the_run(tmp_path, monkeypatch):
    store = Store.create(str(tmp_path / "out"))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_run", full)
    with pytest.raises(OSError, match="No space left"):
        list(worker.run_pack(Pack((MEMBER,)), store, device=CPU, checkpoint_seconds=1e9))


def test_asking_for_a_gpu_where_there_is_none_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"resources.gpus is 0\.5, and PyTorch sees no GPU; allowed here: 0"):
        worker.find_device(0.5)
    assert worker.find_device(0).type == "cpu"
