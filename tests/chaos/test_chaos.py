"""Faults of every kind at random moments of one study, and the tables of an undisturbed run at its end."""

import os
import subprocess
import sys

import pytest

from tests.chaos.__main__ import ROOT

SECONDS = os.environ.get("CHAOS_SECONDS", "30")


@pytest.mark.cluster
def test_whatever_is_killed_the_tables_are_those_of_an_undisturbed_run(tmp_path):
    command = [sys.executable, "-m", "tests.chaos", "--seconds", SECONDS, "--folder", str(tmp_path / "chaos")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
