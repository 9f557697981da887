"""A member that is being measured: its network, images, noise and rows as they fill."""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rdstudy.measures.estimate import Estimate
from rdstudy.measures.prior import LogPrior
from rdstudy.measuring.group import Group
from rdstudy.measuring.held_images import HeldImages
from rdstudy.measuring.stacked import StackedVae
from rdstudy.model.gaussian import Posterior
from rdstudy.model.likelihoods import likelihood
from rdstudy.model.networks import load_weights
from rdstudy.planning.packs import BLOCK_IMAGES, cost_of
from rdstudy.study import Measures, Member
from rdstudy.study.seeds import derive_seed
from rdstudy.study.settings import MEASURES_VERSION
from rdstudy.training.subsets import Sample, Subsets, sample_of, to_unit
from rdstudy.training.trainer import network_of

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Measuring:
    """What to measure of the members of one split."""

    measures: Measures
    hard_image: int | None = None  # index in the data set of the split's hard example, if it is known


@dataclass
class MeasureRows:
    """Rows by table, without provenance; filled as members are measured."""

    measures: list[dict[str, Any]] = field(default_factory=list)
    own_measures: list[dict[str, Any]] = field(default_factory=list)
    probes: list[dict[str, Any]] = field(default_factory=list)
    reconstructions: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)


class TrainedMember:
    """A member that is being measured, and its rows as they fill."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        member: Member,
        subsets: Subsets,
        measuring: Measuring,
        *,
        device: torch.device,
        memory_bytes: float,
        held: HeldImages | None = None,
    ) -> None:
        self.vae = load_weights(network_of(member, subsets.image_shape), weights, device=device)
        self.likelihood = likelihood(member.likelihood)
        self.member, self.subsets = member, subsets
        self.measures, self.hard_image = measuring.measures, measuring.hard_image
        self.device, self.memory_bytes = device, memory_bytes
        self.held = held or HeldImages(subsets, device, memory_bytes=memory_bytes)
        self.group: Group[TrainedMember] | None = None
        self.seconds = 0.0
        self._posteriors: dict[str, Posterior] = {}
        self.columns: dict[str, dict[str, Any]] = {"train": {}, "test": {}}
        self.reasons: dict[str, list[str]] = {"train": [], "test": []}
        self.own: list[dict[str, Any]] = []
        self.probes: list[dict[str, Any]] = []
        self.reconstructions: list[dict[str, Any]] = []
        self.samples: list[dict[str, Any]] = []

    @functools.cached_property
    def log_prior(self) -> LogPrior | None:
        """What measures ask of the prior in use; None for N(0, I)."""
        vae = self.vae
        return None if vae.prior.is_standard_normal else lambda z: vae.prior.log_density(z, vae.encoder)

    def attempt(self, name: str, measure: "Measure", subsets: Sequence[str]) -> None:
        """Take a measure on some subsets; a reason in the row where it cannot be taken."""
        for subset in subsets:
            try:
                measure(self, subset)
            except ValueError as error:
                self.reasons[subset].append(f"{name}: {' '.join(str(error).split())}")
            except Exception as error:  # a measure that breaks must not take the trained member with it
                logger.exception("measure %s of member %s on %s failed", name, self.member.member_id, subset)
                self.reasons[subset].append(f"{name}: {type(error).__name__}: {' '.join(str(error).split())}")

    def shared(self, key: str, compute: Callable[[Sequence["TrainedMember"]], Sequence[T]]) -> T:
        """What is computed for all members of its group at once, see `Group.shared`; for it alone where it has none."""
        return compute([self])[0] if self.group is None else self.group.shared(self, key, compute)

    def put(self, subset: str, **estimates: Estimate) -> None:
        """Note estimates with their standard errors."""
        for name, estimate in estimates.items():
            self.columns[subset][name] = estimate.value
            self.columns[subset][f"{name}_se"] = estimate.standard_error if estimate.samples > 1 else None

    def finish(self, rows: MeasureRows) -> None:
        """Add what was measured to the rows."""
        common = {"member_id": self.member.member_id, "measures_id": self.measures.measures_id}
        version = {"measures_version": MEASURES_VERSION}
        for subset, columns in self.columns.items():
            reasons = " | ".join(self.reasons[subset]) or None
            whole = {"subset": subset, "measure_seconds": self.seconds, "null_reasons": reasons}
            rows.measures.append(common | version | whole | columns)
        rows.own_measures += [common | row for row in self.own]
        common |= {"dataset": self.member.dataset}
        rows.probes += [common | row for row in self.probes]
        rows.reconstructions += [common | row for row in self.reconstructions]
        rows.samples += [common | row for row in self.samples]

    def generator(self, purpose: str) -> torch.Generator:
        """Noise for a purpose, drawn on the device: equal for members of one seed."""
        return torch.Generator(self.device).manual_seed(derive_seed(self.member.seed, f"measure {purpose}"))

    def noise(self, samples: int, purpose: str) -> Tensor:
        """Standard normal noise `[sample, latent]`."""
        generator = self.generator(purpose)
        return torch.randn(samples, self.member.latent_dim, generator=generator, device=self.device)

    def chosen(self, images: int, size: int, purpose: str) -> Tensor:
        """Random positions, distinct and in random order, by the study's seed; int64 `[size]`, at most `[images]`."""
        generator = torch.Generator().manual_seed(derive_seed(self.member.study_seed, f"measure {purpose}"))
        return torch.randperm(images, generator=generator)[:size].to(self.device)

    def sample(self, subset: str, size: int, purpose: str) -> Sample:
        """A random sample of a subset, by the study's seed."""
        return sample_of(self.subsets.whole[subset], size, f"{purpose} {subset}", self.member.study_seed)

    def images(self, index: NDArray[np.int64]) -> Tensor:
        """Images of the data set, uint8 `[image, pixel]`, on the device."""
        return self.held.at(index)

    def encode(self, pixels: Tensor) -> Posterior:
        """The posteriors of images, uint8 `[image, pixel]`."""
        return Posterior.from_code(self.vae.encoder(to_unit(pixels)))

    @property
    def train_images(self) -> Tensor:
        """The whole training subset on the device, uint8 `[image, pixel]`."""
        return self.held.train

    def posterior(self, subset: str) -> Posterior:
        """The posteriors of the images in a subset's aggregate, `[image, latent]`."""
        if subset not in self._posteriors:
            size = self.measures.aggregate_images
            whole = self.subsets.whole[subset]
            sample = whole if subset == "train" or size is None else self.sample(subset, size, "aggregate")
            key = f"posterior {subset}"
            self._posteriors[subset] = self.shared(key, lambda members: _posteriors(members, sample.index))
        return self._posteriors[subset]

    def reconstruct(self, pixels: Tensor) -> Tensor:
        """The decoder's mean for the posterior's mean of each image, `[image, pixel]` in [0, 1]."""
        return self.likelihood.mean(self.vae.decoder(self.encode(pixels).mean)).clamp(0, 1)


def _posteriors(members: Sequence[TrainedMember], index: NDArray[np.int64]) -> list[Posterior]:
    """The posteriors of images for each of some members; on a CPU for one at a time, whose bits depend on blocks."""
    first = members[0]
    if len(members) == 1:
        parts = [first.encode(block) for block in first.held.blocks(index)]
        return [Posterior(torch.cat([part.mean for part in parts]), torch.cat([part.log_var for part in parts]))]
    encode = StackedVae([member.vae for member in members]).encode
    cost = cost_of(first.member, first.subsets.image_shape)
    number_bytes = len(members) * torch.get_default_dtype().itemsize
    size = max(1, int(first.memory_bytes / (number_bytes * cost.evaluation_numbers)))
    with torch.no_grad():
        codes = [encode(to_unit(block)) for block in first.held.blocks(index, size=min(size, BLOCK_IMAGES))]
        return [Posterior.from_code(code) for code in torch.cat(codes, dim=1)]


Measure = Callable[[TrainedMember, str], None]
"""Takes a measure of a member on a subset, and notes it."""
