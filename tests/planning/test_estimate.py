"""Laws of the estimate: closed forms, a speed that stored rows teach, and packs cut the same way every time."""

import dataclasses
from typing import Any

import hypothesis
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.planning import estimate as model
from rdstudy.planning.cards import ASSUMED_CARD, CARDS
from rdstudy.planning.describe import describe_estimate, describe_limits, describe_plan
from rdstudy.planning.estimate import (
    ASSUMED_CORE,
    CALIBRATION_COLUMNS,
    Estimate,
    Speed,
    calibrate,
    estimate,
    measuring_steps,
    pack_step_seconds,
    stops,
    training_seconds,
)
from rdstudy.planning.packs import cost_of
from rdstudy.planning.plan import make_plan
from rdstudy.planning.schedule import Load
from rdstudy.results import schema
from rdstudy.results.tables import trained_runs
from rdstudy.study import Evaluation, Experiment, Measures, Member, Recipe, Resources, Study
from rdstudy.study.factors import SETTINGS

SHAPE = (3, 32, 32)
MEMBER = Member("tetrominoes", "cv(8192)", 1.0, 0, depth=1, width=512)
UNMEASURED = Evaluation(trajectory_points=1, trajectory_images=1, final_images=1)
GRID: dict[str, Any] = {"dataset": ["tetrominoes"], "split": ["cv(8192)"], "beta": [0.1, 1, 3], "seed": range(5)}
NO_MEASURES = Measures(names=())
ASSUMED = Speed({}, 1.0, ASSUMED_CORE)


def seconds(member=MEMBER, *, members=1, gpu=False, sharing=1, images=7, card=ASSUMED_CARD) -> float:
    on = card if gpu else None
    return training_seconds(member, members=members, image_shape=SHAPE, images=images, card=on, sharing=sharing)


def study(*, grid=GRID, **settings) -> Study:
    return Study("s", [Experiment("e", grid)], **{"measures": NO_MEASURES, **settings})


# --- seconds of a pack --------------------------------------------------------------------------------------------


def test_a_cpu_takes_the_operations_of_steps_and_measurements():
    products = 3072 * 512 + 512 * 20 + 10 * 512 + 512 * 3072
    step = 2 * 128 * (3 * products - 3072 * 512)
    member = dataclasses.replace(MEMBER, evaluation=Evaluation(5, 11, 13), recipe=Recipe(steps=17))
    images = 2 * 11 * 5 + 2 * 13
    assert seconds(member, images=1009) == pytest.approx((17 * step + images * 2 * products) / model.CORE_OPERATIONS)
    assert seconds(member, members=7, images=1009) == pytest.approx(7 * seconds(member, images=1009))
    everything = dataclasses.replace(member, evaluation=Evaluation(1, 10_000))
    measured = (1009 + 1009) * 2 * products
    assert seconds(everything, images=1009) == pytest.approx((17 * step + measured) / model.CORE_OPERATIONS)


def test_a_core_takes_what_was_measured_on_one():
    steps = {("mlp", 1): 30.9, ("mlp", 3): 40.9, ("cnn", 3): 121.0}  # ms, benchmarks/NOTES.md
    for (architecture, depth), measured in steps.items():
        width = 512 if architecture == "mlp" else 64
        member = dataclasses.replace(MEMBER, architecture=architecture, depth=depth, width=width)
        assert 1000 * cost_of(member, SHAPE).step_operations(128) / model.CORE_OPERATIONS == pytest.approx(
            measured, rel=0.25
        )


def test_a_gpu_takes_its_kernels_in_turn_and_no_less_than_launches():
    steps = MEMBER.recipe.steps
    quick = dataclasses.replace(MEMBER, evaluation=UNMEASURED)
    for card in CARDS.values():
        kernels = pack_step_seconds(quick, members=60, image_shape=SHAPE, card=card)
        expected = kernels + model.STEP_SECONDS
        assert seconds(quick, members=60, gpu=True, card=card) / steps == pytest.approx(expected, rel=1e-3)
        assert seconds(quick, members=60, gpu=True, card=card, sharing=5) / steps == pytest.approx(
            5 * kernels, rel=1e-3
        )
    tiny = dataclasses.replace(quick, width=2, latent_dim=1, recipe=Recipe(batch_size=1, steps=steps))
    assert seconds(tiny, gpu=True) / steps == pytest.approx(model.STEP_SECONDS, rel=0.01)
    assert seconds(tiny, gpu=True, sharing=3) == pytest.approx(seconds(tiny, gpu=True), rel=0.01)  # nothing to share


def test_a_better_card_takes_less_and_tf32_less_than_float32():
    def hours(card: str, precision: str) -> float:
        member = dataclasses.replace(MEMBER, recipe=Recipe(precision=precision), evaluation=UNMEASURED)
        return seconds(member, members=60, gpu=True, card=CARDS[card])

    by_card = [hours(card, "float32") for card in ("L4", "A10G", "A100", "H100", "H200")]
    assert by_card == sorted(by_card, reverse=True)
    assert hours("H200", "tf32") < 0.6 * hours("H200", "float32")
    assert hours("A10G", "tf32") == hours("A10G", "float32"), "its tensor cores are no faster"


def test_rounding_on_a_cpu_takes_time():
    member = dataclasses.replace(MEMBER, recipe=Recipe(precision="tf32"), evaluation=UNMEASURED)
    plain = dataclasses.replace(MEMBER, evaluation=UNMEASURED)
    assert seconds(member) == pytest.approx(model.ROUNDING * seconds(plain), rel=1e-3)


def test_measures_take_steps_in_proportion_to_their_draws():
    usual = measuring_steps(Measures())
    assert usual / 257_000 == pytest.approx(0.0177, rel=0.01)  # benchmarks/NOTES.md
    assert measuring_steps(NO_MEASURES) == 0
    parts: list[dict[str, Any]] = [{"importance_images": 400}, {"latent_samples": 2_000}]
    assert sum([measuring_steps(Measures(**part)) - usual for part in parts]) == pytest.approx(usual)
    draws: list[dict[str, Any]] = [{"importance_samples": 2_000}, {"refit_steps": 200}]
    assert all(usual < measuring_steps(Measures(**part)) < 2 * usual for part in draws)


# --- all of them --------------------------------------------------------------------------------------------------


def test_what_is_paid_is_devices_from_the_first_pack_to_the_last():
    loads = [Load(7 * 3600.0, 1), Load(5 * 3600.0, 1), Load(2 * 3600.0, 1)]
    expected = estimate(loads, devices=2, devices_per_slot=1, price=1.5, source="x")
    assert expected == Estimate(14, 7, 21, 2, 1.5, 1.0, "x")
    expected = estimate(loads, devices=13, devices_per_slot=1, price=None, source="x")
    assert (expected.device_hours, expected.wall_hours, expected.cost, expected.devices) == (21, 7, None, 3)
    assert expected.utilization == pytest.approx(14 / 21)
    wide = estimate(loads, devices=7, devices_per_slot=3, price=1, source="x")  # two slots of three cores
    assert (wide.devices, wide.wall_hours, wide.cost) == (6, 7, 42)
    assert estimate(loads, devices=1, devices_per_slot=5, price=None, source="x").wall_hours == 14
    assert estimate([], devices=3, devices_per_slot=1, price=1, source="x").cost == 0


def test_a_plan_estimates_what_remains_and_nothing_else():
    declared = study(resources=Resources(devices=3, price=0.5), evaluation=UNMEASURED)
    plan = make_plan(declared, {})
    of_one = seconds(plan.wanted[0], images=163_840)
    assert plan.estimate.wall_hours == pytest.approx(5 * of_one / 3600)
    assert plan.estimate.cost == pytest.approx(15 * of_one / 3600 * 0.5)
    stored = {member.member_id: "ok" for member in plan.wanted[:9]}
    assert make_plan(declared, stored).estimate.wall_hours == pytest.approx(2 * of_one / 3600)
    unmeasured = dict.fromkeys([member.member_id for member in plan.wanted], "run")
    declared = dataclasses.replace(declared, measures=Measures())
    measured = make_plan(declared, dict.fromkeys(unmeasured, "ok"), unmeasured=unmeasured).estimate
    assert measured.wall_hours == pytest.approx(5 * of_one / 257_000 * measuring_steps(Measures()) / 3600)


def test_devices_are_what_the_study_says_or_what_there_are(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 5)
    assert make_plan(study(), {}).estimate.devices == 5
    assert make_plan(study(), {}, devices=3).estimate.devices == 3
    assert make_plan(study(resources=Resources(devices=2)), {}, devices=3).estimate.devices == 2
    assert make_plan(study(resources=Resources(cpus=2)), {}).estimate.devices == 4
    assert make_plan(study(resources=Resources(gpus=1)), {}).estimate.devices == 1


# --- a speed that was measured ------------------------------------------------------------------------------------


def rows(factor: float, *, architecture="mlp", device="cpu: A", runs=7, members=1, steps=13, **changed) -> list[dict]:
    """Stored members that took `factor` times as long as modelled."""
    member = dataclasses.replace(MEMBER, architecture=architecture, recipe=Recipe(steps=steps), evaluation=UNMEASURED)
    took = factor * seconds(member, members=members, gpu=str(device).startswith("cuda"), images=163_840) / members
    row = {
        **{setting.name: member.level(setting.name) for setting in SETTINGS},
        **{"outcome": "ok", "wall_seconds": took, "device": device},
        **changed,
    }
    return [
        row | {"run_id": f"{factor} {architecture} {device} {run}", "subset": subset}
        for run in range(runs)
        for subset in ("train", "test")
        for _ in range(members)
    ]


def runs_of(stored: list[dict]) -> list[dict]:
    return trained_runs(pa.Table.from_pylist(stored, schema=schema.MEMBERS), CALIBRATION_COLUMNS)


def modelled(kind: str):
    def of_pack(member: Member, members: int) -> float:
        if member.dataset == "unknown":
            raise ValueError("dataset is 'unknown'; allowed: others")
        return seconds(member, members=members, gpu=kind == "cuda", images=163_840)

    return of_pack


def speed(stored: list[dict], kind="cpu"):
    return calibrate(runs_of(stored), kind=kind, evaluation=UNMEASURED, modelled=modelled(kind))


@given(st.floats(0.1, 10), st.integers(1, 5), st.integers(1, 9), st.sampled_from(["cpu", "cuda"]))
def test_a_known_factor_is_found_whatever_the_packs(factor, runs, members, kind):
    shown = speed(rows(factor, runs=runs, members=members, device=f"{kind}: A"), kind)
    assert shown.scale(MEMBER) == pytest.approx(factor)
    assert shown.source == f"measured on {runs * members} stored members ({kind}: A)"


def test_a_median_is_not_moved_by_a_run_that_was_held_up():
    assert speed([*rows(1.7), *rows(97.0, runs=2)]).scale(MEMBER) == pytest.approx(1.7)


def test_rows_of_another_kind_of_device_say_nothing():
    shown = speed([*rows(2.3), *rows(0.1, device="cuda: B", runs=29)])
    assert shown.scale(MEMBER) == pytest.approx(2.3)
    assert shown.source == "measured on 7 stored members (cpu: A)"
    assert speed(rows(2.3), "cuda") == ASSUMED == speed([])


def test_an_architecture_has_the_speed_of_its_own_rows_if_it_has_any():
    shown = speed([*rows(1.3), *rows(3.1, architecture="cnn", runs=5, device="cpu: B")])
    cnn, linear = (dataclasses.replace(MEMBER, architecture=name) for name in ("cnn", "linear"))
    assert [shown.scale(member) for member in (MEMBER, cnn, linear)] == pytest.approx([1.3, 3.1, 1.3])
    assert shown.source == "measured on 12 stored members (cpu: A, cpu: B)"


@pytest.mark.parametrize(
    "changed", [{"outcome": "nonfinite"}, {"wall_seconds": None}, {"dataset": "unknown"}, {"device": None}]
)
def test_rows_that_cannot_teach_a_speed_are_left_out(changed):
    assert speed(rows(5.3, **changed)) == ASSUMED
    assert speed([*rows(5.3, **changed), *rows(1.1, steps=17)]).scale(MEMBER) == pytest.approx(1.1)


def test_stored_rows_change_the_estimate_of_a_plan_and_not_its_packs():
    declared = study(resources=Resources(devices=4), evaluation=UNMEASURED)
    before, after = make_plan(declared, {}), make_plan(declared, {}, runs=runs_of(rows(2.0)))
    assert after.estimate.wall_hours == pytest.approx(2 * before.estimate.wall_hours)
    assert after.packs == before.packs
    assert after.estimate.source == "measured on 7 stored members (cpu: A)"


# --- packs that end together --------------------------------------------------------------------------------------

SPLITS = {**GRID, "split": ["cv(7)", "cv(11)", "cv(13)"], "beta": [0.1, 0.3, 1, 3, 5, 7, 9, 11], "seed": range(7)}
EVENED = Resources(gpus=1, devices=5, gpu_memory_gib=80)


def test_packs_are_cut_for_the_devices_that_there_are():
    whole = make_plan(study(grid=SPLITS, resources=dataclasses.replace(EVENED, devices=None)), {}, devices=5)
    cut = make_plan(study(grid=SPLITS, resources=EVENED), {})
    assert {len(pack.members) for pack in whole.packs} == {56}
    assert {len(pack.members) for pack in cut.packs} < set(range(8, 15))
    assert cut.estimate.wall_hours < 0.75 * whole.estimate.wall_hours
    assert whole.estimate.devices == 3  # of the five
    assert cut.estimate.utilization > 0.9
    said = make_plan(study(grid=SPLITS, resources=dataclasses.replace(EVENED, pack_size=56)), {})
    assert said.packs == whole.packs


def test_packs_that_are_cut_keep_their_share_of_a_gpu():
    auto = dataclasses.replace(EVENED, gpus="auto", gpu_memory_gib=8.0)
    whole = make_plan(study(grid=SPLITS, resources=dataclasses.replace(auto, devices=None)), {})
    cut = make_plan(study(grid=SPLITS, resources=auto), {})
    assert len(cut.packs) > len(whole.packs)
    (share,) = {placement.share for placement in whole.placements.values()}
    assert {placement.share for placement in cut.placements.values()} == {share}


@hypothesis.settings(max_examples=20)
@given(
    st.data(), st.sampled_from([EVENED, dataclasses.replace(EVENED, gpus="auto"), Resources(), Resources(devices=5)])
)
def test_the_same_command_cuts_what_remains_at_the_same_places(data, resources):
    grid = SPLITS if resources.gpus else GRID
    declared = study(grid=grid, resources=resources)
    packs = make_plan(declared, {}).packs
    done = data.draw(st.sets(st.sampled_from(packs)))
    stored = {member.member_id: "ok" for pack in done for member in pack.members}
    again = make_plan(declared, stored, runs=runs_of(rows(2.3, runs=1))).packs
    assert again == tuple(pack for pack in packs if pack not in done)


# --- in words -----------------------------------------------------------------------------------------------------


def line(expected: Estimate, gpus=1.0) -> str:
    plan = make_plan(study(resources=Resources(gpus=gpus)), {})
    (text,) = describe_estimate(dataclasses.replace(plan, estimate=expected))
    return text


def test_an_estimate_is_one_line():
    assert line(Estimate(412.4, 25.8, 412.4, 16, 1.0, 0.999, ASSUMED.source)) == (
        "estimated: 412 device-hours, 25.8 h on 16 GPUs, about $412 at $1.00 a GPU-hour; "
        "assumed speed (nothing measured yet)"
    )
    assert line(Estimate(7.31, 7.31, None, 1, None, 0.971, "measured on 7 stored members (cpu: A)"), gpus=0) == (
        "estimated: 7.3 device-hours, 7.3 h on 1 CPU core, devices 97 % busy; measured on 7 stored members (cpu: A)"
    )


def test_a_plan_says_what_it_takes_unless_nothing_is_left():
    declared = study(resources=Resources(price=0.05, devices=2))
    text = describe_plan(make_plan(declared, {}), "results")
    assert text.splitlines()[-1].startswith("estimated: ")
    assert " on 2 CPU cores, about $" in text
    assert " at $0.05 a core-hour" in text
    stored = {member.member_id: "ok" for member in make_plan(declared, {}).wanted}
    assert "estimated" not in describe_plan(make_plan(declared, stored), "results")


def test_a_limit_says_where_it_stops_a_run_and_only_if_it_does():
    goes_on = "nothing is lost, the same command goes on"
    expected = Estimate(250, 97.5, 250.0, 16, 1.0, 1.0, "x")
    assert (
        describe_limits(expected, max_hours=98, max_cost=251)
        == describe_limits(expected, max_hours=None, max_cost=None)
        == []
    )
    assert describe_limits(expected, max_hours=48.75, max_cost=100) == [
        f"--max-cost 100 stops this run at about 40 % of its work, about 39.0 h; {goes_on}",
        f"--max-hours 48.75 stops this run at about 50 % of its work, about 2.0 d; {goes_on}",
    ]
    assert [stop.share for stop in stops(expected, max_hours=None, max_cost=50)] == [0.2]
    with pytest.raises(ValueError, match=r"^--max-cost is 50 without a price; allowed: "):
        stops(dataclasses.replace(expected, cost=None, price=None), max_hours=None, max_cost=50)
