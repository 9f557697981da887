"""The runs behind the points of a page: ids, settings and values, which the page lists and saves."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from rdstudy.report.cells import STUDY, cell_factors
from rdstudy.report.embedding import block_json, dumps
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.read import StudyTables

MOST_RUNS = 20_000
"""With more, their rows would be most of a page."""

_NO_RUNS = "With more than {most:,} models, this page holds their means and not single runs: --tables writes them."
_VALUES = ("distortion", "rate", "distortion_floor", "stop_distortion", "stop_rate")


def runs_json(study: StudyTables, whole: ExperimentTables, experiments: Sequence[ExperimentTables]) -> str:
    """What the page needs to lead from a point to its runs, as JSON; `whole` is all of the study as one experiment.

    Returns:
        An object of `name`, `retrain` (the command, but for the id), `declaration`; `runs`, a block of
        `embedding.block_json` with a row for each planned model, in the order of the declaration, and `runs_count`;
        `cells`, a block of the settings of each number of `runs.cell`; `experiments`, name -> `cells` (of each cell of
        the experiment, its number in `runs.cell`) and `runs` (ranges of rows). Of very many models, `runs` is null
        and `no_runs` says why.
    """
    few = has_runs(whole)
    numbers = dict(zip(whole.planned["member_id"], range(len(whole.planned)), strict=True))
    parts = {
        "name": dumps(study.name),
        "retrain": dumps(f"python -m rdstudy.retrain {_folder(study)}"),
        "declaration": dumps(study.declared),
        "runs_count": dumps(len(whole.planned) if few else 0),
        "no_runs": dumps("" if few else _NO_RUNS.format(most=MOST_RUNS)),
        "cells": block_json(_cells(whole.planned)),
        "runs": block_json(_runs(whole, study.members)) if few else "null",
        "experiments": dumps({each.name: _experiment(each, whole, numbers) for each in experiments} if few else {}),
    }
    return "{" + ",".join(f'"{name}":{text}' for name, text in parts.items()) + "}"


def has_runs(whole: ExperimentTables) -> bool:
    """Whether a page holds its single models."""
    return len(whole.planned) <= MOST_RUNS


def _folder(study: StudyTables) -> str:
    """The results folder in a command; a word for it where there are two, or where it is withheld."""
    return "RESULTS" if STUDY in study.planned or not study.uri else shlex.quote(study.uri)


def _cells(planned: pd.DataFrame) -> dict[str, pd.Series]:
    cells = planned.drop_duplicates("cell").sort_values("cell")
    return {factor: cells[factor] for factor in cell_factors(planned)}


def _runs(whole: ExperimentTables, members: pd.DataFrame) -> dict[str, pd.Series]:
    """One row a planned model: null where it is not trained."""
    by_subset = {subset: rows.set_index("member_id") for subset, rows in members.groupby("subset")}
    ids = whole.planned["member_id"]
    outcomes = members.drop_duplicates("member_id").set_index("member_id")
    columns: dict[str, pd.Series] = {name: whole.planned[name] for name in ("member_id", "cell", "beta", "seed")}
    columns["outcome"] = ids.map(outcomes["outcome"]).astype(object).where(lambda known: known.notna(), "missing")
    for subset in ("test", "train"):
        for name in _VALUES:
            known = by_subset[subset][name].astype(float) if subset in by_subset else pd.Series(dtype=float)
            columns[f"{name}_{subset}"] = ids.map(known)
    seconds = ids.map(outcomes["wall_seconds"].astype(float))
    return {**columns, "seconds": seconds}


def _experiment(tables: ExperimentTables, whole: ExperimentTables, numbers: dict[str, int]) -> dict[str, Any]:
    rows = sorted(numbers[member] for member in tables.planned["member_id"])
    number = whole.planned["cell"].to_numpy()
    first = tables.planned.drop_duplicates("cell").sort_values("cell")["member_id"]
    return {"cells": [int(number[numbers[member]]) for member in first], "runs": list(_ranges(rows))}


def _ranges(rows: list[int]) -> Iterator[list[int]]:
    """Whole numbers in ascending order as ranges [first, end)."""
    start = 0
    for place in range(1, len(rows) + 1):
        if place == len(rows) or rows[place] != rows[place - 1] + 1:
            yield [rows[start], rows[place - 1] + 1]
            start = place
