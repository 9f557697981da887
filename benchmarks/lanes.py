"""A lane: one process in which one contender trains its models, one measurement at a time, when it is told to.

The process is alive and warm between measurements, and waits without using a core: that is what lets contenders be
measured in turn. A line to its standard input asks for a measurement, a line from its standard output answers.
Run as `python -m benchmarks.lanes MODULE TASK`, this is the process itself.
"""

import contextlib
import dataclasses
import importlib
import json
import subprocess
import sys
import tempfile
import time
from typing import IO, Any, cast

from benchmarks.contenders import ROOT, Build, Contender, Task, Trainer
from benchmarks.sizes import Size


@dataclasses.dataclass(frozen=True)
class Timing:
    """One measurement of one process."""

    wall_seconds: float
    cpu_seconds: float  # of all its threads
    step_mode: str = ""  # how steps were taken, of trainers that can take them in several ways


@dataclasses.dataclass(frozen=True)
class Ready:
    """What a process says of its trainer before the first measurement."""

    models: int  # trained by one step
    parameter_count: int  # of one model


class Lane:
    """The parent's end of a process. A context manager: leaving it ends the process.

    Args:
        contender: who trains.
        task: what.
        python: the interpreter that can import the contender.
    """

    def __init__(self, contender: Contender, task: Task, *, python: str) -> None:
        self._name = contender.name
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - closed on leaving
        command = [python, "-m", "benchmarks.lanes", contender.module, json.dumps(dataclasses.asdict(task))]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )

    def __enter__(self) -> "Lane":
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._process.wait()
        self._errors.close()

    def wait_ready(self) -> Ready:
        """Wait until its trainer is built."""
        return Ready(**self._answer())

    def start(self) -> None:
        """Ask for a measurement."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: `finish` says why
            self._process.stdin.write("\n")
            self._process.stdin.flush()

    def finish(self) -> Timing:
        """Wait for the measurement that was asked for."""
        return Timing(**self._answer())

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            raise RuntimeError(f"{self._name} ended with status {self._process.returncode}:\n{self._errors.read()}")
        return cast(dict[str, Any], json.loads(line))


def serve(trainer: Trainer, *, steps: int, requests: IO[str], answers: IO[str]) -> None:
    """Answer requests until there are no more, each by the time of `steps` steps."""
    _write(answers, Ready(trainer.models, trainer.parameter_count))
    for _ in requests:
        wall_seconds, cpu_seconds = time.perf_counter(), time.process_time()
        trainer.take_steps(steps)
        wall_seconds, cpu_seconds = time.perf_counter() - wall_seconds, time.process_time() - cpu_seconds
        _write(answers, Timing(wall_seconds, cpu_seconds, getattr(trainer, "step_mode", "")))


def _write(answers: IO[str], answer: Ready | Timing) -> None:
    answers.write(json.dumps(dataclasses.asdict(answer)) + "\n")
    answers.flush()


def main(arguments: list[str]) -> None:
    module, text = arguments
    settings = json.loads(text)
    task = Task(**{**settings, "size": Size(**settings["size"])})
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is not an answer
    build = cast(Build, importlib.import_module(module).build)
    serve(build(task), steps=task.steps, requests=sys.stdin, answers=answers)


if __name__ == "__main__":
    main(sys.argv[1:])
