"""Tables: plain text for a terminal, CSV and Markdown for a folder."""

import csv
from collections.abc import Sequence
from pathlib import Path

from rdstudy.study.words import aligned


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    """Columns under their heads, the first `left` of them flush left and the others flush right."""
    return "\n".join(aligned([head, *rows], left=left))


def number(value: float | None, digits: int) -> str:
    """A number with so many digits after the point, or a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def write_table(folder: Path, name: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write `<name>.csv` and `<name>.md`, in place of earlier ones.

    Args:
        folder: that is there.
        name: of the table.
        head: of its columns.
        rows: numbers and words; None for nothing.
    """
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)
    lines = [head, ["---"] * len(head), *[[_cell(value) for value in row] for row in rows]]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    (folder / f"{name}.md").write_text(f"{text}\n", encoding="utf-8")


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")
