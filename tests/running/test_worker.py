"""A pack to stored rows: what is stored is what was trained, whoever trains it; failures are rows."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rdstudy.datasets import cache, own_dataset
from rdstudy.datasets.cache import FOLDER_VARIABLE
from rdstudy.planning.packs import Pack
from rdstudy.planning.placement import memory_of
from rdstudy.results.store import Store
from rdstudy.running import worker
from rdstudy.running.failures import PackError, ShareTooSmallError
from rdstudy.study import Evaluation, Member, Recipe, Resources
from rdstudy.training import loop, train_pack
from rdstudy.training.stacked import StackedTrainer

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


CHANGING = ("run_id", "wall_seconds", "finished_at", "peak_memory_bytes")


def store_of(path: Path, *packs: Pack) -> Store:
    store = Store.create(str(path))
    for pack in packs:
        for _ in worker.run_pack(pack, store, device=CPU, resources=Resources(checkpoint_seconds=1e9)):
            pass
    return store


def rows(store: Store, name: str) -> list[dict[str, Any]]:
    """All rows of a table, without the columns that differ from run to run."""
    table = store.snapshot().table(name)
    kept = [column for column in table.column_names if column not in CHANGING]
    return list(table.select(kept).to_pylist())


def test_tables_do_not_depend_on_packs_or_order(tmp_path):
    store = store_of(tmp_path / "one", Pack(MEMBERS))
    each = store_of(tmp_path / "each", *(Pack((member,)) for member in reversed(MEMBERS)))
    for table in ("members", "trajectories"):
        assert rows(store, table) == rows(each, table)
        assert rows(store, table)
    assert set(store.snapshot().outcomes()) == {member.member_id for member in MEMBERS}


def test_a_cells_images_carry_the_floor_of_its_likelihood():
    floors: dict[str, list[float]] = {}
    for name in ("bernoulli", "gaussian", "bernoulli"):
        member = dataclasses.replace(MEMBER, likelihood=name)
        floors.setdefault(name, []).append(worker.load_subsets(member).final["test"].floor)
    assert floors["bernoulli"][0] == floors["bernoulli"][1] > 0
    np.testing.assert_allclose(floors["gaussian"], 0.5 * 3 * 32 * 32 * np.log(2 * np.pi * 0.1**2))


def test_progress_counts_members_and_ends_at_one(tmp_path):
    store = Store.create(str(tmp_path / "out"))
    seen = list(worker.run_pack(Pack(MEMBERS), store, device=CPU, resources=Resources(checkpoint_seconds=1e9)))
    shares = [progress.share for progress in seen]
    assert shares == sorted(shares)
    assert (seen[-1].members_done, seen[-1].members_not_ok, seen[-1].share) == (4, 0, 1.0)


def test_a_closed_pack_leaves_a_checkpoint_and_the_next_run_goes_on_from_it(tmp_path):
    undisturbed = store_of(tmp_path / "whole", Pack((MEMBER,)))
    store = Store.create(str(tmp_path / "out"))
    events = worker.run_pack(Pack((MEMBER,)), store, device=CPU, resources=Resources(checkpoint_seconds=1e9))
    next(events)
    next(events)
    events.close()
    pack_id = Pack((MEMBER,)).pack_id
    assert store.blobs.checkpoint_names(pack_id)
    assert store.snapshot().outcomes() == {}
    store_of(tmp_path / "out", Pack((MEMBER,)))
    assert rows(store, "members") == rows(undisturbed, "members")
    assert rows(store, "trajectories") == rows(undisturbed, "trajectories")
    assert store.blobs.checkpoint_names(pack_id) == []


def test_an_exception_is_a_row_with_its_reason_and_leaves_the_others_alone(tmp_path, monkeypatch, caplog):
    real = train_pack

    def breaks(pack, *args, **kwargs):
        if pack.members[0] == MEMBERS[1]:
            raise RuntimeError("a bug\nin two lines")
        return real(pack, *args, **kwargs)

    monkeypatch.setattr(worker, "train_pack", breaks)
    store = Store.create(str(tmp_path / "out"))
    resources, pack_id = Resources(checkpoint_seconds=1e9), Pack(MEMBERS[1:2]).pack_id
    with pytest.raises(PackError, match="RuntimeError: a bug in two lines") as raised:
        list(worker.run_pack(Pack(MEMBERS), store, device=CPU, resources=resources))
    assert raised.value.pack_id == pack_id
    assert set(store.snapshot().outcomes()) == {MEMBERS[0].member_id}
    *_, last = worker.run_pack(Pack(MEMBERS), store, device=CPU, resources=resources, tried=[pack_id])
    assert (last.members_done, last.members_not_ok) == (4, 1)
    outcomes = store.snapshot().outcomes()
    assert outcomes[MEMBERS[1].member_id] == "failed"
    assert sorted(outcomes.values()) == ["failed", "ok", "ok", "ok"]
    failed = [row for row in store.snapshot().table("members").to_pylist() if row["outcome"] == "failed"]
    assert {row["reason"] for row in failed} == {"RuntimeError: a bug in two lines"}
    assert {row["beta"] for row in failed} == {MEMBERS[1].beta}
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("when", ["while it trains", "before it is stored"])
def test_images_that_change_under_a_pack_are_not_what_its_rows_are_made_of(tmp_path, monkeypatch, when):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "LARGEST_READ_BYTES", 0)  # mapped, as large files are
    images = np.random.default_rng(3).integers(0, 256, (211, 1, 5, 7), np.uint8)
    member = dataclasses.replace(MEMBER, dataset=own_dataset("faces", images), split="cv(97)")
    pack, resources = Pack((member,)), Resources(checkpoint_seconds=0)
    undisturbed = store_of(tmp_path / "undisturbed", pack)
    worker._load_subsets.cache_clear()
    store = Store.create(str(tmp_path / "out"))
    (path,) = (tmp_path / "cache").glob("own-*.npy")

    def damage() -> None:
        with path.open("r+b") as file:
            file.seek(200)
            file.write(bytes(5_000))

    if when == "before it is stored":
        real = loop.member_rows  # type: ignore[attr-defined]

        def damage_and_make(*arguments: Any, **options: Any) -> list[dict[str, Any]]:
            damage()
            return real(*arguments, **options)

        monkeypatch.setattr(loop, "member_rows", damage_and_make)
    events = worker.run_pack(pack, store, device=CPU, resources=resources)
    next(events)
    if when == "while it trains":
        damage()
    with pytest.raises(PackError, match=f"{path.name} was changed while its images were in use"):
        list(events)
    assert store.snapshot().outcomes() == {}
    assert store.blobs.checkpoint_names(pack.pack_id) == []
    monkeypatch.undo()
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    own_dataset("faces", images)
    list(worker.run_pack(pack, store, device=CPU, resources=resources, tried=[pack.pack_id]))
    assert rows(store, "members") == rows(undisturbed, "members")
    assert rows(store, "trajectories") == rows(undisturbed, "trajectories")


def test_small_images_are_read_and_what_happens_to_their_file_later_is_not_seen(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    images = np.random.default_rng(3).integers(0, 256, (211, 1, 5, 7), np.uint8)
    pack = Pack((dataclasses.replace(MEMBER, dataset=own_dataset("faces", images), split="cv(97)"),))
    undisturbed = store_of(tmp_path / "undisturbed", pack)
    worker._load_subsets.cache_clear()
    store = Store.create(str(tmp_path / "out"))
    events = worker.run_pack(pack, store, device=CPU, resources=Resources(checkpoint_seconds=0))
    next(events)
    (path,) = (tmp_path / "cache").glob("own-*.npy")
    path.write_bytes(path.read_bytes()[:200])  # a mapping of it would end this process
    list(events)
    assert rows(store, "members") == rows(undisturbed, "members")


class SmallDevice:
    """Trains all of a pack at once, and runs out of memory with more than `most` members: at once, or after a while."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, most: int, error: Exception | None = None, late: bool = True
    ):
        self.most, self.late = most, late
        self.error = error or torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 7 MiB")
        self.tried: list[tuple[Member, ...]] = []
        monkeypatch.setattr(worker, "packs_on", lambda pack, _: (pack,))
        monkeypatch.setattr(worker, "train_pack", self._train_pack)

    def _train_pack(self, pack, subsets, **settings):
        self.tried.append(pack.members)
        for number, event in enumerate(
            train_pack(pack, subsets, **{**settings, "resources": Resources(checkpoint_seconds=0.0)})
        ):
            if len(pack.members) > self.most and number >= 2 * self.late:
                raise self.error
            yield event


def everything(store: Store, *packs: Pack, tried: Sequence[str] = ()) -> list[Any]:
    resources = Resources(checkpoint_seconds=1e9)
    return [
        event for pack in packs for event in worker.run_pack(pack, store, device=CPU, resources=resources, tried=tried)
    ]


FIVE = (*MEMBERS, dataclasses.replace(MEMBER, beta=3.0))


@pytest.mark.parametrize(("most", "late"), [(1, False), (2, True)])
def test_a_pack_that_runs_out_of_memory_is_halved_until_it_fits(tmp_path, monkeypatch, caplog, most, late):
    """A pack that does not fit at its start, or later. Its rows are those of packs that fit: of one or two members."""
    device = SmallDevice(monkeypatch, most=most, late=late)
    store = Store.create(str(tmp_path / "out"))
    seen = everything(store, Pack(FIVE))
    sizes = {1: [5, 3, 2, 1, 1, 1, 2, 1, 1], 2: [5, 3, 2, 1, 2]}
    assert [len(members) for members in device.tried] == sizes[most]
    shares = [progress.share for progress in seen]
    assert shares == sorted(shares)
    assert (seen[-1].members_done, seen[-1].members_not_ok, seen[-1].share) == (5, 0, 1.0)
    assert "pack of 5 members ran out of memory: begun again as 3 and 2 members" in caplog.text
    assert not list((tmp_path / "out").glob("checkpoints/*/*"))
    fitting = [Pack(members) for members in device.tried if len(members) <= most]
    undisturbed = Store.create(str(tmp_path / "undisturbed"))
    everything(undisturbed, *fitting)
    for table in ("members", "trajectories"):
        assert rows(store, table) == rows(undisturbed, table)
    assert {row["member_id"] for row in rows(store, "members")} == {member.member_id for member in FIVE}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), "OutOfMemoryError: CUDA out of memory"),
        (RuntimeError("CUDA error: Out Of Memory"), "RuntimeError: CUDA error: Out Of Memory"),
    ],
)
def test_a_member_too_large_for_the_device_is_a_failed_row(tmp_path, monkeypatch, error, reason):
    SmallDevice(monkeypatch, most=0, error=error)
    store = Store.create(str(tmp_path / "out"))
    *_, last = everything(store, Pack(MEMBERS))
    assert (last.members_done, last.members_not_ok, last.share) == (4, 4, 1.0)
    assert {(row["outcome"], row["reason"]) for row in rows(store, "members")} == {("failed", reason)}
    assert {row["peak_memory_bytes"] > 0 for row in store.snapshot().table("members").to_pylist()} == {True}


def test_another_error_in_a_pack_is_not_halved(tmp_path, monkeypatch):
    device = SmallDevice(monkeypatch, most=0, error=RuntimeError("a bug"))
    store = Store.create(str(tmp_path / "out"))
    with pytest.raises(PackError):
        everything(store, Pack(MEMBERS))
    assert store.snapshot().outcomes() == {}
    everything(store, Pack(MEMBERS), tried=[Pack(MEMBERS).pack_id])
    assert len(device.tried) == 2
    assert set(store.snapshot().outcomes().values()) == {"failed"}


def test_a_share_that_can_grow_is_not_halved_but_told(tmp_path, monkeypatch):
    device = SmallDevice(monkeypatch, most=2)
    store = Store.create(str(tmp_path / "out"))
    with pytest.raises(ShareTooSmallError):
        list(worker.run_pack(Pack(MEMBERS), store, device=CPU, resources=Resources(), can_grow=True))
    assert device.tried == [MEMBERS]
    assert store.snapshot().outcomes() == {}


@pytest.mark.parametrize("stored", [1, 2])
def test_a_half_that_is_stored_is_not_trained_again(tmp_path, monkeypatch, stored):
    device = SmallDevice(monkeypatch, most=2)
    store = Store.create(str(tmp_path / "out"))
    events = worker.run_pack(Pack(MEMBERS), store, device=CPU, resources=Resources(checkpoint_seconds=1e9))
    for progress in events:  # until a trial's process dies
        if progress.members_done == 2 * stored and progress.share > 0.5 * stored - 1e-9:
            break
    events.close()
    device.tried.clear()
    again = everything(store, Pack(MEMBERS))
    assert device.tried == ([MEMBERS[2:]] if stored == 1 else [])
    assert [event.share for event in again] == sorted(event.share for event in again)
    assert not again or again[-1].share == 1.0
    files = list((tmp_path / "out" / "members").iterdir())
    assert len(files) == 2


def test_memory_is_given_back_between_halves_on_a_gpu(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("emptied"))
    worker._release(CPU)
    assert calls == []
    worker._release(torch.device("cuda"))
    assert calls == ["emptied"]


def test_memory_is_given_back_before_each_pack_that_starts(tmp_path, monkeypatch):
    """A process trains one pack after the other: before the first of a second call too."""
    calls: list[str] = []
    monkeypatch.setattr(worker, "_release", lambda _: calls.append("released"))
    store = Store.create(str(tmp_path / "out"))
    everything(store, Pack(MEMBERS[:1]), Pack(MEMBERS[1:2]))
    assert calls == ["released"] * 2


def test_a_pack_for_which_a_gpu_has_no_room_is_halved_before_it_starts(tmp_path, monkeypatch):
    needed = [memory_of(Pack(FIVE[:count]), Resources()).peak for count in range(1, 6)]
    device = SmallDevice(monkeypatch, most=5)
    check = worker._check_free
    gpu: Any = SimpleNamespace(type="cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (needed[2], 10 * needed[4]))
    monkeypatch.setattr(worker, "_check_free", lambda pack, _, resources: check(pack, gpu, resources))
    everything(Store.create(str(tmp_path / "out")), Pack(FIVE))
    assert [len(members) for members in device.tried] == [3, 2], "five of them were never begun"
    with pytest.raises(torch.cuda.OutOfMemoryError, match=r"5 members need about .* of the GPU's .* GiB are free"):
        check(Pack(FIVE), gpu, Resources())
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, 1))
    check(Pack(FIVE[:1]), gpu, Resources())  # there is nothing smaller: it may try


def test_the_bound_of_a_measurement_reaches_the_trainer(tmp_path, monkeypatch):
    bounds = []

    class Spy(StackedTrainer):
        def __init__(self, *args, evaluation_bytes, **settings):
            bounds.append(evaluation_bytes)
            super().__init__(*args, evaluation_bytes=evaluation_bytes, **settings)

    monkeypatch.setattr(worker, "packs_on", lambda pack, _: (pack,))
    monkeypatch.setattr(loop, "StackedTrainer", Spy)
    store = Store.create(str(tmp_path / "out"))
    list(
        worker.run_pack(
            Pack(MEMBERS),
            store,
            device=CPU,
            resources=Resources(checkpoint_seconds=1e9, evaluation_memory_gib=(1009.0) / 2**30),
        )
    )
    list(worker.run_pack(Pack(FIVE), store, device=CPU, resources=Resources(checkpoint_seconds=1e9)))
    assert bounds == [1009.0]  # one member of five was left, and is trained alone


def test_rows_that_cannot_be_written_stop_the_run(tmp_path, monkeypatch):
    store = Store.create(str(tmp_path / "out"))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.rows, "write_run", full)
    with pytest.raises(OSError, match="No space left"):
        list(worker.run_pack(Pack((MEMBER,)), store, device=CPU, resources=Resources(checkpoint_seconds=1e9)))


def test_asking_for_a_gpu_where_there_is_none_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"resources.gpus is 0\.5, and PyTorch sees no GPU; allowed here: 0"):
        worker.find_device(0.5)
    assert worker.find_device(0).type == "cpu"
    with pytest.raises(ValueError, match=r"resources.gpus is auto, and PyTorch sees no GPU; allowed here: 0"):
        worker.find_device("auto")


@pytest.mark.parametrize(("gpus", "fractions"), [(0.25, [0.25]), (1.0, [1.0]), ("auto", []), (0, [])])
def test_a_share_of_a_gpu_is_a_bound_on_memory(monkeypatch, gpus, fractions):
    held: list[float] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", held.append)
    assert worker.find_device(gpus).type == ("cuda" if gpus else "cpu")
    assert held == fractions
