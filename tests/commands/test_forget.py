"""`rdstudy forget`: what is named goes, everywhere, and no other row changes, whenever it is cut short."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rdstudy.__main__ import main
from rdstudy.results import schema
from rdstudy.results.files import Files, StorageError
from rdstudy.results.presence import present, this_run
from rdstudy.results.store import Store

TABLES = ("members", "trajectories", "measures")


def rows(store: Store, *, without: set[str]) -> dict[str, pa.Table]:
    """All rows of each table but those of some members."""
    snapshot = store.snapshot()
    assert not snapshot.damaged
    tables = {name: snapshot.table(name) for name in schema.OF_MEMBERS | {"members": ()}}
    return {
        name: table.filter(pa.array([each not in without for each in table["member_id"].to_pylist()], pa.bool_()))
        for name, table in tables.items()
    }


def test_a_member_of_a_pack_goes_and_the_others_keep_every_value(store, ids, capsys):
    gone = {ids[0], ids[5]}
    for member_id in (ids[0], ids[4]):
        (run_id,) = {row["run_id"] for row in store.snapshot().table("members").to_pylist()}
        store.blobs.write_weights(run_id, member_id, b"weights")
    before = rows(store, without=gone)
    assert main(["forget", "results", ids[0][:8], ids[5], "--yes"]) == 0
    out = capsys.readouterr().out
    assert ids[0] in out
    assert "asked for by experiment depth of study simulated: 2 of them, to be trained anew when that is run" in out
    assert out.endswith("forgotten: 2 models\n")
    assert rows(store, without=set()) == before
    assert [name.partition("-")[0] for name in store.blobs.weights()] == [ids[4]]
    assert main(["forget", "results", ids[0], "--yes"]) == 0
    assert "nothing to forget" in capsys.readouterr().out


def test_a_run_of_which_nothing_is_left_leaves_no_file(store, capsys):
    assert main(["forget", "results", "--study", "simulated", "--yes"]) == 0
    assert "forgotten: 7 models" in capsys.readouterr().out
    for table in TABLES:
        assert store._files.names(table, "") == []
    assert store.declarations.names() == ["simulated"]


@pytest.mark.parametrize("writes", range(3))
def test_cut_short_it_has_lost_no_other_row_and_the_same_command_ends_it(store, ids, monkeypatch, writes):
    gone = {ids[0]}
    before = rows(store, without=gone)
    real, left = Files.write, [writes]

    def failing(files: Files, name: str, content: bytes) -> None:
        if name.partition("/")[0] in TABLES:
            if not left[0]:
                raise StorageError("the disk is gone; nothing that was stored is lost")
            left[0] -= 1
        real(files, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(Files, "write", failing)
        assert main(["forget", "results", ids[0], "--yes"]) == 1
    assert rows(store, without=gone) == before
    assert main(["forget", "results", ids[0], "--yes"]) == 0
    assert ids[0] not in store.snapshot().outcomes()
    assert rows(store, without=set()) == before


def test_a_run_at_work_refuses_it(store, ids, capsys):
    with present(store, this_run("other", ["0" * 16])):
        assert main(["forget", "results", ids[0], "--yes"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the run of study 'other' on ")
    assert line.endswith("is at work in results; allowed: to forget models once it has ended")
    assert ids[0] in store.snapshot().outcomes()


def test_nobody_is_asked_where_nobody_can_answer(store, ids, capsys):
    before = rows(store, without=set())
    assert main(["forget", "results", ids[0]]) == 2
    assert capsys.readouterr().err == "error: nobody can be asked whether to remove them; allowed: --yes\n"
    assert main(["forget", "results"]) == 2
    assert "what is to be forgotten is not said; allowed: ids, --study" in capsys.readouterr().err
    assert rows(store, without=set()) == before


@pytest.mark.parametrize(("reply", "status"), [("y\n", 0), ("n\n", 130), ("\n", 130), ("", 130)])
def test_a_person_is_asked(store, ids, monkeypatch, reply, status):
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return str(reply)

    monkeypatch.setattr("sys.stdin", Terminal())
    assert main(["forget", "results", ids[0]]) == status
    assert (ids[0] in store.snapshot().outcomes()) == bool(status)


def test_columns_of_a_later_version_stay_with_the_rows_that_stay(store, ids):
    (name,) = store._files.names("measures", "")
    table = pq.read_table(io.BytesIO(store._files.read(name)))
    later = table.append_column("later", pa.array(range(len(table)))).replace_schema_metadata(None)
    sink = io.BytesIO()
    pq.write_table(later, sink)
    store._files.write(name, sink.getvalue())
    assert main(["forget", "results", ids[0], "--yes"]) == 0
    kept = pq.read_table(io.BytesIO(store._files.read(name)))
    assert kept.equals(later.filter(pa.array([each != ids[0] for each in later["member_id"].to_pylist()])))
