"""What the fuzz feeds to a command: a case, what came of it, and the folder in which it happens."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.damage import Damage
from tests.fuzz.odd import DEFINITIONS, RESULTS
from tests.fuzz.parts import study_text

STUDY = "study.py"
GOOD = DEFINITIONS + study_text()


@dataclass(frozen=True)
class Case:
    """One command with its input.

    Attributes:
        kind: of the input: study, set, command or folder.
        module: of `rdstudy`: run, report or retrain.
        arguments: of the command.
        study: text of the study file; None for the prepared one.
        damage: what was done to the results folder before.
    """

    kind: str
    module: str
    arguments: Sequence[str]
    study: str | None = None
    damage: Sequence[Damage] = ()

    def __str__(self) -> str:
        """The command and what is odd about its input, long values cut."""
        words = " ".join(_cut(repr(word), 150) for word in self.arguments)
        lines = [f"python -m rdstudy.{self.module} {words}", *(f"after: {damage}" for damage in self.damage)]
        if self.study is not None:
            lines += ["with study.py:", *("    " + _cut(ascii(line), 1_000) for line in self.odd_lines())]
        return "\n".join(lines)

    def odd_lines(self) -> list[str]:
        """Lines of its study file that a good one does not have."""
        good = {line.strip() for line in GOOD.splitlines()}
        return [line for line in (self.study or "").split("\n") if line.strip() and line.strip() not in good]


@dataclass(frozen=True)
class Outcome:
    """What a command said and how it ended; status None where it came to no end."""

    status: int | None
    stdout: str
    stderr: str
    seconds: float


def lay_out(case: Case, folder: Path, prepared: Path) -> None:
    """Make the working folder of a case: a study file, a results folder, and paths that are no good."""
    shutil.copytree(prepared / RESULTS, folder / RESULTS)
    text = (prepared / STUDY).read_text() if case.study is None else case.study
    (folder / STUDY).write_bytes(text.encode("utf-8", "surrogatepass"))
    (folder / "file.txt").write_text("nothing to see")
    (folder / "empty").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "thesis.tex").write_text("years of work")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    for damage in case.damage:
        damage.apply(folder / RESULTS)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"
