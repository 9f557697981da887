"""A store that was not trained but written, in the working folder."""

from pathlib import Path

import pytest

from rdstudy.results.store import Store
from tests.report.conftest import Simulation

STORED = Simulation(
    betas=(0.1, 1.0), depths=(1, 3), seeds=2, points=5, measured=True, outcomes=("ok", "nonfinite", "failed", None)
)
"""Eight members of one run, as a pack on a GPU writes them; one of them not trained."""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    return STORED.write(Path("results"))


@pytest.fixture
def ids() -> list[str]:
    """Ids of the members of `STORED`, in the order of the grid: depth, β, seed."""
    study = STORED.study()
    return [member.member_id for member in study.experiments[0].members(study)]
