"""What a study took, by experiment and device. Tables in, a tidy table and the words beside it out.

A model's time is its share of its pack's: training with the evaluation of rate and distortion, and the other measures.
On a CPU that is one core's time; on a GPU it is that of the GPU while the pack was at work on it.
"""

from collections.abc import Iterator, Sequence

import pandas as pd

from rdstudy.report import text
from rdstudy.report.coverage import one_row_per_member
from rdstudy.results.declaration import DeclaredExperiment

ALL = "All experiments"
"""The name of the rows of all models."""

_COLUMNS = ["title", "device", "models", "above", "train_seconds", "measure_seconds", "first", "last"]


def costs(experiments: Sequence[DeclaredExperiment], members: pd.DataFrame, measures: pd.DataFrame) -> pd.DataFrame:
    """One row per experiment and device, then one per device for all of them; none where no model is stored.

    A model that several experiments share counts in the first of them alone, so that rows add up.

    Args:
        experiments: in the order of the page.
        members: stored rows (`schema.MEMBERS`), of whatever outcome.
        measures: stored rows (`schema.MEASURES`).

    Returns:
        `title, device, models`; `above`: models that an earlier row has; `train_seconds, measure_seconds`, sums;
        `first, last`: when the first of these models began, by the time that it took, and when the last was finished.
    """
    spent = _spent(members, measures)
    rows: list[dict[str, object]] = []
    seen: set[str] = set()
    for experiment in experiments:
        own = set(experiment.member_ids) & set(spent["member_id"])
        rows += _by_device(experiment.title, spent[spent["member_id"].isin(own - seen)], above=len(own & seen))
        seen |= own
    if len(experiments) > 1:
        rows += _by_device(ALL, spent[spent["member_id"].isin(seen)], above=0)
    return pd.DataFrame(rows, columns=_COLUMNS)


def _spent(members: pd.DataFrame, measures: pd.DataFrame) -> pd.DataFrame:
    """One row per member: `member_id, device, train_seconds, measure_seconds, began, finished_at`."""
    trained = one_row_per_member(members)[["member_id", "device", "wall_seconds", "finished_at"]]
    measured = one_row_per_member(measures)[["member_id", "measure_seconds"]]
    table = trained.rename(columns={"wall_seconds": "train_seconds"}).merge(measured, on="member_id", how="left")
    seconds = {name: table[name].astype(float).fillna(0.0) for name in ("train_seconds", "measure_seconds")}
    took = pd.to_timedelta(seconds["train_seconds"], unit="s")
    return table.assign(**seconds, began=table["finished_at"] - took, device=table["device"].fillna("unknown"))


def _by_device(title: str, spent: pd.DataFrame, *, above: int) -> Iterator[dict[str, object]]:
    if spent.empty and above:
        yield {**dict.fromkeys(_COLUMNS), "title": title, "device": "", "models": 0, "above": above}
    for device, part in spent.groupby("device", sort=True):
        yield {
            "title": title,
            "device": device,
            "models": len(part),
            "above": above,
            "train_seconds": part["train_seconds"].sum(),
            "measure_seconds": part["measure_seconds"].sum(),
            "first": part["began"].min(),
            "last": part["finished_at"].max(),
        }


def note(table: pd.DataFrame) -> str:
    """What the columns of `costs` are, and what counts once."""
    is_shared = (table["above"].fillna(0) > 0).any()
    graphics = table["device"].fillna("").str.startswith("cuda").any()
    parts = [
        "Time is that of the device, of one CPU core or one GPU: each model's share of the time of the pack that it "
        "was trained in, all attempts together, of models that failed too. Waiting is not in it.",
        "Models that packed a GPU together with other processes count each with the whole GPU." if graphics else "",
        "A model that experiments share is trained once, and counts in the first of them." if is_shared else "",
        "From first to last: until the last model was finished, pauses between runs included.",
    ]
    return text.joined(*parts)
