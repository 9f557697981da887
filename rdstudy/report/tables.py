"""The tables of a page: tidy tables of numbers -> entries that a reader sees, with heads, hints and captions."""

from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import pandas as pd

from rdstudy.report import measures, statistics, text
from rdstudy.report.cells import naming_factors
from rdstudy.report.experiment import ExperimentTables
from rdstudy.study.cells import level_name
from rdstudy.study.words import duration

_FAILURES_SHOWN = 40


def splits_table(used: pd.DataFrame) -> text.Table:
    """How many images the splits have; of `coverage.splits_used`."""
    rows = [
        [
            text.Entry(row["dataset"]),
            text.Entry(level_name("split", row["split"])),
            text.count(row["train"]),
            text.count(row["test"]),
        ]
        for row in used.to_dict("records")
    ]
    heads = [("Data set", ""), ("Split", ""), ("Train", "images"), ("Test", "images")]
    return text.table(heads, rows, title="Images of each split")


def results_table(whole: ExperimentTables) -> text.Table:
    """Rate, distortion, ELBO and gap of every cell and β."""
    planned = whole.planned
    factors = naming_factors(planned)
    cells = planned.drop_duplicates("cell").set_index("cell")[list(factors)]
    measures = [(name, subset) for name in ("distortion", "rate", "elbo") for subset in ("test", "train")]
    heads = [(factor.replace("_", " ").capitalize(), "") for factor in factors]
    heads += [("β", ""), ("Models", "behind the row")]
    letters = {"distortion": "D", "rate": "R", "elbo": "ELBO"}
    heads += [(f"{letters[name]} {subset}", "mean ± sd, nats per image") for name, subset in measures]
    heads += [("Gap", "test minus train distortion, each above its floor"), ("Floor test", ""), ("Floor train", "")]
    heads += [("Fall of D train in the last quarter", "of training: mean ± standard error over seeds, nats per image")]
    lines, levels = [], {factor: cells[factor].unique() for factor in factors}
    falls = whole.falls[["cell", "beta", "fall", "error"]]
    table = statistics.results(whole.points, whole.gaps).merge(falls, on=["cell", "beta"], how="left")
    named = {
        cell: [_level(str(factor), level, levels[str(factor)]) for factor, level in row.items()]
        for cell, row in cells.to_dict("index").items()
    }
    for row in table.to_dict("records"):
        line = [*named[row["cell"]], text.plain(row["beta"]), text.count(row["models"])]
        line += [text.mean_sd(row[f"{name}_{subset}"], row[f"{name}_sd_{subset}"]) for name, subset in measures]
        line += [
            text.mean_sd(row["gap"], row["gap_sd"]),
            text.number(row["floor_test"]),
            text.number(row["floor_train"]),
            text.mean_sd(row["fall"], row["error"]),
        ]
        lines.append(line)
    return text.table(heads, lines, title="Mean ± sample standard deviation over models, nats per image")


def _level(factor: str, level: object, among: Iterable[object]) -> text.Entry:
    if isinstance(level, Integral):
        return text.count(float(level))
    if isinstance(level, Real):
        return text.plain(float(level))
    return text.Entry(level_name(factor, level, among=among))


def completeness_table(complete: pd.DataFrame) -> text.Table:
    """How many models ended how; of `coverage.completeness`."""
    columns = ["planned", "ok", "nonfinite", "failed", "missing"]
    lines = [
        [text.Entry(row["title"]), *(text.count(row[column]) for column in columns)]
        for row in complete.to_dict("records")
    ]
    names = ("Planned", "Trained", "Not finite", "Failed", "Missing")
    heads = [("Experiment", ""), *((name, "models") for name in names)]
    return text.table(heads, lines, title="Models by how their training ended")


def failures_table(failed: pd.DataFrame) -> text.Table:
    """Why models failed, the most frequent causes; of `coverage.failures`."""
    heads = [("Outcome", ""), ("Models", ""), ("Reason", "of the example"), ("Example", "member id"), ("Which", "")]
    lines = [
        [
            text.Entry(row["outcome"]),
            text.count(row["models"]),
            text.Entry(row["reason"]),
            text.Entry(row["member_id"]),
            text.Entry(f"{row['panel']}, β = {row['beta']:g}, seed {row['seed']}"),
        ]
        for row in failed.head(_FAILURES_SHOWN).to_dict("records")
    ]
    return text.table(heads, lines, title="Models that did not end well, by cause")


def unmeasured_table(stored: pd.DataFrame) -> text.Table:
    """Reasons for which measures have no value, and how many models each concerns."""
    lines = [
        [text.Entry(row["reason"]), text.count(row["members"])]
        for row in measures.null_reasons(stored).to_dict("records")
    ]
    heads = [("Reason", "subset, measure and why"), ("Models", "")]
    return text.table(heads, lines, title="Measures without a value, by reason")


def certificates_table(measured: pd.DataFrame) -> text.Table:
    """Bounds on log p(x) of images simulated from a model, and the importance-weighted estimate between them."""
    lines = [
        [
            text.Entry(row["panel"]),
            text.plain(row["beta"]),
            text.count(row["seed"]),
            text.count(row["annealing_images"]),
            *(
                text.mean_sd(row[f"annealed_{name}"], row[f"annealed_{name}_se"])
                for name in ("lower", "importance", "upper")
            ),
        ]
        for row in measures.certificates(measured).to_dict("records")
    ]
    names = ("Lower bound", "Importance weighting", "Upper bound")
    heads = [("Model", ""), ("β", ""), ("Seed", ""), ("Images", "simulated")]
    heads += [(name, "mean ± standard error, nats") for name in names]
    return text.table(heads, lines, title="Bounds on log p(x) of images simulated from a model")


def provenance_table(produced: pd.DataFrame) -> text.Table:
    """What produced the rows; of `coverage.provenance`."""
    heads = ["Code", "Numerics", "Python", "torch", "numpy", "Device", "Hosts", "Models", "Model time", "First", "Last"]
    lines = [
        [
            *(text.Entry(_known(row[name])) for name in ("code_version", "numerics_version", "python_version")),
            *(text.Entry(_known(row[name])) for name in ("torch_version", "numpy_version", "device")),
            text.count(row["hosts"]),
            text.count(row["models"]),
            text.Entry(duration(row["wall_seconds"]), float(row["wall_seconds"])),
            *(text.Entry(_date(row[name])) for name in ("first", "last")),
        ]
        for row in produced.to_dict("records")
    ]
    hints = {"Model time": "training and evaluation, summed over models"}
    return text.table([(head, hints.get(head, "")) for head in heads], lines, title="What produced the rows")


def costs_table(spent: pd.DataFrame) -> text.Table:
    """What experiments took; of `costs.costs`."""
    heads = [("Experiment", ""), ("Device", "a core of it, where it is a CPU"), ("Models", "trained, well or not")]
    if (spent["above"].fillna(0) > 0).any():
        heads.append(("Counted above", "models that an experiment in a row above shares"))
    heads += [("Device time", "training and measures, summed over models"), ("Mean of a model", "the same")]
    heads += [
        ("Of it measures", "beyond rate and distortion"),
        ("From first to last", "pauses too"),
    ]
    lines = [_cost(row, shared=len(heads) == 8) for row in spent.to_dict("records")]
    return text.table(heads, lines, title="Device time by experiment")


def _cost(row: Mapping[Any, Any], *, shared: bool) -> list[text.Entry]:
    above = [text.count(row["above"])] if shared else []
    start = [text.Entry(row["title"]), text.Entry(row["device"] or "–"), text.count(row["models"]), *above]
    if not row["models"]:
        return [*start, *[text.number(None)] * 4]
    seconds = row["train_seconds"] + row["measure_seconds"]
    share = 100 * row["measure_seconds"] / seconds if seconds else 0.0
    span = row["last"] - row["first"]
    return [
        *start,
        _time(seconds),
        _time(seconds / row["models"]),
        text.Entry(f"{share:.0f} %", share),
        text.number(None) if pd.isna(span) else _time(span.total_seconds()),
    ]


def _time(seconds: float) -> text.Entry:
    return text.Entry(duration(seconds), float(seconds))


def _known(value: Any) -> str:
    return "unknown" if value is None or pd.isna(value) else f"{value:g}" if isinstance(value, float) else str(value)


def _date(value: pd.Timestamp) -> str:
    return "–" if pd.isna(value) else value.strftime("%Y-%m-%d %H:%M")
