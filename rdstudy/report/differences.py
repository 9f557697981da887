"""What differs between two studies, B minus A: settings, versions, and numbers cell by cell, β by β.

Members of equal seeds are compared pair by pair. All values are in nats per image.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from rdstudy.findings.evidence import LEVEL
from rdstudy.findings.student import student_quantile
from rdstudy.report import coverage, text
from rdstudy.report.cells import cell_name, telling_factors
from rdstudy.report.read import StudyTables
from rdstudy.report.statistics import AXES
from rdstudy.study.cells import level_name
from rdstudy.study.factors import CELL_FACTORS, FACTORS

MEASURES = ("D test", "D train", "R test", "R train", "gap")
_VERSIONS = ("numerics_version", "code_version", "python_version", "torch_version", "numpy_version", "device")
_GROUPS = ("recipe", "evaluation", "measures")
_IDS_NAMED = 3


@dataclass(frozen=True)
class Comparison:
    """What differs between two studies, A and B, as a page shows it."""

    studies: tuple[str, ...]  # what A is, and what B
    apart: tuple[str, ...]  # what only one of them has
    settings: text.Table  # that differ
    differences: text.Table
    note: str


@dataclass(frozen=True)
class Match:
    """Which factors cells of two studies have to agree in to be the same cell.

    Attributes:
        factors: in which they have to agree.
        aside: in which all of A is one thing and all of B another: they are no reason not to compare.
    """

    factors: tuple[str, ...]
    aside: tuple[str, ...]

    @classmethod
    def of(cls, a: pd.DataFrame, b: pd.DataFrame) -> "Match":
        """The match of two studies' members.

        D of two data sets or likelihoods is not compared: in these cells always have to agree.
        """
        aside = tuple(
            name
            for name in CELL_FACTORS
            if name not in AXES and a[name].nunique() == b[name].nunique() == 1 and a[name].iloc[0] != b[name].iloc[0]
        )
        return cls(tuple(name for name in CELL_FACTORS if name not in aside), aside)

    @property
    def keys(self) -> list[str]:
        """Columns that name a cell and β."""
        return [*self.factors, "beta"]


def differences(a: StudyTables, b: StudyTables) -> pd.DataFrame:
    """B minus A, for each cell and β that both have trained.

    Returns:
        The factors of `Match.of`, `beta`, `pairs`: seeds that both have, and for each of `MEASURES`, `<measure>`: mean
        over pairs, and `<measure> low`, `<measure> high`: the interval of Student's t, null for less than two pairs.
        Where no seed is in both, the difference of means over seeds, with 0 pairs.
    """
    match = Match.of(a.planned, b.planned)
    values = [_values(study, match).groupby(match.keys, sort=False) for study in (a, b)]
    groups = [{key: part.set_index("seed")[list(MEASURES)] for key, part in value} for value in values]
    order = a.planned[match.keys].drop_duplicates().itertuples(index=False, name=None)
    rows = [
        [*key, *_compared(groups[0][key], groups[1][key])] for key in order if key in groups[0] and key in groups[1]
    ]
    numbers = [f"{name}{end}" for name in MEASURES for end in ("", " low", " high")]
    return pd.DataFrame(rows, columns=[*match.keys, "pairs", *numbers])


def _values(study: StudyTables, match: Match) -> pd.DataFrame:
    """One row per member that ended well: its cell, β, seed and `MEASURES`."""
    rows = study.members[(study.members["outcome"] == "ok") & study.members["subset"].isin(["train", "test"])]
    rows = rows.assign(excess=rows["distortion"] - rows["distortion_floor"])
    wide = rows.pivot(index="member_id", columns="subset", values=["distortion", "rate", "excess"])
    wide = wide.reindex(columns=pd.MultiIndex.from_product([["distortion", "rate", "excess"], ["test", "train"]]))
    wide = wide.astype(float)
    table = pd.DataFrame({f"{letter} {subset}": wide[name, subset] for letter, name, subset in _LETTERS})
    table["gap"] = wide["excess", "test"] - wide["excess", "train"]
    known = study.planned[["member_id", *match.keys, "seed"]].merge(table.reset_index(), on="member_id")
    return known.drop_duplicates([*match.keys, "seed"])  # of two study seeds the first


_LETTERS = [
    (letter, name, subset) for letter, name in (("D", "distortion"), ("R", "rate")) for subset in ("test", "train")
]


def _compared(a: pd.DataFrame, b: pd.DataFrame) -> list[float]:
    """Pairs; then difference and interval of each measure."""
    pairs = a.index.intersection(b.index)
    numbers: list[float] = [len(pairs)]
    for name in MEASURES:
        if len(pairs):
            numbers += _interval(b.loc[pairs, name] - a.loc[pairs, name])
        else:
            numbers += [float(b[name].mean() - a[name].mean()), math.nan, math.nan]
    return numbers


def _interval(numbers: pd.Series) -> list[float]:
    known = numbers.dropna()
    mean, half = float(known.mean()), math.nan
    if len(known) > 1:
        half = student_quantile(1 - (1 - LEVEL) / 2, len(known) - 1) * float(known.std(ddof=1)) / math.sqrt(len(known))
    return [mean, mean - half, mean + half]


# --- what only one has ----------------------------------------------------------------------------------------------


def apart(a: StudyTables, b: StudyTables) -> list[str]:
    """Cells, and β of cells, that only one of two studies has."""
    match = Match.of(a.planned, b.planned)
    return [*_only(a.planned, b.planned, match, "A"), *_only(b.planned, a.planned, match, "B")]


def _only(own: pd.DataFrame, other: pd.DataFrame, match: Match, label: str) -> Iterator[str]:
    cells, theirs = own[match.keys].drop_duplicates(), other[match.keys].drop_duplicates()
    factors = list(match.factors)
    named = _named([cells, theirs], match)
    merged = cells.merge(theirs[factors].drop_duplicates(), on=factors, how="left", indicator="cell")
    merged = merged.merge(theirs, on=match.keys, how="left", indicator="point")
    alone = merged[merged["cell"] == "left_only"].drop_duplicates(factors)
    if len(alone):
        names = [cell_name({name: row[name] for name in named}, among=merged) for row in alone.to_dict("records")]
        yield f"Only in {label}: {text.listed(names)}."
    points = merged[(merged["cell"] == "both") & (merged["point"] == "left_only")]
    betas = [f"{beta:g}" for beta in sorted(points["beta"].unique())]
    if betas:
        yield f"Only in {label}, in cells that both have: β = {', '.join(betas)}."


def _named(tables: Sequence[pd.DataFrame], match: Match) -> list[str]:
    """The factors that name the cells of both."""
    both = pd.concat(tables).assign(**dict.fromkeys(match.aside, ""))
    return list(telling_factors(both)) or ["architecture", "depth"]


# --- as a reader sees it --------------------------------------------------------------------------------------------


def comparison_of(a: StudyTables, b: StudyTables, *, studies: tuple[str, ...]) -> Comparison:
    """What differs between A and B, and what each of these studies is."""
    table = differences(a, b)
    return Comparison(studies, tuple(apart(a, b)), _settings_table(a, b), _table(a, b, table), _note(table))


def _note(table: pd.DataFrame) -> str:
    if table.empty:
        return "No cell and β has models in both: there is nothing to compare."
    words = (
        f"B minus A in nats per image, for each cell and β that both have; the gap is test minus train D, each above "
        f"its floor. Pairs are seeds that both have: the mean of their differences, and the {100 * LEVEL:g} % interval "
        f"of Student's t over pairs. An interval is of its own row: of many, some {100 * (1 - LEVEL):g} % leave out 0 "
        f"where nothing differs."
    )
    unpaired = (
        " Without a pair it is the difference of means, without an interval." if (table["pairs"] == 0).any() else ""
    )
    return words + unpaired


def _table(a: StudyTables, b: StudyTables, table: pd.DataFrame) -> text.Table:
    match = Match.of(a.planned, b.planned)
    factors = _named([a.planned[match.keys], b.planned[match.keys]], match)
    hint = f"B minus A: mean and {100 * LEVEL:g} % interval, nats per image"
    heads = [(factor.replace("_", " ").capitalize(), "") for factor in factors]
    heads += [("β", ""), ("Pairs", "seeds that both have"), *((name, hint) for name in MEASURES)]
    lines = [
        [
            *(text.Entry(level_name(name, row[name], among=table[name].unique())) for name in factors),
            text.plain(row["beta"]),
            text.count(row["pairs"]),
            *(_difference(row[name], row[f"{name} low"], row[f"{name} high"]) for name in MEASURES),
        ]
        for row in table.to_dict("records")
    ]
    return text.table(heads, lines)


def _difference(mean: float, low: float, high: float) -> text.Entry:
    """Such as "−1.20 (−2.05 to −0.35)", to the second digit of half the interval."""
    half = (high - low) / 2
    if not half > 0:
        return text.number(mean)
    decimals = min(max(0, 1 - math.floor(math.log10(half))), 6)
    mean_, low_, high_ = (
        f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", "−") for value in (mean, low, high)
    )
    return text.Entry(f"{mean_} ({low_} to {high_})", mean)


def _settings_table(a: StudyTables, b: StudyTables) -> text.Table:
    """Settings of the studies, factors in which all of A is one thing and all of B another, and versions."""
    match = Match.of(a.planned, b.planned)
    pairs = {("study", "seed of the splits"): (str(a.seed), str(b.seed))}
    pairs |= {("factor", name.replace("_", " ")): (_level_of(a, name), _level_of(b, name)) for name in match.aside}
    settings = [
        {(group.name, name): value for group in study.settings for name, value in group.values} for study in (a, b)
    ]
    names = dict.fromkeys([*settings[0], *settings[1]])
    listed = {("recipe", name.replace("_", " ")) for name in match.aside} | {("measures", "measures id")}
    pairs |= {
        name: (settings[0].get(name, "–"), settings[1].get(name, "–"))
        for name in names
        if name[0] in _GROUPS and name not in listed
    }
    pairs |= {("made with", name.replace("_", " ")): (_made_with(a, name), _made_with(b, name)) for name in _VERSIONS}
    lines = [
        [text.Entry(value) for value in (kind, name, *values)]
        for (kind, name), values in pairs.items()
        if values[0] != values[1]
    ]
    return text.table([("Of", ""), ("Setting", ""), ("A", ""), ("B", "")], lines)


def _level_of(study: StudyTables, factor: str) -> str:
    return FACTORS[factor].label(study.planned[factor].iloc[0])


def _made_with(study: StudyTables, column: str) -> str:
    values = coverage.one_row_per_member(study.members)[column].dropna().unique()
    return ", ".join(sorted(f"{value:g}" if isinstance(value, float) else str(value) for value in values)) or "–"


def _versions(study: StudyTables) -> str:
    return ", ".join(f"{column.replace('_', ' ')} {_made_with(study, column)}" for column in _VERSIONS)


def unequal_numbers(a: StudyTables, b: StudyTables) -> str:
    """What is to be said of members that have one id in both and other numbers; empty where all are equal."""
    columns = ["member_id", "subset", "outcome", "distortion", "rate"]
    both = a.members[columns].merge(b.members[columns], on=["member_id", "subset"], suffixes=("", " of B"))
    apart = pd.concat(
        [(both[f"{name} of B"].astype(float) - both[name].astype(float)).abs() for name in ("distortion", "rate")],
        axis=1,
    ).max(axis=1)
    unlike = both[(apart > 0) | (both["outcome"] != both["outcome of B"])]
    if unlike.empty:
        return ""
    ids, most = unlike["member_id"].drop_duplicates().tolist(), apart.max()
    by = f", by up to {text.number(most, digits=2).text} nats" if most > 0 else ""
    versions = f"A: {_versions(a)}; B: {_versions(b)}"
    return (
        f"{text.models(len(ids))} with the same id in A and B, which is a hash of all settings, but other numbers{by} "
        f"({text.listed(ids, most=_IDS_NAMED)}): they were made with another version of the code or of its numerics, "
        f"or on another device. {versions}."
    )
