"""What members of today are called, start from and learn, as recorded: no change of the code changes it unseen.

Values are held to three digits and not to the bit: another processor rounds the last ones differently.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest
import torch

from rdstudy.datasets import Dataset
from rdstudy.datasets.splits import Split
from rdstudy.planning.packs import Pack
from rdstudy.study import Evaluation, Member, Recipe, Resources
from rdstudy.training import Finished, Subsets, make_subsets, train_pack
from rdstudy.training.trainer import network_of
from tests.training.conftest import Slot

MEMBER = Member(
    dataset="toy",
    split="cv(23)",
    beta=0.7,
    seed=3,
    depth=2,
    latent_dim=2,
    recipe=Recipe(steps=37, batch_size=5),
    evaluation=Evaluation(trajectory_points=5, trajectory_images=13, validation_images=3),
)
WIDTH = {"mlp": 11, "cnn": 3, "linear": 1}


class Recorded(NamedTuple):
    member_id: str
    initial: float  # see `fingerprint`
    alone: tuple[float, float]  # distortion and rate of the test subset
    stacked: tuple[float, float]  # their sums over three members


RECORDED = {
    ("mlp", "default", "constant"): Recorded(
        "3d739e7a64140e00", 2.1320076, (133.9275, 0.016128148), (401.61026, 0.032629344)
    ),
    ("mlp", "default", "cosine"): Recorded(
        "d38771222e82d8cb", 2.1320076, (134.09483, 0.021500283), (402.04645, 0.049646729)
    ),
    ("mlp", "he", "constant"): Recorded(
        "034412571ba41d28", 3.5099444, (148.48641, 0.16586127), (434.01034, 0.44737405)
    ),
    ("mlp", "he", "cosine"): Recorded("3317ea976b63359f", 3.5099444, (156.92005, 0.18422708), (454.12429, 0.63548167)),
    ("cnn", "default", "constant"): Recorded(
        "80c19a802ba52934", -3.2372999, (133.29647, 0.01110266), (399.76083, 0.02228585)
    ),
    ("cnn", "default", "cosine"): Recorded(
        "d838c05bb967201c", -3.2372999, (133.35988, 0.01908455), (399.92258, 0.04537602)
    ),
    ("cnn", "he", "constant"): Recorded(
        "af7630ff18ce5d5e", 9.3349102, (141.25019, 0.006819263), (426.70037, 0.076661235)
    ),
    ("cnn", "he", "cosine"): Recorded("d14e1745d2976a17", 9.3349102, (143.59276, 0.010487993), (437.91335, 0.17757389)),
    ("linear", "default", "constant"): Recorded(
        "a8354cdf707c3250", 2.9279029, (137.65944, 1.0195248), (413.39477, 2.8354735)
    ),
    ("linear", "default", "cosine"): Recorded(
        "065a706b5ef0c0d6", 2.9279029, (139.47504, 0.478933), (417.36147, 1.5256993)
    ),
    ("linear", "he", "constant"): Recorded(
        "6fe94de852b7ba78", -7.681792, (143.66857, 2.1919263), (440.81843, 5.6988407)
    ),
    ("linear", "he", "cosine"): Recorded("f4376986f1ae6295", -7.681792, (148.82763, 1.5408427), (463.69619, 3.9939739)),
}


def member(architecture: str, initialization: str, schedule: str) -> Member:
    recipe = dataclasses.replace(MEMBER.recipe, initialization=initialization, schedule=schedule)
    return dataclasses.replace(MEMBER, architecture=architecture, width=WIDTH[architecture], recipe=recipe)


@pytest.fixture(scope="module")
def subsets() -> Subsets:
    images = np.random.default_rng(11).integers(0, 256, (41, 3, 8, 8), dtype=np.uint8)
    split = Split(np.arange(23), np.arange(23, 41))
    return make_subsets(Dataset(images, None), split, MEMBER.evaluation, study_seed=0)


def fingerprint(weights: list[torch.Tensor]) -> float:
    """A sum over all weights, each times a number that tells its place."""
    flat = torch.cat([tensor.detach().flatten() for tensor in weights]).double()
    return float(flat @ torch.cos(torch.arange(len(flat), dtype=torch.float64)))


def learned(members: list[Member], subsets: Subsets) -> tuple[float, float]:
    *_, finished = train_pack(
        Pack(tuple(members)),
        subsets,
        device=torch.device("cpu"),
        checkpoint=Slot(),
        resources=Resources(checkpoint_seconds=1e9),
    )
    assert isinstance(finished, Finished)
    rows = [row for row in finished.members if row["subset"] == "test"]
    return sum(row["distortion"] for row in rows), sum(row["rate"] for row in rows)


def record(kind: tuple[str, str, str], subsets: Subsets) -> Recorded:
    alone = member(*kind)
    pack = [alone, dataclasses.replace(alone, beta=3.0), dataclasses.replace(alone, seed=4)]
    return Recorded(
        member_id=alone.member_id,
        initial=fingerprint(list(network_of(alone, subsets.image_shape).parameters())),
        alone=learned([alone], subsets),
        stacked=learned(pack, subsets),
    )


@pytest.mark.parametrize("kind", RECORDED, ids="-".join)
def test_a_member_is_called_starts_and_learns_as_recorded(kind, subsets):
    now, before = record(kind, subsets), RECORDED[kind]
    assert now.member_id == before.member_id
    assert now.initial == pytest.approx(before.initial, rel=1e-5)
    assert now.alone == pytest.approx(before.alone, rel=1e-3)
    assert now.stacked == pytest.approx(before.stacked, rel=1e-3)
