"""Active units: a count with a known answer."""

import pytest
import torch

from rdstudy.measures.active_units import active_units


def _spread(variances: list[float], images: int = 101) -> torch.Tensor:
    """Means `[image, latent]` of exactly these variances."""
    column = torch.linspace(-1, 1, images, dtype=torch.float64)
    column = (column - column.mean()) / column.std(correction=1)
    return column[:, None] * torch.tensor(variances, dtype=torch.float64).sqrt()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dimensions_above_the_threshold_are_counted_wherever_their_means_are(dtype):
    mean = (_spread([0.0, 0.0099, 0.0101, 1.0, 7.0]) + torch.tensor([5.0, -7.0, 11.0, 0.0, 3.0])).to(dtype)
    assert active_units(mean) == 3
    assert active_units(mean, threshold=0.5) == 2
    assert active_units(mean, threshold=7.5) == 0
    assert active_units(mean[:, :1]) == 0


def test_variance_is_over_images_without_bias():
    assert active_units(torch.tensor([[0.0], [0.15]])) == 1  # 0.01125, and 0.0056 if divided by two images
    assert active_units(torch.tensor([[0.0], [0.14]])) == 0  # 0.0098


@pytest.mark.parametrize("shape", [(1, 3), (0, 3), (3,), (2, 3, 5)])
def test_no_variance_is_known_of_fewer_than_two_images(shape):
    with pytest.raises(ValueError, match="2 or more images"):
        active_units(torch.zeros(shape))


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        active_units(torch.tensor([[0.0], [float("nan")]]))
    with pytest.raises(ValueError, match="threshold is -1"):
        active_units(torch.zeros(2, 3), threshold=-1)
