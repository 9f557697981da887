"""Which code a row says that it is of: never a commit whose files are not the ones that run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import rdstudy
from rdstudy.running.provenance import CODE_VERSION_VARIABLE, PACKAGE, code_version, files_hash, stated_version


def test_it_is_the_whole_package_that_is_told():
    assert Path(rdstudy.__file__).parent == PACKAGE
    if (PACKAGE.parent / ".git").exists():  # an installed package has no history
        assert "-g" in code_version()


@pytest.fixture
def said(run_python):
    """What a process says that is told this."""
    code = "from rdstudy.running.provenance import code_version; print(code_version())"
    return lambda version: run_python(code, **{CODE_VERSION_VARIABLE: version})


def test_a_copy_is_of_the_commit_that_it_is_told_while_its_files_are_those(said):
    assert said(f"9.7-gabcdef@{files_hash()}") == "9.7-gabcdef"
    assert said(f"9.7-gabcdef+@{files_hash()}") == "9.7-gabcdef+"
    assert stated_version() == f"{code_version()}@{files_hash()}"


@pytest.mark.parametrize("version", ["9.7-gabcdef@0123456789ab", "9.7-gabcdef", "@", "", "9.7-gabcdef@"])
def test_a_copy_with_other_files_does_not_take_that_commit(said, version):
    assert said(version) == code_version()


def test_what_is_told_is_printed_for_whoever_copies():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "rdstudy.running.provenance"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == stated_version()
