"""Parts of one's own as a study names them: the level, its digest, and what its file may import."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rdstudy.study import FIGURES, Experiment, parts
from rdstudy.study.parts import part
from rdstudy.study.sources import Source, keep_source

GRID: dict[str, Sequence[Any]] = {"dataset": ["tetrominoes"], "split": ["cv(97)"], "beta": [1], "seed": [0]}


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    path = tmp_path / "nets.py"
    path.write_text("def net(shape, *, blocks: int = 2, slope: float = 0.5): ...\n")
    return path


def test_a_level_is_the_name_the_arguments_and_the_digest(nets):
    digest = Source("nets.py", nets.read_bytes()).digest
    assert part(f"{nets}:net", slope=2, blocks=2) == f"net(slope=2.0)@{digest}"
    assert part(f"{nets}:net") == f"net@{digest}"
    level = part(f"{nets}:net", blocks=3)
    assert Experiment("e", grid={**GRID, "architecture": [level]}).grid["architecture"] == (level,)
    assert parts.own_sources([level, "mlp"]) == {digest: Source("nets.py", nets.read_bytes())}


def test_depth_and_width_are_factors_of_a_network_whose_file_has_a_default_width(nets):
    level = part(f"{nets}:net")
    message = f"depth of the architecture {level} is 2; allowed: 1, or any where its file has a constant such as WIDTH"
    with pytest.raises(ValueError, match=re.escape(message)):
        Experiment("e", grid={**GRID, "architecture": [level], "depth": [1, 2]})
    nets.write_text(f"WIDTH = 7\n{nets.read_text()}")
    sized = {**GRID, "architecture": [part(f"{nets}:net")], "depth": [1, 2], "width": [5]}
    assert Experiment("e", grid=sized).grid["depth"] == (1, 2)


def test_another_byte_is_another_level(nets):
    before = part(f"{nets}:net")
    nets.write_text(nets.read_text() + "\n")
    assert part(f"{nets}:net") != before
    assert parts.source_of(before) != parts.source_of(part(f"{nets}:net"))


@pytest.mark.parametrize(
    "level",
    ["", "mlp", "net@", "net@../../members", "net@0123456789abcde", "net@0123456789ABCDEF", "a@b@0123456789abcdef"],
)
def test_a_text_that_is_no_level_of_ones_own_has_no_digest(level):
    assert not parts.is_own(level)
    assert parts.is_known(level)


@pytest.mark.parametrize("imported", ["json", "rdstudy.model.priors", "numpy.random", "nets"])
def test_a_part_may_import_libraries_and_this_package_whatever_lies_beside_it(nets, imported):
    for beside in ("json.py", "rdstudy.py"):
        nets.with_name(beside).touch()
    nets.with_name("mine.py").write_text(f"import {imported}\ndef net(shape): ...\n")
    if imported == "nets":
        with pytest.raises(ValueError, match=r"^part file mine\.py, line 1: it imports nets, which lies beside it"):
            part(f"{nets.with_name('mine.py')}:net")
    else:
        assert part(f"{nets.with_name('mine.py')}:net").startswith("net@")


def test_figures_of_ones_own_stand_beside_those_of_the_package():
    level = f"rates@{keep_source(Source('figures.py', b'def rates(): ...')).digest}"
    experiment = Experiment("e", grid=GRID, figures=["distortion", level])
    assert experiment.figures == ("distortion", level)
    with pytest.raises(
        ValueError,
        match=rf"figure is 'rates' .*\?\); allowed: {FIGURES[0]}, .*, or part\(\.\.\.\)$",
    ):
        Experiment("e", grid=GRID, figures=["rates"])


def test_a_default_that_only_running_the_file_would_tell_is_refused(nets):
    nets.write_text("import math\ndef net(shape, *, slope: float = math.pi): ...\n")
    with pytest.raises(ValueError, match=r"^line 2 of a part's file says math\.pi; allowed: a number or a word"):
        part(f"{nets}:net")
