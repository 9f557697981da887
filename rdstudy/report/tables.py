"""A store -> the tables of one study. The only file of the report that reads results.

All values are in nats per image. Members of other studies in the same store are left out.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rdstudy.claims import Claim
from rdstudy.results.store import Store
from rdstudy.results.tables import Damaged
from rdstudy.settings import Recipe
from rdstudy.study import Member

_SETTINGS = ("recipe", "evaluation", "measures", "resources")
_TRAJECTORY_COLUMNS = ["member_id", "subset", "step", "images", "distortion", "rate", "distortion_floor"]


@dataclass(frozen=True)
class Experiment:
    """A named grid of a study, as its declaration keeps it."""

    name: str
    title: str
    description: str
    member_ids: tuple[str, ...]
    figures: tuple[str, ...] = ()  # of `rdstudy.study.FIGURES`; all where none is named

    def shows(self, *names: str) -> bool:
        """Whether any of these figures is asked for."""
        return not self.figures or any(name in self.figures for name in names)


@dataclass(frozen=True)
class Settings:
    """A named group of settings of a study (recipe, evaluation, resources), for display."""

    name: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class StudyTables:
    """All that a report of one study is made of.

    Attributes:
        planned: one row per member of the declaration: `member_id` and its settings.
        members: stored rows of these members, one per member and subset (`schema.MEMBERS`).
        trajectories: rows of these members, one per member, subset and step.
        examples: a few images of the data sets of this study (`schema.EXAMPLES`).
        measures: rows of these members, measured with the settings that the study has now (`schema.MEASURES`).
        probes: the same of `schema.PROBES`.
        reconstructions: the same of `schema.RECONSTRUCTIONS`, of one member per cell and β: that of the lowest seed.
        neighbours: rows of the splits of these members (`schema.NEIGHBOURS`).
        damaged: files of the store that cannot be read.
        recipe: how all members are trained; None where the declaration does not say.
        outdated: how many members have measures of other settings or an older version alone.
    """

    name: str
    title: str
    description: str
    command: str
    declared_at: str
    seed: int
    settings: tuple[Settings, ...]
    experiments: tuple[Experiment, ...]
    claims: tuple[Claim, ...]
    planned: pd.DataFrame
    members: pd.DataFrame
    trajectories: pd.DataFrame
    examples: pd.DataFrame
    measures: pd.DataFrame
    probes: pd.DataFrame
    reconstructions: pd.DataFrame
    neighbours: pd.DataFrame
    damaged: tuple[Damaged, ...]
    recipe: Recipe | None
    outdated: int


def choose_study(store: Store, study: str | None) -> str:
    """The study to report on: the one named, or the only one there is.

    Raises:
        ValueError: there is none, or there are several and none was named.
    """
    names = store.studies()
    if study is not None:
        return study  # Store.declaration refuses a name that is not there
    if not names:
        raise ValueError(f"{store.uri} holds no study; allowed: a results folder in which a study was started")
    if len(names) > 1:
        raise ValueError(f"{store.uri} holds {len(names)} studies, and none was chosen; allowed: {', '.join(names)}")
    return names[0]


def read_study(store: Store, study: str) -> StudyTables:
    """Read the declaration and the rows of one study.

    Raises:
        ValueError: no such study, or its declaration is damaged.
    """
    declaration = store.declaration(study)
    try:
        planned = _planned(declaration["members"])
        experiments = tuple(_experiment(entry) for entry in declaration["experiments"])
        claims = tuple(Claim.from_dict(entry) for entry in declaration.get("claims", ()))
        recipe = Recipe(**declaration["recipe"]) if "recipe" in declaration else None
        groups = tuple(_settings(name, declaration[name]) for name in _SETTINGS if name in declaration)
    except (KeyError, TypeError) as error:
        raise ValueError(f"the declaration of study {study!r} in {store.uri} cannot be read: {error!r}") from None
    ids = pa.array(planned["member_id"].to_list(), pa.string())
    measured = _rows_of(store.read("measures"), ids)
    measures = _of_settings(measured, declaration)
    return StudyTables(
        name=study,
        title=declaration.get("title") or study,
        description=declaration.get("description", ""),
        command=declaration.get("command", ""),
        declared_at=declaration.get("declared_at", ""),
        seed=int(declaration.get("seed", 0)),
        settings=groups,
        experiments=experiments,
        claims=claims,
        planned=planned,
        members=_rows_of(store.read("members"), ids).to_pandas(),
        trajectories=_rows_of(store.read("trajectories").select(_TRAJECTORY_COLUMNS), ids).to_pandas(),
        examples=_examples(store.read("examples"), planned),
        measures=measures.to_pandas(),
        probes=_of_settings(_rows_of(store.read("probes"), ids), declaration).to_pandas(),
        reconstructions=_reconstructions(store, declaration, planned),
        neighbours=_neighbours(store, planned),
        damaged=tuple(store.damaged()),
        recipe=recipe,
        outdated=_outdated(measured, measures, declaration),
    )


def _planned(members: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row per member; the recipe and the evaluation, equal for all members of a study, are left out."""
    names = [field.name for field in dataclasses.fields(Member) if field.name not in ("recipe", "evaluation")]
    rows = [{"member_id": key, **{name: settings[name] for name in names}} for key, settings in members.items()]
    return pd.DataFrame(rows, columns=["member_id", *names])


def _experiment(entry: Mapping[str, Any]) -> Experiment:
    title = entry["title"] or entry["name"]
    return Experiment(
        entry["name"], title, entry["description"], tuple(entry["member_ids"]), tuple(entry.get("figures", ()))
    )


def _settings(name: str, values: Mapping[str, Any]) -> Settings:
    return Settings(name, tuple((key.replace("_", " "), _plain(key, value)) for key, value in values.items()))


def _plain(key: str, value: object) -> str:
    if value is None:
        return "all" if key == "final_images" else "automatic"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _rows_of(table: pa.Table, ids: pa.Array) -> pa.Table:
    return table.filter(pc.is_in(table["member_id"], value_set=ids))


def _examples(table: pa.Table, planned: pd.DataFrame) -> pd.DataFrame:
    datasets = pa.array(sorted(set(planned["dataset"])), pa.string())
    examples: pd.DataFrame = table.filter(pc.is_in(table["dataset"], value_set=datasets)).to_pandas()
    return examples


def _outdated(measured: pa.Table, measures: pa.Table, declaration: Mapping[str, Any]) -> int:
    """Members of which nothing is measured as the study has it now, but something otherwise; none if it wants none."""
    wanted = (declaration.get("measures") or {}).get("names")
    return len(set(measured["member_id"].to_pylist()) - set(measures["member_id"].to_pylist())) if wanted else 0


def _of_settings(table: pa.Table, declaration: Mapping[str, Any]) -> pa.Table:
    measures_id = (declaration.get("measures") or {}).get("measures_id")
    return table.filter(pc.equal(table["measures_id"], pa.scalar(measures_id, pa.string())))  # null: no rows


def _reconstructions(store: Store, declaration: Mapping[str, Any], planned: pd.DataFrame) -> pd.DataFrame:
    """Rows of one member per cell and β: thousands of members' images are too much to carry along."""
    table = _of_settings(store.read("reconstructions"), declaration)
    stored = planned[planned["member_id"].isin(set(table["member_id"].to_pylist()))]
    others = [name for name in planned.columns if name not in ("member_id", "seed")]
    lowest = stored.sort_values("seed", kind="stable").drop_duplicates(others)["member_id"]
    kept: pd.DataFrame = _rows_of(table, pa.array(lowest.to_list(), pa.string())).to_pandas()
    return kept


def _neighbours(store: Store, planned: pd.DataFrame) -> pd.DataFrame:
    keys = ["dataset", "split", "study_seed"]
    neighbours: pd.DataFrame = store.read("neighbours").to_pandas().merge(planned[keys].drop_duplicates(), on=keys)
    return neighbours.sort_values([*keys, "image"], kind="stable").reset_index(drop=True)
