"""Every column says what it means, in the words that stand beside it."""

import pytest

from rdstudy.notebook.columns import meanings, setting_meanings
from rdstudy.results import schema


@pytest.mark.parametrize("table", schema.TABLES)
def test_every_column_has_a_meaning(table):
    said = meanings(table)
    assert list(said) == schema.TABLES[table].names
    assert not [name for name, text in said.items() if not text.strip()]


def test_settings_have_meanings_too():
    said = setting_meanings()
    assert list(said) == list(schema.SETTINGS)
    assert not [name for name, text in said.items() if not text.strip()]
    assert said["beta"].startswith("β")
    assert "early stopping" in said["validation_images"]  # on the second line of its docstring


def test_words_are_those_beside_the_column_in_the_list_where_it_stands():
    assert meanings("members")["outcome"] == "ok, nonfinite or failed"
    assert meanings("members")["distortion_floor"] != meanings("trajectories")["distortion_floor"]
    measures = meanings("measures")
    assert measures["active_units"].startswith("latent dimensions")
    assert measures["marginal_kl"] == "KL(q(z) || p(z))"
    assert measures["marginal_kl_se"] == "standard error of marginal_kl"
    assert measures["exact_rate"].startswith("rate: ")
    assert measures["memorization"].startswith("Of the test row: share of reconstructions")  # a comment above it
