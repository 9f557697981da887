"""Laws of the packs: a partition of the members into pieces of one cell, whatever their order."""

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.packs import Pack, make_packs, pack_cost
from rdstudy.study import Member, Recipe

members = st.builds(
    Member,
    dataset=st.sampled_from(["tetrominoes", "tetrominoes-fixed"]),
    split=st.sampled_from(["cv(7)", "cd(7)", "checkerboard"]),
    beta=st.sampled_from([0.0, 0.1, 1.0, 3.0, 5.0]),
    seed=st.integers(0, 4),
    architecture=st.sampled_from(["mlp", "cnn"]),
    depth=st.sampled_from([1, 2, 3]),
    width=st.sampled_from([7, 11]),
    recipe=st.builds(Recipe, steps=st.sampled_from([13, 17])),
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
def test_a_pack_is_of_one_cell_not_empty_and_not_too_large(asked, size):
    for pack in make_packs(asked, size=size):
        assert len({member.cell for member in pack.members}) == 1
        assert 1 <= len(pack.members) <= size


@given(lists_of_members | one_cell, sizes)
def test_there_are_no_more_packs_than_needed(asked, size):
    cells = Counter(member.cell for member in set(asked))
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
    one, other = Member(**easy), Member(**{**easy, **harder})
    assert pack_cost(Pack((other,))) > pack_cost(Pack((one,)))
    assert pack_cost(Pack((one, one))) == 2 * pack_cost(Pack((one,)))


def test_a_pack_does_not_depend_on_the_process(run_python):
    code = (
        "from rdstudy.packs import make_packs; from rdstudy.study import Member\n"
        "asked = {Member('a', str(cell), beta, seed) for cell in range(3) for beta in (0.1, 1.) for seed in range(5)}\n"
        "print(*(pack.pack_id for pack in make_packs(asked, size=7)))"
    )
    one, other = (run_python(code, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert one == other
    assert len(one.split()) == 3 * 2
