"""Linear VAEs on Gaussian images: the one study whose rates and distortions are known before it is run.

Eight latent dimensions, of which fewer and fewer are used as β grows: those along which the data's variance is larger
than β σ². `rdstudy.model.linear_gaussian.optimum` has the closed form. About a minute on two cores.
"""

from rdstudy.study import Evaluation, Experiment, Recipe, Resources, Study

STUDY = Study(
    name="linear",
    title="Do linear VAEs reach the optimum that is known?",
    description=(
        "Linear VAEs on Gaussian images of 8×8 pixels with six directions of large variance. In theory, the best that "
        "they can do is the rate-distortion curve of probabilistic PCA, which gives up one direction after the other "
        "as β grows: how near does training come to it?"
    ),
    experiments=[
        Experiment(
            "curve",
            title="The rate-distortion curve of probabilistic PCA",
            description="8,192 training images: many for so few weights.",
            grid={
                "dataset": ["gaussian"],
                "split": ["cv(8192)"],
                "architecture": ["linear"],
                "likelihood": ["gaussian"],
                "latent_dim": [8],
                "beta": [0.1, 0.2, 0.5, 1, 2, 5, 10],
                "seed": range(3),
            },
        )
    ],
    recipe=Recipe(steps=4_000, batch_size=512, learning_rate=2e-2),
    evaluation=Evaluation(trajectory_points=12, trajectory_images=1_000),
    resources=Resources(cpus=1),
)
