"""A results folder -> the page, or its figures as files: everything the report does, in order."""

import os
import tempfile
from pathlib import Path
from typing import Literal, get_args

import vl_convert

from rdstudy.report.contents import page_of
from rdstudy.report.page import Figure, render
from rdstudy.report.tables import choose_study, read_study
from rdstudy.results.store import Store

Format = Literal["svg", "png", "pdf"]

_PNG_SCALE = 2.0  # pixels per CSS pixel: sharp in a paper


def build_report(results: str, *, study: str | None = None, out: str | None = None) -> Path:
    """Write the page of one study.

    Args:
        results: the results folder or URI.
        study: its name; None where the folder holds one alone.
        out: the file to write; None for `reports/<study>.html`.

    Returns:
        The path of the page.

    Raises:
        ValueError: no such folder or study, several studies and none chosen, or `out` cannot be written.
    """
    store = Store.open(results)
    name = choose_study(store, study)
    page = render(page_of(read_study(store, name)))
    path = Path(out) if out is not None else Path("reports") / f"{name}.html"
    _write(path, page.encode())
    return path


def write_figures(results: str, *, study: str | None, folder: str, format: str) -> list[Path]:
    """Write each figure of a study's page to a file of its own, drawn without a browser: `<study>-<figure>.<format>`.

    Args:
        results: the results folder or URI.
        study: its name; None where the folder holds one alone.
        folder: where the files go.
        format: svg, png or pdf.

    Raises:
        ValueError: as `build_report`, or another format.
    """
    if format not in get_args(Format):
        raise ValueError(f"format is {format!r}; allowed: {', '.join(get_args(Format))}")
    store = Store.open(results)
    name = choose_study(store, study)
    page = page_of(read_study(store, name))
    paths = []
    for figure in page.figures:
        path = Path(folder) / f"{name}-{figure.key}.{format}"
        _write(path, _draw(figure, format))
        paths.append(path)
    return paths


def _draw(figure: Figure, format: str) -> bytes:
    spec = {**figure.spec.vega_lite, "title": {"text": figure.title, "anchor": "start", "fontSize": 15, "offset": 14}}
    if format == "svg":
        drawn: str = vl_convert.vegalite_to_svg(spec)
        return drawn.encode()
    content: bytes = (
        vl_convert.vegalite_to_png(spec, scale=_PNG_SCALE) if format == "png" else vl_convert.vegalite_to_pdf(spec)
    )
    return content


def _write(path: Path, content: bytes) -> None:
    """Write beside the place, then move into it: a reader sees the old page or the new one, never half of one.

    Raises:
        ValueError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(temporary).chmod(0o644)  # mkstemp makes a file that its owner alone can read
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror or error}; allowed: a path that can be") from None
