"""Cells and their names: which factors tell the cells of a grid apart, and how a reader sees them.

Standard library alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rdstudy.study.factors import FACTORS


def telling_factors(levels: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
    """The factors that tell some cells or members apart.

    A factor that the ones before it determine says nothing new and is left out: the width that comes with an
    architecture, for one.

    Args:
        levels: factor -> its levels, one for each cell or member, in one order.
    """
    kept: list[str] = []
    group, groups = [0] * len(next(iter(levels.values()), ())), 1  # of the factors that are kept
    for factor, column in levels.items():
        numbers: dict[tuple[int, Any], int] = {}
        finer = [numbers.setdefault(pair, len(numbers)) for pair in zip(group, column, strict=True)]
        if len(numbers) > groups:
            kept.append(factor)
            group, groups = finer, len(numbers)
    return tuple(kept)


def cell_name(levels: Mapping[str, Any], *, among: Mapping[str, Iterable[Any]]) -> str:
    """Some levels of a cell, factor -> level, as a reader sees them: a linear VAE has no layers to count.

    Args:
        levels: of these factors.
        among: factor -> levels of it beside which the cell is named, see `level_name`.
    """
    linear = levels.get("architecture") == "linear"
    shown = [(factor, level) for factor, level in levels.items() if not (linear and factor == "depth")]
    return ", ".join(level_name(factor, level, among=among[factor]) for factor, level in shown)


def level_name(factor: str, level: object, *, among: Iterable[object] = ()) -> str:
    """A level as a reader sees it: 1 of `depth` is "1 layer".

    Args:
        factor: its name; what is no factor is named by its level.
        level: of the factor.
        among: levels beside which it is named: where another one has the same name, as two files of a user's own part
            have, the hash of the file tells them apart.
    """
    label = FACTORS[factor].label if factor in FACTORS else str
    is_plain = all(other == level or label(other) != label(level) for other in among)
    return label(level) if is_plain else f"{label(level)} @{str(level).rpartition('@')[2]}"
