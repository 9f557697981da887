"""Rows of stores that tests write, and what a disk may do to them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from rdstudy.results.rows import new_run_id
from rdstudy.results.snapshot import NeighboursKey
from rdstudy.results.store import Store
from rdstudy.results.tables import Damaged


def truncate(store: Store, name: str, size: int) -> None:
    """What a disk or a copy may do to a file."""
    store._files.write(name, store._files.read(name)[:size])


def set_aside(store: Store) -> list[Damaged]:
    """Set aside what is damaged; returns what it was."""
    snapshot = store.snapshot()
    store.rows.set_aside_damaged(snapshot)
    return list(snapshot.damaged.values())


def folder(store: Store, name: str) -> list[str]:
    return sorted(entry.base_name for entry in store._files.inside(name))


def write(store: Store, member: str, *, distortion: float = 1.0, outcome: str = "ok", minute: int = 0) -> str:
    run_id = new_run_id()
    common = {"member_id": member, "run_id": run_id}
    row = {**common, "outcome": outcome, "finished_at": datetime(2026, 1, 2, 3, minute, tzinfo=UTC)}
    store.rows.write_run(
        run_id,
        {
            "members": [{**row, "subset": name, "distortion": distortion} for name in ("train", "test")],
            "trajectories": [{**common, "subset": "test", "step": step, "distortion": distortion} for step in (1, 5)],
        },
    )
    return run_id


def measured(store: Store, member: str, run_id: str, measures_id: str = "m", *, value: float = 1.0) -> None:
    common = {"member_id": member, "run_id": run_id, "measures_id": measures_id}
    tables = {
        "measures": [{**common, "subset": name, "log_marginal": value} for name in ("train", "test")],
        "probes": [{**common, "image": image, "in_train": True, "log_marginal": value} for image in (3, 5)],
    }
    store.rows.write_measured(tables)


KEY = NeighboursKey("shapes", "cv(7)", 0, validation_images=2, neighbour_images=11, reconstruction_images=4)


def near(*images: int, hard: int) -> list[dict[str, object]]:
    return [{"image": image, "nearest_image": 13, "hard": image == hard} for image in images]


def writing(body: bytes) -> Callable[[Any], object]:
    """What writes these bytes to a file."""
    return lambda file: file.write(body)
