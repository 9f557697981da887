"""Free nats and a growing capacity beside D + β R.

Run it with `python -m rdstudy.run studies/examples/objective.py`.
"""

from rdstudy.study import Evaluation, Experiment, Measures, Recipe, Study, part

STUDY = Study(
    name="example-objective",
    experiments=[
        Experiment(
            "objectives",
            grid={
                "dataset": ["tetrominoes"],
                "split": ["cv(1024)"],
                "width": [64],
                "objective": ["beta", part("objectives.py:free_nats"), part("objectives.py:capacity", most=10)],
                "beta": [0.1, 1],
                "seed": range(2),
            },
        )
    ],
    recipe=Recipe(steps=1_000, batch_size=32),
    evaluation=Evaluation(trajectory_points=10, trajectory_images=200, final_images=1_000),
    measures=Measures(names=["active_units"], aggregate_images=1_000),
)
