"""Laws of the splits: disjoint, of the size asked for, nested, and a function of nothing but what they must know."""

import dataclasses
import inspect
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.datasets import tetrominoes
from rdstudy.datasets.splits import Rule, Split, make_split, parse_rule, resolve_rule

IMAGES = 163_840
SIZES = (8_192, 16_384, 24_576, 32_768, 40_960, 49_152, 57_344, 65_536)


@pytest.fixture(scope="module")
def factors():
    return tetrominoes.sample_factors(0)


@pytest.fixture(scope="module")
def split_of(factors):
    """The split of the Tetrominoes that a study file writes so."""

    def make(text: str, study_seed: int = 0) -> Split:
        rule = resolve_rule(text, dataset="tetrominoes", images=IMAGES, has_factors=True)
        return make_split(rule, dataset="tetrominoes", images=IMAGES, factors=factors, study_seed=study_seed)

    return make


def small_split(text: str, images: int, *, factors=None, dataset="small", study_seed=0) -> Split:
    rule = resolve_rule(text, dataset=dataset, images=images, has_factors=factors is not None)
    return make_split(rule, dataset=dataset, images=images, factors=factors, study_seed=study_seed)


def same(first: Split, second: Split) -> bool:
    return np.array_equal(first.train, second.train) and np.array_equal(first.test, second.test)


def assert_disjoint_ascending_within(split: Split, images: int):
    for subset in (split.train, split.test):
        assert subset.ndim == 1
        assert subset.dtype == np.int64
        assert (np.diff(subset) > 0).all()
        assert subset[0] >= 0
        assert subset[-1] < images
    assert not np.intersect1d(split.train, split.test).size


# --- the splits of the paper --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["default", "checkerboard", *(f"{kind}({n})" for kind in ("cv", "cd") for n in SIZES)])
def test_train_and_test_are_disjoint(split_of, text):
    assert_disjoint_ascending_within(split_of(text), IMAGES)


def test_default_is_two_halves(split_of):
    split = split_of("default")
    assert len(split.train) == len(split.test) == 81_920


def test_default_is_constant_volume_of_a_half(split_of):
    assert same(split_of("default"), split_of("cv(81920)"))


@pytest.mark.parametrize("n", SIZES)
def test_constant_volume_has_n_to_train_and_all_others_to_test(split_of, n):
    split = split_of(f"cv({n})")
    assert len(split.train) == n
    assert np.array_equal(np.union1d(split.train, split.test), np.arange(IMAGES))


def test_constant_volume_grows_with_n(split_of):
    trains = [split_of(f"cv({n})").train for n in (2, *SIZES, 81_920, IMAGES - 2)]
    for smaller, larger in itertools.pairwise(trains):
        assert np.isin(smaller, larger).all()


@pytest.mark.parametrize("n", SIZES)
def test_constant_volume_covers_the_whole_cube(split_of, factors, n):
    """Every factor is uniform: its mean is 1/2 within five standard errors of n draws."""
    for subset in (split_of(f"cv({n})").train, split_of(f"cv({n})").test):
        assert np.abs(factors[subset].mean(axis=0) - 0.5).max() < 5 * math.sqrt(1 / 12 / len(subset))


def radius(factors):
    return np.abs(factors - 0.5).max(axis=1)


@pytest.mark.parametrize("n", [*SIZES, 81_920])
def test_constant_density_is_the_smallest_cube_around_the_centre(split_of, factors, n):
    split, halves = split_of(f"cd({n})"), split_of("default")
    assert len(split.train) == n
    assert np.isin(split.train, halves.train).all()
    edge = radius(factors[split.train]).max()
    assert np.array_equal(split.train, halves.train[radius(factors[halves.train]) <= edge])
    assert np.array_equal(split.test, halves.test[radius(factors[halves.test]) <= edge])


@pytest.mark.parametrize("n", SIZES)
def test_density_is_constant_where_its_name_says_so(split_of, factors, n):
    """Images per volume, over that of the whole default half: 1 at constant density, n / 81,920 at constant volume."""
    density = {}
    for kind in ("cd", "cv"):
        train = split_of(f"{kind}({n})").train
        volume = (2 * radius(factors[train]).max()) ** 5
        density[kind] = n / volume / 81_920
    assert density["cd"] == pytest.approx(1, rel=0.04)
    assert density["cv"] == pytest.approx(n / 81_920, rel=0.01)


@pytest.mark.parametrize("n", SIZES)
def test_constant_density_tests_as_many_as_it_trains(split_of, n):
    assert len(split_of(f"cd({n})").test) == pytest.approx(n, abs=5 * math.sqrt(2 * n))


def test_constant_density_grows_with_n(split_of):
    splits = [split_of(f"cd({n})") for n in SIZES]
    for smaller, larger in itertools.pairwise(splits):
        assert np.isin(smaller.train, larger.train).all()
        assert np.isin(smaller.test, larger.test).all()


def test_checkerboard_trains_on_cells_of_even_parity(split_of, factors):
    split = split_of("checkerboard")
    upper = np.floor(2 * factors).astype(int)
    assert set(np.unique(upper)) == {0, 1}
    assert (upper[split.train].sum(axis=1) % 2 == 0).all()
    assert (upper[split.test].sum(axis=1) % 2 == 1).all()
    assert len(split.train) + len(split.test) == IMAGES
    # Strata are whole within each half of four factors, and the five of scale are cut in the middle of one.
    assert len(split.train) == pytest.approx(IMAGES / 2, abs=5 * math.sqrt(IMAGES / 5 / 4))


def test_a_checkerboard_test_image_is_one_factor_away_from_a_cell_of_the_training_set(split_of, factors):
    split = split_of("checkerboard")
    cells = {name: set(map(tuple, np.unique(factors[getattr(split, name)] >= 0.5, axis=0))) for name in SUBSETS}
    assert len(cells["train"]) == len(cells["test"]) == 2**5 // 2
    assert not cells["train"] & cells["test"]
    for cell in cells["test"]:
        for at in range(5):
            assert (*cell[:at], not cell[at], *cell[at + 1 :]) in cells["train"]


SUBSETS = ("train", "test")


def test_the_split_of_this_data_set_never_changes(split_of):
    """Other indices here are another contract of the numerics."""
    assert split_of("cv(8192)").train[:5].tolist() == [1, 2, 10, 25, 90]
    assert split_of("cd(8192)").train[:5].tolist() == [22072, 22090, 22108, 22388, 22681]
    assert split_of("checkerboard").train[:5].tolist() == [0, 1, 2, 3, 4]


# --- what a split depends on --------------------------------------------------------------------------------------


def test_a_split_cannot_depend_on_a_members_seed():
    assert set(inspect.signature(make_split).parameters) == {"rule", "dataset", "images", "factors", "study_seed"}
    assert {field.name for field in dataclasses.fields(Rule)} == {"kind", "train_images"}


@pytest.mark.parametrize("text", ["default", "cv(8192)", "cd(8192)"])
def test_another_study_seed_is_another_split(split_of, text):
    assert same(split_of(text, 3), split_of(text, 3))
    assert not np.array_equal(split_of(text, 3).train, split_of(text, 5).train)


def test_checkerboard_leaves_nothing_to_chance(split_of):
    assert same(split_of("checkerboard", 3), split_of("checkerboard", 5))


def test_another_data_set_has_another_permutation():
    first, second = (small_split("cv(31)", 97, dataset=name) for name in ("mnist", "fashion"))
    assert len(first.train) == len(second.train) == 31
    assert not same(first, second)


def test_a_global_generator_is_neither_used_nor_changed():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    first = small_split("cv(31)", 97)
    assert np.array_equal(np.random.get_state()[1], before)  # type: ignore[index]
    np.random.seed(5)
    assert same(first, small_split("cv(31)", 97))


# --- small data sets ----------------------------------------------------------------------------------------------


@st.composite
def cases(draw):
    images = draw(st.integers(4, 97))
    dimensions = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    # Few distinct values: examples at the same distance from the centre.
    factors = rng.integers(0, draw(st.sampled_from([2, 3, 1000])), (images, dimensions)) / 1000
    return images, factors * draw(st.sampled_from([1.0, 300.0])) % 1.0, draw(st.integers(0, 7))


@given(cases(), st.data())
def test_constant_volume_is_a_partition_of_any_data_set(case, data):
    images, _, study_seed = case
    n = data.draw(st.integers(2, images - 2))
    split = small_split(f"cv({n})", images, study_seed=study_seed)
    assert_disjoint_ascending_within(split, images)
    assert len(split.train) == n
    assert len(split.test) == images - n


@given(cases(), st.data())
def test_constant_volume_is_nested_in_any_data_set(case, data):
    images, _, study_seed = case
    small, large = sorted(data.draw(st.tuples(*[st.integers(2, images - 2)] * 2)))
    first, second = (small_split(f"cv({n})", images, study_seed=study_seed) for n in (small, large))
    assert np.isin(first.train, second.train).all()
    assert np.isin(second.test, first.test).all()


@given(cases(), st.data())
def test_constant_density_holds_the_nearest_and_no_test_image_is_outside(case, data):
    images, factors, study_seed = case
    n = data.draw(st.integers(2, images // 2))
    halves = small_split("default", images, study_seed=study_seed)
    edge = np.sort(radius(factors[halves.train]))[n - 1]
    inside = halves.test[radius(factors[halves.test]) <= edge]
    if not inside.size:
        with pytest.raises(ValueError, match=rf"split cd\({n}\) of data set 'small' leaves {n} train and 0 test"):
            small_split(f"cd({n})", images, factors=factors, study_seed=study_seed)
        return
    split = small_split(f"cd({n})", images, factors=factors, study_seed=study_seed)
    assert_disjoint_ascending_within(split, images)
    assert len(split.train) == n
    assert np.isin(split.train, halves.train).all()
    assert radius(factors[split.train]).max() == edge
    outside = np.setdiff1d(halves.train, split.train)
    assert (radius(factors[outside]) >= edge).all()
    within = radius(factors[halves.test]) < edge
    assert np.isin(halves.test[within], split.test).all()
    assert np.isin(split.test, inside).all()
    # of examples on the cube's surface, the share that train has of its own, the next whole number
    on_edge, chosen = (np.count_nonzero(radius(factors[index]) == edge) for index in (halves.train, split.train))
    shared = np.count_nonzero(radius(factors[split.test]) == edge)
    assert shared == math.ceil(chosen / on_edge * (len(inside) - np.count_nonzero(within)))


@pytest.mark.parametrize("n", [100, 230])
def test_constant_density_has_as_many_test_images_where_factors_come_as_levels(n):
    """Many examples of a full grid lie on the surface of a cube: with all of them, tests had 141 and 324 images."""
    levels = (np.indices((9, 9, 8)).reshape(3, -1).T + 0.5) / (9, 9, 8)
    split = small_split(f"cd({n})", len(levels), factors=levels, study_seed=0)
    assert len(split.train) == n
    assert len(split.test) == pytest.approx(n, abs=3 * math.sqrt(n))


@given(cases())
def test_checkerboard_is_a_partition_by_parity(case):
    images, factors, study_seed = case
    parity = (factors >= 0.5).sum(axis=1) % 2
    if parity.min() == parity.max():
        with pytest.raises(ValueError, match="split checkerboard of data set 'small' leaves"):
            small_split("checkerboard", images, factors=factors, study_seed=study_seed)
        return
    split = small_split("checkerboard", images, factors=factors, study_seed=study_seed)
    assert split.train.tolist() == [at for at in range(images) if parity[at] == 0]
    assert split.test.tolist() == [at for at in range(images) if parity[at] == 1]


@given(st.integers(4, 97))
def test_default_gives_the_odd_image_to_test(images):
    split = small_split("default", images)
    assert len(split.train) == images // 2
    assert len(split.test) == images - images // 2
    assert same(split, small_split(f"cv({images // 2})", images))


# --- what a study file writes -------------------------------------------------------------------------------------


@given(st.sampled_from(["cv", "cd"]), st.integers(1, 10**9))
def test_a_rule_is_read_back_from_its_name(kind, n):
    rule = Rule(kind, n)
    assert str(rule) == f"{kind}({n})"
    assert parse_rule(str(rule)) == rule


@pytest.mark.parametrize("name", ["default", "checkerboard"])
def test_a_rule_without_a_number_is_its_name(name):
    assert parse_rule(name) == Rule(name)
    assert str(Rule(name)) == name


@pytest.mark.parametrize("text", ["cv(8192)", "cv( 8192 )", "cv (8192)", "cv(8_192)"])
def test_one_rule_may_be_spaced_in_several_ways(text):
    assert parse_rule(text) == Rule("cv", 8192)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "cv", "cv()", "cv(", "cv)", "cv(-3)", "cv(+3)", "cv(1e3)", "cv(5.0)", "cv(0x10)", "cv(n)", "cv[5]"),
        *(
            "CV(5)",
            "Default",
            "random",
            "default()",
            "default(5)",
            "checkerboard(2)",
            "cv(5)cd(5)",
            "cv(5) ,",
            "acv(5)",
        ),
        *("cv(5)\n", "cv(5,7)", "cd", "cd(-1)", "cv((5))", "5", "None"),
    ],
)
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(ValueError, match=r"^split is .*; allowed: default, checkerboard, cv\(N\), cd\(N\)") as caught:
        parse_rule(text)
    assert repr(text) in str(caught.value)


def test_default_is_resolved_to_the_split_that_it_is():
    for images, half in ((163_840, 81_920), (97, 48)):
        assert resolve_rule("default", dataset="a", images=images, has_factors=False) == Rule("cv", half)


@pytest.mark.parametrize(("text", "most"), [("cv({})", 95), ("cd({})", 48)])
def test_the_number_is_held_against_the_data_set(text, most):
    for n in (2, most):
        resolved = resolve_rule(text.format(n), dataset="small", images=97, has_factors=True)
        assert resolved.train_images == n
    for n in (0, 1, most + 1, 10**9):
        with pytest.raises(ValueError, match=rf"data set 'small' \(97 images\); allowed: N from 2 to {most}") as caught:
            resolve_rule(text.format(n), dataset="small", images=97, has_factors=True)
        assert repr(text.format(n)) in str(caught.value)


@pytest.mark.parametrize("text", ["checkerboard", "cd(5)"])
def test_a_rule_by_factors_needs_factors(text):
    assert parse_rule(text).needs_factors
    with pytest.raises(
        ValueError, match="needs generative factors, which data set 'plain' lacks; allowed: default, cv"
    ):
        resolve_rule(text, dataset="plain", images=97, has_factors=False)
    with pytest.raises(ValueError, match="needs generative factors, which data set 'plain' lacks"):
        make_split(parse_rule(text), dataset="plain", images=97, factors=None, study_seed=0)


@pytest.mark.parametrize("text", ["default", "cv(5)"])
def test_other_rules_need_none(text):
    assert not parse_rule(text).needs_factors
    factors = np.random.default_rng(3).random((97, 2))
    assert same(small_split(text, 97), small_split(text, 97, factors=factors))


@pytest.mark.parametrize("text", ["default", "cv(1)", "checkerboard"])
@pytest.mark.parametrize("images", [0, 1, 2, 3])
def test_a_data_set_too_small_for_two_images_in_each_subset_is_refused(images, text):
    with pytest.raises(ValueError, match=f"^data set 'small' has {images} images; allowed: 4 or more to split$"):
        resolve_rule(text, dataset="small", images=images, has_factors=True)


@pytest.mark.parametrize("text", ["cv(８)", f"cv({'9' * 19})", f"cv({'9' * 5_000})"])
def test_a_number_that_no_data_set_has_is_no_rule(text):
    with pytest.raises(ValueError, match=r"^split is 'cv\(.*; allowed: default, checkerboard") as caught:
        parse_rule(text)
    assert len(str(caught.value)) < 1_000
