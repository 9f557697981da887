"""The eleven claims of Bozkurt, Esmaeili et al. (AISTATS 2021), in our words, over a grid of any size.

Every claim is as strong as the paper's sentence where that says how much: "uniformly" is at every β, "most" is more
than half of the data sets. Where it does not ("apparent", "similar"), the margin is ours, and stands in the claim. A
sentence says no more than its contrasts test: a curve "only falls" but for rises of a share of its whole fall.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rdstudy.study.claims.contrasts import (
    NOTICED,
    SMALL,
    Arm,
    Betas,
    Contrast,
    above,
    alike,
    at_least,
    best_near,
    deeper_minimum,
    distances_alike,
    exceeds,
    falls,
    interior_minimum,
    lower_everywhere,
    mean_above,
    monotone,
    rises_apart,
    rises_less_apart,
)
from rdstudy.study.claims.records import Claim

BEST_BETA = 0.1
LARGE, FEW, LARGEST = Betas(least=1.0), Betas(most=BEST_BETA), Betas(above=1.0)
"""Large β: the standard VAE's and more. Small: up to the one that the paper finds best. The largest: where the paper's
codes of training images overlap, so that their mutual information is below its most."""

MEMORIZED = 0.05
"""A network memorizes from here on: of a hundred reconstructions, five more than chance are a training image's."""

SATURATED = 0.95
"""Mutual information is called saturated from this share of log N on: 1/20 of it is below the width of a line."""


@dataclass(frozen=True)
class Grid:
    """Where a study has the models that the paper's claims are about.

    Attributes:
        dense: split with many training images.
        sparse: split with few, at constant volume.
        constant_volume: splits by size, the fewest images first.
        constant_density: splits of the same sizes, in the same order.
        others: other data sets; the claim about them is left out where there are none.
        others_split: their split, with few training images.
        exception: the data set of `others` whose deep curve has the deeper minimum, or None.
        dataset: of all other claims.
        checkerboard: split of unseen combinations of factors.
        as_far: split whose test images are as far from training images as those of the checkerboard; "" for `sparse`.
        shallow: layers of the small networks.
        deep: layers of the large ones.
        cnn: whether there are convolutional networks on the sparse split.
    """

    dense: str
    sparse: str
    constant_volume: Sequence[str]
    constant_density: Sequence[str]
    others: Sequence[str] = ()
    others_split: str = ""
    exception: str | None = None
    dataset: str = "tetrominoes"
    checkerboard: str = "checkerboard"
    as_far: str = ""
    shallow: int = 1
    deep: int = 3
    cnn: bool = True

    def arm(self, depth: int, split: str | None = None, *, architecture: str = "mlp", objective: str = "beta") -> Arm:
        """The models of this depth, of all splits where none is named."""
        arm = {"dataset": self.dataset, "architecture": architecture, "objective": objective, "depth": depth}
        return arm if split is None else {**arm, "split": split}


def paper_claims(grid: Grid) -> tuple[Claim, ...]:
    """The claims, in the order of the paper; those of which the grid has no models are left out."""
    claims = [
        _dense(grid),
        _sparse_shallow(grid),
        _early_stopping(grid),
        _sparse_deep(grid),
        _copies(grid),
        _sizes(grid),
        _checkerboard(grid),
        *([_convolutions(grid)] if grid.cnn else []),
        *([_other_data_sets(grid)] if grid.others else []),
        _parts_of_the_rate(grid),
        _term_removed(grid),
    ]
    return tuple(claims)


def _dense(grid: Grid) -> Claim:
    shallow, deep = grid.arm(grid.shallow, grid.dense), grid.arm(grid.deep, grid.dense)
    gaps = [
        exceeds(grid.arm(depth, grid.sparse), over=grid.arm(depth, grid.dense), value="distortion_gap", times=1 / SMALL)
        for depth in (grid.shallow, grid.deep)
    ]
    return Claim(
        "dense-data",
        "On dense data, the gap between test and train distortion is below a tenth of that on sparse data, in the mean "
        "over β, and a deeper network has a lower rate and a lower distortion at every β.",
        "Paper, 4.4, Figure 3, top",
        [*gaps, *(lower_everywhere(deep, than=shallow, value=value) for value in ("distortion", "rate"))],
        "dense-and-sparse-rate-distortion",
    )


def _sparse_shallow(grid: Grid) -> Claim:
    arm = grid.arm(grid.shallow, grid.sparse)
    return Claim(
        "sparse-shallow",
        "On sparse data, a shallow network's test distortion has a minimum at an intermediate β, below both ends by "
        f"{_share(NOTICED)} of the other's height. Its training distortion falls as β gets smaller, without any rise "
        f"above {_share(NOTICED)} of its whole fall.",
        "Paper, 4.4, Figure 3, bottom left",
        [interior_minimum(arm), monotone(arm, subset="train")],
        "dense-and-sparse-distortion",
    )


def _early_stopping(grid: Grid) -> Claim:
    arm = grid.arm(grid.shallow, grid.sparse)
    return Claim(
        "early-stopping",
        "Early stopping removes that minimum: with the best weights on validation images, test distortion falls as β "
        f"gets smaller, without any rise above {_share(NOTICED)} of its whole fall.",
        "Paper, 4.4 and its appendix on early stopping",
        [interior_minimum(arm), monotone(arm, value="stopped_distortion")],
        "early-stopping-early-stopping-distortion",
    )


def _sparse_deep(grid: Grid) -> Claim:
    arm = grid.arm(grid.deep, grid.sparse)
    values = ("negative_elbo", "negative_log_marginal", "distortion_gap", "log_marginal_gap")
    return Claim(
        "sparse-deep",
        f"On sparse data, a deep network's test ELBO and log p(x) are highest within half a decade of β = "
        f"{BEST_BETA:g}, and so are the differences between test and training images smallest, in distortion and in "
        "log p(x).",
        "Paper, 4.4, Figure 3, bottom right, and the appendix on log p(x)",
        [best_near(arm, value=value, beta=BEST_BETA) for value in values],
        "log-marginal-log-marginal",
    )


def _copies(grid: Grid) -> Claim:
    deep, shallow = grid.arm(grid.deep, grid.sparse), grid.arm(grid.shallow, grid.sparse)
    value = "memorization_excess"
    return Claim(
        "copies",
        "Deep networks on sparse data memorize at large β: more of their test reconstructions are nearer to a training "
        "image than to one of as many never trained on, by more than "
        f"{_share(MEMORIZED)} of all above the half that chance gives; by more than twice as much as at small β, and "
        "by more than of shallow networks. There, their test distortion is further above the training distortion than "
        "at small β.",
        "Paper, 4.4, Figure 3, bottom right",
        [
            mean_above(deep, value=value, subset="test", least=MEMORIZED, betas=LARGE),
            exceeds(deep, over=deep, value=value, times=2.0, betas=LARGE, over_betas=FEW),
            exceeds(deep, over=shallow, value=value, betas=LARGE),
            exceeds(deep, over=deep, value="distortion_gap", betas=LARGE, over_betas=FEW),
        ],
        "memorization-copied",
    )


def _sizes(grid: Grid) -> Claim:
    shallow, deep = grid.arm(grid.shallow), grid.arm(grid.deep)
    fewest, most, as_dense = grid.constant_volume[0], grid.constant_volume[-1], grid.constant_density[0]
    return Claim(
        "training-set-size",
        f"With few training images at constant volume, {fewest}, the curves of shallow and deep networks are of two "
        "kinds: towards the smallest β, the test distortion of a shallow one turns up from its lowest point, and that "
        f"of a deep one less or not at all. With many, {most}, and with as few at constant density, {as_dense}, it "
        "does so by less than half as much more.",
        "Paper, 4.4, Figure 4",
        [
            rises_apart(shallow, than=deep, split=fewest),
            *(rises_less_apart(shallow, than=deep, split=split, beside=fewest) for split in (most, as_dense)),
        ],
        "size-at-constant-volume-sizes-rate-distortion",
    )


def _checkerboard(grid: Grid) -> Claim:
    board, sparse, dense = grid.checkerboard, grid.as_far or grid.sparse, grid.dense

    def curves(depth: int) -> Contrast:
        odd, few, many = (grid.arm(depth, split) for split in (board, sparse, dense))
        return alike(odd, to=few, apart=(few, many))

    return Claim(
        "checkerboard",
        "Unseen combinations of factors generalize like sparse data: in test distortion, and in how the distances from "
        "test images to their nearest training image are distributed, the two differ by less than half of what sparse "
        "and dense data do.",
        "Paper, 4.4, Figure 5, and the appendix on distances",
        [
            *map(curves, (grid.shallow, grid.deep)),
            distances_alike(grid.dataset, split=board, to=sparse, apart=(sparse, dense)),
        ],
        "in-and-out-of-sample-rate-distortion",
    )


def _convolutions(grid: Grid) -> Claim:
    shallow, deep = (grid.arm(depth, grid.sparse, architecture="cnn") for depth in (grid.shallow, grid.deep))
    return Claim(
        "convolutions",
        "On sparse data, a deep convolutional network's test distortion falls as β gets smaller, without any rise "
        f"above {_share(NOTICED)} of its whole fall; a shallow one's without any above {_share(SMALL)}.",
        "Paper, 4.4, Figure 6",
        [monotone(deep, share=NOTICED), monotone(shallow, share=SMALL)],
        "mlp-and-cnn-distortion",
    )


def _other_data_sets(grid: Grid) -> Claim:
    def arm(dataset: str, depth: int) -> Arm:
        return {**grid.arm(depth, grid.others_split), "dataset": dataset}

    minima = [interior_minimum(arm(dataset, grid.shallow)) for dataset in grid.others]
    usual = [dataset for dataset in grid.others if dataset != grid.exception]
    falling = [monotone(arm(dataset, grid.deep), share=SMALL) for dataset in usual]
    contrasts = [at_least(len(parts) // 2 + 1, parts) for parts in (minima, falling) if parts]
    sentence = f"{_on_others(grid)}, with few training images, a shallow network's test distortion has a minimum at an "
    sentence += "intermediate β"
    if falling:
        where = f" on most of the {len(usual)} that are not {grid.exception}," if grid.exception in grid.others else ""
        sentence += f", and{where} a deep one's falls as β gets smaller, without any rise above {_share(SMALL)} of its"
        sentence += " whole fall"
    if grid.exception is not None:
        dataset = grid.exception
        contrasts.append(deeper_minimum(arm(dataset, grid.deep), than=arm(dataset, grid.shallow)))
        sentence += f"; on {dataset}, the deep network's minimum is the more pronounced one"
    return Claim("other-data-sets", f"{sentence}.", "Paper, 4.4, Figure 7", contrasts, "other-data-sets-distortion")


def _on_others(grid: Grid) -> str:
    """How many other data sets there are, and whether they are others."""
    if len(grid.others) > 1:
        return f"On most of the {len(grid.others)} other data sets"
    (only,) = grid.others
    alike = ", the same shapes at positions that do not depend on size" if only.startswith(f"{grid.dataset}-") else ""
    return f"On the one other data set, {only}{alike}"


def _parts_of_the_rate(grid: Grid) -> Claim:
    contrasts: list[Contrast] = []
    for depth in (grid.shallow, grid.deep):
        arm = grid.arm(depth, grid.sparse)
        contrasts += [
            above(arm, value="information_share", subset="train", least=SATURATED, betas=Betas(below=1.0)),
            falls(arm, value="mutual_information", subset="train", betas=LARGE),
            falls(arm, value="marginal_kl", subset="train", betas=Betas(most=1.0)),
            exceeds(
                arm,
                over=arm,
                value="marginal_kl",
                subset="train",
                times=1 / SMALL,
                betas=FEW,
                over_betas=Betas(above=1.0),
            ),
        ]
    return Claim(
        "parts-of-the-rate",
        f"Below β = 1 the mutual information is within {_share(1 - SATURATED)} of its most, log N, and from there on "
        "it falls as β grows; the marginal KL rises as β falls below 1, and its mean above 1 is less than a tenth of "
        f"that up to β = {BEST_BETA:g}.",
        "Paper, 4.5, Figure 8",
        contrasts,
        "parts-of-the-rate-rate-parts",
    )


def _term_removed(grid: Grid) -> Claim:
    def curves(depth: int) -> Contrast:
        objectives = ("no_mutual_information", "beta", "no_marginal_kl")
        information, whole, marginal = (grid.arm(depth, grid.sparse, objective=name) for name in objectives)
        return alike(information, to=whole, apart=(marginal, whole), betas=LARGEST, overlap=True)

    return Claim(
        "a-term-removed",
        "At β above 1, where codes of training images overlap, taking the marginal KL out of the loss changes the test "
        "distortion; taking the mutual information out, as a batch estimates it, changes it less than half as much. "
        "Where codes do not overlap, taking it out changes nothing by construction, and nothing is claimed.",
        "Paper, 4.5 and its appendix",
        [curves(grid.shallow), curves(grid.deep)],
        "a-term-removed-distortion",
    )


def _share(share: float) -> str:
    return f"{100 * share:.3g} %"
