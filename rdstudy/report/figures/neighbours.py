"""How far test images are from their nearest training image, per split: distributions. ℓ2, pixel values in [0, 1]."""

import math

import altair as alt
import numpy as np
import pandas as pd

from rdstudy.datasets.splits import parse_rule
from rdstudy.report import theme
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.sizes import sizes_of_splits
from rdstudy.study.cells import level_name

_KEYS = ["dataset", "split", "study_seed"]
_POINTS = 120
_MARKS = ("median", "hard example")
_DASHES = {"cv": [1, 0], "default": [1, 0], "cd": [6, 3], "checkerboard": [2, 2]}  # by kind of split
_UNSIZED = theme.INK  # the colour of a split that has no size


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """The empirical distribution function of the distances in each split of an experiment, of `_POINTS` steps at most.

    Returns:
        `dataset, split, kind, train_images, images, distance, share`: the share of the `images` test images whose
        nearest training image is at this distance or nearer. By data set, kind and size of the split.
    """
    parts = []
    for key, rows in _of_splits(experiment):
        ordered = np.sort(rows["distance"].to_numpy())
        kept = np.unique(np.linspace(0, len(ordered) - 1, min(_POINTS, len(ordered))).round().astype(int))
        distance = np.concatenate([ordered[:1], ordered[kept]])  # from a share of 0
        share = np.concatenate([[0.0], (kept + 1) / len(ordered)])
        parts.append(_named(key, len(rows), pd.DataFrame({"distance": distance, "share": share})))
    return _in_order(parts)


def distance_marks(experiment: ExperimentTables) -> pd.DataFrame:
    """The median of each split and its hard example, the image at the 90th percentile, both by nearest rank.

    Returns:
        As `table`, with `mark`: median or hard example.
    """
    parts = []
    for key, rows in _of_splits(experiment):
        ordered = np.sort(rows["distance"].to_numpy())
        hard = rows.loc[rows["hard"].astype("boolean").fillna(value=False), "distance"]
        far = float(hard.iloc[0]) if len(hard) else float(ordered[math.ceil(9 * len(ordered) / 10) - 1])
        distance = np.array([ordered[math.ceil(len(ordered) / 2) - 1], far])
        share = np.array([(ordered <= value).mean() for value in distance])
        marks = pd.DataFrame({"distance": distance, "share": share, "mark": list(_MARKS)})
        parts.append(_named(key, len(rows), marks))
    return _in_order(parts)


def _of_splits(experiment: ExperimentTables) -> list[tuple[tuple[str, str, int], pd.DataFrame]]:
    known = experiment.study.neighbours.dropna(subset=["distance"])
    used = experiment.planned[_KEYS].drop_duplicates().merge(known, on=_KEYS)
    return list(used.groupby(_KEYS, sort=False))  # type: ignore[arg-type]


def _named(key: tuple[str, str, int], images: int, table: pd.DataFrame) -> pd.DataFrame:
    dataset, split, _ = key
    rule = parse_rule(split)
    return table.assign(
        dataset=dataset, split=split, kind=rule.kind, train_images=float(rule.train_images or 0), images=images
    )


def _in_order(parts: list[pd.DataFrame]) -> pd.DataFrame:
    if not parts:
        return pd.DataFrame(columns=["dataset", "split", "images", "distance", "share"])
    order = ["dataset", "kind", "train_images"]
    return pd.concat(parts, ignore_index=True).sort_values(order, kind="stable").reset_index(drop=True)


def note(_: ExperimentTables, table: pd.DataFrame) -> str:
    """How many images there are, what the marks and the dashes are."""
    images = sorted(table["images"].unique())
    many = f"{images[0]:,}" if len(images) == 1 else f"{images[0]:,} to {images[-1]:,} (the tooltip says how many)"
    words = (
        f"Of {many} test images of each split, a fixed random sample: the share whose nearest training image is at "
        "this distance (ℓ2 over all pixels, values in [0, 1]) or nearer. Circle: the median; diamond: the 90th "
        "percentile, the hard example."
    )
    kinds = " From dark to light, more training images; solid: constant volume, dashed: constant density, dotted:"
    kinds += " checkerboard."
    return words + kinds if table["kind"].nunique() > 1 else words


def chart(experiment: ExperimentTables, table: pd.DataFrame) -> theme.Spec:
    """Distribution functions, one colour per split and one panel per data set; median and hard example marked."""
    marks = distance_marks(experiment)
    splits = table.drop_duplicates("split")
    names = {split: level_name("split", split) for split in splits["split"]}
    dashes, colours = (
        [_DASHES.get(kind, [1, 0]) for kind in splits["kind"]],
        _colours(splits, sizes_of_splits(experiment.study.planned)),
    )
    most = float(table["distance"].max())
    grid, sets, panels = theme.Grid.of(table["dataset"].nunique()), theme.Datasets(), []
    columns = ["split", "images", "distance", "share"]
    for place, (dataset, part) in enumerate(table.groupby("dataset", sort=False)):
        own = marks[marks["dataset"] == dataset]
        layers = _panel(list(names.values()), colours, dashes, most=most, titled=grid.first(place))
        template = theme.template(*layers, width=grid.width, height=260)
        roles = {
            "curves": sets.add(_shown(part, names), columns),
            "marks": sets.add(_shown(own, names), [*columns, "mark"]),
        }
        panels.append(theme.fill(template, roles, title=str(dataset)))
    return theme.finish(theme.lay_out(panels, grid), sets)


def _shown(table: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    return table.assign(split=table["split"].map(names))


def _colours(splits: pd.DataFrame, among: tuple[int, ...]) -> list[str]:
    """From dark, few training images, to light: one colour a size, whatever the kind."""
    sizes = [int(size) for size in splits["train_images"].unique() if size]
    shades = dict(zip(sizes, theme.shades_of(sizes, among), strict=True))
    return [shades.get(size, _UNSIZED) for size in splits["train_images"]]


def _panel(
    splits: list[str], colours: list[str], dashes: list[list[int]], *, most: float, titled: bool
) -> list[alt.Chart]:
    legend = alt.Legend(
        title=None,
        orient="top",
        columns=2,
        labelLimit=320,
        symbolType="stroke",
        symbolStrokeWidth=2.5,
        symbolOpacity=1,
        symbolLimit=0,
    )
    shares = alt.Scale(domain=[0, 1.01], nice=False)
    share = alt.Axis(title="share of test images" if titled else None, format="%", values=[0, 0.25, 0.5, 0.75, 0.9, 1])
    distances = alt.Scale(domain=[0, 1.03 * most or 1.0], nice=False)
    base = alt.Chart().encode(
        x=alt.X(
            "distance:Q", scale=distances, axis=alt.Axis(title="ℓ2 distance to the nearest training image", grid=False)
        ),
        y=alt.Y("share:Q", scale=shares, axis=share),
        color=alt.Color("split:N", sort=splits, scale=alt.Scale(domain=splits, range=colours), legend=legend),
        tooltip=[
            alt.Tooltip("split:N"),
            alt.Tooltip("distance:Q", format=".4~g"),
            alt.Tooltip("share:Q", format=".1%"),
            alt.Tooltip("images:Q", title="test images", format=","),
        ],
    )
    dash = alt.StrokeDash("split:N", sort=splits, scale=alt.Scale(domain=splits, range=dashes), legend=None)
    lines = base.properties(data=alt.NamedData("curves")).mark_line(clip=True, strokeWidth=2, interpolate="step-after")
    marks = base.properties(data=alt.NamedData("marks"))
    shape = alt.Shape(
        "mark:N",
        scale=alt.Scale(domain=list(_MARKS), range=["circle", "diamond"]),
        legend=alt.Legend(title=None, orient="top"),
    )
    down = marks.mark_rule(clip=True, strokeWidth=1, opacity=0.45).encode(y2=alt.Y2Datum(0))
    points = marks.mark_point(clip=True, size=70, filled=True, opacity=1).encode(shape=shape)
    return [down, lines.encode(strokeDash=dash), points]


ORDER = 200

FIGURE = FigureKind(
    name="neighbours",
    title="Distance to the nearest training image",
    needs="distances between images, which are stored with any measure",
    table=table,
    chart=chart,
    note=note,
)
