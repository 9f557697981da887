"""What is wanted: a study, its experiments, and the members they ask for. Frozen data, standard library alone.

A study file defines `STUDY = Study(...)`. An experiment is a grid of factors; its members are the product of its
levels. Nothing here knows a data set, a device or a file: `rdstudy.plan` checks a study against the data sets.
"""

import ast
import dataclasses
import functools
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from rdstudy.checks import fail, number, one_of, set_field, text, whole
from rdstudy.claims import Claim
from rdstudy.settings import MEASURES, Evaluation, Measures, Recipe, Resources

__all__ = ["MEASURES", "Evaluation", "Experiment", "Measures", "Member", "Recipe", "Resources", "Study"]

NUMERICS_VERSION = 2
"""Raised by hand when a change to the code changes the numbers of a member. Part of every `member_id`."""

ARCHITECTURES = ("mlp", "cnn", "linear")
LIKELIHOODS = ("bernoulli", "gaussian")
OBJECTIVES = ("beta", "no_marginal_kl", "no_mutual_information")
"""What is minimized: D + βR, or the same with a part of the rate taken out of it (paper, 4.5)."""

DEFAULT_DEPTH = 1
DEFAULT_WIDTH = {"mlp": 512, "cnn": 64, "linear": 1}
"""Hidden units of an MLP layer, channels of a CNN layer (paper, 4.3). A linear VAE has no hidden layer at all."""

PAPER_BETAS = (0.001, 0.005, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0, 2.0, 3.0, 5.0)
"""The twelve values of the paper (4.4, footnote 2)."""


@dataclass(frozen=True)
class Member:
    """One VAE: every setting that can change its numbers.

    The fields are the factors of a grid, in the order in which tables and ids list them, then what a study fixes.
    """

    dataset: str
    split: str
    beta: float
    seed: int
    architecture: str = "mlp"
    depth: int = DEFAULT_DEPTH
    width: int = DEFAULT_WIDTH["mlp"]
    latent_dim: int = 10
    likelihood: str = "bernoulli"
    objective: str = "beta"
    study_seed: int = 0
    recipe: Recipe = field(default_factory=Recipe)
    evaluation: Evaluation = field(default_factory=Evaluation)

    @property
    def member_id(self) -> str:
        """16 hex digits: a hash of all settings and of the version of the numerics, and of nothing else.

        A setting added in a later version is to be left out of the hash at the value that older members had.
        """
        return _member_id(self, NUMERICS_VERSION)

    @property
    def cell(self) -> "Member":
        """This member with β and seed blanked: equal for the members of one cell."""
        return _cell(self)

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain data; `from_dict` reads them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "Member":
        """The member that `to_dict` wrote."""
        nested = {"recipe": Recipe(**settings["recipe"]), "evaluation": Evaluation(**settings["evaluation"])}
        return cls(**{**settings, **nested})


_ADDED = (
    ("evaluation", "validation_images", 0),
    ("recipe", "schedule", "constant"),
    ("recipe", "initialization", "default"),
)
"""Settings that came later, and the value that members before them had: at that value they are left out of the hash."""


@functools.lru_cache(maxsize=2**16)
def _member_id(member: Member, numerics: int) -> str:
    """Kept because a plan asks for it some five times a member."""
    settings = {"numerics": numerics, **dataclasses.asdict(member)}
    for part, name, older in _ADDED:
        if settings[part][name] == older:
            del settings[part][name]
    text = json.dumps(settings, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=2**16)
def _cell(member: Member) -> Member:
    return dataclasses.replace(member, beta=0.0, seed=0)


FACTORS: dict[str, Callable[[str, object], Any]] = {
    "dataset": text,
    "split": text,
    "architecture": one_of(ARCHITECTURES),
    "depth": lambda where, value: whole(where, value, least=1),
    "width": lambda where, value: whole(where, value, least=1),
    "latent_dim": lambda where, value: whole(where, value, least=1),
    "likelihood": one_of(LIKELIHOODS),
    "objective": one_of(OBJECTIVES),
    "beta": lambda where, value: number(where, value, zero=True),
    "seed": lambda where, value: whole(where, value, least=0),
}
"""The axes of a grid, each with the check of one of its levels."""

FIGURES = (
    "sizes-rate-distortion",
    "sizes-distortion",
    "distortion",
    "rate-distortion",
    "learning",
    "rate-parts",
    "batch-estimates",
    "finer-parts",
    "cross-rate",
    "active-units",
    "log-marginal",
    "gap-parts",
    "early-stopping",
    "early-stopping-distortion",
    "copied",
    "leave-one-out",
    "optimal-decoder",
    "exact",
    "optimum",
    "neighbours",
    "reconstructions",
)
"""What a page can show of an experiment."""

REQUIRED_FACTORS = ("dataset", "split", "beta", "seed")


@dataclass(frozen=True)
class Experiment:
    """A named grid: every combination of its levels is a member.

    Args:
        name: letters, digits, `-` and `_`.
        grid: factor -> levels. `dataset`, `split`, `beta` and `seed` must be there; a factor left out has its default.
        title: a few words for the report.
        description: what it asks, for the report.
        figures: which of `FIGURES` answer it; all that there are where none is named.
    """

    name: str
    grid: Mapping[str, Sequence[Any]]
    title: str = ""
    description: str = ""
    figures: Sequence[str] = ()

    def __post_init__(self) -> None:
        where = f"experiment {self.name!r}"
        _check_name("experiment", self.name)
        if not isinstance(self.grid, Mapping):
            raise fail(f"{where}: grid", self.grid, "a dictionary, factor -> levels")
        for factor in self.grid:
            if factor not in FACTORS:
                raise fail(f"{where}: factor", factor, ", ".join(FACTORS))
        for factor in REQUIRED_FACTORS:
            if factor not in self.grid:
                raise ValueError(f"{where}: factor {factor!r} is missing; required: {', '.join(REQUIRED_FACTORS)}")
        checked = {name: _levels(where, name, levels) for name, levels in self.grid.items()}
        if isinstance(self.figures, str) or not isinstance(self.figures, Iterable):
            raise fail(f"{where}: figures", self.figures, f"a list of {', '.join(FIGURES)}")
        set_field(self, "figures", tuple(one_of(FIGURES)(f"{where}: figure", name) for name in self.figures))
        if "linear" in checked.get("architecture", ()):
            _check_no_layers(where, checked)
        set_field(self, "grid", MappingProxyType(checked))

    def members(self, study: "Study") -> tuple[Member, ...]:
        """All combinations of the levels, in the order of the grid."""
        combinations = itertools.product(*self.grid.values())
        return tuple(self._member(study, dict(zip(self.grid, levels, strict=True))) for levels in combinations)

    def _member(self, study: "Study", levels: dict[str, Any]) -> Member:
        levels.setdefault("width", DEFAULT_WIDTH[levels.get("architecture", "mlp")])
        return Member(study_seed=study.seed, recipe=study.recipe, evaluation=study.evaluation, **levels)


_PARTS = {"recipe": Recipe, "evaluation": Evaluation, "measures": Measures, "resources": Resources}
"""The settings of a study, by the name of its field."""


@dataclass(frozen=True)
class Study:
    """The declaration: what is wanted, not how it is run.

    Args:
        name: letters, digits, `-` and `_`; the name of the report.
        experiments: one or more, with distinct names. They may overlap: a shared member is trained once.
        title: the heading of the report.
        description: a paragraph for the report.
        recipe: how members are trained.
        evaluation: what is measured of the rate and the distortion.
        measures: what else is measured after training.
        resources: what a trial asks for.
        seed: the seed of the splits and of the fixed samples of images; never of a member.
        callbacks: called once when packs are run on Ray; returns callbacks of Ray Tune, such as those of experiment
            trackers. They see a pack as a trial: its settings, members done, members not ok, share of its steps.
        claims: what it claims, to be held against its tables (`rdstudy.claims`).
    """

    name: str
    experiments: Sequence[Experiment]
    title: str = ""
    description: str = ""
    recipe: Recipe = field(default_factory=Recipe)
    evaluation: Evaluation = field(default_factory=Evaluation)
    measures: Measures = field(default_factory=Measures)
    resources: Resources = field(default_factory=Resources)
    seed: int = 0
    callbacks: Callable[[], Sequence[Any]] | None = None
    claims: Sequence[Claim] = ()

    def __post_init__(self) -> None:
        _check_name("study", self.name)
        if self.callbacks is not None and not callable(self.callbacks):
            raise fail(f"study {self.name!r}: callbacks", self.callbacks, "a function that returns a list, or None")
        given = self.experiments
        if not isinstance(given, list | tuple) or not all(isinstance(one, Experiment) for one in given):
            raise fail(f"study {self.name!r}: experiments", given, "a list of Experiment")
        set_field(self, "experiments", tuple(given))
        for name, kind in _PARTS.items():
            if not isinstance(getattr(self, name), kind):
                raise fail(f"study {self.name!r}: {name}", getattr(self, name), f"a {kind.__name__}")
        if not self.experiments:
            raise ValueError(f"study {self.name!r} has no experiments; allowed: one or more")
        claims = self.claims
        if not isinstance(claims, list | tuple) or not all(isinstance(one, Claim) for one in claims):
            raise fail(f"study {self.name!r}: claims", claims, "a list of Claim")
        set_field(self, "claims", tuple(claims))
        for claim in self.claims:
            where = f"study {self.name!r}: claim {claim.name!r}"
            for factor, level in (pair for one in claim.flat() for arm in one.cells() for pair in arm.items()):
                if factor not in FACTORS:
                    raise fail(f"{where}: factor", factor, ", ".join(FACTORS))
                FACTORS[factor](f"{where}: {factor}", level)
        for what, names in (("experiments", self.experiments), ("claims", self.claims)):
            _check_distinct(f"study {self.name!r} has two {what}", [one.name for one in names])
        for factor in self.measures.annealing or ():
            if factor not in FACTORS:
                raise fail("measures.annealing", factor, ", ".join(FACTORS))
        set_field(self, "seed", whole(f"study {self.name!r}: seed", self.seed, least=0))

    def with_settings(self, assignments: Iterable[str]) -> "Study":
        """This study with settings replaced, each given as text: `recipe.steps=2000`."""
        study = self
        for assignment in assignments:
            path, equals, text = assignment.partition("=")
            if not equals:
                raise fail("--set", assignment, "NAME=VALUE, such as recipe.steps=2000")
            study = study._with_setting(path.strip(), text.strip())
        return study

    def _with_setting(self, path: str, text: str) -> "Study":
        parts: dict[str, Any] = {name: getattr(self, name) for name in _PARTS}
        allowed = [f"{part}.{name.name}" for part, value in parts.items() for name in dataclasses.fields(value)]
        if path not in [*allowed, "seed"]:
            raise fail("--set", path, ", ".join([*allowed, "seed"]))
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            value = text
        if path == "seed":
            return dataclasses.replace(self, seed=value)
        part, name = path.split(".")
        changed = dataclasses.replace(parts[part], **{name: value})
        return dataclasses.replace(self, **{part: changed})


def _check_name(what: str, name: object) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise fail(f"{what} name", name, "up to 64 letters, digits, - and _")


def _check_distinct(what: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} named {name!r}; allowed: distinct names")


def _check_no_layers(where: str, grid: Mapping[str, tuple[Any, ...]]) -> None:
    """A linear VAE has no hidden layers: two depths or widths would be two names for one network."""
    for factor, only in (("depth", DEFAULT_DEPTH), ("width", DEFAULT_WIDTH["linear"])):
        for level in grid.get(factor, ()):
            if level != only:
                raise fail(f"{where}: {factor} of a linear VAE", level, f"{only}, it has no hidden layers")


def _levels(where: str, factor: str, levels: object) -> tuple[Any, ...]:
    if isinstance(levels, str) or not isinstance(levels, Iterable):
        raise fail(f"{where}: factor {factor!r}", levels, "a list of levels")
    checked = tuple(FACTORS[factor](f"{where}: {factor}", level) for level in levels)
    if not checked:
        raise ValueError(f"{where}: factor {factor!r} has no levels; allowed: one or more")
    for level in checked:
        if checked.count(level) > 1:
            raise ValueError(f"{where}: factor {factor!r} lists {level!r} twice; allowed: distinct levels")
    return checked
