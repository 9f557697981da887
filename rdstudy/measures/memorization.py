"""Two views of memorization: reconstructions that are training images, and images that are likely only when trained on.

A reconstruction that is nearer to a training image than to its own may be a copy, or only blurred: a mean of many
images is near to many. `copied_fraction` counts both. `three_sample` asks what blur cannot answer: is it nearer to a
training image than to one of as many images that were never trained on?

Images are flattened, `[image, pixel]`; models are on the first axis of a table, images on the second.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from rdstudy.measures.estimate import Estimate, estimate_mean
from rdstudy.measures.neighbours import Neighbours, nearest, paired_distance

_PSEUDO_ANSWERS = 4  # Agresti and Coull (1998): two successes and two failures, for an interval of about 95 %


@dataclass(frozen=True)
class Copies:
    """How near reconstructions are to training images, and to their own images."""

    copied_fraction: Estimate  # share of images, which blur raises too; not in nats
    nearest_index: Tensor  # [image] int64, position among the training images
    nearest_distance: Tensor  # [image] float64, ℓ2 to that training image, in units of pixel values in [0, 1]
    own_distance: Tensor  # [image] float64, ℓ2 to the image that was reconstructed, in the same units


@dataclass(frozen=True)
class ThreeSample:
    """How often a reconstruction's nearest image is a training image, not one of as many images never trained on."""

    share: Estimate  # 1/2 where nothing is memorized; not in nats
    answers: float  # effective number of different answers behind it, from 1 to the number of images


@dataclass(frozen=True)
class LeaveOneOut:
    """The memorization score of each image, over models that were and were not trained on it."""

    score: Tensor  # [image] float64, nats, difference of mean log p; nan where one side has no model
    standard_error: Tensor  # [image] float64, nats, of `score`; nan where one side has fewer than two models
    score_of_mean: Tensor  # [image] float64, nats, difference of log mean p; nan where one side has no model
    with_runs: Tensor  # [image] int64, models trained on the image
    without_runs: Tensor  # [image] int64, models not trained on it


def copied_fraction(reconstructions: Tensor, *, images: Tensor, in_train: Neighbours, memory_bytes: float) -> Copies:
    """Share of test reconstructions closer (ℓ2) to some training image than to their own image.

    It is no measure of memorization: a model that answers everything with the mean image scores 1 where some training
    image is near the mean. See `three_sample`.

    Closer is meant strictly: a reconstruction at equal distances, such as that of a test image of which the training
    set holds a copy, is not counted. This is for test images: an image of the training set is among those that its
    reconstruction is compared with, so that a perfect autoencoder "copies" none of them.

    Args:
        reconstructions: `[image, pixel]`, floats in [0, 1]: means of p(x|z), not logits.
        images: uint8 `[image, pixel]`, the test images that they reconstruct.
        in_train: the nearest training image of each reconstruction, see `nearest`.
        memory_bytes: bound on temporaries.

    Raises:
        ValueError: there are no images, shapes or dtypes do not fit, or a value is not finite or outside [0, 1].
    """
    own_distance = paired_distance(reconstructions, images, memory_bytes=memory_bytes)
    copied = in_train.distance < own_distance
    return Copies(estimate_mean(copied), in_train.index, in_train.distance, own_distance)


def three_sample(train: Neighbours, controls: Neighbours) -> ThreeSample:
    """Share of reconstructions whose nearest image, of training images and as many controls, is a training image.

    After the three-sample test of data copying (Meehan, Chaudhuri, Dasgupta, A Non-Parametric Test to Detect
    Data-Copying in Generative Models, 2020), with reconstructions in the place of generated samples and equally many
    references on both sides, so that the share itself can be read: 1/2 where nothing is memorized, 1 where training
    images are returned. Ties count one half.

    A model that memorizes nothing treats references alike, trained on or not: whether a nearest reference is a training
    image is then a fair coin. Reconstructions with the same nearest reference share its coin, and count as one answer.
    With n_c reconstructions nearest to reference c, the share has the variance of (Σ n_c)² / Σ n_c² coins (Kish, Survey
    Sampling, 1965): `answers`, n below. The value is (p n + 2) / (n + 4) and its
    standard error [value (1 - value) / (n + 4)]^½ (Agresti and Coull, Approximate Is Better than "Exact", 1998): one
    answer, as of a collapsed model, says 0.4 or 0.6 ± 0.22, not 0 or 1.

    Args:
        train: the nearest training image of each reconstruction (`neighbours.nearest`).
        controls: the nearest of as many images never trained on, drawn as the training images were, and none of them
            an image that was reconstructed.

    Raises:
        ValueError: there are no reconstructions, or their numbers differ.
    """
    if not len(train.distance) or train.distance.shape != controls.distance.shape:
        shapes = f"{tuple(train.distance.shape)} and {tuple(controls.distance.shape)}"
        raise ValueError(f"distances of shapes {shapes}; allowed: [reconstruction], both, 1 or more")
    nearer = (train.distance < controls.distance).double() + 0.5 * (train.distance == controls.distance)
    from_train = train.distance <= controls.distance
    reference = torch.stack([from_train.long(), torch.where(from_train, train.index, controls.index)])
    sharing = torch.unique(reference, dim=1, return_counts=True)[1].double()
    answers = (sharing.sum().square() / sharing.square().sum()).item()
    weight = answers + _PSEUDO_ANSWERS
    value = (nearer.mean().item() * answers + _PSEUDO_ANSWERS / 2) / weight
    return ThreeSample(Estimate(value, (value * (1 - value) / weight) ** 0.5, len(nearer)), answers)


def nearest_in_blocks(queries: Tensor, blocks: Iterable[Tensor], *, memory_bytes: float) -> Neighbours:
    """`nearest`, over references that are gathered block by block: the same answers with one block in memory.

    Args:
        queries: as for `nearest`.
        blocks: of references, uint8 `[reference, pixel]`; indices count over all of them.
        memory_bytes: bound on temporaries, beside a block.

    Raises:
        ValueError: as for `nearest`, or there are no blocks.
    """
    first, least = 0, None
    for block in blocks:
        in_block = nearest(queries, block, memory_bytes=memory_bytes)
        in_block = Neighbours(in_block.distance, in_block.index + first)
        first += len(block)
        if least is not None:
            nearer = in_block.distance < least.distance
            index = torch.where(nearer, in_block.index, least.index)
            in_block = Neighbours(torch.minimum(in_block.distance, least.distance), index)
        least = in_block
    if least is None:
        raise ValueError("references in 0 blocks; allowed: 1 or more")
    return least


def leave_one_out(log_marginal: Tensor, in_train: Tensor) -> LeaveOneOut:
    """Memorization scores (van den Burg and Williams, On Memorization in Probabilistic Deep Generative Models, 2021).

    M(x) = mean of log p(x) over models trained on x - mean of log p(x) over all other models. A model gives density to
    an image of a high score only because it was trained on it. The standard error is that of a difference of two
    independent means, (s_with² / n_with + s_without² / n_without)^½.

    The authors' code averages likelihoods, not their logs: `score_of_mean` is log mean p(x) with - log mean p(x)
    without. Where log p differs by many nats between models it hangs on the luckiest model of each side, and it has no
    simple standard error: that is why the mean of logs comes first here.

    Args:
        log_marginal: `[model, image]`, log p(x) of each image under each model, nats.
        in_train: `[model, image]` bool, whether the model was trained on the image.

    Raises:
        ValueError: the shapes differ, there are no models or images, or a log p is not finite.
    """
    if log_marginal.ndim != 2 or not log_marginal.numel() or log_marginal.shape != in_train.shape:
        shapes = f"{tuple(log_marginal.shape)} and {tuple(in_train.shape)}"
        raise ValueError(f"log_marginal and in_train of shapes {shapes}; allowed: [model, image], both, not empty")
    if in_train.dtype != torch.bool:
        raise ValueError(f"in_train of {in_train.dtype}; allowed: torch.bool")
    if not log_marginal.isfinite().all():
        bad = int((~log_marginal.isfinite()).sum())
        raise ValueError(f"{bad} of {log_marginal.numel()} log marginals are not finite; allowed: finite ones")
    trained, untrained = _side(log_marginal.double(), in_train), _side(log_marginal.double(), ~in_train)
    return LeaveOneOut(
        score=trained.mean - untrained.mean,
        standard_error=(trained.squared_error + untrained.squared_error).sqrt(),
        score_of_mean=trained.log_mean - untrained.log_mean,
        with_runs=trained.runs,
        without_runs=untrained.runs,
    )


@dataclass(frozen=True)
class _Side:
    """Models on one side of the comparison."""

    mean: Tensor  # [image], of log p; nan without models
    squared_error: Tensor  # [image], the squared standard error of `mean`; nan with fewer than two models
    log_mean: Tensor  # [image], log of the mean of p; nan without models
    runs: Tensor  # [image] int64


def _side(log_marginal: Tensor, counted: Tensor) -> _Side:
    runs = counted.sum(dim=0)  # of 0 or 1: the divisions 0 / 0 below are the nan that is meant
    mean = log_marginal.where(counted, 0).sum(dim=0) / runs
    squares = (log_marginal - mean).square().where(counted, 0).sum(dim=0)
    log_sum = torch.logsumexp(log_marginal.where(counted, float("-inf")), dim=0)
    return _Side(mean, squared_error=squares / (runs - 1) / runs, log_mean=log_sum - runs.log(), runs=runs)
