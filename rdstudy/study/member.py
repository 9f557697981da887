"""One VAE and what it shares with others: a member, its cell, and the id that is a hash of all its settings.

Frozen data, standard library alone.
"""

import dataclasses
import functools
import hashlib
import json
import math
import operator
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from rdstudy.study.bounds import MOST_MEMBERS
from rdstudy.study.factors import FACTORS, NOTHING, RECIPE_FACTORS, SETTINGS
from rdstudy.study.settings import Evaluation, Recipe

NUMERICS_VERSION = 2
"""Raised by hand when a change to the code changes the numbers of a member. Part of every `member_id`."""


@dataclass(frozen=True)
class Cell:
    """All settings that members have in common when they differ in β and seed alone, see `rdstudy.study.factors`.

    Attributes:
        dataset: name of the images.
        split: how they are divided into train and test, such as `cv(16384)`.
        architecture: of encoder and decoder.
        depth: hidden layers of each.
        width: numbers, or channels, of a hidden layer.
        latent_dim: latent dimensions.
        prior: p(z).
        likelihood: p(x|z).
        objective: what training minimizes.
        study_seed: of the split, and of the random samples of images on which values are measured.
        recipe: how it is trained.
        evaluation: what is measured, and on how many images.
    """

    dataset: str
    split: str
    _: KW_ONLY
    architecture: str = FACTORS["architecture"].default
    depth: int = FACTORS["depth"].default
    width: int = FACTORS["width"].default
    latent_dim: int = FACTORS["latent_dim"].default
    prior: str = FACTORS["prior"].default
    likelihood: str = FACTORS["likelihood"].default
    objective: str = FACTORS["objective"].default
    study_seed: int = 0
    recipe: Recipe = field(default_factory=Recipe)
    evaluation: Evaluation = field(default_factory=Evaluation)

    def __hash__(self) -> int:
        """Made once: a plan of many members hashes each cell some hundred times."""
        return self._hash

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what is kept beside them is of this process."""
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}

    @functools.cached_property
    def _hash(self) -> int:
        return hash(_cell_levels(self))

    def level(self, setting: str) -> Any:
        """The level of a factor, or another setting, by its name."""
        holder = _HOLDERS.get(setting, "")
        return getattr(getattr(self, holder) if holder else self, setting)

    @functools.cached_property
    def stack(self) -> "Cell":
        """It without the numbers that enter a step as tensors."""
        recipe = dataclasses.replace(self.recipe, **{name: getattr(Recipe, name) for name in _TENSORS})
        return dataclasses.replace(self, recipe=recipe)

    @functools.cached_property
    def _id_texts(self) -> "dict[int, IdText]":
        """By version of the numerics, those that were asked for."""
        return {}

    def _fields(self) -> dict[str, Any]:
        return dict(zip(_CELL_FIELDS, _cell_levels(self), strict=True))


@dataclass(frozen=True)
class Member(Cell):
    """One VAE: every setting that can change its numbers, a cell with a β and a seed.

    Attributes:
        beta: β, by which the objective multiplies the rate.
        seed: of initial weights, batches and noise.
    """

    beta: float
    seed: int

    def __hash__(self) -> int:
        """That of its id."""
        return hash(self.member_id)

    @functools.cached_property
    def member_id(self) -> str:
        """16 hex digits: a hash of all settings and of the version of the numerics, and of nothing else.

        A setting is left out of the hash at the value that members had before there was such a setting.
        """
        return self.id_under(NUMERICS_VERSION)

    def id_under(self, numerics: int) -> str:
        """The id that this member has, or had, under a version of the numerics."""
        texts = self.cell._id_texts
        if numerics not in texts:
            texts[numerics] = IdText.of(self.cell._fields(), numerics)
        return texts[numerics].member_id(self.beta, self.seed)

    @functools.cached_property
    def cell(self) -> Cell:
        """What this member shares with the others of its cell."""
        return _shared(*_cell_levels(self))

    @functools.cached_property
    def stack(self) -> Cell:
        """Its cell without the numbers that enter a step as tensors: members of equal stacks can share a pack."""
        return self.cell.stack

    @property
    def cell_id(self) -> str:
        """16 hex digits: a hash of what this member shares with the others of its cell."""
        return _digest(_ENCODER.encode(_hashed(self.cell._fields(), NUMERICS_VERSION)))

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain data; `from_dict` reads them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "Member":
        """The member that `to_dict` wrote."""
        nested = {"recipe": Recipe(**settings["recipe"]), "evaluation": Evaluation(**settings["evaluation"])}
        return cls(**{**settings, **nested})


def nested(levels: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their names, as columns of tables have them, in the fields of `Member`: what `from_dict` reads."""
    fields: dict[str, dict[str, Any]] = {"": {}, **{name: {} for name in _PARTS}}
    for setting in SETTINGS:
        if setting.name in levels:
            fields[setting.holder][setting.name] = levels[setting.name]
    return {**fields.pop(""), **fields}


_HOLDERS = {setting.name: setting.holder for setting in SETTINGS}
_LATER = tuple(setting for setting in SETTINGS if setting.before is not NOTHING)
_NUMBERS = tuple(setting for setting in SETTINGS if setting.kind in (int, float))
_CELL_FIELDS = tuple(field.name for field in dataclasses.fields(Cell))
_cell_levels = operator.attrgetter(*_CELL_FIELDS)


@dataclass(frozen=True)
class IdText:
    """What is hashed for the id of a member, but for its β and seed: members of a cell have it in common."""

    before: str
    between: str
    after: str

    @classmethod
    def of(cls, cell: Mapping[str, Any], numerics: int) -> "IdText":
        """That of a cell, whose settings are taken as they stand: whether they are allowed is not asked.

        Args:
            cell: name -> value of all fields of `Cell`; `recipe` and `evaluation` may be plain data. β and a seed that
                are there do not count.
            numerics: the version of the numerics.

        Raises:
            ValueError: a number is not finite.
            KeyError: a setting is missing.
            TypeError: no plain values.
        """
        settings = _hashed({**cell, "beta": 0.0, "seed": 0}, numerics)
        names = sorted(settings)
        texts = [f'"{name}": {_ENCODER.encode(settings[name])}' for name in names]
        beta, seed = names.index("beta"), names.index("seed")
        return cls(*(", ".join(part) for part in (texts[:beta], texts[beta + 1 : seed], texts[seed + 1 :])))

    def member_id(self, beta: Any, seed: Any) -> str:
        """The id of a member of the cell; a ValueError where a number is not finite."""
        levels = f'"beta": {_number(beta, float)}, {self.between}, "seed": {_number(seed, int)}'
        return _digest(f"{{{self.before}, {levels}, {self.after}}}")


def _hashed(settings: Mapping[str, Any], numerics: int) -> dict[str, Any]:
    """What an id is a hash of."""
    parts = {name: dict(part if isinstance(part := settings[name], Mapping) else vars(part)) for name in _PARTS}
    kept: dict[str, Any] = {"numerics": numerics, **settings, **parts}
    for setting in _LATER:
        holder = kept[setting.holder] if setting.holder else kept
        if holder[setting.name] == setting.before:
            del holder[setting.name]
    for setting in _NUMBERS:
        holder = kept[setting.holder] if setting.holder else kept
        if setting.name in holder:
            holder[setting.name] = _as_kept(holder[setting.name], setting.kind)
    return kept


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _as_kept(value: Any, kind: type) -> Any:
    """A number in the type of its setting, where it is the same number there: 1 and 1.0 make one id."""
    if type(value) not in (int, float) or type(value) is kind:
        return value
    try:
        number = kind(value)
    except OverflowError:
        raise ValueError(f"{value} is not finite, or too large for a number") from None
    return number if number == value else value


def _number(value: Any, kind: type) -> str:
    """A number as JSON writes it: as `repr`, where it is finite."""
    kept = _as_kept(value, kind)
    is_plain = type(kept) is int or (type(kept) is float and math.isfinite(kept))
    return repr(kept) if is_plain else _ENCODER.encode(kept)


_PARTS = ("recipe", "evaluation")
_ENCODER = json.JSONEncoder(sort_keys=True, allow_nan=False)


@functools.lru_cache(maxsize=MOST_MEMBERS)
def _shared(*levels: Any) -> Cell:
    """One object for all equal cells: members of a cell share it, and comparing it with itself takes no time."""
    return Cell(**dict(zip(_CELL_FIELDS, levels, strict=True)))


_TENSORS = tuple(name for name in RECIPE_FACTORS if FACTORS[name].is_tensor)
