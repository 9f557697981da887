"""Requests to a bucket are counted by what they are billed as."""

from benchmarks.requests import counting_server
from rdstudy.results.files import Files
from tests.s3 import s3_uri


def test_each_request_is_counted_once_by_its_kind():
    with counting_server() as (endpoint, counter):
        files = Files(s3_uri(endpoint, "counted"))
        files.write("members/a.parquet", b"rows")
        counter.kinds.clear()
        for _ in range(3):
            assert [entry.base_name for entry in files.inside("members")] == ["a.parquet"]
        assert counter.kinds == {"LIST": 3}
        counter.kinds.clear()
        assert files.read("members/a.parquet") == b"rows"
        assert counter.kinds["GET"] == 1
        assert counter.kinds.keys() <= {"GET", "HEAD"}
