"""Plain-text tables."""

from collections.abc import Sequence


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
