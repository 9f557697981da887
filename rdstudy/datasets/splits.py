"""Train/test splits (paper, 4.2): a rule and a data set's size or factors to two disjoint index arrays.

Nothing here knows an image. Factors are those of the unit cube, `[image, factor]`. A split depends on the data set's
name, the rule and the study's seed; never on a member's seed. One permutation of a data set serves all its rules, so
that `cv(n)` grows with n and `cd(n)` and `default` share their halves.
"""

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rdstudy.study.checks import fail
from rdstudy.study.seeds import derive_seed

ALLOWED = "default, checkerboard, cv(N), cd(N) with a whole number N"

LEAST_IMAGES = 2
"""Of a subset. One image has no spread, so that no mean over images has an interval; and of one training image, the
mutual information is log 1 = 0 whatever is learned."""


@dataclass(frozen=True)
class Rule:
    """A split rule: `kind` is default, checkerboard, cv or cd; `train_images` is N of cv(N) and cd(N)."""

    kind: str
    train_images: int | None = None

    @property
    def needs_factors(self) -> bool:
        """Whether the rule compares examples by their factors."""
        return self.kind in ("checkerboard", "cd")

    def __str__(self) -> str:
        return self.kind if self.train_images is None else f"{self.kind}({self.train_images})"


@dataclass(frozen=True)
class Split:
    """Disjoint indices into a data set, ascending."""

    train: NDArray[np.int64]  # [train image]
    test: NDArray[np.int64]  # [test image]


def parse_rule(text: str) -> Rule:
    """Read a rule as study files write it.

    Raises:
        ValueError: not a rule.
    """
    match = re.fullmatch(r"(default|checkerboard)|(cv|cd)\(([0-9]{1,18})\)", text.replace(" ", "").replace("_", ""))
    if match is None:
        raise fail("split", text, ALLOWED)
    return Rule(match[1]) if match[1] else Rule(match[2], int(match[3]))


def resolve_rule(text: str, *, dataset: str, images: int, has_factors: bool) -> Rule:
    """Read a rule as study files write it and hold it against a data set; `default` becomes the `cv` that it is.

    Raises:
        ValueError: the rule needs factors that the data set lacks, or more images than it has, or leaves a subset with
            less than `LEAST_IMAGES`.
    """
    rule = parse_rule(text)
    if rule.needs_factors and not has_factors:
        raise ValueError(
            f"split {text!r} needs generative factors, which data set {dataset!r} lacks; allowed: default, cv(N)"
        )
    if images < 2 * LEAST_IMAGES:
        raise ValueError(f"data set {dataset!r} has {images} images; allowed: {2 * LEAST_IMAGES} or more to split")
    if rule.kind == "default":
        rule = Rule("cv", images // 2)
    most = images // 2 if rule.kind == "cd" else images - LEAST_IMAGES
    if rule.train_images is not None and not LEAST_IMAGES <= rule.train_images <= most:
        allowed = f"N from {LEAST_IMAGES} to {most}"
        raise ValueError(f"split {text!r} of data set {dataset!r} ({images} images); allowed: {allowed}")
    return rule


def order_of(dataset: str, *, images: int, study_seed: int) -> NDArray[np.int64]:
    """The one permutation of a data set's images that serves all its rules: `cv(n)` trains on the first n of it."""
    rng = np.random.default_rng(derive_seed(study_seed, f"split of {dataset}"))
    return rng.permutation(images)


def make_split(rule: Rule, *, dataset: str, images: int, factors: NDArray[np.float64] | None, study_seed: int) -> Split:
    """Split a data set by a rule of `resolve_rule` for it; its factors are `[image, factor]` in the unit cube.

    Raises:
        ValueError: a subset would be empty, or factors are missing.
    """
    if rule.needs_factors and factors is None:
        raise ValueError(f"split {rule} needs generative factors, which data set {dataset!r} lacks")
    order = order_of(dataset, images=images, study_seed=study_seed)
    if rule.kind == "checkerboard":
        assert factors is not None
        split = _checkerboard(factors)
    elif rule.kind == "cd":
        assert factors is not None
        split = _constant_density(order, factors, rule.train_images or 0)
    else:
        size = images // 2 if rule.train_images is None else rule.train_images
        split = Split(np.sort(order[:size]), np.sort(order[size:]))
    if not len(split.train) or not len(split.test):
        raise ValueError(
            f"split {rule} of data set {dataset!r} leaves {len(split.train)} train and {len(split.test)} test images"
        )
    return split


def _checkerboard(factors: NDArray[np.float64]) -> Split:
    """Halve the unit cube along each factor: cells of even parity train, of odd parity test."""
    odd = (factors >= 0.5).sum(axis=1) % 2 == 1
    return Split(np.flatnonzero(~odd), np.flatnonzero(odd))


def _constant_density(order: NDArray[np.int64], factors: NDArray[np.float64], size: int) -> Split:
    """Of each default half, the examples in the smallest centred cube that holds `size` of the train half."""
    half = len(order) // 2
    distance = np.abs(factors - 0.5).max(axis=1)
    train, test = order[:half], order[half:]
    nearest = train[np.argsort(distance[train], kind="stable")[:size]]
    edge = distance[nearest].max()
    # where factors come as levels, many examples lie on the cube's surface, of which train takes a part: so does test
    share = np.count_nonzero(distance[nearest] == edge) / np.count_nonzero(distance[train] == edge)
    on_edge = test[distance[test] == edge]  # in random order, as the halves are
    inside = np.concatenate([test[distance[test] < edge], on_edge[: math.ceil(share * len(on_edge))]])
    return Split(np.sort(nearest), np.sort(inside))
