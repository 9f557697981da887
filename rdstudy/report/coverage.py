"""What is complete and what is not, why members failed, and what produced the rows. Tables in, tidy tables out."""

import re
from collections.abc import Sequence

import pandas as pd

from rdstudy.results.declaration import DeclaredExperiment

OUTCOMES = ("ok", "nonfinite", "failed")

_VERSIONS = ("numerics_version", "code_version", "python_version", "torch_version", "numpy_version")


def one_row_per_member(members: pd.DataFrame) -> pd.DataFrame:
    """Of the rows of a member, one per subset, the first: for values that are those of the member."""
    return members.drop_duplicates("member_id")


def completeness(experiments: Sequence[DeclaredExperiment], members: pd.DataFrame) -> pd.DataFrame:
    """One row per experiment: `experiment, title, planned, ok, nonfinite, failed, missing`, in members."""
    outcome = one_row_per_member(members).set_index("member_id")["outcome"]
    table = []
    for experiment in experiments:
        counts = outcome.reindex(list(experiment.member_ids)).value_counts()
        by_outcome = {name: int(counts.get(name, 0)) for name in OUTCOMES}
        planned = len(experiment.member_ids)
        missing = planned - sum(by_outcome.values())
        row = {"experiment": experiment.name, "title": experiment.title, "planned": planned}
        table.append({**row, **by_outcome, "missing": missing})
    return pd.DataFrame(table, columns=["experiment", "title", "planned", *OUTCOMES, "missing"])


def failures(planned: pd.DataFrame, members: pd.DataFrame) -> pd.DataFrame:
    """Members that did not end well, grouped by cause, most frequent first.

    Reasons that differ in numbers alone (a step, an address) are one cause.

    Args:
        planned: one row per member, with `panel`.
        members: stored rows.

    Returns:
        `outcome, models, reason, member_id, panel, beta, seed`; the last five are those of an example.
    """
    bad = one_row_per_member(members[members["outcome"] != "ok"])[["member_id", "outcome", "reason"]]
    bad = bad.assign(reason=bad["reason"].fillna("no reason was stored").map(_first_line))
    bad["cause"] = bad["reason"].map(lambda reason: re.sub(r"\d+", "#", reason))
    bad = bad.merge(planned[["member_id", "panel", "beta", "seed"]], on="member_id")
    groups = bad.groupby(["outcome", "cause"], sort=True)
    table = groups.first().assign(models=groups.size()).reset_index()
    table = table.sort_values(["models", "cause"], ascending=[False, True])
    return table[["outcome", "models", "reason", "member_id", "panel", "beta", "seed"]].reset_index(drop=True)


def _first_line(reason: str) -> str:
    line = next((line.strip() for line in reason.splitlines() if line.strip()), "no reason was stored")
    return line if len(line) <= 300 else line[:299] + "…"


def provenance(members: pd.DataFrame) -> pd.DataFrame:
    """Distinct sets of versions and device: with `models, wall_seconds, hosts, first, last` of each."""
    table = one_row_per_member(members)
    groups = table.groupby([*_VERSIONS, "device"], sort=True, dropna=False)
    named = groups.agg(
        models=("member_id", "size"),
        wall_seconds=("wall_seconds", "sum"),
        hosts=("host", "nunique"),
        first=("finished_at", "min"),
        last=("finished_at", "max"),
    )
    return named.reset_index().sort_values("models", ascending=False).reset_index(drop=True)


def mixed_versions(provenance_table: pd.DataFrame) -> list[str]:
    """A sentence for each kind of version of which these rows have more than one; none where all agree."""
    sentences = []
    for column in _VERSIONS:
        counts = provenance_table.groupby(column, dropna=False)["models"].sum().sort_values(ascending=False)
        if len(counts) > 1:
            parts = ", ".join(f"{version} ({models:,} models)" for version, models in counts.items())
            sentences.append(f"{column.replace('_', ' ')}: {parts}")
    return sentences


def splits_used(planned: pd.DataFrame, members: pd.DataFrame) -> pd.DataFrame:
    """The splits of a study: `dataset, split, train, test`, in images; null until a member of it is stored."""
    splits = planned[["dataset", "split"]].drop_duplicates()
    sizes = members.dropna(subset=["subset_images"]).merge(planned[["member_id"]], on="member_id")
    wide = sizes.pivot_table(index=["dataset", "split"], columns="subset", values="subset_images", aggfunc="max")
    wide = wide.reindex(columns=["train", "test"]).reset_index()
    return splits.merge(wide, on=["dataset", "split"], how="left").reset_index(drop=True)
