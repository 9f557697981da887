"""Training: a pack and its images to a stream of rows. Knows neither Ray nor a result file."""

from rdstudy.training.loop import Finished, Progress, train_unit, units_of
from rdstudy.training.measuring import MeasureRows, Measuring
from rdstudy.training.subsets import Subsets, make_subsets

__all__ = ["Finished", "MeasureRows", "Measuring", "Progress", "Subsets", "make_subsets", "train_unit", "units_of"]
