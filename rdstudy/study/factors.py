"""Every setting of a member, in one table: the factors of a grid, and what a study fixes for all its members.

The fields of a member, the columns of the tables, the names of levels on a page and the hash behind a member's id
follow from it. A new factor is a line here and a field of `rdstudy.study.member`. Standard library alone.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from rdstudy.study import parts
from rdstudy.study.bounds import MOST
from rdstudy.study.checks import single, text, whole
from rdstudy.study.settings import RECIPE_CHECKS, Evaluation, Recipe

NOTHING: Any = object()
"""No value, where None may be one."""

NO_WIDTH = 1
"""Of an architecture that has no hidden layers to be so wide."""


@dataclass(frozen=True)
class Setting:
    """A setting of a member.

    `before` is the value that members had before there was this setting, which is left out of the hash behind an id;
    `NOTHING` where every id is a hash of it. Whatever is added to this table has one.
    """

    name: str  # of its field, and of its column in the table `members`
    kind: type  # of its values: `str`, `int` or `float`
    holder: str = ""  # the field of a member that holds it, `recipe` or `evaluation`; empty for the member itself
    default: Any = NOTHING  # where there is none
    before: Any = NOTHING
    appended: int = 0  # for columns that tables had from the start; others came later, in this order, at the end


@dataclass(frozen=True)
class Factor(Setting):
    """A setting that is an axis of a grid.

    `check` takes where a level stands and the level: it returns the level as it is kept, or raises a ValueError that
    says what is allowed. Members that differ in numbers alone that enter a step as tensors share a pack.
    """

    check: Callable[[str, object], Any] = dataclasses.field(kw_only=True)
    plural: str = dataclasses.field(kw_only=True)  # what several levels are called
    label: Callable[[Any], str] = str  # as a reader sees a level, with name or unit; two files of one part look alike
    of_cell: bool = True  # whether it tells cells apart
    is_tensor: bool = False  # whether it is a number that enters a step as a tensor


def _whole(name: str) -> Callable[[str, object], int]:
    return lambda where, value: whole(where, value, least=1, most=MOST[name])


_SIZED_SPLITS = {"cv": "constant volume", "cd": "constant density"}
_OBJECTIVES = {
    "beta": "β objective",
    "no_marginal_kl": "objective without marginal KL",
    "no_mutual_information": "objective without mutual information",
}


def _split_label(split: object) -> str:
    """A split in plain words: cv(1024) is "constant volume, 1,024 training images"."""
    sized = re.fullmatch(r"(cv|cd)\((\d+)\)", str(split))
    if sized:
        return f"{_SIZED_SPLITS[sized[1]]}, {int(sized[2]):,} training images"
    return "a random half" if split == "default" else str(split)


def _objective_label(objective: object) -> str:
    name = str(objective)
    return _OBJECTIVES.get(name) or _part_label("{} objective")(name)


def _part_label(form: str = "{}") -> Callable[[object], str]:
    """The label of a part: without the hash of a user's own file."""
    return lambda level: form.format(str(level).partition("@")[0])


def _of_part(
    kind: str,
    default: str,
    *,
    label: Callable[[Any], str] | None = None,
    before: Any = NOTHING,
    appended: int = 0,
) -> Factor:
    """A part of the model as a factor."""
    return Factor(
        kind,
        str,
        default=default,
        before=before,
        appended=appended,
        check=parts.check(kind),
        plural=f"{kind}s",
        label=label or _part_label(f"{{}} {kind}"),
    )


def _of_recipe(
    name: str,
    kind: type,
    *,
    plural: str,
    label: str | Callable[[Any], str],
    is_tensor: bool = False,
    before: Any = NOTHING,
    appended: int = 0,
) -> Factor:
    """A setting of the recipe as a factor: its default is what the study's recipe says."""
    return Factor(
        name,
        kind,
        "recipe",
        getattr(Recipe, name),
        before,
        appended=appended,
        check=RECIPE_CHECKS[name],
        plural=plural,
        label=label.format if isinstance(label, str) else label,
        is_tensor=is_tensor,
    )


_TABLE: tuple[Setting, ...] = (
    Factor("dataset", str, check=text, plural="data sets"),
    Factor("split", str, check=text, plural="splits", label=_split_label),
    _of_part(
        "architecture", "mlp", label=lambda level: level.upper() if level in ("mlp", "cnn") else _part_label()(level)
    ),
    Factor(
        "depth",
        int,
        default=1,
        check=_whole("depth"),
        plural="depths",
        label=lambda level: f"{level} layer" if level == 1 else f"{level} layers",
    ),
    Factor(
        "width",
        int,
        default=parts.constant("architecture", "mlp", "WIDTH", default=NO_WIDTH),
        check=_whole("width"),
        plural="widths",
        label=lambda level: f"width {level}",
    ),
    Factor(
        "latent_dim",
        int,
        default=10,
        check=_whole("latent_dim"),
        plural="latent sizes",
        label=lambda level: f"{level} latent dimensions",
    ),
    _of_part("prior", "normal", before="normal", appended=2),
    _of_part("likelihood", "bernoulli"),
    _of_part("objective", "beta", label=_objective_label),
    Factor(
        "beta",
        float,
        check=lambda where, value: single(where, value, zero=True),
        plural="β",
        of_cell=False,
        is_tensor=True,
    ),
    Factor(
        "seed",
        int,
        check=lambda where, value: whole(where, value, least=0),
        plural="seeds",
        of_cell=False,
        is_tensor=True,
    ),
    Setting("study_seed", int, default=0),
    _of_recipe("optimizer", str, plural="optimizers", label=_part_label("{} optimizer")),
    _of_recipe("learning_rate", float, plural="learning rates", label="learning rate {:g}", is_tensor=True),
    _of_recipe("batch_size", int, plural="batch sizes", label="batches of {}"),
    _of_recipe("steps", int, plural="numbers of steps", label="{:,} steps"),
    _of_recipe("schedule", str, plural="schedules", label=_part_label("{} schedule"), before="constant", appended=1),
    _of_recipe(
        "initialization", str, plural="initializations", label="{} initialization", before="default", appended=1
    ),
    _of_recipe(
        "weight_decay", float, plural="weight decays", label="weight decay {:g}", is_tensor=True, before=0.0, appended=2
    ),
    _of_recipe("precision", str, plural="precisions", label="products in {}", before="float32", appended=3),
    Setting("trajectory_points", int, "evaluation", Evaluation.trajectory_points, appended=1),
    Setting("trajectory_images", int, "evaluation", Evaluation.trajectory_images, appended=1),
    Setting("final_images", int, "evaluation", Evaluation.final_images, appended=1),
    Setting("validation_images", int, "evaluation", Evaluation.validation_images, before=0, appended=1),
)
_FACTORS = tuple(setting for setting in _TABLE if isinstance(setting, Factor))

FACTORS: Mapping[str, Factor] = MappingProxyType({factor.name: factor for factor in _FACTORS})
"""The axes of a grid, by name."""

REQUIRED_FACTORS = tuple(factor.name for factor in _FACTORS if factor.default is NOTHING)
CELL_FACTORS = tuple(factor.name for factor in _FACTORS if factor.of_cell)
"""The factors that tell cells apart, outermost first: the order of panels and of table rows."""

SETTINGS: tuple[Setting, ...] = tuple(sorted(_TABLE, key=lambda setting: setting.appended))
"""Every setting that can change a member's numbers, in the order of the columns that hold them."""

RECIPE_FACTORS = tuple(factor.name for factor in _FACTORS if factor.holder == "recipe")
"""The factors that a study's recipe sets where a grid does not."""
