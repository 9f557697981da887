"""log p(x) image by image: means over seeds and images, with intervals that hold the choice of both.

A value that is made of a log p(x) that is not to be believed is not to be believed either. All values are in nats per
image. An image's number is the same image's in all members of a cell and subset, and already above its floor. An
interval over seeds alone is one for these very images, and too short where another choice of images would have given
another mean. Its arithmetic is that of the verdicts: `rdstudy.findings.spread`.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rdstudy.findings.belief import believed
from rdstudy.findings.evidence import LEVEL
from rdstudy.findings.spread import spread_of
from rdstudy.findings.student import student_quantile
from rdstudy.report.measures import CURVES, by_seed
from rdstudy.report.statistics import AXES

DOUBT = {"log_marginal_khat": "Pareto k̂", "log_marginal_ess": "effective sample size", "log_marginal_passed": "passed"}
"""What says whether to believe a log p(x): column -> how a reader sees it; means over models."""

INTERVAL = [*CURVES, "low", "high", "of_images"]
"""The columns of every table of such means: `of_images`, whether the interval holds the choice of images too."""

POINT = ["cell", "panel", *AXES, "beta"]
_MOST_DF = 60  # of which the quantile is within 2 % of the normal one
_AT_ONCE = 1_000  # points whose images are in memory twice
ImageTable = NDArray[np.float64]  # [seed, image]
Numbers = NDArray[Any]  # [member]

LOG_MARGINAL, ELBO, REFIT = "image_log_marginal", "image_elbo", "image_refit_elbo"
"""Columns of measures: lists of single images' numbers."""


@dataclass(frozen=True)
class Interval:
    """A mean with its interval at `LEVEL`.

    Attributes:
        mean: over seeds and images.
        low: lower end.
        high: upper end.
        seeds: how many; of 1, the interval holds the choice of images alone.
        images: how many, of all tables together.
    """

    mean: float
    low: float
    high: float
    seeds: int
    images: int


def crossed_interval(tables: Sequence[ImageTable]) -> Interval:
    """The sum of the means of some tables [seed, image], each with images of its own: y - x is that of y and -x.

    Args:
        tables: one or more, each [seed, image] with two images or more and no gaps, all with the same seeds in the same
            order.

    Returns:
        The interval of the sum.

    Raises:
        ValueError: tables differ in seeds, or one has fewer than two images.
    """
    return crossed_intervals([tables])[0]


def crossed_intervals(points: Sequence[Sequence[ImageTable]]) -> list[Interval]:
    """`crossed_interval` of many points, those whose tables are of equal shapes at once.

    Raises:
        ValueError: of one point, as there.
    """
    alike: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for at, tables in enumerate(points):
        alike.setdefault(tuple(table.shape for table in tables), []).append(at)
    intervals: dict[int, Interval] = {}
    for shapes, places in alike.items():
        if len({seeds for seeds, _ in shapes}) != 1 or any(images < 2 for _, images in shapes):
            raise ValueError(
                f"tables [seed, image] are {', '.join(map(str, shapes))}; allowed: equal numbers of seeds, two images "
                "or more"
            )
        tables = [np.stack([points[at][number] for at in places], axis=1) for number in range(len(shapes))]
        intervals |= zip(places, _intervals(tables), strict=True)
    return [intervals[at] for at in range(len(points))]


def _intervals(tables: Sequence[ImageTable]) -> Iterator[Interval]:
    """Of tables [seed, point, image], the interval of each point."""
    many, images = len(tables[0]), sum(table.shape[2] for table in tables)
    means = np.sum([table.mean(axis=2) for table in tables], axis=0)  # [seed, point]
    if many == 1:  # nothing is known of seeds
        errors = np.sqrt(np.sum([table[0].var(axis=1, ddof=1) / table.shape[2] for table in tables], axis=0))
        degrees = np.full(len(errors), min(table.shape[2] for table in tables) - 1)
    else:
        spread = spread_of(means[:, :, None], [table[:, :, None] for table in tables])
        errors, degrees = spread.error[:, 0], spread.df[:, 0]
    for mean, error, df in zip(means.mean(axis=0).tolist(), errors.tolist(), degrees.tolist(), strict=True):
        half = student_quantile((1 + LEVEL) / 2, min(df, _MOST_DF)) * error
        yield Interval(mean, mean - half, mean + half, many, images)


def with_belief(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of `measures.with_planned` with an estimate of log p(x), by member, with what it is `above` the floor.

    Only the columns that such means need, as plain numbers: groups of whole rows cost seconds.
    """
    rows = rows[rows["log_marginal"].notna()]
    above = rows["log_marginal"].astype(float) + rows["log_marginal_floor"].astype(float)
    numbers = ["inference_gap", "refit_gain", "log_marginal_se", *DOUBT]
    kept = rows[["member_id", *POINT, "seed", "subset", LOG_MARGINAL, ELBO, REFIT]]
    kept = kept.join(rows[numbers].astype(float)).assign(above=above, believed=believed(rows))
    return kept.sort_values("member_id", kind="stable")


def places(rows: pd.DataFrame, by: list[str]) -> list[tuple[tuple[Any, ...], Numbers]]:
    """Where the rows of each group are, in the order of the groups: a slice of whole rows for each costs seconds."""
    groups: Any = rows.groupby(by, sort=True).indices
    return sorted(groups.items())


@dataclass(frozen=True)
class PointMembers:
    """The members behind a point.

    Attributes:
        numbers: [member].
        seeds: [member].
        believed: [member], whether each is to be believed; their mean is where all are.
        tables: of `crossed_interval`; None where images' numbers are not stored.
    """

    numbers: Numbers
    seeds: Numbers
    believed: Numbers
    tables: Sequence[ImageTable] | None


def mean_points(points: Iterable[PointMembers]) -> Iterator[dict[str, object]]:
    """Means over members with intervals: of seeds and images, or mean ± sd where images' numbers are not stored."""
    rest = iter(points)
    while batch := list(itertools.islice(rest, _AT_ONCE)):
        intervals = iter(crossed_intervals([point.tables for point in batch if point.tables is not None]))
        for point in batch:
            yield _mean_point(point, None if point.tables is None else next(intervals))


def _mean_point(point: PointMembers, interval: Interval | None) -> dict[str, object]:
    numbers = point.numbers
    mean, sd = float(numbers.mean()), float(numbers.std(ddof=1)) if len(numbers) > 1 else np.nan
    mean_of: dict[str, object] = {"value": mean, "sd": sd, "models": len(numbers)}
    mean_of |= {"seeds": by_seed(point.seeds, numbers, point.believed), "believed": bool(point.believed.all())}
    if interval is None:
        half = 0.0 if np.isnan(sd) else sd
        return {**mean_of, "of_images": False, "low": mean - half, "high": mean + half}
    return {**mean_of, "of_images": True, "low": interval.low, "high": interval.high}


def image_table(rows: Iterable[object]) -> ImageTable | None:
    """Of the members of a point, [seed, image]; None where some member has no such numbers, or others than the rest.

    Args:
        rows: of each member, a list of single images' numbers.
    """
    given = list(rows)
    lists = [np.asarray(row, np.float64) for row in given if row is not None]
    if (
        not lists
        or len(lists) < len(given)
        or len({numbers.shape for numbers in lists}) > 1
        or lists[0].ndim != 1
        or len(lists[0]) < 2
    ):
        return None
    table = np.stack(lists)
    return table if np.isfinite(table).all() else None


def interval_note(table: pd.DataFrame) -> str:
    """What the bars of a table with the columns `INTERVAL` are."""
    held = table["of_images"].astype(bool)
    spread = "sample standard deviation over models, since numbers of single images are not stored"
    if not held.any():
        return f"Bars: {spread}; the choice of images, the same for all models, is not in them."
    alone = table["models"].max() == 1
    which = "images alone, as there is one model" if alone else "images, the same for all models, as well as the seeds"
    note = f"Bars: {100 * LEVEL:g} % intervals that hold the choice of {which}"
    return f"{note}." if held.all() else f"{note}; at some points {spread}."
