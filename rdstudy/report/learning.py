"""Learning curves: distortion above its floor and rate against step, one panel per cell, one colour per β."""

import functools

import altair as alt
import pandas as pd

from rdstudy.report import theme

_MEASURES = (("excess", "D above its floor, nats"), ("rate", "rate R, nats"))


def learning_chart(curves: pd.DataFrame) -> theme.Spec:
    """Distortion above its floor and rate against step: test solid, train dashed, β from dark to light.

    Args:
        curves: of `statistics.learning_curves`, at least one row.
    """
    grid = theme.Grid.of(curves["cell"].nunique())
    betas = tuple(f"{beta:g}" for beta in sorted(curves["beta"].unique()))
    table, sets = _drawable(curves), theme.Datasets()
    cells = [
        (part["panel"].iloc[0], {"curves": sets.add(part.drop(columns=["cell", "panel"]))})
        for _, part in table.groupby("cell", sort=True)
    ]
    rows = []
    for measure, title in _MEASURES:
        panels = []
        for place, (name, rows_of_cell) in enumerate(cells):
            named = title if grid.first(place) else None
            template = _panel(betas, measure, domain=_domain(table[measure]), title=named, width=grid.width)
            panels.append(theme.fill(template, rows_of_cell, title=name))
        rows.append(theme.lay_out(panels, grid))
    return theme.finish({"vconcat": rows}, sets)


def _drawable(curves: pd.DataFrame) -> pd.DataFrame:
    """The columns that are drawn, β by name; what a logarithmic axis cannot show is null."""
    columns = ["cell", "panel", "step", "subset", "runs", "excess", "excess_sd", "rate", "rate_sd"]
    table = curves[columns].assign(beta=[f"{beta:g}" for beta in curves["beta"]])
    for measure, _ in _MEASURES:
        table[measure] = table[measure].where(table[measure] > 0)
    return table


def _domain(values: pd.Series) -> tuple[float, float]:
    """Of a logarithmic axis: four decades at most, so that a rate that begins at 1e-6 does not squeeze the rest."""
    if not values.notna().any():
        return 0.1, 10.0
    most = 1.1 * float(values.max())
    return max(0.9 * float(values.min()), 1e-4 * most), most


@functools.cache
def _panel(
    betas: tuple[str, ...], measure: str, *, domain: tuple[float, float], title: str | None, width: int
) -> theme.Panel:
    log = alt.Scale(type="log", nice=False)
    colours = alt.Scale(domain=list(betas), scheme=alt.SchemeParams("viridis", extent=[0.0, 0.9]))
    dashes = alt.Scale(domain=list(theme.SUBSETS), range=[[1, 0], [5, 3]])
    legend = alt.Legend(title="β", orient="top", direction="horizontal")
    base = theme.chart_of("curves").encode(
        x=alt.X("step:Q", scale=log, axis=alt.Axis(title="step", grid=False, tickCount=5)),
        y=alt.Y(
            f"{measure}:Q",
            scale=alt.Scale(type="log", domain=list(domain), nice=False),
            axis=alt.Axis(title=title, tickCount=5),
        ),
        color=alt.Color("beta:O", sort=list(betas), scale=colours, legend=legend),
    )
    dash = alt.StrokeDash("subset:N", scale=dashes, legend=alt.Legend(title=None, orient="top"))
    lines = base.mark_line(clip=True, strokeWidth=1.6).encode(strokeDash=dash)
    # a line has no tooltip of its own points: these are seen by the pointer alone
    dots = base.mark_circle(clip=True, size=24, opacity=0).encode(
        tooltip=[
            alt.Tooltip("subset:N"),
            alt.Tooltip("beta:O", title="β"),
            alt.Tooltip("step:Q", format=","),
            alt.Tooltip(f"{measure}:Q", title="mean", format=".4~g"),
            alt.Tooltip(f"{measure}_sd:Q", title="sd", format=".3~g"),
            alt.Tooltip("runs:Q"),
        ]
    )
    return theme.template(alt.layer(lines, dots), width=width, height=210)
