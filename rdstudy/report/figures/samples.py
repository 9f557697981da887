"""Samples from the prior and traversals of latent dimensions, of the best model of each cell, where weights were kept.

A page shows them as sheets of pictures (`rdstudy.report.strips`); the chart, by itself, has the same ones. Pixels are
uint8, channel by channel, row by row.
"""

import altair as alt
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rdstudy.report import text, theme
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.pictures import Album
from rdstudy.report.strips import SHAPE, sample_sheets

PRIOR_PICTURES = 8
"""Samples from the prior that are shown of a cell."""

MOST_PICTURES = 900
"""On a page at most, which its experiments share: some 1 MB of it. Of a cell at least, all there are."""

_IDENTITY = ["cell", "panel", "dataset", "beta", "seed", "member_id"]
_STORED = ["member_id", "kind", "dimension", "value", "position", *SHAPE, "pixels"]
_SIDE, _STEP = 64, 68  # of a picture, and from one to the next, in CSS pixels


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """What is shown: one row a picture, of the best model of each cell for which a page has room.

    Returns:
        `cell, panel, dataset, beta, seed, member_id`, `chosen_by`, the subset whose ELBO chose the member; and of the
        picture `kind, dimension, value, position, channels, height, width, pixels`. By cell, samples from the prior
        first, then by dimension and position.
    """
    best = best_members(experiment)
    stored = experiment.study.samples
    counts = stored["member_id"].value_counts().to_pylist()
    most = max((entry["counts"] for entry in counts), default=1)
    room = max(1, MOST_PICTURES // len(experiment.study.experiments) // most)
    places = np.unique(np.linspace(0, len(best) - 1, min(room, len(best))).round().astype(int))
    shown = best.iloc[places]  # evenly over all cells: no data set or split is left out for being last
    ids = pa.array(shown["member_id"].to_list(), pa.string())
    rows: pd.DataFrame = stored.select(_STORED).filter(pc.is_in(stored["member_id"], value_set=ids)).to_pandas()
    rows = rows[(rows["kind"] != "prior") | (rows["position"] < PRIOR_PICTURES)]
    order = ["cell", "kind", "dimension", "position"]
    return shown.merge(rows, on="member_id").sort_values(order, kind="stable", ignore_index=True)


def best_members(experiment: ExperimentTables) -> pd.DataFrame:
    """Of each cell with stored pictures, the member with the best ELBO at the β nearest 1, in decades.

    Returns:
        `cell, panel, dataset, beta, seed, member_id, chosen_by`, by cell: `validation` where all these members of the
        cell have such a subset, else `test`.
    """
    stored = set(experiment.study.samples["member_id"].unique().to_pylist())
    members = experiment.study.members
    elbo = members[members["outcome"] == "ok"].pivot_table(index="member_id", columns="subset", values="elbo")
    elbo = elbo.reindex(columns=["validation", "test"])
    known = experiment.planned.loc[experiment.planned["member_id"].isin(stored), _IDENTITY].join(elbo, on="member_id")
    away = np.log10(known["beta"].clip(lower=1e-12)).abs()
    near = known[away == away.groupby(known["cell"]).transform("min")]
    near = near[near["beta"] == near.groupby("cell")["beta"].transform("min")]
    is_validated = near["validation"].notna().groupby(near["cell"]).transform("all")
    near = near.assign(chosen_by=np.where(is_validated, "validation", "test"))
    near["elbo"] = near["validation"].where(is_validated, near["test"])
    near = near.sort_values("elbo", ascending=False, kind="stable").drop_duplicates("cell").sort_values("cell")
    best: pd.DataFrame = near[[*_IDENTITY, "chosen_by"]]
    return best


def note(experiment: ExperimentTables, table: pd.DataFrame) -> str:
    """Which models these are, what is moved in a traversal, and what a page has no room for."""
    models = table.drop_duplicates("cell")
    subsets = " or, without such a subset, ".join(
        f"{subset} ELBO" for subset in ("validation", "test") if subset in set(models["chosen_by"])
    )
    betas = ", ".join(f"{beta:g}" for beta in sorted(models["beta"].unique()))
    moved = (
        "Below, the code of one image with one latent dimension moved at a time, by so many standard deviations of the "
        "posteriors' means over the training images."
    )
    out = len(best_members(experiment)) - len(models)
    return text.joined(
        f"Of each cell the model with the best {subsets} at the β nearest 1 (β = {betas}): what its decoder makes, on "
        f"average, of {PRIOR_PICTURES} samples from its prior.",
        moved if (table["kind"] == "traversal").any() else "",
        f"Left out to keep the page light: {out:,} cells." if out else "",
    )


def chart(_: ExperimentTables, table: pd.DataFrame) -> theme.Spec:
    """A row of pictures of samples from the prior a cell, and one a latent dimension."""
    album, sets = Album(), theme.Datasets()
    rows = [
        {
            "row": f"{sheet.panel}: {line.name}",
            "place": place,
            "source": album.sources[picture.key],
            "text": picture.text,
        }
        for sheet in sample_sheets(table, album)
        for line in sheet.lines
        for place, picture in enumerate(line.pictures)
    ]
    pictures = pd.DataFrame(rows)
    names, places = list(dict.fromkeys(pictures["row"])), int(pictures["place"].max()) + 1
    images = theme.chart_of("pictures").encode(
        x=alt.X("place:O", scale=alt.Scale(domain=list(range(places))), axis=None),
        y=alt.Y("row:N", sort=names, axis=alt.Axis(title=None, labelLimit=420, domain=False, ticks=False)),
        url=alt.Url("source:N"),
        tooltip=alt.Tooltip("text:N", title=" "),
    )
    images = images.mark_image(clip=True, width=_SIDE, height=_SIDE)
    panel = theme.template(images, width=_STEP * places, height=_STEP * len(names))
    return theme.finish(theme.fill(panel, {"pictures": sets.add(pictures)}), sets)


ORDER = 220

FIGURE = FigureKind(
    name="samples",
    title="Samples from the prior, and traversals",
    needs="pictures of samples, which are made where weights are kept",
    table=table,
    chart=chart,
    note=note,
)
