"""What is measured of a trained member beyond rate and distortion: which images, which noise, which rows.

The measures themselves are pure functions in `rdstudy.measures`; here they meet the subsets, the settings and the rows.
A measure is of one member; what costs most of it is computed for many members of a pack at once on a GPU. One that
cannot be taken is null, with its reason in the row. The images chosen depend on the study's seed and the noise on the
member's, so that members of one seed are compared on equal draws.
"""

from rdstudy.measuring.images import neighbour_rows
from rdstudy.measuring.member import measure_pack, measure_trained
from rdstudy.measuring.trained import MeasureRows, Measuring

__all__ = ["MeasureRows", "Measuring", "measure_pack", "measure_trained", "neighbour_rows"]
