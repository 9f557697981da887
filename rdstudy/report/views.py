"""Other numbers in the same charts: of early stopping in place of the last step, and above the distortion floor."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class View:
    """Which distortions and rates charts show.

    Attributes:
        stopped: those at the step with the best validation objective, not those of the last step.
        above_floor: distortions above the floor of their images.
    """

    stopped: bool = False
    above_floor: bool = False

    @property
    def key(self) -> str:
        """Its name in the page: the values of its switches."""
        return f"{'stopped' if self.stopped else 'last'} {'above' if self.above_floor else 'whole'}"


FIRST = View()
OTHERS = (View(above_floor=True), View(stopped=True), View(stopped=True, above_floor=True))


def viewed(members: pd.DataFrame, view: View) -> pd.DataFrame:
    """Rows of `schema.MEMBERS` as a view shows them; those without early stopping are not in the views of it."""
    if view.stopped:
        members = members[members["stop_distortion"].notna()]
        elbo = -(members["stop_distortion"] + members["stop_rate"])
        members = members.assign(distortion=members["stop_distortion"], rate=members["stop_rate"], elbo=elbo)
    if view.above_floor:
        floor = members["distortion_floor"]
        above = members["distortion"] - floor
        members = members.assign(distortion=above, elbo=members["elbo"] + floor, distortion_floor=0.0 * floor)
    return members
