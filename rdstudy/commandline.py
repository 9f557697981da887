"""What the commands share: bad input, an interrupt and storage that fails are a line on standard error and a status.

What a command prints reaches whoever can still read it: letters that a stream's encoding lacks are written as escapes,
and a stream that is closed, or whose reader has gone, does not end the work.
"""

import argparse
import contextlib
import dis
import os
import re
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from rdstudy.study.checks import is_unicode, shown
from rdstudy.study.study import SETTABLE
from rdstudy.study.words import one_line

WIDTH = 80
"""Letters of a line of what a command prints."""

STORAGE_FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130

_PACKAGE = Path(__file__).resolve().parent


class Parser(argparse.ArgumentParser):
    """Refuses bad input in one line, without the usage."""

    def error(self, message: str) -> None:  # type: ignore[override]
        """Say what is wrong, and end the process."""
        sys.exit(refuse(message))

    def add_list(self, flag: str, metavar: str, meaning: str) -> argparse.Action:
        """Add an option that may be given several times."""
        return self.add_argument(flag, metavar=metavar, action="append", default=[], help=meaning)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Options whose texts a file and a page can hold."""
        options = super().parse_args(args, namespace)
        for name, value in vars(options).items():
            for text in value if isinstance(self.get_default(name), list) else [value]:
                if isinstance(text, list):  # argparse makes one of --out=--
                    self.error(f"{name} is '--'; allowed: another text")
                if isinstance(text, str) and ("\0" in text or not is_unicode(text)):
                    self.error(f"{name} is {shown(text)}; allowed: text in UTF-8, without null bytes")
        return options


def complete(
    action: argparse.Action, names: Callable[[argparse.Namespace], Iterable[str]], *, files: bool = False
) -> None:
    """Let a shell complete a value of an option.

    Args:
        action: of the option.
        names: of the options before it, what there is; what it raises is no answer.
        files: whether names of files are values too.
    """

    def completer(prefix: str, parsed_args: argparse.Namespace, **_: object) -> list[str]:
        import argcomplete  # only a shell that completes has it loaded

        with contextlib.suppress(Exception):
            paths = argcomplete.FilesCompleter()(prefix) if files else ()
            return [*names(parsed_args), *paths]
        return []

    action.completer = completer  # type: ignore[attr-defined]


def describe_settings() -> str:
    """What `--set` takes, a setting a line with its default and what it means, for people."""
    lines = ["what --set takes, with its default where the study file says nothing:"]
    for name, setting in SETTABLE.items():
        meaning = re.split(r"[:;.] |\.$", setting.meaning)[0]
        given = ", ".join(setting.default) if isinstance(setting.default, tuple) else setting.default
        lines += textwrap.wrap(f"{name}={given}  {meaning}", WIDTH, initial_indent="  ", subsequent_indent=" " * 6)
    return "\n".join(lines)


def refuse(error: Exception | str) -> int:
    """Say in one line what is wrong with the input; returns the exit status."""
    print(f"error: {one_line(error)}", file=sys.stderr)
    return BAD_INPUT


def answer(command: Callable[[], int], *, storage_failed: int = STORAGE_FAILED) -> int:
    """Run a command; what its user can mend is told in one line, and all else is raised.

    Args:
        command: returns its exit status.
        storage_failed: the exit status where a results folder cannot be read or written.
    """
    try:
        return command() or _output_status()
    except ValueError as error:
        if not _is_users_mistake(error):
            raise
        return refuse(error)
    except OSError as error:
        from rdstudy.results.files import StorageError  # heavy, and loaded by whoever raised it

        if not isinstance(error, StorageError):
            raise
        refuse(error)
        return storage_failed
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED


def run_command(
    parser: Parser,
    command: Callable[[argparse.Namespace], int],
    arguments: Sequence[str] | None,
    *,
    storage_failed: int = STORAGE_FAILED,
) -> int:
    """Read the options of a command, run it with them (`answer`), and return its exit status."""
    with open_output():
        options = parser.parse_args(arguments)
        return answer(lambda: command(options), storage_failed=storage_failed)


def is_read() -> bool:
    """Whether what is printed still goes somewhere."""
    return not (isinstance(sys.stdout, _Lasting) and sys.stdout.lost)


def _output_status() -> int:
    """The exit status for what was printed: that its reader has gone is no fault, that it could not be written is."""
    if isinstance(sys.stdout, _Lasting):
        sys.stdout.flush()
        if sys.stdout.lost and not isinstance(sys.stdout.lost, BrokenPipeError):
            refuse(f"standard output cannot be written: {sys.stdout.lost.strerror}")
            return STORAGE_FAILED
    return 0


def _is_users_mistake(error: ValueError) -> bool:
    """Whether a statement of this package raised a ValueError: those of libraries are a program's fault.

    So are those of functions in C, such as `int`, whose last frame is that of the package which called them.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not Path(trace.tb_frame.f_code.co_filename).resolve().is_relative_to(_PACKAGE):
        return False
    return dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"


@contextlib.contextmanager
def open_output() -> Iterator[None]:
    """Streams that can be written to, whatever happens to them, while a command is run."""
    before = sys.stdout, sys.stderr
    for number in range(3):
        _hold(number)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        lasting = _Lasting(sys.stdout or nowhere), _Lasting(sys.stderr or nowhere)
        sys.stdout, sys.stderr = lasting  # type: ignore[assignment]
        try:
            yield
        finally:
            for stream in lasting:
                stream.flush()
            sys.stdout, sys.stderr = before


def _hold(number: int) -> None:
    """Open nothing in the place of a standard stream that is closed: the next file would take its number."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)


class _Lasting:
    """A text stream that writes what it can and loses the rest; `lost` is why."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: OSError | None = None
        if getattr(stream, "errors", None) in {"strict", "surrogateescape"}:
            with contextlib.suppress(AttributeError, ValueError):  # no stream of a file, or a closed one
                stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, or lose it; returns its length."""
        try:
            self._attempt(lambda stream: stream.write(text))
        except UnicodeEncodeError:  # of a stream that cannot be told to write escapes
            self._attempt(lambda stream: stream.write(text.encode("ascii", "backslashreplace").decode()))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write texts, or lose them."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Write what is buffered, or lose it."""
        self._attempt(lambda stream: stream.flush())

    def isatty(self) -> bool:
        """Whether a person reads it."""
        return not self._stream.closed and self._stream.isatty()

    def _attempt(self, write: Callable[[TextIO], object]) -> None:
        if getattr(self._stream, "closed", False):  # by a study file
            return
        try:
            write(self._stream)
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        """Nobody reads any more, or a disk is full: from now on it goes nowhere, what is still in its buffer too."""
        self.lost = self.lost or error
        with contextlib.suppress(OSError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextlib.contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM end what a command does as Ctrl-C does, unless somebody else listens to it already."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
