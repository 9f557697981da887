"""What the page says in words: no more than its numbers allow."""

import dataclasses

import pandas as pd
import pytest

from rdstudy.findings.learning import still_learning
from rdstudy.report import measure_figures, sentences, statistics
from rdstudy.report.cells import with_cells
from rdstudy.report.contents import page_of
from rdstudy.report.page import render
from rdstudy.settings import Recipe
from tests.report.conftest import COMMAND, Simulation
from tests.report.test_statistics import rows_of


def said(*values, subset="both"):
    """The sentences of one cell: (β, distortions by seed)."""
    test = [rows_of(list(numbers), beta=beta) for beta, numbers in values]
    train = [rows_of([5.0] * len(numbers), beta=beta, subset="train") for beta, numbers in values]
    rows = pd.concat(test + (train if subset == "both" else []))
    return sentences.lowest(rows, rows, statistics.best_beta(rows))


def test_a_clear_minimum_is_said_with_its_intervals_and_the_gap():
    first, last = said((0.1, (40.0, 41.5, 40.5)), (1.0, (30.0, 31.0, 30.5)), (3.0, (50.0, 51.2, 50.1)))
    assert first.startswith("cell 0: mean test distortion is lowest at β = 1 (30.50 ± 0.50 nats); ")
    assert "at the smallest β trained, 0.1, it is 10.2 nats higher (9.1 to 11.2)" in first
    assert "at the largest β trained, 3, it is 19.9 nats higher (18.8 to 21.0)" in first
    assert first.endswith("The generalization gap there is 25.50 ± 0.50 nats.")
    assert "95 % intervals" in last
    assert "the lowest of 2 other β" in last


def test_what_seeds_do_not_tell_apart_is_not_told_apart():
    first, _ = said((0.1, (31.0, 30.0, 33.0)), (1.0, (30.5, 31.0, 30.5)), (3.0, (50.0, 51.2, 50.1)))
    assert "it is not told apart from that at the smallest β trained, 0.1" in first
    assert "at the largest β trained, 3, it is" in first


@pytest.mark.parametrize(("values", "end"), [((20.0, 30.0), "smallest"), ((30.0, 20.0), "largest")])
def test_a_lowest_point_at_an_end_may_lie_beyond(values, end):
    first, _ = said(*[(beta, (value, value + 1, value + 0.5)) for beta, value in zip((0.1, 3.0), values, strict=True)])
    assert f"the {end} β trained: the lowest point may lie beyond" in first
    assert f"trained, {0.1 if end == 'largest' else 3:g}, it is 10.00 nats higher" in first


def test_one_seed_has_no_interval_and_test_alone_no_gap():
    (sentence,) = said((0.1, (40.0,)), (1.0, (30.0,)), subset="test")
    assert "it is 10.00 nats higher for the one seed compared" in sentence
    assert "gap" not in sentence
    assert said((1.0, (30.0, 31.0))) == []


def falls(study):
    return still_learning(with_cells(study.planned), study.trajectories)


def test_still_learning_is_said_where_d_is_drawn(simulate):
    study = simulate(Simulation(betas=[0.01, 1.0]))
    page = page_of(study)
    notes = {figure.key: figure.note for figure in page.figures}
    for key in ("distortion", "rate-distortion", "learning"):
        assert "Still learning when training ended" in notes[f"depth-{key}"]
        assert "1 layer at β = 0.01 (by " in notes[f"depth-{key}"]
    table = falls(study).set_index(["cell", "beta"])
    column = page.results.heads.index("Fall of D train in the last quarter")
    shown = [row[column].number for row in page.results.rows]
    assert shown == pytest.approx(table.sort_index()["fall"].to_list())


def test_what_stopped_learning_is_said_once_in_the_learning_figure(simulate):
    study = simulate(Simulation(betas=[0.01, 1.0]))
    last = study.trajectories.groupby(["member_id", "subset"])["step"].transform("max")
    final = study.trajectories[study.trajectories["step"] == last].set_index(["member_id", "subset"])["distortion"]
    keys = pd.MultiIndex.from_frame(study.trajectories[["member_id", "subset"]])
    flat = study.trajectories.assign(distortion=final.reindex(keys).to_numpy())
    notes = {figure.key: figure.note for figure in page_of(dataclasses.replace(study, trajectories=flat)).figures}
    assert "nowhere did train D fall by more than 2 %" in notes["depth-learning"]
    assert not any("Still learning" in note for note in notes.values())
    nothing = page_of(dataclasses.replace(study, trajectories=study.trajectories.iloc[:0]))
    assert not any("train D f" in figure.note for figure in nothing.figures)


def test_many_cells_and_betas_are_summed_up(simulate):
    table = falls(simulate(Simulation(depths=range(1, 9))))
    note = sentences.still_learning_note(table)
    assert "1 layer at 5 β from 0.001 to 3 (by " in note
    assert "and 2 more, see the table of results" in note


def test_the_page_says_how_models_were_trained(simulate):
    recipe = Recipe(learning_rate=2e-3, schedule="cosine", batch_size=64, steps=8_000, initialization="he")
    line = sentences.recipe_line(recipe)
    assert line.startswith(
        "Trained with Adam, learning rate 2e-3 (along a cosine to 0), batches of 64, 8,000 steps, He initialization."
    )
    study = simulate(Simulation())
    text = render(page_of(study))
    assert "learning rate 1e-3 (constant), batches of 128, 9,973 steps" in text
    assert text.index("30 of 30 models trained") < text.index("Trained with Adam") < text.index('id="data"')
    for name in ("schedule", "initialization"):
        assert f"<dt>{name}</dt>" in text
    assert "Trained with" not in render(page_of(dataclasses.replace(study, recipe=None)))


def test_measures_left_out_are_said_with_what_makes_them_anew(simulate, tmp_path):
    whole = simulate(Simulation(measured=True))
    assert whole.outdated == 0
    assert "left out" not in " ".join(notice.text for notice in page_of(whole).warnings)
    from rdstudy.report.tables import read_study
    from rdstudy.results.store import Store

    store = Store.open(str(tmp_path / "results"))
    declared = store.declaration("simulated")
    store.declare("simulated", {**declared, "measures": {**declared["measures"], "measures_id": "another"}})
    study = read_study(store, "simulated")
    assert (study.outdated, len(study.measures)) == (30, 0)
    notice = page_of(study).warnings[-1]
    assert notice.text.startswith("Measures of 30 models are of other settings or an older version, and left out.")
    assert notice.command == COMMAND
    store.declare("simulated", {**declared, "measures": {**declared["measures"], "names": [], "measures_id": "x"}})
    assert read_study(store, "simulated").outdated == 0


def test_shapes_that_leave_the_image_are_said_of_the_data_set_that_has_them(simulate):
    assert "183 of the 163,840" in render(page_of(simulate(Simulation(datasets=["tetrominoes-fixed"]))))


def test_other_data_sets_have_no_such_note(simulate):
    assert not page_of(simulate(Simulation())).data_notes


def test_taking_out_the_information_says_what_is_so_by_construction(simulate):
    study = simulate(Simulation(measured=True))
    planned = with_cells(study.planned)
    removed = planned.assign(objective="no_mutual_information")
    for members, expected in ((planned, False), (removed, True)):
        notes = [figure.note for figure in measure_figures.measure_figures(study, "depth", members)]
        assert any("changes nothing by construction" in note for note in notes) == expected


def test_early_stopping_says_at_how_many_steps_it_looks(simulate):
    study = simulate(Simulation(measured=True, points=7))
    note = next(figure.note for figure in page_of(study).figures if figure.key == "depth-early-stopping")
    assert "It looks at 7 steps; over the last quarter each is at most 4.64 × the one before." in note


def test_steps_that_are_evenly_spaced_are_told_from_those_that_are_not():
    from rdstudy.training.loop import trajectory_steps

    assert "looks at 16 steps, 8 of them evenly spaced; " in measure_figures._looks(
        pd.array(trajectory_steps(8_000, 16)).to_numpy()
    )
