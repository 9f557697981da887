"""A results folder -> the page, or its figures and tables as files: everything the report does, in order."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import vl_convert

from rdstudy.report.anonymous import Veil
from rdstudy.report.compare import LABELS, Pair, page_of_pair, side_by_side
from rdstudy.report.contents import page_of
from rdstudy.report.differences import differences
from rdstudy.report.figure_files import DrawnFigure, figures_of
from rdstudy.report.own_figures import trust_figures
from rdstudy.report.page import Page, render
from rdstudy.report.papers import fitted, width_of
from rdstudy.report.read import StudyTables, choose_study, read_study
from rdstudy.report.svg import in_points, svg_of
from rdstudy.report.theme import titled
from rdstudy.results.chosen import TABLES, ChosenRows
from rdstudy.results.declaration import Declaration
from rdstudy.results.snapshot import Snapshot
from rdstudy.results.store import Store
from rdstudy.whole_files import replaced_whole

Format = Literal["svg", "png", "pdf", "json"]

_PNG_SCALE = 2.0  # pixels per CSS pixel: sharp in a paper
_PNG_PER_INCH = 400
_POINTER = re.compile(r" \([^()]*tooltip[^()]*\)")


@dataclass(frozen=True)
class Source:
    """What is reported on: a study, or two that are compared.

    Attributes:
        results: the results folder or URI.
        study: its name; None where the folder holds one alone.
        other: the folder of the study that it is compared with; None for none.
        other_study: its name.
        trust_code: whether the user has said that the folder's copies of figures' files may be run.
        anonymous: whether no machine, person, path, commit or command is to be read from anything that is made.
    """

    results: str
    study: str | None = None
    other: str | None = None
    other_study: str | None = None
    trust_code: bool = False
    anonymous: bool = False


@dataclass(frozen=True)
class FigureFiles:
    """How figures become files.

    Attributes:
        folder: where they go.
        format: of `Format`.
        names: of the figures, `<experiment>-<figure>`; none for all that the page has.
        style: of `papers.STYLES`, for a paper: at the width of its columns, without the title, with the caption and
            the table in files beside it; None for the figure as it is on the page, with its title.
        columns: 1 or 2, of that style.
        conditions: `FACTOR=LEVEL`, which cells are drawn; none for those of the page.
    """

    folder: str
    format: Format = "svg"
    names: tuple[str, ...] = ()
    style: str | None = None
    columns: int = 1
    conditions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.style is not None:
            width_of(self.style, self.columns)


@dataclass(frozen=True, eq=False)
class Report:
    """What is reported on, read.

    Attributes:
        stores: with the names of their studies, one or two.
        studies: the tables of each.
        veil: that is over them; None where nothing is to be hidden.
    """

    stores: tuple[tuple[Store, str], ...]
    studies: tuple[StudyTables, ...]
    veil: Veil | None = None

    @property
    def tables(self) -> StudyTables:
        """Of the study, or of both as one."""
        return self.studies[0] if len(self.studies) == 1 else side_by_side(self._pair())

    def page(self) -> Page:
        """What stands on the page."""
        page = page_of(self.studies[0]) if len(self.studies) == 1 else page_of_pair(self._pair())
        return self.veil.page(page) if self.veil else page

    def _pair(self) -> Pair:
        a, b = self.studies
        return Pair(a, b) if self.veil else Pair(a, b, (self.stores[0][0].uri, self.stores[1][0].uri))


def read_report(source: Source) -> Report:
    """Read what is reported on.

    Raises:
        ValueError: no such folder or study, several studies and none chosen, or a study compared with itself.
    """
    stores = [_open(source.results, source.study, trust_code=source.trust_code)]
    if source.other is not None:
        stores.append(_open(source.other, source.other_study, trust_code=source.trust_code))
        if stores[0][1] == stores[1][1] and stores[0][0].location == stores[1][0].location:
            raise ValueError(
                f"both studies are {stores[0][1]!r} in {source.results}; allowed: two results folders, or two of its "
                f"studies, by --study {stores[0][1]} --study NAME"
            )
    studies = tuple(read_study(store, name) for store, name in stores)
    if not source.anonymous:
        return Report(tuple(stores), studies)
    veil = Veil.over(studies, places=[place for store, _ in stores for place in (store.uri, store.location)])
    return Report(tuple(stores), tuple(veil.study(study) for study in studies), veil)


def write_report(report: Report, *, out: str | None = None, reloaded_seconds: int | None = None) -> Path:
    """Write the page of what was read, and return its path.

    Args:
        report: what was read.
        out: the file to write; None for `reports/<study>.html`.
        reloaded_seconds: after which a browser is to look for a newer page; None for never.

    Raises:
        ValueError: `out` cannot be written.
    """
    name = "-and-".join(study.name for study in report.studies)
    return _write_page(report.page(), name, out=out, reloaded_seconds=reloaded_seconds)


def write_page(store: Store, study: str, *, snapshot: Snapshot) -> Path:
    """Write `reports/<study>.html` of a study of a store that is open, by a snapshot of all its tables."""
    return _write_page(page_of(read_study(store, study, snapshot=snapshot)), study)


def write_figures(report: Report, files: FigureFiles) -> Iterator[Path]:
    """Write figures to files of their own, drawn without a browser: `<study>-<figure>.<format>`, one after another.

    Raises:
        ValueError: no figure of such a name, nothing that it could show, or a file cannot be written.
    """
    tables = report.tables
    for drawn in figures_of(tables, files.names, files.conditions):
        path = Path(files.folder) / f"{tables.name}-{drawn.figure.key}.{files.format}"
        if files.style is None:
            _write(path, _as_on_page(drawn, files.format))
            yield path
            continue
        _write(path, _for_paper(drawn, files.format, width=width_of(files.style, files.columns)))
        yield path
        for ending, content in (("txt", _caption(drawn)), ("csv", csv_of(drawn.table))):
            _write(path.with_suffix(f".{ending}"), content)
            yield path.with_suffix(f".{ending}")


def write_tables(report: Report, folder: str) -> Iterator[Path]:
    """Write the tables of a study as CSV, `<study>-<table>.csv`, and its declaration, `<study>-declaration.json`.

    Of two studies these are `A-<study>-...` and `B-<study>-...`, and `<study>-and-<study>-differences.csv` is what
    differs.

    Raises:
        ValueError: a file cannot be written.
    """
    is_pair = len(report.stores) > 1
    for label, (store, study) in zip(LABELS, report.stores, strict=False):
        declaration = store.declarations.read(study)
        veiled = report.veil.table if report.veil else lambda table: table
        contents = {f"{study}-{name}.csv": csv_of(veiled(rows)) for name, rows in _tables(store, declaration)}
        kept = report.veil.declaration(declaration) if report.veil else declaration
        contents[f"{study}-declaration.json"] = _json(kept.to_dict())
        for name, content in contents.items():
            path = Path(folder) / (f"{label}-{name}" if is_pair else name)
            _write(path, content)
            yield path
    if is_pair:
        path = Path(folder) / f"{report.tables.name}-differences.csv"
        _write(path, csv_of(differences(*report.studies)))
        yield path


def _tables(store: Store, declaration: Declaration) -> Iterator[tuple[str, pd.DataFrame]]:
    """The tables of `rdstudy.load` by name, of the members of a study.

    Of several trainings of a member the best is there, of several measurings the one that the study asks for.
    """
    rows = ChosenRows(store.snapshot(TABLES), frozenset(declaration.members), declaration.measures_id)
    whole_numbers = {pa.int64(): pd.Int64Dtype()}.get  # stay whole, null or not
    for name, read in (("members", rows.members), ("measures", rows.measures), ("trajectories", rows.trajectories)):
        yield name, read().to_pandas(types_mapper=whole_numbers)


def csv_of(table: pd.DataFrame) -> bytes:
    """A table as CSV in UTF-8: numbers to the last digit, nothing where a value is null, lists as JSON."""
    plain = table.copy()
    for name in table.columns[[dtype.kind == "O" for dtype in table.dtypes]]:
        plain[name] = [_plain(value) for value in table[name]]
    return plain.to_csv(index=False, lineterminator="\n").encode()


def _plain(value: Any) -> Any:
    """A list of numbers as JSON; NumPy's own text leaves the middle of a long one out."""
    if not hasattr(value, "tolist") or not getattr(value, "ndim", 0):
        return value
    return "[" + ",".join(str(number) for number in value) + "]"


def _open(results: str, study: str | None, *, trust_code: bool) -> tuple[Store, str]:
    store = Store.open(results)
    name = choose_study(store, study)
    if trust_code:
        declared = store.declarations.read(name)
        trust_figures(store, (figure for experiment in declared.experiments for figure in experiment.figures))
    return store, name


def _as_on_page(drawn: DrawnFigure, format: str) -> bytes:
    spec = titled(drawn.figure.spec, drawn.figure.title)
    if format == "json":
        return _json(spec)
    if format == "svg":
        return svg_of(spec).encode()
    content: bytes = (
        vl_convert.vegalite_to_png(spec, scale=_PNG_SCALE) if format == "png" else vl_convert.vegalite_to_pdf(spec)
    )
    return content


def _for_paper(drawn: DrawnFigure, format: str, *, width: float) -> bytes:
    drawing = fitted(drawn.figure.spec.vega_lite, width)
    if format == "json":
        return _json(drawing.vega_lite)
    if format == "svg":
        return drawing.svg.encode()
    # one pixel of an SVG is a point of the PDF; a PNG has as many pixels to an inch as are asked for, of 72 points
    svg = in_points(drawing.svg)
    content: bytes = vl_convert.svg_to_pdf(svg) if format == "pdf" else vl_convert.svg_to_png(svg, ppi=_PNG_PER_INCH)
    return content


def _caption(drawn: DrawnFigure) -> bytes:
    """Title and note as text, without what is said of a pointer: there is none on paper."""
    return f"{drawn.figure.title}.\n\n{_POINTER.sub('', drawn.figure.note)}\n".encode()


def _json(spec: dict[str, Any]) -> bytes:
    return (json.dumps(spec, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _write_page(page: Page, name: str, *, out: str | None = None, reloaded_seconds: int | None = None) -> Path:
    path = Path(out) if out is not None else Path("reports") / f"{name}.html"
    html = render(page)
    if reloaded_seconds is not None:
        html = html.replace("<head>", f'<head>\n<meta http-equiv="refresh" content="{reloaded_seconds}">', 1)
    _write(path, html.encode())
    return path


def _write(path: Path, content: bytes) -> None:
    """Put a file there, in place of one of that name, and make its folder.

    What is no ordinary file, such as /dev/stdout, is written to and not replaced.

    Raises:
        ValueError: it cannot be written.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_whole(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror or error}; allowed: a path that can be") from None
