"""Laws of the plan: what remains is what is wanted less what is stored, and what cannot be trained is refused."""

import dataclasses
import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.datasets import Dataset, DatasetInfo, registry
from rdstudy.planning.describe import describe_estimate, describe_packs
from rdstudy.planning.packs import GIB, GPU_PACK_SIZE, fits
from rdstudy.planning.placement import ASSUMED_GPU_GIB, Gpu, first_gpu
from rdstudy.planning.plan import declaration, make_plan
from rdstudy.results.declaration import Declaration
from rdstudy.study import Evaluation, Experiment, Member, Recipe, Resources, Study
from rdstudy.study.claims import (
    Claim,
    at_least,
    distances_alike,
    exceeds,
    interior_minimum,
    monotone,
    rises_apart,
    rises_less_apart,
)

GRID: dict[str, Any] = {"dataset": ["tetrominoes"], "split": ["cv(8192)"], "beta": [0.1, 1, 3], "seed": range(5)}
COMMAND = "python -m rdstudy.run studies/some.py"


def experiment(name="e", **levels) -> Experiment:
    return Experiment(name, {**GRID, **levels})


def study(*experiments, **settings) -> Study:
    return Study("s", experiments or [experiment()], **settings)


def all_stored(declared: Study, outcome: str = "ok") -> dict[str, str]:
    return {member.member_id: outcome for member in make_plan(declared, {}).wanted}


def ids(members) -> set[str]:
    return {member.member_id for member in members}


# --- what remains -------------------------------------------------------------------------------------------------


def test_of_nothing_stored_everything_remains():
    plan = make_plan(study(), {})
    assert len(plan.wanted) == len(plan.remaining) == 3 * 5
    assert set(plan.remaining) == set(plan.wanted)
    assert plan.count("ok") == 0


def test_of_everything_stored_nothing_remains():
    plan = make_plan(study(), all_stored(study()))
    assert plan.packs == ()
    assert plan.remaining == ()
    assert plan.count("ok") == len(plan.wanted) == 15


@pytest.mark.parametrize(("outcome", "remains"), [("ok", False), ("nonfinite", False), ("failed", True)])
def test_only_what_failed_is_tried_again(outcome, remains):
    member = make_plan(study(), {}).wanted[7]
    plan = make_plan(study(), {member.member_id: outcome})
    assert (member in plan.remaining) == remains
    assert set(plan.remaining) | {member} == set(plan.wanted)
    assert plan.count(outcome) == 1


@given(st.lists(st.sampled_from(["ok", "nonfinite", "failed", None]), min_size=15, max_size=15))
def test_what_remains_is_a_subtraction(outcomes):
    wanted = make_plan(study(), {}).wanted
    stored = {m.member_id: outcome for m, outcome in zip(wanted, outcomes, strict=True) if outcome is not None}
    plan = make_plan(study(), stored)
    assert plan.wanted == wanted
    assert len(plan.remaining) == len(set(plan.remaining))
    done = [m for m, outcome in zip(wanted, outcomes, strict=True) if outcome in ("ok", "nonfinite")]
    assert set(plan.remaining) == set(wanted) - set(done)
    assert [plan.count(outcome) for outcome in ("ok", "nonfinite", "failed")] == [
        outcomes.count(outcome) for outcome in ("ok", "nonfinite", "failed")
    ]


def test_half_a_pack_that_is_stored_moves_the_cuts_of_no_other():
    """A pack that was halved leaves members of its own; the checkpoints of the others are found by their members."""
    declared = study(experiment(beta=[0.1, 0.3, 1], seed=range(7)), resources=Resources(gpus=1, pack_size=7))
    first, *further = make_plan(declared, {}).packs
    stored = {member.member_id: "ok" for member in first.members[:3]}
    left = make_plan(declared, stored).packs
    assert {pack.members for pack in left} == {first.members[3:], *(pack.members for pack in further)}


def test_members_of_other_studies_count_for_nothing():
    stored = all_stored(study(experiment(split=["cv(16384)"])))
    plan = make_plan(study(), {**stored, "0" * 16: "ok"})
    assert len(plan.remaining) == 15
    assert plan.count("ok") == 0


@pytest.mark.parametrize(
    ("factor", "levels", "added"),
    [("beta", [0.1, 0.3, 1, 3], {"beta": 0.3}), ("seed", range(6), {"seed": 5}), ("depth", [1, 3], {"depth": 3})],
)
def test_a_level_added_is_all_that_remains(factor, levels, added):
    plan = make_plan(study(experiment(**{factor: levels})), all_stored(study()))
    ((name, value),) = added.items()
    assert plan.remaining
    assert {getattr(member, name) for member in plan.remaining} == {value}
    assert len(plan.remaining) == len(plan.wanted) - 15


def test_a_level_taken_away_leaves_nothing_to_do():
    plan = make_plan(study(experiment(beta=[1])), all_stored(study()))
    assert plan.remaining == ()
    assert plan.count("ok") == len(plan.wanted) == 5


@pytest.mark.parametrize("changed", [{"recipe": Recipe(steps=7)}, {"evaluation": Evaluation(7)}, {"seed": 7}])
def test_a_changed_setting_is_another_set_of_members(changed):
    assert len(make_plan(study(**changed), all_stored(study())).remaining) == 15


def test_changed_resources_are_not():
    declared = study(resources=Resources(cpus=3, gpus=0.5, pack_size=7), title="Another")
    assert make_plan(declared, all_stored(study())).remaining == ()


def test_a_shared_member_is_planned_once():
    declared = study(experiment("betas", seed=[0, 1]), experiment("seeds", beta=[1]))
    plan = make_plan(declared, {})
    betas, seeds = plan.experiments
    assert (len(betas.members), len(seeds.members)) == (3 * 2, 5)
    assert len(set(betas.members) & set(seeds.members)) == 2
    assert len(plan.wanted) == len(set(plan.wanted)) == len(plan.remaining) == 6 + 5 - 2


def test_cells_leave_beta_and_seed_out():
    plan = make_plan(study(experiment(depth=[1, 3], split=["cv(7)", "cd(7)", "checkerboard"])), {})
    (planned,) = plan.experiments
    assert planned.cells == 2 * 3
    assert len(planned.members) == 2 * 3 * 15


# --- packs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resources", "size"),
    [
        (Resources(), 1),
        (Resources(gpus=0.5, gpu_memory_gib=80), GPU_PACK_SIZE),
        (Resources(gpus="auto", gpu_memory_gib=80), GPU_PACK_SIZE),
        (Resources(pack_size=7), 7),
        (Resources(gpus=1, pack_size=7), 7),
        (Resources(gpus=1, pack_size=1), 1),
        (Resources(gpus=1, pack_size=87), 87),
        (Resources(gpus=1, gpu_memory_gib=0.001), 1),
    ],
)
def test_packs_are_as_large_as_asked_for(resources, size):
    declared = study(experiment(seed=range(29), depth=[1, 3]), resources=resources)
    plan = make_plan(declared, {})
    parts = -(-3 * 29 // size)
    assert len(plan.packs) == 2 * parts
    assert max(len(pack.members) for pack in plan.packs) == -(-3 * 29 // parts) <= size
    assert len(plan.remaining) == 2 * 3 * 29


def sizes_of(resources: Resources) -> list[int]:
    plan = make_plan(study(experiment(beta=np.geomspace(0.1, 5, 12), depth=[3]), resources=resources), {})
    return sorted(len(pack.members) for pack in plan.packs)


def test_a_pack_is_as_large_as_fits_the_trials_share_of_the_memory():
    whole, half = sizes_of(Resources(gpus=1, gpu_memory_gib=4)), sizes_of(Resources(gpus=0.5, gpu_memory_gib=8))
    assert whole == half
    assert 1 < max(whole) < 60
    wide = experiment(beta=np.geomspace(0.1, 5, 12), depth=[3])
    plan = make_plan(study(wide, resources=Resources(gpus=1, gpu_memory_gib=3)), {})
    available = 3 * GIB
    for pack in plan.packs:
        assert fits(plan.placements[pack.pack_id].memory, available)
    fewer = len(plan.packs) - 1
    more = Resources(gpus=1, gpu_memory_gib=3, pack_size=-(-60 // fewer))
    forced = make_plan(study(wide, resources=more), {})
    assert not fits(forced.placements[forced.packs[0].pack_id].memory, available)


def test_packs_on_a_cpu_ask_for_no_gpu():
    plan = make_plan(study(resources=Resources(gpu_memory_gib=80)), {})
    assert plan.gpu is None
    assert plan.placements == {}


def test_the_share_of_each_pack_is_the_largest_that_is_of_use():
    """A pack that fills a card shares it with one other; small ones hide each other's launches."""
    resources = Resources(gpus="auto", gpu_model="A10G", pack_size=15)
    plan = make_plan(study(experiment(depth=[1, 3], width=[2, 64, 512, 4096]), resources=resources), {})
    placements = {(pack.members[0].depth, pack.members[0].width): plan.placements[pack.pack_id] for pack in plan.packs}
    shares = {key: placement.share for key, placement in placements.items()}
    assert shares[1, 512] == shares[3, 512] == 1 / 2, "by memory alone it was an eighth"
    assert placements[1, 512].reason == "one trains while another is measured"
    assert shares[3, 4096] == 1
    assert placements[3, 4096].reason == "it fits into no smaller share"
    single = make_plan(
        study(experiment(width=[2], beta=[1]), resources=dataclasses.replace(resources, pack_size=1)), {}
    )
    assert {(placement.share, placement.reason) for placement in single.placements.values()} == {
        (1 / 7, "7 at a time hide each other's launches")
    }
    fixed = make_plan(study(resources=Resources(gpus=0.2)), {})
    assert {(placement.share, placement.reason) for placement in fixed.placements.values()} == {(0.2, "")}


@pytest.mark.parametrize(
    ("stated", "model", "gpu_bytes", "gib", "source"),
    [
        (None, None, None, ASSUMED_GPU_GIB, "assumed, no GPU here; resources.gpu_memory_gib says otherwise"),
        (None, None, 24 * GIB, 24, "the first GPU of this machine"),
        (None, "H200", 24 * GIB, 141e9 / GIB, "of an H200, by its data sheet"),
        (11, "H200", 24 * GIB, 11, "as resources.gpu_memory_gib says"),
    ],
)
def test_the_memory_of_a_gpu_is_stated_found_or_assumed_and_the_plan_says_which(
    monkeypatch, *, stated, model, gpu_bytes, gib, source
):
    monkeypatch.setattr("rdstudy.planning.placement.first_gpu", lambda: gpu_bytes and Gpu("NVIDIA X", gpu_bytes))
    plan = make_plan(study(resources=Resources(gpus=1, gpu_model=model, gpu_memory_gib=stated)), {})
    assert plan.gpu is not None
    assert plan.gpu.bytes == pytest.approx(gib * GIB)
    assert plan.gpu.source == source
    first, *_ = describe_packs(plan)
    assert first == f"a trial takes 1 CPU and a share of a GPU of {gib:.3g} GiB ({source})"


@pytest.mark.parametrize(
    ("model", "here", "card", "said"),
    [
        ("H200", None, "H200", "speed by the data sheet of an H200 (nothing measured yet)"),
        ("L4", "NVIDIA H100 80GB HBM3", "L4", "speed by the data sheet of an L4 (nothing measured yet)"),
        (
            None,
            "NVIDIA A100-SXM4-80GB",
            "A100",
            "speed by the data sheet of an A100, the first GPU of this machine (nothing measured yet)",
        ),
        (
            None,
            "NVIDIA L40S",
            "A10G",
            "speed by the data sheet of an A10G, assumed: no data sheet here of the first GPU, NVIDIA L40S "
            "(nothing measured yet)",
        ),
        (
            None,
            None,
            "A10G",
            "speed by the data sheet of an A10G, assumed: no GPU here, and resources.gpu_model names none "
            "(nothing measured yet)",
        ),
    ],
)
def test_speeds_are_those_of_the_card_that_is_named_or_there_and_the_plan_says_which(
    monkeypatch, *, model, here, card, said
):
    monkeypatch.setattr("rdstudy.planning.placement.first_gpu", lambda: here and Gpu(here, 80 * GIB))
    plan = make_plan(study(resources=Resources(gpus=1, gpu_model=model)), {})
    named = make_plan(study(resources=Resources(gpus=1, gpu_model=card, gpu_memory_gib=80)), {})
    assert plan.estimate.source == said
    assert describe_estimate(plan)[0].endswith(said)
    assert plan.estimate.wall_hours == pytest.approx(named.estimate.wall_hours)


class FakeCuda:
    """The functions of CUDA's driver that are asked."""

    def __init__(self, memory: int, status: int) -> None:
        self.memory, self.status = memory, status

    def cuInit(self, _flags):  # noqa: N802
        return self.status

    def cuDeviceGet(self, _device, _at):  # noqa: N802
        return 0

    def cuDeviceTotalMem_v2(self, memory, _device):  # noqa: N802
        memory._obj.value = self.memory
        return 0

    def cuDeviceGetName(self, name, length, _device):  # noqa: N802
        name.value = b"NVIDIA H100 80GB HBM3"[: length - 1]
        return 0


@pytest.mark.parametrize(("status", "expected"), [(0, Gpu("NVIDIA H100 80GB HBM3", 79 * GIB)), (100, None)])
def test_cuda_is_asked_for_the_first_gpu(monkeypatch, status, expected):
    monkeypatch.setattr("ctypes.CDLL", lambda _: FakeCuda(79 * GIB, status))
    assert first_gpu.__wrapped__() == expected


def test_without_cuda_no_gpu_is_found(monkeypatch):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("ctypes.CDLL", missing)
    assert first_gpu.__wrapped__() is None


def test_a_plan_says_what_its_packs_ask_of_a_gpu():
    resources = Resources(gpus="auto", gpu_memory_gib=24)
    lines = describe_packs(make_plan(study(experiment(depth=[1, 3]), resources=resources), {}))
    assert len(lines) == 3
    why = r"\(one trains while another is measured\)"
    assert all(re.fullmatch(rf"  1 × 15 members, about \d\.\d GiB, on 1/2 of a GPU {why}", line) for line in lines[1:])
    small = dataclasses.replace(resources, gpu_memory_gib=0.5)
    lines = describe_packs(make_plan(study(resources=small), {}))
    why = "(it fits into no smaller share)"
    assert lines[1].endswith(f"on a whole GPU {why}: this may not fit, and a pack that does not is halved as it runs")


def test_a_plan_of_many_kinds_of_packs_is_cut_short():
    resources = Resources(gpus="auto", gpu_memory_gib=24)
    lines = describe_packs(make_plan(study(experiment(width=range(100, 1700, 100)), resources=resources), {}))
    assert len(lines) == 1 + 12 + 1
    assert lines[-1] == "  and 4 more kinds of packs"


def test_a_plan_on_a_cpu_or_with_nothing_left_is_one_line():
    assert describe_packs(make_plan(study(), {})) == ["a trial takes 1 CPU and no GPU"]
    declared = study(resources=Resources(cpus=3, gpus="auto"))
    assert describe_packs(make_plan(declared, all_stored(declared))) == ["a trial takes 3 CPU and a share of a GPU"]


# --- a part of a study --------------------------------------------------------------------------------------------


def three() -> Study:
    return study(experiment("a"), experiment("b", beta=[1, 5]), experiment("c", depth=[3]))


@pytest.mark.parametrize(
    ("only", "count"), [(["a"], 15), (["b"], 10), (["b", "a"], 20), (["c", "c"], 15), (["a", "b", "c"], 35), ([], 35)]
)
def test_only_some_experiments(only, count):
    plan = make_plan(three(), {}, only=only)
    assert len(plan.wanted) == len(plan.remaining) == count
    assert [planned.experiment.name for planned in plan.experiments] == ["a", "b", "c"]
    chosen = [member for planned in plan.experiments if planned.experiment.name in only for member in planned.members]
    assert not only or set(plan.wanted) == set(chosen)


@pytest.mark.parametrize("name", ["d", "A", ""])
def test_an_experiment_that_is_not_there_lists_those_that_are(name):
    with pytest.raises(ValueError, match=f"^--only is '{name}'; allowed: a, b, c$"):
        make_plan(three(), {}, only=["a", name])


def test_only_one_member():
    wanted = make_plan(three(), {}).wanted[11]
    plan = make_plan(three(), {}, member_id=wanted.member_id)
    assert plan.wanted == plan.remaining == (wanted,)
    assert make_plan(three(), {wanted.member_id: "ok"}, member_id=wanted.member_id).remaining == ()
    assert make_plan(three(), {wanted.member_id: "failed"}, member_id=wanted.member_id).remaining == (wanted,)


@pytest.mark.parametrize("only", [(), ("a",)])
def test_a_member_that_is_not_asked_for_is_refused(only):
    elsewhere = "0" * 16 if not only else make_plan(three(), {}, only=["c"]).wanted[0].member_id
    with pytest.raises(ValueError, match=f"^no model asked for with an id that begins with '{elsewhere}'"):
        make_plan(three(), {}, only=only, member_id=elsewhere)


# --- levels held against the data sets ----------------------------------------------------------------------------


def test_default_is_the_split_that_it_is():
    by_name, by_size = (make_plan(study(experiment(split=[split])), {}) for split in ("default", "cv(81920)"))
    assert {member.split for member in by_name.wanted} == {"cv(81920)"}
    assert by_name.wanted == by_size.wanted
    both = make_plan(study(experiment(split=["default", "cv(81920)", "cv( 81_920 )"])), {})
    assert both.wanted == by_size.wanted
    assert both.experiments[0].members == by_size.wanted


@pytest.fixture
def plain(monkeypatch):
    """A data set of 97 images of 28×28 without factors, which nobody may load."""

    def load() -> Dataset:
        raise AssertionError("a plan needs no images")

    monkeypatch.setitem(registry._DATASETS, "plain", DatasetInfo("plain", 97, (1, 28, 28), (), load))


def refused(text: str):
    return pytest.raises(ValueError, match="^" + re.escape(f"experiment 'e': {text}"))


def test_an_unknown_data_set_lists_the_known():
    with refused("data set is 'mnits'; allowed: tetrominoes, tetrominoes-fixed"):
        make_plan(study(experiment(dataset=["mnits"])), {})


def test_an_unknown_split_lists_the_known():
    with refused("split is 'random'; allowed: default, checkerboard, cv(N), cd(N)"):
        make_plan(study(experiment(split=["cv(8192)", "random"])), {})


@pytest.mark.parametrize(
    ("split", "most"),
    [("cv(163839)", 163_838), ("cd(81921)", 81_920), ("cv(0)", 163_838), ("cv(1)", 163_838), ("cd(1)", 81_920)],
)
def test_a_split_that_the_data_set_cannot_fill_is_refused(split, most):
    with refused(f"split '{split}' of data set 'tetrominoes' (163840 images); allowed: N from 2 to {most}"):
        make_plan(study(experiment(split=[split])), {})


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("split", ["checkerboard", "cd(7)"])
def test_a_split_by_factors_needs_factors(split):
    with refused(f"split '{split}' needs generative factors, which data set 'plain' lacks; allowed: default, cv(N)"):
        make_plan(study(experiment(dataset=["tetrominoes", "plain"], split=[split])), {})


@pytest.mark.usefixtures("plain")
def test_default_of_each_data_set_is_its_own_half():
    plan = make_plan(study(experiment(dataset=["tetrominoes", "plain"], split=["default"])), {})
    assert {(member.dataset, member.split) for member in plan.wanted} == {
        ("tetrominoes", "cv(81920)"),
        ("plain", "cv(48)"),
    }


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(("dataset", "side", "deepest"), [("tetrominoes", 32, 5), ("plain", 28, 2)])
def test_a_cnn_is_no_deeper_than_the_image_can_be_halved(dataset, side, deepest):
    def plan(depth, architecture):
        return make_plan(
            study(experiment(dataset=[dataset], split=["cv(7)"], architecture=[architecture], depth=[depth])), {}
        )

    assert len(plan(deepest, "cnn").wanted) == 15
    assert len(plan(deepest + 1, "mlp").wanted) == 15
    message = f"depth is {deepest + 1} for a cnn on {side}×{side} images; allowed: 1 to {deepest}"
    with refused(f"data set '{dataset}': {message}"):
        plan(deepest + 1, "cnn")


def test_a_mistake_outside_the_experiments_asked_for_is_found_too():
    with pytest.raises(ValueError, match=r"^experiment 'bad': split is 'random'"):
        make_plan(study(experiment("good"), experiment("bad", split=["random"])), {}, only=["good"])


# --- what is kept of a study --------------------------------------------------------------------------------------


def test_a_declaration_survives_json_and_holds_the_members():
    declared = dataclasses.replace(
        study(experiment("a", seed=[0, 1], split=["default"]), experiment("b", beta=[1], split=["cv(81920)"])),
        recipe=Recipe(steps=7),
        resources=Resources(gpus="auto", gpu_memory_gib=11),
        seed=3,
        title="A title",
    )
    plan = make_plan(declared, {}, only=["a"])
    kept = declaration(plan, COMMAND)
    assert Declaration.from_json(kept.after(None, at="now").to_json(), path="x") == kept.after(None, at="now")
    back = json.loads(kept.to_json())
    members = {member_id: Member.from_dict(settings) for member_id, settings in back["members"].items()}
    assert all(member.member_id == member_id for member_id, member in members.items())
    assert set(members.values()) == {member for planned in plan.experiments for member in planned.members}
    assert [part["name"] for part in back["experiments"]] == ["a", "b"]
    for part, planned in zip(back["experiments"], plan.experiments, strict=True):
        assert [members[member_id] for member_id in part["member_ids"]] == list(planned.members)
    assert (back["name"], back["title"], back["seed"], back["command"]) == ("s", "A title", 3, COMMAND)
    assert Recipe(**back["recipe"]) == declared.recipe
    assert Evaluation(**back["evaluation"]) == declared.evaluation
    assert Resources(**back["resources"]) == declared.resources


def test_what_has_no_title_is_shown_by_its_name():
    kept = declaration(make_plan(study(experiment("a")), {}), COMMAND)
    assert kept.title == "s"
    assert kept.experiments[0].title == "a"


def test_levels_from_numpy_are_plain_data_too():
    levels = {"beta": np.geomspace(0.1, 10, 3), "seed": np.arange(2), "depth": np.array([1, 3])}
    plan = make_plan(study(experiment(**levels)), {})
    assert len(json.loads(declaration(plan, COMMAND).to_json())["members"]) == 3 * 2 * 2
    lists = {"beta": [float(beta) for beta in levels["beta"]], "seed": [0, 1], "depth": [1, 3]}
    assert ids(plan.wanted) == ids(make_plan(study(experiment(**lists)), {}).wanted)


def test_a_plan_needs_no_heavy_library(run_python):
    code = "import sys; {}; print(*sorted(set(sys.modules) & {!r}))"
    heavy = {"torch", "ray", "altair", "pandas", "pyarrow", "vl_convert"}
    assert run_python(code.format("import rdstudy.planning.plan", heavy)) == ""
    assert run_python(code.format("import pyarrow", heavy)) == "pyarrow"


def test_members_to_be_measured_are_packs_with_their_runs_and_those_without_weights_are_counted():
    wanted = make_plan(study(), {}).wanted
    unmeasured = {wanted[0].member_id: "run 0", wanted[1].member_id: None, "0" * 16: "another study's"}
    plan = make_plan(study(), all_stored(study()), unmeasured=unmeasured)
    assert [(pack.members, pack.runs) for pack in plan.measuring] == [((wanted[0],), ("run 0",))]
    assert len(plan.packs) == 1
    assert plan.unmeasurable == 1
    trained = make_plan(study(), {}).packs
    assert plan.packs[0].pack_id not in {pack.pack_id for pack in trained}


def test_a_validation_subset_as_large_as_the_test_subset_is_refused_before_anything_starts():
    declared = study(experiment(split=["cv(163000)"]), evaluation=Evaluation(validation_images=840))
    with pytest.raises(ValueError, match=re.escape("validation_images is 840 with the split 'cv(163000)'; allowed: ")):
        make_plan(declared, {})
    assert make_plan(study(experiment(split=["cv(163000)"]), evaluation=Evaluation(validation_images=839)), {}).packs


@pytest.mark.parametrize(("batch_size", "allowed"), [(1, False), (2, True), (97, True), (98, False)])
@pytest.mark.parametrize("objective", ["no_marginal_kl", "no_mutual_information"])
def test_an_objective_that_estimates_from_the_batch_needs_one_that_fits(batch_size, allowed, objective):
    grid = experiment(split=["cv(97)"], objective=[objective])
    if allowed:
        assert make_plan(study(grid, recipe=Recipe(batch_size=batch_size)), {}).packs
    else:
        with pytest.raises(ValueError, match="allowed: 2 to 97, its training images"):
            make_plan(study(grid, recipe=Recipe(batch_size=batch_size)), {})
    assert make_plan(study(experiment(split=["cv(97)"]), recipe=Recipe(batch_size=batch_size)), {}).packs


# --- claims -------------------------------------------------------------------------------------------------------


def claiming(*contrasts) -> Study:
    several = [experiment(depth=[1, 3]), experiment("f", split=["cv(16384)"], depth=[1], width=[64])]
    return study(*several, claims=[Claim("c", "It holds.", "nowhere", contrasts)])


ARM = {"split": "cv(8192)", "depth": 1}


@pytest.mark.parametrize(
    "contrast",
    [
        monotone(ARM),
        rises_less_apart({"depth": 1}, than={"depth": 1}, split="cv(8192)", beside="cv(16384)"),
        at_least(1, [monotone(ARM), interior_minimum({"width": 64})]),
        distances_alike("tetrominoes", split="cv(8192)", to="cv(16384)", apart=("cv(8192)", "cv(16384)")),
    ],
)
def test_a_claim_about_models_of_the_study_is_planned(contrast):
    assert make_plan(claiming(contrast), {}, only=["f"]).study.claims[0].name == "c"


@pytest.mark.parametrize(
    ("value", "is_refused"),
    [("distortion", True), ("negative_elbo", True), ("log_marginal_gap", True), ("rate", False)],
)
def test_logs_of_two_likelihoods_are_not_compared(value, is_refused):
    arms = [{"likelihood": name} for name in ("bernoulli", "gaussian(sigma=optimal)")]
    grid: dict[str, Any] = {"dataset": ["tetrominoes"], "split": ["cv(8192)"], "beta": [0.1, 1.0], "seed": range(3)}
    experiment = Experiment("e", {**grid, "likelihood": [arm["likelihood"] for arm in arms]})
    claim = Claim("c", "One exceeds the other.", "", [exceeds(arms[0], over=arms[1], value=value)])
    study = Study("s", [experiment], claims=[claim])
    if not is_refused:
        assert make_plan(study, {}).study.claims
        return
    with pytest.raises(ValueError, match=f"{value} is compared under bernoulli, gaussian.*allowed: models of one like"):
        make_plan(study, {})


@pytest.mark.parametrize(
    ("contrast", "message"),
    [
        (monotone({**ARM, "depth": 2}), "depth is 2; allowed: what the models that are left have: 1, 3"),
        (monotone({"split": "default"}), "split is 'default'; allowed: what the models that are left have: cv(8192), "),
        (monotone({"split": "cv(8192)"}), "split cv(8192) is 2 cells; allowed: an arm whose factors make it one"),
        (at_least(1, [monotone(ARM), monotone({"width": 65})]), "width is 65; allowed: "),
        (rises_apart({"depth": 1}, than={"depth": 3}, split="cv(16384)"), "split is 'cv(16384)'; allowed"),
        (distances_alike("mnist", split="cv(8192)", to="cv(9)", apart=("cv(8192)", "cv(9)")), "dataset is 'mnist'"),
    ],
)
def test_a_claim_about_others_is_refused_before_anything_is_trained(contrast, message):
    with pytest.raises(ValueError, match=f"study 's': claim 'c': .*{re.escape(message)}"):
        make_plan(claiming(contrast), {})


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("split", ["default", "cv( 81_920 )"])
def test_a_claims_splits_get_the_names_that_members_have(split):
    arms = {"dataset": "tetrominoes", "depth": 1}
    contrasts = [
        at_least(1, [monotone({**arms, "split": split})]),
        rises_less_apart(arms, than=arms, split=split, beside="cv(8192)"),
        distances_alike("tetrominoes", split=split, to="cv(8192)", apart=(split, "cv(8192)")),
    ]
    grid = experiment(dataset=["tetrominoes"], split=["default", "cv(8192)"])
    other = experiment("f", dataset=["plain"], split=["default", "cv(7)"])
    declared = study(grid, other, claims=[Claim("c", "It holds.", "nowhere", contrasts)])
    (claim,) = json.loads(declaration(make_plan(declared, {}, only=["f"]), COMMAND).to_json())["claims"]
    assert claim["contrasts"][0]["parts"][0]["arms"]["arm"] == {**arms, "split": "cv(81920)"}
    renamed = [arm["split"] for arm in claim["contrasts"][1]["arms"].values()]
    assert renamed == ["cv(81920)", "cv(81920)", "cv(8192)", "cv(8192)"]
    assert [arm["split"] for arm in claim["contrasts"][2]["arms"].values()] == ["cv(81920)", "cv(8192)"] * 2


@pytest.mark.usefixtures("plain")
def test_a_claims_default_split_is_that_of_its_own_data_set():
    grid = experiment(dataset=["tetrominoes", "plain"], split=["default"])

    def plan(arm):
        declared = study(grid, claims=[Claim("c", "It holds.", "nowhere", [monotone(arm)])])
        return make_plan(declared, {}).study.claims[0].contrasts[0].arms["arm"]["split"]

    assert plan({"dataset": "plain", "split": "default"}) == "cv(48)"
    assert plan({"dataset": "tetrominoes", "split": "default"}) == "cv(81920)"
    with pytest.raises(ValueError, match=re.escape("claim 'c': split is 'default'; allowed: what the models that are")):
        plan({"split": "default"})


def test_a_split_that_is_there_is_not_called_the_mistake_of_another_factor():
    declared = study(
        experiment(split=["default"]), claims=[Claim("c", "It holds.", "", [monotone({**ARM, "depth": 2})])]
    )
    with pytest.raises(ValueError, match="claim 'c': split is 'cv"):
        make_plan(declared, {})
    arm = {"split": "default", "depth": 2}
    with pytest.raises(ValueError, match="claim 'c': depth is 2; allowed: what the models that are left have: 1"):
        make_plan(dataclasses.replace(declared, claims=[Claim("c", "It holds.", "", [monotone(arm)])]), {})


def test_a_claim_about_no_level_is_refused():
    with pytest.raises(ValueError, match=r"study 's': claim 'c': depth is 0; allowed: a whole number, 1 or more"):
        claiming(monotone({"depth": 0}))


def test_a_claim_about_no_factor_is_refused():
    with pytest.raises(ValueError, match=r"study 's': claim 'c': factor is 'detph' \(did you mean depth\?\)"):
        claiming(at_least(1, [monotone({"detph": 1})]))
