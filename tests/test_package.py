"""The package as it is installed: what a wheel carries, and that its files agree with each other."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import yaml

import rdstudy
from rdstudy.report import citation
from rdstudy.running import provenance
from rdstudy.study.shipped import shipped_studies

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from a copy of the checkout: building leaves files behind."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("rdstudy", "studies"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    code = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return copy / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


@pytest.mark.slow
def test_a_wheel_carries_the_package_its_studies_and_what_others_must_know(unpacked):
    tree = {path.relative_to(ROOT).as_posix() for path in (ROOT / "rdstudy").rglob("*.py")}
    files = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert tree <= files
    assert {"rdstudy/py.typed", "rdstudy/report/web/page.js", "rdstudy/report/web/page.html"} <= files
    studies = {path.relative_to(ROOT).as_posix() for path in (ROOT / "studies").rglob("*.py")}
    assert {f"rdstudy/{name}" for name in studies} <= files
    assert not [name for name in files if name.startswith(("tests", "benchmarks", "studies"))]
    (information,) = unpacked.glob("*.dist-info")
    said = Parser().parsestr((information / "METADATA").read_text())
    assert said["License-Expression"] == "MIT"
    assert said["Author"] == "the rdstudy developers"
    assert {"images", "h5", "trackers", "cluster", "dev", "heavy"} == set(said.get_all("Provides-Extra", []))
    core = [line for line in said.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert not [line for line in core if line.lower().startswith(("h5py", "pillow", "mlflow", "wandb"))]
    assert "rdstudy = rdstudy.__main__:main" in (information / "entry_points.txt").read_text()
    assert "the rdstudy developers" in (information / "licenses" / "LICENSE").read_text()


@pytest.mark.slow
def test_what_is_installed_finds_its_studies_and_has_the_hash_of_the_checkout(unpacked, tmp_path):
    code = (
        "from rdstudy.running.provenance import code_version; from rdstudy.study.studyfile import load_study;"
        "print(code_version(), load_study('quick').name, load_study('examples/prior').name)"
    )
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    environment.pop(provenance.CODE_VERSION_VARIABLE, None)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [f"{rdstudy.__version__}-f{provenance.files_hash()}", "quick", "example-prior"]


def test_a_study_that_comes_along_is_found_by_name_where_no_file_has_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert {"quick", "paper", "mini", "linear", "priors", "examples/prior"} <= set(shipped_studies())
    assert "examples/nets" not in shipped_studies()  # a part, and no study


def test_one_version_one_licence_and_one_paper():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == rdstudy.__version__ == PROJECT["version"]
    assert cited["license"] == PROJECT["license"] == "MIT"
    assert f"## {rdstudy.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    (paper,) = cited["references"]
    assert [(each["given-names"], each["family-names"]) for each in paper["authors"]] == list(citation._AUTHORS)
    assert (paper["title"], paper["url"]) == (citation._TITLE, citation._PROCEEDINGS)
    assert PROJECT["urls"] == {"Paper": citation._PROCEEDINGS}


def pinned(name: str) -> dict[str, str]:
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return dict(line.lower().replace("_", "-").split("==") for line in lines if line)


def requirements(*extras: str) -> dict[str, str]:
    """Name -> lowest version, of what the package needs and of these extras."""
    listed = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    bounds = (re.match(r"([A-Za-z0-9_.-]+)(?:\[.*\])?>=([0-9.]+)", line) for line in listed)
    return {match[1].lower().replace("_", "-"): match[2] for match in bounds if match}


def test_the_lowest_versions_are_those_that_are_tested():
    lowest, tested = requirements("images", "h5"), pinned("constraints-lowest.txt")
    assert len(lowest) == len(PROJECT["dependencies"]) + 2
    assert lowest.pop("torch")  # `make test-bounds` installs the one that the machine can have
    assert lowest.keys() == tested.keys()
    for name, version in lowest.items():
        assert f"{tested[name]}.".startswith(f"{version}."), name


def test_every_exact_version_is_within_the_bounds():
    exact = pinned("constraints.txt")
    for name, version in requirements("cluster", "images", "h5", "dev", "heavy").items():
        numbers = [int(part) for part in re.findall(r"\d+", exact[name])]
        assert numbers >= [int(part) for part in version.split(".")], name
