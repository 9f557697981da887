"""A contender sets up the process that it is given; here that is the tests' own."""

from collections.abc import Iterator

import pytest

from rdstudy.training.process import training_settings


@pytest.fixture(autouse=True)
def _settings_end_with_the_test() -> Iterator[None]:
    with training_settings():
        yield
