"""The studies that come with the package: what they hold, and which part of the paper each experiment stands for."""

import itertools
import re
from pathlib import Path

import pytest

from rdstudy.planning.plan import make_plan
from rdstudy.run import load_study, main
from rdstudy.study import PAPER_BETAS

ROOT = Path(__file__).resolve().parents[2]

CELLS = {
    "dense-and-sparse": 2 * 3,
    "size-at-constant-volume": 8 * 3,
    "size-at-constant-density": 8 * 3,
    "in-and-out-of-sample": 3 * 3,
    "mlp-and-cnn": 2 * 2,
    "other-data-sets": 4 * 2,
    "other-data-sets-by-size": 4 * 5 * 2,
    "parts-of-the-rate": 3,
    "a-term-removed": 3 * 3,
    "early-stopping": 3,
    "log-marginal": 2 * 3,
    "memorization": 2 * 3,
}
# of the experiments in this order, those cells that no experiment before has
NEW_CELLS = (6, 21, 24, 3, 2, 8, 32, 0, 6, 0, 0, 0)


@pytest.fixture(scope="module")
def paper():
    return make_plan(load_study(str(ROOT / "studies" / "paper.py")), {})


def test_every_experiment_of_the_paper_is_twelve_betas_times_five_seeds(paper):
    assert {planned.experiment.name: planned.cells for planned in paper.experiments} == CELLS
    for planned in paper.experiments:
        assert len(planned.members) == planned.cells * 12 * 5
        assert {member.beta for member in planned.members} == set(PAPER_BETAS)
        assert {member.seed for member in planned.members} == set(range(5))


def test_shared_members_of_the_paper_are_counted_and_trained_once(paper):
    asked = sum(len(planned.members) for planned in paper.experiments)
    assert asked == sum(CELLS.values()) * 60 > len(paper.wanted)
    assert len(paper.wanted) == sum(NEW_CELLS) * 60 > 6_000
    trained = [member for pack in paper.packs for member in pack.members]
    assert len(trained) == len(set(trained)) == len(paper.wanted)


def test_every_figure_of_the_paper_is_one_experiment(paper):
    descriptions = [planned.experiment.description for planned in paper.experiments]
    figures = [int(number) for text in descriptions for number in re.findall(r"Figure (\d)", text)]
    assert figures == [3, 4, 4, 5, 6, 7, 8]  # 1 and 2, the data and the splits, are on every page
    assert all(("Figure" in text) + ("ppendix" in text) >= 1 for text in descriptions)


def test_the_paper_is_trained_as_the_paper_says(paper):
    recipe = paper.study.recipe
    assert (recipe.optimizer, recipe.learning_rate, recipe.batch_size, recipe.steps) == ("adam", 1e-3, 128, 257_000)
    assert {member.latent_dim for member in paper.wanted} == {10}
    assert {member.width for member in paper.wanted if member.architecture == "mlp"} == {512}
    assert {member.width for member in paper.wanted if member.architecture == "cnn"} == {64}
    tetrominoes = [m for m in paper.wanted if m.dataset == "tetrominoes" and m.architecture == "mlp"]
    assert {member.depth for member in tetrominoes} == {1, 2, 3}


def test_the_plan_of_the_paper_says_how_many(tmp_path, capsys):
    assert main([str(ROOT / "studies" / "paper.py"), "--plan", "--out", str(tmp_path / "none")]) == 0
    assert "6120 distinct members, 0 done, 6120 remaining" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["paper", "mini"])
def test_every_claim_links_to_a_figure_that_its_experiment_shows(name):
    study = load_study(str(ROOT / "studies" / f"{name}.py"))
    experiments = {experiment.name: experiment for experiment in study.experiments}
    assert len(study.claims) == 11
    for claim in study.claims:
        own = max((experiment for experiment in experiments if claim.figure.startswith(f"{experiment}-")), key=len)
        assert claim.figure.removeprefix(f"{own}-") in experiments[own].figures, claim.figure


def test_mini_asks_what_the_paper_asks_of_data_that_is_drawn_here():
    mini = make_plan(load_study(str(ROOT / "studies" / "mini.py")), {})
    assert {planned.experiment.name for planned in mini.experiments} == set(CELLS) - {"other-data-sets-by-size"}
    assert {member.dataset for member in mini.wanted} == {"tetrominoes", "tetrominoes-fixed"}
    assert len(mini.wanted) == 600


def test_the_study_of_priors_compares_each_pair_in_its_gap_of_the_elbo():
    plan = make_plan(load_study(str(ROOT / "studies" / "priors.py")), {})
    priors = list(dict.fromkeys(member.prior for member in plan.wanted))
    assert (len(plan.wanted), len(priors)) == (4 * 6 * 3, 4)
    gaps = [claim.contrasts[0] for claim in plan.study.claims if claim.contrasts[0].settings["value"] == "elbo_gap"]
    pairs = [tuple(arm["prior"] for arm in contrast.cells()) for contrast in gaps]
    assert pairs == list(itertools.combinations(priors, 2))
