"""What a study claims: sentences, and the contrasts between its models that decide them. Frozen data, no arithmetic.

A claim stands in the study file and is kept with the study's declaration; `rdstudy.findings` holds it against the
tables. A contrast names its models by the levels of their factors, never by an experiment, so that the same claim can
be asked of a study with other sizes.
"""

from rdstudy.study.claims.contrasts import (
    Arm,
    Betas,
    Contrast,
    above,
    alike,
    at_least,
    best_near,
    deeper_minimum,
    distances_alike,
    exceeds,
    falls,
    interior_minimum,
    lower_everywhere,
    mean_above,
    monotone,
    rises_apart,
    rises_less_apart,
)
from rdstudy.study.claims.records import Claim

__all__ = [
    "Arm",
    "Betas",
    "Claim",
    "Contrast",
    "above",
    "alike",
    "at_least",
    "best_near",
    "deeper_minimum",
    "distances_alike",
    "exceeds",
    "falls",
    "interior_minimum",
    "lower_everywhere",
    "mean_above",
    "monotone",
    "rises_apart",
    "rises_less_apart",
]
