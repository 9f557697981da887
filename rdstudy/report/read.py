"""A store -> the tables of one study. The only file of the report that reads results.

All values are in nats per image. Members of other studies in the same store are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rdstudy.report.groups import together
from rdstudy.results import schema
from rdstudy.results.declaration import Declaration, DeclaredExperiment, History
from rdstudy.results.snapshot import Snapshot
from rdstudy.results.standing import Unasked, declared_levels, unasked
from rdstudy.results.store import Store
from rdstudy.results.tables import Damaged
from rdstudy.study.claims import Claim
from rdstudy.study.factors import SETTINGS, Setting
from rdstudy.study.settings import MEANINGS

_SETTINGS = ("recipe", "evaluation", "measures", "resources")
_TRAJECTORY_COLUMNS = ["member_id", "subset", "step", "images", "distortion", "rate", "distortion_floor"]


@dataclass(frozen=True)
class Settings:
    """A named group of settings of a study (recipe, evaluation, resources), for display."""

    name: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class StudyTables:
    """All that a report of one study is made of.

    Attributes:
        uri: of the store.
        declared: the declaration as plain data, without the members and their ids.
        history: since when the study is declared, and each change after that.
        planned: one row per member of the declaration: `member_id` and its settings.
        members: stored rows of these members, one per member and subset (`schema.MEMBERS`).
        trajectories: rows of these members, one per member, subset and step.
        examples: a few images of the data sets of this study (`schema.EXAMPLES`).
        measures: rows of these members, measured with the settings that the study has now (`schema.MEASURES`).
        own_measures: the same of `schema.OWN_MEASURES`.
        probes: the same of `schema.PROBES`.
        reconstructions: the same of `schema.RECONSTRUCTIONS`, of one member per cell and β: that of the lowest seed.
        samples: the same of `schema.SAMPLES`, as Arrow: thousands of members' images are too much to carry along as
            objects.
        neighbours: rows of the splits of these members (`schema.NEIGHBOURS`).
        damaged: files of the store that cannot be read.
        copies: files whose names are not those of files of rows; their rows count once.
        outdated: how many members have measures of other settings or an older version alone.
        authors: who made the study; empty where its declaration does not say.
        unasked: what is stored under its name, and it does not ask for.
    """

    uri: str
    name: str
    title: str
    description: str
    command: str
    declared: Mapping[str, Any]
    history: History
    seed: int
    settings: tuple[Settings, ...]
    experiments: tuple[DeclaredExperiment, ...]
    claims: tuple[Claim, ...]
    planned: pd.DataFrame
    members: pd.DataFrame
    trajectories: pd.DataFrame
    examples: pd.DataFrame
    measures: pd.DataFrame
    own_measures: pd.DataFrame
    probes: pd.DataFrame
    reconstructions: pd.DataFrame
    samples: pa.Table
    neighbours: pd.DataFrame
    damaged: tuple[Damaged, ...]
    copies: tuple[str, ...]
    outdated: int
    authors: str = ""
    unasked: tuple[Unasked, ...] = ()


def choose_study(store: Store, study: str | None) -> str:
    """The study to report on: the one named, or the only one there is.

    Raises:
        ValueError: there is none, or there are several and none was named.
    """
    if study is not None:
        return study  # Declarations.read refuses a name that is not there
    names = store.declarations.names()
    if not names:
        raise ValueError(f"{store.uri} holds no study; allowed: a results folder in which a study was started")
    if len(names) > 1:
        raise ValueError(f"{store.uri} holds {len(names)} studies, and none was chosen; allowed: {', '.join(names)}")
    return names[0]


TEXT = ("mode.string_storage", "python")
"""How pandas is to keep words: a page makes thousands of small tables, of which those in Arrow cost a third more."""


@pd.option_context(*TEXT)
def read_study(store: Store, study: str, *, snapshot: Snapshot | None = None) -> StudyTables:
    """Read the declaration and the rows of one study.

    Args:
        store: where both are.
        study: its name.
        snapshot: of all tables of the store; None to read them.

    Raises:
        ValueError: no such study, or its declaration is damaged.
    """
    declaration = store.declarations.read(study)
    snapshot = snapshot or store.snapshot()
    planned = _planned(declaration.members)
    ids = pa.array(planned["member_id"].to_list(), pa.string())
    measured = _rows_of(snapshot.table("measures"), ids)
    measures = _of_settings(measured, declaration)
    settings = declaration.to_dict()
    members = snapshot.table("members")
    beside = unasked(members, declaration.members, study, store.declarations.readable, levels=declared_levels)
    return StudyTables(
        uri=store.uri,
        name=study,
        title=declaration.title,
        description=declaration.description,
        command=declaration.command,
        declared=_without_members(settings),
        history=declaration.history,
        seed=declaration.seed,
        settings=tuple(_settings(name, settings[name]) for name in _SETTINGS if settings[name]),
        experiments=declaration.experiments,
        claims=declaration.claims,
        planned=planned,
        members=_rows_of(members, ids).to_pandas(),
        trajectories=_rows_of(snapshot.table("trajectories").select(_TRAJECTORY_COLUMNS), ids).to_pandas(),
        examples=_examples(snapshot.table("examples"), planned),
        measures=measures.to_pandas(),
        own_measures=_of_settings(_rows_of(snapshot.table("own_measures"), ids), declaration).to_pandas(),
        probes=_of_settings(_rows_of(snapshot.table("probes"), ids), declaration).to_pandas(),
        reconstructions=_reconstructions(snapshot.table("reconstructions"), declaration, planned),
        samples=_of_settings(_rows_of(snapshot.table("samples"), ids), declaration),
        neighbours=_neighbours(snapshot.table("neighbours"), declaration, planned),
        damaged=tuple(snapshot.damaged.values()),
        copies=tuple(snapshot.copies),
        outdated=_outdated(measured, measures, declaration),
        authors=declaration.authors,
        unasked=tuple(beside),
    )


def _without_members(declared: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in declared.items() if name not in ("members", "former")}
    grids = [{name: value for name, value in grid.items() if name != "member_ids"} for grid in declared["experiments"]]
    return {**kept, "experiments": grids}


def _planned(members: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row per member, with all its settings but the evaluation, which is equal for all members of a study."""
    columns = [setting for setting in SETTINGS if setting.holder != "evaluation"]

    def level(settings: Mapping[str, Any], setting: Setting) -> Any:
        return (settings[setting.holder] if setting.holder else settings).get(setting.name, setting.default)

    rows = [[key, *(level(settings, setting) for setting in columns)] for key, settings in members.items()]
    return pd.DataFrame(rows, columns=["member_id", *(setting.name for setting in columns)])


def _settings(name: str, values: Mapping[str, Any]) -> Settings:
    return Settings(
        name, tuple((key.replace("_", " "), _said(f"{name}.{key}", value)) for key, value in values.items())
    )


def _said(setting: str, value: object) -> str:
    """A value of a setting, such as `recipe.steps`, as a reader sees it."""
    known = isinstance(value, str | int | float) or value is None
    return MEANINGS[setting, value] if known and (setting, value) in MEANINGS else _plain(value)


def _plain(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_plain(levels)}" for key, levels in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _rows_of(table: pa.Table, ids: pa.Array) -> pa.Table:
    return table.filter(pc.is_in(table["member_id"], value_set=ids))


def _examples(table: pa.Table, planned: pd.DataFrame) -> pd.DataFrame:
    datasets = pa.array(sorted(set(planned["dataset"])), pa.string())
    examples: pd.DataFrame = table.filter(pc.is_in(table["dataset"], value_set=datasets)).to_pandas()
    return examples


def _outdated(measured: pa.Table, measures: pa.Table, declaration: Declaration) -> int:
    """Members of which nothing is measured as the study has it now, but something otherwise; none if it wants none."""
    if not declaration.measures.get("names"):
        return 0
    return len(set(measured["member_id"].to_pylist()) - set(measures["member_id"].to_pylist()))


def _of_settings(table: pa.Table, declaration: Declaration) -> pa.Table:
    return table.filter(pc.equal(table["measures_id"], declaration.measures_id))


def _reconstructions(table: pa.Table, declaration: Declaration, planned: pd.DataFrame) -> pd.DataFrame:
    """Rows of one member per cell and β: thousands of members' images are too much to carry along."""
    table = _of_settings(table, declaration)
    stored = planned[planned["member_id"].isin(set(table["member_id"].to_pylist()))]
    settings = [name for name in planned.columns if name not in ("member_id", "seed")]
    lowest = stored.sort_values("seed", kind="stable").drop_duplicates(settings)["member_id"]
    kept: pd.DataFrame = _rows_of(table, pa.array(lowest.to_list(), pa.string())).to_pandas()
    return kept


def _neighbours(table: pa.Table, declaration: Declaration, planned: pd.DataFrame) -> pd.DataFrame:
    """Rows of the splits of a study, found as the study asks; those of an earlier version where there are no others."""
    split = ["dataset", "split", "study_seed"]
    rows: pd.DataFrame = table.to_pandas().merge(planned[split].drop_duplicates(), on=split)
    asked = {**declaration.evaluation, **declaration.measures}
    settings = list(schema.NEIGHBOURS_KEY[len(split) :])
    own = rows[(rows[settings] == [asked.get(name) for name in settings]).all(axis=1)]
    older = rows[rows[settings].isna().all(axis=1)]
    older = older[~pd.MultiIndex.from_frame(older[split]).isin(pd.MultiIndex.from_frame(own[split]))]
    return together([own, older]).sort_values([*split, "image"], kind="stable").reset_index(drop=True)
