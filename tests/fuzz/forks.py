"""Commands in children of a process that has everything imported: as good as a process each, fifty times as quick.

A child has files for its output, nothing on its input, a folder of its own, and a bound on its memory. Who has not
ended in time is killed, with all that it started.
"""

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.fuzz.cases import Outcome

ROOT = Path(__file__).resolve().parents[2]
_MEMORY_BYTES = 4 * 2**30  # beyond what the warm process holds
_MODULES = (
    "torch",
    "pandas",
    "altair",
    "vl_convert",
    "jinja2",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "pyarrow.compute",
    "pyarrow.fs",
    "rdstudy.run",
    "rdstudy.retrain",
    "rdstudy.report.build",
    "rdstudy.report.__main__",
    "rdstudy.datasets.own",
    "rdstudy.running.driver",
    "rdstudy.running.worker",
    "rdstudy.planning.describe",
    "rdstudy.running.local",
)


def warm_up() -> None:
    """Import what commands import, and start no thread: those would be missing in the children."""
    for name in _MODULES:
        importlib.import_module(name)


def run_forked(module: str, arguments: Sequence[str], folder: Path, *, limit_seconds: float) -> Outcome:
    """`python -m rdstudy.<module> <arguments>` in a folder."""
    return _outcome(
        lambda out, err: _fork(lambda: run_command(module, arguments, folder, out, err)), folder, limit_seconds
    )


def run_process(
    module: str,
    arguments: Sequence[str],
    folder: Path,
    *,
    limit_seconds: float,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """The same, in a process of its own."""

    def start(out: Path, err: Path) -> int:
        command = [sys.executable, "-m", f"rdstudy.{module}", *arguments]
        variables = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        process.returncode = 0  # its end is waited for by its number, as that of a forked one
        return process.pid

    return _outcome(start, folder, limit_seconds)


def ask_forked(question: Callable[[], Any], folder: Path) -> Any:
    """The answer of a function, as JSON has it, from a child: this process starts no thread for it."""
    answer = folder / ".answer"

    def tell() -> int:
        answer.write_text(json.dumps(question()))
        return 0

    _, status = os.waitpid(_fork(tell), 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError("the question could not be answered: see above")
    content = json.loads(answer.read_text())
    answer.unlink()
    return content


def _fork(work: Callable[[], int]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # a study file may have closed it
                status = status or 120
        os._exit(status)


def run_command(module: str, arguments: Sequence[str], folder: Path, out: Path, err: Path) -> int:
    """What the interpreter does with `-m`, in this very process: its exit status."""
    for number, path, flags in ((0, Path(os.devnull), os.O_RDONLY), (1, out, os.O_WRONLY), (2, err, os.O_WRONLY)):
        os.dup2(os.open(path, flags | os.O_CREAT, 0o644), number)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # open until the process ends
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    os.chdir(folder)
    held = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(
        resource.RLIMIT_DATA, (held + _MEMORY_BYTES, held + _MEMORY_BYTES)
    )  # V8 reserves more than it holds
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    name = "rdstudy.report.__main__" if module == "report" else f"rdstudy.{module}"
    sys.argv = [name, *arguments]
    try:
        return int(importlib.import_module(name).main(list(arguments)))
    except SystemExit as leaving:
        return _status(leaving)
    except KeyboardInterrupt:
        return 130
    except BaseException:
        traceback.print_exc()
        return 1


def _status(leaving: SystemExit) -> int:
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code & 0xFF
    print(leaving.code, file=sys.stderr)
    return 1


def _outcome(start: Callable[[Path, Path], int], folder: Path, limit_seconds: float) -> Outcome:
    out, err = (folder.with_name(f"{folder.name}.{name}") for name in ("stdout", "stderr"))
    for path in (out, err):
        path.write_bytes(b"")
    started = time.monotonic()
    status = _wait(start(out, err), started + limit_seconds)
    seconds = time.monotonic() - started
    texts = [path.read_bytes().decode("utf-8", "replace") for path in (out, err)]
    return Outcome(status, texts[0], texts[1], seconds)


def _wait(pid: int, deadline: float) -> int | None:
    """The exit status of a child; None where it was killed because its time was over."""
    pause = 0.002
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(pause)
        pause = min(pause * 1.3, 0.05)
