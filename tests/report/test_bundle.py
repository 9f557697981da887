"""The JavaScript of a page: made once a version of vl-convert, and the same whatever lies in the cache folder."""

import pytest
import vl_convert

from rdstudy.datasets.cache import FOLDER_VARIABLE
from rdstudy.report import bundle

MADE = "var vega = 7; // β"


@pytest.fixture
def calls(monkeypatch):
    """How often vl-convert was asked."""
    asked: list[str] = []

    def make(modules: str) -> str:
        asked.append(modules)
        return MADE

    monkeypatch.setattr(vl_convert, "javascript_bundle", make)
    bundle.javascript.cache_clear()
    yield asked
    bundle.javascript.cache_clear()


def again():
    """As another process reads it."""
    bundle.javascript.cache_clear()
    return bundle.javascript()


def test_another_process_reads_what_the_first_one_made(calls, tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    assert [again(), again()] == [MADE, MADE]
    assert len(calls) == 1


def test_another_version_makes_its_own(calls, tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    again()
    monkeypatch.setattr(bundle, "version", lambda package: f"another {package}")
    again()
    assert len(calls) == 2
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", [b"", b"alert(1)", b"\xff\n" + MADE.encode()])
def test_a_damaged_file_is_made_again(calls, damage, tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    again()
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage)
    assert [again(), again()] == [MADE, MADE]
    assert len(calls) == 2


def test_where_no_file_can_be_kept_it_is_made_for_each_process(calls, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "file" / "below"))
    assert [again(), again()] == [MADE, MADE]
    assert len(calls) == 2
