"""Where the generalization gap comes from: the gap of the ELBO, the decoder's part and the encoder's, against β."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rdstudy.findings.evidence import LEVEL
from rdstudy.findings.student import student_quantile
from rdstudy.report import density, seeds, text
from rdstudy.report.curves import axes_note, curves_chart
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.groups import together
from rdstudy.report.measures import Seeds, by_seed
from rdstudy.report.statistics import AXES

GAP, DECODER, ENCODER = "gap of the ELBO, on these images", "decoder's part", "encoder's part"
REFITTED = "of the test inference gap, taken away by refitting"
WHOLE = "gap of the ELBO, over all images"


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """The generalization gap of the ELBO, what it is made of, and the same gap over all images: `density.INTERVAL`."""
    parts = _parts(experiment.measured)
    table = together([parts, _whole_gap(experiment, parts)])
    order = [GAP, WHOLE, DECODER, ENCODER, REFITTED]  # of the legend
    return table.sort_values("series", key=lambda names: names.map(order.index), kind="stable").reset_index(drop=True)


@dataclass(frozen=True)
class _Value:
    """A sum of means over images.

    Attributes:
        lists: the lists of images' numbers that it is made of, (column, subset).
        of_images: tables of these -> tables whose means add up to the value.
        of_rows: the same from the rows of train and test, each by member.
        needs_belief: whether it is made of log p(x).
    """

    lists: Sequence[tuple[str, str]]
    of_images: Callable[[Mapping[tuple[str, str], density.ImageTable]], Sequence[density.ImageTable]]
    of_rows: Callable[[pd.DataFrame, pd.DataFrame], pd.Series]
    needs_belief: bool


_LISTS = (density.LOG_MARGINAL, density.ELBO, density.REFIT)

_GAP_PARTS: Mapping[str, _Value] = {
    GAP: _Value(
        [(density.ELBO, "train"), (density.ELBO, "test")],
        lambda of: (of[density.ELBO, "train"], -of[density.ELBO, "test"]),
        lambda train, test: (train["above"] - train["inference_gap"]) - (test["above"] - test["inference_gap"]),
        needs_belief=False,
    ),
    DECODER: _Value(
        [(density.LOG_MARGINAL, "train"), (density.LOG_MARGINAL, "test")],
        lambda of: (of[density.LOG_MARGINAL, "train"], -of[density.LOG_MARGINAL, "test"]),
        lambda train, test: train["above"] - test["above"],
        needs_belief=True,
    ),
    ENCODER: _Value(
        [(column, subset) for column in (density.LOG_MARGINAL, density.ELBO) for subset in ("train", "test")],
        lambda of: tuple(
            sign * (of[density.LOG_MARGINAL, subset] - of[density.ELBO, subset])
            for sign, subset in ((1, "test"), (-1, "train"))
        ),
        lambda train, test: test["inference_gap"] - train["inference_gap"],
        needs_belief=True,
    ),
    REFITTED: _Value(
        [(density.REFIT, "test"), (density.ELBO, "test")],
        lambda of: (of[density.REFIT, "test"] - of[density.ELBO, "test"],),
        lambda train, test: test["refit_gain"],  # noqa: ARG005  it is of test images alone
        needs_belief=False,
    ),
}


def _parts(rows: pd.DataFrame) -> pd.DataFrame:
    """The gap and its parts, of the same images and member: train minus test.

    ELBO = log p(x) - inference gap, so that ELBO(train) - ELBO(test) is the difference of log p(x), the decoder's part,
    plus that of the inference gap, the encoder's part. Differences of log p(x) are taken above the floors of the two
    sets of images, so that easier images are no better decoder. The rows are those of `measures.with_planned`.
    """
    rows = density.with_belief(rows)
    train, test = (rows[rows["subset"] == subset].set_index("member_id") for subset in ("train", "test"))
    both = train.index.intersection(test.index)
    train, test = train.loc[both], test.loc[both]
    subsets = {"train": train, "test": test}
    lists = {(column, subset): rows[column].to_numpy() for column in _LISTS for subset, rows in subsets.items()}
    believed, seed = (train["believed"] & test["believed"]).to_numpy(bool), train["seed"].to_numpy()
    numbers = {series: value.of_rows(train, test).to_numpy(float) for series, value in _GAP_PARTS.items()}
    keys, points = [], []
    for key, members in density.places(train, density.POINT):
        tables = {of: density.image_table(column[members]) for of, column in lists.items()}
        for series, value in _GAP_PARTS.items():
            known = members[~np.isnan(numbers[series][members])]
            if len(known):
                sure = believed[known] | (not value.needs_belief)
                keys.append({**dict(zip(density.POINT, key, strict=True)), "series": series})
                points.append(density.PointMembers(numbers[series][known], seed[known], sure, _tables(value, tables)))
    rest = {"subset": "test", "error": np.nan}
    means = [{**key, **point, **rest} for key, point in zip(keys, density.mean_points(points), strict=True)]
    return pd.DataFrame(means, columns=density.INTERVAL)


def _whole_gap(experiment: ExperimentTables, parts: pd.DataFrame) -> pd.DataFrame:
    """The gap of the ELBO over all images, where there are parts: Student's interval over seeds."""
    gaps = experiment.gaps[experiment.gaps["elbo_gap"].notna()]
    gaps = gaps.merge(experiment.planned[["cell", "panel", *AXES]].drop_duplicates("cell"), on="cell")
    models = gaps["gap_models"].astype(int)
    factors = [student_quantile((1 + LEVEL) / 2, many - 1) / many**0.5 if many > 1 else np.nan for many in models]
    half = (gaps["elbo_gap_sd"] * factors).fillna(0.0)
    value = gaps["elbo_gap"]
    named = gaps.assign(value=value, sd=gaps["elbo_gap_sd"], models=models, low=value - half, high=value + half)
    own = _seeds_of_gaps(experiment.member_gaps)
    seeds_of_points = [own[point] for point in zip(named["cell"], named["beta"], strict=True)]
    named = named.assign(seeds=pd.Series(seeds_of_points, named.index, dtype=object))
    whole = named.assign(series=WHOLE, subset="test", believed=True, error=np.nan, of_images=True)[density.INTERVAL]
    return whole.merge(parts[["cell", "beta"]].drop_duplicates(), on=["cell", "beta"])


def _seeds_of_gaps(gaps: pd.DataFrame) -> Mapping[tuple[Any, ...], Seeds]:
    """The known gaps of single members, by cell and β; of `statistics.member_gaps`."""
    known = gaps[gaps["elbo_gap"].notna()]
    seed, gap = known["seed"].to_numpy(), known["elbo_gap"].to_numpy()
    return {point: by_seed(seed[at], gap[at]) for point, at in density.places(known, ["cell", "beta"])}


def _tables(
    value: _Value, made: Mapping[tuple[str, str], density.ImageTable | None]
) -> Sequence[density.ImageTable] | None:
    """The tables of a value; None where a list that it needs is not stored, or seeds or images differ."""
    tables = {key: table for key in value.lists if (table := made[key]) is not None}
    alike = all(
        len({table.shape for key, table in tables.items() if key[1] == subset}) <= 1 for subset in ("train", "test")
    )
    return value.of_images(tables) if len(tables) == len(value.lists) and alike else None


def note(_: ExperimentTables, table: pd.DataFrame) -> str:
    """What the parts are, which of them are not to be believed, and what the bars hold."""
    words = (
        "ELBO of training images less that of test images, on those of the estimate of log p(x): the decoder's part is "
        "the difference of log p(x), the encoder's part that of the inference gap log p(x) − ELBO, all on the same "
        "images. Hollow: the log p(x) of either subset is not to be believed, nor a part made of it. A check on the "
        "encoder's part: how much of the test inference gap goes away when a posterior is fitted to each test image "
        "under the frozen decoder. Beside them the same gap over all images, where its interval is that of the seeds."
    )
    return text.joined(words, density.interval_note(table), seeds.note(table), axes_note(table))


ORDER = 120

FIGURE = FigureKind(
    name="gap-parts",
    title="Where the generalization gap comes from",
    needs="the measure log_marginal",
    table=table,
    chart=lambda _, table: curves_chart(table, title="nats per image", apart=True),
    note=note,
    rank="main",
)
