"""What a study may ask for: equal values however they are given, a bound on each, and one line for all else."""

import dataclasses
import functools
import itertools
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.datasets import Dataset, DatasetInfo, registry
from rdstudy.planning.plan import check_splits, make_plan
from rdstudy.study import FACTORS, Evaluation, Experiment, Measures, Recipe, Resources, Study
from rdstudy.study.bounds import MOST, MOST_CONTRASTS, MOST_MEMBERS, MOST_NAME, MOST_NESTED, MOST_TEXT
from rdstudy.study.checks import number, shown
from rdstudy.study.claims import Betas, Claim, at_least, monotone
from rdstudy.study.words import one_line

GRID: dict[str, Any] = {"dataset": ["tetrominoes"], "split": ["cv(97)"], "beta": [0.1], "seed": [0]}


def experiment(name: str = "e", **levels) -> Experiment:
    return Experiment(name, {**GRID, **levels})


def study(*experiments, **settings) -> Study:
    return Study("s", experiments or [experiment()], **settings)


def ids(declared: Study) -> list[str]:
    return [member.member_id for part in declared.experiments for member in part.members(declared)]


def refused(text: str):
    return pytest.raises(ValueError, match="^" + re.escape(text))


# --- equal values, however they are given -------------------------------------------------------------------------

REALS = (float, np.float64, Fraction, Decimal, np.array)
WHOLES = (int, np.int64, np.uint64, np.array)
NAMES = (str, np.str_, type("Own", (str,), {}))
LISTS = (list, tuple, iter, lambda levels: dict.fromkeys(levels).keys())


@given(
    st.lists(st.floats(1e-30, 1e30), min_size=1, max_size=5, unique=True),
    st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5, unique=True),
    st.lists(st.sampled_from(["default", "cv(7)", "cd(11)", "checkerboard"]), min_size=1, unique=True),
    st.data(),
)
def test_equal_levels_have_equal_ids(betas, seeds, splits, data):
    given_as = {}
    for factor, levels, kinds in (("beta", betas, REALS), ("seed", seeds, WHOLES), ("split", splits, NAMES)):
        kind = data.draw(st.sampled_from(kinds))
        lists = LISTS if kind is not np.array else LISTS[:3]  # arrays are no keys
        given_as[factor] = data.draw(st.sampled_from(lists))([kind(level) for level in levels])
    plain = study(experiment(beta=betas, seed=seeds, split=splits))
    assert ids(study(experiment(**given_as))) == ids(plain)
    assert {type(level) for level in plain.experiments[0].grid["beta"]} == {float}


@given(st.lists(st.floats(1e-30, 1e30), min_size=1, max_size=5, unique=True))
def test_levels_in_columns_are_those_in_lists(betas):
    for column in (np.array(betas), pd.Series(betas), pd.Index(betas), set(betas), frozenset(betas)):
        expected = sorted(betas) if isinstance(column, set | frozenset) else betas
        assert ids(study(experiment(beta=column))) == ids(study(experiment(beta=expected)))


@given(st.integers(1, 10**6), st.sampled_from([np.int32, np.int64, np.uint32]))
def test_equal_settings_have_equal_ids(count, kind):
    plain, other = (Recipe(steps=number, learning_rate=number) for number in (count, kind(count)))
    assert ids(study(recipe=plain, seed=count)) == ids(study(recipe=other, seed=kind(count)))
    chosen = [Measures(latent_samples=number, annealing={"seed": [number]}) for number in (count, kind(count))]
    assert chosen[0].measures_id == chosen[1].measures_id


@pytest.mark.parametrize(
    ("factor", "levels"),
    [
        ("beta", [0.0, -0.0]),
        ("beta", [1, 1.0]),
        ("beta", np.array([0.5, 0.5])),
        ("seed", [1, np.int64(1)]),
        ("split", ["cv(7)", np.str_("cv(7)")]),
    ],
)
def test_equal_levels_are_the_same_one_twice(factor, levels):
    with pytest.raises(ValueError, match=f"factor '{factor}' lists .* twice; allowed: distinct levels"):
        experiment(**{factor: levels})


@pytest.mark.parametrize(
    ("factor", "levels"),
    [
        ("beta", np.ones((2, 1))),
        ("beta", np.array([True])),
        ("beta", [np.timedelta64(5, "s")]),
        ("beta", [b"0.1"]),
        ("beta", np.array(["0.1"])),
        ("beta", [1e308]),
        ("beta", [5e-324]),
        ("seed", np.array([1.0])),
        ("seed", [True]),
        ("seed", pd.Series([1, None])),
        ("split", [1]),
        ("split", ["x" * (MOST_NAME + 1)]),
        ("dataset", ["\ud800"]),
        ("dataset", pd.DataFrame({1: [1]})),
    ],
)
def test_levels_of_another_kind_are_refused(factor, levels):
    with refused(f"experiment 'e': {factor} is "):
        experiment(**{factor: levels})


@pytest.mark.parametrize("levels", [{0.1: "x"}, b"01", 5, None, np.array(0.1), pd.NA])
def test_what_is_no_list_of_levels_is_refused(levels):
    with refused("experiment 'e': factor 'beta' is "):
        experiment(beta=levels)


# --- bounds -------------------------------------------------------------------------------------------------------

PARTS = {"recipe": Recipe, "evaluation": Evaluation, "measures": Measures, "resources": Resources}


def endless() -> Any:
    return itertools.count()


def again(value: str) -> Any:
    return itertools.repeat(value)


def of_type_any(value: object) -> Any:
    return value


def whole_settings() -> list[tuple[str, str]]:
    return [
        (part, field.name)
        for part, kind in PARTS.items()
        for field in dataclasses.fields(kind)
        if "int" in str(field.type)
    ]


def test_every_whole_number_has_a_bound():
    factors = {factor for factor in FACTORS if factor in MOST}
    assert set(MOST) == factors | {name for _, name in whole_settings()}
    assert factors == {"depth", "width", "latent_dim", "steps", "batch_size"}


@pytest.mark.parametrize(("part", "name"), whole_settings())
def test_a_setting_may_be_its_bound_and_no_more(part, name):
    assert getattr(PARTS[part](**{name: MOST[name]}), name) == MOST[name]
    with refused(f"{part}.{name} is {MOST[name] + 1}; allowed: a whole number, "):
        PARTS[part](**{name: MOST[name] + 1})


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("resources", "gpu_memory_gib", 1e308),
        ("resources", "evaluation_memory_gib", 1e308),
        ("resources", "price", 1e308),
        ("resources", "checkpoint_seconds", 1e308),
        ("recipe", "learning_rate", 1e308),
        ("recipe", "learning_rate", 5e-324),
    ],
)
def test_a_number_that_nothing_can_be_computed_of_is_refused(part, name, value):
    with refused(f"{part}.{name} is {value}; allowed: a finite number"):
        PARTS[part](**{name: value})


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: experiment(seed=endless()), "experiment 'e': factor 'seed' has more than 100,000 items"),
        (lambda: experiment(beta=itertools.repeat(1)), "experiment 'e': factor 'beta' has more than 100,000 items"),
        (lambda: experiment(seed=range(10**12)), "experiment 'e': factor 'seed' has 1,000,000,000,000 items"),
        (
            lambda: Experiment("e", GRID, figures=again("distortion")),
            "experiment 'e': figures has more than",
        ),
        (lambda: Measures(names=again("probe")), "measures.names has more than"),
        (lambda: Measures(annealing={"beta": endless()}), "measures.annealing: 'beta' has more than"),
        (lambda: at_least(1, endless()), "at_least: parts has more than"),
        (lambda: at_least(1, of_type_any([5])), "at_least: parts is [5]; allowed: a list of contrasts"),
        (lambda: Study("s", of_type_any(experiment() for _ in endless())), "study 's': experiments is <generator"),
    ],
)
def test_what_never_ends_is_one_line(declare, message):
    with refused(message):
        declare()


def test_a_study_has_so_many_members_and_no_more():
    half = MOST_MEMBERS // 2
    assert len(ids(study(experiment(seed=range(7), depth=[1, 3])))) == 14
    with refused(
        f"experiment 'e' has 2 × {half + 1:,} = {MOST_MEMBERS + 2:,} members; allowed: {MOST_MEMBERS:,} at most"
    ):
        experiment(beta=[1, 2], seed=range(half + 1))
    two = [experiment("a", seed=range(half)), experiment("b", seed=range(half + 1))]
    with refused(f"study 's' has {half:,} + {half + 1:,} = {MOST_MEMBERS + 1:,} members; allowed: {MOST_MEMBERS:,}"):
        study(*two)
    study(*two[:1])
    with pytest.raises(ValueError, match=r"allowed: 100,000 at most$"):
        experiment(**of_type_any(dict.fromkeys(("seed", "beta", "depth", "width", "latent_dim"), range(1, 1_000))))


def test_claims_have_a_bound_too():
    contrast = monotone({"depth": 1})
    for _ in range(MOST_NESTED - 1):
        contrast = at_least(1, [contrast])
    with refused(f"contrast 'at_least'; allowed: {MOST_NESTED} contrasts inside each other"):
        at_least(1, [contrast])
    many = [Claim(f"c{at}", "It holds.", "", [monotone({"depth": 1})]) for at in range(MOST_CONTRASTS + 1)]
    with refused(f"study 's': claims have {MOST_CONTRASTS + 1:,} contrasts; allowed: {MOST_CONTRASTS:,} at most"):
        study(claims=many)
    assert len(study(claims=many[1:]).claims) == MOST_CONTRASTS
    for empty in ({"least": 2, "most": 1}, {"above": 1, "most": 1}, {"below": 0}):
        with refused("betas is Betas("):
            Betas(**empty)
    assert 1.0 in Betas(least=1, most=1)


TEXTS = (5, None, b"x", ["x"], "\ud800", "x" * (MOST_TEXT + 1))


@pytest.mark.parametrize("value", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("name", ["title", "description"])
def test_titles_and_descriptions_are_text(name, value):
    for where, declare in (("experiment 'e'", lambda **texts: Experiment("e", GRID, **texts)), ("study 's'", study)):
        with refused(f"{where}: {name} is {value!r}"[:40]):
            declare(**{name: value})


@pytest.mark.parametrize("value", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("name", ["sentence", "source", "figure"])
def test_what_a_claim_says_is_text(name, value):
    texts = {"sentence": "It holds.", "source": "", **{name: value}}
    with refused(f"claim 'c': {name} is {value!r}"[:30]):
        Claim("c", contrasts=[monotone({"depth": 1})], **texts)


def test_names_of_measures_may_be_read_once():
    assert Measures(names=of_type_any(iter(["probe", "rate_parts"]))).names == ("rate_parts", "probe")


def test_the_figures_of_a_set_have_an_order():
    figures: Any = {"rate-distortion", "distortion", "learning", "neighbours"}
    assert Experiment("e", GRID, figures=figures).figures == tuple(sorted(figures))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=7,
)


def said(declare: Callable[[], object]) -> str:
    """What is said of a value that is refused; nothing of one that is kept."""
    try:
        declare()
    except ValueError as error:
        return str(error)
    return ""


@given(
    st.sampled_from([(part, field.name) for part, kind in PARTS.items() for field in dataclasses.fields(kind)]), VALUES
)
def test_any_value_of_a_setting_is_kept_or_refused_in_a_line(setting, value):
    part, name = setting
    text = said(lambda: PARTS[part](**{name: value}))
    assert not text or re.match(rf"{part}\.{name}\b.* is .*; allowed: ", text, re.DOTALL)


@given(st.sampled_from(list(FACTORS)), VALUES)
def test_any_levels_are_kept_or_refused_in_a_line(factor, value):
    text = said(lambda: experiment(**{factor: value}))
    assert not text or re.match(rf"experiment 'e': .*{factor}.*; allowed: ", text, re.DOTALL)


@given(VALUES)
def test_any_value_after_set_is_kept_or_refused_in_a_line(value):
    for path in ("recipe.steps", "resources.gpus", "measures.annealing", "seed"):
        text = said(functools.partial(study().with_settings, [f"{path}={value!r}"]))
        assert not text or "; allowed: " in text


# --- what is shown of a value -------------------------------------------------------------------------------------


class Unshown:
    def __repr__(self):
        raise RuntimeError


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


LARGE: list[Any] = [
    *("x" * 10**7, b"x" * 10**6, 10**4_000, 10**50_000, -(10**50_000), nested(10**4), range(10**9), Unshown()),
    *(list(range(10**6)), dict.fromkeys(range(10**6)), set(range(10**5)), {"x" * 10**6: ["y" * 10**6] * 10**4}),
]


@pytest.mark.parametrize("at", range(len(LARGE)))
def test_any_value_is_shown_in_a_line(at):
    value = LARGE[at]
    line = one_line(f"x is {shown(value)}; allowed: y")
    assert 10 < len(line) <= 2_000


@given(
    st.none() | st.integers(-(10**9), 10**9) | st.floats() | st.text(max_size=99) | st.lists(st.integers(), max_size=9)
)
def test_a_short_value_is_shown_as_python_writes_it(value):
    assert shown(value) == repr(value)


def test_a_dictionary_is_shown_in_its_own_order():
    assert shown({"seed": [1], "beta": 2}) == "{'seed': [1], 'beta': 2}"


@pytest.mark.parametrize("value", [0.0, -0.0, 0, np.float64(0)])
def test_zero_has_one_sign(value):
    assert str(number("x", value, zero=True)) == "0.0"


# --- levels held against members and data -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annealing", "message"),
    [
        ({"beta": [7]}, "measures.annealing: beta is 7; allowed: what members have: 0.1, 1.0"),
        ({"beta": [1], "seed": [0, 9]}, "measures.annealing: seed is 9; allowed: what members have: 0, 1"),
        ({"split": ["default"]}, "measures.annealing: split is 'default'; allowed: what members have: cv(97)"),
        ({"depth": [2]}, "measures.annealing: depth is 2; allowed: what members have: 1"),
    ],
)
def test_annealing_of_no_member_is_refused(annealing, message):
    declared = study(experiment(beta=[0.1, 1], seed=range(2)), measures=Measures(annealing=annealing))
    with refused(message):
        make_plan(declared, {})


def test_annealing_of_some_members_is_planned():
    chosen = Measures(annealing=of_type_any({"beta": {1, 0.1}, "seed": np.arange(1)}))
    assert chosen.annealing == {"beta": [0.1, 1], "seed": [0]}
    assert make_plan(study(experiment(beta=[0.1, 1, 3], seed=range(2)), measures=chosen), {}).packs


@pytest.mark.parametrize(
    ("annealing", "message"),
    [
        ({"beta": ["1"]}, "measures.annealing: beta is '1'; allowed: a finite number"),
        ({"seed": [1.0]}, "measures.annealing: seed is 1.0; allowed: a whole number"),
        ({"beta": [None]}, "measures.annealing is None; allowed: levels that are finite numbers or names"),
        ({"beta": [True]}, "measures.annealing is True; allowed: levels that are finite numbers or names"),
        ({"beta": [float("nan")]}, "measures.annealing is nan; allowed: levels that are finite numbers or names"),
        ({"beta": []}, "measures.annealing: 'beta' is []; allowed: one level or more"),
    ],
)
def test_annealing_of_no_level_is_refused(annealing, message):
    with refused(message):
        study(measures=Measures(annealing=annealing))


def test_a_network_that_no_memory_holds_is_refused():
    with refused("experiment 'e': depth 3, width 65536 and latent_dim 10 make 1.8e+10 parameters"):
        make_plan(study(experiment(depth=[3], width=[2**16])), {})
    assert make_plan(study(experiment(depth=[3], width=[2**14])), {}).packs


FACTORS_OF = {
    "both": np.linspace(0, 1, 97)[:, None],
    "constant": np.full((97, 2), 0.3),
    "one": np.where(np.arange(97) == 5, 0.7, 0.3)[:, None],
}


@pytest.fixture
def loads(monkeypatch):
    """Data sets of 97 images with these factors; how often each was loaded."""
    counts = dict.fromkeys(FACTORS_OF, 0)

    def load(name: str) -> Dataset:
        counts[name] += 1
        return Dataset(np.zeros((97, 1, 8, 8), np.uint8), FACTORS_OF[name])

    for name, factors in FACTORS_OF.items():
        names = tuple(map(str, range(factors.shape[1])))
        info = DatasetInfo(name, 97, (1, 8, 8), names, functools.partial(load, name))
        monkeypatch.setitem(registry._DATASETS, name, info)
    return counts


def test_a_split_that_leaves_nothing_is_refused_before_anything_is_trained(loads):
    problem = "split checkerboard of data set 'constant' leaves 97 train and 0 test images"
    plan = make_plan(study(experiment(dataset=["constant"], split=["checkerboard"])), {})
    assert not any(loads.values())  # a plan reads no images
    with refused(problem):
        check_splits(plan)
    plan = make_plan(study(experiment(dataset=["one"], split=["checkerboard"])), {})
    with refused("split checkerboard of data set 'one' leaves 96 train and 1 test images; allowed: 2 or more of each"):
        check_splits(plan)


def test_each_split_by_factors_of_what_remains_is_made_once(loads):
    declared = study(experiment(dataset=["both"], split=["checkerboard", "cv(7)"], beta=[0.1, 1], seed=range(3)))
    plan = make_plan(declared, {})
    check_splits(plan)
    assert loads == {"both": 1, "constant": 0, "one": 0}
    check_splits(make_plan(declared, {member.member_id: "ok" for member in plan.wanted}))
    check_splits(make_plan(study(experiment(dataset=["constant"], split=["cv(7)"])), {}))
    assert loads == {"both": 1, "constant": 0, "one": 0}


def test_what_a_split_by_factors_leaves_bounds_validation_and_batches(loads):
    grid = experiment(dataset=["both"], split=["checkerboard"])
    declared = study(grid, evaluation=Evaluation(validation_images=49))
    with refused("evaluation.validation_images is 49 with the split 'checkerboard'; allowed: fewer than its 49 test"):
        check_splits(make_plan(declared, {}))
    other = experiment(dataset=["both"], split=["checkerboard"], objective=["no_marginal_kl"])
    with refused("recipe.batch_size is 49 with the objective"):
        check_splits(make_plan(study(other, recipe=Recipe(batch_size=49)), {}))
    check_splits(make_plan(study(other, recipe=Recipe(batch_size=48)), {}))
    assert loads["both"] == 3
