"""Which priors help generalization? The question with which the paper ends, asked in some hour on two cores.

72 small VAEs on 8,192 Tetrominoes: four priors, six β, three seeds. A prior that fits the aggregate of the codes better
costs a smaller rate for the same codes; what the page shows is whether that is also won on images never seen. Each
claim is put in the direction that the more flexible prior helps, and may be contradicted. What it finds is true of
networks that are trained as the recipe says.

    python -m rdstudy.run studies/priors.py
"""

import itertools

from rdstudy.study import Evaluation, Experiment, Measures, Recipe, Resources, Study
from rdstudy.study.claims import Arm, Betas, Claim, exceeds

PRIORS = ("normal", "mixture(k=10)", "vamp(k=10)", "flow(layers=4)")
"""From the plainest on: the first of a pair is claimed to be the worse."""

AT_ONE = Betas(least=1.0, most=1.0)


def under(prior: str) -> Arm:
    """The models with this prior."""
    return {"prior": prior}


def name(prior: str) -> str:
    """Of a prior in the name of a claim."""
    return prior.partition("(")[0]


STUDY = Study(
    name="priors",
    title="Which priors help generalization?",
    description=(
        "The same small VAEs under four priors: N(0, I), a mixture of ten Gaussians, a VampPrior of ten "
        "pseudo-inputs and a flow of four couplings. At β = 1, which of them has the narrowest gap between the ELBO of "
        "training and of test images, which the best test ELBO, and how far is each from the best that any prior "
        "could do?"
    ),
    experiments=[
        Experiment(
            "four-priors",
            title="Four priors along β",
            description="8,192 training images at constant volume, one hidden layer.",
            grid={
                "dataset": ["tetrominoes"],
                "split": ["cv(8192)"],
                "architecture": ["mlp"],
                "width": [128],
                "depth": [1],
                "prior": list(PRIORS),
                "beta": [0.01, 0.1, 0.3, 1, 2, 4],
                "seed": range(3),
            },
        )
    ],
    recipe=Recipe(steps=5_000, batch_size=64, learning_rate=2e-3, schedule="cosine", initialization="he"),
    evaluation=Evaluation(trajectory_points=16, trajectory_images=500, final_images=8_192, validation_images=1_000),
    measures=Measures(
        names=["rate_parts", "cross_rate", "active_units", "log_marginal", "reconstructions"],
        aggregate_images=8_192,
        latent_samples=500,
        importance_images=30,
        importance_samples=500,
        refit_steps=40,
        neighbour_images=500,
    ),
    resources=Resources(cpus=1, keep_weights=True),
    claims=[
        *(
            Claim(
                f"gap-{name(worse)}-{name(better)}",
                f"At β = 1 the ELBO falls less from training to test images under the prior {better} than under "
                f"{worse}.",
                "The question of the paper",
                [exceeds(under(worse), over=under(better), value="elbo_gap", betas=AT_ONE)],
                "four-priors-gap-parts",
            )
            for worse, better in itertools.combinations(PRIORS, 2)
        ),
        *(
            Claim(
                f"elbo-{name(prior)}",
                f"At β = 1 the test ELBO is higher under the prior {prior} than under N(0, I).",
                "The question of the paper",
                [exceeds(under(PRIORS[0]), over=under(prior), value="negative_elbo", betas=AT_ONE)],
                "four-priors-rate-distortion",
            )
            for prior in PRIORS[1:]
        ),
        *(
            Claim(
                f"fit-{name(prior)}",
                f"At β = 1 the prior {prior} is nearer to the aggregate of the training images than N(0, I) is: R − I "
                "on train, the marginal KL, is smaller.",
                "Tomczak and Welling 2018",
                [exceeds(under(PRIORS[0]), over=under(prior), value="marginal_kl", subset="train", betas=AT_ONE)],
                "four-priors-rate-parts",
            )
            for prior in PRIORS[1:]
        ),
    ],
)
