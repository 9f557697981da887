"""What follows from a failure, cause by cause; and when a run ends itself."""

import pickle

import pytest

from rdstudy.running.failures import Cause, Failure, Failures, PackError, Remedy


def failure(cause: Cause, *, pack: str = "p", reason: str = "why", host: str = "h", raised: str = "") -> Failure:
    return Failure(pack, cause, reason, host, raised)


def test_a_node_that_goes_away_is_no_failure_however_often():
    failures = Failures()
    assert {failures.failed(failure(Cause.PREEMPTED, pack=str(at % 7))) for at in range(1000)} == {Remedy.AGAIN}
    assert failures.stop is None


def test_an_exception_is_tried_once_more_and_its_pack_is_told():
    failures = Failures()
    assert failures.failed(failure(Cause.RAISED, raised="u")) is Remedy.AGAIN
    assert failures.tried == {"p": {"u"}}


def test_a_process_that_dies_where_it_died_before_is_given_up():
    failures = Failures()
    failures.progressed("p", share=0.4, host="h")
    remedies = [failures.failed(failure(Cause.DIED)) for _ in range(5)]
    assert remedies == [Remedy.AGAIN] * 4 + [Remedy.GIVE_UP]


def test_a_process_that_comes_further_each_time_is_never_given_up():
    failures = Failures()
    for at in range(1, 100):
        failures.progressed("p", share=at / 100, host="h")
        assert failures.failed(failure(Cause.DIED)) is Remedy.AGAIN
    assert failures.stop is None


def test_out_of_memory_asks_for_more():
    assert Failures().failed(failure(Cause.MEMORY)) is Remedy.LARGER


def test_many_shares_that_are_too_small_end_no_run_until_there_is_no_larger_one():
    failures = Failures()
    for at in range(20):
        assert failures.failed(failure(Cause.MEMORY, pack=f"p{at}")) is Remedy.LARGER
    assert failures.stop is None
    for at in range(5):
        assert failures.no_larger(failure(Cause.MEMORY, pack=f"p{at}")) is Remedy.GIVE_UP
    assert failures.stop is not None


def test_a_few_equal_failures_on_a_host_end_the_run_and_name_one_pack():
    failures = Failures()
    for at in range(5):
        assert failures.stop is None
        failures.failed(
            failure(
                Cause.RAISED, pack=f"p{at}", raised=f"u{at}", reason=f"CUDA error {at} of 0x7f{at}a in 01a28f96e6ff{at}"
            )
        )
    assert failures.stop == "5 failures in a row on h, nothing stored: CUDA error 4 of 0x7f4a in 01a28f96e6ff4"
    assert failures.example == "p4"


@pytest.mark.parametrize("between", ["stored", "another reason", "another host"])
def test_what_is_stored_or_differs_in_between_keeps_a_run_going(between):
    failures = Failures()
    for at in range(20):
        other = at % 2 and between != "stored"
        failures.failed(
            failure(
                Cause.RAISED,
                pack=f"p{at}",
                raised=f"u{at}",
                reason="other" if other and between == "another reason" else "why",
                host=f"h{at}"
                if other and between == "another host"
                else "h"
                if between != "another host"
                else f"g{at}",
            )
        )
        if between == "stored" and at % 4 == 3:
            failures.stored("h")
    assert failures.stop is None


def test_two_tries_of_few_packs_do_not_end_a_run():
    failures = Failures()
    for pack in "abc":
        for _ in range(2):
            failures.failed(failure(Cause.RAISED, raised=pack, pack=pack))
    assert failures.stop is None


def test_storage_that_stays_away_ends_the_run_whatever_it_says_and_wherever():
    failures = Failures()
    assert failures.failed(failure(Cause.STORAGE, reason="a is full", host="a")) is Remedy.AGAIN
    assert failures.stop is None
    assert failures.failed(failure(Cause.STORAGE, reason="no answer for b", host="b")) is Remedy.AGAIN
    assert failures.stop == "storage failed 2 times, nothing stored: no answer for b"


def test_storage_that_fails_on_one_node_while_others_store_ends_no_run():
    failures = Failures()
    for at in range(4):
        failures.failed(failure(Cause.STORAGE, pack=f"p{at}", host="a"))
        failures.stored("b")
    assert failures.stop is None


def test_other_versions_end_the_run_at_once():
    failures = Failures()
    failures.failed(failure(Cause.VERSIONS, reason="torch 2.9.0, here 2.13.0"))
    assert failures.stop == "torch 2.9.0, here 2.13.0"


def test_training_that_goes_on_forgives_processes_that_died():
    failures = Failures()
    for at in range(20):
        failures.failed(failure(Cause.DIED, pack=f"p{at}"))
        failures.progressed(f"p{at}", share=0.5, host="h")
    assert failures.stop is None


def test_an_exception_of_a_pack_crosses_processes_whole():
    error = pickle.loads(pickle.dumps(PackError("u", "ValueError: no", "Traceback: here")))
    assert (error.pack_id, error.reason, error.traceback) == ("u", "ValueError: no", "Traceback: here")
