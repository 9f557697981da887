"""The paper's claims over whole tables: all supported where the paper is right, each contradicted where it is not."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rdstudy.findings.judge import judge
from rdstudy.findings.values import Values
from rdstudy.planning.plan import declaration, make_plan
from rdstudy.report.read import _planned
from rdstudy.results.declaration import Declaration
from rdstudy.run import load_study
from rdstudy.study.claims.paper import Grid, paper_claims
from tests.findings.simulated import paper_distances, paper_rows

ROOT = Path(__file__).resolve().parents[2]
NAMES = (
    "dense-data",
    "sparse-shallow",
    "early-stopping",
    "sparse-deep",
    "copies",
    "training-set-size",
    "checkerboard",
    "convolutions",
    "other-data-sets",
    "parts-of-the-rate",
    "a-term-removed",
)


@functools.cache
def declaration_of(name):
    """The declaration of one of the studies that come with the package."""
    return declaration(make_plan(load_study(str(ROOT / "studies" / f"{name}.py")), {}), "command")


@pytest.fixture(scope="module")
def declared():
    """The paper's study as a report reads it: what a store keeps of it is JSON."""
    kept = Declaration.from_json(declaration_of("paper").after(None, at="now").to_json(), path="paper.json")
    return _planned(kept.members), kept.claims


@pytest.fixture(scope="module")
def tables(declared):
    """Planned members, rows of members, rows of measures and neighbours."""
    rng = np.random.default_rng(3)
    return (declared[0], *paper_rows(declared[0], rng), paper_distances(rng))


def verdicts(claims, *tables):
    return {finding.claim.name: finding for finding in judge(claims, Values.of(*tables))}


def test_the_paper_claims_eleven_things_and_is_right_where_it_is(declared, tables):
    findings = verdicts(declared[1], *tables)
    assert tuple(findings) == NAMES
    assert {name: finding.verdict for name, finding in findings.items()} == dict.fromkeys(NAMES, "supported")
    assert all(finding.behind.models >= 60 for finding in findings.values())
    assert findings["dense-data"].behind.models == 2 * 2 * 60
    assert findings["training-set-size"].behind.models == 2 * 3 * 60


@pytest.mark.parametrize(("name", "models"), [("paper", 12 * 5), ("mini", 5 * 5)])
def test_every_arm_of_a_claim_is_one_cell_of_its_study(name, models):
    """A claim about models that the study lacks would be short of models for ever."""
    study = declaration_of(name)
    planned = _planned(study.members)
    arms = [arm for claim in study.claims for arm in arms_of(claim)]
    assert len(arms) > 50
    for arm in arms:
        chosen = planned[np.logical_and.reduce([planned[factor] == level for factor, level in arm.items()])]
        assert len(chosen) == len(chosen.drop_duplicates(["beta", "seed"])) == models, arm


def arms_of(claim):
    """The arms of all contrasts about curves, each with all its splits."""
    for contrast in [*claim.contrasts, *(part for outer in claim.contrasts for part in outer.parts)]:
        yield from contrast.arms.values() if contrast.kind != "distances_alike" else []


Change = Callable[[pd.DataFrame, pd.DataFrame, pd.DataFrame], None]
"""Changes rows of members (merged with their factors), of measures, and neighbours, in place."""


def where(rows, **levels):
    return np.logical_and.reduce([rows[name] == level for name, level in levels.items()])


def add(name: str, amount, **levels) -> Change:
    """Add to a column of members or measures, for the rows with these levels; `amount` may be a function of log10 β."""

    def change(members, measures, _):
        for table in (members, measures):
            if name in table:
                chosen = where(table, **levels)
                decade = np.log10(table.loc[chosen, "beta"])
                table.loc[chosen, name] += amount(decade) if callable(amount) else amount

    return change


def move_board(_, __, neighbours):
    neighbours.loc[neighbours["split"] == "checkerboard", "distance"] -= 1.9


def sizes_alone(declared, sd, study):
    """The finding about training set sizes of tables in the paper's pattern, with noise of `sd` nats a model."""
    planned, claims = declared
    claim = next(claim for claim in claims if claim.name == "training-set-size")
    splits = {arm["split"] for contrast in claim.contrasts for arm in contrast.arms.values()}
    compared = planned[planned["split"].isin(splits) & (planned["dataset"] == "tetrominoes")]
    compared = compared[(compared["architecture"] == "mlp") & (compared["objective"] == "beta")]
    rng = np.random.default_rng([29, study])
    return verdicts([claim], compared, *paper_rows(compared, rng, sd=sd), paper_distances(rng))["training-set-size"]


def test_the_papers_pattern_of_sizes_is_told_with_noise(declared):
    """The shallow curve is a U with few images at constant volume alone; of mean distances, none of 15 was told."""
    verdicts_of_studies = [sizes_alone(declared, 1.0, study).verdict for study in range(20)]
    assert verdicts_of_studies.count("supported") >= 19, verdicts_of_studies


def test_a_claim_about_one_other_data_set_says_so():
    grid = Grid("cv(9)", "cv(5)", ["cv(5)"], ["cd(5)"], others_split="cv(5)")

    def sentence(**options):
        claims = paper_claims(dataclasses.replace(grid, **options))
        return next(claim.sentence for claim in claims if claim.name == "other-data-sets")

    same = sentence(others=["tetrominoes-fixed"])
    assert same.startswith("On the one other data set, tetrominoes-fixed, the same shapes at positions that do not")
    assert "most" not in same
    assert sentence(others=["mnist"]).startswith("On the one other data set, mnist, with few")
    several = sentence(others=["mnist", "3dshapes", "smallnorb"], exception="3dshapes")
    assert several.startswith("On most of the 3 other data sets, with few")
    assert "on most of the 2 that are not 3dshapes, a deep one's falls" in several


def test_no_claim_says_only_without_the_rise_that_it_allows(declared):
    for claim in declared[1]:
        for contrast in claim.flat():
            if contrast.kind == "monotone":
                assert f"{100 * contrast.settings['share']:g} %" in claim.sentence, claim.name
        assert "only" not in claim.sentence.split(), claim.name


def early(rise):
    return lambda u: rise * (u < -2.5)


CNN = {"dataset": "tetrominoes", "architecture": "cnn", "split": "cv(16384)"}
BASE = {"dataset": "tetrominoes", "architecture": "mlp", "objective": "beta"}
SPARSE = {**BASE, "split": "cv(16384)"}
WRONG: list[tuple[str, str, Change]] = [
    ("dense-data", "it memorizes", add("distortion", 20.0, **BASE, split="cv(81920)", subset="test", depth=1)),
    ("dense-data", "rate at one β", add("rate", lambda u: 9.0 * (u == 0), **BASE, split="cv(81920)", depth=3)),
    ("sparse-shallow", "no minimum", add("distortion", lambda u: 30 * (u + 3), **SPARSE, subset="test", depth=1)),
    ("sparse-shallow", "train rises", add("distortion", lambda u: 40 * (u < -2.5), **SPARSE, subset="train", depth=1)),
    ("early-stopping", "a minimum stays", add("stop_distortion", lambda u: 40 * (u < -2.5), **SPARSE, depth=1)),
    ("sparse-deep", "best at 5", add("rate", lambda u: -90 * (u > 0.6), **SPARSE, depth=3)),
    ("sparse-deep", "log p(x)", add("log_marginal", lambda u: 90 * (u > 0.6), **SPARSE, subset="test", depth=3)),
    ("copies", "at small β too", add("memorization", lambda u: 0.25 * (u < -0.9), **SPARSE, depth=3)),
    ("copies", "shallow ones too", add("memorization", 0.4, **SPARSE, depth=1)),
    ("copies", "none is memorized", add("memorization", lambda u: -0.3 * (u > -0.1), **SPARSE, depth=3)),
    ("training-set-size", "with many too", add("distortion", early(40.0), **BASE, split="cv(65536)", depth=1)),
    ("training-set-size", "density too", add("distortion", early(40.0), **BASE, split="cd(8192)", depth=1)),
    ("training-set-size", "deep ones too", add("distortion", early(60.0), **BASE, split="cv(8192)", depth=3)),
    ("checkerboard", "like dense data", add("distortion", -30.0, **BASE, split="checkerboard", depth=3)),
    ("checkerboard", "near neighbours", move_board),
    ("convolutions", "a minimum", add("distortion", lambda u: 40 * (u < -2.5), **CNN, depth=3)),
    ("other-data-sets", "no exception", add("distortion", lambda u: -12 * (0.7 - u) ** 2, dataset="3dshapes", depth=3)),
    ("parts-of-the-rate", "I below log N", add("mutual_information", -2.0, **SPARSE, depth=3)),
    ("parts-of-the-rate", "I stays", add("mutual_information", lambda u: 3.0 * (u > 0), **SPARSE, depth=1)),
    ("a-term-removed", "information too", add("distortion", 9.0, **{**SPARSE, "objective": "no_mutual_information"})),
]


@pytest.mark.parametrize(("name", "why", "change"), WRONG, ids=[f"{name}: {why}" for name, why, _ in WRONG])
def test_a_claim_is_contradicted_where_the_paper_is_wrong(declared, tables, name, why, change):
    planned, members, measures, neighbours = tables
    factors = planned.drop(columns=["study_seed"])
    members, measures = (table.merge(factors, on="member_id") for table in (members, measures))
    neighbours = neighbours.copy()
    change(members, measures, neighbours)
    claim = next(claim for claim in declared[1] if claim.name == name)
    finding = verdicts([claim], planned, members, measures, neighbours)[name]
    assert finding.verdict == "contradicted", (why, finding)
    effect = finding.effect
    assert effect.high < effect.threshold if effect.above else effect.low > effect.threshold
