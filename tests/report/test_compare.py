"""Two studies side by side: what differs, which pairs are behind it, and one page of both."""

import dataclasses
import html
import json
import math
import re

import numpy as np
import pandas as pd
import pytest

from rdstudy.report.__main__ import main
from rdstudy.report.compare import Pair, page_of_pair, side_by_side
from rdstudy.report.differences import MEASURES, Match, apart, comparison_of, differences, unequal_numbers
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.page import render
from rdstudy.study.claims import Claim, interior_minimum
from tests.report.conftest import Simulation


@pytest.fixture
def studies(simulate):
    """The tables of simulated studies."""

    def make(*simulations):
        return [simulate(simulation) for simulation in simulations]

    return make


def moved(study, by, *, seeds=(0, 1, 2, 3, 4)):
    """The study with test distortions that are larger by a number for each seed."""
    shifts = study.members["seed"].map(dict(zip(seeds, by, strict=False))).fillna(0.0)
    test = study.members["subset"] == "test"
    return dataclasses.replace(
        study, members=study.members.assign(distortion=study.members["distortion"] + shifts.where(test, 0.0))
    )


def test_differences_are_means_over_pairs_of_seeds_with_students_interval(studies):
    (a,) = studies(Simulation(seeds=3))
    shifts = np.array([1.0, 2.5, 4.0])
    table = differences(a, moved(a, shifts))
    assert len(table) == 2 * 5
    assert set(table["pairs"]) == {3}
    half = 4.302653 * shifts.std(ddof=1) / math.sqrt(3)  # the 97.5 % quantile of Student's t, 2 degrees of freedom
    low, high = shifts.mean() - half, shifts.mean() + half
    for name in ("D test", "gap"):
        assert table[name].to_numpy() == pytest.approx(shifts.mean())
        assert table[f"{name} low"].to_numpy() == pytest.approx(low)
        assert table[f"{name} high"].to_numpy() == pytest.approx(high)
    for name in ("D train", "R test", "R train"):
        assert (table[[name, f"{name} low", f"{name} high"]] == 0).all(axis=None)


def test_seeds_that_only_one_has_are_in_no_pair(studies):
    a, b = studies(Simulation(seeds=3), Simulation(seeds=2, outcomes=["ok", "failed"]))
    table = differences(a, moved(b, [1.0, 1.0]))
    first = (table["depth"] == 1) & (table["beta"] == 0.001)
    assert table.loc[first, "pairs"].tolist() == [1]
    assert table.loc[first, "D test"].tolist() == pytest.approx([1.0])
    assert table.loc[first, "D test low"].isna().all()
    assert set(table.loc[~first, "pairs"]) == {2}


def test_without_a_pair_means_are_compared_without_an_interval(studies):
    (a,) = studies(Simulation(seeds=3))
    b = dataclasses.replace(a, planned=a.planned.assign(seed=a.planned["seed"] + 7))
    table = differences(a, moved(b, [3.0, 3.0, 3.0]))
    assert set(table["pairs"]) == {0}
    assert table["D test"].to_numpy() == pytest.approx(3.0)
    assert table["D test low"].isna().all()
    assert "Without a pair" in comparison_of(a, b, studies=("a", "b")).note


def test_a_setting_that_is_another_in_all_of_one_study_is_no_reason_not_to_compare(studies):
    a, b = studies(Simulation(seeds=2), Simulation(seeds=2, levels={"batch_size": [64], "steps": [500]}))
    match = Match.of(a.planned, b.planned)
    assert match.aside == ("batch_size", "steps")
    assert len(differences(a, b)) == 10
    rows = [[entry.text for entry in row] for row in comparison_of(a, b, studies=("a", "b")).settings.rows]
    assert ["factor", "batch size", "batches of 128", "batches of 64"] in rows
    assert ["factor", "steps", "9,973 steps", "500 steps"] in rows
    assert not any(row[0] == "made with" for row in rows)


@pytest.mark.parametrize("levels", [{"likelihood": ["gaussian(sigma=0.1)"]}, {"datasets": ["mnist"]}])
def test_distortions_of_two_likelihoods_or_data_sets_are_not_compared(studies, levels):
    own = {name: level for name, level in levels.items() if name == "datasets"}
    further = {name: level for name, level in levels.items() if name != "datasets"}
    a, b = studies(Simulation(seeds=1), Simulation(seeds=1, levels=further, **own))
    assert differences(a, b).empty
    assert "nothing to compare" in comparison_of(a, b, studies=("a", "b")).note


def test_what_only_one_has_is_named(studies):
    a, b = studies(Simulation(depths=(1, 3), betas=(0.1, 1.0)), Simulation(depths=(1, 5), betas=(0.1, 1.0, 3.0)))
    assert apart(a, b) == [
        "Only in A: 3 layers.",
        "Only in B: 5 layers.",
        "Only in B, in cells that both have: β = 3.",
    ]
    assert set(differences(a, b)["depth"]) == {1}


def test_equal_ids_with_unequal_numbers_are_flagged_with_both_versions(studies):
    a, b = studies(Simulation(seeds=2), Simulation(seeds=2, versions=["0.2.0+def5678"]))
    assert unequal_numbers(a, b) == ""
    said = unequal_numbers(a, moved(b, [0.125]))
    assert said.startswith("10 models with the same id in A and B")
    assert "by up to 0.12 nats" in said or "by up to 0.13 nats" in said
    assert "A: numerics version 1, code version 0.1.0+abc1234" in said
    assert "B: numerics version 1, code version 0.2.0+def5678" in said


def test_another_outcome_of_an_equal_id_is_flagged(studies):
    a, b = studies(Simulation(seeds=1), Simulation(seeds=1, outcomes=["failed"]))
    assert unequal_numbers(a, b).startswith("1 model with the same id")


def test_cells_of_both_stand_beside_each_other_and_share_their_axes(studies):
    a, b = studies(Simulation(measured=True), Simulation(measured=True, levels={"batch_size": [64]}))
    both = side_by_side(Pair(a, b))
    tables = ExperimentTables.of(both, both.experiments[0])
    panels = tables.planned.drop_duplicates("cell").sort_values("cell")["panel"].tolist()
    assert panels == ["A: 1 layer", "B: 1 layer", "A: 3 layers", "B: 3 layers"]
    assert len(tables.planned) == len(tables.rows) / 2 == 60
    assert tables.rows["member_id"].str[:2].isin(["A:", "B:"]).all()


def test_the_same_study_twice_doubles_no_row(studies):
    a, b = studies(Simulation(measured=True), Simulation(measured=True))
    both = side_by_side(Pair(a, b))
    points = ExperimentTables.of(both, both.experiments[0]).points
    assert len(points) == 2 * 2 * 5 * 2
    assert set(points["models"]) == {3}
    assert len(both.examples) == len(a.examples)


def test_experiments_of_one_name_or_alone_on_each_side_are_one_section(studies):
    (a,) = studies(Simulation(seeds=1))
    other = dataclasses.replace(a.experiments[0], name="other")
    both = side_by_side(Pair(a, dataclasses.replace(a, experiments=(other,))))
    assert [(each.name, len(each.member_ids)) for each in both.experiments] == [("depth", 20)]
    third = dataclasses.replace(other, name="third")
    both = side_by_side(Pair(a, dataclasses.replace(a, experiments=(other, third))))
    assert [(each.name, len(each.member_ids)) for each in both.experiments] == [
        ("depth", 10),
        ("other", 10),
        ("third", 10),
    ]


def test_a_cell_that_is_all_there_is_has_a_name(studies):
    a, b = studies(Simulation(depths=(1,), seeds=1), Simulation(depths=(1,), seeds=1))
    both = side_by_side(Pair(a, b))
    panels = ExperimentTables.of(both, both.experiments[0]).planned["panel"].unique().tolist()
    assert panels == ["A: MLP, 1 layer", "B: MLP, 1 layer"]


def test_sizes_of_splits_are_grouped_study_by_study(studies):
    sizes = ("cv(8192)", "cv(16384)", "cv(32768)")
    simulation = Simulation(seeds=1, depths=(1,), splits=sizes, figures=["sizes-distortion"])
    a, b = studies(simulation, simulation)
    text = render(page_of_pair(Pair(a, b)))
    assert '"constant volume, A"' in text
    assert "depth-sizes-distortion" in text


def test_the_page_says_what_differs_and_keeps_the_claims_of_each(studies):
    simulation = Simulation(seeds=3, figures=["distortion"])
    a, b = studies(simulation, dataclasses.replace(simulation, outcomes=[None]))
    claim = Claim("minimum", "A minimum exists.", "", [interior_minimum({"depth": 1})], "depth-distortion")
    pair = Pair(dataclasses.replace(a, claims=(claim,)), moved(b, [1.0, 2.0, 4.0]), ("last month", "today"))
    pair = dataclasses.replace(pair, b=dataclasses.replace(pair.b, claims=(claim,)))
    page = page_of_pair(pair)
    text = html.unescape(render(page))
    for phrase in (
        "What differs",
        "A: A quick look at rate and distortion (study simulated in last month), 30 of 30 models trained.",
        "B: A quick look at rate and distortion (study simulated in today), 29 of 30 models trained.",
        "models with the same id in A and B",
        "B: 1 model of 30 not trained yet",
        "All settings and versions are the same.",
        "A: 1 layer: the lowest mean test distortion",
    ):
        assert phrase in text, phrase
    assert page.findings is not None
    assert [entry.sentence for entry in page.findings.entries] == ["A: A minimum exists.", "B: A minimum exists."]
    assert len(set(re.findall(r'id="finding-([^"]*)"', text))) == 2
    assert page.findings.summary.count("nothing is corrected") == 1


def test_the_command_compares_two_folders_or_two_studies_of_one(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = Simulation(depths=[1], betas=[0.1, 1.0, 3.0], seeds=1, figures=["distortion"])
    for folder, name in (("a", "simulated"), ("b", "simulated"), ("a", "other")):
        dataclasses.replace(small, name=name).write(tmp_path / folder)
    assert main(["a", "b", "--study", "simulated", "--tables", "t"]) == 0
    names = capsys.readouterr().out.split()
    assert "t/A-simulated-members.csv" in names
    assert "t/B-simulated-declaration.json" in names
    table = pd.read_csv("t/simulated-and-simulated-differences.csv")
    assert len(table) == 3
    assert (table[list(MEASURES)] == 0).all(axis=None)
    assert main(["a", "a", "--study", "simulated", "--study", "other"]) == 0
    assert capsys.readouterr().out == "reports/simulated-and-other.html\n"
    assert main(["a", "b", "--study", "simulated", "--figures", "f", "--format", "json", "--figure", "splits"]) == 0
    assert json.loads((tmp_path / "f" / "simulated-and-simulated-splits.json").read_text())["concat"]
