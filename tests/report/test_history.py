"""Since when a study is declared, what was changed, and which claims are younger than the results: on the page."""

import dataclasses
import html
from datetime import UTC, datetime

import pytest

from rdstudy.report.build import Source, read_report, write_report
from rdstudy.report.history import claimed_late, declared, declared_lines
from rdstudy.results.declaration import Change, History
from rdstudy.study.claims import Claim, monotone
from tests.report.conftest import DECLARED, Simulation, declaration

FIRST = "2026-01-01T03:04:05+00:00"
LATER = "2026-02-03T04:05:06+00:00"
CLAIMS = tuple(Claim(name, "It falls.", "", [monotone({"depth": 1})]) for name in ("early", "late"))
WHEN = "the first result of these models, 2026-01-02 00:00 UTC"  # as it is simulated


@pytest.mark.parametrize(
    ("history", "words"),
    [
        (History(FIRST), "declared first 2026-01-01 03:04 UTC"),
        (
            History(FIRST, "known"),
            "known since 2026-01-01 03:04 UTC (an earlier version of the program kept no history)",
        ),
        (
            History(FIRST, "lost"),
            "known since 2026-01-01 03:04 UTC (an earlier declaration was damaged, and its history is lost)",
        ),
        (History("", "known"), "known since an unknown time (an earlier version of the program kept no history)"),
        (
            History(FIRST, changes=(Change(LATER, ("recipe",), 4, 1, ("a", "b"), ("c",), ("d",), "0.2"),)),
            "declared first 2026-01-01 03:04 UTC, changed 2026-02-03 04:05 UTC (recipe; 4 models added; 1 model "
            "removed; claims a, b added; claim c changed; claim d removed; code 0.2)",
        ),
    ],
)
def test_a_history_is_told_in_words(history, words):
    assert declared(history) == words


def test_the_first_date_and_each_change_are_lines_of_their_own():
    changes = (Change(LATER, ("recipe",)), Change("2026-02-05T00:00:00+00:00"))
    assert declared_lines(History(FIRST, changes=changes)) == (
        "Declared first 2026-01-01 03:04 UTC",
        "Changed 2026-02-03 04:05 UTC (recipe)",
        "Changed 2026-02-05 00:00 UTC (what changed is not known)",
    )


def test_a_run_of_other_code_that_changes_nothing_is_not_said_to_have_changed_the_study():
    history = History(FIRST, changes=(Change(LATER, code_version="7"),))
    assert declared_lines(history)[1] == "Declared again, the same, 2026-02-03 04:05 UTC by code 7"


def test_of_many_changes_the_last_are_listed_and_the_others_are_counted():
    changes = tuple(Change(f"2026-02-{day:02}T00:00:00+00:00", ("title",)) for day in range(1, 18))
    words = declared(History(FIRST, changes=changes))
    assert "changed 5 times until 2026-02-05 00:00 UTC, changed 2026-02-06 00:00 UTC (title), " in words
    assert words.endswith("changed 2026-02-17 00:00 UTC (title)")
    repeated = (Change("2026-02-05T01:00:00+00:00", code_version="7"), *changes[5:])
    counted = declared(History(FIRST, changes=(*changes[:5], *repeated)))
    assert "changed 5 times until 2026-02-05 00:00 UTC, changed 2026-02-06 00:00 UTC (title), " in counted


def late(study, history: History) -> str:
    return claimed_late(dataclasses.replace(study, claims=CLAIMS, history=history))


def test_a_claim_that_is_younger_than_the_first_result_is_named_and_no_other(simulate):
    study = simulate(Simulation())
    assert late(study, History(FIRST)) == ""
    for change in (Change(LATER, claims_added=("late",)), Change(LATER, claims_changed=("late",))):
        assert (
            late(study, History(FIRST, changes=(change,)))
            == f"Claims added or changed after {WHEN}: late (2026-02-03 04:05 UTC)."
        )
    before = Change("2026-01-01T23:00:00+00:00", claims_changed=("late",))
    assert late(study, History(FIRST, changes=(before,))) == ""
    assert late(study, History(FIRST, changes=(Change(LATER, ("recipe",)),))) == ""
    everything = late(study, History(LATER))  # on models that another study had trained
    assert (
        everything
        == f"Claims added or changed after {WHEN}: early (2026-02-03 04:05 UTC), late (2026-02-03 04:05 UTC)."
    )


def test_where_no_history_was_kept_nobody_is_said_to_be_early_or_late(simulate):
    study = simulate(Simulation())
    older = f"2026-02-03 04:05 UTC, which is after {WHEN},"
    unknown = f"Whether these claims are older than {older} is not known: early, late."
    for kept in ("known", "lost"):
        assert late(study, History(LATER, kept)) == unknown
        assert late(study, History(FIRST, kept)) == ""  # known before any result is early enough
    assert late(study, History("nonsense", "known")) == ""


def test_a_study_without_results_has_no_late_claim(simulate):
    assert late(simulate(Simulation(outcomes=[None] * 30)), History(LATER)) == ""


def test_the_page_says_when_it_was_declared_and_beside_claims_which_are_late(tmp_path):
    simulation = Simulation(depths=[1], betas=[0.1, 1.0], seeds=1)
    store = simulation.write(tmp_path / "results")
    study = declaration(simulation.study())
    store.declarations.declare(dataclasses.replace(study, claims=CLAIMS[:1]), at=DECLARED.replace(hour=5))
    store.declarations.declare(dataclasses.replace(study, claims=CLAIMS), at=datetime(2026, 2, 3, 4, 5, tzinfo=UTC))
    report = read_report(Source(str(tmp_path / "results")))
    text = html.unescape(write_report(report, out=str(tmp_path / "page.html")).read_text("utf-8"))
    assert (
        "Study simulated, declared first 2026-01-01 03:04 UTC, changed 2026-01-01 05:04 UTC (claim early added), "
        "changed 2026-02-03 04:05 UTC (claim late added); reported "
    ) in text
    findings = text[text.index('<section id="findings">') :].partition("</section>")[0]
    assert f"Claims added or changed after {WHEN}: late (2026-02-03 04:05 UTC)." in findings
    assert "<summary>Declared first 2026-01-01 03:04 UTC, and what was changed since</summary>" in findings
    assert "<li>Changed 2026-02-03 04:05 UTC (claim late added)</li>" in findings
