"""log p(x) and the generalization gap of the ELBO, as curves over β: intervals hold the choice of images and the seeds.

A value that is made of a log p(x) that is not to be believed is not to be believed either. All values are in nats per
image. An image's number is the same image's in all members of a cell and subset, and already above its floor.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rdstudy.findings.belief import believed
from rdstudy.findings.evidence import LEVEL
from rdstudy.findings.student import student_quantile
from rdstudy.report.crossed import crossed_interval
from rdstudy.report.measures import CURVES

DOUBT = {"log_marginal_khat": "Pareto k̂", "log_marginal_ess": "effective sample size", "log_marginal_passed": "passed"}
"""What says whether to believe a log p(x): column -> how a reader sees it; means over runs."""

INTERVAL = [*CURVES, "low", "high", "of_images"]
"""The columns of every table here: `of_images`, whether the interval holds the choice of images too."""

GAP, DECODER, ENCODER = "gap of the ELBO, on these images", "decoder's part", "encoder's part"
REFITTED = "of the test inference gap, taken away by refitting"
WHOLE = "gap of the ELBO, over all images"

_POINT = ["cell", "panel", "dataset", "beta"]
_Table = NDArray[np.float64]  # [seed, image]


_LOG_MARGINAL, _ELBO, _REFIT = "image_log_marginal", "image_elbo", "image_refit_elbo"


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
    of_images: Callable[[Mapping[tuple[str, str], _Table]], Sequence[_Table]]
    of_rows: Callable[[pd.DataFrame, pd.DataFrame], pd.Series]
    needs_belief: bool


_GAP_PARTS: Mapping[str, _Value] = {
    GAP: _Value(
        [(_ELBO, "train"), (_ELBO, "test")],
        lambda of: (of[_ELBO, "train"], -of[_ELBO, "test"]),
        lambda train, test: (train["above"] - train["inference_gap"]) - (test["above"] - test["inference_gap"]),
        needs_belief=False,
    ),
    DECODER: _Value(
        [(_LOG_MARGINAL, "train"), (_LOG_MARGINAL, "test")],
        lambda of: (of[_LOG_MARGINAL, "train"], -of[_LOG_MARGINAL, "test"]),
        lambda train, test: train["above"] - test["above"],
        needs_belief=True,
    ),
    ENCODER: _Value(
        [(column, subset) for column in (_LOG_MARGINAL, _ELBO) for subset in ("train", "test")],
        lambda of: tuple(
            sign * (of[_LOG_MARGINAL, subset] - of[_ELBO, subset]) for sign, subset in ((1, "test"), (-1, "train"))
        ),
        lambda train, test: test["inference_gap"] - train["inference_gap"],
        needs_belief=True,
    ),
    REFITTED: _Value(
        [(_REFIT, "test"), (_ELBO, "test")],
        lambda of: (of[_REFIT, "test"] - of[_ELBO, "test"],),
        lambda train, test: test["refit_gain"],  # noqa: ARG005  it is of test images alone
        needs_belief=False,
    ),
}


def log_marginals(rows: pd.DataFrame) -> pd.DataFrame:
    """-log p(x) above the floor of the same images: `INTERVAL` and `DOUBT`.

    Args:
        rows: of `measures.with_planned`.
    """
    rows = _with_belief(rows[rows["log_marginal"].notna()])
    found = []
    for key, part in rows.groupby([*_POINT, "subset"], sort=True):
        table = _table(part, _LOG_MARGINAL)
        point = _point(-part["above"], None if table is None else [-table], believed=bool(part["believed"].all()))
        doubt = {name: part[name].mean() for name in DOUBT}
        error = part["log_marginal_se"].mean()
        named = {"series": "−log p(x) above the floor", "error": error}
        found.append({**dict(zip([*_POINT, "subset"], key, strict=True)), **point, **doubt, **named})
    return pd.DataFrame(found, columns=[*INTERVAL, *DOUBT])


def gap_parts(rows: pd.DataFrame) -> pd.DataFrame:
    """The generalization gap of the ELBO and what it is made of, of the same images and member: train minus test.

    ELBO = log p(x) - inference gap, so that ELBO(train) - ELBO(test) is the difference of log p(x), the decoder's part,
    plus that of the inference gap, the encoder's part. Differences of log p(x) are taken above the floors of the two
    sets of images, so that easier images are no better decoder.

    Args:
        rows: of `measures.with_planned`.
    """
    rows = _with_belief(rows[rows["log_marginal"].notna()])
    found = []
    for key, part in rows.groupby(_POINT, sort=True):
        subsets = {name: part[part["subset"] == name] for name in ("train", "test")}
        both = set(subsets["train"]["member_id"]) & set(subsets["test"]["member_id"])
        subsets = {name: table[table["member_id"].isin(both)] for name, table in subsets.items()}
        train, test = (table.set_index("member_id") for table in subsets.values())
        for series, value in _GAP_PARTS.items():
            numbers = value.of_rows(train, test).dropna()
            if len(numbers):
                sure = not value.needs_belief or bool(train["believed"].all() and test["believed"].all())
                point = _point(numbers, _tables(value, subsets), believed=sure)
                named = {"series": series, "subset": "test", "error": np.nan}
                found.append({**dict(zip(_POINT, key, strict=True)), **point, **named})
    return _in_order(pd.DataFrame(found, columns=INTERVAL))


def with_whole_gap(parts: pd.DataFrame, gaps: pd.DataFrame) -> pd.DataFrame:
    """Put the gap of the ELBO over all images beside that of the measured ones: Student's interval over seeds.

    Args:
        parts: of `gap_parts`.
        gaps: of `statistics.generalization_gap`, with `panel` and `dataset`.
    """
    runs = gaps["gap_runs"].astype(int)
    factors = [student_quantile((1 + LEVEL) / 2, many - 1) / many**0.5 if many > 1 else np.nan for many in runs]
    half = (gaps["elbo_gap_sd"] * factors).fillna(0.0)
    value = gaps["elbo_gap"]
    named = gaps.assign(value=value, sd=gaps["elbo_gap_sd"], runs=runs, low=value - half, high=value + half)
    whole = named.assign(series=WHOLE, subset="test", believed=True, error=np.nan, of_images=True)[INTERVAL]
    whole = whole.merge(parts[["cell", "beta"]].drop_duplicates(), on=["cell", "beta"])
    return _in_order(pd.concat([parts, whole], ignore_index=True)) if len(whole) else parts


def _with_belief(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that are used here, by member, as plain numbers: groups of whole rows cost seconds."""
    above = rows["log_marginal"].astype(float) + rows["log_marginal_floor"].astype(float)
    numbers = ["inference_gap", "refit_gain", "log_marginal_se", *DOUBT]
    kept = rows[["member_id", *_POINT, "subset", _LOG_MARGINAL, _ELBO, _REFIT]]
    kept = kept.join(rows[numbers].astype(float)).assign(above=above, believed=believed(rows))
    return kept.sort_values("member_id", kind="stable")


def _point(numbers: pd.Series, tables: Sequence[_Table] | None, *, believed: bool) -> dict[str, object]:
    """A mean over members with its interval: of seeds and images, or mean ± sd where images' numbers are not stored."""
    mean, sd = float(numbers.mean()), float(numbers.std(ddof=1))
    point = {"value": mean, "sd": sd, "runs": len(numbers), "believed": believed, "of_images": tables is not None}
    if tables is None:
        half = 0.0 if np.isnan(sd) else sd
        return {**point, "low": mean - half, "high": mean + half}
    interval = crossed_interval(tables)
    return {**point, "low": interval.low, "high": interval.high}


def _tables(value: _Value, subsets: Mapping[str, pd.DataFrame]) -> Sequence[_Table] | None:
    """The tables of a value; None where a list that it needs is not stored, or seeds or images differ."""
    found = {(column, subset): _table(subsets[subset], column) for column, subset in value.lists}
    tables = {key: table for key, table in found.items() if table is not None}
    alike = all(len({table.shape for key, table in tables.items() if key[1] == name}) <= 1 for name in subsets)
    return value.of_images(tables) if len(tables) == len(found) and alike else None


def _table(rows: pd.DataFrame, column: str) -> _Table | None:
    """Of the members of a point, [seed, image]; None where some member has no such numbers, or others than the rest."""
    lists = [np.asarray(row, np.float64) for row in rows[column] if row is not None and np.ndim(row) == 1]
    if not lists or len(lists) < len(rows) or len({len(one) for one in lists}) > 1 or len(lists[0]) < 2:
        return None
    table = np.stack(lists)
    return table if np.isfinite(table).all() else None


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    """By series, in the order in which a legend names them."""
    order = [GAP, WHOLE, DECODER, ENCODER, REFITTED]
    return table.sort_values("series", key=lambda names: names.map(order.index), kind="stable").reset_index(drop=True)
