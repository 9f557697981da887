"""The paper's paradox in a few minutes on two cores: one hidden layer has a best β, three do not.

Few training images at constant volume (paper, Figure 3, bottom row), with smaller networks and a shorter training.
"""

from rdstudy.study import Evaluation, Experiment, Measures, Recipe, Resources, Study

STUDY = Study(
    name="quick",
    title="Does the rate help a VAE generalize?",
    description=(
        "Small VAEs on 2,000 Tetrominoes, tested on images they have not seen. With one hidden layer, test distortion "
        "has a minimum in β: too little rate regularization overfits, too much underfits. With three hidden layers, "
        "the larger network, less regularization generalizes better."
    ),
    experiments=[
        Experiment(
            "sparse-data",
            title="Sparse data, one and three layers",
            description="2,000 training images at constant volume; compare the paper's Figure 3, bottom row.",
            grid={
                "dataset": ["tetrominoes"],
                "split": ["cv(2000)"],
                "architecture": ["mlp"],
                "width": [128],
                "depth": [1, 3],
                "beta": [0.01, 0.1, 1, 3],
                "seed": range(3),
            },
        )
    ],
    recipe=Recipe(steps=4_000, batch_size=32, learning_rate=1.5e-3),
    evaluation=Evaluation(trajectory_points=16, trajectory_images=500, final_images=10_000, validation_images=1_000),
    measures=Measures(
        aggregate_images=2_000,
        latent_samples=500,
        importance_images=50,
        importance_samples=200,
        memorization_images=200,
        neighbour_images=500,
        probe_images=20,
    ),
    resources=Resources(cpus=1, keep_weights=True),
)
