"""What a user types after `--where`, read in one way for all commands."""

import pytest

from rdstudy.study.conditions import levels_asked, typed


def test_levels_are_of_the_types_of_their_factors():
    asked = levels_asked(["depth=3", "beta = 1", "split=cv(1001)", "depth=1", "learning_rate=1e-3"])
    assert asked == {"depth": [3, 1], "beta": [1.0], "split": ["cv(1001)"], "learning_rate": [0.001]}
    assert list(map(type, asked["depth"] + asked["beta"])) == [int, int, float]
    assert levels_asked(["dataset=7"]) == {"dataset": ["7"]}, "a data set may be called so"


def test_what_is_no_factor_is_compared_as_text():
    assert levels_asked(["study=1"], factors=("depth", "study")) == {"study": ["1"]}


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("depth", "--where is 'depth'; allowed: FACTOR=LEVEL, such as depth=3"),
        ("dept=3", r"--where is 'dept' \(did you mean depth\?\); allowed: dataset"),
        ("depth=x", "--where depth is 'x'; allowed: a whole number"),
        ("study=a", "--where is 'study'.*; allowed: dataset"),
    ],
)
def test_other_conditions_are_refused(condition, message):
    with pytest.raises(ValueError, match=message):
        levels_asked([condition])


@pytest.mark.parametrize(("text", "value"), [("7", 7), ("1/4", "1/4"), ("None", None), ("(", "("), ("mlp", "mlp")])
def test_what_is_no_value_of_python_is_text(text, value):
    assert typed(text) == value
