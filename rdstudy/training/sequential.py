"""The sequential path: one member at a time. It is the faster one on a CPU, and the reference for any other."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from rdstudy.model.likelihoods import likelihood
from rdstudy.model.networks import VAE, load_weights
from rdstudy.model.objective import forward, measure
from rdstudy.study import Member
from rdstudy.training.draws import BatchDraws, NoiseDraws, seeded_noise
from rdstudy.training.gradients import take_gradients
from rdstudy.training.objectives import objective
from rdstudy.training.optimizers import make_optimizer
from rdstudy.training.schedules import schedule
from rdstudy.training.subsets import to_unit
from rdstudy.training.trainer import Measured, network_of


class SequentialTrainer:
    """One member with its optimizer, and its training subset, uint8 `[image, pixel]`, on the device where it trains.

    Implements `rdstudy.training.trainer.Trainer`.
    """

    def __init__(
        self, member: Member, train: Tensor, *, image_shape: tuple[int, int, int], device: torch.device
    ) -> None:
        self.members: tuple[Member, ...] = (member,)
        self.step_mode = "alone"
        self._member = member
        self._likelihood = likelihood(member.likelihood)
        self.device = device
        self._train = train.to(device)
        self._image_shape = image_shape
        recipe = member.recipe
        self.vae = network_of(member, image_shape).to(device)
        self._parameters = list(self.vae.parameters())
        self.parameter_count = sum(parameter.numel() for parameter in self._parameters)
        self._prior_terms = self.vae.prior_terms
        self._objective, self._schedule = objective(member.objective), schedule(recipe.schedule)
        group = {"params": self._parameters, "lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
        self._optimizer = make_optimizer(recipe, [group])
        batch = recipe.batch_size
        self._batches = BatchDraws(seed=member.seed, images=len(train), batch_size=batch, device=device)
        self._noise = NoiseDraws(seed=member.seed, batch_size=batch, latent_dim=member.latent_dim, device=device)
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
                outputs = forward(self.vae.encoder, self.vae.decoder, x, step_noise, self._prior_terms)
                take_gradients(
                    self._objective,
                    outputs,
                    x,
                    beta=self._beta(step),
                    step=step,
                    steps=self._member.recipe.steps,
                    images=len(self._train),
                    likelihood=self._likelihood,
                )
                if not torch.isfinite(outputs.code).all():
                    self._nonfinite_step = step
                    return
                factor = self._schedule(step, self._member.recipe.steps)
                self._optimizer.param_groups[0]["lr"] = self._member.recipe.learning_rate * factor
                self._optimizer.step()
                self._optimizer.zero_grad()
            first_step += len(noise)

    def _beta(self, step: int) -> float:
        scale, steps = self._objective.scale, self._member.recipe.steps
        return self._member.beta if scale is None else self._member.beta * scale(step, steps)

    def keep(self, chosen: Sequence[bool]) -> None:
        """Keep the present weights beside those that go on being trained, if so chosen."""
        if chosen[0]:
            self._kept = {name: value.detach().clone() for name, value in self.vae.state_dict().items()}

    def measure(self, blocks: Iterable[Tensor], *, purpose: str, kept: bool = False) -> Measured:
        """Mean rate and distortion over images given in blocks, uint8 `[block, pixel]`."""
        vae = (self._kept_network() if kept else self.vae).eval()
        generator = torch.Generator(self.device)
        distortion = rate = 0.0
        images = 0
        for number, pixels in enumerate(blocks):
            x = to_unit(pixels.to(self.device))
            noise = seeded_noise((len(x), self._member.latent_dim), generator, self._member.seed, purpose, number)
            values = measure(
                vae.encoder, vae.decoder, x, noise, likelihood=self._likelihood, prior_terms=vae.prior_terms
            )
            distortion += values.distortion.double().sum().item()
            rate += values.rate.double().sum().item()
            images += len(x)
        self.vae.train()
        return Measured((distortion / images,), (rate / images,))

    def _kept_network(self) -> VAE:
        return load_weights(network_of(self._member, self._image_shape), self._kept, device=self.device)

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
        self._kept = {name: value.to(self.device) for name, value in state["kept"].items()}

    def close(self) -> None:
        """Nothing here refers back to the trainer."""
