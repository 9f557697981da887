"""Tables of a study -> the numbers that contrasts are made of: one table of seeds × β for an arm and a value.

Nats per image, and above the floor of the images that they were measured on: test sets of different splits differ.
Members that ended otherwise than `ok` have no number, and nothing is made up for them. A value that was measured on a
small sample of images, the same for all seeds, comes with what is known of that choice: its single images, or an error.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rdstudy.findings.belief import believed
from rdstudy.findings.learning import falls_of, still_learning
from rdstudy.study.claims import Arm
from rdstudy.study.claims.contrasts import OWN

UNITS = {
    "information_share": "of log N",
    "copied_fraction": "of test reconstructions",
    "memorization_excess": "of test reconstructions",
}
NATS = "nats"

_ID = ["member_id", "subset"]
_MEMBERS = [*_ID, "distortion", "rate", "distortion_floor", "stop_distortion", "images"]
_MEASURES = [
    *_ID,
    "mutual_information",
    "marginal_kl",
    "aggregate_images",
    "copied_fraction",
    "log_marginal",
    "log_marginal_floor",
    "log_marginal_passed",
    "importance_images",
    "memorization",
    "memorization_se",
    "memorization_images",
]
_IMAGES = " images"  # behind the name of a value of one's own: the column of how many are behind it
_SAMPLE = ["dataset", "split", "study_seed"]  # what the random images that all seeds share depend on, with the subset


class AmbiguousArmError(ValueError):
    """An arm of a claim is more than one cell of its study."""


@dataclass(frozen=True)
class Curve:
    """A value of an arm.

    Attributes:
        table: one row a seed and one column a β, NaN where there is no number.
        notes: what a reader must know.
        doubted: the β of the table whose numbers are not to be believed.
        arm: what it is a curve of, in words.
        images: sample of images -> `[seed, β, image]`, as the table: its part of the table's value, which is the sum of
            the means over these images. All seeds, and all arms that name the same sample, share them.
        error: as the table: standard error by images that all seeds share, where no number of a single one is known.
        error_images: how many these are.
        unit: of the value.
    """

    table: pd.DataFrame
    notes: tuple[str, ...] = ()
    doubted: tuple[float, ...] = ()
    arm: str = ""
    images: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    error: pd.DataFrame | None = None
    error_images: int = 0
    unit: str = NATS


@dataclass
class Values:
    """The numbers of a study, and which models were asked for.

    Attributes:
        planned: one row per member: `member_id`, its factors, `beta`, `seed`.
        rows: one per member and subset, with a column per value.
        neighbours: rows of `schema.NEIGHBOURS`.
        lists: one row per member and subset with log p(x) of single images: `member_id`, `subset`,
            `image_log_marginal`.
        units: of measures of the user's own, by their value `own:NAME`.
        learning: what `still_learning` says of the study.
        followed: ids of members whose fall is known, of which it says so.
        used: ids of members whose numbers were asked for; fills as curves are made.
        counted: images behind the numbers that were asked for: (what, subset) -> how many; fills in the same way.
        made: the curves that were asked for, each with the `used` and `counted` of it alone: claims share arms.
    """

    planned: pd.DataFrame
    rows: pd.DataFrame
    neighbours: pd.DataFrame
    lists: pd.DataFrame = field(default_factory=pd.DataFrame)
    learning: pd.DataFrame = field(default_factory=pd.DataFrame)
    followed: frozenset[str] = frozenset()
    units: Mapping[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    counted: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    made: dict[Any, tuple[Curve, set[str], dict[tuple[str, str], set[int]]]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        planned: pd.DataFrame,
        members: pd.DataFrame,
        measures: pd.DataFrame,
        neighbours: pd.DataFrame,
        *,
        trajectories: pd.DataFrame | None = None,
        own: pd.DataFrame | None = None,
    ) -> "Values":
        """The numbers of stored tables.

        Args:
            planned: one row per member: `member_id`, its factors, `beta`, `seed`.
            members: rows of `schema.MEMBERS`.
            measures: rows of `schema.MEASURES`.
            neighbours: rows of `schema.NEIGHBOURS`.
            trajectories: rows of `schema.TRAJECTORIES`; without them, nothing is known of what still learns.
            own: rows of `schema.OWN_MEASURES`.
        """
        ok = members.loc[members["outcome"] == "ok"].reindex(columns=_MEMBERS)
        rows = ok.merge(measures.reindex(columns=_MEASURES), on=_ID, how="left")
        numbers = rows[[*_MEMBERS[2:], *_MEASURES[2:]]].astype(float)
        numbers = numbers.assign(believed=believed(rows))
        lists = measures.reindex(columns=[*_ID, "image_log_marginal"]).dropna(subset="image_log_marginal")
        learning, followed = pd.DataFrame(), frozenset[str]()
        if trajectories is not None and len(trajectories):
            learning, followed = still_learning(planned, trajectories), frozenset(falls_of(trajectories)["member_id"])
        derived = {name: derive(numbers) for name, derive in _DERIVED.items()}
        values, units = rows[_ID].join(numbers.assign(**derived)), {}
        if own is not None and len(own):
            named = own.assign(value_name=OWN + own["name"])
            units = dict(zip(named["value_name"], named["unit"], strict=True))
            for column, suffix in (("value", ""), ("images", _IMAGES)):
                wide = named.pivot(index=_ID, columns="value_name", values=column).add_suffix(suffix)
                values = values.merge(wide.reset_index(), on=_ID, how="left")
        return cls(planned, values, neighbours, lists, learning, followed, units)

    def curve(self, arm: Arm, value: str, subset: str) -> Curve:
        """A value of the members of an arm; no rows where the study has none.

        Raises:
            AmbiguousArmError: the arm is more than one cell.
        """
        key = (frozenset(arm.items()), value, subset)
        if key not in self.made:
            alone = dataclasses.replace(self, used=set(), counted={})
            unit = self.units.get(value, UNITS.get(value, NATS))
            self.made[key] = dataclasses.replace(alone._curve(arm, value, subset), unit=unit), alone.used, alone.counted
        curve, used, counted = self.made[key]
        self.used |= used
        for what, images in counted.items():
            self.counted.setdefault(what, set()).update(images)
        return curve

    def _curve(self, arm: Arm, value: str, subset: str) -> Curve:
        chosen = self._members(arm)
        if chosen.empty:
            return Curve(pd.DataFrame(), (f"the study has no models with {phrase(arm)}",))
        if value.startswith(OWN) and value not in self.rows:
            return Curve(pd.DataFrame(), (f"{value} was measured of no model",))
        self.used.update(chosen["member_id"])
        signs = {"test": 1.0, "train": -1.0} if value in _GAPS else {subset: 1.0}
        column = _GAPS.get(value, value)
        for name in signs:
            self._count(chosen, column, name)
        table = sum(sign * _wide(chosen, self.rows, column, name) for name, sign in signs.items())
        assert isinstance(table, pd.DataFrame)
        if column == "negative_log_marginal":
            return self._of_log_marginal(table, chosen, arm, signs)
        if column == "memorization_excess":
            error = _wide(chosen, self.rows, "memorization_se", subset)
            images = _wide(chosen, self.rows, "memorization_images", subset).to_numpy(float)
            known = images[np.isfinite(images)]
            return Curve(table, error=error, error_images=int(known.min()) if len(known) else 0)
        return Curve(table)

    def likelihoods(self, arm: Arm) -> set[str]:
        """Those of the models of an arm."""
        return set(self._members(arm)["likelihood"]) if "likelihood" in self.planned else set()

    def _members(self, arm: Arm) -> pd.DataFrame:
        chosen = self.planned
        for factor, level in arm.items():
            chosen = chosen[chosen[factor] == level] if factor in chosen else chosen.iloc[:0]
        if chosen.duplicated(["beta", "seed"]).any():
            cells = chosen.drop(columns=["member_id", "beta", "seed"]).drop_duplicates()
            apart = [factor for factor in cells if cells[factor].nunique() > 1]
            raise AmbiguousArmError(
                f"{phrase(arm)} is {len(cells)} cells, which differ in {', '.join(map(str, apart))}"
            )
        return chosen

    def _count(self, chosen: pd.DataFrame, column: str, subset: str) -> None:
        """Remember how many images are behind a value of some members."""
        what, counts = _COUNTS.get(column, ("", "images"))
        if column.startswith(OWN):
            what, counts = column.removeprefix(OWN), f"{column}{_IMAGES}"
        rows = self.rows[self.rows["member_id"].isin(chosen["member_id"]) & (self.rows["subset"] == subset)]
        images = rows.loc[rows[column].notna(), counts].dropna()
        self.counted.setdefault((what, subset), set()).update(map(int, images.unique()))

    def _of_log_marginal(
        self, table: pd.DataFrame, chosen: pd.DataFrame, arm: Arm, signs: Mapping[str, float]
    ) -> Curve:
        """Log p(x), with the β at which some model's is not to be believed, and its single images."""
        doubt = [_wide(chosen, self.rows, "doubted", subset).max() > 0 for subset in signs]
        doubted = tuple(float(beta) for beta in table.columns[np.logical_or.reduce(doubt)])
        images, lost = {}, False
        sample = " ".join(str(chosen[name].iloc[0]) for name in _SAMPLE if name in chosen)
        for subset, sign in signs.items():
            numbers = _images(chosen, self.lists, subset, table)
            lost = lost or (numbers is None and bool(table.notna().to_numpy().any()))
            if numbers is not None:
                images[f"{sample} {subset}"] = -sign * numbers
        note = "log p(x) of single images is not stored: its interval leaves out the choice of images"
        return Curve(table, (note,) if lost else (), doubted, phrase(arm), {} if lost else images)


def phrase(arm: Arm) -> str:
    """An arm in words."""
    return ", ".join(f"{factor} {level}" for factor, level in arm.items())


_DERIVED: Mapping[str, Callable[[pd.DataFrame], Any]] = {
    "distortion": lambda n: n["distortion"] - n["distortion_floor"],
    "stopped_distortion": lambda n: n["stop_distortion"] - n["distortion_floor"],
    "negative_elbo": lambda n: n["distortion"] - n["distortion_floor"] + n["rate"],
    "negative_log_marginal": lambda n: -n["log_marginal"] - n["log_marginal_floor"],
    "information_share": lambda n: n["mutual_information"] / np.log(n["aggregate_images"]),
    "memorization_excess": lambda n: n["memorization"] - 0.5,
    "doubted": lambda n: (n["log_marginal"].notna() & ~n["believed"]).astype(float),
}
"""Of the values of `rdstudy.study.claims.contrasts`, those that are no column of a table."""
_GAPS = {"distortion_gap": "distortion", "elbo_gap": "negative_elbo", "log_marginal_gap": "negative_log_marginal"}
_COUNTS = {
    "negative_log_marginal": ("log p(x)", "importance_images"),
    "mutual_information": ("the parts of the rate", "aggregate_images"),
    "marginal_kl": ("the parts of the rate", "aggregate_images"),
    "information_share": ("the parts of the rate", "aggregate_images"),
    "copied_fraction": ("memorization", "memorization_images"),
    "memorization_excess": ("memorization", "memorization_images"),
}
"""Value -> what it is called, and the column that counts its images; of all others, those of D and R."""


def _wide(chosen: pd.DataFrame, rows: pd.DataFrame, value: str, subset: str) -> pd.DataFrame:
    """Seeds × β of all members asked for, NaN where nothing is stored."""
    numbers = rows[["member_id", value]][rows["subset"] == subset]
    table = chosen[["member_id", "beta", "seed"]].merge(numbers, on="member_id", how="left")
    return table.pivot(index="seed", columns="beta", values=value).sort_index(axis=1)


def _images(chosen: pd.DataFrame, lists: pd.DataFrame, subset: str, table: pd.DataFrame) -> NDArray[np.float64] | None:
    """`[seed, β, image]` as the table, NaN where it has no number; None where a number lacks its images."""
    if lists.empty:
        return None
    stored = chosen[["member_id", "beta", "seed"]].merge(lists[lists["subset"] == subset], on="member_id")
    sizes = {len(numbers) for numbers in stored["image_log_marginal"]}
    if len(sizes) != 1 or min(sizes) < 2:
        return None
    numbers = np.full((*table.shape, sizes.pop()), math.nan)
    places = table.index.get_indexer(pd.Index(stored["seed"])), table.columns.get_indexer(pd.Index(stored["beta"]))
    numbers[places] = np.stack([np.asarray(of_images, float) for of_images in stored["image_log_marginal"]])
    complete = not (np.isfinite(table.to_numpy(float)) & ~np.isfinite(numbers).all(axis=-1)).any()
    return numbers if complete else None


def betas_phrase(betas: Sequence[float]) -> str:
    """β in words, such as "0.1, 1"."""
    return ", ".join(f"{beta:g}" for beta in betas)
