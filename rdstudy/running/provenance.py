"""What every row must remember of how it came about. Imports none of the libraries whose versions it names."""

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rdstudy import __version__
from rdstudy.study import NUMERICS_VERSION

CODE_VERSION_VARIABLE = "RDSTUDY_CODE_VERSION"
"""Set to `stated_version` where a copy of the package works, on a cluster: the copy has no history."""

PACKAGE = Path(__file__).resolve().parents[1]


@functools.cache
def code_version() -> str:
    """The package's version with its commit, and a final + where files differ from it: `0.1.0-gd8e1b2812345+`.

    Where there is no commit, as in an installed package, with a hash of its files: `0.1.0-f0123456789ab`.
    """
    stated, _, files = os.environ.get(CODE_VERSION_VARIABLE, "").rpartition("@")
    if stated and files == files_hash():
        return stated
    commit = _git("rev-parse", "--short=12", "HEAD") if (PACKAGE.parent / ".git").exists() else ""
    if not commit:
        return f"{__version__}-f{files_hash()}"
    changed = _git("status", "--porcelain", "--", str(PACKAGE))
    return f"{__version__}-g{commit}{'+' if changed else ''}"


def stated_version() -> str:
    """The version, and of which files it is: it holds for a copy of the package only while the copy has those files."""
    return f"{code_version()}@{files_hash()}"


@functools.cache
def files_hash() -> str:
    """A hash of the package's code, the same of a checkout and of what was installed from it."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE)
        if name.parts[0] != "studies":  # data, which a wheel alone has here
            digest.update(f"{name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@functools.cache
def versions() -> dict[str, str]:
    """What must be the same in all processes of a run: the package's files, as a hash, and what computes."""
    libraries = {name: _version(name).partition("+")[0] for name in ("torch", "numpy", "pyarrow")}
    return {"rdstudy": files_hash(), "python": platform.python_version(), **libraries}


def provenance_columns(device: str) -> dict[str, Any]:
    """The provenance columns of a row that is written now.

    Args:
        device: what trained, in words: `cpu: AMD EPYC`, `cuda: NVIDIA H100`.
    """
    return {
        "numerics_version": NUMERICS_VERSION,
        "code_version": code_version(),
        "python_version": platform.python_version(),
        "torch_version": _version("torch"),
        "numpy_version": _version("numpy"),
        "device": device,
        "host": platform.node(),
        "finished_at": datetime.now(UTC),
    }


@functools.cache
def _version(library: str) -> str:
    return importlib.metadata.version(library)


def cpu_name() -> str:
    """The processor's name, as the operating system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _git(*arguments: str) -> str:
    """What git says of the checkout, or nothing where there is no git."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(PACKAGE.parent), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # at once: what is buffered would fail again when Python ends
        os.write(1, f"{stated_version()}\n".encode())
