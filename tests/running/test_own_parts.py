"""A user's own parts in a run: what is refused, which bytes count, and that nothing of a store is run."""

import subprocess
import sys
from pathlib import Path

import pytest

from rdstudy import retrain
from rdstudy.report.__main__ import main as report
from rdstudy.results.store import Store
from rdstudy.run import main
from rdstudy.study import parts, sources
from rdstudy.study.sources import Source, keep_sources
from tests.running.tune.cluster_runs import ENVIRONMENT
from tests.test_run import ONE_FIGURE, table
from tests.waiting import PATIENCE_SECONDS

NETS = """
from pathlib import Path

import torch
from torch import nn

Path("marker").touch()

class Residual(nn.Module):
    def __init__(self, units):
        super().__init__()
        self.layer = nn.Linear(units, units)

    def forward(self, x):
        return x + self.layer(torch.relu(x))

def net(shape, *, blocks: int = 1):
    def path(inputs, outputs):
        layers = [Residual(7) for _ in range(blocks)]
        return nn.Sequential(nn.Linear(inputs, 7), *layers, nn.Linear(7, outputs))

    return path(shape.pixels, 2 * shape.latent_dim), path(shape.latent_dim, shape.pixels)
"""
PRIOR = """
import torch
from rdstudy.model.priors import Prior

class Wrong(Prior):
    def log_density(self, z, encode):
        return z.sum(dim=-1) / 0

    def sample(self, count, generator, encode):
        return torch.zeros(count, 3)
"""
OWN = ONE_FIGURE.replace("import Evaluation", "import part, Evaluation").replace(
    '"depth": [1, 2],\n                "width": [7],', "AXIS,"
)
AXIS = '"architecture": [part("nets.py:net", blocks=2)]'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "_known", {})
    sources.own_module.cache_clear()
    return tmp_path


def write(axis: str = AXIS, nets: str = NETS) -> None:
    Path("tiny.py").write_text(OWN.replace("AXIS", axis))
    Path("nets.py").write_text(nets)


def run(*options: str) -> int:
    return main(["tiny.py", "--local", "--no-report", "--out", "out", *options])


def forget() -> None:
    """Know no file of a user's own, as a process that has read no study file."""
    sources._known.clear()
    sources.own_module.cache_clear()


def elsewhere(*words: str) -> subprocess.CompletedProcess[str]:
    """A command in a process that has read no study file."""
    return subprocess.run(
        [sys.executable, "-m", *words],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def test_a_module_of_ones_own_is_trained_and_kept_for_the_record_and_the_second_time_nothing_is_done(capsys):
    write()
    assert run("--plan") == 0
    assert "2 distinct members, 0 done, 2 remaining" in capsys.readouterr().out
    assert run() == 0
    (architecture,) = {row["architecture"] for row in table()}
    name, _, digest = architecture.partition("@")
    assert name == "net(blocks=2)"
    assert Path("out", "parts", digest, "nets.py").read_text() == NETS
    capsys.readouterr()
    assert run() == 0
    assert "nothing to do" in capsys.readouterr().out


def test_the_bytes_that_were_read_with_the_study_are_those_that_are_run(monkeypatch):
    write()
    check = sources.own_module

    def changed_first(digest: str) -> object:
        Path("nets.py").write_text("raise RuntimeError('another file')")
        return check(digest)

    monkeypatch.setattr(parts, "own_module", changed_first)
    assert run() == 0
    (digest,) = {row["architecture"].partition("@")[2] for row in table()}
    assert Path("out", "parts", digest, "nets.py").read_text() == NETS


def test_a_file_whose_bytes_are_not_those_of_its_digest_is_refused():
    source = Source("nets.py", NETS.encode())
    with pytest.raises(ValueError, match=r"^part file nets\.py has the digest [0-9a-f]{16}; allowed: 0000$"):
        keep_sources({"0000": source})
    keep_sources({source.digest: source})
    assert parts.is_known(f"net@{source.digest}")


def test_a_store_is_reported_and_doubted_without_running_what_lies_in_it(capsys):
    write()
    assert run() == 0
    (member, *_) = sorted(Store.open("out").snapshot().outcomes())
    Path("marker").unlink()
    forget()
    assert report(["out"]) == 0
    forget()
    capsys.readouterr()
    assert retrain.main(["out", member]) == 2
    (digest,) = (path.name for path in Path("out", "parts").iterdir())
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: model {member} runs code of nets.py ({digest}) in ")
    assert line.endswith("allowed: --study with the study file that has it, or --trust-code to run that copy")
    assert not Path("marker").exists()
    forget()
    assert retrain.main(["out", member, "--trust-code"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "the same numbers, to the bit"
    assert Path("marker").exists()
    Path("out", "parts", digest, "nets.py").write_text("raise SystemExit(0)")
    forget()
    assert retrain.main(["out", member, "--trust-code"]) == 2
    assert f"; allowed: {digest}" in capsys.readouterr().err
    assert retrain.main(["out", member, "--study", "tiny.py"]) == 0


def test_a_study_file_with_another_version_does_not_stand_in_for_the_one_that_was_trained(capsys):
    write()
    assert run() == 0
    (member, *_) = sorted(Store.open("out").snapshot().outcomes())
    write(nets=f"{NETS}\n# another\n")
    sources._known.clear()
    assert retrain.main(["out", member, "--study", "tiny.py"]) == 2
    assert "runs code of nets.py" in capsys.readouterr().err


def test_a_plan_says_which_members_another_version_of_the_file_has_trained(capsys):
    write()
    assert run() == 0
    (before,) = (path.name for path in Path("out", "parts").iterdir())
    write(nets=f"{NETS}\n# another\n")
    capsys.readouterr()
    assert run("--plan") == 0
    printed = capsys.readouterr().out
    assert "kept: 0, new: 2, stale: 2, orphaned: 0\n" in printed
    assert f"stale: 2 models under this study's name, another nets.py ({before[:4]}…); made by" in printed
    assert "study tiny: 2 distinct members, 0 done, 2 remaining; results in out\n" in printed


BAD: dict[str, tuple[str, str, str]] = {
    "no file": ('"prior": [part("none.py:x")]', NETS, "part 'none.py:x' cannot be read: No such file or directory"),
    "no name": (
        '"prior": [part("nets.py:x")]',
        NETS,
        "part 'nets.py:x' is 'x'; allowed: what the file defines: Residual",
    ),
    "no syntax": (AXIS, f"{NETS}\ndef broken(:\n", "part file nets.py, line 24: invalid syntax"),
    "no import": (AXIS, f"{NETS}\nimport nowhere\n", "part file nets.py, line 24: ModuleNotFoundError"),
    "an end": (AXIS, f"{NETS}\nraise SystemExit(0)\n", "part file nets.py, line 24: SystemExit: 0"),
    "a neighbour": (
        AXIS,
        f"{NETS}\nfrom tiny import STUDY\n",
        "part file nets.py, line 24: it imports tiny, which lies beside it; allowed: libraries alone, a part",
    ),
    "a relative neighbour": (AXIS, f"{NETS}\nfrom . import tiny\n", "it imports ., which lies beside it"),
    "an unknown argument": (
        AXIS.replace("blocks=2", "depth=2"),
        NETS,
        "argument 'depth' is unknown; allowed: blocks (a",
    ),
    "a wrong type": (AXIS.replace("blocks=2", 'blocks="x"'), NETS, "blocks is 'x'; allowed: a whole number, 1 or more"),
    "none": (AXIS.replace("blocks=2", "blocks=0"), NETS, "blocks is 0; allowed: a whole number, 1 or more"),
    "no components": ('"prior": ["mixture(k=0)"]', NETS, "k is 0; allowed: a whole number, 1 or more"),
    "another kind": ('"prior": [part("nets.py:net")]', NETS, "makes a tuple; allowed: a Prior"),
    "a prior for an architecture": (
        '"architecture": [part("nets.py:Wrong")]',
        PRIOR,
        "TypeError: Wrong.__init__() takes 1 positional argument but 2 were given",
    ),
    "a schedule longer than training": (
        '"schedule": ["step_decay(every=1000)"]',
        NETS,
        "every is 1000; allowed: at most the 23 steps of training",
    ),
    "no density": (
        '"prior": [part("nets.py:Wrong")]',
        PRIOR.replace("class Wrong", "from torch import nn\nclass Wrong").replace(
            "    def log", "    def __init__(self, shape):\n        super().__init__()\n\n    def log"
        ),
        "log_density(z) is not finite; allowed: finite numbers",
    ),
    "a layer with state": (
        AXIS,
        NETS.replace("nn.Linear(inputs, 7),", "nn.Linear(inputs, 7), nn.BatchNorm1d(7),"),
        "encoder.1 (BatchNorm1d) keeps state between steps; allowed: layers without state, such as LayerNorm and Group",
    ),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("options", [["--plan"], []])
def test_what_is_wrong_with_a_part_is_one_line_before_anything_starts(name, options, capsys):
    axis, nets, expected = BAD[name]
    write(axis, nets)
    assert run(*options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert expected in line
    assert not Path("out").exists()


@pytest.mark.cluster
def test_workers_that_never_saw_the_file_are_sent_what_was_read():
    """Through Ray: the file is gone before a trial begins, and the store's copy is not what is run."""
    write()
    assert run("--out", "here") == 0
    study = Path("tiny.py").read_text()
    Path("tiny.py").write_text(
        f"{study}\nimport os\nfrom pathlib import Path\nPath(__file__).with_name('nets.py').unlink()\n"
    )
    done = elsewhere("rdstudy.run", "tiny.py", "--no-report", "--out", "ray")
    assert done.returncode == 0, done.stdout + done.stderr
    there, here = (
        sorted(table("members", out), key=lambda row: (row["member_id"], row["subset"])) for out in ("ray", "here")
    )
    assert there == here
