"""Any factor on a page: names of cells by what tells them apart, and axes that likelihoods do not share."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest
import vl_convert

from rdstudy.report import plane
from rdstudy.report.cells import grid_phrase, with_cells
from rdstudy.report.coverage import provenance
from rdstudy.report.figures import learning
from rdstudy.report.notices import notices_of
from tests.report.conftest import MEASURED, Simulation, tables_of

LEVELS: Mapping[str, tuple[list[Any], list[str]]] = {
    "learning_rate": ([0.001, 0.003], ["learning rate 0.001", "learning rate 0.003"]),
    "prior": (["normal", "mixture(k=3)", "vamp(k=5)"], ["normal prior", "mixture(k=3) prior", "vamp(k=5) prior"]),
    "likelihood": (
        ["bernoulli", "gaussian(sigma=optimal)"],
        ["bernoulli likelihood", "gaussian(sigma=optimal) likelihood"],
    ),
    "optimizer": (["adam", "sgd(momentum=0.5)"], ["adam optimizer", "sgd(momentum=0.5) optimizer"]),
    "schedule": (["constant", "cosine"], ["constant schedule", "cosine schedule"]),
    "initialization": (["default", "he"], ["default initialization", "he initialization"]),
    "batch_size": ([64, 128], ["batches of 64", "batches of 128"]),
    "weight_decay": ([0.0, 0.01], ["weight decay 0", "weight decay 0.01"]),
    "precision": (["float32", "tf32"], ["products in float32", "products in tf32"]),
    "objective": (["beta", "no_marginal_kl"], ["β objective", "objective without marginal KL"]),
    "latent_dim": ([2, 10], ["2 latent dimensions", "10 latent dimensions"]),
}
SMALL = Simulation(depths=[1], betas=[0.1, 1.0], seeds=2, measured=True)
SIMULATIONS = {
    factor: dataclasses.replace(SMALL, levels={factor: levels}, outcomes=["failed"])
    for factor, (levels, _) in LEVELS.items()
}
FEW = ("learning", "active-units", "rate-parts", "finer-parts")
"""Figures that stand for all: of two layouts, and those that look at a factor themselves. All look at likelihoods."""


@pytest.mark.parametrize("factor", LEVELS)
def test_the_factor_that_varies_names_the_panels_of_every_figure(simulate, factor):
    levels, names = LEVELS[factor]
    figures = () if factor == "likelihood" else FEW
    page = simulate.page(dataclasses.replace(SIMULATIONS[factor], figures=figures))
    assert len(page.figures) > len(figures)
    for figure in page.figures[1:]:  # the first is of the splits
        spec = figure.spec.vega_lite
        panels = spec["concat"] if "concat" in spec else spec["vconcat"][0]["concat"]
        titles = [panel.get("vconcat", [panel])[0]["title"]["text"] for panel in panels]
        assert titles == names
    assert page.results.heads[0] == factor.replace("_", " ").capitalize()
    assert page.coverage.failures.rows[0][-1].text.startswith(names[0])
    assert f"{len(levels)} " in page.status


def test_models_with_products_in_tf32_are_told_of_before_all_else(simulate):
    texts = {}
    for factor in LEVELS:
        study = simulate(SIMULATIONS[factor])
        texts[factor] = [
            notice.text for notice in notices_of(study, provenance(study.members)) if "TF32" in notice.text
        ]
    (text,) = texts.pop("precision")
    assert text.startswith("4 models trained with products in TF32. A single one ends elsewhere")
    assert not any(texts.values())


def test_cells_of_two_factors_are_named_by_both(simulate):
    study = simulate(dataclasses.replace(SMALL, levels={name: LEVELS[name][0] for name in ("prior", "learning_rate")}))
    planned = with_cells(study.planned)
    expected = {", ".join(pair) for pair in itertools.product(LEVELS["prior"][1], LEVELS["learning_rate"][1])}
    assert set(planned["panel"]) == expected
    assert grid_phrase(planned) == "3 priors × 2 learning rates × 2 β × 2 seeds"


def test_a_part_of_a_users_own_is_named_without_its_hash_unless_two_files_are_there(simulate):
    planned = simulate(SMALL).planned
    first, second = (f"ResNet(blocks=3)@{digest * 16}" for digest in "ab")
    one = with_cells(pd.concat([planned.assign(architecture=level) for level in ("mlp", first)]))
    assert set(one["panel"]) == {"MLP", "ResNet(blocks=3)"}
    both = with_cells(pd.concat([planned.assign(architecture=level) for level in ("mlp", first, second)]))
    assert set(both["panel"]) == {"MLP", *(f"ResNet(blocks=3) @{digest * 16}" for digest in "ab")}


def test_two_likelihoods_share_no_axis_of_distortions(simulate):
    simulation = SIMULATIONS["likelihood"]
    tables = tables_of(simulate(simulation))
    domains = plane.domains(tables.points)
    (first, second) = (domains[cell] for cell in (0, 1))
    assert first.distortion_min > 0 > second.distortion_max
    figures = simulate.figures(simulation)
    for key in ("distortion", "rate-distortion", "learning"):
        assert "distortions under two of them are not comparable" in figures[f"depth-{key}"].note
        assert "<svg" in vl_convert.vegalite_to_svg(figures[f"depth-{key}"].spec.vega_lite)
    (low, high) = (panel["vconcat"][1] for panel in figures["depth-distortion"].spec.vega_lite["concat"])
    gaps = [panel["layer"][2]["encoding"]["y"]["scale"]["domain"] for panel in (low, high)]
    assert all(bottom < 0 < top for bottom, top in gaps)


def test_learning_curves_of_two_likelihoods_have_axes_of_their_own(simulate):
    tables = tables_of(simulate(SIMULATIONS["likelihood"]))
    table = learning.table(tables)
    table.loc[table["likelihood"] != "bernoulli", "excess"] *= 1_000
    row, _ = learning.chart(tables, table).vega_lite["vconcat"]
    (_, most), (least, _) = (panel["layer"][0]["encoding"]["y"]["scale"]["domain"] for panel in row["concat"])
    assert most < 4_000 < least * 100


def test_cells_of_one_likelihood_share_an_axis_and_nothing_is_said(simulate):
    tables = tables_of(simulate(SIMULATIONS["prior"]))
    assert len(set(plane.domains(tables.points).values())) == 1
    assert all("comparable" not in figure.note for figure in simulate.page(MEASURED).figures)
