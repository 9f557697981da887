"""A command reads each file of a store at most twice, and lists each folder a few times, however the command ends."""

import collections
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from rdstudy.planning.plan import make_plan
from rdstudy.report.__main__ import main as report
from rdstudy.results import schema
from rdstudy.results.files import Files
from rdstudy.results.store import Store
from rdstudy.retrain import main as retrain
from rdstudy.run import load_study, main
from tests.s3 import s3_uri, upload

ENDS = {
    "members that are not finite": (("--set", "recipe.learning_rate=1e18", "--no-report"), 1),
    "other members": (("--set", "recipe.steps=11"), 0),
    "other measures, and no weights": (("--set", "measures.probe_images=7", "--no-report"), 0),
}
"""What is asked for, and the exit status."""


class Counts:
    """How often each file was read and each folder listed, by this process, since the counts were made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads: collections.Counter[str] = collections.Counter()
        self.lists: collections.Counter[str] = collections.Counter()
        self._count(monkeypatch, "read", self.reads)
        self._count(monkeypatch, "inside", self.lists)

    @staticmethod
    def _count(monkeypatch: pytest.MonkeyPatch, method: str, counter: collections.Counter[str]) -> None:
        real: Callable[[Files, str], object] = getattr(Files, method)

        def counted(files: Files, name: str) -> object:
            counter[name] += 1
            return real(files, name)

        monkeypatch.setattr(Files, method, counted)

    def of_runs(self) -> dict[str, int]:
        """How often each file of a run was read."""
        tables = ("members", *schema.OF_MEMBERS)
        return {name: count for name, count in self.reads.items() if name.partition("/")[0] in tables}


@pytest.fixture
def out(measured_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store in which a study of four members was run, with a file a member."""
    shutil.copytree(measured_study, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return "out"


@pytest.fixture
def bucket(out: str, s3: str) -> str:
    """The same store in a bucket."""
    uri = s3_uri(s3, f"reads/{uuid.uuid4().hex}")
    upload(Path(out), uri)
    return uri


@pytest.mark.parametrize("end", ENDS)
def test_a_run_reads_each_file_at_most_twice_however_it_ends(out, monkeypatch, end):
    options, status = ENDS[end]
    counts = Counts(monkeypatch)
    assert main(["tiny.py", "--local", "--out", out, *options]) == status
    assert_read_at_most_twice(counts)


def assert_read_at_most_twice(counts: Counts) -> None:
    assert len(counts.of_runs()) >= 4 * 5  # members, trajectories, measures, probes, reconstructions
    assert max(counts.of_runs().values()) <= 2
    assert max(count for folder, count in counts.lists.items() if folder in schema.TABLES) <= 3


def test_in_a_bucket_one_member_of_another_study_seed_costs_no_more(bucket, monkeypatch):
    """Reads are counted before it is known where a store lies: one run is enough."""
    settings = ["seed=1"]
    member = make_plan(load_study("tiny.py").with_settings(settings), {}).wanted[0].member_id
    counts = Counts(monkeypatch)
    options = ("--set", *settings, "--member", member, "--no-report")
    assert main(["tiny.py", "--local", "--out", bucket, *options]) == 0
    assert_read_at_most_twice(counts)


def test_a_run_with_nothing_to_do_reads_each_file_once(out, monkeypatch):
    counts = Counts(monkeypatch)
    assert main(["tiny.py", "--local", "--out", out]) == 0
    assert max(counts.of_runs().values()) == 1
    assert max(count for folder, count in counts.lists.items() if folder in schema.TABLES) == 1


def test_a_plan_reads_what_it_needs_once(out, monkeypatch):
    counts = Counts(monkeypatch)
    assert main(["tiny.py", "--local", "--out", out, "--plan"]) == 0
    assert {name.partition("/")[0] for name in counts.reads} == {"members", "measures", "store.json"}
    assert max(counts.of_runs().values()) == 1


def test_a_report_reads_each_file_once(out, monkeypatch):
    counts = Counts(monkeypatch)
    assert report([out]) == 0
    assert len(counts.of_runs()) >= 4 * 5
    assert max(counts.of_runs().values()) == 1
    assert max(count for folder, count in counts.lists.items() if folder in schema.TABLES) == 1


def test_figures_beside_a_page_read_each_file_at_most_twice(out, monkeypatch):
    counts = Counts(monkeypatch)
    assert report([out, "--figures", "figures", "--out", "page.html"]) == 0
    assert max(counts.of_runs().values()) <= 2


def test_a_model_that_is_trained_again_costs_each_file_one_read(out, monkeypatch):
    member = next(iter(Store.open(out).snapshot().outcomes()))
    counts = Counts(monkeypatch)
    assert retrain([out, member]) == 0
    assert max(counts.of_runs().values()) == 1
