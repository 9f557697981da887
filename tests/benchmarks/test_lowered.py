"""What the compiler would launch on a card that is not there; needs Triton."""

import pytest
import torch

from benchmarks.kernel_counts import Counter
from benchmarks.sizes import parameter_count
from tests.benchmarks.small import TINY_MLP

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning"),  # PyTorch's compiler itself
]

NUMBER = 4  # bytes of a float32


def test_a_product_is_a_librarys_and_what_follows_it_one_kernel():
    from benchmarks.absent_card import lowering

    counter = Counter()
    layer = torch.compile(lambda x, w, b: (x @ w + b[:, None]).relu(), backend=lowering(counter))
    x, w, b = torch.ones(3, 5, 7), torch.ones(3, 7, 11), torch.ones(3, 11)
    for _ in range(2):
        counter.clear()
        with counter:
            layer(x, w, b)
    assert dict(counter.kernels) == {"of libraries": 1, "of the compiler": 1}
    product, between = x.numel() + w.numel() + 3 * 5 * 11, b.numel() + 2 * 3 * 5 * 11
    assert counter.bytes == NUMBER * (product + between)
    assert torch.equal(layer(x, w, b), torch.full((3, 5, 11), 8.0))


def test_fused_steps_take_fewer_kernels_and_store_no_gradient_of_a_weight():
    from benchmarks.lowered import count, modes_of

    members = 3
    as_built, updates, products = (count(TINY_MLP, mode, members=members) for mode in modes_of(TINY_MLP))
    assert as_built.kernels["of this project"] == 0
    assert updates.kernels["of this project"] == 4
    assert products.kernels["of this project"] == 4 + 4 + 3
    assert products.kernels["of libraries"] == 0
    assert products.kernels.total() < updates.kernels.total() < as_built.kernels.total()
    assert as_built.bytes - updates.bytes >= 2 * NUMBER * members * parameter_count(TINY_MLP)
    assert products.bytes < updates.bytes
