"""Laws of the seeds: a pure function that keeps apart whatever differs."""

from hypothesis import given
from hypothesis import strategies as st

from rdstudy.study.seeds import derive_seed

asked = st.tuples(st.integers() | st.text(max_size=7), st.text(max_size=11), st.integers(0, 10**9))


def test_these_seeds_never_change():
    """Another number here is another contract of the numerics: every stored result would be trained again."""
    assert derive_seed(0, "weights") == 286_033_293_346_643_046
    assert derive_seed("tetrominoes", "examples", 7) == 2_864_795_819_549_463_366


@given(asked)
def test_the_same_question_has_the_same_answer(question):
    assert derive_seed(*question) == derive_seed(*question)
    assert 0 <= derive_seed(*question) < 2**63


@given(st.lists(asked, unique=True, min_size=2, max_size=23), st.randoms(use_true_random=False))
def test_different_questions_differ_in_whatever_order_they_are_asked(questions, random):
    first = [derive_seed(*question) for question in questions]
    assert len(set(first)) == len(questions)
    order = list(range(len(questions)))
    random.shuffle(order)
    second = {at: derive_seed(*questions[at]) for at in order}
    assert [second[at] for at in range(len(questions))] == first


def test_identity_purpose_and_index_each_count():
    asked = [
        derive_seed(identity, purpose, index)
        for identity in (0, 1, 2, "0", "1", "")
        for purpose in ("", "weights", "noise", "noise ", "0")
        for index in range(7)
    ]
    assert len(set(asked)) == len(asked) == 6 * 5 * 7


def test_what_belongs_to_one_part_is_not_taken_for_another():
    assert derive_seed(1, "noise", 11) != derive_seed(1, "noise1", 1)
    assert derive_seed(11, "noise") != derive_seed(1, "1noise")
    assert derive_seed(1, "a\x1f1", 0) != derive_seed(1, "a", 1)
    assert derive_seed("a\x1fb", "c") != derive_seed("a", "b\x1fc")


def test_an_index_left_out_is_the_first():
    assert derive_seed(5, "noise") == derive_seed(5, "noise", 0)


def test_every_bit_is_set_half_of_the_time():
    drawn = [derive_seed(3, "bits", index) for index in range(1009)]
    shares = [sum(seed >> bit & 1 for seed in drawn) / len(drawn) for bit in range(63)]
    assert min(shares) > 0.42  # five standard deviations of a fair coin
    assert max(shares) < 0.58


def test_a_seed_does_not_depend_on_the_process(run_python):
    code = "from rdstudy.study.seeds import derive_seed; print(derive_seed('tetrominoes', 'examples', 7))"
    expected = str(derive_seed("tetrominoes", "examples", 7))
    assert {run_python(code, PYTHONHASHSEED=seed) for seed in ("1", "2")} == {expected}
