"""Training: a pack and its images to a stream of rows. Knows no Ray, no result file, no measure."""

from rdstudy.training.loop import Finished, Progress, packs_on, train_pack
from rdstudy.training.subsets import Subsets, make_subsets

__all__ = ["Finished", "Progress", "Subsets", "make_subsets", "packs_on", "train_pack"]
