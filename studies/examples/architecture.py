"""Residual networks beside the MLP of the paper.

Run it with `python -m rdstudy.run studies/examples/architecture.py`.
"""

from rdstudy.study import Evaluation, Experiment, Measures, Recipe, Study, part

STUDY = Study(
    name="example-architecture",
    experiments=[
        Experiment(
            "residual",
            grid={
                "dataset": ["tetrominoes"],
                "split": ["cv(1024)"],
                "architecture": ["mlp", part("nets.py:residual", blocks=3)],
                "beta": [0.1, 1],
                "seed": range(2),
            },
        )
    ],
    recipe=Recipe(steps=1_000, batch_size=32),
    evaluation=Evaluation(trajectory_points=10, trajectory_images=200, final_images=1_000),
    measures=Measures(names=["active_units"], aggregate_images=1_000),
)
