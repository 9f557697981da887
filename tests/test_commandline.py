"""What the commands share: output that outlasts whoever reads it, and which errors are a user's mistake."""

import codecs
import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rdstudy import commandline
from rdstudy.commandline import BAD_INPUT, INTERRUPTED, STORAGE_FAILED, answer, open_output, sigterm_interrupts
from rdstudy.commands.fetch import main as fetch
from rdstudy.report.__main__ import main as report
from rdstudy.results.store import Store
from rdstudy.retrain import main as retrain
from rdstudy.run import main
from rdstudy.running.driver import Interrupt
from rdstudy.study.checks import fail, whole
from tests.test_run import ROOT

# --- whose fault it is --------------------------------------------------------------------------------------------


def in_the_package(text: str):
    """A function as if its code stood in the package."""
    names: dict = {"fail": fail}
    code = f"def command():\n    {text}\n"
    exec(compile(code, str(Path(commandline.__file__).with_name("invented.py")), "exec"), names)
    return names["command"]


@pytest.mark.parametrize(
    "text", ["raise ValueError('no')", "raise fail('x', 5, 'less') from None", "raise UnicodeError"]
)
def test_what_the_package_raises_is_one_line(capsys, text):
    assert answer(in_the_package(text)) == BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")


@pytest.mark.parametrize("text", ["int('a bug')", "[].remove(3)", "'β'.encode('ascii')", "a, b = [1]", "None.x"])
def test_what_a_function_raises_that_the_package_called_is_a_fault(text):
    with pytest.raises((ValueError, AttributeError)):
        answer(in_the_package(text))


def test_a_check_that_was_called_from_elsewhere_is_one_line(capsys):
    assert answer(lambda: whole("x", 0, least=1)) == BAD_INPUT
    assert capsys.readouterr().err == "error: x is 0; allowed: a whole number, 1 or more and below 2^63\n"


def test_an_interrupt_before_a_run_begins_is_one_line_of_every_command(tmp_path, monkeypatch, capsys):
    (tmp_path / "study.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    monkeypatch.chdir(tmp_path)
    Store.create("out")
    monkeypatch.setattr("rdstudy.report.build.read_report", lambda *_: signal.raise_signal(signal.SIGINT))
    for command in (
        lambda: main(["study.py", "--plan"]),
        lambda: retrain(["out", "00", "--study", "study.py"]),
        lambda: report(["out"]),
        lambda: fetch(["study.py"]),
    ):
        assert command() == INTERRUPTED
        assert capsys.readouterr().err == "stopped\n"


# --- streams ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("errors", ["strict", "surrogateescape", "replace"])
def test_letters_that_an_encoding_lacks_are_written_another_way(monkeypatch, encoding, errors):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors=errors)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, stream)
        with open_output():
            print("3 × β \udcff", file=getattr(sys, name))
    assert raw.getvalue().count(b"3 ") == 2


def test_a_stream_of_a_codec_is_written_escapes(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", codecs.getwriter("ascii")(raw))
    with open_output():
        print("3 × β")
    assert raw.getvalue() == b"3 \\xd7 \\u03b2\n"


def test_streams_are_left_as_they_were(monkeypatch):
    for stream in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stdout", stream)
        with contextlib.suppress(SystemExit), open_output():
            print("×", flush=True)
            assert not sys.stdout.isatty()
            sys.exit(3)
        assert sys.stdout is stream
        assert stream is None or stream.getvalue() == "×\n"


def test_a_stream_that_was_closed_loses_what_is_printed(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    with open_output():
        stream.close()
        print("lost", flush=True)


class Full(io.StringIO):
    def write(self, text):  # noqa: ARG002
        raise OSError(28, "No space left on device")


class Gone(io.StringIO):
    def write(self, text):  # noqa: ARG002
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize(("stream", "status"), [(Full(), STORAGE_FAILED), (Gone(), 0)])
def test_output_that_is_lost_ends_no_work_and_is_told_unless_nobody_reads(monkeypatch, capsys, stream, status):
    monkeypatch.setattr(sys, "stdout", stream)

    def command() -> int:
        print("one")
        print("two")
        return 0

    with open_output():
        assert answer(command) == status
    line = "error: standard output cannot be written: No space left on device\n"
    assert capsys.readouterr().err == (line if status else "")


@pytest.mark.usefixtures("study")
def test_a_log_is_followed_while_somebody_reads(monkeypatch):
    store = Store.create("out")
    store.blobs.write_log("tiny", "20260101T000000Z", "2026-01-01 00:00:00  a line\n")  # of a run that never ends
    monkeypatch.setattr(sys, "stdout", Gone())
    assert main(["tiny.py", "--out", "out", "--follow"]) == 0


def shell(command: str, **variables: str) -> int:
    """The exit status of the run in a line of bash, `RUN`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    run = f"{sys.executable} -m rdstudy.run tiny.py --local --out out --no-report"
    return subprocess.run(["bash", "-c", command.replace("RUN", run)], env=environment, check=False).returncode


@pytest.mark.slow
@pytest.mark.usefixtures("study")
@pytest.mark.parametrize(
    "command",
    [
        "RUN 2>&-",
        "RUN >&-",
        "RUN <&- >&- 2>&-",
        "RUN | head -1 >first; exit ${PIPESTATUS[0]}",
        "RUN 2>&1 | head -c 1 >first; exit ${PIPESTATUS[0]}",
        "RUN 2>/dev/full",
    ],
)
def test_members_are_trained_whoever_reads(command):
    assert shell(command) == 0
    assert len(Store.open("out").snapshot().outcomes()) == 4


@pytest.mark.slow
@pytest.mark.usefixtures("study")
def test_failures_are_listed_in_any_encoding():
    command = "RUN --set recipe.learning_rate=1e18 >said 2>/dev/null"
    assert shell(command, PYTHONIOENCODING="ascii", LC_ALL="C") == 1
    said = Path("said").read_text()
    assert "4 of 4 members are not ok:\n" in said
    assert " \\xd7 not finite at step" in said
    assert "rerun one: python -m rdstudy.run" in said


@pytest.mark.usefixtures("study")
@pytest.mark.parametrize("command", [main, report, retrain])
def test_every_command_says_what_is_wrong_in_any_encoding(monkeypatch, command):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii", errors="strict"))
    assert command(["β.py", "×"] if command is retrain else ["β.py"]) == 2
    assert raw.getvalue().startswith(b"error: ")
    assert raw.getvalue().count(b"\n") == 1
    assert b"\\u03b2.py" in raw.getvalue()


# --- a thread, a notebook -----------------------------------------------------------------------------------------


def test_a_study_is_trained_from_a_thread_twice(study, capsys):
    def run(statuses: list[int]) -> None:
        statuses.append(main([str(study), "--local", "--out", "out", "--no-report"]))

    statuses: list[int] = []
    for _ in range(2):
        thread = threading.Thread(target=run, args=[statuses])
        thread.start()
        thread.join()
    assert statuses == [0, 0]
    assert "nothing to do: all members are stored" in capsys.readouterr().out


def test_signals_are_left_alone_in_a_thread_and_restored_elsewhere():
    before = signal.getsignal(signal.SIGINT)
    inside: list[object] = []

    def interruptible() -> None:
        with Interrupt() as interrupt:
            inside.append(signal.getsignal(signal.SIGINT))
            interrupt.arm()
            assert not interrupt.asked()

    thread = threading.Thread(target=interruptible)
    thread.start()
    thread.join()
    assert inside == [before]
    interruptible()
    assert inside[1] != before
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_an_interrupt_is_asked_for_whatever_standard_error_is(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.asked()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert stream is None or "stopping: saving checkpoints" in stream.getvalue()


def test_sigterm_ends_a_command_as_ctrl_c_does_and_another_listener_keeps_it():
    with sigterm_interrupts(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with Interrupt() as interrupt, sigterm_interrupts():
        signal.raise_signal(signal.SIGTERM)
        assert interrupt.asked()


def test_a_terminal_that_closes_asks_once_however_often_it_says_so_and_nohup_goes_on():
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
    try:
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)
            assert interrupt.asked()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGHUP)
            assert not interrupt.asked()
    finally:
        signal.signal(signal.SIGHUP, before)


# --- options ------------------------------------------------------------------------------------------------------


OPTIONS = (
    (["--out", ""], "--out is ''; allowed: a folder or a URI"),
    (["--out", " "], "--out is ' '; allowed: a folder or a URI"),
    (["--out=--"], "out is '--'; allowed: another text"),
    (["--only=--"], "only is '--'; allowed: another text"),
    (["--only", ""], "--only is ''; allowed: few"),
    (["--member", ""], "4 models asked for with an id that begins with '': "),
    (["--address", ""], "--address is ''; allowed: host:port"),
    (["--local", "--address", "10.0.0.1:6379"], "--local and --address contradict each other; allowed: one of them"),
    (["--plan", "--follow"], "--plan and --follow contradict each other; allowed: one of them"),
    (["--max-hours", "nan"], "--max-hours is nan; allowed: a finite number above 0"),
    (["--max-hours", "-1", "--plan"], "--max-hours is -1.0; allowed: a finite number above 0"),
    (["--max-cost", "inf"], "--max-cost is inf; allowed: a finite number above 0"),
    (["--max-hours", "x"], "argument --max-hours: invalid float value: 'x'"),
    (["--out", "a\0b"], "out is 'a\\x00b'; allowed: text in UTF-8, without null bytes"),
    (["--only", "\udcff"], "only is '\\udcff'; allowed: text in UTF-8, without null bytes"),
    (["--set", f"recipe.steps={'9' * 10**7}"], "--set recipe.steps has 10,000,000 letters; allowed: up to 100,000"),
    (["--set", f"recipe.steps={'[' * 50_000}"], "recipe.steps is '[[["),
    (["--set", f"recipe.steps={'-' * 50_000}1"], "recipe.steps is '---"),
    (["--set", f"recipe.steps={'9' * 4_000}"], "recipe.steps is a number of some 4,000 digits"),
)


@pytest.mark.parametrize(("options", "message"), OPTIONS, ids=range(len(OPTIONS)))
def test_an_option_that_means_nothing_is_one_line(study, capsys, options, message):
    with pytest.raises(SystemExit) as ended:
        sys.exit(main([str(study), *options]))
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
    assert len(line) < 3_000
    assert not Path("out").exists()


@pytest.mark.parametrize("options", [["--study", ""], ["--out", ""], ["--figures", " "], ["--format", "svg"]])
def test_an_option_of_a_report_that_means_nothing_is_one_line(capsys, options):
    assert report(["out", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "; allowed: " in line
