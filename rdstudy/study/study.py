"""What is wanted: a study, its experiments, and the members that they ask for. Frozen data, standard library alone.

A study file defines `STUDY = Study(...)`. An experiment is a grid of factors; its members are the product of its
levels. Nothing here knows a data set, a device or a file: `rdstudy.planning.plan` checks a study against the data sets.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from rdstudy.study import parts
from rdstudy.study.bounds import MOST_CONTRASTS, MOST_MEMBERS, MOST_NAME, MOST_TEXT
from rdstudy.study.checks import check_name, fail, fail_name, in_order, items, repeated, set_field, shown, whole, words
from rdstudy.study.claims import Claim
from rdstudy.study.claims.contrasts import OWN
from rdstudy.study.conditions import typed
from rdstudy.study.factors import FACTORS, NO_WIDTH, RECIPE_FACTORS, REQUIRED_FACTORS
from rdstudy.study.member import Member
from rdstudy.study.settings import Evaluation, Measures, Recipe, Resources
from rdstudy.study.words import attribute_meanings

PAPER_BETAS = (0.001, 0.005, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0, 2.0, 3.0, 5.0)
"""The twelve values of the paper (4.4, footnote 2)."""

FIGURES = parts.figure_names()
"""What a page can show of an experiment, in its order: each is a file of `rdstudy.report.figures`."""


@dataclass(frozen=True)
class Experiment:
    """A named grid: every combination of its levels is a member.

    Args:
        name: letters, digits, `-` and `_`.
        grid: factor -> levels. `dataset`, `split`, `beta` and `seed` must be there; a factor left out has its default.
        title: a few words for the report.
        description: what it asks, for the report.
        figures: which of `FIGURES` answer it, and figures of one's own, `part(...)`; all of `FIGURES` where none of
            them is named.
    """

    name: str
    grid: Mapping[str, Sequence[Any]]
    title: str = ""
    description: str = ""
    figures: Sequence[str] = ()

    def __post_init__(self) -> None:
        where = f"experiment {self.name!r}"
        check_name("experiment", self.name)
        if not isinstance(self.grid, Mapping):
            raise fail(f"{where}: grid", self.grid, "a dictionary, factor -> levels")
        for factor in self.grid:
            if factor not in FACTORS:
                raise fail_name(f"{where}: factor", factor, FACTORS)
        for factor in REQUIRED_FACTORS:
            if factor not in self.grid:
                raise ValueError(f"{where}: factor {factor!r} is missing; required: {', '.join(REQUIRED_FACTORS)}")
        checked = {name: _levels(where, name, levels) for name, levels in self.grid.items()}
        _set_words(self, where)
        figures = items(f"{where}: figures", self.figures, most=MOST_NAME, allowed=f"a list of {', '.join(FIGURES)}")
        checked_figures = [parts.check_named("figure", FIGURES)(f"{where}: figure", name) for name in figures]
        set_field(self, "figures", in_order(self.figures, checked_figures))
        _check_no_layers(where, checked)
        set_field(self, "grid", MappingProxyType(checked))
        _check_members(f"{where} has", [self])

    def members(self, study: "Study") -> tuple[Member, ...]:
        """All combinations of the levels, in the order of the grid."""
        varied = [name for name in self.grid if name in RECIPE_FACTORS]
        recipes = {
            levels: dataclasses.replace(study.recipe, **dict(zip(varied, levels, strict=True)))
            for levels in itertools.product(*(self.grid[name] for name in varied))
        }

        def member(combination: tuple[Any, ...]) -> Member:
            levels = dict(zip(self.grid, combination, strict=True))
            recipe = recipes[tuple(levels.pop(name) for name in varied)]
            levels.setdefault("width", default_width(levels.get("architecture", FACTORS["architecture"].default)))
            return Member(study_seed=study.seed, recipe=recipe, evaluation=study.evaluation, **levels)

        return tuple(map(member, itertools.product(*self.grid.values())))


_PARTS = {"recipe": Recipe, "evaluation": Evaluation, "measures": Measures, "resources": Resources}
"""The settings of a study, by the name of its field."""


@dataclass(frozen=True)
class Settable:
    """A setting that `Study.with_settings` replaces: its default, and what its docstring says."""

    default: Any
    meaning: str


SETTABLE: Mapping[str, Settable] = MappingProxyType(
    {
        f"{part}.{name.name}": Settable(getattr(kind, name.name), attribute_meanings(kind).get(name.name, ""))
        for part, kind in _PARTS.items()
        for name in dataclasses.fields(kind)
    }
    | {"seed": Settable(0, "of the splits and of the fixed samples of images; never of a member.")}
)
"""By name, such as `recipe.steps`: what `--set` takes."""


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
        claims: what it claims, to be held against its tables (`rdstudy.study.claims`).
        authors: who made it, for the report.
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
    authors: str = ""

    def __post_init__(self) -> None:
        check_name("study", self.name)
        if self.callbacks is not None and not callable(self.callbacks):
            raise fail(f"study {self.name!r}: callbacks", self.callbacks, "a function that returns a list, or None")
        _set_words(self, f"study {self.name!r}")
        set_field(self, "authors", words(f"study {self.name!r}: authors", self.authors, most=MOST_TEXT))
        given = self.experiments
        if not isinstance(given, list | tuple) or not all(isinstance(experiment, Experiment) for experiment in given):
            raise fail(f"study {self.name!r}: experiments", given, "a list of Experiment")
        set_field(self, "experiments", tuple(given))
        for name, kind in _PARTS.items():
            if not isinstance(getattr(self, name), kind):
                raise fail(f"study {self.name!r}: {name}", getattr(self, name), f"a {kind.__name__}")
        if not self.experiments:
            raise ValueError(f"study {self.name!r} has no experiments; allowed: one or more")
        claims = self.claims
        if not isinstance(claims, list | tuple) or not all(isinstance(claim, Claim) for claim in claims):
            raise fail(f"study {self.name!r}: claims", claims, "a list of Claim")
        set_field(self, "claims", tuple(claims))
        for what, named in (("experiments", self.experiments), ("claims", self.claims)):
            if (twice := repeated(each.name for each in named)) is not None:
                raise ValueError(f"study {self.name!r} has two {what} named {twice!r}; allowed: distinct names")
        _check_members(f"study {self.name!r} has", self.experiments)
        _check_claims(f"study {self.name!r}", self.claims, self.measures)
        _check_annealing(self.measures)
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
        if path not in SETTABLE:
            raise fail_name("--set", path, SETTABLE)
        if len(text) > MOST_TEXT:
            raise ValueError(f"--set {path} has {len(text):,} letters; allowed: up to {MOST_TEXT:,}")
        value = typed(text)
        if path == "seed":
            return dataclasses.replace(self, seed=value)
        part, name = path.split(".")
        changed = dataclasses.replace(parts[part], **{name: value})
        return dataclasses.replace(self, **{part: changed})


def _set_words(instance: "Experiment | Study", where: str) -> None:
    set_field(instance, "title", words(f"{where}: title", instance.title, most=MOST_NAME))
    set_field(instance, "description", words(f"{where}: description", instance.description, most=MOST_TEXT))


def _check_members(what: str, experiments: Sequence[Experiment]) -> None:
    """Multiplied, and not multiplied out."""
    sizes = [[len(levels) for levels in experiment.grid.values()] for experiment in experiments]
    members = sum(map(math.prod, sizes))
    if members > MOST_MEMBERS:
        product = " + ".join(" × ".join(f"{size:,}" for size in grid if size > 1) or "1" for grid in sizes[:3])
        product = f"{product} + ..." if len(sizes) > 3 else product
        raise ValueError(f"{what} {product} = {members:,} members; allowed: {MOST_MEMBERS:,} at most")


def _check_claims(where: str, claims: Sequence[Claim], measures: Measures) -> None:
    """Each is about factors and levels that there are; of which models, a plan sees."""
    contrasts = sum(len(claim.flat()) for claim in claims)
    if contrasts > MOST_CONTRASTS:
        raise ValueError(f"{where}: claims have {contrasts:,} contrasts; allowed: {MOST_CONTRASTS:,} at most")
    for claim in claims:
        about = f"{where}: claim {claim.name!r}"
        for value in (contrast.settings.get("value", "") for contrast in claim.flat()):
            if value.startswith(OWN) and value.removeprefix(OWN) not in measures.own_names:
                raise fail(f"{about}: value", value, f"own measures: {', '.join(measures.own_names) or 'none'}")
        for factor, level in (pair for contrast in claim.flat() for arm in contrast.cells() for pair in arm.items()):
            if factor not in FACTORS:
                raise fail_name(f"{about}: factor", factor, FACTORS)
            FACTORS[factor].check(f"{about}: {factor}", level)


def _check_annealing(measures: Measures) -> None:
    """The same of annealing."""
    for factor, levels in (measures.annealing or {}).items():
        if factor not in FACTORS:
            raise fail_name("measures.annealing", factor, FACTORS)
        for level in levels:
            FACTORS[factor].check(f"measures.annealing: {factor}", level)


def default_width(architecture: str) -> int:
    """The width that an architecture has where none is given: what its file says, see `rdstudy.model.architectures`."""
    width: int = parts.constant("architecture", architecture, "WIDTH", default=NO_WIDTH)
    return width


def _check_no_layers(where: str, grid: Mapping[str, tuple[Any, ...]]) -> None:
    """An architecture without hidden layers: two depths or widths would be two names for one network.

    Of a user's own that has them, the file says so.
    """
    for architecture in grid.get("architecture", ()):
        if default_width(architecture) != NO_WIDTH:
            continue
        why = "it has no hidden layers"
        if parts.is_own(architecture):
            why = "or any where its file has a constant such as WIDTH = 512, the width where a study says none"
        for factor, only in (("depth", FACTORS["depth"].default), ("width", NO_WIDTH)):
            for level in grid.get(factor, ()):
                if level != only:
                    allowed = f"{only}, {why}"
                    raise fail(f"{where}: {factor} of the architecture {architecture}", level, allowed)


def _levels(where: str, factor: str, levels: object) -> tuple[Any, ...]:
    listed = items(f"{where}: factor {factor!r}", levels, most=MOST_MEMBERS, allowed="a list of levels")
    checked = in_order(levels, [FACTORS[factor].check(f"{where}: {factor}", level) for level in listed])
    if not checked:
        raise ValueError(f"{where}: factor {factor!r} has no levels; allowed: one or more")
    if (level := repeated(checked)) is not None:
        raise ValueError(f"{where}: factor {factor!r} lists {shown(level)} twice; allowed: distinct levels")
    return checked
