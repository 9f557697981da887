"""What all tests share: one cache of generated images, and examples that are the same on every machine."""

import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import rdstudy
from rdstudy.datasets.cache import FOLDER_VARIABLE


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile("rdstudy", derandomize=True, deadline=None)
    settings.load_profile("rdstudy")
    if "PYTEST_XDIST_WORKER" in os.environ:
        _name_folder(config, "RAY_TMPDIR")  # its own: no worker joins a Ray that another one has up
    else:
        _name_folder(config, FOLDER_VARIABLE)  # an empty cache, which workers inherit and share


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """One worker more than there are cores: some tests wait, and all workers do when they begin and end."""
    return (yield) + 1


def pytest_collection_finish() -> None:
    gc.freeze()  # modules and tests stay: no garbage collection of a test looks at them again
    gc.set_threshold(200_000, 50, 50)  # tests leave little; to look as often as usual takes a twelfth of their time


def _name_folder(config: pytest.Config, variable: str) -> None:
    """Let a variable name a new folder for the time of this session; its name is short, as Ray's sockets need."""
    folder = tempfile.TemporaryDirectory(prefix="t-", ignore_cleanup_errors=True)
    patch = pytest.MonkeyPatch()
    patch.setenv(variable, folder.name)
    config.add_cleanup(patch.undo)
    config.add_cleanup(folder.cleanup)


@pytest.fixture(scope="session")
def image_cache() -> Path:
    """The cache of this session: images are drawn when a test asks for them, and once."""
    return Path(os.environ[FOLDER_VARIABLE])


@pytest.fixture(scope="session", autouse=True)
def no_waits() -> Iterator[None]:
    """No pause between two looks for rivals, which `test_presence` alone has, and no wait for a disk to be written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rdstudy.results.presence._LOOK_SECONDS", 0.0)
        patch.setattr("os.fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def measured_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study file, `tiny.py`, and `out`, its store of four members with their measures: for copies."""
    from tests.test_run import MEASURES, ONE_FIGURE, run  # late: it imports most of what there is

    folder = tmp_path_factory.mktemp("measured")
    measures = MEASURES.replace('"log_marginal", ', "")  # the probe draws in the same way, for fewer images
    (folder / "tiny.py").write_text(ONE_FIGURE.replace("Measures(names=[])", measures))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(folder / "tiny.py", "--no-report") == 0
    return folder


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """HOST:PORT of an S3 server; a test takes a folder of its own there."""
    from tests.s3 import s3_server  # late, as above

    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study file, `tiny.py`, in the working directory, which is a new folder."""
    from tests.test_run import STUDY  # late, as above

    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.py"
    path.write_text(STUDY)
    return path


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Computes, and trains, in float64 for the time of a test."""
    import torch  # late: most tests need none of it

    from rdstudy.training import process

    monkeypatch.setattr(process, "NUMBERS", torch.float64)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def run_python() -> Callable[..., str]:
    """Run a piece of code in a process of its own and return what it prints."""

    def run(code: str, **variables: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(Path(rdstudy.__file__).parents[1]), **variables}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
