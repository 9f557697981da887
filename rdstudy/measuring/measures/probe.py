"""Log p(x) of a few images of the whole data set, the same for all splits."""

import numpy as np

from rdstudy.measuring.images import probe_index
from rdstudy.measuring.importance import shared_importance
from rdstudy.measuring.trained import TrainedMember
from rdstudy.training.subsets import to_unit

SUBSETS = ("test",)


def probe(trained: TrainedMember, _: str) -> None:
    """Log p(x) of each of a few images of the whole data set, in the training subset or not."""
    index = probe_index(trained)
    importance = shared_importance(trained, to_unit(trained.images(index)), "probe")
    rows = {
        "image": index.tolist(),
        "in_train": np.isin(index, trained.subsets.whole["train"].index).tolist(),
        "log_marginal": importance.log_marginal.tolist(),
        "log_marginal_ess": importance.effective_samples.tolist(),
        "log_marginal_passed": importance.passed.tolist(),
    }
    trained.probes = [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]
