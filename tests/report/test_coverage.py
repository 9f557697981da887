"""What is complete, what failed and what produced the rows: counts that add up."""

from rdstudy.report import coverage
from rdstudy.report.cells import with_cells
from tests.report.conftest import Simulation

MIXED = Simulation(depths=[1], betas=[0.1, 1.0, 3.0], seeds=5, outcomes=["ok", "failed", "nonfinite", None, "failed"])


def test_outcomes_and_missing_add_up_to_planned(simulate):
    study = simulate(MIXED)
    row = coverage.completeness(study.experiments, study.members).iloc[0]
    assert row[["planned", "ok", "nonfinite", "failed", "missing"]].to_list() == [15, 11, 1, 2, 1]


def test_nothing_done_is_all_missing(simulate):
    study = simulate(Simulation(outcomes=[None] * 30))
    row = coverage.completeness(study.experiments, study.members).iloc[0]
    assert row[["planned", "ok", "missing"]].to_list() == [30, 0, 30]
    assert coverage.failures(with_cells(study.planned), study.members).empty
    assert coverage.provenance(study.members).empty
    assert coverage.mixed_versions(coverage.provenance(study.members)) == []
    assert coverage.splits_used(study.planned, study.members)["train"].isna().all()


def test_failures_that_differ_in_numbers_are_one_cause(simulate):
    study = simulate(MIXED)
    table = coverage.failures(with_cells(study.planned), study.members)
    assert table[["outcome", "models"]].to_numpy().tolist() == [["failed", 2], ["nonfinite", 1]]
    assert table["reason"].str.startswith("loss is not finite at step").all()
    assert not table["reason"].str.contains("\n").any()
    assert set(table["member_id"]) <= set(study.planned["member_id"])


def test_mixed_versions_are_named_with_their_counts(simulate):
    study = simulate(Simulation(versions=["a", "b", "b"]))
    made = coverage.provenance(study.members)
    assert made["models"].sum() == 30
    assert coverage.mixed_versions(made) == ["code version: b (20 models), a (10 models)"]


def test_one_version_is_nothing_to_report(simulate):
    study = simulate(Simulation())
    made = coverage.provenance(study.members)
    assert coverage.mixed_versions(made) == []
    assert made["wall_seconds"].sum() == 30 * 61.0  # once a member, not once a subset


def test_splits_have_their_real_sizes(simulate):
    study = simulate(Simulation(splits=["cv(16384)", "checkerboard"], outcomes=["ok"] * 15 + [None] * 45))
    table = coverage.splits_used(study.planned, study.members).set_index("split")
    assert list(table.loc["cv(16384)", ["train", "test"]]) == [16_384, 147_456]
    assert table["train"].isna().to_dict() == {"cv(16384)": False, "checkerboard": True}
