"""No host, user, path, commit or command is in what is made for review, wherever the rows had it."""

import contextlib
import dataclasses
import io
import re

import pandas as pd
import pyarrow.parquet as pq
import pytest

from rdstudy.report.__main__ import main
from rdstudy.report.anonymous import WITHHELD, Veil
from rdstudy.report.read import read_study
from rdstudy.results import schema
from rdstudy.results.rows import new_run_id
from rdstudy.results.store import Store
from tests.report.conftest import COMMAND, Simulation, declaration

HOST, USER, COMMIT, PLACE = "gpu-node-17", "jdoe42", "deadbee1", "/home/jdoe42/vae/secret-project"
SECRETS = (HOST, USER, COMMIT, PLACE, "secret-project", "conflicted", COMMAND, "studies/simulated.py")
PLANTED = f"on {HOST} by {USER} in {PLACE}/run.py and file://{PLACE} at {COMMIT}, 0.1.0+{COMMIT}+"
SMALL = Simulation(depths=[1], betas=[0.1, 1.0], seeds=2, figures=["distortion", "learning", "log-marginal"])
"""Its figures are those of three kinds of rows."""
SETTINGS = {*schema.SETTINGS, "member_id", "run_id", "subset", "outcome", "measures_id"}


def plant(row):
    """The row with secrets in every column of text that a person does not write."""
    table = schema.MEASURES if "latent_samples" in row else schema.MEMBERS
    texts = {name: PLANTED for name in table.names if table.field(name).type == "string" and name not in SETTINGS}
    texts |= {"host": HOST, "code_version": f"0.1.0+{COMMIT}+", "reason": f"OSError: {PLANTED}"}
    texts["null_reasons"] = f"probe: {PLANTED} | other: OSError: disk of {USER} is full"
    return {**row, **{name: text for name, text in texts.items() if name in table.names}}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store whose rows, file names and declaration hold secrets wherever they may."""
    folder = tmp_path_factory.mktemp("store") / "home" / USER / "secret-project"
    outcomes = ["failed", "ok", "nonfinite", None]
    simulation = dataclasses.replace(SMALL, measured=True, seeds=3, outcomes=outcomes)
    store = simulation.write(folder)
    rows = {}
    for name in ("members", "measures", "trajectories"):
        (file,) = (folder / name).glob("*.parquet")
        rows[name] = pq.read_table(file).to_pylist()
        file.unlink()
    run = new_run_id()
    for name, table in rows.items():
        rows[name] = [{**(row if name == "trajectories" else plant(row)), "run_id": run} for row in table]
    store.rows.write_run(run, rows)
    own = f"{folder}/members/{run} ({HOST}'s conflicted copy).parquet"
    (folder / "members" / f"{new_run_id()}.parquet").write_bytes(b"PAR1 torn")
    (file,) = (path for path in (folder / "members").glob("*.parquet") if path.stem == run)
    (folder / own).write_bytes(file.read_bytes())
    again = declaration(simulation.study())
    again = dataclasses.replace(again, command=f"{COMMAND} --out {PLACE}", resources={"note": PLANTED}, seed=3)
    store.declarations.declare(dataclasses.replace(again, code_version=f"0.1.0+{COMMIT}"))
    store.declarations.declare(dataclasses.replace(again, code_version=f"0.1.0+{COMMIT}+"))
    return str(folder)


def secrets_in(folder):
    return {
        (path.name, secret)
        for path in folder.rglob("*")
        if path.is_file()
        for secret in SECRETS
        if secret.encode() in path.read_bytes() or secret in path.name
    }


def written(store, folder, *options):
    command = [store, "--out", str(folder / "page.html"), "--tables", str(folder / "t"), "--figures", str(folder / "f")]
    assert main([*command, "--style", "icml", "--figure", "depth-distortion", "--figure", "splits", *options]) == 0
    return folder


@pytest.fixture(scope="module")
def anonymous(store, tmp_path_factory):
    """The folder of what is made for review, and what the command said."""
    with contextlib.redirect_stderr(io.StringIO()) as said:
        return written(store, tmp_path_factory.mktemp("anonymous"), "--anonymous"), said.getvalue()


def test_secrets_are_in_what_is_made_and_not_in_what_is_made_for_review(store, anonymous, tmp_path):
    seen = {secret for _, secret in secrets_in(written(store, tmp_path / "open"))}
    assert seen == set(SECRETS)
    folder, said = anonymous
    assert not secrets_in(folder)
    assert said.startswith("anonymous: kept as the author wrote them, and to be looked at: ")
    assert said.count("\n") == 1


def test_what_the_author_wrote_and_all_numbers_stay(store, anonymous):
    folder, _ = anonymous
    page = (folder / "page.html").read_text()
    for phrase in ("A quick look at rate and distortion", "Does the generalization gap have a minimum", "code 1"):
        assert phrase in page
    assert "1 model failed" in page
    assert "OSError" in page
    rows = pd.read_csv(folder / "t" / "simulated-members.csv")
    stored = read_study(Store.open(store), "simulated").members
    pd.testing.assert_series_equal(rows["distortion"], stored["distortion"], check_exact=True)
    assert set(rows["host"]) == {"machine 1"}
    assert set(rows["code_version"]) == {"code 1"}
    assert set(rows["reason"].dropna()) == {"OSError"}


def test_two_studies_are_compared_in_the_dark(store, tmp_path):
    dataclasses.replace(SMALL, name="other").write(tmp_path / "results")
    command = [store, str(tmp_path / "results"), "--out", str(tmp_path / "out" / "page.html"), "--anonymous"]
    assert main([*command, "--tables", str(tmp_path / "out")]) == 0
    assert not secrets_in(tmp_path / "out")
    assert "code 2" in (tmp_path / "out" / "page.html").read_text()


def test_versions_and_machines_are_still_told_apart():
    veil = Veil()
    rows = pd.DataFrame({"host": ["b", "a", "b", None], "code_version": ["1+x", "2", None, "1+x"]})
    assert veil.table(rows)["host"].tolist()[:3] == ["machine 1", "machine 2", "machine 1"]
    assert veil.table(rows)["code_version"].tolist()[:2] == ["code 1", "code 2"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("no such file: /scratch/me/a.npz, 3 images", "no such file: withheld, 3 images"),
        ("C:\\Users\\me\\x is locked", "withheld is locked"),
        ("~/data/x and ../y/z.py and s3://bucket/key", "withheld and withheld and withheld"),
        ("studies/mine.py line 3", "withheld line 3"),
        ("500 images; allowed: 512", "500 images; allowed: 512"),
        ("nats/image, 1/2, test and/or train", "nats/image, 1/2, test and/or train"),
    ],
)
def test_paths_are_taken_out_of_texts(text, left):
    assert Veil().text(text) == left


@pytest.mark.parametrize(
    ("reason", "left"),
    [
        ("not finite at step 31", "not finite at step 31"),
        ("OutOfMemoryError: on gpu of bob", "OutOfMemoryError"),
        ("bob pulled the plug", WITHHELD),
    ],
)
def test_of_a_reason_only_what_the_program_says_is_kept(reason, left):
    (kept,) = Veil().table(pd.DataFrame({"reason": [reason]}))["reason"]
    assert kept == left


def test_the_folder_is_not_named_by_an_anonymous_page(tmp_path):
    dataclasses.replace(SMALL, damaged=True).write(tmp_path / "results")
    out = tmp_path / "page.html"
    assert main([str(tmp_path / "results"), "--out", str(out), "--anonymous"]) == 0
    assert not re.search(re.escape(str(tmp_path)), out.read_text())
    assert "A file cannot be read" in out.read_text()
