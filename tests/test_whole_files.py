"""A local file is there whole or not at all, whatever happens while it is written."""

import os

import pytest

from rdstudy.whole_files import replaced_whole


def test_a_file_appears_whole_in_place_of_the_old_one(tmp_path):
    path = tmp_path / "page.html"
    for content in (b"old", b"new"):
        with replaced_whole(path) as temporary:
            temporary.write_bytes(content)
            assert not path.exists() or path.read_bytes() == b"old"
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["page.html"]


@pytest.mark.parametrize("failure", [OSError("full"), KeyboardInterrupt(), ValueError("a bug")])
def test_what_fails_leaves_the_old_file_and_no_rest(tmp_path, failure):
    path = tmp_path / "page.html"
    path.write_bytes(b"old")

    def write():
        with replaced_whole(path) as temporary:
            temporary.write_bytes(b"half")
            raise failure

    with pytest.raises(type(failure)):
        write()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["page.html"]


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    steps: list[str] = []

    def noted(name: str, step: str) -> None:
        real = getattr(os, name)

        def call(*arguments: object) -> None:
            steps.append(step)
            real(*arguments)

        monkeypatch.setattr(os, name, call)

    noted("fsync", "bytes")
    noted("replace", "name")
    with replaced_whole(tmp_path / "a", temporary=tmp_path / "b") as temporary:
        temporary.write_bytes(b"whole")
    assert steps == ["bytes", "name"]


def test_a_block_that_wrote_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), replaced_whole(tmp_path / "a"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_reader_may_read_what_others_may(tmp_path):
    with replaced_whole(tmp_path / "page") as temporary:
        temporary.write_bytes(b"")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "page").stat().st_mode == (tmp_path / "plain").stat().st_mode
