"""What a reader must know of a study before trusting its numbers, and the command that mends it, where one does."""

from collections.abc import Iterator

import pandas as pd

from rdstudy.report import coverage, text
from rdstudy.report.page import Notice
from rdstudy.report.read import StudyTables

_MOST_UNASKED = 5  # kinds that are named


def notices_of(study: StudyTables, produced: pd.DataFrame) -> Iterator[Notice]:
    """What is missing, failed, mixed, damaged or left out of a study with this `coverage.provenance`."""
    members = coverage.one_row_per_member(study.members)
    outcome = members["outcome"].value_counts()
    missing = len(study.planned) - int(outcome.sum())
    if missing:
        yield Notice(f"{text.models(missing)} of {len(study.planned):,} not trained yet. To train them:", study.command)
    for name, phrase in (("failed", "failed"), ("nonfinite", "stopped at a value that is not finite")):
        if outcome.get(name, 0):
            how_many = text.models(int(outcome[name]))
            yield Notice(f"{how_many} {phrase}; no mean contains them. Causes are listed under completeness.")
    for sentence in coverage.mixed_versions(produced):
        yield Notice(f"The numbers come from more than one {sentence}.")
    rounded = int((members["precision"] == "tf32").sum())
    if rounded:
        yield Notice(
            f"{text.models(rounded)} trained with products in TF32. A single one ends elsewhere than in float32, by "
            "about a standard deviation over seeds, and that means stay is not shown: compare with others in TF32."
        )
    for each in study.unasked[:_MOST_UNASKED]:
        remedy = each.remedy(study.uri or "RESULTS", study.command)
        yield Notice(f"Not shown, and not lost: {each.sentence()}. To get them back:", remedy)
    for bad in study.damaged:
        yield Notice(f"A file cannot be read, and what it held is left out: {bad.path} ({bad.reason}).")
    ok = set(study.members.loc[study.members["outcome"] == "ok", "member_id"])
    gone = len(ok - set(study.trajectories["member_id"].unique()))
    if gone:
        yield Notice(f"The trajectories of {text.models(gone)} are gone: their file was deleted or moved away.")
    for path in study.copies:
        yield Notice(f"A file looks like a copy of another one, and its rows count once: {path}.")
    if study.outdated:
        yield Notice(
            f"Measures of {text.models(study.outdated)} are of other settings or an older version, and left out. "
            "To measure them, run the study again; where weights were kept, nothing is trained again:",
            study.command,
        )
