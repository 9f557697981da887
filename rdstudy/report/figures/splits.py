"""The kinds of split that a study uses, on a small example (paper, Figure 2): a figure that needs no trained member."""

from collections.abc import Iterable

import altair as alt
import numpy as np
import pandas as pd

from rdstudy.datasets.splits import make_split, parse_rule, resolve_rule
from rdstudy.report import theme
from rdstudy.study.seeds import derive_seed

_STRATA = (25, 24)  # 600 samples of two factors, as in the paper's Figure 2

TITLE = "How images are split"

_SIDE = 216  # of a panel at most, in CSS pixels

_ONE_SIZE = {"cv": ("cv(120)",), "cd": ("cd(120)",), "checkerboard": ("checkerboard",)}
_MORE_SIZES = {"cv": ("cv(300)", "cv(60)"), "cd": ("cd(200)", "cd(60)")}
_USES = ("train", "test", "unused")
_COLOURS = dict(zip(_USES, (theme.TRAIN, theme.TEST, theme.UNUSED), strict=True))
_SHAPES = {**theme.SUBSET_SHAPES, "unused": "cross"}  # told apart in grey print, too
_NAMES = {"cv": "constant volume", "cd": "constant density", "checkerboard": "checkerboard"}


def shown_rules(splits: Iterable[str]) -> tuple[str, ...]:
    """The rules that illustrate splits, as study files write them: two sizes of a kind of which there are several."""
    kinds: dict[str, set[int | None]] = {}
    for rule in map(parse_rule, splits):
        kinds.setdefault("cv" if rule.kind == "default" else rule.kind, set()).add(rule.train_images)
    chosen = [(_MORE_SIZES if len(kinds[kind]) > 1 else _ONE_SIZE)[kind] for kind in _NAMES if kind in kinds]
    return tuple(rule for rules in chosen for rule in rules)


def note(example: pd.DataFrame) -> str:
    """What a dot and a panel are."""
    many = example.groupby("panel", sort=False).size()
    uses = "training and test images" + (", and those that are in neither" if "unused" in set(example["use"]) else "")
    return (
        f"{many.iloc[0]:,} made-up images with two generative factors, a mark each at its factors: {uses}. They are "
        "split by the rules that split the data of this study."
    )


def description(example: pd.DataFrame) -> str:
    """What the figure shows, for a reader who does not see it."""
    counts = example.groupby("panel", sort=False)["use"].value_counts().unstack(fill_value=0)
    panels = [
        f"{panel}: " + ", ".join(f"{row[use]} {use}" for use in _USES if row.get(use, 0))
        for panel, row in counts.iterrows()
    ]
    return f"{TITLE}: images as marks in the square of two factors. {'; '.join(panels)}."


def splits_example(study_seed: int, splits: Iterable[str]) -> pd.DataFrame:
    """The kinds of split among some, on 600 stratified samples of two factors, made by the rules that train members.

    Args:
        study_seed: of the sample and of the splits.
        splits: as study files write them.

    Returns:
        One row per rule × sample: `panel, rule, first, second` (factors, in the unit square) and `use`: train, test or
        unused.
    """
    rng = np.random.default_rng(derive_seed(study_seed, "illustration of the splits"))
    cells = np.indices(_STRATA).reshape(2, -1).T
    factors = (cells + rng.random(cells.shape)) / np.array(_STRATA)
    images = len(factors)
    parts = []
    for text in shown_rules(splits):
        rule = resolve_rule(text, dataset="illustration", images=images, has_factors=True)
        split = make_split(rule, dataset="illustration", images=images, factors=factors, study_seed=study_seed)
        use = np.full(images, "unused", dtype=object)
        use[split.train], use[split.test] = "train", "test"
        panel = _NAMES[rule.kind] if rule.train_images is None else f"{_NAMES[rule.kind]}, {rule}"
        columns = {"panel": panel, "rule": str(rule), "first": factors[:, 0], "second": factors[:, 1], "use": use}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def splits_chart(example: pd.DataFrame) -> theme.Spec:
    """The splits of a `splits_example` side by side (paper, Figure 2)."""
    panels, sets = [], theme.Datasets()
    many = example["panel"].nunique()
    grid = theme.Grid(many, min(_SIDE, theme.PAGE_PIXELS // many - 62))  # in a row
    uses = [use for use in _USES if (example["use"] == use).any()]
    template = theme.template(_split_panel(uses), width=grid.width, height=grid.width)
    for panel, part in example.groupby("panel", sort=False):
        counts = part["use"].value_counts()
        subtitle = f"{counts.get('train', 0)} train, {counts.get('test', 0)} test"
        rows = sets.add(part[["first", "second", "use"]].round(3))
        panels.append(theme.fill(template, {"samples": rows}, title=str(panel), subtitle=subtitle))
    return theme.finish(theme.lay_out(panels, grid), sets)


def _split_panel(uses: list[str]) -> alt.Chart:
    unit = alt.Scale(domain=[0, 1], nice=False)
    colours = alt.Scale(domain=uses, range=[_COLOURS[use] for use in uses])
    shapes = alt.Scale(domain=uses, range=[_SHAPES[use] for use in uses])
    chart: alt.Chart = (
        theme.chart_of("samples")
        .mark_point(clip=True, size=22, opacity=1, filled=True)
        .encode(
            x=alt.X("first:Q", scale=unit, axis=alt.Axis(title="factor 1", values=[0, 0.5, 1], grid=False)),
            y=alt.Y("second:Q", scale=unit, axis=alt.Axis(title="factor 2", values=[0, 0.5, 1], grid=False)),
            color=alt.Color("use:N", scale=colours, legend=alt.Legend(title=None, orient="top", symbolSize=60)),
            shape=alt.Shape("use:N", scale=shapes),
        )
    )
    return chart
