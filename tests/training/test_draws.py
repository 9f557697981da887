"""Batches and noise are functions of the seed and the step."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.planning.packs import CHUNK_STEPS
from rdstudy.training.draws import BatchDraws, NoiseDraws

CPU = torch.device("cpu")


def _batches(seed: int = 1, images: int = 23, batch_size: int = 5) -> BatchDraws:
    return BatchDraws(seed=seed, images=images, batch_size=batch_size, device=CPU)


def _noise(seed: int = 1) -> NoiseDraws:
    return NoiseDraws(seed=seed, batch_size=5, latent_dim=2, device=CPU)


@given(first=st.integers(0, 300), steps=st.integers(1, 40), images=st.integers(1, 31), batch=st.integers(1, 37))
def test_any_steps_are_those_of_the_whole_stream(first, steps, images, batch):
    whole = _batches(images=images, batch_size=batch).batches(0, first + steps)
    assert torch.equal(_batches(images=images, batch_size=batch).batches(first, steps), whole[first:])


def test_each_epoch_reads_every_image_once_in_an_order_of_its_own():
    read = _batches().batches(0, 46).flatten()
    epochs = read.view(10, 23)
    assert torch.equal(epochs.sort(dim=1).values, torch.arange(23).expand(10, 23))
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 10


def test_noise_of_a_step_does_not_depend_on_where_a_chunk_is_entered():
    whole = _noise().chunk(0)
    assert whole.shape == (CHUNK_STEPS, 5, 2)
    assert torch.equal(_noise().chunk(17), whole[17:])
    assert not torch.equal(_noise().chunk(CHUNK_STEPS), whole)


def test_another_seed_gives_another_stream():
    assert not torch.equal(_batches(1).batches(0, 5), _batches(2).batches(0, 5))
    assert not torch.equal(_noise(1).chunk(0), _noise(2).chunk(0))


def test_noise_is_standard_normal():
    noise = torch.cat([_noise().chunk(step) for step in range(0, 100 * CHUNK_STEPS, CHUNK_STEPS)])
    assert abs(noise.mean().item()) < 0.02
    assert abs(noise.std().item() - 1) < 0.02
