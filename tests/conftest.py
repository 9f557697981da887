"""What all tests share: one cache of generated images, and examples that are the same on every machine."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import rdstudy
from rdstudy.datasets.cache import FOLDER_VARIABLE


def pytest_configure():
    settings.register_profile("rdstudy", derandomize=True, deadline=None)
    settings.load_profile("rdstudy")


@pytest.fixture(scope="session", autouse=True)
def image_cache() -> Iterator[Path]:
    """An empty cache for this session: images are drawn when a test asks for them, and once."""
    with tempfile.TemporaryDirectory(prefix="rdstudy-cache-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, folder)
        yield Path(folder)


@pytest.fixture
def run_python() -> Callable[..., str]:
    """Run a piece of code in a process of its own and return what it prints."""

    def run(code: str, **variables: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(Path(rdstudy.__file__).parents[1]), **variables}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
