"""Laplace pixels: one likelihood a page, distortions of two do not compare.

Run it with `python -m rdstudy.run studies/examples/likelihood.py`.
"""

from rdstudy.study import Evaluation, Experiment, Measures, Recipe, Study, part

STUDY = Study(
    name="example-likelihood",
    experiments=[
        Experiment(
            "laplace",
            grid={
                "dataset": ["tetrominoes"],
                "split": ["cv(1024)"],
                "width": [64],
                "likelihood": [part("likelihoods.py:laplace", scale=0.2)],
                "beta": [0.1, 1],
                "seed": range(2),
            },
        )
    ],
    recipe=Recipe(steps=1_000, batch_size=32),
    evaluation=Evaluation(trajectory_points=10, trajectory_images=200, final_images=1_000),
    measures=Measures(names=["active_units"], aggregate_images=1_000),
)
