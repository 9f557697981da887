"""Leave-one-out memorization: what log p(x) of an image gains from training on it, less the same of controls.

Scores are in nats; tables of log p(x) are [seed, image].
"""

import functools
from collections.abc import Iterator
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from rdstudy.findings.belief import LEAST_PASSED
from rdstudy.findings.evidence import LEVEL
from rdstudy.report import text, theme
from rdstudy.report.axes import ValueAxis
from rdstudy.report.density import crossed_interval
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.sizes import size_pairs

_LEAST_PROBES = 5  # behind a mean: with fewer, its interval says little
SCORES = ["group", "panel", "smaller", "larger", "beta", "value", "low", "high"]
SCORES += ["probes", "controls", "seeds", "believed"]
"""The columns of `leave_one_out`; from `low` to `high` is the interval over images and seeds, nats."""
_ROW = ("beta", "beta_at", "pair", "value", "low", "high", "probes", "controls", "seeds", "believed")


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """The `leave_one_out` of an experiment."""
    return leave_one_out(experiment.planned, experiment.study.probes)


def leave_one_out(planned: pd.DataFrame, probes: pd.DataFrame) -> pd.DataFrame:
    """Memorization scores of probe images, per pair of sizes of a split and β (van den Burg and Williams 2021).

    log p(x) of images that the larger split trains on and the smaller does not, under models of the one less under
    those of the other, both of the same seed; minus the same of images that neither trains on, by which the two differ
    anyway. Pairs are consecutive sizes of `cv(n)` with equal other factors: there, both kinds of probes are a random
    sample of the data set. Of `cd(n)` and `checkerboard` they are not, and no score is made.

    Args:
        planned: members of an experiment, with `cell` and `panel`.
        probes: rows of `schema.PROBES`.

    Returns:
        `SCORES`, by group of equal other factors, size and β; no rows without pairs.
    """
    rows = planned[["member_id", "cell", "beta", "seed"]].merge(probes, on="member_id")
    rows = rows[np.isfinite(rows["log_marginal"].astype(float))]
    rows = rows.assign(passed=rows["log_marginal_passed"].astype("boolean").fillna(value=False).astype(bool))
    models = dict(list(rows.groupby(["cell", "beta"], sort=True)))
    betas = sorted(planned["beta"].unique())
    scores = [
        {"group": pair.group, "panel": pair.panel, "smaller": pair.sizes[0], "larger": pair.sizes[1], "beta": beta}
        | point
        for pair in size_pairs(planned)
        for beta in betas
        if (pair.cells[0], beta) in models and (pair.cells[1], beta) in models
        for point in _points(*(models[cell, beta] for cell in pair.cells))
    ]
    return pd.DataFrame(scores, columns=SCORES)


def _points(smaller: pd.DataFrame, larger: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The score of one pair of cells at one β, if they share seeds and images of both kinds."""
    both = smaller.merge(larger, on=["seed", "image"], suffixes=("_smaller", "_larger"))
    inside, before = both["in_train_larger"].astype(bool), both["in_train_smaller"].astype(bool)
    both = both.assign(
        gain=both["log_marginal_larger"] - both["log_marginal_smaller"],
        passed=both["passed_larger"] & both["passed_smaller"],
    )
    sides = [_complete(both[side]) for side in (inside & ~before, ~inside & ~before)]
    seeds = sides[0][0].index.intersection(sides[1][0].index)
    trained, control = (gain.loc[seeds].to_numpy(dtype=float) for gain, _ in sides)
    if not trained.size or not control.size:
        return
    if min(trained.shape[1], control.shape[1]) < 2:
        value = float(trained.mean() - control.mean())
        low = high = value  # one image has no interval
    else:
        score = crossed_interval([trained, -control])
        value, low, high = score.mean, score.low, score.high
    counted = trained.shape[1] >= _LEAST_PROBES and control.shape[1] >= _LEAST_PROBES
    yield {
        "value": value,
        "low": low,
        "high": high,
        "probes": trained.shape[1],
        "controls": control.shape[1],
        "seeds": len(seeds),
        "believed": counted and all(passed >= LEAST_PASSED for _, passed in sides),
    }


def _complete(rows: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Gains `[seed, image]` of the images that all seeds have, and the share of estimates that can be believed."""
    wide = rows.pivot_table(index="seed", columns="image", values="gain").dropna(axis=1)
    return wide, float(rows["passed"].mean()) if len(rows) else 0.0


def note(_: ExperimentTables, table: pd.DataFrame) -> str:
    """What a score is, how many images and models stand behind it, and which are not to be believed."""
    seeds = "model" if table["seeds"].max() == 1 else "models"
    words = (
        "What log p(x) of an image gains from training on it (van den Burg and Williams 2021), with a control: mean "
        "log p(x) of images in the larger training set alone, under its models less under those of the smaller one, "
        "minus the same of images in neither. 0: nothing is memorized. Of each pair of sizes, "
        f"{text.span(table['probes'])} images in the larger set and {text.span(table['controls'])} in neither, "
        f"{text.span(table['seeds'])} {seeds} of either. Bars: {100 * LEVEL:g} % intervals over images and models. "
        f"Hollow: fewer than {_LEAST_PROBES} images of a kind, or fewer than {100 * LEAST_PASSED:g} % of the estimates "
        "of log p(x) pass."
    )
    if table["seeds"].min() == 1:
        words += " With one model the interval is over images alone."
    return words


def chart(_: ExperimentTables, table: pd.DataFrame) -> theme.Spec:
    """Scores against β: a panel per group of cells, a colour a pair of sizes, hollow where not to be believed."""
    beta, grid = theme.beta_axis(table["beta"]), theme.Grid.of(table["group"].nunique())
    table = table.assign(beta_at=beta.place(table["beta"]))
    table["pair"] = [f"{less:,} / {more:,}" for less, more in zip(table["smaller"], table["larger"], strict=True)]
    pairs = tuple(dict.fromkeys(table.sort_values(["larger", "smaller"], kind="stable")["pair"]))
    panels, sets = [], theme.Datasets()
    zero = sets.add(pd.DataFrame({"value": [0.0]}))
    ends, height = table[["low", "high"]].to_numpy(dtype=float), min(270, round(0.7 * grid.width))
    axis = ValueAxis.of(min(0.0, ends.min()), max(0.0, ends.max()), height=height)
    for place, (_group, part) in enumerate(table.groupby("group", sort=True)):
        template = _panel(beta, axis, pairs, titled=grid.first(place), width=grid.width)
        names = {"points": sets.add(part, _ROW), "zero": zero}
        panels.append(theme.fill(template, names, title=part["panel"].iloc[0]))
    return theme.finish(theme.lay_out(panels, grid), sets)


@functools.cache
def _panel(beta: theme.BetaAxis, shared: ValueAxis, pairs: tuple[str, ...], *, titled: bool, width: int) -> theme.Panel:
    x, scale, axis = beta.x(), shared.scale(), shared.axis("score, nats" if titled else None)
    legend = alt.Legend(
        title="training images", orient="top", symbolType="circle", symbolStrokeWidth=0, symbolOpacity=1
    )
    colours = alt.Scale(domain=list(pairs), range=theme.sequential(len(pairs)))
    y = alt.Y("value:Q", scale=scale, axis=axis)
    numbers = [("beta", "β"), ("value", "score"), ("low", "bar from"), ("high", "bar to")]
    numbers += [("probes", "images in the larger set alone"), ("controls", "images in neither"), ("seeds", "models")]
    tooltip = [alt.Tooltip("pair:N", title="training images")]
    tooltip += [alt.Tooltip(f"{name}:Q", title=title, format=".4~g") for name, title in numbers]
    base = theme.chart_of("points").encode(x=x, color=alt.Color("pair:N", sort=pairs, scale=colours, legend=legend))
    zero = theme.chart_of("zero").mark_rule(clip=True, strokeDash=[7, 4], color=theme.FAINT).encode(y=y)
    bars = theme.bars(base, y, "", width=1.3, opacity=0.6)
    lines = base.mark_line(clip=True, strokeWidth=2).encode(y=y)
    dots = theme.chart_of("points").encode(x=x, y=y, tooltip=tooltip, **theme.hollow_if_doubted("pair:N", colours))
    dots = theme.named(dots.mark_point(clip=True, size=42, filled=True, opacity=1, strokeWidth=1.6), theme.DOTS)
    return theme.template(zero, bars, lines, dots, width=width, height=shared.height)


ORDER = 160

FIGURE = FigureKind(
    name="leave-one-out",
    title="Leave-one-out memorization",
    needs="the measure probe, and two sizes of cv(N)",
    table=table,
    chart=chart,
    note=note,
    rank="finer",
)
