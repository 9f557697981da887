"""Libraries that endanger whoever runs them are refused, and the same floors stand in `pyproject.toml`."""

import importlib.metadata
import tomllib
from pathlib import Path

import pytest

from rdstudy.running.floors import RAY, TORCH, check_floors


@pytest.fixture
def installed(monkeypatch):
    """Say which versions are installed."""

    def say(**versions: str) -> None:
        def version(name: str) -> str:
            if name not in versions:
                raise importlib.metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(importlib.metadata, "version", version)

    return say


def test_what_is_installed_is_allowed():
    check_floors(ray=True)


@pytest.mark.parametrize(
    ("torch", "ray", "used", "error"),
    [
        ("2.10.0", "2.52.0", True, None),
        ("2.13.0+cu130", "3.0.0.dev0", True, None),
        ("10.0", "10.0", True, None),
        ("2.9.1+cpu", "2.60.0", True, r"^torch is 2\.9\.1\+cpu; allowed: 2\.10 or newer: .*weights"),
        ("2.13.0", "2.51.2", True, r"^ray is 2\.51\.2; allowed: 2\.52 or newer: .*port"),
        ("2.13.0", "2.6.3", True, r"^ray is 2\.6\.3; allowed: 2\.52 or newer"),
        ("2.13.0", "2.51.2", False, None),
        ("nonsense", "2.60.0", False, r"^torch is nonsense; allowed"),
    ],
)
def test_a_version_below_its_floor_is_one_line_that_says_why(installed, torch, ray, used, error):
    installed(torch=torch, ray=ray)
    if error is None:
        check_floors(ray=used)
    else:
        with pytest.raises(ValueError, match=error):
            check_floors(ray=used)


def test_a_library_that_is_not_there_is_named_by_whoever_imports_it(installed):
    installed()
    check_floors(ray=True)


def test_the_floors_are_those_of_the_package():
    root = Path(__file__).resolve().parents[2]
    dependencies = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    for floor, requirement in ((TORCH, "torch>="), (RAY, "ray[tune]>=")):
        (stated,) = [text.removeprefix(requirement) for text in dependencies if text.startswith(requirement)]
        assert stated.partition(",")[0] == ".".join(map(str, floor.version))
