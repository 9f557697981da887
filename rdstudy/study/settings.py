"""How members are trained, what is measured and what a trial asks for: the settings of a study.

Frozen data, standard library alone. `rdstudy.study` hands them on: a study file needs no other import.
"""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rdstudy.study import parts
from rdstudy.study.bounds import MOST, MOST_GIB, MOST_MEMBERS, MOST_SECONDS, MOST_USD
from rdstudy.study.checks import fail, in_order, items, number, one_of, repeated, set_field, shown, single, whole

INITIALIZATIONS = ("default", "he")
PRECISIONS = ("float32", "tf32")
GPU_MODELS = ("A10G", "L4", "A100", "H100", "H200")
"""The GPUs whose speeds a plan knows, see `rdstudy.planning.cards`."""

_LEAST_SHARE = 1 / 1024  # of a GPU: no trial asks for less


RECIPE_CHECKS: Mapping[str, Callable[[str, object], Any]] = {
    "optimizer": parts.check("optimizer"),
    "learning_rate": lambda where, value: single(where, value, zero=False),
    "batch_size": lambda where, value: whole(where, value, least=1, most=MOST["batch_size"]),
    "steps": lambda where, value: whole(where, value, least=1, most=MOST["steps"]),
    "schedule": parts.check("schedule"),
    "initialization": one_of(INITIALIZATIONS),
    "weight_decay": lambda where, value: single(where, value, zero=True),
    "precision": one_of(PRECISIONS),
}
"""By field of `Recipe`, each a factor too: returns the value as it is kept; a ValueError says what is allowed."""


@dataclass(frozen=True)
class Recipe:
    """How members are trained where a grid does not say otherwise (paper, 4.3): each field is a factor, too.

    Attributes:
        optimizer: such as `adam`, `adamw`, `sgd(momentum=0.9)`: a file of `rdstudy.training.optimizers`, or
            `part(...)`.
        learning_rate: of the first step, or after the schedule's warm-up.
        batch_size: images of a step.
        steps: of training.
        schedule: of the learning rate, such as `constant`, `cosine`, falling along half a cosine, almost to 0 at the
            end, `cosine(warmup=500)`, `step_decay(every=1000)`: a file of `rdstudy.training.schedules`, or
            `part(...)`.
        initialization: of weights: `default`, PyTorch's own, or `he` (He et al. 2015), with which deep networks of this
            kind learn much faster.
        weight_decay: of all weights, those of the prior too; its meaning is the optimizer's.
        precision: of the products and convolutions of a step: `float32`, or `tf32`, whose operands have 10 bits behind
            the point, but for the layers at the latent code, see `rdstudy.training.precision`. Measures are float32. In
            TF32 a single model ends elsewhere, by about a standard deviation over seeds; means are not known to move,
            nor to stay.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 128
    steps: int = 257_000
    schedule: str = "constant"
    initialization: str = "default"
    weight_decay: float = 0.0
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name, check in RECIPE_CHECKS.items():
            set_field(self, name, check(f"recipe.{name}", getattr(self, name)))
        parts.check_steps("schedule", "recipe.schedule", self.schedule, self.steps)


@dataclass(frozen=True)
class Evaluation:
    """What is measured, and on how many images.

    Attributes:
        trajectory_points: steps at which rate and distortion are measured on the way: of 8 or more, half are spaced
            evenly, so that early stopping and the last quarter of training are seen closely, and half in log(step).
        trajectory_images: images of each subset, a fixed random sample, on which they are measured.
        final_images: images of each subset for the values after training; None for all of them.
        validation_images: images of the test subset that are set apart for early stopping; 0 for no early stopping.
            At each point of the trajectory the objective D + βR is measured on them, and the weights of the best
            point are measured after training beside the last ones.
    """

    trajectory_points: int = 40
    trajectory_images: int = 2_000
    final_images: int | None = None
    validation_images: int = 0

    def __post_init__(self) -> None:
        _set_counts(self, "evaluation", {"trajectory_points": 1, "trajectory_images": 1, "validation_images": 0})
        _set_counts(self, "evaluation", {"final_images": 1}, none=True)


MEASURES = (
    "rate_parts",
    "batch_rate_parts",
    "cross_rate",
    "active_units",
    "log_marginal",
    "optimal_decoder",
    "memorization",
    "probe",
    "reconstructions",
    "closed_form",
)
"""What is measured after training beyond rate and distortion where a study does not say, a file each of
`rdstudy.measuring.measures`, in the order in which they are taken."""

MEASURES_VERSION = 2
"""Raised by hand when a change to the code changes what a measure says. Part of every `measures_id`, so that rows of
another version are never mixed with new ones."""


@dataclass(frozen=True)
class Measures:
    """What is measured after training beyond rate and distortion, and on how many images of each subset.

    It changes no member: the weights of members that were kept can be measured again with other settings.

    Attributes:
        names: each a file of `rdstudy.measuring.measures`, or of one's own, `part(...)`, see `rdstudy.measuring.own`.
        aggregate_images: test images in their aggregate posterior q(z), a fixed random sample; None for all. That of
            the training images is always of all of them.
        latent_samples: draws of z, each of another image, for the parts of the rate.
        importance_images: images of each subset on which log p(x) is estimated, with a proposal fitted to each.
        importance_samples: draws of z for each of them, K; images whose weights ask for more get more.
        refit_steps: steps of Adam of the posterior that is fitted to each of them under the frozen decoder.
        memorization_images: test images whose reconstructions are compared with the training images, and with as many
            images that were never trained on.
        neighbour_images: test images whose nearest training image is found, once for a split.
        probe_images: images of the data set, the same for all splits, whose log p(x) is stored one by one.
        reconstruction_images: test images whose reconstructions are stored, the hard example first.
        annealing: factor -> levels: the members on which log p(x) is certified by annealed importance sampling, those
            whose settings are among these; None for no members. Slow.
        annealing_images: images simulated for it from each of these members.
        annealing_temperatures: steps of its path from the prior to the posterior.
    """

    names: Sequence[str] = MEASURES
    aggregate_images: int | None = None
    latent_samples: int = 1_000
    importance_images: int = 200
    importance_samples: int = 1_000
    refit_steps: int = 60
    memorization_images: int = 500
    neighbour_images: int = 1_000
    probe_images: int = 100
    reconstruction_images: int = 4
    annealing: Mapping[str, Sequence[Any]] | None = None
    annealing_images: int = 16
    annealing_temperatures: int = 1_000

    def __post_init__(self) -> None:
        allowed = f"a list of {', '.join(parts.names('measure'))}"
        names = items("measures.names", self.names, most=MOST_MEMBERS, allowed=allowed)
        checked = {parts.check("measure")("measures.names", name) for name in names}
        known = {name: at for at, name in enumerate(MEASURES)}
        set_field(self, "names", tuple(sorted(checked, key=lambda name: (known.get(name, len(known)), name))))
        if (twice := repeated(self.own_names)) is not None:
            raise fail("measures.names", twice, "measures of one's own with different names")
        counts = [each.name for each in dataclasses.fields(self) if isinstance(each.default, int)]
        _set_counts(self, "measures", dict.fromkeys(counts, 1))
        _set_counts(self, "measures", {"aggregate_images": 1}, none=True)
        if self.annealing is not None:
            set_field(self, "annealing", _annealing(self.annealing))

    @property
    def own(self) -> tuple[str, ...]:
        """The levels that are a user's own measures."""
        return tuple(name for name in self.names if parts.is_own(name))

    @property
    def own_names(self) -> tuple[str, ...]:
        """Their names in tables and claims."""
        return tuple(map(parts.short_name, self.own))

    @property
    def measures_id(self) -> str:
        """16 hex digits: a hash of these settings and of `MEASURES_VERSION`."""
        settings = {"version": MEASURES_VERSION, **dataclasses.asdict(self)}
        text = json.dumps(settings, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _annealing(given: object) -> dict[str, list[Any]]:
    """Factor -> levels, as plain data; whether the factors and levels exist is seen when members are made."""
    where, allowed = "measures.annealing", "a dictionary, factor -> levels, such as {'beta': [1], 'seed': [0]}"
    if not isinstance(given, Mapping):
        raise fail(where, given, allowed)
    plain: dict[str, list[Any]] = {}
    for factor, levels in given.items():
        if isinstance(levels, str | bytes | Mapping) or not isinstance(levels, Iterable):
            raise fail(where, given, allowed)
        listed = items(f"{where}: {shown(factor)}", levels, most=MOST_MEMBERS, allowed="a list of levels")
        if not listed:
            raise fail(f"{where}: {shown(factor)}", levels, "one level or more")
        plain[str(factor)] = list(in_order(levels, [_plain_level(where, level) for level in listed]))
    return plain


def _plain_level(where: str, level: object) -> str | int | float:
    """A level as JSON has it: a NumPy scalar becomes Python's, and Python's own stay as they are, for `measures_id`."""
    level = level.item() if hasattr(level, "item") and getattr(level, "shape", None) == () else level
    is_infinite = isinstance(level, float) and not math.isfinite(level)
    if isinstance(level, bool) or not isinstance(level, str | int | float) or is_infinite:
        raise fail(where, level, "levels that are finite numbers or names")
    return level


def _set_counts(instance: object, part: str, least: Mapping[str, int], *, none: bool = False) -> None:
    """Check whole numbers of a part of the settings: name -> the least; with `none`, None is allowed too."""
    for name, bound in least.items():
        value = getattr(instance, name)
        if value is not None or not none:
            set_field(instance, name, whole(f"{part}.{name}", value, least=bound, most=MOST[name]))


@dataclass(frozen=True)
class Resources:
    """How a study is run. Nothing here changes a member's numbers on a CPU.

    Attributes:
        cpus: CPU cores of a trial; the arithmetic of a member on a CPU uses one thread.
        gpus: share of one GPU that a trial takes: 0, 1, or 1/k; "auto" for the largest share of use to each pack: half
            a GPU, so that one pack trains while another is measured; less, down to 1/8, where a pack does not fill
            half; a whole GPU where it fits into no less.
        pack_size: members in a pack; None for one on a CPU, and on a GPU for as many members of a cell, 60 at most,
            as are estimated to fit into the trial's share of its memory.
        checkpoint_seconds: time between two checkpoints; longer where they would take more than 2 % of it.
        gpu_model: the GPU that trains, A10G, L4, A100, H100 or H200, from whose data sheet a plan takes speed and
            memory; None for this machine's first GPU, or an A10G where there is none.
        gpu_memory_gib: memory of one GPU, GiB; None for that of `gpu_model`, else of this machine's first GPU, or 16
            where there is none.
        evaluation_memory_gib: memory within which a pack is measured on a GPU, GiB, beside its parameters: as many
            members at a time as fit, one at least. The values do not depend on it, up to rounding. A member that is
            trained alone is always measured 1,024 images at a time: 0.1 GiB for an MLP and 0.2 GiB for a CNN of the
            paper's sizes.
        keep_weights: whether the weights of every member are stored, so that more can be measured later.
        devices: on how many to plan, GPUs, or CPU cores where `gpus` is 0: packs on GPUs are made small enough that
            the last of them end at about the same time. None for all that this machine or the cluster has, and packs
            as large as fit.
        price: USD for one device for one hour; None where nothing is paid, and no price is shown.
    """

    cpus: int = 1
    gpus: float | str = 0.0
    pack_size: int | None = None
    checkpoint_seconds: float = 60.0
    gpu_model: str | None = None
    gpu_memory_gib: float | None = None
    evaluation_memory_gib: float = 2.0
    keep_weights: bool = False
    devices: int | None = None
    price: float | None = None

    def __post_init__(self) -> None:
        _set_counts(self, "resources", {"cpus": 1})
        _set_counts(self, "resources", {"pack_size": 1, "devices": 1}, none=True)
        set_field(self, "gpus", _gpus(self.gpus))
        if self.gpu_model is not None:
            set_field(self, "gpu_model", one_of(GPU_MODELS)("resources.gpu_model", self.gpu_model))
        for name, most, zero in _AMOUNTS:
            value = getattr(self, name)
            if value is not None or getattr(Resources, name) is not None:
                set_field(self, name, number(f"resources.{name}", value, zero=zero, most=most))
        if not isinstance(self.keep_weights, bool):
            raise fail("resources.keep_weights", self.keep_weights, "True or False")


_AMOUNTS = (
    ("checkpoint_seconds", MOST_SECONDS, True),
    ("gpu_memory_gib", MOST_GIB, False),
    ("evaluation_memory_gib", MOST_GIB, False),
    ("price", MOST_USD, True),
)
"""Finite numbers of `Resources`: the most, and whether they may be 0. Those without a default may be None."""


def _gpus(value: object) -> float | str:
    if isinstance(value, str) and value == "auto":
        return value
    allowed = '0, 1, or 1/k for a whole k, or "auto"'
    if isinstance(value, str) and re.fullmatch(r"1/[1-9][0-9]{0,17}", value):  # as --set has it
        value = 1 / int(value[2:])
    try:
        gpus = number("resources.gpus", value, zero=True)
    except ValueError:
        raise fail("resources.gpus", value, allowed) from None
    if not (gpus == 0 or _LEAST_SHARE <= gpus <= 1) or (gpus and abs(1 / gpus - round(1 / gpus)) > 0.05):
        raise fail("resources.gpus", value, allowed)
    return gpus if gpus == 0 else 1 / round(1 / gpus)


MEANINGS: Mapping[tuple[str, Any], str] = {
    ("evaluation.final_images", None): "all",
    ("evaluation.validation_images", 0): "0, no early stopping",
    ("measures.aggregate_images", None): "all",
    ("measures.annealing", None): "off",
    ("resources.gpus", "auto"): "automatic, the largest share of a GPU that is of use to a pack",
    ("resources.gpus", 0.0): "0, on CPUs",
    ("resources.pack_size", None): "automatic, one model on a CPU, on a GPU as many as fit",
    ("resources.gpu_model", None): "automatic, the first GPU",
    ("resources.gpu_memory_gib", None): "automatic, that of the GPU",
    ("resources.devices", None): "all there are",
    ("resources.price", None): "none given",
}
"""(setting, value) -> what that value means, where it does not say so itself. None means off where nothing is said."""
