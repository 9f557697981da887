"""Contrasts, as plain data: which models are compared, and in what. `rdstudy.findings.contrasts` computes them.

Values are in nats per image unless a name says otherwise, and compared above the floor of their own images:

    distortion, rate                  of the last weights, D above its floor
    stopped_distortion                of the weights with the best validation objective
    negative_elbo                     D + R
    negative_log_marginal             −log p(x)
    distortion_gap, log_marginal_gap  test minus train, of D and of −log p(x)
    mutual_information, marginal_kl   parts of the rate
    information_share                 mutual information over log N, its most
    copied_fraction                   share of test reconstructions nearer to some training image than to their own
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rdstudy.checks import fail, number, one_of, set_field, text, whole

VALUES = (
    "distortion",
    "rate",
    "stopped_distortion",
    "negative_elbo",
    "negative_log_marginal",
    "distortion_gap",
    "log_marginal_gap",
    "mutual_information",
    "marginal_kl",
    "information_share",
    "copied_fraction",
)
SUBSETS = ("train", "test")

_SPLIT_GROUPS = ("splits", "than")  # the settings of a contrast that are splits of its arms

Arm = Mapping[str, Any]
"""Factor -> level: the models of one cell, all its β and seeds."""

NOTICED = 0.02
"""A rise of this share of a curve's range is the least that counts. Of a panel that the range fills, some 300 pixels
high, it is a few pixels, about the size of the dot that stands for a mean: less is not seen in a figure."""

SMALL = 0.1
"""What is called small, or a curve nearly monotone: at most this share of what it is held against."""

HALF = 0.5
"""What is called alike, or much less: nearer to the one than to the other, so less than half of their difference."""


@dataclass(frozen=True)
class Betas:
    """A range of β: `least` and `most` belong to it, `above` and `below` do not."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def __post_init__(self) -> None:
        for bound in dataclasses.fields(self):
            value = getattr(self, bound.name)
            if value is not None:
                set_field(self, bound.name, number(f"betas.{bound.name}", value, zero=True))

    def __contains__(self, beta: float) -> bool:
        return (
            (self.least is None or beta >= self.least)
            and (self.most is None or beta <= self.most)
            and (self.above is None or beta > self.above)
            and (self.below is None or beta < self.below)
        )


ALL_BETAS = Betas()


@dataclass(frozen=True)
class Contrast:
    """One comparison. The functions of this module make it, and say what its kind means.

    Attributes:
        kind: the name of one of these functions.
        arms: role -> arm.
        settings: what else it is made of, as plain data.
        parts: the contrasts of `at_least`.
    """

    kind: str
    arms: Mapping[str, Arm] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    parts: "tuple[Contrast, ...]" = ()

    def __post_init__(self) -> None:
        one_of(KINDS)("contrast", self.kind)
        for role, arm in self.arms.items():
            if not isinstance(arm, Mapping) or not arm:
                raise fail(f"contrast {self.kind!r}: {role}", arm, "a dictionary, factor -> level")

    def flat(self) -> "list[Contrast]":
        """It, and all that it is made of."""
        return [self, *(one for part in self.parts for one in part.flat())]

    def cells(self) -> list[Arm]:
        """Every arm that it looks up itself, with each of the splits where it is about several."""
        splits = [split for group in _SPLIT_GROUPS for split in self.settings.get(group, ())]
        return [{**arm, "split": split} for arm in self.arms.values() for split in splits] or list(self.arms.values())

    def with_splits(self, rename: Callable[[Arm], str]) -> "Contrast":
        """It with every split under another name.

        Args:
            rename: arm, with its split -> the name of that split.
        """
        arms = {role: {**arm, "split": rename(arm)} if "split" in arm else arm for role, arm in self.arms.items()}
        groups = {
            group: [rename({**self.arms["arm"], "split": split}) for split in self.settings[group]]
            for group in _SPLIT_GROUPS
            if group in self.settings
        }
        parts = tuple(part.with_splits(rename) for part in self.parts)
        return Contrast(self.kind, arms, {**self.settings, **groups}, parts)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Contrast":
        """The contrast that `dataclasses.asdict` made plain, and perhaps JSON."""
        return cls(data["kind"], data["arms"], data["settings"], tuple(map(cls.from_dict, data["parts"])))


def interior_minimum(arm: Arm, *, value: str = "distortion", subset: str = "test", share: float = NOTICED) -> Contrast:
    """Some β between the smallest and the largest has a lower value than both.

    Each edge must lie higher by `share` of how much higher the other edge lies.
    """
    return Contrast("interior_minimum", {"arm": arm}, _settings(value=value, subset=subset, share=share))


def monotone(arm: Arm, *, value: str = "distortion", subset: str = "test", share: float = NOTICED) -> Contrast:
    """The value only falls as β gets smaller: between no two β does it rise by more than `share` of its whole fall."""
    return Contrast("monotone", {"arm": arm}, _settings(value=value, subset=subset, share=share))


def falls(arm: Arm, *, value: str, subset: str, betas: Betas = ALL_BETAS) -> Contrast:
    """The value falls from each β to the next larger one."""
    return Contrast("falls", {"arm": arm}, _settings(value=value, subset=subset, betas=betas))


def above(arm: Arm, *, value: str, subset: str, least: float, betas: Betas = ALL_BETAS) -> Contrast:
    """The value is above `least` at every β."""
    settings = _settings(value=value, subset=subset, betas=betas)
    return Contrast("above", {"arm": arm}, {**settings, "least": number("least", least, zero=True)})


def lower_everywhere(arm: Arm, *, than: Arm, value: str, subset: str = "test") -> Contrast:
    """At every β, the value of `arm` is below that of `than`."""
    return Contrast("lower_everywhere", {"arm": arm, "than": than}, _settings(value=value, subset=subset))


def exceeds(
    arm: Arm,
    *,
    over: Arm,
    value: str,
    subset: str = "test",
    times: float = 1.0,
    betas: Betas = ALL_BETAS,
    over_betas: Betas | None = None,
) -> Contrast:
    """The mean of a value over some β exceeds `times` that of another arm, or of other β.

    Args:
        arm: whose value is larger.
        over: whose is smaller.
        value: what is compared.
        subset: of which images.
        times: how many times it must be larger.
        betas: over which the mean of `arm` is taken.
        over_betas: over which that of `over` is taken; None for the same.
    """
    settings = _settings(value=value, subset=subset, betas=betas)
    other = dataclasses.asdict(over_betas or betas)
    more = {"times": number("times", times, zero=False), "over_betas": other}
    return Contrast("exceeds", {"arm": arm, "over": over}, {**settings, **more})


def alike(
    arm: Arm, *, to: Arm, apart: tuple[Arm, Arm], value: str = "distortion", subset: str = "test", share: float = HALF
) -> Contrast:
    """Two curves differ by less than `share` of what two others differ by, in the mean over β of the difference."""
    arms = {"arm": arm, "to": to, "one": apart[0], "other": apart[1]}
    return Contrast("alike", arms, _settings(value=value, subset=subset, share=share))


def best_near(arm: Arm, *, value: str, beta: float, subset: str = "test") -> Contrast:
    """The value is lowest at a point of the grid within half a decade of β, among the β at which there is a number."""
    settings = _settings(value=value, subset=subset)
    return Contrast("best_near", {"arm": arm}, {**settings, "beta": number("beta", beta, zero=False)})


def deeper_minimum(arm: Arm, *, than: Arm, value: str = "distortion", subset: str = "test") -> Contrast:
    """From its lowest point to the smallest β, the value rises by more than that of `than` does."""
    return Contrast("deeper_minimum", {"arm": arm, "than": than}, _settings(value=value, subset=subset))


def widens(arm: Arm, *, to: Arm, splits: Sequence[str], value: str = "distortion", subset: str = "test") -> Contrast:
    """With fewer training images, two arms move apart: the mean over β of their difference, against log2 of N.

    Args:
        arm: without its split.
        to: the other, without its split.
        splits: those with a number of training images.
        value: what is compared.
        subset: of which images.
    """
    settings = _settings(value=value, subset=subset)
    return Contrast("widens", {"arm": arm, "to": to}, {**settings, "splits": _splits(splits)})


def widens_less(
    arm: Arm,
    *,
    to: Arm,
    splits: Sequence[str],
    than: Sequence[str],
    value: str = "distortion",
    subset: str = "test",
    share: float = HALF,
) -> Contrast:
    """As `widens`, and of some splits: their slope is below `share` of that of the splits `than`, either way."""
    more = {"splits": _splits(splits), "than": _splits(than)}
    return Contrast(
        "widens_less", {"arm": arm, "to": to}, {**_settings(value=value, subset=subset, share=share), **more}
    )


def distances_alike(dataset: str, *, split: str, to: str, apart: tuple[str, str], share: float = HALF) -> Contrast:
    """Distances of test images to their nearest training image are distributed alike in two splits.

    The Wasserstein distance of the two is below `share` of that of two other splits.
    """
    roles = {"arm": split, "to": to, "one": apart[0], "other": apart[1]}
    arms = {role: {"dataset": dataset, "split": text(f"distances_alike: {role}", name)} for role, name in roles.items()}
    return Contrast("distances_alike", arms, {"share": number("share", share, zero=False)})


def at_least(least: int, parts: Sequence[Contrast]) -> Contrast:
    """At least so many of these hold."""
    if not 1 <= whole("at_least", least, least=1) <= len(parts):
        raise fail("at_least", least, f"1 to {len(parts)}, the number of contrasts")
    return Contrast("at_least", {}, {"least": least}, tuple(parts))


KINDS = (
    "interior_minimum",
    "monotone",
    "falls",
    "above",
    "lower_everywhere",
    "exceeds",
    "alike",
    "best_near",
    "deeper_minimum",
    "widens",
    "widens_less",
    "distances_alike",
    "at_least",
)


def _settings(*, value: str, subset: str, share: float | None = None, betas: Betas | None = None) -> dict[str, Any]:
    """The settings that most contrasts share, checked."""
    settings: dict[str, Any] = {
        "value": one_of(VALUES)("contrast: value", value),
        "subset": one_of(SUBSETS)("contrast: subset", subset),
    }
    if share is not None:
        settings["share"] = number("contrast: share", share, zero=True)
    if betas is not None:
        settings["betas"] = dataclasses.asdict(betas)
    return settings


def _splits(splits: Sequence[str]) -> list[str]:
    if isinstance(splits, str) or len(splits) < 2:
        raise fail("contrast: splits", splits, "two or more splits")
    return [text("contrast: splits", split) for split in splits]
