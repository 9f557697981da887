"""The paper at a size for two cores: the same questions, smaller networks, fewer images, a shorter training.

Some two hours on two cores (2.9 core-hours, 45 % of them for measures). Everything is drawn here,
so nothing is downloaded: the one other data set is the Tetrominoes at fixed positions. `studies/paper.py` has the sizes
of the paper. What differs beside the sizes: five β instead of twelve; the sparse split has 1,024 images, so that 80
passes through it overfit. Whether networks were still learning when training ended is said beside every verdict.
Its page is `reports/mini.html`, its table `reports/mini.members.parquet`.

    python -m rdstudy.run studies/mini.py
"""

from collections.abc import Sequence
from typing import Any

from rdstudy.study import Evaluation, Experiment, Measures, Recipe, Resources, Study
from rdstudy.study.claims.paper import Grid, paper_claims

DENSE, SPARSE = "cv(81920)", "cv(1024)"
SIZES = (1_024, 4_096, 16_384)
AS_FAR = "cv(16384)"  # as the checkerboard's: the paper compares the two, and 1,024 images are much further apart
CURVES = ("distortion", "rate-distortion")
RUNS: dict[str, Sequence[Any]] = {"beta": [0.001, 0.01, 0.1, 1, 4], "seed": range(5)}
MLP: dict[str, Sequence[Any]] = {
    "dataset": ["tetrominoes"],
    "architecture": ["mlp"],
    "width": [64],
    "depth": [1, 3],
    **RUNS,
}
CNN = {**MLP, "architecture": ["cnn"], "width": [8]}

STUDY = Study(
    name="mini",
    title="Rate-regularization and generalization in VAEs, in small",
    description=(
        "The experiments of the paper with networks of 64 units, trained for 2,500 steps on two cores: does the rate "
        "help a VAE to generalize? Where a verdict differs from the paper's, the size may be why."
    ),
    experiments=[
        Experiment(
            "dense-and-sparse",
            title="Do shallow and deep networks overfit dense and sparse data?",
            description="After Figure 3: half of the Tetrominoes, and 1,024 of them, for training.",
            figures=(*CURVES, "learning", "gap-parts", "reconstructions"),
            grid={**MLP, "split": [DENSE, SPARSE]},
        ),
        Experiment(
            "size-at-constant-volume",
            title="What does a smaller training set do, spread over all factors?",
            description="After Figure 4, top: fewer training images from the same volume.",
            figures=("sizes-rate-distortion", "sizes-distortion", "leave-one-out"),
            grid={**MLP, "split": [f"cv({size})" for size in SIZES]},
        ),
        Experiment(
            "size-at-constant-density",
            title="What does a smaller training set do, as dense as before?",
            description="After Figure 4, bottom: fewer training images from a smaller volume.",
            figures=("sizes-rate-distortion", "sizes-distortion"),
            grid={**MLP, "split": [f"cd({size})" for size in SIZES]},
        ),
        Experiment(
            "in-and-out-of-sample",
            title="Do unseen combinations of factors generalize like sparse data?",
            description=(
                "After Figure 5: a checkerboard of factors, beside dense and sparse data, and beside data whose test "
                "images are about as far from the training images as here."
            ),
            figures=(*CURVES, "neighbours", "reconstructions"),
            grid={**MLP, "split": [DENSE, SPARSE, AS_FAR, "checkerboard"]},
        ),
        Experiment(
            "mlp-and-cnn",
            title="Is it the same for convolutional networks?",
            description="After Figure 6: convolutional networks of 8 channels on the sparse split.",
            figures=(*CURVES, "learning"),
            grid={**CNN, "split": [SPARSE]},
        ),
        Experiment(
            "other-data-sets",
            title="Is it the same for another data set?",
            description="In the place of Figure 7: Tetrominoes at positions that do not depend on their size.",
            figures=CURVES,
            grid={**MLP, "dataset": ["tetrominoes-fixed"], "split": [SPARSE]},
        ),
        Experiment(
            "parts-of-the-rate",
            title="Which part of the rate changes with β?",
            description="After Figure 8: mutual information and marginal KL on the sparse split.",
            figures=("rate-parts", "active-units"),
            grid={**MLP, "split": [SPARSE]},
        ),
        Experiment(
            "a-term-removed",
            title="Which part of the rate changes generalization?",
            description="The loss without the marginal KL, or the mutual information, on the sparse split.",
            figures=(*CURVES, "rate-parts"),
            grid={**MLP, "split": [SPARSE], "objective": ["beta", "no_marginal_kl", "no_mutual_information"]},
        ),
        Experiment(
            "early-stopping",
            title="Does early stopping take the minimum away?",
            description="The last weights against the best ones on 500 validation images.",
            figures=("early-stopping", "early-stopping-distortion"),
            grid={**MLP, "split": [SPARSE]},
        ),
        Experiment(
            "log-marginal",
            title="Which β gives the best log p(x)?",
            description="Importance-weighted, on 30 images of each subset.",
            figures=("log-marginal", "gap-parts"),
            grid={**MLP, "split": [SPARSE]},
        ),
        Experiment(
            "memorization",
            title="When do reconstructions copy training images?",
            description=(
                "Reconstructions of 300 test images, held against training images and as many never trained on; log "
                "p(x) of images with and without training on them."
            ),
            figures=("copied", "leave-one-out", "reconstructions"),
            grid={**MLP, "split": [DENSE, SPARSE]},
        ),
    ],
    recipe=Recipe(steps=2_500, batch_size=32, learning_rate=3e-3),
    evaluation=Evaluation(trajectory_points=30, trajectory_images=500, final_images=4_000, validation_images=500),
    measures=Measures(
        names=["rate_parts", "active_units", "log_marginal", "memorization", "probe", "reconstructions"],
        aggregate_images=1_024,
        latent_samples=300,
        importance_images=30,
        importance_samples=500,
        memorization_images=300,
        neighbour_images=1_000,
        probe_images=40,
        reconstruction_images=2,
    ),
    resources=Resources(cpus=1),
    claims=paper_claims(
        Grid(
            dense=DENSE,
            sparse=SPARSE,
            as_far=AS_FAR,
            constant_volume=[f"cv({size})" for size in SIZES],
            constant_density=[f"cd({size})" for size in SIZES],
            others=["tetrominoes-fixed"],
            others_split=SPARSE,
        )
    ),
)
