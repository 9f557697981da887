"""Learning curves: means over seeds that end at the final values, thinned, and what is said of their end."""

import pandas as pd

from rdstudy.report import statistics
from rdstudy.report.cells import with_cells
from rdstudy.report.figures import FIGURES, learning
from tests.report.conftest import Simulation, tables_of


def test_learning_curves_average_seeds_keep_ends_and_thin(simulate):
    study = simulate(Simulation(depths=[1], seeds=3, points=37))
    rows = statistics.ok_rows(with_cells(study.planned), study.members)
    whole = learning.learning_curves(study.trajectories, rows, points=1000)
    assert (whole["models"] == 3).all()
    final = statistics.rate_distortion(rows).set_index(["beta", "subset"])["excess"]
    last = whole[whole["step"] == whole["step"].max()].set_index(["beta", "subset"])["excess"]
    pd.testing.assert_series_equal(last.sort_index(), final.sort_index())
    thin = learning.learning_curves(study.trajectories, rows, points=11)
    assert thin["step"].nunique() == 11
    assert {thin["step"].min(), thin["step"].max()} == {whole["step"].min(), whole["step"].max()}


def notes_of(tables):
    """The words of all figures that have numbers."""
    made = {kind.name: (kind, kind.table(tables)) for kind in FIGURES}
    return {name: kind.words(tables, table) for name, (kind, table) in made.items() if len(table)}


def test_what_stopped_learning_is_said_once_in_the_learning_figure(simulate):
    study = simulate(Simulation(betas=[0.01, 1.0]))
    last = study.trajectories.groupby(["member_id", "subset"])["step"].transform("max")
    final = study.trajectories[study.trajectories["step"] == last].set_index(["member_id", "subset"])["distortion"]
    keys = pd.MultiIndex.from_frame(study.trajectories[["member_id", "subset"]])
    flat = study.trajectories.assign(distortion=final.reindex(keys).to_numpy())
    notes = notes_of(tables_of(study, trajectories=flat))
    assert "nowhere did train D fall by more than 2 %" in notes["learning"]
    assert not any("Still learning" in note for note in notes.values())
    nothing = notes_of(tables_of(study, trajectories=study.trajectories.iloc[:0]))
    assert nothing.keys() == notes.keys() - {"learning"}
    assert not any("train D f" in note for note in nothing.values())
