"""Images of one's own: an array of uint8 `[image, channel, row, column]`, here of random stripes.

Run it with `python -m rdstudy.run studies/examples/images.py`.
"""

import numpy as np

from rdstudy import Evaluation, Experiment, Measures, Recipe, Study, own_dataset

PHASE = np.random.default_rng(0).random((2_000, 1, 1, 1))
STRIPES = np.broadcast_to(127 + 127 * np.sin(np.arange(16) + 6.3 * PHASE), (2_000, 1, 16, 16)).astype(np.uint8)

STUDY = Study(
    name="example-images",
    experiments=[
        Experiment(
            "stripes",
            grid={
                "dataset": [own_dataset("stripes", STRIPES)],
                "split": ["cv(1000)"],
                "width": [64],
                "beta": [0.1, 1],
                "seed": range(2),
            },
        )
    ],
    recipe=Recipe(steps=1_000, batch_size=32),
    evaluation=Evaluation(trajectory_points=10, trajectory_images=200),
    measures=Measures(names=["active_units"], aggregate_images=1_000),
)
