"""What the page says in words of its numbers, and only as far as they go."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from rdstudy.findings.evidence import LEVEL
from rdstudy.findings.learning import NOTICEABLE
from rdstudy.report import statistics, text
from rdstudy.settings import Recipe

DATA_NOTES = {
    "tetrominoes-fixed": (
        "Positions do not depend on a shape's size, so that parts of some shapes lie outside the image: by less than "
        "half a pixel, of 183 of the 163,840 images."
    )
}
"""What a reader must know of a data set beside its pictures."""

_BETAS_NAMED = 3
_CELLS_NAMED = 6
_OPTIMIZERS = {"adam": "Adam"}
_SCHEDULES = {"constant": "constant", "cosine": "along a cosine to 0"}
_INITIALIZATIONS = {"default": "PyTorch's default initialization", "he": "He initialization"}


def recipe_line(recipe: Recipe) -> str:
    """How all models were trained: what the numbers of the page are true of."""
    rate, schedule = _scientific(recipe.learning_rate), _SCHEDULES.get(recipe.schedule, recipe.schedule)
    start = _INITIALIZATIONS.get(recipe.initialization, f"{recipe.initialization} initialization")
    return (
        f"Trained with {_OPTIMIZERS.get(recipe.optimizer, recipe.optimizer)}, learning rate {rate} ({schedule}), "
        f"batches of {recipe.batch_size:,}, {recipe.steps:,} steps, {start}. What is said below is said of models "
        "that are trained like this."
    )


def _scientific(value: float) -> str:
    """Such as 2e-3."""
    mantissa, exponent = f"{value:.4e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def runs_phrase(points: pd.DataFrame) -> str:
    """How many runs stand behind the points of `statistics.rate_distortion`, and what their bars are."""
    least, most = int(points["runs"].min()), int(points["runs"].max())
    if most == 1:
        return "One run stands behind each point: no error bars."
    many = f"{most} runs" if least == most else f"{least} to {most} runs (the tooltip says how many)"
    return f"Mean ± sample standard deviation over {many}."


def lowest(planned: pd.DataFrame, rows: pd.DataFrame, best: pd.DataFrame) -> list[str]:
    """Where the mean test distortion is lowest, one sentence a cell, and how far it is told apart from the ends.

    Args:
        planned: one row per member, with `cell`.
        rows: of `statistics.ok_rows`.
        best: of `statistics.best_beta`.
    """
    wanted, trained = (table.groupby("cell")["beta"].nunique() for table in (planned, rows))
    gaps = statistics.generalization_gap(rows).set_index(["cell", "beta"])
    compared = best[best["place"] != "only"]
    found = []
    for row in compared.to_dict("records"):
        so_far = "so far, " if trained[row["cell"]] < wanted[row["cell"]] else ""
        gap = gaps.loc[(row["cell"], row["beta"])]
        found.append(_lowest(row, gap, so_far=so_far))
    if not found:
        return []
    most = int(compared["betas"].max())
    told = (compared[[f"{end}_pairs" for end in statistics.ENDS]] > 1).to_numpy().any()
    return [*found, _INTERVALS.format(level=100 * LEVEL, others=most - 1)] if told else found


_INTERVALS = (
    "In brackets: {level:g} % intervals of Student's t over the differences between models of the same seed, widened "
    "for the choice of the lowest of {others} other β."
)


def _lowest(row: Mapping[Any, Any], gap: pd.Series, *, so_far: str) -> str:
    value = text.mean_sd(row["distortion"], row["distortion_sd"]).text
    parts = [f"{row['panel']}: {so_far}mean test distortion is lowest at β = {row['beta']:g} ({value} nats)"]
    if row["place"] in statistics.ENDS:
        parts[0] += f", the {row['place']} β trained: the lowest point may lie beyond"
    parts += [_compared(row, end) for end in statistics.ENDS if end != row["place"] and row[f"{end}_pairs"]]
    sentence = "; ".join(parts) + "."
    if pd.isna(gap["gap"]):
        return sentence
    return f"{sentence} The generalization gap there is {text.mean_sd(gap['gap'], gap['gap_sd']).text} nats."


def _compared(row: Mapping[Any, Any], end: str) -> str:
    """The lowest mean beside that at an end, as far as seeds tell them apart."""
    rise, low, high = (float(row[f"{end}_{name}"]) for name in ("rise", "low", "high"))
    where = f"the {end} β trained, {row[end]:g}"
    if math.isnan(low):
        return f"at {where}, it is {text.number(rise).text} nats higher for the one seed compared"
    half = (high - low) / 2
    decimals = min(max(0, 1 - math.floor(math.log10(half))), 4) if half > 0 else 2
    mean, least, most = (f"{value:,.{decimals}f}".replace("-", "−") for value in (rise, low, high))
    if low > 0:
        return f"at {where}, it is {mean} nats higher ({least} to {most})"
    return f"it is not told apart from that at {where}: {mean} nats higher ({least} to {most})"


def still_learning_note(falls: pd.DataFrame) -> str:
    """Which cells and β still learned when their training ended, and by how much; empty where none is known to.

    Args:
        falls: of `rdstudy.findings.learning.still_learning`, with `cell` and `panel`.
    """
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


def nothing_learned_note(falls: pd.DataFrame) -> str:
    """What is said where no model is known to have learned on; empty where nothing is known of it."""
    if not len(falls) or falls["learning"].any():
        return ""
    return (
        f"As far as seeds tell, nowhere did train D fall by more than {100 * NOTICEABLE:g} % of itself in the last "
        "quarter of training."
    )


def learning_note(curves: pd.DataFrame) -> str:
    """What learning curves are: those of `statistics.learning_curves`."""
    images = f"{int(curves['images'].max()):,}"
    return (
        f"Means over runs on a fixed sample of {images} images of each subset. Distortion is shown above its floor, "
        "the least that any decoder reaches on those images under the likelihood. All axes logarithmic."
    )
