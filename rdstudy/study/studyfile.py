"""Reads a study file: whatever it does but interrupt, an answer is a study or one line that names its line.

A study file is run as a script would be: modules beside it can be imported while it is read, and after it too, by
functions that it defines. What was imported from there is forgotten when another study is read, so that two studies of
one process never share a module by its name.
"""

import hashlib
import importlib.machinery
import os
import stat
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, ModuleType

from rdstudy.study.bounds import MOST_FILE_BYTES
from rdstudy.study.checks import did_you_mean, shown
from rdstudy.study.own_code import run_file
from rdstudy.study.shipped import shipped_studies, study_path
from rdstudy.study.study import Study
from rdstudy.study.words import one_line, one_line_with_type


def load_study(path: str) -> Study:
    """Read a study file, or a study that comes with the package.

    Args:
        path: of the file; or a name of `rdstudy.study.shipped`, where there is no such file.

    Raises:
        ValueError: no such file, it does not run, or it defines no `STUDY`; one line that says where.
        KeyboardInterrupt: it was interrupted.
    """
    where, path = f"study file {path}", study_path(path)
    code = _compiled(path, where)
    _check_name(code.co_filename, where)
    module = ModuleType(
        f"rdstudy_study_file_{hashlib.sha256(code.co_filename.encode(errors='replace')).hexdigest()[:8]}"
    )
    module.__file__ = code.co_filename
    with _importable(module):
        try:
            run_file(code, module)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, too, would end the command without a word
            raise ValueError(f"{where}, {_told(error, code.co_filename)}") from None
    study = vars(module).get("STUDY")
    if not isinstance(study, Study):
        what = "defines no STUDY" if study is None else f"defines STUDY as a {type(study).__name__}"
        raise ValueError(f"{where} {what}; allowed: STUDY = Study(...)")
    return study


def _compiled(path: str, where: str) -> CodeType:
    source = _source(path, where)
    try:
        return compile(source, os.path.abspath(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:  # ValueError: null bytes, in some versions of Python
        raise ValueError(f"{where}{_syntax(error)}") from None
    except (RecursionError, MemoryError):
        raise ValueError(f"{where} has brackets too deep inside each other; allowed: what Python can compile") from None


def _source(path: str, where: str) -> bytes:
    """The file's bytes; a device or a pipe, which may never end, is not read."""
    try:
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode) and status.st_size <= MOST_FILE_BYTES and path.endswith(".py"):
            return Path(path).read_bytes()
    except FileNotFoundError:
        names = list(shipped_studies())
        hint, listed = did_you_mean(Path(path).stem, names), ", ".join(names)
        allowed = f"a Python file that defines STUDY{f', or one that comes with rdstudy: {listed}' if names else ''}"
        raise ValueError(f"{where} does not exist{hint}; allowed: {allowed}") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        problem = getattr(error, "strerror", None) or error
        raise ValueError(f"{where} cannot be read: {problem}; allowed: a Python file that defines STUDY") from None
    if not stat.S_ISREG(status.st_mode):
        what = "folder" if stat.S_ISDIR(status.st_mode) else "device or pipe"
        raise ValueError(f"{where} is a {what}; allowed: a Python file that defines STUDY")
    if not path.endswith(".py"):
        raise ValueError(f"{where} is no Python file; allowed: a name that ends in .py")
    allowed = f"{MOST_FILE_BYTES:,}, with data in files beside it"
    raise ValueError(f"{where} has {status.st_size:,} bytes; allowed: up to {allowed}")


def _check_name(file: str, where: str) -> None:
    """`python -m` searches the folder where it was started first: there, a `torch.py` is what all would import."""
    name, find = Path(file).stem, importlib.machinery.PathFinder.find_spec
    first = find(name)
    if first is None or not first.origin or os.path.realpath(first.origin) != os.path.realpath(file):
        return
    library = find(name, [folder for folder in sys.path if os.path.realpath(folder) != os.path.dirname(first.origin)])
    if library is not None and library.has_location:
        raise ValueError(f"{where} hides the library {name} from those who import it; allowed: another name")


class _Beside:
    """The modules beside a study file.

    While it is read its own helpers come first, as those of a script do: as a finder, before others. Afterwards their
    folder is the last that is searched: the package then imports libraries, and a study called `torch.py` is not one.
    """

    def __init__(self, file: str) -> None:
        self.folder, self._own = os.path.dirname(os.path.realpath(file)), Path(file).stem
        self._others = frozenset(sys.modules)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The specification of a helper; None for libraries, the study file itself, and folders without modules."""
        if path is not None or name == self._own or name in sys.stdlib_module_names:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, [self.folder], target)
        return spec if spec is not None and spec.has_location else None

    def forget(self) -> None:
        """Import nothing from the folder any more, nor keep what was imported since the study file was read."""
        sys.path[:] = [folder for folder in sys.path if not isinstance(folder, _Folder)]
        imported = [name for name in sys.modules if name.partition(".")[0] not in self._others]
        helpers = {name for name in imported if "." not in name and self._holds(sys.modules[name])}
        for name in imported:
            if name.partition(".")[0] in helpers:
                del sys.modules[name]

    def _holds(self, module: ModuleType) -> bool:
        spec = getattr(module, "__spec__", None)
        if not isinstance(spec, importlib.machinery.ModuleSpec):
            return False
        files = [spec.origin] if spec.has_location and spec.origin else []  # those built in have an origin and no file
        places = spec.submodule_search_locations or files
        return any(os.path.dirname(os.path.realpath(place)) == self.folder for place in places)


class _Folder(str):
    """An entry of `sys.path` that is this module's."""

    __slots__ = ()


_read: list[_Beside] = []
"""That of the study file that was read last."""


@contextmanager
def _importable(module: ModuleType) -> Iterator[None]:
    """While a study file is run: it is a module, and what is beside it can be imported."""
    while _read:
        _read.pop().forget()
    importlib.invalidate_caches()
    sys.modules[module.__name__] = module  # dataclasses and pickle look it up
    beside = _Beside(str(module.__file__))
    _read.append(beside)
    sys.meta_path.insert(0, beside)  # type: ignore[arg-type]
    sys.path.append(_Folder(beside.folder))
    try:
        yield
    finally:
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not beside]


def _told(error: BaseException, file: str) -> str:
    """The line of the study file that led to an error, the line of a helper where it was raised, and what it says."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame.lineno for frame in frames if frame.filename == file]
    line = f"line {own[-1] if own and own[-1] else '?'}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{line}: {error.filename}{_syntax(error)}"
    folder = os.path.dirname(os.path.realpath(file))
    last = frames[-1].filename if frames else file
    helper = (
        f" ({Path(last).name}, line {frames[-1].lineno})" if last != file and os.path.dirname(last) == folder else ""
    )
    return f"{line}{helper}: {_message(error)}"


def _syntax(error: SyntaxError | ValueError) -> str:
    lineno = getattr(error, "lineno", None)
    return f"{f', line {lineno}' if lineno else ''}: {one_line(getattr(error, 'msg', None) or error)}"


def _message(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it ends the process, with {shown(error.code)}; allowed: a file that defines STUDY"
    text = one_line(error)
    return text if isinstance(error, ValueError) and text else one_line_with_type(error)
