"""Two figures of memorization: reconstructions against images never trained on, and log p(x) of images left out.

Tidy tables first, then charts. Nothing here reads a store. Shares are of test reconstructions, scores in nats; tables
of log p(x) are [seed, image].
"""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from rdstudy.findings.belief import LEAST_PASSED
from rdstudy.findings.evidence import LEVEL
from rdstudy.report import measure_charts, measures, theme
from rdstudy.report.cells import CELL_FACTORS, cell_name, telling_factors
from rdstudy.report.crossed import crossed_interval
from rdstudy.report.page import Figure
from rdstudy.splits import parse_rule

NEARER = "nearer to a training image than to as many never trained on"
BLUR_COUNTS = "nearer to some training image than to its own (blur counts too)"
_SHARES = {NEARER: "memorization", BLUR_COUNTS: "copied_fraction"}

_LEAST_PROBES = 5  # behind a mean: with fewer, its interval says little
SCORES = ["group", "panel", "smaller", "larger", "beta", "value", "low", "high"]
SCORES += ["probes", "controls", "seeds", "believed"]
"""The columns of `leave_one_out`; from `low` to `high` is the interval over images and seeds, nats."""


# --- reconstructions ------------------------------------------------------------------------------------------------


def copied_curves(rows: pd.DataFrame) -> pd.DataFrame:
    """Both shares as curves over β, with bars from `low` to `high`: the sd over seeds and a run's error, in quadrature.

    Args:
        rows: of `measures.with_planned`.
    """
    table = measures.curves(rows[rows["subset"] == "test"], _SHARES)
    deviation, error = (table[name].astype(float).fillna(0.0) for name in ("sd", "error"))
    half = np.hypot(deviation, error)
    return table.assign(low=table["value"] - half, high=table["value"] + half)


def copied_figures(name: str, planned: pd.DataFrame, rows: pd.DataFrame) -> list[Figure]:
    """Shares of reconstructions against β, between 0 and 1; none where nothing is measured.

    Args:
        name: of the experiment.
        planned: its members, with `cell` and `panel`.
        rows: of `measures.with_planned`.
    """
    table = copied_curves(rows)
    if table.empty:
        return []
    chance = table[["cell"]].drop_duplicates().assign(series="chance", value=0.5)
    chart = measure_charts.curves_chart(
        table, title="share of test reconstructions", rules=chance, domain=(0.0, 1.0), faint=BLUR_COUNTS
    )
    return [Figure(f"{name}-copied", "Memorization", " ".join(_copied_sentences(planned, rows)), chart)]


def _copied_sentences(planned: pd.DataFrame, rows: pd.DataFrame) -> Iterator[str]:
    tested = rows[rows["memorization"].notna()] if "memorization" in rows else rows.iloc[:0]
    if len(tested):
        images = _span(tested["memorization_images"])
        yield (
            f"Of the reconstructions of {images} test images, the share that is nearer (ℓ2) to a training image than "
            f"to every one of as many images never trained on ({_span(tested['memorization_controls'])} on either "
            "side). Chance is 1/2: there nothing is memorized, however blurred; 1 is a model that returns training "
            "images (three-sample test: Meehan, Chaudhuri, Dasgupta 2020). Reconstructions nearest to one image are "
            f"one answer: {_span(tested['memorization_answers'])} effective answers stand behind a model's share, "
            "which is drawn towards 1/2 where they are few."
        )
        if len(tested) < int((rows["copied_fraction"].notna() & (rows["subset"] == "test")).sum()):
            yield (
                "Models without it have no images to compare with: those of a checkerboard come from another "
                "distribution."
            )
    yield (
        "In grey, the share that is nearer to some training image than to its own: a blurred reconstruction is near to "
        "many images, so that it rises where nothing is copied."
    )
    yield (
        "Bars: standard deviation over runs and the standard error of one run, over its answers, in quadrature; the "
        "tooltip has both."
    )
    if not _pairs(planned):
        yield "With one size of the split, no image is left out for a leave-one-out score."


def _span(values: pd.Series) -> str:
    least, most = round(float(values.min())), round(float(values.max()))
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


# --- images left out ------------------------------------------------------------------------------------------------


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
    found = [
        {"group": pair.group, "panel": pair.panel, "smaller": pair.sizes[0], "larger": pair.sizes[1], "beta": beta}
        | point
        for pair in _pairs(planned)
        for beta in betas
        if (pair.cells[0], beta) in models and (pair.cells[1], beta) in models
        for point in _points(*(models[cell, beta] for cell in pair.cells))
    ]
    return pd.DataFrame(found, columns=SCORES)


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


@dataclass(frozen=True)
class _Pair:
    """Two cells that differ in the size of their `cv` split alone, the smaller first."""

    group: int
    panel: str
    sizes: tuple[int, int]
    cells: tuple[int, int]


def _pairs(planned: pd.DataFrame) -> list[_Pair]:
    """Consecutive sizes, by the other factors of a cell in the order of panels."""
    factors = [*(factor for factor in CELL_FACTORS if factor != "split"), "study_seed"]
    cells = planned.drop_duplicates("cell").sort_values("cell", kind="stable")
    rules = {split: parse_rule(split) for split in cells["split"].unique()}
    cells = cells.assign(size=[rules[split].train_images or 0 for split in cells["split"]])
    cells = cells[[rules[split].kind == "cv" for split in cells["split"]]]
    shown = [factor for factor in telling_factors(planned) if factor != "split"] or ["architecture", "depth"]
    found: list[_Pair] = []
    for number, (_, alike) in enumerate(cells.groupby(factors, sort=False)):
        panel = cell_name({factor: alike[factor].iloc[0] for factor in shown})
        sized = sorted(zip(alike["size"].tolist(), alike["cell"].tolist(), strict=True))
        found += [
            _Pair(number, panel, (less[0], more[0]), (less[1], more[1])) for less, more in itertools.pairwise(sized)
        ]
    return found


def leave_one_out_figures(name: str, planned: pd.DataFrame, probes: pd.DataFrame) -> list[Figure]:
    """Scores against β, a panel per group of cells and a curve per pair of sizes; none without scores.

    Args:
        name: of the experiment.
        planned: its members, with `cell` and `panel`.
        probes: rows of `schema.PROBES`.
    """
    table = leave_one_out(planned, probes)
    if table.empty:
        return []
    seeds = "run" if table["seeds"].max() == 1 else "runs"
    note = (
        "What log p(x) of an image gains from training on it (van den Burg and Williams 2021), with a control: mean "
        "log p(x) of images in the larger training set alone, under its models less under those of the smaller one, "
        "minus the same of images in neither. 0: nothing is memorized. Of each pair of sizes, "
        f"{_span(table['probes'])} images in the larger set and {_span(table['controls'])} in neither, "
        f"{_span(table['seeds'])} {seeds} of either. Bars: {100 * LEVEL:g} % intervals over images and runs. "
        f"Hollow: fewer than {_LEAST_PROBES} images of a kind, or fewer than {100 * LEAST_PASSED:g} % of the estimates "
        "of log p(x) pass."
    )
    if table["seeds"].min() == 1:
        note += " With one run the interval is over images alone."
    return [Figure(f"{name}-leave-one-out", "Leave-one-out memorization", note, leave_one_out_chart(table))]


_ROW = ("beta", "beta_at", "pair", "value", "low", "high", "probes", "controls", "seeds")


def leave_one_out_chart(table: pd.DataFrame) -> theme.Spec:
    """Scores against β: a colour a pair of sizes, hollow where not to be believed.

    Args:
        table: of `leave_one_out`, at least one row.
    """
    beta, grid = theme.beta_axis(table["beta"]), theme.Grid.of(table["group"].nunique())
    table = table.assign(beta_at=beta.place(table["beta"]))
    table["pair"] = [f"{less:,} / {more:,}" for less, more in zip(table["smaller"], table["larger"], strict=True)]
    pairs = tuple(dict.fromkeys(table.sort_values(["larger", "smaller"], kind="stable")["pair"]))
    panels, sets = [], theme.Datasets()
    zero = sets.add(pd.DataFrame({"value": [0.0]}))
    for place, (_, part) in enumerate(table.groupby("group", sort=True)):
        template = _score_panel(beta, pairs, titled=grid.first(place), width=grid.width)
        doubted = part[~part["believed"].astype(bool)]
        names = {"points": sets.add(part, _ROW), "doubted": sets.add(doubted, _ROW), "zero": zero}
        panels.append(theme.fill(template, names, title=part["panel"].iloc[0]))
    return theme.finish(theme.lay_out(panels, grid), sets)


@functools.cache
def _score_panel(beta: theme.BetaAxis, pairs: tuple[str, ...], *, titled: bool, width: int) -> theme.Panel:
    x, scale = beta.x(), alt.Scale(zero=True, padding=8)
    axis = alt.Axis(title="score, nats" if titled else None, tickCount=6)
    legend = alt.Legend(title="training images", orient="top", symbolType="circle", symbolStrokeWidth=0)
    colours = alt.Scale(domain=list(pairs), scheme=alt.SchemeParams("viridis", extent=[0.0, 0.9]))
    y = alt.Y("value:Q", scale=scale, axis=axis)
    numbers = [("beta", "β"), ("value", "score"), ("low", "bar from"), ("high", "bar to")]
    numbers += [("probes", "images in the larger set alone"), ("controls", "images in neither"), ("seeds", "runs")]
    tooltip = [alt.Tooltip("pair:N", title="training images")]
    tooltip += [alt.Tooltip(f"{name}:Q", title=title, format=".4~g") for name, title in numbers]
    base = theme.chart_of("points").encode(x=x, color=alt.Color("pair:N", sort=pairs, scale=colours, legend=legend))
    zero = theme.chart_of("zero").mark_rule(strokeDash=[7, 4], color=theme.FAINT).encode(y=y)
    bars = base.mark_rule(strokeWidth=1.3, opacity=0.6).encode(y=alt.Y("low:Q", scale=scale, axis=axis), y2="high:Q")
    lines = base.mark_line(strokeWidth=2).encode(y=y)
    dots = base.mark_circle(size=42, opacity=1).encode(y=y, tooltip=tooltip)
    stroke = alt.Stroke("pair:N", sort=pairs, scale=colours, legend=None)
    hollow = theme.chart_of("doubted").encode(x=x, y=y, stroke=stroke, tooltip=tooltip)
    hollow = hollow.mark_point(size=42, filled=True, fill="white", opacity=1, strokeWidth=1.6)
    layers = alt.layer(zero, bars, lines, dots, hollow)
    return theme.template(layers, width=width, height=min(270, round(0.7 * width)))
