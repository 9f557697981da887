"""`rdstudy.load` and `rdstudy.load_model`."""

import functools
import os
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow.compute as pc

from rdstudy.notebook.columns import meanings, setting_meanings
from rdstudy.results.chosen import TABLES, ChosenRows
from rdstudy.results.snapshot import Snapshot
from rdstudy.results.store import Store
from rdstudy.results.tables import member_of
from rdstudy.study.checks import fail_name, id_beginning

if TYPE_CHECKING:
    from torch import Tensor

    from rdstudy.model.trained import TrainedModel
    from rdstudy.results.blobs import StoredWeights
    from rdstudy.study import Member

Place = str | os.PathLike[str]


def load(results: Place, *, study: str | None = None) -> "Results":
    """What a results folder holds, as it is now: tables as data frames, and the models whose weights are kept.

        results = rdstudy.load("results")
        results.members.query("subset == 'test'").groupby("beta").distortion.mean()
        results.model("0123abcd").sample(8, seed=0)

    Args:
        results: the results folder or URI: the `--out` of a run.
        study: its name: then only its members, and what was measured as it asks; None for all that is stored.

    Raises:
        ValueError: no such folder or study.
    """
    store = Store.open(os.fspath(results))
    if study is None:
        return Results(store, store.snapshot(TABLES), None, "")
    if study not in store.declarations.names():
        names = store.declarations.names()
        raise fail_name("study", study, names, also="" if names else "none is declared there")
    declaration = store.declarations.read(study)
    return Results(store, store.snapshot(TABLES), frozenset(declaration.members), declaration.measures_id)


def load_model(path: Place) -> "TrainedModel":
    """The model in one file of weights, by what its header says; no table is needed.

    Raises:
        ValueError: the file cannot be read, is damaged or of another program, or needs code that is not here.
    """
    from rdstudy.model.trained import TrainedModel
    from rdstudy.model.weights import from_bytes

    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}; allowed: a file of weights") from None
    return TrainedModel.of(from_bytes(content, path=os.fspath(path)), path=os.fspath(path))


class Results:
    """The tables of a store at one moment, and its models.

    Values of rate and distortion are in nats per image. Of several trainings of one member the best is read, of equal
    ones the earliest, as everywhere. What each column means is in `columns`.

    Args:
        store: where they lie.
        snapshot: its tables.
        members: ids of the members that count; None for all.
        measures_id: of the measures that count; empty for the newest of each member.
    """

    def __init__(self, store: Store, snapshot: Snapshot, members: Collection[str] | None, measures_id: str) -> None:
        self._store = store
        self._rows = ChosenRows(snapshot, members, measures_id)

    @functools.cached_property
    def members(self) -> pd.DataFrame:
        """One row per member and subset: settings, outcome, and rate and distortion after training."""
        frame: pd.DataFrame = self._rows.members().to_pandas()
        return frame

    @functools.cached_property
    def measures(self) -> pd.DataFrame:
        """One row per member and subset: what was measured after training, and the member's settings.

        Of a member that was measured several times it is the measuring of the newest `measures_version`, of equal ones
        that which finished last; both subsets from one. With a study, it is what that study asks for alone.
        """
        frame: pd.DataFrame = self._rows.measures().to_pandas()
        return frame

    @functools.cached_property
    def trajectories(self) -> pd.DataFrame:
        """One row per member, subset and step: rate and distortion on the way, and the member's settings."""
        frame: pd.DataFrame = self._rows.trajectories().to_pandas()
        return frame

    @property
    def columns(self) -> pd.DataFrame:
        """What each column means: table, column, meaning."""
        joined = {"members": {}, "measures": setting_meanings(), "trajectories": setting_meanings()}
        rows = [
            (table, column, text) for table in TABLES for column, text in {**meanings(table), **joined[table]}.items()
        ]
        return pd.DataFrame(rows, columns=["table", "column", "meaning"])

    def model(self, member: Any) -> "TrainedModel":
        """A member that was trained, as a PyTorch module that encodes, decodes, samples, reconstructs and traverses.

        Args:
            member: its id, the first digits of it, or a row of one of the tables.

        Raises:
            ValueError: no such member or several, one that has no weights, or weights that are not kept or damaged;
                then the line says which command gets them.
        """
        from rdstudy.model.weights import WeightsError

        row = self._row(member)
        member_id, run_id = row["member_id"], row["run_id"]
        if row["outcome"] != "ok":
            raise ValueError(f"member {member_id} is {row['outcome']} ({row['reason']}); allowed: one that is ok")
        remedy = f"python -m rdstudy.retrain {shlex.quote(self._store.uri)} {member_id} --save"
        try:
            file = self._store.blobs.read_weights(run_id, member_id)
        except FileNotFoundError:
            raise ValueError(f"the weights of member {member_id} are not kept; to get them: {remedy}") from None
        try:
            return self._model_in(file, row)
        except WeightsError as error:
            raise ValueError(f"{error}; to get them again: {remedy}") from None

    def _model_in(self, file: "StoredWeights", row: Mapping[str, Any]) -> "TrainedModel":
        from rdstudy.model.trained import TrainedModel
        from rdstudy.model.weights import from_bytes

        if file.is_old:
            member, image_shape, weights = self._believed(file, row)
            return TrainedModel(member, image_shape, weights, path=file.path)
        kept = from_bytes(file.content, path=file.path)
        kept.check_whose(member_id=row["member_id"], run_id=row["run_id"], path=file.path)
        return TrainedModel.of(kept, path=file.path)

    def _believed(
        self, file: "StoredWeights", row: Mapping[str, Any]
    ) -> "tuple[Member, tuple[int, int, int], Mapping[str, Tensor]]":
        """Weights of an earlier version, measured again on the training images: they do not say whose they are."""
        from rdstudy.datasets.own import install_own
        from rdstudy.running.kept import believed
        from rdstudy.running.worker import load_subsets

        member = member_of(row)
        if member.member_id != row["member_id"]:
            raise ValueError(f"member {row['member_id']} is of another version of the numerics, and so are its weights")
        fetch = functools.partial(self._store.blobs.fetch_dataset_file, member.dataset)
        install_own(member.dataset, fetch)
        subsets = load_subsets(member)
        return member, subsets.image_shape, believed(file, member, row["run_id"], self._store, subsets)

    def _row(self, member: Any) -> dict[str, Any]:
        """The first row of `members` of a member."""
        given = member if isinstance(member, str) else _id_in(member)
        rows = self._rows.members()
        member_id = id_beginning(given, rows["member_id"].to_pylist(), where=f"in {self._store.uri}")
        row: dict[str, Any] = rows.filter(pc.equal(rows["member_id"], member_id)).slice(0, 1).to_pylist()[0]
        return row


def _id_in(row: Any) -> str:
    """The id in a row: of a data frame, by `iterrows` or `itertuples`, or a mapping."""
    given = row["member_id"] if isinstance(row, Mapping | pd.Series) and "member_id" in row else None
    given = getattr(row, "member_id", None) if given is None else given
    if not isinstance(given, str):
        named = f"{row!r}" if isinstance(row, int | float | None) else f"of type {type(row).__name__}"
        raise ValueError(f"member is {named}; allowed: an id, its first digits, or a row that has a member_id")
    return given
