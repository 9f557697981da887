"""A measure of one's own, and a claim about it.

Run it with `python -m rdstudy.run studies/examples/measure.py`.
"""

from rdstudy.study import Evaluation, Experiment, Measures, Recipe, Study, part
from rdstudy.study.claims import Claim
from rdstudy.study.claims.contrasts import falls

STUDY = Study(
    name="example-measure",
    experiments=[
        Experiment(
            "sharp",
            grid={
                "dataset": ["tetrominoes"],
                "split": ["cv(1024)"],
                "width": [64],
                "beta": [0.1, 1],
                "seed": range(2),
            },
        )
    ],
    recipe=Recipe(steps=1_000, batch_size=32),
    evaluation=Evaluation(trajectory_points=10, trajectory_images=200, final_images=1_000),
    measures=Measures(names=["active_units", part("measures.py:sharpness")], aggregate_images=1_000),
    claims=[
        Claim("sharper", "Less β, sharper images.", "", [falls({"width": 64}, value="own:sharpness", subset="test")])
    ],
)
