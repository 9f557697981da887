"""A model that was trained, for a person's own code: images in, images out.

Images are `[n, channel, row, column]`, in [0, 1] or uint8; codes are `[n, latent]`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rdstudy.model.gaussian import Posterior
from rdstudy.model.likelihoods import likelihood
from rdstudy.model.networks import PARTS_OF_NETWORK, load_weights
from rdstudy.model.weights import KeptWeights, network_for
from rdstudy.study import Member, parts
from rdstudy.study.checks import fail


class TrainedModel(nn.Module):
    """One member with the weights that training ended with, which are trained no more.

        model = rdstudy.load("results").model("0123abcd")
        codes = model.encode(images).mean
        pictures = model.sample(8, seed=0)

    Attributes:
        member: its settings.
        image_shape: channel, row, column.
        vae: encoder, decoder and prior.
    """

    def __init__(
        self, member: Member, image_shape: tuple[int, int, int], weights: Mapping[str, Tensor], *, path: str
    ) -> None:
        super().__init__()
        self.member, self.image_shape = member, image_shape
        network = network_for(member, image_shape, weights, path=path)
        self.vae = load_weights(network, weights, device=torch.device("cpu"))
        self._mean = likelihood(member.likelihood).mean

    @classmethod
    def of(cls, kept: KeptWeights, *, path: str) -> "TrainedModel":
        """The model in a file of weights, by its header alone.

        Raises:
            WeightsError: the weights are another network's.
            ValueError: it is made of a user's own part whose code is not here: what lies in a file is never run.
        """
        member = kept.header.member
        for kind in PARTS_OF_NETWORK:
            level = member.level(kind)
            try:
                parts.source_of(level)
            except ValueError:
                file = kept.header.own_parts.get(level, "a file")
                allowed = f"after rdstudy.study.part('{file}:{parts.parse(level).name}') of the same file"
                raise ValueError(f"{path} is made of {level}, which {file} defines; allowed: {allowed}") from None
        return cls(member, kept.header.image_shape, kept.tensors, path=path)

    def encode(self, x: Any) -> Posterior:
        """The posteriors q(z|x) of images: `mean` and `log_var`, `[n, latent]`.

        Raises:
            ValueError: images of another shape, type or range.
        """
        return Posterior.from_code(self.vae.encoder(self._pixels(x)))

    def decode(self, z: Tensor) -> Tensor:
        """E[x|z] of codes `[n, latent]`, in pixel values as they are shown, within [0, 1]: `[n, channel, row, column]`.

        Raises:
            ValueError: codes of another shape.
        """
        if z.dim() != 2 or z.shape[1] != self.member.latent_dim:
            raise fail("the shape of z", list(z.shape), f"[n, {self.member.latent_dim}]")
        return self._mean(self.vae.decoder(z)).clamp(0, 1).reshape(-1, *self.image_shape)

    def reconstruct(self, x: Any) -> Tensor:
        """The decoder's mean for the posterior's mean of each image, `[n, channel, row, column]`."""
        return self.decode(self.encode(x).mean)

    def forward(self, x: Any) -> Tensor:
        """See `reconstruct`."""
        return self.reconstruct(x)

    def sample(self, n: int, seed: int) -> Tensor:
        """The decoder's means for draws from the prior in use, `[n, channel, row, column]`: equal for equal seeds."""
        generator = torch.Generator(self._like().device).manual_seed(seed)
        with torch.no_grad():
            return self.decode(self.vae.prior.sample(n, generator, self.vae.encoder).to(self._like()))

    def traverse(self, x: Any, dimension: int, values: Sequence[float] | Tensor) -> Tensor:
        """Images as one latent dimension of their codes takes some values, `[n, value, channel, row, column]`.

        Args:
            x: images whose posteriors' means are the codes.
            dimension: of the code, from 0.
            values: that take the place of the code's own.

        Raises:
            ValueError: no such dimension.
        """
        if isinstance(dimension, bool) or dimension not in range(self.member.latent_dim):
            raise fail("dimension", dimension, f"0 to {self.member.latent_dim - 1}")
        code = self.encode(x).mean
        levels = torch.as_tensor(values).to(code)
        moved = code[:, None].repeat(1, len(levels), 1)
        moved[..., dimension] = levels
        return self.decode(moved.flatten(0, 1)).reshape(len(code), len(levels), *self.image_shape)

    def _like(self) -> Tensor:
        """A tensor of the type and on the device of the weights."""
        return next(iter(self.vae.decoder.parameters()))

    def _pixels(self, x: Any) -> Tensor:
        """Images as an encoder reads them, `[n, pixel]` in [0, 1]."""
        images = torch.as_tensor(x)
        if images.dim() != 4 or tuple(images.shape[1:]) != self.image_shape:
            raise fail("the shape of the images", list(images.shape), f"[n, {', '.join(map(str, self.image_shape))}]")
        if images.dtype == torch.uint8:
            images = torch.div(images, 255.0)
        elif not images.is_floating_point():
            raise fail("the type of the images", str(images.dtype), "floating point in [0, 1], or torch.uint8")
        elif len(images) and not (images.min() >= 0 and images.max() <= 1):
            raise ValueError(
                f"the images go from {images.min():g} to {images.max():g}; allowed: [0, 1], or uint8 from 0 to 255"
            )
        return images.flatten(1).to(self._like())
