"""Does TF32 change what a VAE learns? The same members in full precision and with TF32 products, paired by seed.

Networks of 64 units as in `studies/mini.py`, small enough for a CPU, where operands are rounded before each product
(`rdstudy.training.precision`). The question is whether distortion and rate move by less than a tenth of what they
differ over seeds: `python -m benchmarks.precision` trains the same members together, with a control, and answers it;
benchmarks/NOTES.md says what came out.

    python -m rdstudy.run studies/precision.py --local
"""

from rdstudy.study import Evaluation, Experiment, Measures, Recipe, Study

STUDY = Study(
    name="precision",
    title="Does TF32 change what a VAE learns?",
    description=(
        "Products of training steps with operands rounded to TF32, but for the layers at the latent code, beside "
        "products in full precision: the same initial weights, batches and noise in both."
    ),
    experiments=[
        Experiment(
            "precision",
            title="Distortion and rate in either precision",
            description="β from the least of the paper, where σ of a code is below TF32's rounding of its μ, to 1.",
            grid={
                "dataset": ["tetrominoes"],
                "split": ["default"],
                "architecture": ["mlp"],
                "width": [64],
                "depth": [1, 3],
                "beta": [0.001, 0.01, 0.3, 1],
                "seed": range(25),
                "precision": ["float32", "tf32"],
            },
        )
    ],
    recipe=Recipe(steps=1_000, batch_size=32, learning_rate=3e-3),
    evaluation=Evaluation(trajectory_points=1, trajectory_images=100, final_images=1_000),
    measures=Measures(names=[]),
)
