"""Single seeds behind means: in every figure of means, with the values that the means are made of."""

import numpy as np
import pandas as pd
import pytest

import rdstudy.report.figure
from rdstudy.report import seeds
from rdstudy.report.figure_files import figures_of
from tests.report.conftest import THREE_SIZES, Simulation

NONE = {"learning", "splits"}  # figures of other things than means over seeds at a β


def named(figures):
    return {figure.key.removeprefix("depth-"): figure for figure in figures}


def plots(spec):
    """All plots of a chart: those of layers."""
    if "layer" in spec:
        yield spec
    for part in spec.get("concat", spec.get("vconcat", [])):
        yield from plots(part)


def rows_of_seeds(figure):
    """The rows of faint layers, by plot."""
    spec = figure.spec.vega_lite
    for plot in plots(spec):
        for layer in plot["layer"]:
            if layer["mark"].get("opacity") == seeds._OPACITY:
                yield spec["datasets"][layer["data"]["name"]]


def test_every_figure_of_means_draws_each_seed(simulate):
    for name, figure in named(simulate.page(THREE_SIZES).figures).items():
        drawn = list(rows_of_seeds(figure))
        assert bool(drawn) == (name not in NONE), name
        for rows in drawn:
            assert {row["seed"] for row in rows} == {0, 1, 2}
            assert {row["beta"] for row in rows} == {0.1, 1.0}
        if drawn:
            assert "Faint: single seeds." in figure.note


def test_a_mean_is_that_of_its_seeds(simulate):
    spec = named(simulate.page(THREE_SIZES).figures)["active-units"].spec.vega_lite
    for plot in plots(spec):
        points, single = (
            pd.DataFrame(spec["datasets"][layer["data"]["name"]])
            for layer in plot["layer"]
            if layer.get("name", "").startswith("dots") or layer["mark"].get("opacity") == seeds._OPACITY
        )
        points, single = sorted((points, single), key=len)
        keys = ["beta", "subset"]
        np.testing.assert_allclose(
            single.groupby(keys)["value"].mean(), points.set_index(keys)["value"].sort_index(), rtol=1e-4
        )


@pytest.mark.parametrize("reason", ["one seed", "many panels"])
def test_where_a_point_is_a_model_or_panels_are_many_none_is_drawn(simulate, monkeypatch, reason):
    if reason == "many panels":
        monkeypatch.setattr(rdstudy.report.figure, "_MANY_CELLS", 1)
    simulation = Simulation(measured=True, betas=[0.1, 1.0], seeds=1 if reason == "one seed" else 3)
    drawn = named(each.figure for each in figures_of(simulate(simulation)))
    for name, figure in drawn.items():
        assert not list(rows_of_seeds(figure)), name
        assert ("Single seeds are not drawn." in figure.note) == (reason == "many panels" and name not in NONE), name
