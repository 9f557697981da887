"""Whether models were still learning when their training ended: how much the training distortion fell at the end.

A verdict on networks that would have gone on improving is a verdict on a moment of their training.
"""

import math

import numpy as np
import pandas as pd

from rdstudy.findings.evidence import LEVEL
from rdstudy.findings.student import student_quantile

LAST = 0.25
"""The part of training, at its end, that is looked at."""

NOTICEABLE = 0.02
"""A fall by this share of what is left of D above its floor is called learning: a margin of ours."""


def falls_of(trajectories: pd.DataFrame) -> pd.DataFrame:
    """By how much the training distortion of each model fell over the last quarter of its training, by stored rows.

    Returns:
        `member_id`, `fall` and `left`, the distortion above its floor at the end, in nats per image, of the models with
        two measured points.
    """
    train = trajectories[trajectories["subset"] == "train"]
    train = train.assign(excess=train["distortion"] - train["distortion_floor"])
    last = train.loc[train.groupby("member_id")["step"].idxmax(), ["member_id", "step", "excess"]]
    ends = train.merge(last.rename(columns={"step": "last", "excess": "left"}), on="member_id")
    ends = ends[ends["step"] < ends["last"]]
    ends = ends.assign(away=(ends["step"] - (1 - LAST) * ends["last"]).abs()).sort_values("away", kind="stable")
    falls = ends.drop_duplicates("member_id").assign(fall=lambda table: table["excess"] - table["left"])
    return falls.loc[falls["fall"].notna(), ["member_id", "fall", "left"]]


def still_learning(planned: pd.DataFrame, trajectories: pd.DataFrame) -> pd.DataFrame:
    """By how much the training distortion fell over the last quarter of training, for each cell and β.

    A seed's fall is the difference between the measured point nearest to three quarters of its steps and the last one,
    on the same images.

    Args:
        planned: one row per member: `member_id`, its factors, `beta`, `seed`.
        trajectories: stored rows (`schema.TRAJECTORIES`).

    Returns:
        The factors of `planned` and `beta`; `left`: mean training distortion above its floor at the end; `fall` and
        `error`: mean over seeds and its standard error, null for one seed, in nats per image; `seeds`; `learning`:
        whether the fall is `NOTICEABLE` and, by the interval over seeds, more than none. Cells without two measured
        points are left out.
    """
    falls = falls_of(trajectories)
    joined = planned.merge(falls, on="member_id")
    keys = [name for name in planned.columns if name not in ("member_id", "seed")]
    groups = joined.groupby(keys, sort=False, dropna=False)
    table = groups.agg(left=("left", "mean"), fall=("fall", "mean"), sd=("fall", "std"), seeds=("fall", "size"))
    table = table.reset_index()
    table["error"] = table["sd"] / np.sqrt(table["seeds"])
    rows = zip(table["fall"].astype(float), table["error"].astype(float), table["seeds"].astype(int), strict=True)
    sure = [
        math.isnan(error) or fall > student_quantile((1 + LEVEL) / 2, seeds - 1) * error for fall, error, seeds in rows
    ]
    table["learning"] = (table["fall"] > NOTICEABLE * table["left"]) & np.array(sure, bool)
    return table.drop(columns="sd")
