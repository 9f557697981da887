"""The public door: every name is there, and none costs anything before it is used."""

import pytest

import rdstudy
import rdstudy.datasets
import rdstudy.study

HEAVY = ("torch", "ray", "altair", "pandas", "numpy", "pyarrow")


def test_the_door_imports_nothing_heavy(run_python):
    code = f"import sys, rdstudy; dir(rdstudy); print([name for name in {HEAVY} if name in sys.modules])"
    assert run_python(code) == "[]"


def test_a_study_is_declared_through_the_door_with_the_standard_library_alone(run_python):
    code = f"import sys, rdstudy; rdstudy.Study; print([name for name in {HEAVY} if name in sys.modules])"
    assert run_python(code) == "[]"


def test_every_name_is_the_one_of_its_room():
    for name in rdstudy.__all__:
        assert name in dir(rdstudy)
        assert getattr(rdstudy, name) is not None
    assert rdstudy.Study is rdstudy.study.Study
    assert rdstudy.own_dataset is rdstudy.datasets.own_dataset


def test_a_name_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(AttributeError, match=r"no attribute 'load_all'; allowed: Evaluation, Experiment"):
        rdstudy.load_all  # noqa: B018  reading it is the test
