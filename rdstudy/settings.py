"""How members are trained, what is measured and what a trial asks for: the settings of a study.

Frozen data, standard library alone. `rdstudy.study` hands them on: a study file needs no other import.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rdstudy.checks import fail, number, one_of, set_field, whole

OPTIMIZERS = ("adam",)
INITIALIZATIONS = ("default", "he")
SCHEDULES = ("constant", "cosine")

_LEAST_SHARE = 1 / 1024  # of a GPU: no trial asks for less


@dataclass(frozen=True)
class Recipe:
    """How a member is trained (paper, 4.3).

    Attributes:
        optimizer: Adam, with its usual moments.
        learning_rate: of the first step.
        batch_size: images of a step.
        steps: of training.
        schedule: of the learning rate: `constant`, or `cosine`, falling along half a cosine, almost to 0 at the end.
        initialization: of weights: `default`, PyTorch's own, or `he` (He et al. 2015), with which deep networks of this
            kind learn much faster.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 128
    steps: int = 257_000
    schedule: str = "constant"
    initialization: str = "default"

    def __post_init__(self) -> None:
        one_of(OPTIMIZERS)("recipe.optimizer", self.optimizer)
        one_of(SCHEDULES)("recipe.schedule", self.schedule)
        one_of(INITIALIZATIONS)("recipe.initialization", self.initialization)
        set_field(self, "learning_rate", number("recipe.learning_rate", self.learning_rate, zero=False))
        set_field(self, "batch_size", whole("recipe.batch_size", self.batch_size, least=1))
        set_field(self, "steps", whole("recipe.steps", self.steps, least=1))


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
        set_field(self, "trajectory_points", whole("evaluation.trajectory_points", self.trajectory_points, least=1))
        set_field(self, "trajectory_images", whole("evaluation.trajectory_images", self.trajectory_images, least=1))
        if self.final_images is not None:
            set_field(self, "final_images", whole("evaluation.final_images", self.final_images, least=1))
        set_field(self, "validation_images", whole("evaluation.validation_images", self.validation_images, least=0))


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
"""What can be measured after training beyond rate and distortion, see `rdstudy.training.measuring.pieces`."""

MEASURES_VERSION = 2
"""Raised by hand when a change to the code changes what a measure says. Part of every `measures_id`, so that rows of
another version are never mixed with new ones."""


@dataclass(frozen=True)
class Measures:
    """What is measured after training beyond rate and distortion, and on how many images of each subset.

    It changes no member: the weights of members that were kept can be measured again with other settings.

    Attributes:
        names: of `MEASURES`.
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
        if isinstance(self.names, str) or not isinstance(self.names, Iterable):
            raise fail("measures.names", self.names, f"a list of {', '.join(MEASURES)}")
        for name in self.names:
            one_of(MEASURES)("measures.names", name)
        set_field(self, "names", tuple(name for name in MEASURES if name in self.names))
        if self.aggregate_images is not None:
            set_field(self, "aggregate_images", whole("measures.aggregate_images", self.aggregate_images, least=1))
        for name in _MEASURE_COUNTS:
            set_field(self, name, whole(f"measures.{name}", getattr(self, name), least=1))
        if self.annealing is not None:
            set_field(self, "annealing", _annealing(self.annealing))

    @property
    def measures_id(self) -> str:
        """16 hex digits: a hash of these settings and of `MEASURES_VERSION`."""
        settings = {"version": MEASURES_VERSION, **dataclasses.asdict(self)}
        text = json.dumps(settings, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


_MEASURE_COUNTS = (
    "latent_samples",
    "importance_images",
    "importance_samples",
    "refit_steps",
    "memorization_images",
    "neighbour_images",
    "probe_images",
    "reconstruction_images",
    "annealing_images",
    "annealing_temperatures",
)


def _annealing(given: object) -> dict[str, list[Any]]:
    """Factor -> levels, as plain data; whether the factors exist is seen when members are made."""
    allowed = "a dictionary, factor -> levels, such as {'beta': [1], 'seed': [0]}"
    if not isinstance(given, Mapping):
        raise fail("measures.annealing", given, allowed)
    for levels in given.values():
        if isinstance(levels, str) or not isinstance(levels, Iterable):
            raise fail("measures.annealing", given, allowed)
    return {str(factor): list(levels) for factor, levels in given.items()}


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
    gpu_memory_gib: float | None = None
    evaluation_memory_gib: float = 2.0
    keep_weights: bool = False
    devices: int | None = None
    price: float | None = None

    def __post_init__(self) -> None:
        set_field(self, "cpus", whole("resources.cpus", self.cpus, least=1))
        set_field(self, "gpus", _gpus(self.gpus))
        if self.pack_size is not None:
            set_field(self, "pack_size", whole("resources.pack_size", self.pack_size, least=1))
        set_field(
            self, "checkpoint_seconds", number("resources.checkpoint_seconds", self.checkpoint_seconds, zero=True)
        )
        if self.gpu_memory_gib is not None:
            set_field(self, "gpu_memory_gib", number("resources.gpu_memory_gib", self.gpu_memory_gib, zero=False))
        bound = number("resources.evaluation_memory_gib", self.evaluation_memory_gib, zero=False)
        set_field(self, "evaluation_memory_gib", bound)
        if not isinstance(self.keep_weights, bool):
            raise fail("resources.keep_weights", self.keep_weights, "True or False")
        if self.devices is not None:
            set_field(self, "devices", whole("resources.devices", self.devices, least=1))
        if self.price is not None:
            set_field(self, "price", number("resources.price", self.price, zero=True))


def _gpus(value: object) -> float | str:
    if isinstance(value, str) and value == "auto":
        return value
    allowed = '0, 1, or 1/k for a whole k, or "auto"'
    if isinstance(value, str) and re.fullmatch(r"1/[1-9]\d*", value):  # as --set has it
        value = 1 / int(value[2:])
    try:
        gpus = number("resources.gpus", value, zero=True)
    except ValueError:
        raise fail("resources.gpus", value, allowed) from None
    if not (gpus == 0 or _LEAST_SHARE <= gpus <= 1) or (gpus and abs(1 / gpus - round(1 / gpus)) > 0.05):
        raise fail("resources.gpus", value, allowed)
    return gpus if gpus == 0 else 1 / round(1 / gpus)
