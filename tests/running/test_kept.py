"""Weights that are kept: measured only if they are the member's; whatever happened to a file, the rows are the same."""

import dataclasses
import io
import random
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

from rdstudy.model.weights import Header, WeightsError, from_bytes, from_old_bytes, to_bytes
from rdstudy.planning.packs import MeasuringPack, Pack
from rdstudy.results.store import Store
from rdstudy.running import kept, worker
from rdstudy.study import Measures, Resources
from tests.fuzz.damage import GARBAGE, fill_with_zeros, flip_bits
from tests.running.test_worker import CPU, MEMBER, rows

RESOURCES = Resources(checkpoint_seconds=1e9, keep_weights=True)
MEASURES = Measures(
    names=["rate_parts", "reconstructions"], aggregate_images=101, latent_samples=11, neighbour_images=53
)
OTHER = dataclasses.replace(MEMBER, beta=1.0)
WIDER = dataclasses.replace(MEMBER, width=11)
MEMBERS = (MEMBER, OTHER, WIDER)
TABLES = ("members", "trajectories", "measures", "reconstructions", "samples")


def run(store: Store, *packs: Pack | MeasuringPack, measures: Measures | None = None) -> int:
    """The members that are not ok at the end."""
    not_ok = 0
    for pack in packs:
        *_, last = worker.run_pack(pack, store, device=CPU, resources=RESOURCES, measures=measures)
        not_ok += last.members_not_ok
    return not_ok


def measuring(store: Store) -> list[MeasuringPack]:
    unmeasured = store.snapshot().unmeasured(MEASURES.measures_id)
    return [MeasuringPack((member,), (run_id,)) for member in MEMBERS if (run_id := unmeasured.get(member.member_id))]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three members, whose weights are kept and not yet measured."""
    path = tmp_path_factory.mktemp("trained") / "out"
    run(Store.create(str(path)), *(Pack((member,)) for member in MEMBERS))
    return path


@pytest.fixture(scope="module")
def undisturbed(trained, tmp_path_factory) -> dict[str, list]:
    path = tmp_path_factory.mktemp("undisturbed") / "out"
    shutil.copytree(trained, path)
    store = Store.open(str(path))
    assert run(store, *measuring(store), measures=MEASURES) == 0
    return tables(store)


def tables(store: Store) -> dict[str, list]:
    return {
        name: [{key: row[key] for key in row if key != "measure_seconds"} for row in rows(store, name)]
        for name in TABLES
    }


@pytest.fixture
def store(trained, tmp_path) -> Store:
    shutil.copytree(trained, tmp_path / "out")
    return Store.open(str(tmp_path / "out"))


def files(store: Store) -> dict[str, Path]:
    """Member id -> its file."""
    return {path.name[:16]: path for path in Path(store.location, "weights").iterdir()}


def exchange(first: Path, second: Path) -> None:
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def to_old(store: Store) -> None:
    """Weights as an earlier version kept them."""
    for path in files(store).values():
        buffer = io.BytesIO()
        torch.save(dict(from_bytes(path.read_bytes(), path="x").tensors), buffer)
        path.with_suffix(".bin").write_bytes(buffer.getvalue())
        path.unlink()


@pytest.mark.parametrize(("old", "other"), [(False, OTHER), (True, OTHER), (True, WIDER)])
def test_weights_that_were_exchanged_are_not_measured_as_those_of_the_other_member(
    store, undisturbed, caplog, old, other
):
    """A header says whose weights are; without one the numbers tell them apart, or the shapes."""
    if old:
        to_old(store)
    of_member, of_other = (files(store)[member.member_id] for member in (MEMBER, other))
    exchange(of_member, of_other)
    assert run(store, *measuring(store), measures=MEASURES) == 0
    assert tables(store) == undisturbed
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 2
    for member, path, line in zip((MEMBER, other), (of_member, of_other), said, strict=True):
        assert str(path) in line
        assert line.endswith(f": set aside as NAME.damaged, and member {member.member_id} trained again for it")
        assert path.with_name(f"{path.name}.damaged").exists()
        assert "\n" not in line
    assert store.snapshot().without_weights() == set()
    assert not list(Path(store.location).glob("checkpoints/*/*"))


def test_old_weights_that_are_whole_are_measured_without_training(store, undisturbed, caplog):
    to_old(store)
    assert run(store, *measuring(store), measures=MEASURES) == 0
    assert tables(store) == undisturbed
    assert caplog.text == ""


DAMAGES = {
    "nothing": lambda *_: b"",
    "garbage": lambda *_: GARBAGE,
    "truncated": lambda content, draw: content[: draw.randrange(len(content))],
    "the header cut": lambda content, draw: content[: draw.randrange(100)],
    "bits flipped": flip_bits,
    "bits of the header flipped": lambda content, draw: flip_bits(content[:700], draw) + content[700:],
    "zeros": fill_with_zeros,
    "a header that is too long": lambda content, _: b"\xff" * 8 + content[8:],
    "deep JSON": lambda *_: (90_000).to_bytes(8, "little") + b"[" * 90_000,
    "foreign": lambda *_: safetensors.torch.save({"weight": torch.zeros(3, 5)}),
    "foreign with a header": lambda *_: safetensors.torch.save({"a": torch.zeros(3)}, {"format": "pt"}),
    "one number more": lambda content, _: content + b"\x00",
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_happens_to_a_file_it_is_one_line_and_no_number(store, damage, seed):
    content = files(store)[MEMBER.member_id].read_bytes()
    damaged = DAMAGES[damage](content, random.Random(seed))
    if damaged == content:  # two bits turned twice
        return
    with pytest.raises(WeightsError, match=r"^here") as refused:
        from_bytes(damaged, path="here")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("damage", ["bits flipped", "foreign"])
def test_a_damaged_file_is_trained_again_to_the_same_rows(store, undisturbed, caplog, damage):
    path = files(store)[OTHER.member_id]
    before = from_bytes(path.read_bytes(), path="x").tensors
    path.write_bytes(DAMAGES[damage](path.read_bytes(), random.Random(7)))
    assert run(store, *measuring(store), measures=MEASURES) == 0
    assert tables(store) == undisturbed
    assert len(caplog.records) == 1
    again = from_bytes(path.read_bytes(), path="x").tensors
    assert all(torch.equal(again[name], value) for name, value in before.items())


@pytest.mark.parametrize("old", [False, True])
def test_a_run_that_is_killed_while_it_trains_again_is_done_again(store, undisturbed, old):
    if old:
        to_old(store)
    exchange(files(store)[MEMBER.member_id], files(store)[OTHER.member_id])
    for pack in measuring(store):
        events = worker.run_pack(pack, store, device=CPU, resources=RESOURCES, measures=MEASURES)
        next(events)
        events.close()
    assert run(store, *measuring(store), measures=MEASURES) == 0
    assert tables(store) == undisturbed
    assert not list(Path(store.location).glob("checkpoints/*/*"))
    assert not list(Path(store.location, "weights").glob(f"{MEMBER.member_id}*.bin"))


@pytest.mark.parametrize("seed", range(13))
def test_an_old_file_that_is_damaged_is_not_believed_unless_its_weights_are_whole(store, seed):
    """Some bytes between the parts of such a file mean nothing."""
    to_old(store)
    path = files(store)[OTHER.member_id]
    before = from_old_bytes(path.read_bytes(), path="x")
    draw = random.Random(seed)
    path.write_bytes(draw.choice([flip_bits, fill_with_zeros])(path.read_bytes(), draw))
    run_id = path.stem.removeprefix(f"{OTHER.member_id}-")
    file = store.blobs.read_weights(run_id, OTHER.member_id)
    assert file.is_old
    try:
        believed = kept.believed(file, OTHER, run_id, store, worker.load_subsets(OTHER))
    except WeightsError:
        return
    assert all(torch.equal(believed[name], value) for name, value in before.items())


def test_a_damaged_old_file_is_trained_again_too(store, undisturbed):
    to_old(store)
    path = files(store)[OTHER.member_id]
    path.write_bytes(fill_with_zeros(path.read_bytes(), random.Random(7)))
    assert run(store, *measuring(store), measures=MEASURES) == 0
    assert tables(store) == undisturbed
    assert path.with_name(f"{path.name}.damaged").exists()


def test_a_member_that_does_not_become_the_stored_one_again_is_named_and_not_measured(store, caplog, monkeypatch):
    files(store)[OTHER.member_id].write_bytes(GARBAGE)
    monkeypatch.setattr(kept, "_values", lambda _: object())  # as on another kind of processor: nothing agrees
    assert run(store, *measuring(store), measures=MEASURES) == 1
    assert f"member {OTHER.member_id} gets other numbers here than in run" in caplog.text
    measured = {row["member_id"] for row in rows(store, "measures")}
    assert measured == {MEMBER.member_id, WIDER.member_id}
    assert store.snapshot().unmeasured(MEASURES.measures_id) == {OTHER.member_id: None}
    assert not list(Path(store.location).glob("checkpoints/*/*"))


def test_pictures_are_those_of_the_prior_and_of_a_code_that_moves(undisturbed):
    of_member = [row for row in undisturbed["samples"] if row["member_id"] == MEMBER.member_id]
    prior = [row for row in of_member if row["kind"] == "prior"]
    traversal = [row for row in of_member if row["kind"] == "traversal"]
    assert [row["position"] for row in prior] == list(range(8))
    assert {(row["dimension"], row["value"]) for row in prior} == {(None, None)}
    assert [(row["dimension"], row["position"], row["value"]) for row in traversal] == [
        (dimension, at, at - 3.0) for dimension in range(MEMBER.latent_dim) for at in range(7)
    ]
    hard = next(row for row in undisturbed["reconstructions"] if row["member_id"] == MEMBER.member_id and row["hard"])
    for row in traversal:  # where nothing is moved there is the reconstruction
        assert row["measures_id"] == MEASURES.measures_id
        assert (row["pixels"] == hard["pixels"]) == (row["value"] == 0.0)
    assert all(len(row["pixels"]) == row["channels"] * row["height"] * row["width"] for row in of_member)
    assert len({row["pixels"] for row in prior}) == 8


def test_a_header_says_all_that_a_model_needs(store):
    read = from_bytes(files(store)[OTHER.member_id].read_bytes(), path="x")
    assert (read.header.member, read.header.member_id) == (OTHER, OTHER.member_id)
    assert read.header.image_shape == (3, 32, 32)
    assert read.header.torch_version == torch.__version__
    assert read.header.own_parts == {}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"member_id": "0" * 16}, "^here has settings that are not those of its member 0000000000000000$"),
        ({"numerics_version": 1}, "^here has settings that are not those of its member"),
    ],
)
def test_settings_that_are_not_those_of_the_id_are_refused(changed, message):
    header = Header.of(MEMBER, run_id="r", image_shape=(3, 32, 32), code_version="c")
    with pytest.raises(WeightsError, match=message):
        from_bytes(to_bytes({"x": torch.zeros(2)}, dataclasses.replace(header, **changed)), path="here")
