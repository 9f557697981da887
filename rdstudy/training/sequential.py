"""The sequential path: one member at a time. It is the faster one on a CPU, and the reference for any other."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from rdstudy.model.likelihoods import likelihood
from rdstudy.model.networks import build, load_vae
from rdstudy.model.objective import accumulate_gradients, forward, measure
from rdstudy.seeds import derive_seed
from rdstudy.study import Member
from rdstudy.training.learner import Measured, shape_of
from rdstudy.training.objectives import removed_term
from rdstudy.training.schedules import learning_rate
from rdstudy.training.streams import BatchStream, NoiseStream, seeded_noise
from rdstudy.training.subsets import to_unit


class SequentialLearner:
    """One member with its optimizer. Implements `rdstudy.training.learner.Learner`.

    Args:
        member: its settings.
        train: uint8 `[image, pixel]`, the training subset.
        image_shape: channel, row, column.
        device: where it trains.
    """

    def __init__(
        self, member: Member, train: Tensor, *, image_shape: tuple[int, int, int], device: torch.device
    ) -> None:
        self.members: tuple[Member, ...] = (member,)
        self._member = member
        self._likelihood = likelihood(member.likelihood)
        self._device = device
        self._train = train.to(device)
        self._shape = shape_of(member, image_shape)
        recipe = member.recipe
        seed = derive_seed(member.seed, "initial weights")
        self.vae = build(self._shape, seed=seed, initialization=recipe.initialization).to(device)
        self._parameters = list(self.vae.parameters())
        self.parameter_count = sum(parameter.numel() for parameter in self._parameters)
        self._optimizer = torch.optim.Adam(self._parameters, lr=recipe.learning_rate, fused=True)
        batch = recipe.batch_size
        self._batches = BatchStream(seed=member.seed, images=len(train), batch_size=batch, device=device)
        self._noise = NoiseStream(seed=member.seed, batch_size=batch, latent_dim=member.latent_dim, device=device)
        self._nonfinite_step: int | None = None
        self._kept: dict[str, Tensor] = {}

    @property
    def nonfinite_steps(self) -> tuple[int | None, ...]:
        """Per member: the first step whose forward pass was not finite, counted from 0, or None."""
        return (self._nonfinite_step,)

    def advance(self, first_step: int, steps: int) -> None:
        """Take training steps; stops at the first that is not finite."""
        end = first_step + steps
        while first_step < end and self._nonfinite_step is None:
            noise = self._noise.chunk(first_step)[: end - first_step]
            batches = self._batches.batches(first_step, len(noise))
            for step, (index, step_noise) in enumerate(zip(batches, noise, strict=True), first_step):
                x = to_unit(self._train.index_select(0, index))  # copies rows; [index] goes byte by byte
                outputs = forward(self.vae.encoder, self.vae.decoder, x, step_noise)
                accumulate_gradients(
                    outputs,
                    x,
                    beta=self._member.beta,
                    likelihood=self._likelihood,
                    removed=removed_term(self._member.objective, outputs, images=len(self._train)),
                )
                if not torch.isfinite(outputs.code).all():
                    self._nonfinite_step = step
                    return
                self._optimizer.param_groups[0]["lr"] = learning_rate(self._member.recipe, step)
                self._optimizer.step()
                self._optimizer.zero_grad()
            first_step += len(noise)

    def keep(self, chosen: Sequence[bool]) -> None:
        """Keep the present weights beside those that go on being trained, if so chosen."""
        if chosen[0]:
            self._kept = {name: value.detach().clone() for name, value in self.vae.state_dict().items()}

    def measure(self, blocks: Iterable[Tensor], *, purpose: str, kept: bool = False) -> Measured:
        """Mean rate and distortion over images given in blocks, uint8 `[block, pixel]`."""
        vae = self.vae if not kept else load_vae(self._shape, self._kept, device=self._device)
        generator = torch.Generator(self._device)
        distortion = rate = 0.0
        images = 0
        for number, pixels in enumerate(blocks):
            x = to_unit(pixels.to(self._device))
            noise = seeded_noise((len(x), self._member.latent_dim), generator, self._member.seed, purpose, number)
            values = measure(vae.encoder, vae.decoder, x, noise, likelihood=self._likelihood)
            distortion += values.distortion.double().sum().item()
            rate += values.rate.double().sum().item()
            images += len(x)
        return Measured((distortion / images,), (rate / images,))

    def weights(self, at: int) -> dict[str, Tensor]:
        """The present weights of the only member."""
        assert at == 0
        return {name: value.detach() for name, value in self.vae.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """All that training has changed, as tensors and plain numbers."""
        return {
            "vae": self.vae.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "nonfinite_step": self._nonfinite_step,
            "kept": self._kept,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        self.vae.load_state_dict(state["vae"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._nonfinite_step = state["nonfinite_step"]
        self._kept = {name: value.to(self._device) for name, value in state["kept"].items()}
