"""What was trained, in a person's own code: whole tables, ready models, and one line for whatever is wrong."""

import dataclasses
import io
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

import rdstudy
from rdstudy.model.weights import Header, from_bytes, to_bytes
from rdstudy.notebook import Results
from rdstudy.results import schema
from rdstudy.results.store import Store
from rdstudy.run import main
from rdstudy.study import sources
from tests.s3 import s3_uri, upload
from tests.test_run import MEASURES, ROOT, STUDY

KEPT = STUDY.replace("Measures(names=[])", MEASURES.replace('"log_marginal", "probe", ', "")).replace(
    "Resources()", "Resources(keep_weights=True)"
)
OTHER = (
    KEPT.replace('"tiny"', '"other"').replace('"beta": [0.1, 1]', '"beta": [1, 3]').replace("samples=11", "samples=13")
)
ROWS = np.random.default_rng(5).integers(0, 256, (5, 3, 32, 32), np.uint8)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Two studies that share two of their four members, and measure differently."""
    folder: Path = tmp_path_factory.mktemp("written")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, text in (("tiny", KEPT), ("other", OTHER)):
            Path(f"{name}.py").write_text(text)
            assert main([f"{name}.py", "--local", "--out", "results", "--no-report"]) == 0
    return folder / "results"


@pytest.fixture
def results(written, tmp_path, monkeypatch) -> Results:
    """Of a copy, which a test may damage."""
    shutil.copytree(written, tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return rdstudy.load("results")


def a_member(results: Results) -> str:
    return str(results.members["member_id"].iloc[0])


def weights_of(member_id: str) -> Path:
    (path,) = Path("results/weights").glob(f"{member_id}-*.safetensors")
    return path


def test_tables_have_one_row_a_member_and_subset_with_settings(results):
    assert len(results.members) == 6 * 2
    assert not results.members.duplicated(["member_id", "subset"]).any()
    for frame, key in (
        (results.measures, ["member_id", "subset"]),
        (results.trajectories, ["member_id", "subset", "step"]),
    ):
        assert not frame.duplicated(key).any()
        assert set(frame["member_id"]) == set(results.members["member_id"])
        joined = frame.merge(results.members, on=["member_id", "subset"], suffixes=("", "_of_member"))
        assert (joined["beta"] == joined["beta_of_member"]).all()
        assert set(schema.SETTINGS) <= set(frame.columns)
        assert frame["depth"].notna().all()
    assert len(results.trajectories) == 6 * 2 * 3


def test_every_column_is_explained(results):
    for table in ("members", "measures", "trajectories"):
        explained = results.columns.query("table == @table")
        assert list(explained["column"]) == list(getattr(results, table).columns)
        assert explained["meaning"].str.len().min() > 3


def test_a_study_has_its_members_and_its_measures_alone(results):
    tiny, other = (rdstudy.load("results", study=name) for name in ("tiny", "other"))
    assert (set(tiny.members["beta"]), set(other.members["beta"])) == ({0.1, 1}, {1, 3})
    for study, draws in ((tiny, 11), (other, 13)):
        assert len(study.measures) == 4 * 2
        assert set(study.measures["latent_samples"]) == {draws}
    shared = results.measures.query("beta == 1")  # measured as both ask: the later measuring counts
    assert set(shared["latent_samples"]) == {13}
    with pytest.raises(ValueError, match=r"^study is 'thesis'; allowed: other, tiny$"):
        rdstudy.load("results", study="thesis")
    stranger = other.members.query("beta == 3")["member_id"].iloc[0]
    with pytest.raises(ValueError, match=r"^no model in results"):
        tiny.model(stranger)


def test_of_two_versions_of_measures_the_newest_is_read_whenever_it_was_measured(results):
    row = results.measures.iloc[0]
    common = {"member_id": row["member_id"], "run_id": row["run_id"], "finished_at": datetime(2999, 1, 1, tzinfo=UTC)}
    older, newer = (
        [{**common, "subset": name, "measures_id": f"v{version}", "measures_version": version, "active_units": version}]
        for version, name in ((1, "train"), (99, "test"))
    )
    Store.open("results").rows.write_measured({"measures": older})
    unchanged = rdstudy.load("results").measures
    pd.testing.assert_frame_equal(unchanged, results.measures)
    Store.open("results").rows.write_measured({"measures": newer})
    now = rdstudy.load("results").measures.query("member_id == @row.member_id")
    assert now[["subset", "active_units"]].to_numpy().tolist() == [["test", 99]]  # never two measurings in one


def test_of_two_runs_of_a_member_one_is_read_and_its_weights(results):
    member_id = a_member(results)
    rows = [
        row for row in Store.open("results").snapshot().table("members").to_pylist() if row["member_id"] == member_id
    ]
    later = {"run_id": "f" * 32, "finished_at": datetime(2999, 1, 1, tzinfo=UTC), "distortion": 1.0}
    Store.open("results").rows.write_run("f" * 32, {"members": [row | later for row in rows]})
    again = rdstudy.load("results")
    pd.testing.assert_frame_equal(again.members, results.members)
    assert again.model(member_id).member.member_id == member_id


def test_a_model_encodes_decodes_and_reconstructs_as_it_was_measured(results):
    member_id = a_member(results)
    model = results.model(member_id)
    store = Store.open("results")
    stored = [row for row in store.snapshot().table("reconstructions").to_pylist() if row["member_id"] == member_id]
    near = {row["image"]: row for row in store.snapshot().table("neighbours").to_pylist() if row["pixels"]}
    for row in stored:
        shape = (1, row["channels"], row["height"], row["width"])
        image = torch.tensor(list(near[row["image"]]["pixels"]), dtype=torch.uint8).reshape(shape)
        made = model(image)
        assert made.shape == shape
        assert torch.equal((255 * made).round().flatten(), torch.tensor(list(row["pixels"]), dtype=torch.float32))
        assert torch.equal(model.reconstruct(image / 255), made)
    assert isinstance(model, torch.nn.Module)


def test_shapes_seeds_and_traversals(results):
    model = results.model(results.members.iloc[0])
    posterior = model.encode(ROWS)
    assert posterior.mean.shape == posterior.log_var.shape == (5, 3)
    assert model.decode(posterior.mean).shape == (5, 3, 32, 32)
    draws = model.sample(7, seed=1)
    assert draws.shape == (7, 3, 32, 32)
    assert 0 <= draws.min() <= draws.max() <= 1
    assert torch.equal(draws, model.sample(7, seed=1))
    assert not torch.equal(draws, model.sample(7, seed=2))
    moved = model.traverse(ROWS[:2], 1, [-1.0, 0.5, 2.0, posterior.mean[0, 1].item()])
    assert moved.shape == (2, 4, 3, 32, 32)
    torch.testing.assert_close(moved[0, 3], model.reconstruct(ROWS[:1])[0])
    code = posterior.mean[:1].clone()
    code[0, 1] = 0.5
    torch.testing.assert_close(moved[0, 1], model.decode(code)[0])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda model: model.encode(ROWS[0]), r"^the shape of the images is \[3, 32, 32\]; allowed: \[n, 3, 32, 32\]"),
        (lambda model: model.encode(ROWS[:, :, 1:]), r"^the shape of the images is .*; allowed: \[n, 3, 32, 32\]"),
        (lambda model: model.encode(ROWS.astype(np.int64)), r"^the type of the images is .*; allowed: floating"),
        (lambda model: model.encode(ROWS / 1.0), r"^the images go from 0 to 255; allowed: \[0, 1\]"),
        (lambda model: model.encode(np.full_like(ROWS, np.nan, dtype=float)), r"^the images go from nan to nan"),
        (lambda model: model.decode(torch.zeros(2, 5)), r"^the shape of z is \[2, 5\]; allowed: \[n, 3\]"),
        (lambda model: model.traverse(ROWS, 3, [0.0]), "^dimension is 3; allowed: 0 to 2"),
        (lambda model: model.traverse(ROWS, -1, [0.0]), "^dimension is -1; allowed: 0 to 2"),
    ],
)
def test_images_codes_and_dimensions_that_do_not_fit_are_refused(results, ask, message):
    with pytest.raises(ValueError, match=message):
        ask(results.model(results.members.iloc[0]))


def test_a_member_is_named_by_its_id_a_prefix_or_a_row(results):
    member_id = a_member(results)
    row = results.measures.query("member_id == @member_id").iloc[0]
    (named,) = results.trajectories.query("member_id == @member_id").head(1).itertuples()
    for given in (member_id, member_id[:12], row, dict(row), named):
        assert results.model(given).member.member_id == member_id


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("zz", "^no model in results with an id that begins with 'zz'; allowed: the id of one"),
        ("", "^6 models in results with an id that begins with '': .*; allowed: more digits of one"),
        ("../../etc", "^no model in results"),
        (7, "^member is 7; allowed: an id, its first digits, or a row that has a member_id"),
        (None, "^member is None"),
        ({"beta": 1}, "^member is "),
        (pd.Series({"beta": 1.0}), "^member is of type Series; "),
    ],
)
def test_what_names_no_member_is_one_line(results, given, message):
    with pytest.raises(ValueError, match=message) as refused:
        results.model(given)
    assert "\n" not in str(refused.value)


def refused(results: Results, member_id: str) -> str:
    with pytest.raises(ValueError, match=rf"python -m rdstudy.retrain results {member_id} --save$") as error:
        results.model(member_id)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_weights_that_are_not_kept_are_one_line_with_the_command(results):
    member_id = a_member(results)
    weights_of(member_id).unlink()
    assert refused(results, member_id).startswith(f"the weights of member {member_id} are not kept; to get them: ")


def test_weights_of_another_member_or_architecture_or_damaged_are_one_line(results):
    member_id = a_member(results)
    path = weights_of(member_id)
    content = path.read_bytes()
    kept = from_bytes(content, path="x")
    for other in set(results.members["member_id"]) - {member_id}:
        path.write_bytes(weights_of(other).read_bytes())
        assert f"holds the weights of member {other} of run" in refused(results, member_id)
    path.write_bytes(to_bytes({"encoder.1.weight": torch.zeros(2, 3)}, kept.header))
    assert "does not fit the network of its member" in refused(results, member_id)
    path.write_bytes(content[:-3])
    assert "is damaged" in refused(results, member_id)
    path.write_bytes(content)
    assert results.model(member_id).member.member_id == member_id


def as_old(path: Path, member_id: str) -> None:
    """Weights as an earlier version kept them, in the place of a member's."""
    buffer = io.BytesIO()
    torch.save(dict(from_bytes(path.read_bytes(), path="x").tensors), buffer)
    weights_of(member_id).with_suffix(".bin").write_bytes(buffer.getvalue())


def test_old_weights_are_read_where_they_give_the_numbers_of_their_row(results):
    member_id, other = results.members.query("subset == 'test' and depth == 1")["member_id"].iloc[:2]
    model, path = results.model(member_id), weights_of(member_id)
    for source in (other, member_id):
        as_old(weights_of(source), member_id)
        if source == other:
            kept = path.rename("aside")
            assert "gives other numbers than the row of member" in refused(results, member_id)
            kept.rename(path)
    path.unlink()
    assert torch.equal(results.model(member_id).reconstruct(ROWS), model.reconstruct(ROWS))


def test_a_member_that_has_no_weights_is_said_to_have_none(results):
    member_id = a_member(results)
    rows = [
        row for row in Store.open("results").snapshot().table("members").to_pylist() if row["member_id"] == member_id
    ]
    Path("results/members", f"{rows[0]['run_id']}.parquet").unlink()
    failed = [row | {"outcome": "failed", "reason": "a bug"} for row in rows]
    Store.open("results").rows.write_run(rows[0]["run_id"], {"members": failed})
    with pytest.raises(ValueError, match=rf"^member {member_id} is failed \(a bug\); allowed: one that is ok$"):
        rdstudy.load("results").model(member_id)


def test_a_damaged_table_leaves_out_its_run_and_no_more(results):
    member_id = a_member(results)
    Path("results/members", f"{results.members['run_id'].iloc[0]}.parquet").write_bytes(b"junk")
    again = rdstudy.load("results")
    for frame in (again.members, again.measures, again.trajectories):
        assert set(frame["member_id"]) == set(results.members["member_id"]) - {member_id}


def test_a_folder_that_is_no_results_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is no results folder"):
        rdstudy.load(tmp_path)


def test_one_file_is_enough_for_a_model(results, tmp_path):
    member_id = a_member(results)
    file = tmp_path / "from a colleague.safetensors"
    shutil.copyfile(weights_of(member_id), file)
    model = rdstudy.load_model(file)
    assert model.member.member_id == member_id
    assert torch.equal(model.sample(3, seed=5), results.model(member_id).sample(3, seed=5))


def test_a_file_of_somebody_else_is_one_line(tmp_path):
    for content in (b"", b"junk" * 99, safetensors.torch.save({"weight": torch.zeros(3)}, {"format": "pt"})):
        (tmp_path / "x.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.safetensors is damaged, or no file of weights of rdstudy$"):
            rdstudy.load_model(tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"^nowhere cannot be read: No such file"):
        rdstudy.load_model("nowhere")


OWN = b"""
from torch import nn

def Own(shape):
    return nn.Linear(shape.pixels, 2 * shape.latent_dim), nn.Linear(shape.latent_dim, shape.pixels)
"""


def test_a_file_made_of_a_users_own_part_says_which_and_runs_nothing(results, tmp_path, monkeypatch):
    source = sources.keep_source(sources.Source("nets.py", OWN))
    member = dataclasses.replace(results.model(a_member(results)).member, architecture=f"Own@{source.digest}")
    header = Header.of(member, run_id="r", image_shape=(1, 5, 7), code_version="c")
    assert header.own_parts == {f"Own@{source.digest}": "nets.py"}
    sizes = {"encoder": (6, 35), "decoder": (35, 3)}
    tensors = {f"{name}.weight": torch.ones(size) for name, size in sizes.items()}
    tensors |= {f"{name}.bias": torch.zeros(size[0]) for name, size in sizes.items()}
    file = tmp_path / "own.safetensors"
    file.write_bytes(to_bytes(tensors, header))
    assert rdstudy.load_model(file).sample(2, seed=0).shape == (2, 1, 5, 7)
    monkeypatch.delitem(sources._known, source.digest)
    sources.parsed.cache_clear()
    with pytest.raises(ValueError, match=r"own\.safetensors is made of Own@.*, which nets\.py defines; allowed: after"):
        rdstudy.load_model(file)


def test_tables_need_no_torch(results, run_python):
    code = "import sys, rdstudy; r = rdstudy.load('results'); r.measures, r.trajectories; print('torch' in sys.modules)"
    assert run_python(code) == "False"
    assert len(results.members)


def test_the_example_of_the_page_on_tables_runs(results):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "tables.md").read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    assert names["moved"].shape == (1, 3, 3, 32, 32)  # type: ignore[attr-defined]
    assert names["again"].shape == names["pictures"].shape == (8, 3, 32, 32)  # type: ignore[attr-defined]
    assert len(results.members)


def test_in_a_bucket_it_is_the_same(written, s3):
    uri = s3_uri(s3, "loaded")
    upload(written, uri)
    there, here = rdstudy.load(uri), rdstudy.load(written)
    for name in ("members", "measures", "trajectories"):
        pd.testing.assert_frame_equal(getattr(there, name), getattr(here, name))
    member_id = a_member(there)
    assert torch.equal(there.model(member_id).sample(3, seed=1), here.model(member_id).sample(3, seed=1))
