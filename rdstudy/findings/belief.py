"""Whether an estimate of log p(x) is to be believed: a property of a value, and of all made from it."""

import pandas as pd

LEAST_PASSED = 0.9
"""Share of images whose estimate is to be believed, below which their mean is not.

The others have a lower bound. On images where that was held against annealing, it was up to some nats too low: a tenth
of them moves a mean by some tenths of a nat, where the choice of the images moves it by some nats.
"""


def believed(measures: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows of `schema.MEASURES` have a log p(x) that is to be believed; one that does not say so is not."""
    passed: pd.Series[bool] = measures["log_marginal_passed"].astype(float) >= LEAST_PASSED
    return passed
