"""Everything about the package is in pyproject.toml, but for this: a wheel carries the studies of `studies/`."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithStudies(build_py):
    """Copies `studies/` into the package, as data: `rdstudy.study.shipped` finds them there, or in a checkout here."""

    def run(self) -> None:
        """Build, and copy."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "rdstudy", "studies")
            shutil.copytree("studies", target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


setup(cmdclass={"build_py": BuildWithStudies})
