"""The studies that come with the package: found by name, where no file has that name.

A wheel carries them inside the package (see setup.py), a checkout beside it. Standard library alone.
"""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_FOLDERS = (_PACKAGE / "studies", _PACKAGE.parent / "studies")


def shipped_studies() -> dict[str, Path]:
    """Name, such as `quick` or `examples/prior` -> its file; none where neither folder is there."""
    folder = next(filter(Path.is_dir, _FOLDERS), None)
    paths = [] if folder is None else sorted(folder.rglob("*.py"), key=lambda path: (len(path.parts), path))
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in paths
        if folder is not None and "\nSTUDY = " in path.read_text(encoding="utf-8")
    }


def study_path(given: str) -> str:
    """The study file that a user names: that file, or else the shipped study of that name."""
    shipped = {} if os.path.exists(given) else shipped_studies()
    return str(shipped.get(given, given))
