"""Rate-distortion curves (paper, Figure 3): train and test, joined in the order of β, with contours of the ELBO.

Beside them, at the same D, the rate with the training aggregate as the prior. For given codes, R = I + KL(q(z) ‖ p(z)):
of training images this prior leaves I, the least that any prior can. Of test images it is what training can know of the
best prior, and may be worse than the model's own.
"""

import functools
import json

import altair as alt
import numpy as np
import pandas as pd

from rdstudy.report import labels, measures, plane, seeds, sentences, text, theme
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.groups import Groups, together
from rdstudy.report.statistics import PlotDomain

_FONT = 11  # of the names of β, in CSS pixels
_RADII = (8, 12, 18, 26)  # from a point to its name
_NAME_PIXELS = 60  # that the name of a β takes: where a panel has room for all, each is named in the picture

_BEST_RATES = {"train": "mutual_information", "test": "cross_rate"}
PRIORS = ("the model's prior", "the training aggregate as the prior")
_BEST_COLUMNS = ("beta", "subset", "rate", "rate_low", "rate_high", "distortion")


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """Means over seeds (`statistics.rate_distortion`) with the rates under the best prior.

    Returns:
        Further columns `best_rate`, and `best_rate_low`, `best_rate_high`, sd over models and a model's Monte Carlo
        error in quadrature around it; null where the measures are not stored or have no value.
    """
    rows = experiment.measured
    curves = [
        measures.curves(rows[(rows["subset"] == subset) & rows[column].notna()], {"best": column})
        for subset, column in _BEST_RATES.items()
    ]
    best = together(curves).rename(columns={"value": "best_rate"})
    half = np.hypot(best["sd"].astype(float).fillna(0.0), best["error"].astype(float).fillna(0.0))
    best = best.assign(best_rate_low=best["best_rate"] - half, best_rate_high=best["best_rate"] + half)
    keys = ["cell", "subset", "beta"]
    ends = best[[*keys, "best_rate", "best_rate_low", "best_rate_high"]]
    return experiment.points.merge(ends.astype({"cell": int, "beta": float}), on=keys, how="left")


def note(experiment: ExperimentTables, table: pd.DataFrame) -> str:
    """What the bars, the star and the dashed lines are, and which models still learned."""
    lines = (
        "Points are joined in the order of β; the star is the standard VAE, β = 1. Thin dashed lines join equal ELBO, "
        "−(D + R), and carry its value where there is room; bold dashed: the distortion floor."
    )
    best = (
        "Dashed curves: the same codes and D with the aggregate posterior q_train(z) of the training images as the "
        "prior. On train R is then I = E KL(q(z|x) ‖ q_train(z)), and no prior does better; on test it is the same "
        "mean over test images, more than under the model's prior where q_train(z) fits the training images alone. A "
        "dashed curve that leaves the panel costs more than is shown (bars: standard deviation over models and a "
        "model's Monte Carlo error, in quadrature)."
    )
    return text.joined(
        sentences.models_phrase(table),
        seeds.note(table),
        lines,
        best if table["best_rate"].notna().any() else "",
        plane.likelihoods_note(table),
        sentences.still_learning_note(experiment.falls),
    )


def chart(experiment: ExperimentTables, table: pd.DataFrame) -> theme.Spec:
    """One panel per cell: a curve a subset, a star at β = 1, dashed contours of the ELBO."""
    points, single = plane.with_bars(table), plane.seeds_of(experiment.rows, table)
    grid, domains = theme.Grid.of(points["cell"].nunique()), plane.domains(table, single)
    panels, sets = [], theme.Datasets()
    points["curve"] = points.groupby("subset").ngroup()
    floors, best, singles = Groups(plane.floors(points)), Groups(_under_best_prior(points)), Groups(single)
    stars, has_best = Groups(points[points["beta"] == 1.0]), bool(points["best_rate"].notna().any())
    shared = {domain: plane.add_contours(sets, domain) for domain in set(domains.values())}
    ends = {domain: plane.contour_ends(domain) for domain in shared}
    for place, (cell, part) in enumerate(Groups(points)):
        domain = domains[cell]
        look = {"width": grid.width, "titled": grid.first(place), "has_best": has_best, "has_seeds": len(single) > 0}
        names = {"points": sets.add(part, plane.COLUMNS), "floors": sets.add(floors.rows(cell), plane.FLOORS)}
        names["best"] = sets.add(best.rows(cell), _BEST_COLUMNS)
        names["seeds"] = sets.add(singles.rows(cell), plane.SEEDS)
        drawn = _drawn(part, best.rows(cell), floors.rows(cell), domain, width=grid.width)
        panel = labels.Panel(grid.width, _height(grid.width), drawn)
        names["betas"] = sets.add(_named_betas(part, domain, panel))
        names["stars"] = sets.add(stars.rows(cell), plane.COLUMNS)
        names = shared[domain] | names | {"contour names": sets.add(plane.contour_names(ends[domain], domain, panel))}
        panels.append(theme.fill(_panel(domain, **look), names, title=part["panel"].iloc[0], cell=cell))
    return theme.finish(theme.lay_out(panels, grid), sets)


def _under_best_prior(points: pd.DataFrame) -> pd.DataFrame:
    """The points whose rate under the best prior is known, at that rate."""
    known = points[points["best_rate"].notna()]
    rates = {f"rate{end}": known[f"best_rate{end}"] for end in ("", "_low", "_high")}
    return known.assign(**rates)


@functools.cache
def _panel(domain: PlotDomain, *, width: int, titled: bool, has_best: bool, has_seeds: bool) -> theme.Panel:
    x, y = plane.rate_axis(domain), plane.distortion_axis(domain, titled=titled)
    base = theme.chart_of("points").encode(color=theme.subset_colour())
    lines, across, dots = _curve("points", x, y, prior=PRIORS[0] if has_best else None)
    upright = theme.bars(base.encode(x=x), y, "distortion_", width=1.2, opacity=0.65)
    names = labels.text(theme.chart_of("betas"), font=_FONT, color=theme.TEST)
    stars = theme.stars(x, y, plane.point_tooltip())
    best = _curve("best", x, y, prior=PRIORS[1]) if has_best else ()
    single = [plane.seed_dots(plane.of_subsets("seeds"), x, y)] if has_seeds else []
    below = [*plane.contour_lines(x, y), plane.floor_lines(), *best]
    above = [lines, across, upright, *single, theme.named(dots, theme.DOTS), names, stars]
    return theme.template(*below, *above, width=width, height=_height(width))


def _height(width: int) -> int:
    return min(360, round(0.9 * width))


def _curve(role: str, x: alt.X, y: alt.Y, *, prior: str | None) -> tuple[alt.Chart, alt.Chart, alt.Chart]:
    """Line, bars of the rate and dots of the rows of a role: dashed under the best prior, with a legend of priors."""
    base = theme.chart_of(role).encode(color=theme.subset_colour())
    lines = base.mark_line(clip=True, strokeWidth=2).encode(x=x, y=y, order=alt.Order("beta:Q"))
    if prior is not None:
        legend = alt.Legend(title=None, orient="top", symbolType="stroke", labelLimit=260)
        scale = alt.Scale(domain=list(PRIORS), range=[[1, 0], [5, 3]])
        named = lines.transform_calculate(prior=json.dumps(prior))  # in no row: all of a layer have the same
        lines = named.encode(strokeDash=alt.StrokeDash("prior:N", scale=scale, legend=legend))
    across = theme.bars(base.encode(y=y), x, "rate_", width=1.2, opacity=0.65)
    dots = plane.of_subsets(role).mark_point(clip=True, size=46 if role == "points" else 22, filled=True, opacity=1)
    tooltip = plane.point_tooltip() if role == "points" else _best_tooltip()
    return lines, across, dots.encode(x=x, y=y, tooltip=tooltip)


def _best_tooltip() -> list[alt.Tooltip]:
    fields = [("beta", "β"), ("distortion", "D, mean"), ("rate", "R under the best prior, mean")]
    fields += [("rate_low", "bar from"), ("rate_high", "bar to")]
    return [alt.Tooltip("subset:N"), *(alt.Tooltip(f"{name}:Q", title=title, format=".4~g") for name, title in fields)]


def _named_betas(part: pd.DataFrame, domain: PlotDomain, panel: labels.Panel) -> pd.DataFrame:
    """Names of β beside the points of the test curve, the first and the last first, each where it hides nothing."""
    betas = part["beta"].to_numpy(float)
    test = np.flatnonzero((part["subset"] == "test").to_numpy(bool))
    test = test[np.argsort(betas[test], kind="stable")]
    is_end = np.isin(betas[test], betas[test[[0, -1]]] if len(test) else [])
    every = len(test) * _NAME_PIXELS <= panel.width
    named = np.concatenate([test[is_end], test[~is_end]]) if every else test[is_end]
    places, rows = plane.pixels(part, domain, width=round(panel.width), height=round(panel.height))[named], []
    for own, beta in enumerate(betas[named]):
        words = f"β = {beta:g}"
        at = panel.place(words, labels.around(places, own, words, font=_FONT, radii=_RADII), font=_FONT)
        rows += [{"text": words, "text_x": at[0], "text_y": at[1]}] if at else []
    return pd.DataFrame(rows, columns=["text", "text_x", "text_y"])


def _drawn(
    part: pd.DataFrame, best: pd.DataFrame, floors: pd.DataFrame, domain: PlotDomain, *, width: int
) -> labels.Positions:
    """What curves, bars and floors of a panel cover."""

    def at(rows: pd.DataFrame, rate: str = "rate", distortion: str = "distortion") -> labels.Positions:
        return plane.pixels(rows, domain, width=width, height=_height(width), columns=(rate, distortion))

    def along(rows: pd.DataFrame) -> labels.Positions:
        order = np.argsort(rows["beta"].to_numpy(float), kind="stable")
        return labels.along(at(rows)[order], rows["curve"].to_numpy()[order])

    return np.concatenate(
        [
            *map(along, (part, best)),
            *(labels.between(at(rows, rate="rate_low"), at(rows, rate="rate_high")) for rows in (part, best)),
            labels.between(at(part, distortion="distortion_low"), at(part, distortion="distortion_high")),
            plane.floors_across(floors, domain, width=width, height=_height(width)),
        ]
    )


ORDER = 40

FIGURE = FigureKind(
    name="rate-distortion",
    title="Rate-distortion curves",
    needs="models that are trained",
    table=table,
    chart=chart,
    note=note,
)
