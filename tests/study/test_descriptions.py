"""A study says what it asks and what it trains; what came out is said by its page, from the numbers."""

import re
from pathlib import Path

import pytest

from rdstudy.run import load_study

FOLDER = Path(__file__).resolve().parents[2] / "studies"
NAMES = ("mini", "quick", "paper", "linear", "priors")
RESULTS = re.compile(
    r"\b(we (find|found|see|saw)|turns? out|(it|this|they) shows? that|showed|found|stayed|narrows|widens|overfits?"
    r"|outperforms?|(is|are) (lowest|highest|best|worse|better|lower|higher|nearly)|stayed true|still learning)\b"
    r"|\d nats|± ",
    re.IGNORECASE,
)


@pytest.mark.parametrize("name", NAMES)
def test_a_description_states_no_result(name):
    study = load_study(str(FOLDER / f"{name}.py"))
    for words in (study.title, study.description, *(each.description for each in study.experiments)):
        assert not RESULTS.search(words), words


@pytest.mark.parametrize("name", NAMES)
def test_a_description_asks(name):
    study = load_study(str(FOLDER / f"{name}.py"))
    asked = [study.title, study.description, *(each.title for each in study.experiments)]
    assert any("?" in words for words in asked)


@pytest.mark.parametrize(
    "words",
    [
        "The training and the test curve are nearly one.",
        "The gap narrows as β grows.",
        "Distortion falls by 12 nats.",
        "What the claims say stayed true.",
    ],
)
def test_such_words_are_found(words):
    assert RESULTS.search(words)
