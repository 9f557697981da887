"""Studies of seconds, at which faults are thrown: four members on images of one's own, all tables, checkpoints often.

CHAOS_STUDY says which: `base`; `other`, which shares half of its members and its split with `base`; `cnn`; `annealing`.
"""

import os
from typing import Any

import numpy as np

from rdstudy.datasets import own_dataset
from rdstudy.study import Evaluation, Experiment, Measures, Recipe, Resources, Study


def squares(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey squares on black, uint8 [image, 1, 16, 16], and where they are, [image, 2] in the unit cube."""
    rng = np.random.default_rng(7)
    places = rng.integers(0, 11, (count, 2))
    images = np.zeros((count, 1, 16, 16), np.uint8)
    for image, (row, column) in zip(images, places, strict=True):
        image[:, row : row + 5, column : column + 5] = rng.integers(60, 256)
    return images, (places + 0.5) / 11


IMAGES, PLACES = squares(307)
SQUARES = own_dataset("squares", IMAGES, factors=PLACES, factor_names=["row", "column"])

GRIDS: dict[str, dict[str, Any]] = {
    "base": {"depth": [1, 2], "beta": [0.1, 1]},
    "other": {"depth": [1, 2], "beta": [1, 3]},
    "cnn": {"architecture": ["cnn"], "width": [5], "depth": [1, 2], "beta": [0.1, 1]},
    "annealing": {"depth": [1], "beta": [0.1, 1]},
}
KIND = os.environ.get("CHAOS_STUDY", "base")

STUDY = Study(
    name=KIND,
    experiments=[
        Experiment(
            "all",
            grid={
                "dataset": [SQUARES],
                "split": ["cv(101)", "checkerboard"] if KIND == "annealing" else ["cv(101)"],
                "width": [13],
                "latent_dim": [3],
                "seed": [0],
                **GRIDS[KIND],
            },
        )
    ],
    recipe=Recipe(steps=199, batch_size=31),
    evaluation=Evaluation(trajectory_points=7, trajectory_images=53, final_images=97, validation_images=31),
    measures=Measures(
        names=["rate_parts", "active_units", "log_marginal", "memorization", "probe", "reconstructions"],
        aggregate_images=97,
        latent_samples=11,
        importance_images=3,
        importance_samples=53,
        refit_steps=5,
        memorization_images=31,
        neighbour_images=53,
        probe_images=7,
        annealing={"beta": [1], "seed": [0]} if KIND == "annealing" else None,
        annealing_images=2,
        annealing_temperatures=31,
    ),
    resources=Resources(checkpoint_seconds=0.1, keep_weights=True),
)
