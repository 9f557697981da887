"""What the page says in words of its numbers, and only as far as they go."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from rdstudy.findings.evidence import LEVEL
from rdstudy.findings.learning import NOTICEABLE
from rdstudy.report import statistics, text
from rdstudy.report.experiment import ExperimentTables
from rdstudy.results.declaration import DeclaredExperiment
from rdstudy.study.cells import level_name
from rdstudy.study.factors import CELL_FACTORS, FACTORS, RECIPE_FACTORS

DATA_NOTES = {
    "tetrominoes-fixed": (
        "Positions do not depend on a shape's size, so that parts of some shapes lie outside the image: by less than "
        "half a pixel, of 183 of the 163,840 images."
    )
}
"""What a reader must know of a data set beside its pictures."""

_CURVES = ("distortion", "rate-distortion")
_CELLS_SAID = 8
_BETAS_NAMED = 3
_CELLS_NAMED = 6
_LEVELS_NAMED = 6


def recipe_line(planned: pd.DataFrame) -> str:
    """How all models were trained, by their settings: what the numbers of the page are true of."""
    parts = [part for name in RECIPE_FACTORS if (part := _recipe_part(name, planned[name].drop_duplicates().tolist()))]
    return f"Trained with: {', '.join(parts)}. What is said below is said of models that are trained like this."


def _recipe_part(name: str, levels: list[Any]) -> str:
    """A setting of the recipe: its one level, or those that it was given; empty where it is 0."""
    if len(levels) == 1:
        return level_name(name, levels[0]) if levels[0] else ""
    ordered = levels if FACTORS[name].kind is str else sorted(levels)
    shown = [_bare(level, ordered) for level in ordered[:_LEVELS_NAMED]]
    more = f" and {len(levels) - _LEVELS_NAMED} more" if len(levels) > _LEVELS_NAMED else ""
    return f"{name.replace('_', ' ')} varied ({', '.join(shown)}{more})"


def _bare(level: Any, among: list[Any]) -> str:
    """A level without its factor's name, and without the hash of a user's own part where no two levels differ in it."""
    if not isinstance(level, str):
        return f"{level:,}" if isinstance(level, int) else f"{level:g}"
    name = level.partition("@")[0]
    return level if sum(other.partition("@")[0] == name for other in among) > 1 else name


def models_phrase(points: pd.DataFrame) -> str:
    """How many models stand behind the points of `statistics.rate_distortion`, and what their bars are."""
    least, most = int(points["models"].min()), int(points["models"].max())
    if most == 1:
        return "One model stands behind each point: no error bars."
    many = f"{most} models" if least == most else f"{least} to {most} models (the tooltip says how many)"
    return f"Mean ± sample standard deviation over {many}."


def lowest_lines(tables: ExperimentTables, experiment: DeclaredExperiment) -> tuple[str, ...]:
    """What `lowest` says of an experiment that shows distortions; nothing of a cell of which an earlier one says it."""
    if not _says_lowest(tables, experiment):
        return ()
    earlier = itertools.takewhile(lambda other: other.name != experiment.name, tables.study.experiments)
    said = {name for other in earlier if _says_lowest(tables, other) for name in other.member_ids}
    planned = tables.planned
    fresh = set(planned.loc[~planned["member_id"].isin(said), "cell"])
    best = tables.best[tables.best["cell"].isin(fresh)]
    return tuple(lowest(planned, tables.rows, best=best, gaps=tables.gaps))


def _says_lowest(tables: ExperimentTables, experiment: DeclaredExperiment) -> bool:
    """Whether an experiment of the study shows distortions of few cells: of many, the picture says it better."""
    planned = tables.study.planned
    own = planned[planned["member_id"].isin(experiment.member_ids)]
    return experiment.shows(*_CURVES) and len(own[list(CELL_FACTORS)].drop_duplicates()) <= _CELLS_SAID


def lowest(planned: pd.DataFrame, rows: pd.DataFrame, *, best: pd.DataFrame, gaps: pd.DataFrame) -> list[str]:
    """Where the mean test distortion is lowest, as far as intervals tell it from the ends: one sentence a cell.

    A cell of which no two seeds are compared is left out: of it, nothing is told.

    Args:
        planned: one row per member, with `cell`.
        rows: of `statistics.ok_rows`.
        best: of `statistics.best_beta`.
        gaps: of `statistics.generalization_gap`.
    """
    wanted, trained = (table.groupby("cell")["beta"].nunique() for table in (planned, rows))
    gaps = gaps.set_index(["cell", "beta"])
    compared = [row for row in best.to_dict("records") if _compared_ends(row)]
    lines = []
    for row in compared:
        so_far = "so far, " if trained[row["cell"]] < wanted[row["cell"]] else ""
        gap = gaps.loc[(row["cell"], row["beta"])]
        lines.append(_lowest(row, gap, so_far=so_far))
    if not lines:
        return []
    most = max(int(row["betas"]) for row in compared)
    return [*lines, _INTERVALS.format(level=100 * LEVEL, others=most - 1)]


def _compared_ends(row: Mapping[Any, Any]) -> list[str]:
    """The ends with which the best β is compared in two seeds or more: in one, nothing is told."""
    if row["place"] == "only":
        return []
    return [end for end in statistics.ENDS if end != row["place"] and row[f"{end}_pairs"] > 1]


_INTERVALS = (
    "In brackets: {level:g} % intervals of Student's t over the differences between models of the same seed, widened "
    "for the choice of the lowest of {others} other β."
)


def _lowest(row: Mapping[Any, Any], gap: pd.Series, *, so_far: str) -> str:
    at = f"β = {row['beta']:g}"
    if row["place"] in statistics.ENDS:
        at += f", the {row['place']} trained, an end of the range beyond which it may be lower"
    ends = _compared_ends(row)
    apart = [end for end in ends if row[f"{end}_low"] > 0]
    lead = f"{row['panel']}: {so_far}" + ("" if apart else "no β is told apart as the best: ")
    value = f" ({text.mean_sd(row['distortion'], row['distortion_sd']).text} nats)" if apart else ""
    compared = ", and ".join(_compared(row, end) for end in ends)
    sentence = f"{lead}the lowest mean test distortion{value}, at {at}, is {compared}."
    if pd.isna(gap["gap"]) or apart != ends:
        return sentence
    return f"{sentence} The generalization gap there is {text.mean_sd(gap['gap'], gap['gap_sd']).text} nats."


def _compared(row: Mapping[Any, Any], end: str) -> str:
    """The lowest mean beside that at an end, as far as seeds tell them apart."""
    rise, low, high = (float(row[f"{end}_{name}"]) for name in ("rise", "low", "high"))
    half = (high - low) / 2
    decimals = min(max(0, 1 - math.floor(math.log10(half))), 4) if half > 0 else 2
    mean, least, most = (f"{value:,.{decimals}f}".replace("-", "−") for value in (rise, low, high))
    where = f"that at β = {row[end]:g}, the {end} trained"
    if low > 0:
        return f"{mean} nats ({least} to {most}) below {where}"
    return f"not told apart from {where} (difference {least} to {most} nats)"


def still_learning_note(falls: pd.DataFrame) -> str:
    """Which cells and β still learned at the end of training, and by how much (`findings.learning`); empty if none."""
    learning = falls[falls["learning"]]
    if not len(learning):
        return ""
    cells = [
        f"{part['panel'].iloc[0]} at {_of_cell(part.sort_values('beta'))}"
        for _, part in learning.groupby("cell", sort=True)
    ]
    more = len(cells) - _CELLS_NAMED
    named = cells[:_CELLS_NAMED] + ([f"and {more} more, see the table of results"] if more > 0 else [])
    return (
        f"Still learning when training ended (train D above its floor fell by more than {100 * NOTICEABLE:g} % of "
        f"itself in the last quarter, in nats ± standard error): {'; '.join(named)}."
    )


def _of_cell(learning: pd.DataFrame) -> str:
    falls = [text.mean_sd(fall, error).text for fall, error in zip(learning["fall"], learning["error"], strict=True)]
    betas = [f"{beta:g}" for beta in learning["beta"]]
    if len(betas) <= _BETAS_NAMED:
        return "β = " + ", ".join(f"{beta} (by {fall})" for beta, fall in zip(betas, falls, strict=True))
    ends = dict.fromkeys(
        text.number(value, digits=2).text for value in (learning["fall"].min(), learning["fall"].max())
    )
    return f"{len(betas)} β from {betas[0]} to {betas[-1]} (by {' to '.join(ends)})"
