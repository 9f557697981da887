"""What a study file or a part's file sets in its process changes no number of what is trained there after it."""

import inspect
import random
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rdstudy.model.architectures import network_cost
from rdstudy.model.networks import NetworkShape, build
from rdstudy.run import main
from rdstudy.running.executor import Work
from rdstudy.running.local import LocalExecutor
from rdstudy.study import sources
from rdstudy.study.own_code import torch_settings_kept
from rdstudy.study.studyfile import load_study
from rdstudy.training.process import training_settings
from tests.running.test_own_parts import NETS
from tests.running.test_own_parts import OWN as STUDY
from tests.test_run import table

SETTINGS = {
    "number": "torch.set_default_dtype(torch.float64)",
    "device": "torch.set_default_device('meta')",
    "gradients": "torch.set_grad_enabled(False)",
    "threads": "torch.set_num_threads(7)",
    "products": "torch.set_float32_matmul_precision('medium')",
    "precision": "torch.backends.fp32_precision = 'tf32'",
    "products, as they are set today": "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "convolutions": "torch.backends.mkldnn.conv.fp32_precision = 'bf16'",
}


@pytest.fixture(autouse=True)
def unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "_known", {})
    sources.own_module.cache_clear()
    with torch_settings_kept():
        yield


def numbers(out: str) -> dict[tuple[str, float, str], Mapping[str, float]]:
    rows = [row for row in table(out=out) if row["architecture"] == "mlp"]
    return {
        (row["member_id"], row["beta"], row["subset"]): {name: row[name] for name in ("rate", "distortion")}
        for row in rows
    }


def write(*, last: str, architectures: str = '["mlp"]') -> str:
    grid = f'"architecture": {architectures}, "depth": [1], "width": [7]'
    Path("tiny.py").write_text(f"import sys\nimport torch\n{STUDY.replace('AXIS', grid)}\n{last}\n")
    return "tiny.py"


def run(*, out: str, architectures: str = '["mlp"]', last: str = "") -> None:
    write(last=last, architectures=architectures)
    assert main(["tiny.py", "--local", "--no-report", "--out", out]) == 0


@pytest.fixture
def undisturbed() -> Mapping[tuple[str, float, str], Mapping[str, float]]:
    run(out="undisturbed")
    assert len(numbers("undisturbed")) == 4
    return numbers("undisturbed")


def test_what_a_study_file_sets_changes_no_number(undisturbed):
    for name, text in SETTINGS.items():
        run(out=name, last=text)
        assert numbers(name) == undisturbed, name


def test_what_a_process_is_set_to_changes_no_number_and_stays(undisturbed):
    for name, text in SETTINGS.items():
        with torch_settings_kept():
            exec(text)
            set_to = state()
            run(out=name)
            assert state() == set_to, name
            assert numbers(name) == undisturbed, name


def test_what_a_parts_file_sets_changes_no_number_of_other_models(undisturbed):
    for name, text in SETTINGS.items():
        Path("nets.py").write_text(f"{NETS}\nWIDTH = 7\n{text}\n")
        run(architectures='[part("nets.py:net"), "mlp"]', out=name)
        run(out=f"{name}, later")
        assert numbers(name) == numbers(f"{name}, later") == undisturbed, name


DRAWN = """
import random
import numpy as np
import torch
from torch import nn

DRAWN = torch.cat([torch.tensor([random.random(), np.random.rand()], dtype=torch.float32), torch.randn(2)])

class Drawn(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("drawn", DRAWN)

    def forward(self, x):
        return x * self.drawn

def net(shape):
    def path(inputs, outputs):
        return nn.Sequential(nn.Linear(inputs, 4), Drawn(), nn.Linear(4, outputs))

    return path(shape.pixels, 2 * shape.latent_dim), path(shape.latent_dim, shape.pixels)
"""


def drawn_by_numpy() -> list[int]:
    state: Any = np.random.get_state()
    return list(map(int, state[1]))


def test_tensors_of_a_parts_file_are_ordinary_ones_and_the_same_in_every_process(run_python):
    source = sources.Source("nets.py", DRAWN.encode())
    text = f"""
from rdstudy.model.architectures import network_cost
from rdstudy.model.networks import NetworkShape, build
from rdstudy.study.sources import Source, keep_source
source = Source("nets.py", {DRAWN!r}.encode())
keep_source(source)
shape = NetworkShape(f"net@{{source.digest}}", 1, 1, 2, (1, 3, 5))
network_cost(shape)
print([value.tolist() for value in build(shape, seed=SEED).state_dict().values()])
"""
    sources.keep_source(source)
    shape = NetworkShape(f"net@{source.digest}", 1, 1, 2, (1, 3, 5))
    before = random.getstate(), torch.get_rng_state(), drawn_by_numpy()
    values = build(shape, seed=7).state_dict()  # what is drawn is drawn in between
    assert (random.getstate(), drawn_by_numpy()) == (before[0], before[2])
    assert torch.equal(torch.get_rng_state(), before[1])
    assert len(set(values["encoder.1.drawn"].tolist())) == 4
    assert eval(run_python(text.replace("SEED", "7"))) == [value.tolist() for value in values.values()]
    torch.manual_seed(3)
    sources.own_module.cache_clear()
    assert torch.equal(build(shape, seed=8).state_dict()["encoder.1.drawn"], values["encoder.1.drawn"])
    network_cost(shape)


def state() -> list[object]:
    """What this process is set to, where PyTorch says so."""
    backends: Any = torch.backends
    precisions = (
        *(backends, backends.cudnn, backends.mkldnn, backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn),
        *(backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn),
    )
    values: list[object] = [backend.fp32_precision for backend in precisions]
    for ask in (torch.get_float32_matmul_precision, partial(getattr, backends.cudnn, "allow_tf32")):
        try:
            values.append(ask())
        except RuntimeError:
            values.append("not to be asked")
    return [
        *values,
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
    ]


def test_while_members_are_trained_all_is_exact_whatever_it_was_before():
    with training_settings():
        exact = state()
    assert exact == [*["ieee"] * 9, "highest", False, torch.float32, torch.device("cpu"), True, 1]
    for text in SETTINGS.values():
        with torch_settings_kept():
            exec(text)
            before = state()
            with training_settings():
                assert state() == exact, text
            assert state() == before, text


def test_a_run_that_is_ended_midway_leaves_the_process_as_it_was(monkeypatch):
    class Ends:
        def begins(self) -> None:
            pass

        def progressed(self, *_: object) -> None:
            raise KeyboardInterrupt

    ended: list[tuple[object, list[object]]] = []

    def run(_: LocalExecutor, work: Work, __: object) -> bool:
        with pytest.raises(KeyboardInterrupt) as interrupt:
            original(LocalExecutor(), work, Ends())  # type: ignore[arg-type]
        ended.append((interrupt, state()))  # the exception holds all that it came through
        return False

    original = LocalExecutor.run
    monkeypatch.setattr(LocalExecutor, "run", run)
    write(last="torch.set_num_threads(7)")
    before = state()
    main(["tiny.py", "--local", "--no-report", "--out", "out"])
    assert [after for _, after in ended] == [before]


def test_a_low_limit_of_recursion_is_the_study_files_own():
    limit, read, wrong = sys.getrecursionlimit(), 0, "RecursionError"
    depth = len(inspect.stack())
    for low in range(depth, depth + 60):
        path = write(last=f"sys.setrecursionlimit({low})")
        try:
            load_study(path)
            read += 1
        except ValueError as error:
            wrong = str(error)
        assert sys.getrecursionlimit() == limit
        assert "RecursionError" in wrong
    assert read > 40
    assert main([path, "--plan"]) == 0


def test_a_higher_limit_of_recursion_stays_for_what_the_study_file_defines():
    limit = sys.getrecursionlimit()
    try:
        load_study(write(last=f"sys.setrecursionlimit({limit + 7})"))
        assert sys.getrecursionlimit() == limit + 7
    finally:
        sys.setrecursionlimit(limit)
