"""The measures of a trained member, one file each: which images, which noise, which columns.

A measure is a function of the member and a subset, named like its file, that notes columns; `SUBSETS` in its file says
of which subsets it is, train and test where there is none. One that means nothing for training images, or is of no
subset at all, stands in the row of test.
"""

from collections.abc import Sequence

from rdstudy.measuring.trained import Measure
from rdstudy.study import parts


def measures_of(names: Sequence[str]) -> dict[str, tuple[Measure, tuple[str, ...]]]:
    """By name, the function and its subsets, in the order of the names."""
    subsets = {name: parts.constant("measure", name, "SUBSETS", default=("train", "test")) for name in names}
    return {name: (parts.load("measure", name), subsets[name]) for name in names}
