"""A study with pictures: reconstructions of two test images, one of them hard, and distances to neighbours."""

from typing import Any

import numpy as np
import pytest

from rdstudy.report.read import StudyTables, read_study
from rdstudy.results.snapshot import neighbours_key
from tests.report.conftest import Simulation

SHAPE = {"channels": 3, "height": 5, "width": 7}
HARD, OTHER = 11, 13
CONTROLS = {0.001: 0.7, 0.01: 0.4, 0.1: 0.7, 1.0: 1.0, 3.0: 1.5}  # nearest training image at 1; a tie is no copy


def pixels(value: int) -> bytes:
    return np.full((3, 5, 7), value, np.uint8).tobytes()


@pytest.fixture(scope="session")
def pictured(tmp_path_factory) -> StudyTables:
    simulation = Simulation(measured=True, seeds=2, figures=("reconstructions",))
    store = simulation.write(tmp_path_factory.mktemp("pictured"))
    members = {row["member_id"]: row for row in store.snapshot().table("members").to_pylist()}
    rows: list[dict[str, Any]] = []
    for number, (member_id, row) in enumerate(members.items()):
        for image in (HARD, OTHER):
            rows.append(
                {
                    "member_id": member_id,
                    "run_id": row["run_id"],
                    "measures_id": simulation.study().measures.measures_id,
                    "dataset": "tetrominoes",
                    "image": image,
                    "hard": image == HARD,
                    **SHAPE,
                    "pixels": pixels(number),
                    "optimal_pixels": pixels(100),
                    "nearest_image": 3,
                    "nearest_distance": 1.0,
                    "own_distance": 0.5 if row["beta"] < 0.05 else 2.0,
                    "control_distance": CONTROLS[row["beta"]],
                }
            )
    store.rows.write_measured({"reconstructions": rows})
    near = [
        {
            "dataset": "tetrominoes",
            "split": "cv(16384)",
            "study_seed": 0,
            "image": image,
            "nearest_image": 3,
            "distance": float(place),
            "hard": image == HARD,
            **(SHAPE | {"pixels": pixels(200), "nearest_pixels": pixels(201)} if image in (HARD, OTHER) else {}),
        }
        for place, image in enumerate((5, OTHER, 17, HARD, 19), start=1)
    ]
    (member, *_) = simulation.study().experiments[0].members(simulation.study())
    store.rows.write_neighbours(neighbours_key(member, simulation.study().measures), near)
    return read_study(store, simulation.name)
