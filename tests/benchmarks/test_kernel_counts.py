"""Operations are counted as kernels, with the bytes that they read and write."""

import torch

from benchmarks.kernel_counts import Counter, counted_apart

NUMBER = 4  # bytes of a float32


def test_views_are_no_kernels_and_bytes_are_those_read_and_written():
    x, y = torch.zeros(3, 5), torch.zeros(7, 5)
    with Counter() as counter:
        (x @ y.T).view(-1).relu_()
    assert counter.kernels.total() == 2
    product, in_place = 15 + 35 + 21, 21 + 21
    assert counter.bytes == NUMBER * (product + in_place)


def test_a_selection_reads_what_it_gives():
    rows, index = torch.zeros(1_009, 5), torch.tensor([2, 7, 11])
    with Counter() as counter:
        rows.index_select(0, index)
        rows[index]
    assert counter.kernels.total() == 2
    assert counter.bytes == 2 * (NUMBER * 2 * 15 + 8 * 3)


def test_fused_adam_moves_seven_numbers_a_parameter():
    parameter = torch.zeros(13, 17, requires_grad=True)
    optimizer = torch.optim.Adam([parameter], fused=True)
    for _ in range(2):
        parameter.grad = torch.ones_like(parameter)
        with Counter() as counter:
            optimizer.step()
    small = 100  # its number of the step
    assert 7 * NUMBER * 13 * 17 <= counter.bytes <= 7 * NUMBER * 13 * 17 + small


def test_what_is_counted_apart_is_not_counted_again():
    with Counter() as counter:
        with counted_apart():
            torch.zeros(5).add(1)
        counter.add("of this project", 7)
    assert (dict(counter.kernels), counter.bytes) == ({"of this project": 1}, 7)
    counter.clear()
    assert (counter.kernels.total(), counter.bytes) == (0, 0)
