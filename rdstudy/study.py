"""What is wanted: a study, its experiments, and the members they ask for. Frozen data, standard library alone.

A study file defines `STUDY = Study(...)`. An experiment is a grid of factors; its members are the product of its
levels. Nothing here knows a data set, a device or a file: `rdstudy.plan` checks a study against the data sets.
"""

import ast
import dataclasses
import hashlib
import itertools
import json
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

NUMERICS_VERSION = 1
"""Raised by hand when a change to the code changes the numbers of a member. Part of every `member_id`."""

ARCHITECTURES = ("mlp", "cnn")
LIKELIHOODS = ("bernoulli",)
OBJECTIVES = ("beta",)
OPTIMIZERS = ("adam",)

DEFAULT_WIDTH = {"mlp": 512, "cnn": 64}
"""Hidden units of an MLP layer, channels of a CNN layer (paper, 4.3)."""

PAPER_BETAS = (0.001, 0.005, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0, 2.0, 3.0, 5.0)
"""The twelve values of the paper (4.4, footnote 2)."""

_MOST_WHOLE = 2**63  # what a column of the tables can hold
_LEAST_SHARE = 1 / 1024  # of a GPU: no trial asks for less


def _fail(where: str, value: object, allowed: str) -> ValueError:
    return ValueError(f"{where} is {value!r}; allowed: {allowed}")


def _whole(where: str, value: object, *, least: int) -> int:
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if not least <= number < _MOST_WHOLE:
        raise _fail(where, value, f"a whole number, {least} or more and below 2^63")
    return number


def _number(where: str, value: object, *, zero: bool) -> float:
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise _fail(where, value, "a finite number, 0 or more" if zero else "a finite number above 0")
    return number + 0.0  # -0.0 is 0.0: equal members have equal ids


def _text(where: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _fail(where, value, "a name in quotes")
    return value


def _one_of(names: Sequence[str]) -> Callable[[str, object], str]:
    def check(where: str, value: object) -> str:
        if value not in names:
            raise _fail(where, value, ", ".join(names))
        return str(value)

    return check


@dataclass(frozen=True)
class Recipe:
    """How a member is trained (paper, 4.3)."""

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 128
    steps: int = 257_000

    def __post_init__(self) -> None:
        _one_of(OPTIMIZERS)("recipe.optimizer", self.optimizer)
        _set(self, "learning_rate", _number("recipe.learning_rate", self.learning_rate, zero=False))
        _set(self, "batch_size", _whole("recipe.batch_size", self.batch_size, least=1))
        _set(self, "steps", _whole("recipe.steps", self.steps, least=1))


@dataclass(frozen=True)
class Evaluation:
    """What is measured, and on how many images.

    Attributes:
        trajectory_points: steps, spaced evenly in log(step), at which rate and distortion are measured on the way.
        trajectory_images: images of each subset, a fixed random sample, on which they are measured.
        final_images: images of each subset for the values after training; None for all of them.
    """

    trajectory_points: int = 40
    trajectory_images: int = 2_000
    final_images: int | None = None

    def __post_init__(self) -> None:
        _set(self, "trajectory_points", _whole("evaluation.trajectory_points", self.trajectory_points, least=1))
        _set(self, "trajectory_images", _whole("evaluation.trajectory_images", self.trajectory_images, least=1))
        if self.final_images is not None:
            _set(self, "final_images", _whole("evaluation.final_images", self.final_images, least=1))


@dataclass(frozen=True)
class Resources:
    """How a study is run. Nothing here changes a member's numbers on a CPU.

    Attributes:
        cpus: CPU cores of a trial; the arithmetic of a member on a CPU uses one thread.
        gpus: share of one GPU that a trial takes: 0, 1, or 1/k; "auto" for the smallest 1/k, k up to 8, that each
            pack is estimated to fit into.
        pack_size: members in a pack; None for one on a CPU, and on a GPU for as many members of a cell, 60 at most,
            as are estimated to fit into the trial's share of its memory.
        checkpoint_seconds: time between two checkpoints.
        gpu_memory_gib: memory of one GPU, GiB; None for that of this machine's first GPU, or 16 where there is none.
        evaluation_memory_gib: memory within which a pack is measured on a GPU, GiB, beside its parameters: as many
            members at a time as fit, one at least. The values do not depend on it, up to rounding. A member that is
            trained alone is always measured 1,024 images at a time: 0.1 GiB for an MLP and 0.2 GiB for a CNN of the
            paper's sizes.
    """

    cpus: int = 1
    gpus: float | str = 0.0
    pack_size: int | None = None
    checkpoint_seconds: float = 60.0
    gpu_memory_gib: float | None = None
    evaluation_memory_gib: float = 2.0

    def __post_init__(self) -> None:
        _set(self, "cpus", _whole("resources.cpus", self.cpus, least=1))
        _set(self, "gpus", _gpus(self.gpus))
        if self.pack_size is not None:
            _set(self, "pack_size", _whole("resources.pack_size", self.pack_size, least=1))
        _set(self, "checkpoint_seconds", _number("resources.checkpoint_seconds", self.checkpoint_seconds, zero=True))
        if self.gpu_memory_gib is not None:
            _set(self, "gpu_memory_gib", _number("resources.gpu_memory_gib", self.gpu_memory_gib, zero=False))
        bound = _number("resources.evaluation_memory_gib", self.evaluation_memory_gib, zero=False)
        _set(self, "evaluation_memory_gib", bound)


def _gpus(value: object) -> float | str:
    if isinstance(value, str) and value == "auto":
        return value
    allowed = '0, 1, or 1/k for a whole k, or "auto"'
    try:
        gpus = _number("resources.gpus", value, zero=True)
    except ValueError:
        raise _fail("resources.gpus", value, allowed) from None
    if not (gpus == 0 or _LEAST_SHARE <= gpus <= 1) or (gpus and abs(1 / gpus - round(1 / gpus)) > 0.05):
        raise _fail("resources.gpus", value, allowed)
    return gpus if gpus == 0 else 1 / round(1 / gpus)


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
    depth: int = 1
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
        settings = {"numerics": NUMERICS_VERSION, **dataclasses.asdict(self)}
        text = json.dumps(settings, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def cell(self) -> "Member":
        """This member with β and seed blanked: equal for the members of one cell."""
        return dataclasses.replace(self, beta=0.0, seed=0)

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain data; `from_dict` reads them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "Member":
        """The member that `to_dict` wrote."""
        nested = {"recipe": Recipe(**settings["recipe"]), "evaluation": Evaluation(**settings["evaluation"])}
        return cls(**{**settings, **nested})


FACTORS: dict[str, Callable[[str, object], Any]] = {
    "dataset": _text,
    "split": _text,
    "architecture": _one_of(ARCHITECTURES),
    "depth": lambda where, value: _whole(where, value, least=1),
    "width": lambda where, value: _whole(where, value, least=1),
    "latent_dim": lambda where, value: _whole(where, value, least=1),
    "likelihood": _one_of(LIKELIHOODS),
    "objective": _one_of(OBJECTIVES),
    "beta": lambda where, value: _number(where, value, zero=True),
    "seed": lambda where, value: _whole(where, value, least=0),
}
"""The axes of a grid, each with the check of one of its levels."""

REQUIRED_FACTORS = ("dataset", "split", "beta", "seed")


@dataclass(frozen=True)
class Experiment:
    """A named grid: every combination of its levels is a member.

    Args:
        name: letters, digits, `-` and `_`.
        grid: factor -> levels. `dataset`, `split`, `beta` and `seed` must be there; a factor left out has its default.
        title: a few words for the report.
        description: what it asks, for the report.
    """

    name: str
    grid: Mapping[str, Sequence[Any]]
    title: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        where = f"experiment {self.name!r}"
        _check_name("experiment", self.name)
        if not isinstance(self.grid, Mapping):
            raise _fail(f"{where}: grid", self.grid, "a dictionary, factor -> levels")
        for factor in self.grid:
            if factor not in FACTORS:
                raise _fail(f"{where}: factor", factor, ", ".join(FACTORS))
        for factor in REQUIRED_FACTORS:
            if factor not in self.grid:
                raise ValueError(f"{where}: factor {factor!r} is missing; required: {', '.join(REQUIRED_FACTORS)}")
        checked = {name: _levels(where, name, levels) for name, levels in self.grid.items()}
        _set(self, "grid", MappingProxyType(checked))

    def members(self, study: "Study") -> tuple[Member, ...]:
        """All combinations of the levels, in the order of the grid."""
        combinations = itertools.product(*self.grid.values())
        return tuple(self._member(study, dict(zip(self.grid, levels, strict=True))) for levels in combinations)

    def _member(self, study: "Study", levels: dict[str, Any]) -> Member:
        levels.setdefault("width", DEFAULT_WIDTH[levels.get("architecture", "mlp")])
        return Member(study_seed=study.seed, recipe=study.recipe, evaluation=study.evaluation, **levels)


@dataclass(frozen=True)
class Study:
    """The declaration: what is wanted, not how it is run.

    Args:
        name: letters, digits, `-` and `_`; the name of the report.
        experiments: one or more, with distinct names. They may overlap: a shared member is trained once.
        title: the heading of the report.
        description: a paragraph for the report.
        recipe: how members are trained.
        evaluation: what is measured.
        resources: what a trial asks for.
        seed: the seed of the splits and of the fixed samples of images; never of a member.
    """

    name: str
    experiments: Sequence[Experiment]
    title: str = ""
    description: str = ""
    recipe: Recipe = field(default_factory=Recipe)
    evaluation: Evaluation = field(default_factory=Evaluation)
    resources: Resources = field(default_factory=Resources)
    seed: int = 0

    def __post_init__(self) -> None:
        _check_name("study", self.name)
        given = self.experiments
        if not isinstance(given, list | tuple) or not all(isinstance(one, Experiment) for one in given):
            raise _fail(f"study {self.name!r}: experiments", given, "a list of Experiment")
        _set(self, "experiments", tuple(given))
        for name, kind in (("recipe", Recipe), ("evaluation", Evaluation), ("resources", Resources)):
            if not isinstance(getattr(self, name), kind):
                raise _fail(f"study {self.name!r}: {name}", getattr(self, name), f"a {kind.__name__}")
        names = [experiment.name for experiment in self.experiments]
        if not names:
            raise ValueError(f"study {self.name!r} has no experiments; allowed: one or more")
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"study {self.name!r} has two experiments named {name!r}; allowed: distinct names")
        _set(self, "seed", _whole(f"study {self.name!r}: seed", self.seed, least=0))

    def with_settings(self, assignments: Iterable[str]) -> "Study":
        """This study with settings replaced, each given as text: `recipe.steps=2000`."""
        study = self
        for assignment in assignments:
            path, equals, text = assignment.partition("=")
            if not equals:
                raise _fail("--set", assignment, "NAME=VALUE, such as recipe.steps=2000")
            study = study._with_setting(path.strip(), text.strip())
        return study

    def _with_setting(self, path: str, text: str) -> "Study":
        parts: dict[str, Any] = {"recipe": self.recipe, "evaluation": self.evaluation, "resources": self.resources}
        allowed = [f"{part}.{name.name}" for part, value in parts.items() for name in dataclasses.fields(value)]
        if path not in [*allowed, "seed"]:
            raise _fail("--set", path, ", ".join([*allowed, "seed"]))
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            value = text
        if path == "seed":
            return dataclasses.replace(self, seed=value)
        part, name = path.split(".")
        changed = dataclasses.replace(parts[part], **{name: value})
        return dataclasses.replace(self, **{part: changed})


def _set(instance: object, name: str, value: object) -> None:
    """Normalize a field of a frozen instance while it is being built."""
    object.__setattr__(instance, name, value)


def _check_name(what: str, name: object) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise _fail(f"{what} name", name, "up to 64 letters, digits, - and _")


def _levels(where: str, factor: str, levels: object) -> tuple[Any, ...]:
    if isinstance(levels, str) or not isinstance(levels, Iterable):
        raise _fail(f"{where}: factor {factor!r}", levels, "a list of levels")
    checked = tuple(FACTORS[factor](f"{where}: {factor}", level) for level in levels)
    if not checked:
        raise ValueError(f"{where}: factor {factor!r} has no levels; allowed: one or more")
    for level in checked:
        if checked.count(level) > 1:
            raise ValueError(f"{where}: factor {factor!r} lists {level!r} twice; allowed: distinct levels")
    return checked
