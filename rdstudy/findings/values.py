"""Tables of a study -> the numbers that contrasts are made of: one table of seeds × β for an arm and a value.

Nats per image, and above the floor of the images that they were measured on: test sets of different splits differ.
Members that ended otherwise than `ok` have no number, and nothing is made up for them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from rdstudy.claims import Arm

LEAST_ESS = 10.0
"""Mean effective sample size below which an estimate of log p(x) is not to be believed."""

UNITS = {"information_share": "of log N", "copied_fraction": "of test reconstructions"}
NATS = "nats"

_ID = ["member_id", "subset"]
_MEMBERS = [*_ID, "distortion", "rate", "distortion_floor", "stop_distortion"]
_MEASURES = [
    *_ID,
    "mutual_information",
    "marginal_kl",
    "aggregate_images",
    "copied_fraction",
    "log_marginal",
    "log_marginal_floor",
    "log_marginal_ess",
]


class AmbiguousArmError(ValueError):
    """An arm of a claim is more than one cell of its study."""


@dataclass(frozen=True)
class Curve:
    """A value of an arm: `table` has one row a seed and one column a β, NaN where there is no number."""

    table: pd.DataFrame
    notes: tuple[str, ...] = ()


@dataclass
class Values:
    """The numbers of a study, and which models were asked for.

    Attributes:
        planned: one row per member: `member_id`, its factors, `beta`, `seed`.
        rows: one per member and subset, with a column per value.
        neighbours: rows of `schema.NEIGHBOURS`.
        used: ids of members whose numbers were asked for; fills as curves are made.
    """

    planned: pd.DataFrame
    rows: pd.DataFrame
    neighbours: pd.DataFrame
    used: set[str] = field(default_factory=set)

    @classmethod
    def of(
        cls, planned: pd.DataFrame, members: pd.DataFrame, measures: pd.DataFrame, neighbours: pd.DataFrame
    ) -> "Values":
        """The numbers of stored tables (`schema.MEMBERS`, `schema.MEASURES`, `schema.NEIGHBOURS`)."""
        rows = members.loc[members["outcome"] == "ok", _MEMBERS].merge(measures[_MEASURES], on=_ID, how="left")
        numbers = rows[[*_MEMBERS[2:], *_MEASURES[2:]]].astype(float)
        return cls(planned, pd.concat([rows[_ID], _of_rows(numbers)], axis=1), neighbours)

    def curve(self, arm: Arm, value: str, subset: str) -> Curve:
        """A value of the members of an arm; no rows where the study has none.

        Raises:
            AmbiguousArmError: the arm is more than one cell.
        """
        chosen = self._members(arm)
        if chosen.empty:
            return Curve(pd.DataFrame(), (f"the study has no models with {_phrase(arm)}",))
        self.used.update(chosen["member_id"])
        if value in _GAPS:
            test, train = (_wide(chosen, self.rows, _GAPS[value], name) for name in ("test", "train"))
            table, subsets = test - train, ["test", "train"]
        else:
            table, subsets = _wide(chosen, self.rows, value, subset), [subset]
        if value in ("negative_log_marginal", "log_marginal_gap"):
            return self._believed(table, chosen, subsets)
        return Curve(table)

    def _members(self, arm: Arm) -> pd.DataFrame:
        chosen = self.planned
        for factor, level in arm.items():
            chosen = chosen[chosen[factor] == level] if factor in chosen else chosen.iloc[:0]
        if chosen.duplicated(["beta", "seed"]).any():
            cells = chosen.drop(columns=["member_id", "beta", "seed"]).drop_duplicates()
            apart = [factor for factor in cells if cells[factor].nunique() > 1]
            raise AmbiguousArmError(
                f"{_phrase(arm)} is {len(cells)} cells, which differ in {', '.join(map(str, apart))}"
            )
        return chosen

    def _believed(self, table: pd.DataFrame, chosen: pd.DataFrame, subsets: Sequence[str]) -> Curve:
        """Leave out β at which the estimate of log p(x) rests on too few of its draws in any subset."""
        sizes = pd.DataFrame({subset: _wide(chosen, self.rows, "ess", subset).mean() for subset in subsets}).min(axis=1)
        doubted = sizes.index[sizes < LEAST_ESS].tolist()
        if not doubted:
            return Curve(table)
        named = ", ".join(f"{beta:g}" for beta in doubted)
        note = f"log p(x) is left out at β = {named}, where its effective sample size is below {LEAST_ESS:g}"
        return Curve(table.drop(columns=doubted), (note,))


def _phrase(arm: Arm) -> str:
    return ", ".join(f"{factor} {level}" for factor, level in arm.items())


def _of_rows(numbers: pd.DataFrame) -> pd.DataFrame:
    """The values of `rdstudy.claims.contrasts`, and `ess`."""
    return pd.DataFrame({name: derive(numbers) for name, derive in _DERIVED.items()})


_DERIVED: Mapping[str, Callable[[pd.DataFrame], Any]] = {
    "distortion": lambda n: n["distortion"] - n["distortion_floor"],
    "rate": lambda n: n["rate"],
    "stopped_distortion": lambda n: n["stop_distortion"] - n["distortion_floor"],
    "negative_elbo": lambda n: n["distortion"] - n["distortion_floor"] + n["rate"],
    "negative_log_marginal": lambda n: -n["log_marginal"] - n["log_marginal_floor"],
    "mutual_information": lambda n: n["mutual_information"],
    "marginal_kl": lambda n: n["marginal_kl"],
    "information_share": lambda n: n["mutual_information"] / np.log(n["aggregate_images"]),
    "copied_fraction": lambda n: n["copied_fraction"],
    "ess": lambda n: n["log_marginal_ess"],
}
_GAPS = {"distortion_gap": "distortion", "log_marginal_gap": "negative_log_marginal"}


def _wide(chosen: pd.DataFrame, rows: pd.DataFrame, value: str, subset: str) -> pd.DataFrame:
    """Seeds × β of all members asked for, NaN where nothing is stored."""
    found = rows.loc[rows["subset"] == subset, ["member_id", value]]
    table = chosen[["member_id", "beta", "seed"]].merge(found, on="member_id", how="left")
    return table.pivot(index="seed", columns="beta", values=value).sort_index(axis=1)
