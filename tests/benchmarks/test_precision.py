"""What TF32 moves is paired by seed, held against a tenth of the deviation with its doubt, and beside a control."""

import math

import numpy as np
import pytest
import torch

from benchmarks import precision
from benchmarks.precision import Shift, batches_in_reverse, over_betas, shifts_of
from rdstudy.training.draws import BatchDraws, NoiseDraws


def test_shifts_are_paired_by_seed():
    rows = [
        {"depth": 1, "beta": 0.1, "seed": seed, "arm": arm, "distortion": 10.0 * seed + shift, "rate": seed}
        for seed in (0, 1, 2)
        for arm, shift in (("float32", 0), ("tf32", 0.5 + 0.1 * seed), ("reversed", -1))
    ]
    distortion, control, rate, _ = shifts_of(rows)
    assert (distortion.arm, distortion.value, distortion.mean, distortion.deviation) == ("tf32", "distortion", 10, 10)
    assert distortion.shifts == pytest.approx((0.5, 0.6, 0.7))
    assert distortion.relative == pytest.approx(0.06)
    assert distortion.rms == pytest.approx(math.sqrt((0.25 + 0.36 + 0.49) / 3) / 10)
    assert (control.arm, control.shifts) == ("reversed", (-1, -1, -1))
    assert (rate.value, rate.shifts, rate.relative) == ("rate", (0, 0, 0), 0)


@pytest.mark.parametrize(
    ("center", "verdict"), [(0.0, "holds"), (0.06, "holds"), (0.1, "open"), (-0.1, "open"), (0.14, "refuted")]
)
def test_the_claim_holds_where_the_whole_interval_is_within_a_tenth(center, verdict):
    scatter = np.linspace(-0.1, 0.1, 25)  # of seeds; the mean is known to some 0.02
    shift = Shift(1, 0.1, "rate", "tf32", mean=5.0, deviation=2.0, shifts=tuple(2.0 * (center + scatter)))
    assert 0.01 < shift.half_width < 0.03
    assert shift.verdict == verdict
    assert f"{verdict} in 1" in precision.report([shift])


def test_intervals_hold_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(7)
    shifts = [Shift(1, 0.1, "rate", "tf32", 0.0, 2.0, tuple(rng.normal(0.6, 1.0, 7))) for _ in range(2_000)]
    share = np.mean([abs(shift.relative - 0.3) <= shift.half_width for shift in shifts])
    assert 0.88 < share < 0.92


def test_over_betas_a_seed_counts_once():
    one = Shift(3, 0.1, "rate", "tf32", mean=5.0, deviation=2.0, shifts=(2.0, -2.0, 4.0))
    two = Shift(3, 1.0, "rate", "tf32", mean=1.0, deviation=1.0, shifts=(3.0, 0.0, 1.0))
    (both,) = over_betas([one, two])
    assert (both.beta, both.deviation, both.shifts) == (None, 1.0, (2.0, -0.5, 1.5))
    assert over_betas([one]) == []


def test_batches_in_reverse_are_the_same_images_with_the_same_noise():
    batches = BatchDraws(seed=3, images=11, batch_size=5, device=torch.device("cpu"))
    noise = NoiseDraws(seed=3, batch_size=5, latent_dim=2, device=torch.device("cpu"))
    before = batches.batches(4, 3), noise.chunk(4)
    with batches_in_reverse():
        within = batches.batches(4, 3), noise.chunk(4)
    for one_way, other_way in zip(before, within, strict=True):
        assert not torch.equal(one_way, other_way)
        assert torch.equal(one_way, other_way.flip(1))
    assert torch.equal(batches.batches(4, 3), before[0])


def test_the_study_pairs_all_members():
    packs = [pack for depth in (1, 3) for pack in precision.packs_of(depth=depth, seeds=7, steps=11)]
    assert [(pack.stack.depth, pack.stack.recipe.precision) for pack in packs] == [
        (1, "float32"),
        (1, "tf32"),
        (3, "float32"),
        (3, "tf32"),
    ]
    keys = [{(member.beta, member.seed) for member in pack.members} for pack in packs]
    assert keys == [keys[0]] * 4
    assert len(keys[0]) == 4 * 7
    assert {pack.stack.recipe.steps for pack in packs} == {11}
