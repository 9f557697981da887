"""The stacked path: the members of a pack along a leading axis, one step for all. It is the faster one on a GPU.

The networks are the ordinary modules of `rdstudy.model.networks`, mapped over stacked parameters by `torch.func`, so
that any pair of modules can be stacked. Axis order: `member, batch`, then features. Members of one seed read the same
images, batches and noise; the images of a seed are gathered once for all its members.

On a GPU the networks and the element-wise work between them are compiled, and the step is replayed as a CUDA graph,
see `rdstudy.training.replay`. Therefore a step reads its inputs and its number from buffers that keep their place.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rdstudy.checks import one_line
from rdstudy.model.likelihoods import likelihood
from rdstudy.model.networks import VAE, NetworkShape, build
from rdstudy.model.objective import ForwardPass, Network, accumulate_gradients, cotangents, forward, measure
from rdstudy.packs import GIB, members_at_once
from rdstudy.seeds import derive_seed
from rdstudy.study import Member, Resources
from rdstudy.training.learner import Measured, shape_of
from rdstudy.training.objectives import removed_term
from rdstudy.training.process import is_out_of_memory
from rdstudy.training.replay import CPU_WAYS, GPU_WAYS, WARM_UP_STEPS, Replayed, Step, Way
from rdstudy.training.schedules import learning_rate
from rdstudy.training.streams import CHUNK_STEPS, BatchStream, NoiseStream, seeded_noise
from rdstudy.training.subsets import to_unit

logger = logging.getLogger(__name__)

_FINITE = -1  # of a member that has not been seen to be anything else


class StackedLearner:
    """Members of one cell that take their steps together. Implements `rdstudy.training.learner.Learner`.

    Args:
        members: of one cell.
        train: uint8 `[image, pixel]`, the training subset.
        image_shape: channel, row, column.
        device: where they train; the training subset is kept there.
        evaluation_bytes: bound on the memory of a measurement beside the parameters: as many members at a time as
            fit, one at least. Values do not depend on it, up to rounding.
        ways: to take a step, the best first: the next is tried when one cannot be used on this machine.
    """

    def __init__(
        self,
        members: Sequence[Member],
        train: Tensor,
        *,
        image_shape: tuple[int, int, int],
        device: torch.device,
        evaluation_bytes: float = Resources.evaluation_memory_gib * GIB,
        ways: Sequence[Way] | None = None,
    ) -> None:
        self.members = tuple(members)
        first = self.members[0]
        assert all(member.cell == first.cell for member in self.members), "members of one pack belong to one cell"
        self._likelihood = likelihood(first.likelihood)
        self._device = device
        self._image_shape, self._evaluation_bytes = image_shape, evaluation_bytes
        self._train = train.to(device)
        self._seeds = tuple(dict.fromkeys(member.seed for member in self.members))
        of_seed = [self._seeds.index(member.seed) for member in self.members]
        self._seed_of_member = torch.tensor(of_seed, device=device)
        self._beta = torch.tensor([member.beta for member in self.members], device=device)[:, None, None]
        shape, initialization = shape_of(first, image_shape), first.recipe.initialization
        self._vae, self.parameters = _stack(shape, self._seeds, of_seed, device, initialization=initialization)
        self.parameter_count = sum(stacked[0].numel() for stacked in self.parameters.values())
        on_gpu = device.type == "cuda"
        # CUDA's fused Adam reads a float32; a CPU's reads a double
        rate_type = torch.float32 if on_gpu else torch.float64
        self._rate = torch.tensor(first.recipe.learning_rate, dtype=rate_type, device=device)
        self._rates = self._rate.new_tensor(
            [learning_rate(first.recipe, step) for step in range(first.recipe.steps)] if self._is_scheduled else []
        )
        self._optimizer = torch.optim.Adam(
            list(self.parameters.values()),
            lr=self._rate if self._is_scheduled else first.recipe.learning_rate,
            fused=True,
            capturable=on_gpu,
        )
        batch, latent = first.recipe.batch_size, first.latent_dim
        self._batches = [
            BatchStream(seed=seed, images=len(train), batch_size=batch, device=device) for seed in self._seeds
        ]
        self._noise = [
            NoiseStream(seed=seed, batch_size=batch, latent_dim=latent, device=device) for seed in self._seeds
        ]
        self._kept: dict[str, Tensor] = {}
        self._nonfinite = torch.full((len(self.members),), _FINITE, device=device)
        seeds = len(self._seeds)
        self._chunk_index = torch.zeros(CHUNK_STEPS, seeds, batch, dtype=torch.int64, device=device)
        self._chunk_noise = torch.zeros(CHUNK_STEPS, seeds, batch, latent, device=device)
        self._at = torch.zeros(1, dtype=torch.int64, device=device)  # of the next step in the chunk
        self._step_number = torch.zeros((), dtype=torch.int64, device=device)
        self._ways = list(ways or (GPU_WAYS if on_gpu else CPU_WAYS))
        self._use_way()

    @property
    def _is_scheduled(self) -> bool:
        return self.members[0].recipe.schedule != "constant"

    def _use_way(self) -> None:
        """Prepare for taking steps in the first of the ways; what was compiled or captured before is forgotten."""
        way = self._ways[0]
        if way.backend:
            torch.compiler.reset()  # or the compiler gives up after a few packs in one process
        self._forward = _compiled(self._forward_pass, way.backend)
        self._cotangents = _compiled(cotangents, way.backend)
        self._take: Step = self._step if way.capture is None else Replayed(self._step, way.capture)
        self._taken = 0

    def _take_step(self) -> None:
        """Take a step in the best way that works here."""
        while True:
            try:
                self._take()
            except Exception as error:
                if self._taken > WARM_UP_STEPS or len(self._ways) == 1 or is_out_of_memory(error):
                    raise
                logger.warning(
                    "a training step cannot be taken by %s; a slower way is used. %s: %s",
                    self._ways.pop(0).name,
                    type(error).__name__,
                    one_line(error)[:500],
                )
                self._optimizer.zero_grad()
                self._use_way()
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
            noise = torch.stack([stream.chunk(first_step)[: end - first_step] for stream in self._noise], dim=1)
            batches = torch.stack([stream.batches(first_step, len(noise)) for stream in self._batches], dim=1)
            self._chunk_noise[: len(noise)].copy_(noise)
            self._chunk_index[: len(noise)].copy_(batches)
            self._at.zero_()
            for _ in range(len(noise)):
                self._take_step()
            first_step += len(noise)

    def _step(self) -> None:
        """One step for all members, from the buffers alone: nothing here may come from the host."""
        index = self._chunk_index.index_select(0, self._at).squeeze(0)  # [seed, batch]
        noise = self._chunk_noise.index_select(0, self._at).squeeze(0)  # [seed, batch, latent]
        rows = self._train.index_select(0, index.flatten()).view(*index.shape, -1)
        x = to_unit(rows.index_select(0, self._seed_of_member))
        outputs = self._forward(self.parameters, x, noise.index_select(0, self._seed_of_member))
        accumulate_gradients(
            outputs,
            x,
            beta=self._beta,
            likelihood=self._likelihood,
            removed=removed_term(self.members[0].objective, outputs, images=len(self._train)),
            cotangents=self._cotangents,
        )
        finite = torch.isfinite(outputs.code.detach()).flatten(1).all(dim=1)
        newly = ~finite & (self._nonfinite == _FINITE)
        self._nonfinite.copy_(torch.where(newly, self._step_number, self._nonfinite))
        if self._is_scheduled:
            self._rate.copy_(self._rates.index_select(0, self._step_number.view(1))[0])
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._at.add_(1)
        self._step_number.add_(1)

    def weights(self, at: int) -> dict[str, Tensor]:
        """The present weights of one member, views of the stacked ones."""
        return {name: _turned(stacked.detach()[at : at + 1])[0] for name, stacked in self.parameters.items()}

    def _forward_pass(self, parameters: dict[str, Tensor], x: Tensor, noise: Tensor) -> ForwardPass:
        encode = _mapped(self._vae.encoder, _part(parameters, "encoder."), 0)
        return forward(encode, _mapped(self._vae.decoder, _part(parameters, "decoder."), 0), x, noise)

    def keep(self, chosen: Sequence[bool]) -> None:
        """Keep the present weights of these members beside those that go on being trained."""
        some = torch.tensor(chosen, device=self._device)
        if not self._kept:
            self._kept = {name: torch.zeros_like(stacked.detach()) for name, stacked in self.parameters.items()}
        for name, stacked in self.parameters.items():
            self._kept[name][some] = stacked.detach()[some]

    def measure(self, blocks: Iterable[Tensor], *, purpose: str, kept: bool = False) -> Measured:
        """Mean rate and distortion over images given in blocks, uint8 `[block, pixel]`."""
        parameters = self._kept if kept else self.parameters
        generator = torch.Generator(self._device)
        sums = torch.zeros(2, len(self.members), dtype=torch.float64, device=self._device)
        images, latent = 0, self.members[0].latent_dim
        for number, pixels in enumerate(blocks):
            x = to_unit(pixels.to(self._device))
            noise = torch.stack(
                [seeded_noise((len(x), latent), generator, seed, purpose, number) for seed in self._seeds]
            )
            for some in self._groups(len(x)):
                of_some = {name: stacked[some] for name, stacked in parameters.items()}
                encode = _mapped(self._vae.encoder, _part(of_some, "encoder."), None)
                decode = _mapped(self._vae.decoder, _part(of_some, "decoder."), 0)
                values = measure(encode, decode, x, noise[self._seed_of_member[some]], likelihood=self._likelihood)
                sums[0, some] += values.distortion.double().sum(dim=1)
                sums[1, some] += values.rate.double().sum(dim=1)
                del values  # or it would be held while the next are measured
            images += len(x)
        distortion, rate = (sums / images).tolist()
        return Measured(tuple(distortion), tuple(rate))

    def _groups(self, images: int) -> list[slice]:
        """The members, as many at a time as can be measured on so many images within the bound."""
        at_once = members_at_once(
            self.members[0],
            self._image_shape,
            images,
            bytes_bound=self._evaluation_bytes,
            number_bytes=torch.get_default_dtype().itemsize,
        )
        return [slice(start, start + at_once) for start in range(0, len(self.members), at_once)]

    def state(self) -> dict[str, Any]:
        """All that training has changed, as tensors and plain numbers."""
        return {
            "parameters": {name: stacked.detach() for name, stacked in self.parameters.items()},
            "optimizer": self._optimizer.state_dict(),
            "nonfinite": self._nonfinite,
            "kept": self._kept,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        with torch.no_grad():
            for name, stacked in self.parameters.items():
                stacked.copy_(state["parameters"][name])
        self._optimizer.load_state_dict(state["optimizer"])  # into new tensors
        if self._is_scheduled:
            self._optimizer.param_groups[0]["lr"] = self._rate  # which every step fills
        self._nonfinite.copy_(state["nonfinite"])
        self._kept = {name: stacked.to(self._device) for name, stacked in state["kept"].items()}
        self._use_way()


def _stack(
    shape: NetworkShape, seeds: Sequence[int], of_seed: Sequence[int], device: torch.device, *, initialization: str
) -> tuple[VAE, dict[str, Tensor]]:
    """A network to map, and parameters `[member, ...]` that start as those of the members one by one, see `_turned`."""
    vaes = [build(shape, seed=derive_seed(seed, "initial weights"), initialization=initialization) for seed in seeds]
    weights = [dict(vae.named_parameters()) for vae in vaes]
    stacked = {
        name: _turned(torch.stack([weights[at][name].detach() for at in of_seed]))
        .contiguous()
        .to(device)
        .requires_grad_()
        for name in weights[0]
    }
    return vaes[0], stacked


def _part(parameters: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The parameters of one network, by their names in it, each as the network has it."""
    return {name.removeprefix(prefix): _turned(value) for name, value in parameters.items() if name.startswith(prefix)}


def _turned(stacked: Tensor) -> Tensor:
    """A stacked matrix `[member, out, in]` as `[member, in, out]` and back, a view; anything else as it is.

    A product's gradient in its stacked weights comes as `[member, in, out]`. In any other layout each of them would be
    copied at each step: a fifth of the memory traffic of a step on a GPU.
    """
    return stacked.transpose(1, 2) if stacked.ndim == 3 else stacked


def _mapped(network: nn.Module, parameters: dict[str, Tensor], images_axis: int | None) -> Network:
    """A network over stacked parameters; images have a member axis, or are the same for all members."""

    def one(of_member: dict[str, Tensor], x: Tensor) -> Tensor:
        output: Tensor = functional_call(network, of_member, (x,))
        return output

    mapped = torch.vmap(one, in_dims=(0, images_axis))

    def apply(x: Tensor) -> Tensor:
        output: Tensor = mapped(parameters, x)
        return output

    return apply


def _compiled(function: Callable[..., Any], backend: str | None) -> Callable[..., Any]:
    """A function of tensors whose shapes never change, compiled whole; as it is where there is no backend."""
    if backend is None:
        return function
    compiled: Callable[..., Any] = torch.compile(function, fullgraph=True, dynamic=False, backend=backend)
    return compiled
