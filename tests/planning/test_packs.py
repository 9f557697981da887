"""Laws of the packs: a partition of the members into packs of one stack, whatever their order."""

import dataclasses
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.planning.packs import (
    Pack,
    PackMemory,
    cost_of,
    fits,
    gpu_share,
    make_packs,
    members_at_once,
    pack_cost,
    pack_memory,
    remaining_packs,
)
from rdstudy.study import Cell, Member, Recipe

members = st.builds(
    Member,
    dataset=st.sampled_from(["tetrominoes", "tetrominoes-fixed"]),
    split=st.sampled_from(["cv(7)", "cd(7)", "checkerboard"]),
    beta=st.sampled_from([0.0, 0.1, 1.0, 3.0, 5.0]),
    seed=st.integers(0, 4),
    architecture=st.sampled_from(["mlp", "cnn", "linear"]),
    depth=st.sampled_from([1, 2, 3]),
    width=st.sampled_from([7, 11]),
    prior=st.sampled_from(["normal", "mixture(k=3)"]),
    recipe=st.builds(
        Recipe,
        steps=st.sampled_from([13, 17]),
        learning_rate=st.sampled_from([1e-3, 3e-3]),
        weight_decay=st.sampled_from([0.0, 0.1]),
    ),
)
lists_of_members = st.lists(members, max_size=41)
one_cell = st.lists(
    st.builds(
        Member, dataset=st.just("a"), split=st.just("b"), beta=st.floats(0, 9, width=16), seed=st.integers(0, 99)
    ),
    max_size=31,
)
sizes = st.integers(1, 13)


@given(lists_of_members | one_cell, sizes)
def test_every_member_is_in_exactly_one_pack(asked, size):
    packed = [member for pack in make_packs(asked, size=size) for member in pack.members]
    assert len(packed) == len(set(packed))
    assert set(packed) == set(asked)


@given(lists_of_members | one_cell, sizes)
def test_a_pack_is_of_one_stack_not_empty_and_not_too_large(asked, size):
    for pack in make_packs(asked, size=size):
        assert len({member.stack for member in pack.members}) == 1
        assert 1 <= len(pack.members) <= size


@given(lists_of_members | one_cell, sizes)
def test_there_are_no_more_packs_than_needed(asked, size):
    cells = Counter(member.stack for member in set(asked))
    assert len(make_packs(asked, size=size)) == sum(-(-count // size) for count in cells.values())


@given(lists_of_members | one_cell, sizes, st.randoms(use_true_random=False))
def test_the_order_of_members_changes_nothing(asked, size, random):
    shuffled = [*asked, *asked[:3]]
    random.shuffle(shuffled)
    packs, again = make_packs(asked, size=size), make_packs(iter(shuffled), size=size)
    assert packs == again
    assert [pack.pack_id for pack in packs] == [pack.pack_id for pack in again]


@given(lists_of_members | one_cell, sizes, sizes)
def test_different_packs_have_different_ids(asked, size, other):
    packs = {*make_packs(asked, size=size), *make_packs(asked, size=other)}
    assert len({pack.pack_id for pack in packs}) == len(packs)
    assert all(re.fullmatch("[0-9a-f]{16}", pack.pack_id) for pack in packs)


@given(lists_of_members | one_cell, sizes)
def test_the_most_costly_come_first(asked, size):
    costs = [pack_cost(pack) for pack in make_packs(asked, size=size)]
    assert costs == sorted(costs, reverse=True)
    assert all(cost > 0 for cost in costs)


@given(lists_of_members | one_cell, sizes)
def test_the_packs_of_a_cell_are_equal_up_to_one_member(asked, size):
    of_cell: dict[Cell, list[int]] = {}
    for pack in make_packs(asked, size=size):
        of_cell.setdefault(pack.members[0].stack, []).append(len(pack.members))
    assert all(max(sizes) - min(sizes) <= 1 for sizes in of_cell.values())


@given(lists_of_members | one_cell, sizes, st.data())
def test_what_remains_of_some_packs_is_the_others(asked, size, data):
    packs = make_packs(asked, size=size)
    kept = data.draw(st.lists(st.booleans(), min_size=len(packs), max_size=len(packs)))
    left = tuple(pack for pack, keep in zip(packs, kept, strict=True) if keep)
    assert remaining_packs(packs, [member for pack in left for member in pack.members]) == left


@given(lists_of_members | one_cell, sizes, st.data())
def test_what_remains_of_any_members_moves_no_whole_pack(asked, size, data):
    packs = make_packs(asked, size=size)
    left = [member for member in dict.fromkeys(asked) if data.draw(st.booleans())]
    repacked = remaining_packs(packs, left)
    assert sorted(m.member_id for pack in repacked for m in pack.members) == sorted(m.member_id for m in left)
    assert {pack for pack in packs if set(pack.members) <= set(left)} <= set(repacked)
    assert all(len({member.stack for member in pack.members}) == 1 for pack in repacked)
    assert all(1 <= len(pack.members) <= size for pack in repacked)
    costs = [pack_cost(pack) for pack in repacked]
    assert costs == sorted(costs, reverse=True)


def test_members_left_over_of_several_packs_are_trained_together():
    asked = [Member("a", "b", beta, seed) for beta in (0.1, 1.0, 3.0) for seed in range(5)]
    packs = make_packs(asked, size=5)
    left = [pack.members[at] for pack in packs for at in (1, 3)][:5]
    assert [set(pack.members) for pack in remaining_packs(packs, left)] == [set(left)]


def test_no_members_make_no_packs():
    assert make_packs([], size=5) == ()


@pytest.mark.parametrize("harder", [{"depth": 3}, {"width": 97}, {"recipe": Recipe(steps=19)}])
def test_what_takes_longer_costs_more(harder):
    easy: dict[str, Any] = {
        "dataset": "a",
        "split": "b",
        "beta": 1.0,
        "seed": 0,
        "width": 11,
        "recipe": Recipe(steps=13),
    }
    cheap, costly = Member(**easy), Member(**{**easy, **harder})
    assert pack_cost(Pack((costly,))) > pack_cost(Pack((cheap,)))
    assert pack_cost(Pack((cheap, cheap))) == 2 * pack_cost(Pack((cheap,)))


def test_a_size_may_follow_from_the_members_of_a_cell():
    cells = {cell: [Member("a", cell, 1.0, seed) for seed in range(count)] for cell, count in (("b", 5), ("c", 7))}
    packs = make_packs([*cells["b"], *cells["c"]], size=lambda cell: len(cell) - 2)
    assert sorted((pack.members[0].split, len(pack.members)) for pack in packs) == [
        ("b", 2),
        ("b", 3),
        ("c", 3),
        ("c", 4),
    ]


@given(one_cell.filter(lambda members: len(members) > 1))
def test_halves_are_the_members_in_their_order(asked):
    pack = Pack(tuple(asked))
    first, second = pack.halves()
    assert first.members + second.members == pack.members
    assert len(first.members) - len(second.members) in (0, 1)


def test_learning_rates_share_a_pack_and_stand_side_by_side_in_it():
    def member(rate: float, seed: int) -> Member:
        return Member("a", "b", 1.0, seed, recipe=Recipe(learning_rate=rate, weight_decay=seed / 10))

    asked = [member(rate, seed) for seed in (1, 0, 2) for rate in (0.3, 0.1)]
    (pack,) = make_packs(asked, size=7)
    pairs = [(member.recipe.learning_rate, member.recipe.weight_decay) for member in pack.members]
    assert pairs == sorted(pairs)
    (other,) = make_packs([dataclasses.replace(member, prior="vamp(k=3)") for member in asked], size=7)
    assert other.stack != pack.stack


# --- memory -------------------------------------------------------------------------------------------------------

PIXELS, TRAIN = 3 * 8 * 8, 1_009
SMALL = Member("a", "b", 1.0, 0, width=11, latent_dim=2, recipe=Recipe(batch_size=5))


def memory(member: Member = SMALL, **changed: Any) -> PackMemory:
    settings: dict[str, Any] = {"members": 7, "seeds": 3, "train_images": TRAIN, "evaluation_bytes": 1e12}
    return pack_memory(member, image_shape=(3, 8, 8), **{**settings, **changed})


def test_the_memory_of_a_small_mlp_by_hand():
    layers = [(PIXELS + 1) * 11, 12 * 4, 3 * 11, 12 * PIXELS]
    needed = memory()
    assert cost_of(SMALL, (3, 8, 8)).parameters == sum(layers)
    assert needed.parameters == 7 * 16 * sum(layers)
    activations = 11 + 4 + 11 + PIXELS  # of all layers, the logits the last
    images, gradients = PIXELS, PIXELS + 2 * PIXELS
    assert needed.step == 7 * 4 * (max(layers) + 5 * (activations + images + gradients))
    indices, noise = 2 * 8 * (64 * 5 + 2 * TRAIN), 2 * 4 * 64 * 5 * 2
    assert needed.shared == TRAIN * PIXELS + 3 * (5 * 5 * PIXELS + indices + noise)
    assert needed.evaluation == 1024 * (7 * 4 * 6 * PIXELS + 5 * PIXELS)
    assert needed.peak == needed.parameters + needed.shared + needed.step + needed.evaluation
    products = [PIXELS * 11, 11 * 4, 2 * 11, 11 * PIXELS]
    assert cost_of(SMALL, (3, 8, 8)).measure_operations == 2 * sum(products)
    assert cost_of(SMALL, (3, 8, 8)).step_operations(5) == 2 * 5 * (3 * sum(products) - products[0])


def test_the_layers_of_a_small_cnn_by_hand():
    cost = cost_of(dataclasses.replace(SMALL, architecture="cnn", depth=2, width=5), (3, 8, 8))
    down, up = (16 * 3 + 1) * 5 + (16 * 5 + 1) * 5, (16 * 5 + 1) * 5 + (16 * 5 + 1) * 3
    flat = 5 * 2 * 2
    assert cost.parameters == down + (flat + 1) * 4 + 3 * flat + up
    outputs = 5 * 16 + flat + 4 + flat + 5 * 16 + PIXELS
    assert cost.step_numbers == outputs + 2 * PIXELS + 2 * PIXELS
    assert cost.numbers == outputs
    first, second = 16 * 3 * 5 * 16, 16 * 5 * 5 * 4  # each of 4 × 4 and 2 × 2 places reads, or writes, a kernel
    products = 2 * (first + second) + flat * 4 + 2 * flat
    assert cost.measure_operations == 2 * products
    assert cost.step_operations(5) == 2 * 5 * (3 * products - first)


def test_the_layers_of_a_small_linear_vae_by_hand():
    cost = cost_of(dataclasses.replace(SMALL, architecture="linear", width=1), (3, 8, 8))
    assert cost.parameters == (PIXELS + 1) * 4 + 3 * PIXELS
    assert cost.step_numbers == 4 + PIXELS + 2 * PIXELS + 2 * PIXELS


@pytest.mark.parametrize(
    "more", [{"members": 8}, {"seeds": 4}, {"train_images": 2 * TRAIN}, {"image_shape": None}, {"depth": 2}]
)
def test_more_of_anything_takes_more_memory(more):
    if "image_shape" in more:
        needed = pack_memory(
            SMALL, members=7, seeds=3, image_shape=(3, 8, 16), train_images=TRAIN, evaluation_bytes=1e12
        )
    elif "depth" in more:
        needed = memory(dataclasses.replace(SMALL, **more))
    else:
        needed = memory(**more)
    assert needed.peak > memory().peak


@pytest.mark.parametrize(
    ("prior", "parameters", "more_products"),
    [("mixture(k=3)", 3 * (1 + 2 * 2), 0), ("flow(layers=2)", 2 * (3 * 64 + 65 * 4), 2 * (2 * 64 + 64 * 4))],
)
def test_a_prior_that_is_trained_is_counted(prior, parameters, more_products):
    plain, counted = (cost_of(dataclasses.replace(SMALL, prior=name), (3, 8, 8)) for name in ("normal", prior))
    assert counted.parameters - plain.parameters == parameters
    assert counted.products - plain.products == more_products
    assert counted.fixed_products == 0
    assert counted.numbers > plain.numbers


def test_pseudo_inputs_are_encoded_once_a_step_whatever_its_batch():
    plain, counted = (cost_of(dataclasses.replace(SMALL, prior=name), (3, 8, 8)) for name in ("normal", "vamp(k=7)"))
    encoder = PIXELS * 11 + 11 * 4
    assert counted.parameters - plain.parameters == 7 * PIXELS
    assert (counted.products, counted.fixed_products) == (plain.products, 7 * encoder)
    assert counted.fixed_numbers > 7 * (11 + 4 + PIXELS)
    assert counted.step_operations(5) - plain.step_operations(5) == 6 * 7 * encoder
    assert memory(dataclasses.replace(SMALL, prior="vamp(k=7)")).step > memory().step


def test_a_bound_on_measuring_bounds_the_estimate():
    all_at_once, bounded, least = (memory(evaluation_bytes=given).evaluation for given in (1e12, 2e7, 0))
    assert all_at_once > 2e7 > bounded > least
    assert least == memory(members=1).evaluation
    assert members_at_once(cost_of(SMALL, (3, 8, 8)), 1024, bytes_bound=0) == 1


@given(st.integers(1, 10**11), st.floats(1e6, 1e12), st.integers(1, 8))
def test_a_share_is_the_smallest_that_is_of_use_and_fits(used, gpu_bytes, at_once):
    needed = PackMemory(parameters=used, step=0, shared=0, evaluation=0)
    parts = round(1 / gpu_share(needed, gpu_bytes, at_once=at_once))
    assert 1 <= parts <= at_once
    assert gpu_share(needed, gpu_bytes, at_once=at_once) == 1 / parts
    assert parts == 1 or fits(needed, gpu_bytes / parts)
    assert parts == at_once or not fits(needed, gpu_bytes / (parts + 1))


def test_a_pack_does_not_depend_on_the_process(run_python):
    code = (
        "from rdstudy.planning.packs import make_packs; from rdstudy.study import Member\n"
        "asked = {Member('a', str(cell), beta, seed) for cell in range(3) for beta in (0.1, 1.) for seed in range(5)}\n"
        "print(*(pack.pack_id for pack in make_packs(asked, size=7)))"
    )
    first, second = (run_python(code, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert first == second
    assert len(first.split()) == 3 * 2
