"""What a contrast claims, in words, with its models named by the factors in which they differ. No number is judged."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from rdstudy.study.claims import Arm, Betas, Claim, Contrast
from rdstudy.study.claims.contrasts import OWN
from rdstudy.study.factors import CELL_FACTORS, FACTORS

_NAMES = {
    "stopped_distortion": "distortion of the best weights",
    "negative_elbo": "−ELBO",
    "negative_log_marginal": "−log p(x)",
    "distortion_gap": "gap in distortion",
    "elbo_gap": "gap in ELBO",
    "log_marginal_gap": "gap in log p(x)",
    "marginal_kl": "marginal KL",
    "information_share": "mutual information over log N",
    "copied_fraction": "share of copied reconstructions",
    "memorization_excess": "memorization above chance",
}
_GAPS = ("distortion_gap", "elbo_gap", "log_marginal_gap")


def value_name(value: str) -> str:
    """A value of `rdstudy.study.claims.contrasts` in words, without its subset."""
    return _NAMES.get(value, value.removeprefix(OWN).replace("_", " "))


def telling(claim: Claim) -> tuple[str, ...]:
    """The factors in which the arms of a claim differ: its clauses name their models by these."""
    return tuple(name for name in _named(claim) if len(_levels(claim, name)) > 1)


def shared_levels(claim: Claim, planned: pd.DataFrame) -> str:
    """What all models of a claim have in common and others of those planned have not, such as "MLP, cv(1,024)"."""
    shared = {name: _levels(claim, name) for name in _named(claim) if name not in telling(claim)}
    varied = {name: levels for name, levels in shared.items() if name not in planned or planned[name].nunique() > 1}
    return ", ".join(_level(name, levels[0]) for name, levels in varied.items())


def clause(contrast: Contrast, factors: Iterable[str]) -> str:
    """What a contrast claims, in words, with its models named by these factors."""
    shown = {role: [_level(name, arm[name]) for name in factors if name in arm] for role, arm in contrast.arms.items()}
    names = {role: ", ".join(levels) for role, levels in shown.items()}
    return _CLAUSES[contrast.kind](contrast.settings, names) if contrast.kind in _CLAUSES else contrast.kind


def _arms(claim: Claim) -> list[Arm]:
    return [arm for contrast in claim.flat() for arm in contrast.arms.values()]


def _named(claim: Claim) -> list[str]:
    """Factors of all its arms, in the order of the table of factors."""
    return [name for name in CELL_FACTORS if any(name in arm for arm in _arms(claim))]


def _levels(claim: Claim, factor: str) -> list[Any]:
    """Levels of a factor among the arms that name it."""
    levels = {str(arm[factor]): arm[factor] for arm in _arms(claim) if factor in arm}
    return list(levels.values())


def _level(factor: str, level: Any) -> str:
    try:
        return FACTORS[factor].label(level)
    except (TypeError, ValueError):  # a level of a study file that the factor does not have
        return str(level)


# --- one sentence a kind ----------------------------------------------------------------------------------------------

Settings = Mapping[str, Any]
Names = Mapping[str, str]


def value_words(settings: Settings) -> str:
    """The value, with the subset that it is of: "test distortion", "gap in distortion"."""
    value = str(settings["value"])
    return value_name(value) if value in _GAPS else f"{settings['subset']} {value_name(value)}"


def _whose(settings: Settings, name: str) -> str:
    return f"{value_words(settings)} of {name}" if name else value_words(settings)


def _that_of(name: str) -> str:
    return f"that of {name}" if name else "that"


def betas_words(bounds: Settings) -> str:
    """Bounds of `Betas` in words, such as " at β = 1" or " at β ≥ 1"; empty for all β."""
    betas = Betas(**bounds)
    if betas.least is not None and betas.least == betas.most:
        return f" at β = {betas.least:g}"
    signs = {"≥": betas.least, ">": betas.above, "≤": betas.most, "<": betas.below}
    parts = [f"{sign} {bound:g}" for sign, bound in signs.items() if bound is not None]
    return f" at β {' and '.join(parts)}" if parts else ""


def _at_every(settings: Settings) -> str:
    return f"{betas_words(settings['betas'])}, at every β" if betas_words(settings["betas"]) else " at every β"


def _share(share: float) -> str:
    return f"{100 * share:.3g} %"


def _exceeds(settings: Settings, names: Names) -> str:
    times = "" if settings["times"] == 1 else f"{settings['times']:.3g} times "
    betas, over_betas = betas_words(settings["betas"]), betas_words(settings["over_betas"])
    whose = "that" if names["arm"] == names["over"] else _that_of(names["over"])
    return f"mean {_whose(settings, names['arm'])}{betas} exceeds {times}{whose}{over_betas}"


def _alike(settings: Settings, names: Names) -> str:
    return (
        f"{_whose(settings, names['arm'])} differs from {_that_of(names['to'])} by less than "
        f"{_share(settings['share'])} of what {names['one']} and {names['other']} differ by"
        f"{betas_words(settings['betas'])}"
    )


def _rises_less_apart(settings: Settings, names: Names) -> str:
    return (
        f"{_whose(settings, names['arm'])} turns up towards the smallest β by more than {_that_of(names['than'])}, but "
        f"by less than {_share(settings['share'])} of how much more that of {names['one']} does than that of "
        f"{names['other']}"
    )


_CLAUSES: Mapping[str, Callable[[Settings, Names], str]] = {
    "interior_minimum": lambda s, n: (
        f"{_whose(s, n['arm'])} has a minimum inside the range of β, below both ends by {_share(s['share'])} of the "
        "other's height"
    ),
    "monotone": lambda s, n: (
        f"{_whose(s, n['arm'])} falls as β gets smaller, without a rise above {_share(s['share'])} of its whole fall"
    ),
    "falls": lambda s, n: f"{_whose(s, n['arm'])} falls from each β to the next larger one{betas_words(s['betas'])}",
    "above": lambda s, n: f"{_whose(s, n['arm'])} is above {s['least']:g}{_at_every(s)}",
    "mean_above": lambda s, n: f"mean {_whose(s, n['arm'])}{betas_words(s['betas'])} is above {s['least']:g}",
    "lower_everywhere": lambda s, n: f"{_whose(s, n['arm'])} is below {_that_of(n['than'])} at every β",
    "exceeds": _exceeds,
    "alike": _alike,
    "best_near": lambda s, n: f"{_whose(s, n['arm'])} is lowest within half a decade of β = {s['beta']:g}",
    "deeper_minimum": lambda s, n: (
        f"{_whose(s, n['arm'])} rises from its lowest point to the smallest β by more than {_that_of(n['than'])}"
    ),
    "rises_apart": lambda s, n: (
        f"{_whose(s, n['arm'])} turns up towards the smallest β by more than {_that_of(n['than'])}, and by "
        f"{_share(s['share'])} of its fall"
    ),
    "rises_less_apart": _rises_less_apart,
    "distances_alike": lambda s, n: (
        f"distances to the nearest training image of {n['arm']} differ from those of {n['to']} by less than "
        f"{_share(s['share'])} of what {n['one']} and {n['other']} differ by"
    ),
    "at_least": lambda s, _: f"at least {s['least']} of these hold",
}
