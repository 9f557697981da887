"""The study that faults are thrown at: members of a few seconds each, with measures, checkpoints twice a second.

CHAOS_SEEDS says how many seeds, and so how many members: enough of them that work is left when the last fault has come.
"""

import os

from rdstudy.study import Evaluation, Experiment, Measures, Recipe, Resources, Study

STUDY = Study(
    name="chaos",
    experiments=[
        Experiment(
            "all",
            grid={
                "dataset": ["tetrominoes"],
                "split": ["cv(997)"],
                "width": [61],
                "latent_dim": [3],
                "depth": [1, 2],
                "beta": [0.1, 1],
                "seed": range(int(os.environ.get("CHAOS_SEEDS", "1"))),
            },
        )
    ],
    recipe=Recipe(steps=1_499, batch_size=31),
    evaluation=Evaluation(trajectory_points=7, trajectory_images=97, final_images=499, validation_images=101),
    measures=Measures(
        names=["rate_parts", "log_marginal", "probe", "reconstructions"],
        aggregate_images=101,
        latent_samples=11,
        importance_images=3,
        importance_samples=211,
        refit_steps=5,
        neighbour_images=53,
        probe_images=13,
    ),
    resources=Resources(checkpoint_seconds=0.5),
)
