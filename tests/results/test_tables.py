"""Rows as the bytes of a file: no bit of them changes in silence."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rdstudy.results import schema
from rdstudy.results.rows import new_run_id
from rdstudy.results.tables import Damaged, from_parquet, member_of, to_parquet
from rdstudy.study import NUMERICS_VERSION, Member
from rdstudy.training.rows import settings_columns


def one_member(**changes: object) -> dict[str, object]:
    member = Member("shapes", "cv(7)", 0.25, 3)
    common = {"run_id": new_run_id(), "subset": "test", "outcome": "ok", "numerics_version": NUMERICS_VERSION}
    return {**settings_columns(member), **common, "distortion": 97.5, **changes}


def points(many: int) -> list[dict[str, object]]:
    common = {"member_id": "a", "run_id": "r", "subset": "test"}
    return [{**common, "step": step, "rate": step / 7} for step in range(many)]


@pytest.mark.parametrize(
    ("table", "rows"),
    [("members", [one_member()]), ("trajectories", points(31)), ("trajectories", points(113))],
    ids=["members", "few rows", "many rows"],
)
def test_no_bit_changes_a_value_in_silence(table, rows):
    content = to_parquet(table, rows)
    whole = from_parquet(table, content, path="x")
    assert isinstance(whole, pa.Table)
    assert whole.select(list(rows[0])).to_pylist() == rows
    for bit in range(0, 8 * len(content), 17):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        read = from_parquet(table, bytes(flipped), path="x")
        assert isinstance(read, Damaged) or read.equals(whole)


def test_the_pages_of_a_file_have_checksums_that_other_programs_can_verify():
    content = bytearray(to_parquet("trajectories", [{"member_id": "a", "run_id": "r", "subset": "test", "step": 7}]))
    at = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0).column(0)
    content[at.data_page_offset + at.total_compressed_size - 1] ^= 1
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(io.BytesIO(content), page_checksum_verification=True)


@pytest.mark.parametrize(
    "changes", [{"beta": 0.5}, {"seed": 4}, {"steps": 3}, {"final_images": 9}, {"schedule": "cosine"}, {"depth": -1}]
)
def test_a_row_whose_settings_do_not_hash_to_its_id_is_damaged(changes):
    assert isinstance(from_parquet("members", to_parquet("members", [one_member()]), path="x"), pa.Table)
    edited = pa.Table.from_pylist([one_member(**changes)], schema=schema.MEMBERS)
    pq.write_table(edited, sink := io.BytesIO())  # by hand: without a digest
    assert isinstance(from_parquet("members", sink.getvalue(), path="x"), Damaged)


def test_rows_of_another_version_are_not_held_against_what_this_one_knows():
    for changes in (
        {"numerics_version": NUMERICS_VERSION + 1, "beta": 0.5},
        {"trajectory_points": None, "beta": 0.5},  # of an earlier version, which kept a part of the settings
        {"schedule": "of a later version"},
    ):
        assert isinstance(from_parquet("members", to_parquet("members", [one_member(**changes)]), path="x"), pa.Table)


def older(**changes: object) -> bytes:
    """A file from before the settings that came last: it has no column of theirs."""
    rows = pa.Table.from_pylist([one_member(**changes)], schema=schema.MEMBERS)
    pq.write_table(rows.drop_columns(["prior", "weight_decay", "step_mode"]), sink := io.BytesIO())
    return sink.getvalue()


def test_rows_from_before_a_setting_say_what_their_members_had():
    """Else they would be of no prior: not those of `prior == "normal"`, and other numbers than those trained again."""
    rows = from_parquet("members", older(), path="x")
    assert isinstance(rows, pa.Table), "the id beside the settings is theirs"
    (row,) = rows.to_pylist()
    assert (row["prior"], row["weight_decay"], row["schedule"]) == ("normal", 0.0, "constant")
    assert row["step_mode"] is None
    assert member_of(row) == Member("shapes", "cv(7)", 0.25, 3)


@pytest.mark.parametrize("changes", [{"beta": 0.5}, {"depth": 2}])
def test_rows_from_before_a_setting_are_held_against_their_ids_too(changes):
    assert isinstance(from_parquet("members", older(**changes), path="x"), Damaged)


def test_an_id_of_older_numerics_is_known_too():
    member = Member("shapes", "cv(7)", 0.25, 3)
    row = one_member(member_id=member.id_under(1), numerics_version=1)
    assert isinstance(from_parquet("members", to_parquet("members", [row]), path="x"), pa.Table)
    row |= {"numerics_version": 2}
    assert isinstance(from_parquet("members", to_parquet("members", [row]), path="x"), Damaged)
