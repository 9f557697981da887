"""What tests of measures share."""

import pytest

from rdstudy.measures import fitted_importance


@pytest.fixture
def few_temperatures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For images that are annealed. Moves are chaotic: more of them make digits of rounding."""
    monkeypatch.setattr(fitted_importance, "_TEMPERATURES", 5)
