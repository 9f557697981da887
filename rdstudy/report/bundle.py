"""The JavaScript that draws charts: one copy a page. Knows no page.

vl-convert carries it as modules. Putting these together takes some two seconds of CPU, most of what the page of a small
study takes: the piece is kept in the cache folder, by the version of vl-convert.
"""

import contextlib
import functools
import hashlib
from importlib.metadata import version
from pathlib import Path

import vl_convert

from rdstudy.datasets.cache import cache_folder
from rdstudy.whole_files import replaced_whole

_BUNDLED = """\
import * as vegaModule from "/npm/vega@6.2.0/+esm";
import * as vegaLiteModule from "/npm/vega-lite@6.4.1/+esm";
Object.assign(window, {vega: vegaModule, vegaLite: vegaLiteModule});
"""
"""Modules by the names under which vl-convert carries them: the names `vega` and `vegaLite` of its own are empty."""


@functools.cache
def javascript() -> str:
    """Vega and Vega-Lite in one piece, which sets `window.vega` and `window.vegaLite`."""
    with contextlib.suppress(OSError, ValueError):  # no cache folder, or nothing whole in it
        return _kept(_path())
    bundle: str = vl_convert.javascript_bundle(_BUNDLED)
    assert "</script" not in bundle.lower()
    with contextlib.suppress(OSError, ValueError):  # a folder that cannot be written: it is made anew for each page
        _keep(_path(), bundle)
    return bundle


def _path() -> Path:
    return cache_folder() / f"vega-{version('vl-convert-python')}-{_digest(_BUNDLED.encode())[:16]}.js"


def _kept(path: Path) -> str:
    """What `_keep` wrote.

    Raises:
        ValueError: these are other bytes.
    """
    digest, _, bundle = path.read_bytes().partition(b"\n")
    if digest != _digest(bundle).encode():
        raise ValueError(f"{path} is damaged")
    return bundle.decode()


def _keep(path: Path, bundle: str) -> None:
    content = bundle.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_whole(path) as temporary:
        temporary.write_bytes(_digest(content).encode() + b"\n" + content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
