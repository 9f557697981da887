"""What a scenario counts, and the table at the end."""

from collections import Counter
from dataclasses import dataclass, field

from tests.chaos.compare import Differences


@dataclass
class Tally:
    """Of one scenario, all its rounds together.

    Attributes:
        rounds: times that its study was run to its end and compared.
        faults: kind -> how often it came while a run was alive.
        damages: files that were damaged, or put where they do not belong.
        lost: rows, and so on, of all comparisons.
        tracebacks: runs that printed one.
        wrong: everything that is wrong, in words.
    """

    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    damages: int = 0
    lost: int = 0
    doubled: int = 0
    changed: int = 0
    tracebacks: int = 0
    wrong: list[str] = field(default_factory=list)

    def add_differences(self, differences: list[Differences]) -> None:
        """Count the rows of a comparison."""
        for difference in differences:
            self.lost += difference.lost
            self.doubled += difference.doubled
            self.changed += difference.changed


_COLUMNS = ("scenario", "rounds", "faults", "bad files", "lost", "doubled", "changed", "tracebacks", "wrong")


def table(tallies: dict[str, Tally]) -> str:
    """One line a scenario, and one for all."""
    rows: list[tuple[object, ...]] = [
        (
            name,
            tally.rounds,
            sum(tally.faults.values()),
            tally.damages,
            *_rows(tally),
            tally.tracebacks,
            len(tally.wrong),
        )
        for name, tally in tallies.items()
    ]
    rows.append(("in all", *(sum(int(str(row[column])) for row in rows) for column in range(1, len(_COLUMNS)))))
    lines: list[tuple[object, ...]] = [_COLUMNS, *rows]
    return "\n".join(
        "".join(f"{cell!s:<16}" if at == 0 else f"{cell!s:>12}" for at, cell in enumerate(row)) for row in lines
    )


def _rows(tally: Tally) -> tuple[int, int, int]:
    return tally.lost, tally.doubled, tally.changed
