"""What tells trials to end."""

from tests.test_door import HEAVY


def test_the_process_of_the_signal_loads_nothing_heavy(run_python):
    """Ray imports the module of an actor's class: PyTorch and Tune take seconds of a core, of the first trial's own."""
    code = f"import sys, rdstudy.running.stopping; print([name for name in {HEAVY} if name in sys.modules])"
    assert run_python(code) == "[]"
