"""The tables behind the figures of one experiment: those of the store, and those that figures share, each made once."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from rdstudy.findings.learning import still_learning
from rdstudy.report import measures, statistics
from rdstudy.report.cells import with_cells
from rdstudy.report.read import StudyTables
from rdstudy.report.views import FIRST, View, viewed
from rdstudy.results.declaration import DeclaredExperiment


@dataclass(frozen=True, eq=False)
class ExperimentTables:
    """What figures are made of. Values are in nats per image.

    Attributes:
        study: all tables of the study.
        name: of the experiment.
        planned: one row per member of the experiment, with `cell` and `panel` (`cells.with_cells`).
        view: which distortions and rates; measures are of the last step alone.
    """

    study: StudyTables
    name: str
    planned: pd.DataFrame
    view: View = FIRST

    @classmethod
    def of(cls, study: StudyTables, experiment: DeclaredExperiment) -> "ExperimentTables":
        """The tables of an experiment of a study."""
        planned = study.planned[study.planned["member_id"].isin(experiment.member_ids)]
        return cls(study, experiment.name, with_cells(planned.reset_index(drop=True)))

    def of_cells(self, cells: Collection[int]) -> "ExperimentTables":
        """The same of some cells, which keep their numbers and names."""
        return ExperimentTables(self.study, self.name, self.planned[self.planned["cell"].isin(cells)], self.view)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The rows of `statistics.ok_rows`, of train and test."""
        rows = statistics.ok_rows(self.planned, viewed(self.study.members, self.view))
        return rows[rows["subset"].isin(["train", "test"])]

    @cached_property
    def points(self) -> pd.DataFrame:
        """Means over seeds: `statistics.rate_distortion`."""
        return statistics.rate_distortion(self.rows)

    @cached_property
    def member_gaps(self) -> pd.DataFrame:
        """The gaps of single models: `statistics.member_gaps`."""
        return statistics.member_gaps(self.rows)

    @cached_property
    def gaps(self) -> pd.DataFrame:
        """Generalization gaps: `statistics.generalization_gap`."""
        return statistics.generalization_gap(self.member_gaps)

    @cached_property
    def best(self) -> pd.DataFrame:
        """The best β of each cell: `statistics.best_beta`."""
        return statistics.best_beta(self.rows, points=self.points)

    @cached_property
    def falls(self) -> pd.DataFrame:
        """By how much train D fell at the end of training, by `cell`, `panel` and `beta` (`findings.learning`)."""
        members = set(self.rows["member_id"])
        columns = ["member_id", "cell", "panel", "beta", "seed"]
        trained, trajectories = (
            table[table["member_id"].isin(members)] for table in (self.planned[columns], self.study.trajectories)
        )
        return still_learning(trained, trajectories)

    @cached_property
    def measured(self) -> pd.DataFrame:
        """The rows of measures with their cells: `measures.with_planned`."""
        rows = self.study.measures.iloc[:0] if self.view.stopped else self.study.measures
        return measures.with_planned(self.planned, rows)

    @cached_property
    def values(self) -> pd.DataFrame:
        """Distortion and rate of all members that ended well: `member_id, subset, distortion, rate`."""
        members = self.study.members
        return members.loc[members["outcome"] == "ok", ["member_id", "subset", "distortion", "rate"]]
