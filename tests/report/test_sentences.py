"""What the page says in words: no more than its numbers allow."""

import dataclasses
from typing import Any

import pandas as pd
import pytest

from rdstudy.findings.learning import still_learning
from rdstudy.report import coverage, sentences, tables
from rdstudy.report.cells import with_cells
from rdstudy.report.contents import page_of
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figures import distortion, learning, rate_distortion
from rdstudy.report.notices import notices_of
from rdstudy.report.page import render
from rdstudy.report.read import read_study
from tests.report.conftest import COMMAND, MEASURED, NOTHING, Simulation, tables_of
from tests.report.test_statistics import best_of, gaps_of, rows_of


def said(*values, subset="both"):
    """The sentences of one cell: (β, distortions by seed)."""
    test = [rows_of(list(numbers), beta=beta) for beta, numbers in values]
    train = [rows_of([5.0] * len(numbers), beta=beta, subset="train") for beta, numbers in values]
    rows = pd.concat(test + (train if subset == "both" else []))
    return sentences.lowest(rows, rows, best=best_of(rows), gaps=gaps_of(rows))


def test_a_clear_minimum_is_said_with_its_intervals_and_the_gap():
    first, last = said((0.1, (40.0, 41.5, 40.5)), (1.0, (30.0, 31.0, 30.5)), (3.0, (50.0, 51.2, 50.1)))
    assert first == (
        "cell 0: the lowest mean test distortion (30.50 ± 0.50 nats), at β = 1, is 10.2 nats (9.1 to 11.2) below that "
        "at β = 0.1, the smallest trained, and 19.9 nats (18.8 to 21.0) below that at β = 3, the largest trained. The "
        "generalization gap there is 25.50 ± 0.50 nats."
    )
    assert "95 % intervals" in last
    assert "the lowest of 2 other β" in last


def test_where_an_interval_covers_zero_no_difference_is_stated():
    first, _ = said((0.1, (31.0, 30.0, 33.0)), (1.0, (30.5, 31.0, 30.5)), (3.0, (50.0, 51.2, 50.1)))
    assert "at β = 1, is not told apart from that at β = 0.1, the smallest trained (difference −" in first
    assert "below that at β = 3, the largest trained" in first
    assert "higher" not in first
    assert "gap" not in first


def test_where_no_end_is_told_apart_no_beta_is_called_the_lowest_without_saying_so():
    flat = [(beta, (30.0 + shift, 31.0 - shift, 30.4)) for beta, shift in ((0.1, 0.3), (1.0, 0.1), (3.0, 0.5))]
    first, _ = said(*flat)
    assert first.startswith("cell 0: no β is told apart as the best: the lowest mean test distortion, at β = ")
    assert "nats below" not in first
    assert "±" not in first


@pytest.mark.parametrize(("values", "end"), [((20.0, 30.0), "smallest"), ((30.0, 20.0), "largest")])
def test_a_lowest_point_at_an_end_is_flagged(values, end):
    first, _ = said(*[(beta, (value, value + 1, value + 0.5)) for beta, value in zip((0.1, 3.0), values, strict=True)])
    assert f"the {end} trained, an end of the range beyond which it may be lower, is 10.00 nats (" in first
    other = "3, the largest trained" if end == "smallest" else "0.1, the smallest trained"
    assert f"below that at β = {other}." in first


def test_one_seed_tells_nothing_and_so_nothing_is_said():
    assert said((0.1, (40.0,)), (1.0, (30.0,)), subset="test") == []
    assert said((1.0, (30.0, 31.0))) == []


def test_without_train_values_there_is_no_gap():
    first, _ = said((0.1, (40.0, 41.5, 40.5)), (1.0, (30.0, 31.0, 30.5)), subset="test")
    assert "below that at β = 0.1, the smallest trained" in first
    assert "gap" not in first


def experiments(study, *figures):
    """A study whose one experiment is declared again and again, each time with other figures."""
    (only,) = study.experiments
    return dataclasses.replace(
        study,
        experiments=tuple(
            dataclasses.replace(only, name=f"e{number}", figures=names) for number, names in enumerate(figures)
        ),
    )


def lines(study):
    """Whether something is said of the lowest β of each experiment."""
    return [bool(sentences.lowest_lines(ExperimentTables.of(study, each), each)) for each in study.experiments]


def test_the_lowest_is_said_once_and_only_where_distortions_are_shown(simulate):
    study = simulate(Simulation())
    curves, parts = ("distortion",), ("learning", "rate-parts")
    assert lines(experiments(study, parts, curves, curves, ("rate-distortion",), ())) == [
        False,
        True,
        False,
        False,
        False,
    ]
    assert lines(experiments(study, ())) == [True]


def test_a_cell_with_more_beta_than_an_earlier_one_is_said_again(simulate):
    study = experiments(simulate(Simulation(depths=[1])), ("distortion",), ("distortion",))
    first, second = study.experiments
    fewer = study.planned.loc[study.planned["beta"] < 2, "member_id"]
    study = dataclasses.replace(study, experiments=(dataclasses.replace(first, member_ids=tuple(fewer)), second))
    assert lines(study) == [True, True]


def test_many_cells_are_left_to_the_picture_and_said_later_where_they_are_few(simulate):
    study = experiments(simulate(Simulation(depths=range(1, 10), betas=[0.1, 1.0])), ("distortion",), ("distortion",))
    first, second = study.experiments
    shallow = tuple(study.planned.loc[study.planned["depth"] == 1, "member_id"])
    study = dataclasses.replace(study, experiments=(first, dataclasses.replace(second, member_ids=shallow)))
    assert lines(study) == [False, True]


def falls(study):
    return still_learning(with_cells(study.planned), study.trajectories)


def test_still_learning_is_said_where_d_is_drawn(simulate):
    study = simulate(Simulation(betas=[0.01, 1.0]))
    drawn = tables_of(study)
    for figure in (distortion.FIGURE, rate_distortion.FIGURE, learning.FIGURE):
        note = figure.words(drawn, figure.table(drawn))
        assert "Still learning when training ended" in note
        assert "1 layer at β = 0.01 (by " in note
    table = falls(study).set_index(["cell", "beta"])
    results = tables.results_table(drawn)
    column = results.heads.index("Fall of D train in the last quarter")
    shown = [row[column].number for row in results.rows]
    assert shown == pytest.approx(table.sort_index()["fall"].to_list())


def test_many_cells_and_betas_are_summed_up(simulate):
    table = falls(simulate(Simulation(depths=range(1, 9))))
    note = sentences.still_learning_note(table)
    assert "1 layer at 5 β from 0.001 to 3 (by " in note
    assert "and 2 more, see the table of results" in note


def test_the_page_says_how_models_were_trained(simulate):
    levels = {"schedule": ["cosine(warmup=500)"], "initialization": ["he"]}
    study = simulate(Simulation(levels=levels, figures=["learning"]))
    line = sentences.recipe_line(study.planned)
    assert line.startswith(
        "Trained with: adam optimizer, learning rate 0.001, batches of 128, 9,973 steps, cosine(warmup=500) schedule, "
        "he initialization, products in float32. What is said"
    )
    text = render(page_of(study))
    assert text.index("30 of 30 models trained") < text.index(line) < text.index('id="data"')
    for name in ("schedule", "initialization"):
        assert f"<dt>{name}</dt>" in text


def test_a_setting_that_varies_is_not_stated_as_if_it_were_one(simulate):
    levels: dict[str, list[Any]] = {"learning_rate": [0.003, 0.001], "weight_decay": [0.01]}
    levels["optimizer"] = ["adam", "sgd(momentum=0.5)"]
    study = simulate(Simulation(levels=levels, depths=[1], betas=[0.1, 1.0], seeds=1))
    line = sentences.recipe_line(study.planned)
    assert line.startswith(
        "Trained with: optimizer varied (adam, sgd(momentum=0.5)), learning rate varied (0.001, 0.003), "
    )
    assert "weight decay 0.01" in line
    many = pd.concat([study.planned.assign(steps=steps) for steps in range(1_000, 10_000, 1_000)])
    assert "steps varied (1,000, 2,000, 3,000, 4,000, 5,000, 6,000 and 3 more)" in sentences.recipe_line(many)


def test_two_files_of_one_part_are_told_apart_and_one_is_plain(simulate):
    planned = simulate(Simulation(depths=[1], betas=[1.0], seeds=1)).planned
    first, second = (f"Pairs(blocks=3)@{digest * 16}" for digest in "ab")
    one = pd.concat([planned.assign(schedule=level) for level in ("constant", first)])
    assert "schedule varied (constant, Pairs(blocks=3))" in sentences.recipe_line(one)
    both = pd.concat([planned.assign(schedule=level) for level in (first, second)])
    assert f"schedule varied ({first}, {second})" in sentences.recipe_line(both)


def notices(study):
    return list(notices_of(study, coverage.provenance(study.members)))


def test_measures_left_out_are_said_with_what_makes_them_anew(tmp_path):
    store = MEASURED.write(tmp_path / "results")
    whole = read_study(store, "simulated")
    assert whole.outdated == 0
    assert "left out" not in " ".join(notice.text for notice in notices(whole))
    declared = store.declarations.read("simulated")
    another = {**declared.measures, "measures_id": "another"}
    store.declarations.declare(dataclasses.replace(declared, measures=another))
    study = read_study(store, "simulated")
    assert (study.outdated, len(study.measures)) == (30, 0)
    notice = notices(study)[-1]
    assert notice.text.startswith("Measures of 30 models are of other settings or an older version, and left out.")
    assert notice.command == COMMAND
    store.declarations.declare(dataclasses.replace(declared, measures={**another, "names": []}))
    assert read_study(store, "simulated").outdated == 0


def test_shapes_that_leave_the_image_are_said_of_the_data_set_that_has_them(simulate):
    assert "183 of the 163,840" in simulate.html(dataclasses.replace(NOTHING, datasets=["tetrominoes-fixed"]))


def test_other_data_sets_have_no_such_note(simulate):
    assert not any(data.note for data in simulate.page(Simulation()).datasets)
