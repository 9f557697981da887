"""Laws of the declaration: what it refuses, what its grids hold, and what makes two members the same.

Longer than a page: its tables name every field and factor there is, and a test holds them to that.
"""

import copy
import dataclasses
import json
import math
import pickle
import re
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rdstudy.study.study
from rdstudy.results import schema
from rdstudy.study import (
    FACTORS,
    PAPER_BETAS,
    Cell,
    Evaluation,
    Experiment,
    Measures,
    Member,
    Recipe,
    Resources,
    Study,
)
from rdstudy.study.bounds import MOST
from rdstudy.study.factors import REQUIRED_FACTORS

GRID: dict[str, Any] = {"dataset": ["tetrominoes"], "split": ["cv(8192)"], "beta": [0.1], "seed": [2]}
MEMBER = Member(dataset="tetrominoes", split="cv(8192)", beta=0.1, seed=2)

WHOLE_1 = "a whole number, 1 or more"
WHOLE_0 = "a whole number, 0 or more"
ABOVE_0 = "a finite number above 0"
FROM_0 = "a finite number, 0 or more"
SHARE = '0, 1, or 1/k for a whole k, or "auto"'


def experiment(name="e", **levels) -> Experiment:
    return Experiment(name, {**GRID, **levels})


def study(*experiments, **settings) -> Study:
    return Study("s", experiments or [experiment()], **settings)


def only_member(declared: Study) -> Member:
    (member,) = declared.experiments[0].members(declared)
    return member


def refused(text: str):
    return pytest.raises(ValueError, match="^" + re.escape(text))


def refused_name(text: str, allowed: str):
    """What is no name of those that are allowed; the nearest of them may be said."""
    return pytest.raises(
        ValueError, match=rf"^{re.escape(text)}( \(did you mean .*\?\))?; allowed: {re.escape(allowed)}"
    )


# --- what is refused ----------------------------------------------------------------------------------------------

BAD_WHOLE = (0, -3, 2.0, 2.5, True, "7", None, math.nan, [5])
BAD_COUNT = (-1, *BAD_WHOLE[1:], False)
BAD_NUMBER = (-1e-9, math.nan, math.inf, -math.inf, True, False, "0.1", None, [0.1], 1j)
BAD_NAME = ("", None, 5, ["cv(8192)"])

PART_FIELDS = {
    (Recipe, "optimizer"): (("lion", "Adam", "", None, 5), "adam, adamw, sgd, or part(...)"),
    (Recipe, "learning_rate"): ((0, 0.0, *BAD_NUMBER), ABOVE_0),
    (Recipe, "batch_size"): (BAD_WHOLE, WHOLE_1),
    (Recipe, "steps"): (BAD_WHOLE, WHOLE_1),
    (Recipe, "schedule"): (("linear", "Cosine", "", None, 5), "constant, cosine, step_decay, or part(...)"),
    (Recipe, "initialization"): (("xavier", "He", "", None, 5), "default, he"),
    (Recipe, "weight_decay"): (BAD_NUMBER, FROM_0),
    (Recipe, "precision"): (("bf16", "TF32", "", None, 32), "float32, tf32"),
    (Evaluation, "trajectory_points"): (BAD_WHOLE, WHOLE_1),
    (Evaluation, "trajectory_images"): (BAD_WHOLE, WHOLE_1),
    (Evaluation, "final_images"): (tuple(value for value in BAD_WHOLE if value is not None), WHOLE_1),
    (Evaluation, "validation_images"): (BAD_COUNT, WHOLE_0),
    (Resources, "cpus"): (BAD_WHOLE, WHOLE_1),
    (Resources, "gpus"): (("Auto", *BAD_NUMBER), SHARE),
    (Resources, "pack_size"): (tuple(value for value in BAD_WHOLE if value is not None), WHOLE_1),
    (Resources, "checkpoint_seconds"): (BAD_NUMBER, FROM_0),
    (Resources, "gpu_model"): (("H300", "h100", "", 5), "A10G, L4, A100, H100, H200"),
    (Resources, "gpu_memory_gib"): ((0, *(value for value in BAD_NUMBER if value is not None)), ABOVE_0),
    (Resources, "evaluation_memory_gib"): ((0, 0.0, *BAD_NUMBER), ABOVE_0),
    (Resources, "keep_weights"): ((1, 0, "True", None), "True or False"),
    (Resources, "devices"): (tuple(value for value in BAD_WHOLE if value is not None), WHOLE_1),
    (Resources, "price"): (tuple(value for value in BAD_NUMBER if value is not None), FROM_0),
}

FACTOR_LEVELS = {
    "dataset": (BAD_NAME, "a name in quotes"),
    "split": (BAD_NAME, "a name in quotes"),
    "architecture": (("rnn", "MLP", "", None, 1, ["mlp"]), "cnn, linear, mlp, or part(...)"),
    "depth": (BAD_WHOLE, WHOLE_1),
    "width": (BAD_WHOLE, WHOLE_1),
    "latent_dim": (BAD_WHOLE, WHOLE_1),
    "prior": (("gauss", "normal(", "normal()x", None), "flow, mixture, normal, vamp, or part(...)"),
    "likelihood": (("gauss", None), "bernoulli, continuous_bernoulli, gaussian, or part(...)"),
    "objective": (("elbo", None), "beta"),
    "beta": (BAD_NUMBER, FROM_0),
    "seed": (BAD_COUNT, WHOLE_0),
    **{name: bad for (part, name), bad in PART_FIELDS.items() if part is Recipe},
}


def cases(table):
    return [(where, value, allowed) for where, (values, allowed) in table.items() for value in values]


def test_every_field_and_factor_has_its_bad_values():
    fields = {(part, field.name) for part in (Recipe, Evaluation, Resources) for field in dataclasses.fields(part)}
    assert set(PART_FIELDS) == fields
    assert set(FACTOR_LEVELS) == set(FACTORS)


@pytest.mark.parametrize(("where", "value", "allowed"), cases(PART_FIELDS))
def test_a_bad_setting_is_named_with_its_value_and_what_is_allowed(where, value, allowed):
    part, name = where
    with refused_name(f"{part.__name__.lower()}.{name} is {value!r}", allowed):
        part(**{name: value})


@pytest.mark.parametrize(("factor", "value", "allowed"), cases(FACTOR_LEVELS))
def test_a_bad_level_is_named_with_its_experiment_and_what_is_allowed(factor, value, allowed):
    with refused_name(f"experiment 'depths': {factor} is {value!r}", allowed):
        experiment("depths", **{factor: [value]})


@pytest.mark.parametrize("gpus", [1.5, 2, 0.7, 0.4, 0.9])
def test_a_share_of_a_gpu_that_does_not_divide_it_is_refused(gpus):
    with refused(f"resources.gpus is {gpus!r}; allowed: {SHARE}"):
        Resources(gpus=gpus)


@pytest.mark.parametrize(("gpus", "parts"), [(1, 1), (0.5, 2), (0.333, 3), (0.2, 5), (0.1428, 7), (1 / 11, 11)])
def test_a_share_of_a_gpu_is_rounded_to_a_whole_number_of_parts(gpus, parts):
    assert Resources(gpus=gpus).gpus == 1 / parts


def test_a_share_of_a_gpu_may_be_left_to_the_estimate():
    assert Resources(gpus="auto").gpus == "auto"
    assert study().with_settings(["resources.gpus=auto"]).resources == Resources(gpus="auto")


def test_a_share_of_a_gpu_may_be_given_as_it_is_said():
    assert study().with_settings(["resources.gpus=1/4"]).resources == Resources(gpus=1 / 4)
    for wrong in ("2/4", "1/0", "1/2048", "1/4.5"):
        with refused(f"resources.gpus is {wrong!r}; allowed: {SHARE}" if wrong != "1/2048" else "resources.gpus is "):
            study().with_settings([f"resources.gpus={wrong}"])


@pytest.mark.parametrize("name", ["", "two words", "a/b", "../a", "é", "-a", "_a", ".a", "a\n", "a" * 65, None, 5])
@pytest.mark.parametrize(
    ("what", "declare"), [("experiment", experiment), ("study", lambda name: Study(name, [experiment()]))]
)
def test_a_name_that_is_no_file_name_is_refused(what, declare, name):
    with refused(f"{what} name is {name!r}; allowed: up to 64 letters, digits, - and _"):
        declare(name)


def test_names_of_all_allowed_letters_pass():
    assert experiment("Aa0-_" + "b" * 59).name == "Aa0-_" + "b" * 59


def test_a_misspelt_factor_lists_the_factors():
    with refused(f"experiment 'e': factor is 'betas' (did you mean beta?); allowed: {', '.join(FACTORS)}"):
        experiment(betas=[1])


@pytest.mark.parametrize("factor", REQUIRED_FACTORS)
def test_a_missing_factor_lists_the_required(factor):
    grid = {name: levels for name, levels in GRID.items() if name != factor}
    with refused(f"experiment 'e': factor '{factor}' is missing; required: dataset, split, beta, seed"):
        Experiment("e", grid)


@pytest.mark.parametrize("factor", FACTORS)
def test_an_empty_axis_is_refused(factor):
    with refused(f"experiment 'e': factor '{factor}' has no levels; allowed: one or more"):
        experiment(**{factor: []})


@pytest.mark.parametrize("levels", ["tetrominoes", 5, None])
def test_an_axis_that_is_no_list_is_refused(levels):
    with refused(f"experiment 'e': factor 'dataset' is {levels!r}; allowed: a list of levels"):
        experiment(dataset=levels)


@pytest.mark.parametrize(
    ("factor", "levels", "twice"),
    [("beta", [0.1, 1, 1.0], "1.0"), ("seed", [0, 1, 2, 1], "1"), ("split", ["default", "default"], "'default'")],
)
def test_a_level_listed_twice_is_refused(factor, levels, twice):
    with refused(f"experiment 'e': factor '{factor}' lists {twice} twice; allowed: distinct levels"):
        experiment(**{factor: levels})


def test_a_study_without_experiments_is_refused():
    with refused("study 's' has no experiments; allowed: one or more"):
        Study("s", [])


def test_two_experiments_of_one_name_are_refused():
    with refused("study 's' has two experiments named 'a'; allowed: distinct names"):
        study(experiment("a"), experiment("b"), experiment("a", beta=[3]))


@pytest.mark.parametrize("value", BAD_COUNT)
def test_a_bad_study_seed_is_refused(value):
    with refused(f"study 's': seed is {value!r}; allowed: {WHOLE_0}"):
        study(seed=value)


@pytest.mark.parametrize(
    ("name", "kind"), [("recipe", "Recipe"), ("evaluation", "Evaluation"), ("resources", "Resources")]
)
@pytest.mark.parametrize("value", [None, {"steps": 5}, "fast"])
def test_a_part_of_another_type_is_refused(name, kind, value):
    with refused(f"study 's': {name} is {value!r}; allowed: a {kind}"):
        study(**{name: value})


@pytest.mark.parametrize("value", [[5], ["depths"], [GRID], None, "depths"])
def test_experiments_that_are_none_are_refused(value):
    with pytest.raises(ValueError, match=r"study 's'.*allowed"):
        Study("s", value)


@pytest.mark.parametrize("grid", [None, 5, ["dataset", "split", "beta", "seed"]])
def test_a_grid_that_is_no_mapping_is_refused(grid):
    with pytest.raises(ValueError, match=r"experiment 'e'.*allowed"):
        Experiment("e", grid)


def test_numbers_beyond_all_floats_are_refused_as_any_other():
    with refused("experiment 'e': beta is 1000"):
        experiment(beta=[10**400])
    with refused("resources.gpus is 1e-320; allowed"):
        Resources(gpus=1e-320)


LARGEST = {"seed": 2**63 - 1, **{factor: MOST[factor] for factor in ("depth", "width", "latent_dim")}}


@pytest.mark.parametrize("factor", LARGEST)
def test_the_largest_level_fits_its_column(factor):
    level = only_member(study(experiment(**{factor: [LARGEST[factor]]}))).to_dict()[factor]
    assert pa.array([level], schema.MEMBERS.field(factor).type).to_pylist() == [LARGEST[factor]]


@pytest.mark.parametrize("factor", LARGEST)
def test_a_larger_level_is_refused_before_it_is_trained(factor):
    with refused(f"experiment 'e': {factor} is {LARGEST[factor] + 1}; allowed"):
        experiment(**{factor: [LARGEST[factor] + 1]})


# --- grids --------------------------------------------------------------------------------------------------------


def test_a_grid_is_the_product_of_its_levels_in_their_order():
    declared = study(experiment(depth=[1, 3], beta=[0.1, 1, 3], seed=range(5), latent_dim=[2, 3, 5, 7, 10, 11, 13]))
    members = declared.experiments[0].members(declared)
    assert len(members) == len(set(members)) == 2 * 3 * 5 * 7
    assert len({member.member_id for member in members}) == len(members)
    assert [(m.beta, m.seed, m.depth, m.latent_dim) for m in members] == [
        (beta, seed, depth, latent)
        for beta in (0.1, 1.0, 3.0)
        for seed in range(5)
        for depth in (1, 3)
        for latent in (2, 3, 5, 7, 10, 11, 13)
    ]


def test_factors_left_out_have_the_defaults_of_the_paper():
    member = only_member(study())
    assert member == MEMBER
    assert (member.architecture, member.depth, member.width, member.latent_dim) == ("mlp", 1, 512, 10)
    assert (member.likelihood, member.objective, member.study_seed) == ("bernoulli", "beta", 0)
    assert member.recipe == Recipe("adam", 1e-3, 128, 257_000)
    assert PAPER_BETAS == (0.001, 0.005, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1, 2, 3, 5)


def test_width_follows_the_architecture_unless_given():
    declared = study(
        experiment("own", architecture=["mlp", "cnn"]), experiment("same", architecture=["cnn"], width=[7])
    )
    own, same = (part.members(declared) for part in declared.experiments)
    assert [(member.architecture, member.width) for member in own] == [("mlp", 512), ("cnn", 64)]
    assert [member.width for member in same] == [7]


@pytest.mark.parametrize(("factor", "level"), [("depth", 2), ("width", 512)])
def test_a_linear_vae_has_no_layers_to_be_deep_or_wide(factor, level):
    with refused(
        f"experiment 'e': {factor} of the architecture linear is {level}; allowed: 1, it has no hidden layers"
    ):
        experiment(architecture=["mlp", "linear"], **{factor: [1, level]})
    assert len(study(experiment(architecture=["mlp", "cnn"], **{factor: [1, level]})).experiments) == 1
    plain, spelt = experiment(architecture=["linear"]), experiment(architecture=["linear"], depth=[1], width=[1])
    assert only_member(study(plain)) == only_member(study(spelt))


def test_what_a_study_fixes_reaches_every_member():
    recipe, evaluation = Recipe(steps=13, batch_size=7), Evaluation(final_images=11)
    declared = study(experiment(seed=range(3)), recipe=recipe, evaluation=evaluation, seed=17)
    members = declared.experiments[0].members(declared)
    assert {(m.recipe, m.evaluation, m.study_seed) for m in members} == {(recipe, evaluation, 17)}


def test_levels_may_be_any_iterable_and_are_read_once():
    declared = study(experiment(seed=(seed for seed in (3, 5)), beta={0.3: "twice is", 3: "impossible"}.keys()))
    for _ in range(2):
        assert [(m.beta, m.seed) for m in declared.experiments[0].members(declared)] == [
            (0.3, 3),
            (0.3, 5),
            (3.0, 3),
            (3.0, 5),
        ]


@pytest.mark.parametrize("instance", [study(), experiment(), MEMBER, Recipe(), Evaluation(), Resources()])
def test_declarations_are_frozen(instance):
    name = dataclasses.fields(instance)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(instance, name, getattr(instance, name))


def test_members_of_a_cell_differ_in_beta_and_seed_alone():
    declared = study(experiment(beta=[0.1, 1, 3], seed=range(5)), experiment("deep", depth=[3]))
    wide, deep = (part.members(declared) for part in declared.experiments)
    assert len({member.cell for member in wide}) == 1
    assert deep[0].cell != wide[0].cell


# --- identity -----------------------------------------------------------------------------------------------------

OTHER = {
    "dataset": "mnist",
    "split": "cv(16384)",
    "beta": 0.3,
    "seed": 3,
    "architecture": "cnn",
    "depth": 3,
    "width": 513,
    "latent_dim": 11,
    "prior": "mixture(k=3)",
    "likelihood": "gaussian",
    "objective": "other",
    "study_seed": 5,
    "recipe.optimizer": "sgd",
    "recipe.learning_rate": 1.1e-3,
    "recipe.batch_size": 127,
    "recipe.steps": 257_001,
    "recipe.schedule": "cosine",
    "recipe.initialization": "he",
    "recipe.weight_decay": 0.1,
    "recipe.precision": "tf32",
    "evaluation.trajectory_points": 41,
    "evaluation.trajectory_images": 2_003,
    "evaluation.final_images": 9_973,
    "evaluation.validation_images": 997,
}


def changed(path: str, value: object) -> Member:
    """MEMBER with one setting replaced, past the checks: some settings have a single level as yet."""
    member = copy.deepcopy(MEMBER)
    part, _, name = path.rpartition(".")
    object.__setattr__(getattr(member, part) if part else member, name, value)
    return member


def test_other_values_are_listed_for_every_setting():
    nested = {"recipe": Recipe, "evaluation": Evaluation}
    own = {field.name for field in dataclasses.fields(Member)} - set(nested)
    parts = {f"{part}.{field.name}" for part, kind in nested.items() for field in dataclasses.fields(kind)}
    assert set(OTHER) == own | parts


@pytest.mark.parametrize("path", OTHER)
def test_every_setting_changes_the_id(path):
    other = changed(path, OTHER[path])
    assert other != MEMBER
    assert other.member_id != MEMBER.member_id
    assert re.fullmatch("[0-9a-f]{16}", other.member_id)


def test_a_pickle_of_a_member_has_its_fields_and_no_hash_of_this_process(run_python):
    assert (hash(MEMBER), MEMBER.stack) == (hash(MEMBER.member_id), MEMBER.cell.stack)  # made, and kept
    content = pickle.dumps((MEMBER, MEMBER.cell))
    for copied, kind in zip(pickle.loads(content), (Member, Cell), strict=True):
        assert vars(copied).keys() == {each.name for each in dataclasses.fields(kind)}
    code = (
        f"import pickle; member, cell = pickle.loads({content!r}); print(member.cell == cell, {{member.cell: 3}}[cell])"
    )
    assert run_python(code, PYTHONHASHSEED="7") == "True 3"


def test_a_number_makes_one_id_however_it_is_written():
    def written(kind: type) -> str:
        recipe = Recipe(learning_rate=kind(1), weight_decay=kind(2))
        return Member("tetrominoes", "cv(1000)", beta=kind(1), seed=0, depth=kind(2), recipe=recipe).member_id

    assert written(float) == written(int)


def test_no_two_of_these_changes_lead_to_the_same_id():
    assert len({changed(path, value).member_id for path, value in OTHER.items()} | {MEMBER.member_id}) == 1 + len(OTHER)


def test_an_unchanged_copy_has_the_same_id():
    assert changed("depth", 1).member_id == MEMBER.member_id


def test_a_new_version_of_the_numerics_changes_the_id(monkeypatch):
    before = MEMBER.member_id
    monkeypatch.setattr(rdstudy.study.member, "NUMERICS_VERSION", rdstudy.study.NUMERICS_VERSION + 1)
    assert copy.copy(MEMBER).member_id != before


RESOURCES = Resources(
    cpus=7,
    gpus="auto",
    pack_size=3,
    checkpoint_seconds=11,
    gpu_model="L4",
    gpu_memory_gib=13,
    evaluation_memory_gib=0.7,
    keep_weights=True,
    devices=5,
    price=1.3,
)


def test_other_resources_are_listed_for_every_field():
    for field in dataclasses.fields(Resources):
        assert getattr(RESOURCES, field.name) != getattr(Resources(), field.name)


def test_how_a_study_is_run_and_named_does_not_change_an_id():
    texts: dict[str, Any] = {"title": "A title", "description": "A paragraph."}
    declared = study(resources=RESOURCES)
    other = Study("other", [Experiment("another", GRID, **texts)], authors="A. Person", **texts)
    assert only_member(declared).member_id == only_member(other).member_id == MEMBER.member_id


def test_the_order_of_a_grid_does_not_change_an_id():
    backwards = Experiment("e", dict(reversed(GRID.items())))
    assert only_member(study(backwards)).member_id == MEMBER.member_id


def test_a_default_spelt_out_does_not_change_an_id():
    spelt = experiment(architecture=["mlp"], width=[512], depth=[1], latent_dim=[10])
    assert only_member(study(spelt)).member_id == MEMBER.member_id


@pytest.mark.parametrize(("whole", "spelt"), [(1, 1.0), (3, 3.0), (0, 0.0), (0.0, -0.0)])
def test_equal_betas_make_equal_ids(whole, spelt):
    first, second = (only_member(study(experiment(beta=[beta]))) for beta in (whole, spelt))
    assert first == second
    assert first.member_id == second.member_id


def test_equal_learning_rates_make_equal_ids():
    first, second = (only_member(study(recipe=Recipe(learning_rate=rate))) for rate in (1, 1.0))
    assert first.member_id == second.member_id


def test_the_id_of_this_member_never_changes():
    """Another id here is another contract of the numerics: every stored result would be trained again."""
    assert MEMBER.member_id == "f740f56b01ec1cc5"


def test_an_id_does_not_depend_on_the_process(run_python):
    code = f"from rdstudy.study import *; print(Member.from_dict({MEMBER.to_dict()!r}).member_id)"
    assert {run_python(code, PYTHONHASHSEED=seed) for seed in ("1", "2")} == {MEMBER.member_id}


recipes = st.builds(
    Recipe,
    learning_rate=st.floats(1e-9, 1e3),
    batch_size=st.integers(1, 10**6),
    steps=st.integers(1, 10**9),
)
evaluations = st.builds(
    Evaluation,
    trajectory_points=st.integers(1, 97),
    trajectory_images=st.integers(1, 10**6),
    final_images=st.none() | st.integers(1, 10**6),
    validation_images=st.integers(0, 10**6),
)


@st.composite
def members(draw):
    grid = {
        "dataset": [draw(st.text(min_size=1, max_size=7))],
        "split": [draw(st.sampled_from(["default", "checkerboard", "cv(7)", "cd(7)"]))],
        "architecture": [draw(st.sampled_from(["mlp", "cnn"]))],
        "depth": [draw(st.integers(1, 5))],
        "beta": [draw(st.just(0.0) | st.floats(1e-30, 1e6) | st.integers(0, 5))],
        "seed": [draw(st.integers(0, 2**62))],
    }
    parts = {"recipe": draw(recipes), "evaluation": draw(evaluations), "seed": draw(st.integers(0, 3))}
    return only_member(study(Experiment("e", grid), **parts))


@given(members())
def test_a_member_survives_json(member):
    text = json.dumps(member.to_dict(), allow_nan=False)
    back = Member.from_dict(json.loads(text))
    assert back == member
    assert back.member_id == member.member_id
    assert json.dumps(back.to_dict()) == text


@given(st.lists(members(), min_size=2, max_size=11))
def test_two_members_are_equal_where_their_ids_are(drawn):
    assert len({member.member_id for member in drawn}) == len(set(drawn))


def test_experiments_that_overlap_share_members():
    declared = study(
        experiment("betas", beta=[0.1, 1, 3], seed=range(2)),
        experiment("seeds", beta=[1.0], seed=range(5)),
    )
    first, second = ({m.member_id for m in part.members(declared)} for part in declared.experiments)
    assert (len(first), len(second), len(first & second), len(first | second)) == (6, 5, 2, 9)


# --- settings from the command line -------------------------------------------------------------------------------

ASSIGNMENTS = {
    "recipe.optimizer": ("adam", "adam"),
    "recipe.learning_rate": ("2e-4", 2e-4),
    "recipe.batch_size": ("64", 64),
    "recipe.steps": ("2_003", 2003),
    "recipe.schedule": ("cosine", "cosine"),
    "recipe.initialization": ("he", "he"),
    "recipe.weight_decay": ("1e-4", 1e-4),
    "recipe.precision": ("tf32", "tf32"),
    "evaluation.trajectory_points": ("11", 11),
    "evaluation.trajectory_images": ("499", 499),
    "evaluation.final_images": ("None", None),
    "evaluation.validation_images": ("101", 101),
    "measures.names": ("['rate_parts']", ("rate_parts",)),
    "measures.aggregate_images": ("4_999", 4_999),
    "measures.latent_samples": ("499", 499),
    "measures.importance_images": ("53", 53),
    "measures.importance_samples": ("101", 101),
    "measures.refit_steps": ("97", 97),
    "measures.memorization_images": ("211", 211),
    "measures.neighbour_images": ("307", 307),
    "measures.probe_images": ("11", 11),
    "measures.reconstruction_images": ("3", 3),
    "measures.annealing": ("{'beta': [1], 'seed': [0]}", {"beta": [1], "seed": [0]}),
    "measures.annealing_images": ("5", 5),
    "measures.annealing_temperatures": ("71", 71),
    "resources.cpus": ("3", 3),
    "resources.gpus": ("0.25", 0.25),
    "resources.pack_size": ("5", 5),
    "resources.checkpoint_seconds": ("7.5", 7.5),
    "resources.gpu_model": ("H200", "H200"),
    "resources.gpu_memory_gib": ("24", 24.0),
    "resources.evaluation_memory_gib": ("0.5", 0.5),
    "resources.keep_weights": ("True", True),
    "resources.devices": ("16", 16),
    "resources.price": ("1.006", 1.006),
}


def test_an_assignment_is_listed_for_every_setting():
    parts = {"recipe": Recipe, "evaluation": Evaluation, "measures": Measures, "resources": Resources}
    assert set(ASSIGNMENTS) == {f"{part}.{f.name}" for part, kind in parts.items() for f in dataclasses.fields(kind)}


@pytest.mark.parametrize("path", ASSIGNMENTS)
def test_a_setting_is_replaced_and_nothing_else(path):
    text, value = ASSIGNMENTS[path]
    declared = study(evaluation=Evaluation(final_images=7), resources=Resources(pack_size=2))
    after = declared.with_settings([f"{path} = {text}"])
    part, name = path.split(".")
    assert getattr(getattr(after, part), name) == value
    restored = dataclasses.replace(after, **{part: getattr(declared, part)})
    assert restored == declared
    assert getattr(after, part) == dataclasses.replace(getattr(declared, part), **{name: value})


def test_the_study_seed_is_a_setting():
    assert study().with_settings(["seed=5"]) == study(seed=5)


def test_settings_are_applied_in_order_and_the_study_is_left_alone():
    declared = study()
    after = declared.with_settings(["recipe.steps=5", "recipe.batch_size=3", "recipe.steps=7"])
    assert after.recipe == Recipe(steps=7, batch_size=3)
    assert declared == study()
    assert declared.with_settings([]) == declared


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("steps", "recipe.steps"),
        ("recipe.setps", "recipe.steps"),
        ("recipe.steps.x", "recipe.steps"),
        ("Recipe.steps", "recipe.steps"),
        ("sede", "seed"),
        ("names", "measures.names"),
        ("recipe", "recipe.steps"),
        ("name", ""),
        ("", ""),
        (".", ""),
    ],
)
def test_a_misspelt_setting_lists_the_settings_and_the_nearest(path, nearest):
    hint = f" (did you mean {nearest}?)" if nearest else ""
    with refused(f"--set is '{path}'{hint}; allowed: {', '.join([*ASSIGNMENTS, 'seed'])}"):
        study().with_settings([f"{path}=5"])


def test_an_assignment_without_a_value_is_refused():
    with refused("--set is 'recipe.steps'; allowed: NAME=VALUE, such as recipe.steps=2000"):
        study().with_settings(["recipe.steps"])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("recipe.steps=", f"recipe.steps is ''; allowed: {WHOLE_1}"),
        ("recipe.steps=many", f"recipe.steps is 'many'; allowed: {WHOLE_1}"),
        ("recipe.steps='5'", f"recipe.steps is '5'; allowed: {WHOLE_1}"),
        ("recipe.steps=1e3", f"recipe.steps is 1000.0; allowed: {WHOLE_1}"),
        ("recipe.steps=True", f"recipe.steps is True; allowed: {WHOLE_1}"),
        ("recipe.steps=[", f"recipe.steps is '['; allowed: {WHOLE_1}"),
        ("recipe.steps==5", f"recipe.steps is '=5'; allowed: {WHOLE_1}"),
        ("recipe.steps={[]: 1}", "recipe.steps is "),
        ("recipe.learning_rate=1e999", f"recipe.learning_rate is inf; allowed: {ABOVE_0}"),
        ("recipe.optimizer=lion", "recipe.optimizer is 'lion'; allowed: adam, adamw, sgd, or part(...)"),
        ("recipe.schedule=cosine(warmup=x)", "recipe.schedule: warmup is 'x'; allowed: a number of steps, 1 or more"),
        ("resources.gpus=2/4", f"resources.gpus is '2/4'; allowed: {SHARE}"),
        ("seed=-1", f"study 's': seed is -1; allowed: {WHOLE_0}"),
    ],
)
def test_a_bad_value_is_refused_as_in_a_study_file(assignment, message):
    with refused(message):
        study().with_settings([assignment])


def test_a_study_is_declared_with_the_standard_library_alone(run_python):
    heavy = {"numpy", "torch", "ray", "pandas", "altair", "pyarrow"}
    code = "import sys; {}; print(*sorted(set(sys.modules) & {!r}))"
    assert run_python(code.format("import rdstudy.study", heavy)) == ""
    assert run_python(code.format("import numpy", heavy)) == "numpy"


# --- measures -----------------------------------------------------------------------------------------------------


def test_measures_have_an_order_and_an_id_of_their_own():
    first, second = Measures(names=["probe", "rate_parts"]), Measures(names=("rate_parts", "probe"))
    assert first == second
    assert first.measures_id == second.measures_id
    assert first.measures_id != Measures().measures_id != Measures(latent_samples=7).measures_id


def test_measures_change_no_member():
    plain, other = study(), study(measures=Measures(names=[], latent_samples=7))
    ids = [[member.member_id for member in declared.experiments[0].members(declared)] for declared in (plain, other)]
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"names": ["rate"]}, "measures.names is 'rate'; allowed: active_units, "),
        ({"names": "rate_parts"}, "measures.names is 'rate_parts'; allowed: a list of active_units, "),
        ({"names": 7}, "measures.names is 7; allowed: a list of active_units, "),
        ({"importance_samples": 0}, "measures.importance_samples is 0; allowed: a whole number, 1 or more"),
        ({"aggregate_images": 0}, "measures.aggregate_images is 0; allowed: a whole number, 1 or more"),
        ({"annealing": [1]}, "measures.annealing is [1]; allowed: a dictionary, factor -> levels"),
        ({"annealing": {"beta": "1"}}, "measures.annealing is {'beta': '1'}; allowed: a dictionary"),
    ],
)
def test_bad_measures_say_what_is_allowed(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Measures(**settings)


def test_annealing_names_factors_of_a_grid():
    with pytest.raises(
        ValueError, match=re.escape("measures.annealing is 'bta' (did you mean beta?); allowed: dataset, ")
    ):
        study(measures=Measures(annealing={"bta": [1]}))
