"""The splits on a small example: they follow the rules that train members, and show those alone that a study uses."""

import pandas as pd
import pytest

from rdstudy.report.figures import splits

ALL = ["cv(16384)", "cv(1024)", "cd(8192)", "checkerboard"]


def test_the_splits_shown_follow_their_rules():
    example = splits.splits_example(7, ALL)
    counts = example.groupby("rule")["use"].value_counts().unstack(fill_value=0)
    assert counts.sum(axis=1).to_list() == [600] * 4
    assert list(counts.loc["cv(300)", ["train", "test"]]) == [300, 300]
    assert list(counts.loc["cv(60)", ["train", "test"]]) == [60, 540]
    assert counts.loc["cd(120)", "train"] == 120
    board = example[example["rule"] == "checkerboard"]
    odd = (board["first"] >= 0.5) ^ (board["second"] >= 0.5)
    assert (odd == (board["use"] == "test")).all()


def test_the_example_depends_on_the_seed_alone():
    pd.testing.assert_frame_equal(splits.splits_example(7, ALL), splits.splits_example(7, ALL))
    assert not splits.splits_example(7, ALL).equals(splits.splits_example(8, ALL))


@pytest.mark.parametrize(
    ("used", "shown"),
    [
        (["cv(1000)"], ("cv(120)",)),
        (["default", "cv(1000)"], ("cv(300)", "cv(60)")),
        (["checkerboard"], ("checkerboard",)),
        (["cd(4096)", "cd(1024)", "cv(1024)"], ("cv(120)", "cd(200)", "cd(60)")),
    ],
)
def test_only_the_kinds_of_split_that_a_study_uses_are_shown(used, shown):
    assert splits.shown_rules(used) == shown


def test_words_name_no_unused_images_where_there_are_none():
    assert "neither" not in splits.note(splits.splits_example(7, ["cv(1000)"]))
    assert "neither" in splits.note(splits.splits_example(7, ["cd(1000)"]))
    assert "constant density, cd(120): 120 train" in splits.description(splits.splits_example(7, ["cd(1000)"]))
