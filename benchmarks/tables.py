"""Tables: plain text for a terminal, CSV and Markdown for a folder. Standard library alone."""

import csv
from collections.abc import Sequence
from pathlib import Path


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    """Columns under their heads, the first `left` of them flush left and the others flush right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = []
    for row in [head, *rows]:
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


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
