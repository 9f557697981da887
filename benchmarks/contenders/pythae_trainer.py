"""pythae's own trainer and β-VAE (Chadebec et al. 2022) on the paper's networks. Runs in an environment of its own.

One epoch of its training loop is timed, with its data loader: no evaluation, checkpoint, progress bar or copy of the
best model.
"""

import tempfile

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import BetaVAE, BetaVAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import CallbackHandler, TrainingCallback
from torch import Tensor

from benchmarks import networks
from benchmarks.contenders import Task
from benchmarks.devices import prepare, wait_for
from benchmarks.sizes import Size


class _Encoder(BaseEncoder):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.layers = networks.encoder(size)

    def forward(self, x: Tensor) -> ModelOutput:
        mean, log_var = self.layers(x).chunk(2, dim=1)
        return ModelOutput(embedding=mean, log_covariance=log_var)


class _Decoder(BaseDecoder):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.layers = networks.decoder(size)

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=torch.sigmoid(self.layers(z)))  # its loss takes probabilities


class PythaeTrainer:
    """One model. Implements `benchmarks.contenders.Trainer`."""

    models = 1

    def __init__(self, task: Task, device: torch.device) -> None:
        size = task.size
        self._device = device
        self._steps, self._epoch = task.steps, 0
        self._folder = tempfile.TemporaryDirectory()  # it makes a folder for checkpoints, wanted or not
        pixels = torch.from_numpy(np.load(task.images)).float() / 255
        config = BetaVAEConfig(
            input_dim=size.image_shape, latent_dim=size.latent_dim, reconstruction_loss="bce", beta=1.0
        )
        model = BetaVAE(config, encoder=_Encoder(size), decoder=_Decoder(size))
        training = BaseTrainerConfig(
            output_dir=self._folder.name,
            per_device_train_batch_size=size.batch_size,
            learning_rate=1e-3,
            no_cuda=device.type == "cpu",
        )
        self._trainer = BaseTrainer(model, BaseDataset(pixels, torch.zeros(len(pixels))), training_config=training)
        self._trainer.prepare_training()
        self._trainer.callback_handler = CallbackHandler([TrainingCallback()], model)  # without its progress bars
        self.parameter_count = sum(parameter.numel() for parameter in model.parameters())

    def take_steps(self, steps: int) -> None:
        """Train for an epoch, which is as many steps as the task has."""
        if steps != self._steps:
            raise ValueError(f"steps is {steps}; allowed: {self._steps}, an epoch")
        self._epoch += 1
        self._trainer.train_step(self._epoch)
        wait_for(self._device)


def build(task: Task) -> PythaeTrainer:
    return PythaeTrainer(task, prepare(task))
