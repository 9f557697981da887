"""Contrasts, as plain data: which models are compared, and in what. `rdstudy.findings.contrasts` computes them.

Values are in nats per image unless a name says otherwise, and compared above the floor of their own images:

    distortion, rate                  of the last weights, D above its floor
    stopped_distortion                of the weights with the best validation objective
    negative_elbo                     D + R
    negative_log_marginal             −log p(x)
    distortion_gap, elbo_gap, log_marginal_gap
                                      test minus train, of D, of −ELBO and of −log p(x)
    mutual_information, marginal_kl   parts of the rate
    information_share                 mutual information over log N, its most
    memorization_excess               share of test reconstructions nearer to a training image than to one of as many
                                      never trained on, above the half that chance gives
    copied_fraction                   share of test reconstructions nearer to some training image than to their own:
                                      blur raises it too

β that lie within a quarter of a decade are practically one: contrasts that compare β with each other (a minimum, a
rise, a fall) compare the means of such groups, so that a finer grid makes none of them harder to decide.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rdstudy.study.bounds import MOST_CONTRASTS, MOST_NAME, MOST_NESTED
from rdstudy.study.checks import fail, items, number, one_of, set_field, text, whole

VALUES = (
    "distortion",
    "rate",
    "stopped_distortion",
    "negative_elbo",
    "negative_log_marginal",
    "distortion_gap",
    "elbo_gap",
    "log_marginal_gap",
    "mutual_information",
    "marginal_kl",
    "information_share",
    "copied_fraction",
    "memorization_excess",
)
OWN = "own:"
"""Before the name of a measure of one's own, such as `own:sharpness`, which is a value too."""

OF_ONE_LIKELIHOOD = (
    "distortion",
    "stopped_distortion",
    "negative_elbo",
    "negative_log_marginal",
    "distortion_gap",
    "elbo_gap",
    "log_marginal_gap",
)
"""Values that are logs of a likelihood: those of two likelihoods are not comparable."""

SUBSETS = ("train", "test")

Arm = Mapping[str, Any]
"""Factor -> level: the models of one cell, all its β and seeds."""

NOTICED = 0.05
"""A rise of this share of a curve's range is the least that counts. "It only falls" is said of a figure, of means with
their bars: of a panel that the range fills, some 300 pixels high, 1/20 is fifteen, some two of its dots. It was 1/50,
less than one dot: nobody sees such a rise beside bars, and whether it is there took more than the paper's five seeds to
tell (of curves that fall by 30 nats, with noise of 1 nat, 89 % were told at twelve β and 100 % at five; now 98 %)."""

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
        lower = max((bound for bound in (self.least, self.above) if bound is not None), default=0.0)
        upper = min((bound for bound in (self.most, self.below) if bound is not None), default=math.inf)
        if lower > upper or (lower == upper and lower not in self):
            raise fail("betas", self, "a range with a β in it")

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
    """One comparison. The functions of this module make it, and say what its kind means."""

    kind: str  # the name of one of these functions
    arms: Mapping[str, Arm] = field(default_factory=dict)  # role -> arm
    settings: Mapping[str, Any] = field(default_factory=dict)  # what else it is made of, as plain data
    parts: "tuple[Contrast, ...]" = ()  # the contrasts of `at_least`

    def __post_init__(self) -> None:
        one_of(KINDS if self.kind not in RETIRED else RETIRED)("contrast", self.kind)
        for role, arm in self.arms.items():
            if not isinstance(arm, Mapping) or not arm:
                raise fail(f"contrast {self.kind!r}: {role}", arm, "a dictionary, factor -> level")
        if self._nested() > MOST_NESTED:
            raise ValueError(f"contrast {self.kind!r}; allowed: {MOST_NESTED} contrasts inside each other")

    def flat(self) -> "list[Contrast]":
        """It, and all that it is made of."""
        return [self, *(contrast for part in self.parts for contrast in part.flat())]

    def _nested(self) -> int:
        return 1 + max((part._nested() for part in self.parts), default=0)

    @property
    def is_of_one_likelihood(self) -> bool:
        """Whether all its arms must have the same likelihood."""
        return self.settings.get("value") in OF_ONE_LIKELIHOOD

    def cells(self) -> list[Arm]:
        """Every arm that it looks up itself."""
        return list(self.arms.values())

    def with_splits(self, rename: Callable[[Arm], str]) -> "Contrast":
        """It with every split under another name.

        Args:
            rename: arm, with its split -> the name of that split.
        """
        arms = {role: {**arm, "split": rename(arm)} if "split" in arm else arm for role, arm in self.arms.items()}
        return Contrast(self.kind, arms, self.settings, tuple(part.with_splits(rename) for part in self.parts))

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
    """The value falls as β gets smaller: between no two β does it rise by more than `share` of its whole fall."""
    return Contrast("monotone", {"arm": arm}, _settings(value=value, subset=subset, share=share))


def falls(arm: Arm, *, value: str, subset: str, betas: Betas = ALL_BETAS) -> Contrast:
    """The value falls from each β to the next larger one."""
    return Contrast("falls", {"arm": arm}, _settings(value=value, subset=subset, betas=betas))


def above(arm: Arm, *, value: str, subset: str, least: float, betas: Betas = ALL_BETAS) -> Contrast:
    """The value is above `least` at every β."""
    settings = _settings(value=value, subset=subset, betas=betas)
    return Contrast("above", {"arm": arm}, {**settings, "least": number("least", least, zero=True)})


def mean_above(arm: Arm, *, value: str, subset: str, least: float, betas: Betas = ALL_BETAS) -> Contrast:
    """The mean over β of the value is above `least`."""
    settings = _settings(value=value, subset=subset, betas=betas)
    return Contrast("mean_above", {"arm": arm}, {**settings, "least": number("least", least, zero=True)})


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
    arm: Arm,
    *,
    to: Arm,
    apart: tuple[Arm, Arm],
    value: str = "distortion",
    subset: str = "test",
    share: float = HALF,
    betas: Betas = ALL_BETAS,
    overlap: bool = False,
) -> Contrast:
    """Two curves differ by less than `share` of what two others differ by, in the mean over β of the difference.

    Args:
        arm: one of the two.
        to: the other.
        apart: the two others.
        value: what is compared.
        subset: of which images.
        share: of the other difference.
        betas: over which the mean is taken.
        overlap: whether nothing follows where the codes of `to` do not overlap: its mutual information on train is then
            at its most, whatever is done to it.
    """
    arms = {"arm": arm, "to": to, "one": apart[0], "other": apart[1]}
    settings = _settings(value=value, subset=subset, share=share, betas=betas)
    return Contrast("alike", arms, {**settings, "overlap": overlap})


def best_near(arm: Arm, *, value: str, beta: float, subset: str = "test") -> Contrast:
    """The value is lowest at a point of the grid within half a decade of β, among the β at which there is a number."""
    settings = _settings(value=value, subset=subset)
    return Contrast("best_near", {"arm": arm}, {**settings, "beta": number("beta", beta, zero=False)})


def deeper_minimum(arm: Arm, *, than: Arm, value: str = "distortion", subset: str = "test") -> Contrast:
    """From its lowest point to the smallest β, the value rises by more than that of `than` does."""
    return Contrast("deeper_minimum", {"arm": arm, "than": than}, _settings(value=value, subset=subset))


def rises_apart(
    arm: Arm, *, than: Arm, split: str, value: str = "distortion", subset: str = "test", share: float = NOTICED
) -> Contrast:
    """The curve of `arm` turns up at small β, a U, where that of `than` does so less or not at all, an L.

    From its lowest point to the smallest β, the value rises by more than that of `than` does, and by `share` of what it
    falls by from the largest β to that point.

    Args:
        arm: without its split.
        than: without its split.
        split: of both.
        value: what is compared.
        subset: of which images.
        share: of the fall.
    """
    arms = {"arm": {**arm, "split": split}, "than": {**than, "split": split}}
    return Contrast("rises_apart", arms, _settings(value=value, subset=subset, share=share))


def rises_less_apart(
    arm: Arm,
    *,
    than: Arm,
    split: str,
    beside: str,
    value: str = "distortion",
    subset: str = "test",
    share: float = HALF,
) -> Contrast:
    """On a split, the rise of `arm` exceeds that of `than` by less than `share` of by how much it does on another.

    Rises are those of `rises_apart`: from a curve's lowest point to the smallest β.

    Args:
        arm: without its split.
        than: without its split.
        split: where the curves are to be of one kind.
        beside: the split where they are apart.
        value: what is compared.
        subset: of which images.
        share: of the difference on `beside`.
    """
    arms = {
        "arm": {**arm, "split": split},
        "than": {**than, "split": split},
        "one": {**arm, "split": beside},
        "other": {**than, "split": beside},
    }
    return Contrast("rises_less_apart", arms, _settings(value=value, subset=subset, share=share))


def distances_alike(dataset: str, *, split: str, to: str, apart: tuple[str, str], share: float = HALF) -> Contrast:
    """Distances of test images to their nearest training image are distributed alike in two splits.

    The Wasserstein distance of the two is below `share` of that of two other splits.
    """
    roles = {"arm": split, "to": to, "one": apart[0], "other": apart[1]}
    arms = {role: {"dataset": dataset, "split": text(f"distances_alike: {role}", name)} for role, name in roles.items()}
    return Contrast("distances_alike", arms, {"share": number("share", share, zero=False)})


def at_least(least: int, parts: Sequence[Contrast]) -> Contrast:
    """At least so many of these hold."""
    allowed = "a list of contrasts"
    contrasts = items("at_least: parts", parts, most=MOST_CONTRASTS, allowed=allowed)
    if not all(isinstance(part, Contrast) for part in contrasts):
        raise fail("at_least: parts", parts, allowed)
    if not 1 <= whole("at_least", least, least=1) <= len(contrasts):
        raise fail("at_least", least, f"1 to {len(contrasts)}, the number of contrasts")
    return Contrast("at_least", {}, {"least": least}, contrasts)


KINDS = (
    "interior_minimum",
    "monotone",
    "falls",
    "above",
    "mean_above",
    "lower_everywhere",
    "exceeds",
    "alike",
    "best_near",
    "deeper_minimum",
    "rises_apart",
    "rises_less_apart",
    "distances_alike",
    "at_least",
)

RETIRED = ("widens", "widens_less")
"""Kinds of contrasts that older declarations hold, and that nothing is judged by any more."""


def _value(value: object) -> str:
    if isinstance(value, str) and len(value) <= MOST_NAME and re.fullmatch(rf"{OWN}[A-Za-z_]\w*(\([^()@]*\))?", value):
        return value
    if value not in VALUES:
        raise fail("contrast: value", value, f"{', '.join(VALUES)}, or {OWN}NAME")
    return str(value)


def _settings(*, value: str, subset: str, share: float | None = None, betas: Betas | None = None) -> dict[str, Any]:
    """The settings that most contrasts share, checked."""
    settings: dict[str, Any] = {
        "value": _value(value),
        "subset": one_of(SUBSETS)("contrast: subset", subset),
    }
    if share is not None:
        settings["share"] = number("contrast: share", share, zero=True)
    if betas is not None:
        settings["betas"] = dataclasses.asdict(betas)
    return settings
