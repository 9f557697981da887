"""Does the rate help a VAE generalize? Asked in some five minutes on two cores, of small networks and few images.

After the paper's Figure 3, bottom row. What the page says is said of networks that are trained as the recipe says: with
a constant learning rate, or from PyTorch's own initialization, curves may bend another way.
"""

from rdstudy.study import Evaluation, Experiment, Measures, Recipe, Resources, Study
from rdstudy.study.claims import Arm, Betas, Claim, exceeds

DEPTHS = (1, 3)
SMALL, LARGE = Betas(most=0.1), Betas(least=1.0)


def layers(depth: int) -> Arm:
    """The models with so many hidden layers."""
    return {"depth": depth}


def only(beta: float) -> Betas:
    """One β alone."""
    return Betas(least=beta, most=beta)


STUDY = Study(
    name="quick",
    title="Does the rate help a VAE generalize?",
    description=(
        "Small VAEs on 1,000 Tetrominoes, tested on images that they have not seen. The rate term, of strength β, lets "
        "codes carry less of an image. Are test images then reconstructed better, and how much of what is won or lost "
        "is seen on training images too? The gap between the two is what generalization means here."
    ),
    experiments=[
        Experiment(
            "sparse-data",
            title="Sparse data, one and three layers",
            description="1,000 training images at constant volume; compare the paper's Figure 3, bottom row.",
            grid={
                "dataset": ["tetrominoes"],
                "split": ["cv(1000)"],
                "architecture": ["mlp"],
                "width": [128],
                "depth": list(DEPTHS),
                "beta": [0.01, 0.1, 1, 3],
                "seed": range(3),
            },
        )
    ],
    recipe=Recipe(steps=2_000, batch_size=64, learning_rate=2e-3, schedule="cosine", initialization="he"),
    evaluation=Evaluation(trajectory_points=16, trajectory_images=500, final_images=10_000, validation_images=1_000),
    measures=Measures(
        names=[
            *("rate_parts", "batch_rate_parts", "cross_rate", "active_units", "log_marginal", "optimal_decoder"),
            *("memorization", "reconstructions"),
        ],
        aggregate_images=2_000,
        latent_samples=500,
        importance_images=30,
        importance_samples=500,
        refit_steps=40,
        memorization_images=200,
        neighbour_images=500,
    ),
    resources=Resources(cpus=1, keep_weights=True),
    claims=[
        Claim(
            "gap",
            "With one hidden layer and with three, a larger β narrows the gap between test and training distortion: at "
            "β of 1 and more it is smaller, on average, than at β up to 0.1.",
            "The question of the paper",
            [
                exceeds(layers(depth), over=layers(depth), value="distortion_gap", betas=SMALL, over_betas=LARGE)
                for depth in DEPTHS
            ],
            "sparse-data-distortion",
        ),
        Claim(
            "price",
            "It does so at a price: training distortion is higher, on average, at β of 1 and more than at β up to 0.1.",
            "Paper, 2",
            [
                exceeds(
                    layers(depth), over=layers(depth), value="distortion", subset="train", betas=LARGE, over_betas=SMALL
                )
                for depth in DEPTHS
            ],
            "sparse-data-distortion",
        ),
        Claim(
            "balance",
            "With one hidden layer, a rate that is too weak costs more than it wins: test distortion at β = 0.01 is "
            "above that at β = 1.",
            "Paper, 4.4, Figure 3, bottom left",
            [exceeds(layers(1), over=layers(1), value="distortion", betas=only(0.01), over_betas=only(1.0))],
            "sparse-data-distortion",
        ),
    ],
)
