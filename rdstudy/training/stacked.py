"""The stacked path: the members of a pack along a leading axis, one step for all. It is the faster one on a GPU.

The networks are the ordinary modules of `rdstudy.model.networks`, mapped over stacked parameters by `torch.func`, so
that any pair of modules can be stacked. Axis order: `member, batch`, then features. Members of one seed read the same
images, batches and noise; the images of a seed are gathered once for all its members.

On a GPU the networks and the element-wise work around them are compiled, and the step is replayed as a CUDA graph,
see `rdstudy.training.step_modes`. Therefore a step reads its inputs and its number from buffers that keep their place.
Networks of fully connected layers can be trained by kernels of this project, see `rdstudy.training.dense_step`.
"""

import copy
import dataclasses
import functools
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rdstudy.model.architectures import describe
from rdstudy.model.likelihoods import likelihood
from rdstudy.model.networks import VAE, NetworkShape
from rdstudy.model.objective import ForwardPass, Network, PriorTerms, cotangents, forward, measure
from rdstudy.model.patches import convolve_patches
from rdstudy.planning.packs import CHUNK_STEPS, GIB, cost_of, members_at_once
from rdstudy.study import Member, Resources
from rdstudy.study.words import one_line
from rdstudy.training.dense_step import DenseStep, Shared, reason_against
from rdstudy.training.draws import BatchDraws, NoiseDraws, seeded_noise
from rdstudy.training.gradients import take_gradients
from rdstudy.training.objectives import objective
from rdstudy.training.process import is_out_of_memory
from rdstudy.training.stacked_optimizer import StackedOptimizer, corrected_rates
from rdstudy.training.step_modes import CPU_MODES, GPU_MODES, WARM_UP_STEPS, Replayed, Step, StepMode
from rdstudy.training.subsets import to_unit
from rdstudy.training.trainer import Measured, network_of

logger = logging.getLogger(__name__)

_FINITE = -1  # of a member that has not been seen to be anything else


class StackedTrainer:
    """Members of one stack that take their steps together. Implements `rdstudy.training.trainer.Trainer`.

    Args:
        members: that differ in numbers that enter a step as tensors alone, see `Member.stack`.
        train: uint8 `[image, pixel]`, the training subset.
        image_shape: channel, row, column.
        device: where they train; the training subset is kept there.
        evaluation_bytes: bound on the memory of a measurement beside the parameters: as many members at a time as
            fit, one at least. Values do not depend on it, up to rounding.
        modes: of taking a step, the best first: the next is tried when one cannot be used on this machine.
    """

    def __init__(
        self,
        members: Sequence[Member],
        train: Tensor,
        *,
        image_shape: tuple[int, int, int],
        device: torch.device,
        evaluation_bytes: float = Resources.evaluation_memory_gib * GIB,
        modes: Sequence[StepMode] | None = None,
    ) -> None:
        self.members = tuple(members)
        first = self.members[0]
        assert all(member.stack == first.stack for member in self.members), "members of a pack differ in tensors alone"
        self._likelihood, self._objective = likelihood(first.likelihood), objective(first.objective)
        self.device = device
        self._evaluation_bytes = evaluation_bytes
        self._train = train.to(device)
        self._seeds = tuple(dict.fromkeys(member.seed for member in self.members))
        of_seed = [self._seeds.index(member.seed) for member in self.members]
        self._seed_of_member = torch.tensor(of_seed, device=device)
        self._beta = torch.tensor([member.beta for member in self.members], device=device)[:, None, None]
        networks = [network_of(dataclasses.replace(first, seed=seed), image_shape) for seed in self._seeds]
        self._vae, self._tensors = networks[0], _stack(networks, of_seed, device)
        self._prior_terms = self._vae.prior_terms
        self.parameters = {name: self._tensors[name].requires_grad_() for name, _ in self._vae.named_parameters()}
        self._cost = cost_of(first, image_shape)
        self.parameter_count = sum(stacked[0].numel() for stacked in self.parameters.values())
        on_gpu = device.type == "cuda"
        self._optimizer = StackedOptimizer(self.members, list(self.parameters.values()))
        scale, steps = self._objective.scale, first.recipe.steps
        self._scales = torch.tensor(
            [] if scale is None else [scale(step, steps) for step in range(steps)], device=device
        )
        batch, latent = first.recipe.batch_size, first.latent_dim
        self._batches = [
            BatchDraws(seed=seed, images=len(train), batch_size=batch, device=device) for seed in self._seeds
        ]
        self._noise = [
            NoiseDraws(seed=seed, batch_size=batch, latent_dim=latent, device=device) for seed in self._seeds
        ]
        self._kept: dict[str, Tensor] = {}
        self._nonfinite = torch.full((len(self.members),), _FINITE, device=device)
        seeds = len(self._seeds)
        self._chunk_index = torch.zeros(CHUNK_STEPS, seeds, batch, dtype=torch.int64, device=device)
        self._chunk_noise = torch.zeros(CHUNK_STEPS, seeds, batch, latent, device=device)
        self._at = torch.zeros(1, dtype=torch.int64, device=device)  # of the next step in the chunk
        self._step_number = torch.zeros((), dtype=torch.int64, device=device)
        self._image_shape = image_shape
        self._modes = self._usable(modes or (GPU_MODES if on_gpu else CPU_MODES))
        self._use_mode()

    def _usable(self, modes: Sequence[StepMode]) -> list[StepMode]:
        """Those that members of this kind can use: modes without kernels, always."""
        reason = reason_against(self.members[0], self._image_shape)
        if reason is not None and any(mode.kernels for mode in modes):
            logger.info("kernels of this project are not used: %s", reason)
        return [mode for mode in modes if reason is None or not mode.kernels]

    def _use_mode(self) -> None:
        """Prepare for taking steps in the first mode; what was compiled or captured before is forgotten."""
        mode = self._modes[0]
        self.step_mode = f"stacked, {mode.name}"
        if mode.backend:
            torch.compiler.reset()  # or the compiler gives up after a few packs in one process
        self._networks = convolve_patches(copy.deepcopy(self._vae)) if mode.patches else self._vae
        self._forward = _compiled(self._forward_pass, mode.backend)
        self._cotangents = _compiled(cotangents, mode.backend)
        self._read_inputs = _compiled(self._inputs, mode.backend)
        self._note = _compiled(self._note_nonfinite, mode.backend)
        self._dense: DenseStep | None = None
        step = self._dense_step if mode.kernels else self._step
        self._take: Step = step if mode.capture is None else Replayed(step, mode.capture)
        self._taken = 0

    def _take_step(self) -> None:
        """Take a step in the best mode that works here."""
        while True:
            try:
                self._take()
            except Exception as error:
                if self._taken > WARM_UP_STEPS or len(self._modes) == 1 or is_out_of_memory(error):
                    raise
                logger.warning(
                    "a training step cannot be taken by %s; a slower mode is used. %s: %s",
                    self._modes.pop(0).name,
                    type(error).__name__,
                    one_line(error)[:500],
                )
                self._optimizer.zero_grad()
                self._use_mode()
            else:
                self._taken += 1
                return

    @property
    def nonfinite_steps(self) -> tuple[int | None, ...]:
        """Per member: the first step whose forward pass was not finite, counted from 0, or None."""
        return tuple(None if step == _FINITE else step for step in self._nonfinite.tolist())

    def advance(self, first_step: int, steps: int) -> None:
        """Take training steps; members that are not finite drag on without touching the others."""
        end = first_step + steps
        self._step_number.fill_(first_step)
        while first_step < end:
            noise = torch.stack([draws.chunk(first_step)[: end - first_step] for draws in self._noise], dim=1)
            batches = torch.stack([draws.batches(first_step, len(noise)) for draws in self._batches], dim=1)
            self._chunk_noise[: len(noise)].copy_(noise)
            self._chunk_index[: len(noise)].copy_(batches)
            self._at.zero_()
            for _ in range(len(noise)):
                self._take_step()
            first_step += len(noise)

    def _step(self) -> None:
        """One step for all members, from the buffers alone: nothing here may come from the host."""
        images, noise = self._read_inputs()
        x = images.of_members
        outputs = self._forward(self._tensors, x, noise)
        take_gradients(
            self._objective,
            outputs,
            x,
            beta=self._strength(),
            step=self._step_number,
            steps=self.members[0].recipe.steps,
            images=len(self._train),
            likelihood=self._likelihood,
            cotangents=self._cotangents,
        )
        self._note(outputs.code.detach())
        self._optimizer.step(self._step_number)
        self._at.add_(1)
        self._step_number.add_(1)

    def _dense_step(self) -> None:
        """The same for fully connected networks, by `rdstudy.training.dense_step`."""
        if self._dense is None:
            self._dense = self._make_dense_step()
        images, noise = self._read_inputs()
        done = self._dense.gradients(images, noise, self._strength())
        self._note(done.code)
        self._dense.train(images, done, self._optimizer.rates(self._step_number, self._corrected))
        self._at.add_(1)
        self._step_number.add_(1)

    def _make_dense_step(self) -> DenseStep:
        """Made in the first step, whose failure is a reason for the next mode.

        Raises:
            ImportError: Triton is not there.
            RuntimeError: kernels do not do on this device what they are to do.
        """
        from rdstudy.training.dense_kernels import Kernels

        first, backend = self.members[0], self._modes[0].backend
        description = describe(NetworkShape.of(first, self._image_shape))
        assert description is not None, "the mode is usable"
        self._corrected = _compiled(corrected_rates, backend)
        step = DenseStep(
            description,
            self.parameters,
            dict(zip(self.parameters, self._optimizer.moments(), strict=True)),
            adam=self._optimizer.adam,
            latent_dim=first.latent_dim,
            likelihood=self._likelihood,
            operations=Kernels(max(len(self.members), 2), self.device, is_tf32=first.recipe.precision == "tf32"),
            has_products=self._modes[0].kernels == "all",
            compiled=functools.partial(_compiled, backend=backend),
        )
        step.check(first.recipe.batch_size)
        return step

    def _inputs(self) -> tuple[Shared, Tensor]:
        """Images of the next step, and the noise of each member."""
        index = self._chunk_index.index_select(0, self._at).squeeze(0)  # [seed, batch]
        noise = self._chunk_noise.index_select(0, self._at).squeeze(0)  # [seed, batch, latent]
        rows = self._train.index_select(0, index.flatten()).view(*index.shape, -1)
        return Shared(to_unit(rows), self._seed_of_member), noise.index_select(0, self._seed_of_member)

    def _strength(self) -> Tensor:
        """Of the rate term at the next step, `[member, 1, 1]`."""
        if self._objective.scale is None:
            return self._beta
        return self._beta * self._scales.index_select(0, self._step_number.view(1))

    def _note_nonfinite(self, code: Tensor) -> None:
        """Note the step of members that are finite no more."""
        finite = torch.isfinite(code).flatten(1).all(dim=1)
        newly = ~finite & (self._nonfinite == _FINITE)
        self._nonfinite.copy_(torch.where(newly, self._step_number, self._nonfinite))

    def weights(self, at: int) -> dict[str, Tensor]:
        """The present weights of one member, views of the stacked ones."""
        names = self._vae.state_dict()  # without buffers that are made anew with each network
        return {name: _turned(self._tensors[name].detach()[at : at + 1])[0] for name in names}

    def _forward_pass(self, tensors: dict[str, Tensor], x: Tensor, noise: Tensor) -> ForwardPass:
        encode = _mapped(self._networks.encoder, _part(tensors, "encoder."), 0)
        decode = _mapped(self._networks.decoder, _part(tensors, "decoder."), 0)
        return forward(encode, decode, x, noise, _mapped_prior(self._prior_terms, tensors))

    def keep(self, chosen: Sequence[bool]) -> None:
        """Keep the present weights of these members beside those that go on being trained."""
        is_chosen = torch.tensor(chosen, device=self.device)
        if not self._kept:
            self._kept = {name: torch.zeros_like(stacked.detach()) for name, stacked in self._tensors.items()}
        for name, stacked in self._tensors.items():
            self._kept[name][is_chosen] = stacked.detach()[is_chosen]

    def measure(self, blocks: Iterable[Tensor], *, purpose: str, kept: bool = False) -> Measured:
        """Mean rate and distortion over images given in blocks, uint8 `[block, pixel]`."""
        tensors = self._kept if kept else self._tensors
        self._vae.eval()
        generator = torch.Generator(self.device)
        sums = torch.zeros(2, len(self.members), dtype=torch.float64, device=self.device)
        images, latent = 0, self.members[0].latent_dim
        for number, pixels in enumerate(blocks):
            x = to_unit(pixels.to(self.device))
            noise = torch.stack(
                [seeded_noise((len(x), latent), generator, seed, purpose, number) for seed in self._seeds]
            )
            for group in self._groups(len(x)):
                of_group = {name: stacked[group] for name, stacked in tensors.items()}
                encode = _mapped(self._vae.encoder, _part(of_group, "encoder."), None)
                decode = _mapped(self._vae.decoder, _part(of_group, "decoder."), 0)
                values = measure(
                    encode,
                    decode,
                    x,
                    noise[self._seed_of_member[group]],
                    likelihood=self._likelihood,
                    prior_terms=_mapped_prior(self._prior_terms, of_group),
                )
                sums[0, group] += values.distortion.double().sum(dim=1)
                sums[1, group] += values.rate.double().sum(dim=1)
                del values  # or it would be held while the next are measured
            images += len(x)
        self._vae.train()
        distortion, rate = (sums / images).tolist()
        return Measured(tuple(distortion), tuple(rate))

    def _groups(self, images: int) -> list[slice]:
        """The members, as many at a time as can be measured on so many images within the bound."""
        number_bytes = torch.get_default_dtype().itemsize
        at_once = members_at_once(self._cost, images, bytes_bound=self._evaluation_bytes, number_bytes=number_bytes)
        return [slice(start, start + at_once) for start in range(0, len(self.members), at_once)]

    def state(self) -> dict[str, Any]:
        """All that training has changed, as tensors and plain numbers."""
        return {
            "parameters": {name: stacked.detach() for name, stacked in self._tensors.items()},
            "optimizer": self._optimizer.state(),
            "nonfinite": self._nonfinite,
            "kept": self._kept,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        with torch.no_grad():
            for name, stacked in self._tensors.items():
                stacked.copy_(state["parameters"][name])
        self._optimizer.load_state(state["optimizer"])
        self._nonfinite.copy_(state["nonfinite"])
        self._kept = {name: stacked.to(self.device) for name, stacked in state["kept"].items()}
        self._use_mode()

    def close(self) -> None:
        """Forget how steps are taken, which refers back to the trainer: a captured step holds its own memory."""
        del self._take, self._forward, self._dense, self._read_inputs, self._note


def _stack(networks: Sequence[VAE], of_seed: Sequence[int], device: torch.device) -> dict[str, Tensor]:
    """The members' initial parameters and buffers, stacked to `[member, ...]` and laid out as `_turned` says."""
    tensors = [{**dict(vae.named_parameters()), **dict(vae.named_buffers())} for vae in networks]
    return {
        name: _turned(torch.stack([tensors[at][name].detach() for at in of_seed])).contiguous().to(device)
        for name in tensors[0]
    }


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The parameters and buffers of the encoder or the decoder, under the names and in the layout that it has."""
    return {name.removeprefix(prefix): _turned(value) for name, value in tensors.items() if name.startswith(prefix)}


def _turned(stacked: Tensor) -> Tensor:
    """A stacked matrix `[member, out, in]` as `[member, in, out]` and back, a view; anything else as it is.

    A product's gradient in its stacked weights comes as `[member, in, out]`. In any other layout each of them would be
    copied at each step: a fifth of the memory traffic of a step on a GPU.
    """
    return stacked.transpose(1, 2) if stacked.ndim == 3 else stacked


def _mapped(network: nn.Module, tensors: dict[str, Tensor], images_axis: int | None) -> Network:
    """A network over stacked tensors; images have a member axis, or are the same for all members."""

    def of_one_member(of_member: dict[str, Tensor], x: Tensor) -> Tensor:
        output: Tensor = functional_call(network, of_member, (x,))
        return output

    mapped = torch.vmap(of_one_member, in_dims=(0, images_axis))

    def apply(x: Tensor) -> Tensor:
        output: Tensor = mapped(tensors, x)
        return output

    return apply


def _mapped_prior(terms: nn.Module | None, tensors: dict[str, Tensor]) -> PriorTerms | None:
    """What the priors of stacked members say; None for N(0, I)."""
    if terms is None:
        return None
    of_members = {name: _turned(value) for name, value in tensors.items() if name.startswith(("prior.", "encoder."))}

    def of_one(of_member: dict[str, Tensor], code: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        both: tuple[Tensor, Tensor] = functional_call(terms, of_member, (code, z))
        return both

    return functools.partial(torch.vmap(of_one), of_members)


def _compiled(function: Callable[..., Any], backend: str | None) -> Callable[..., Any]:
    """A function of tensors whose shapes never change, compiled whole; as it is where there is no backend."""
    if backend is None:
        return function
    compiled: Callable[..., Any] = torch.compile(function, fullgraph=True, dynamic=False, backend=backend)
    return compiled
