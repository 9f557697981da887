"""The paper, whole: Bozkurt, Esmaeili et al., "Rate-Regularization and Generalization in VAEs" (AISTATS 2021).

Every experiment is named after what it asks and says which figure it stands for. They overlap: a model that several
figures show is trained once. Figures 1 and 2, the data and the splits, are on every page. What the published text
does not say was chosen: the split sizes of the other data sets, which are those of the Tetrominoes that the smallest
of them can hold, and the size of the validation subset.

    python -m rdstudy.run studies/paper.py --plan
    python -m rdstudy.run studies/paper.py --only dense-and-sparse      # one figure of it
"""

from rdstudy.study import PAPER_BETAS, Evaluation, Experiment, Recipe, Resources, Study
from rdstudy.study.claims.paper import Grid, paper_claims

DENSE, SPARSE = "cv(81920)", "cv(16384)"
SIZES = (8_192, 16_384, 24_576, 32_768, 40_960, 49_152, 57_344, 65_536)
SIZES_OF_OTHERS = SIZES[:5]  # SmallNORB has 48,600 images
SMALLEST_OF_OTHERS = f"cv({SIZES_OF_OTHERS[0]})"
OTHERS = ("fashion-mnist", "smallnorb", "mnist", "3dshapes")
DEPTHS, PAPER_DEPTHS = (1, 2, 3), (1, 3)  # the paper draws one and three layers; two are trained beside them
CURVES = ("distortion", "rate-distortion")
RUNS = {"beta": PAPER_BETAS, "seed": range(5)}
TETROMINOES = {"dataset": ["tetrominoes"], "architecture": ["mlp"], "depth": DEPTHS, **RUNS}

STUDY = Study(
    name="paper",
    title="Rate-regularization and generalization in VAEs",
    description=(
        "Does the rate help a VAE to generalize? Rate and distortion of training and test images over the strength β "
        "of the rate term, the depth of the networks, and how far test images are from training images."
    ),
    experiments=[
        Experiment(
            "dense-and-sparse",
            title="Do shallow and deep networks overfit dense and sparse data?",
            description="Figure 3: half of the Tetrominoes, and a tenth of them, for training.",
            figures=(*CURVES, "learning", "gap-parts", "reconstructions"),
            grid={**TETROMINOES, "split": [DENSE, SPARSE]},
        ),
        Experiment(
            "size-at-constant-volume",
            title="What does a smaller training set do, spread over all factors?",
            description="Figure 4, top: fewer training images from the same volume, so that neighbours move apart.",
            figures=("sizes-rate-distortion", "sizes-distortion", *CURVES, "leave-one-out"),
            grid={**TETROMINOES, "split": [f"cv({size})" for size in SIZES]},
        ),
        Experiment(
            "size-at-constant-density",
            title="What does a smaller training set do, as dense as before?",
            description="Figure 4, bottom: fewer training images from a smaller volume, with neighbours as near.",
            figures=("sizes-rate-distortion", "sizes-distortion", *CURVES),
            grid={**TETROMINOES, "split": [f"cd({size})" for size in SIZES]},
        ),
        Experiment(
            "in-and-out-of-sample",
            title="Do unseen combinations of factors generalize like sparse data?",
            description=(
                "Figure 5, and the distances to the nearest training image in its appendix: a checkerboard of factors "
                "has as many training images as the dense split, and none near a test image."
            ),
            figures=(*CURVES, "neighbours", "reconstructions"),
            grid={**TETROMINOES, "split": [DENSE, SPARSE, "checkerboard"]},
        ),
        Experiment(
            "mlp-and-cnn",
            title="Is it the same for convolutional networks?",
            description="Figure 6: fully connected and convolutional networks on the sparse split.",
            figures=(*CURVES, "learning", "reconstructions"),
            grid={**TETROMINOES, "split": [SPARSE], "architecture": ["mlp", "cnn"], "depth": PAPER_DEPTHS},
        ),
        Experiment(
            "other-data-sets",
            title="Is it the same for other data sets?",
            description="Figure 7: four data sets with few training images.",
            figures=(*CURVES, "learning", "neighbours", "reconstructions"),
            grid={**TETROMINOES, "dataset": OTHERS, "split": [SMALLEST_OF_OTHERS], "depth": PAPER_DEPTHS},
        ),
        Experiment(
            "other-data-sets-by-size",
            title="Other data sets, over a range of splits",
            description="The appendix of the section on additional data sets: five sizes of the training set.",
            figures=CURVES,
            grid={
                **TETROMINOES,
                "dataset": OTHERS,
                "split": [f"cv({size})" for size in SIZES_OF_OTHERS],
                "depth": PAPER_DEPTHS,
            },
        ),
        Experiment(
            "parts-of-the-rate",
            title="Which part of the rate changes with β?",
            description="Figure 8: mutual information and marginal KL on the sparse split.",
            figures=("rate-parts", "batch-estimates", "finer-parts", "cross-rate", "active-units"),
            grid={**TETROMINOES, "split": [SPARSE]},
        ),
        Experiment(
            "a-term-removed",
            title="Which part of the rate changes generalization?",
            description="The appendix of section 4.5: the loss without the marginal KL, or the mutual information.",
            figures=(*CURVES, "rate-parts", "gap-parts"),
            grid={
                **TETROMINOES,
                "split": [SPARSE],
                "objective": ["beta", "no_marginal_kl", "no_mutual_information"],
            },
        ),
        Experiment(
            "early-stopping",
            title="Does early stopping take the minimum away?",
            description="The appendix of section 4.4 on early stopping: the last weights against the best ones.",
            figures=("early-stopping", "early-stopping-distortion", "learning"),
            grid={**TETROMINOES, "split": [SPARSE]},
        ),
        Experiment(
            "log-marginal",
            title="Which β gives the best log p(x)?",
            description="The appendix of section 4.4 on the log marginal likelihood, dense and sparse.",
            figures=("log-marginal", "gap-parts"),
            grid={**TETROMINOES, "split": [DENSE, SPARSE]},
        ),
        Experiment(
            "memorization",
            title="When do reconstructions copy training images?",
            description=(
                "The appendix of section 2 on decoders of infinite capacity, and the reconstructions above the curves "
                "of dense and sparse data."
            ),
            figures=("copied", "leave-one-out", "optimal-decoder", "reconstructions"),
            grid={**TETROMINOES, "split": [DENSE, SPARSE]},
        ),
    ],
    recipe=Recipe(optimizer="adam", learning_rate=1e-3, batch_size=128, steps=257_000),
    evaluation=Evaluation(validation_images=2_000),
    resources=Resources(gpus="auto"),
    claims=paper_claims(
        Grid(
            dense=DENSE,
            sparse=SPARSE,
            constant_volume=[f"cv({size})" for size in SIZES],
            constant_density=[f"cd({size})" for size in SIZES],
            others=OTHERS,
            others_split=SMALLEST_OF_OTHERS,
            exception="3dshapes",
        )
    ),
)
