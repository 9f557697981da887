"""The store: rows, other files and declarations of all studies in one folder or bucket.

    <root>/store.json              what this folder is, and its identity
    <root>/studies/<study>.json    the declaration of each study    `rdstudy.results.studies.Declarations`
    <root>/<table>/*.parquet       rows                             `rdstudy.results.rows.Rows`
    everything else                                                 `rdstudy.results.blobs.Blobs`

Who may write, what is atomic, what survives a crash and what never changes stands in the docstrings of these three.
"""

import copy
import json
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from rdstudy.results import schema
from rdstudy.results.address import without_keys
from rdstudy.results.blobs import Blobs
from rdstudy.results.files import Files, StorageError
from rdstudy.results.rows import Rows
from rdstudy.results.snapshot import Snapshot
from rdstudy.results.studies import Declarations
from rdstudy.study.checks import fail
from rdstudy.study.words import one_line

_FORMAT = {"format": "rdstudy results", "version": 1}


class FolderGoneError(StorageError):
    """The results folder is gone, or another one lies in its place."""


class Store:
    """One results folder. `Store.create` makes it where there is none, `Store.open` expects it.

    A folder has an identity, which never changes: a folder that is moved keeps it, and another one in its place has
    another. Before each write the folder is held against it, where it is known, so that nothing is written into a
    folder that is gone. Whoever only reads writes nothing.

    Attributes:
        uri: as it was given, without keys.
        location: the same place for a process with another working directory.
        rows: the tables, for writers.
        blobs: checkpoints, weights, logs, runs at work, images of one's own.
        declarations: of studies.
    """

    def __init__(self, uri: str) -> None:
        """Use `create` or `open`: this does not look at what is there."""
        self.uri = without_keys(uri)
        self._held = ""  # the identity that every write expects; empty until it is known
        self._use(Files(self.uri))
        self.location = self.uri if "://" in uri else self._files.place

    def _use(self, files: Files) -> None:
        self._files = files
        self.rows = Rows(files, self.check_folder)
        self.blobs = Blobs(files, self.check_folder)
        self.declarations = Declarations(files, self.check_folder)

    @classmethod
    def create(cls, uri: str) -> "Store":
        """Open the results folder at `uri` for writing, and make it where there is nothing yet.

        Raises:
            ValueError: it cannot be written, or something else lies there.
        """
        uri = without_keys(uri)
        with _usable(uri, "written"):
            store = cls(uri)
            at_once = store.hurried()
            identity = ""
            if at_once._is_store():
                identity = at_once.identity()
            else:
                at_once._refuse_other_folder()
                at_once._files.make()
            if not identity:
                at_once._files.write("store.json", json.dumps({**_FORMAT, "id": uuid.uuid4().hex}).encode())
                identity = at_once.identity()  # that of whoever wrote last
            store.hold(identity)
            probe = f"tmp/{uuid.uuid4().hex}"
            at_once._files.write(probe, b"")
            at_once._files.delete(probe)
        return store

    @classmethod
    def open(cls, uri: str) -> "Store":
        """Open the results folder at `uri` for reading.

        Raises:
            ValueError: there is none, or one of another version.
        """
        uri = without_keys(uri)
        with _usable(uri, "read"):
            store = cls(uri)
            at_once = store.hurried()
            if not at_once._is_store():
                raise ValueError(f"{uri} is no results folder: it has no store.json; allowed: the --out of a run")
            at_once.identity()
        return store

    @classmethod
    def exists(cls, uri: str) -> bool:
        """Whether there is anything at `uri`; `open` says whether that is a results folder."""
        uri = without_keys(uri)
        with _usable(uri, "read"):
            return cls(uri).hurried()._files.kind("") != "nothing"

    def identity(self) -> str:
        """What this very folder is known by: a node that finds another one under the same path finds another identity.

        Empty for a folder of an earlier version, until `create` is called for it.

        Raises:
            FileNotFoundError: there is no results folder.
            StorageError: it cannot be read.
            ValueError: its store.json is damaged, or of another program or version.
        """
        path, content = self._files.path("store.json"), self._files.read("store.json")
        try:
            marker = json.loads(content)
        except (ValueError, RecursionError):
            marker = None
        if not isinstance(marker, dict) or marker.get("format") != _FORMAT["format"]:
            raise ValueError(f"{path} is damaged, or of another program; allowed: {json.dumps(_FORMAT)}")
        if marker.get("version") != _FORMAT["version"]:
            raise fail(
                f"the version in {path}", marker.get("version"), f"{_FORMAT['version']}, see the program's versions"
            )
        return str(marker.get("id", ""))

    def hold(self, identity: str) -> None:
        """From now on write nothing unless the folder has this identity."""
        self._held = identity

    def check_folder(self) -> None:
        """Hold the folder against its identity, where that is known.

        Raises:
            FolderGoneError: it is gone, or another one lies there.
            StorageError: it cannot be read.
        """
        if not self._held:
            return
        try:
            identity = self.identity()
        except (FileNotFoundError, ValueError):
            identity = None
        if identity != self._held:
            what = "is gone" if identity is None else "is another one now"
            raise FolderGoneError(
                f"results folder {self.uri} {what}: it was moved or deleted while this command wrote to it; nothing "
                "more is written. Move it back, or name its new place"
            )

    def hurried(self) -> "Store":
        """The same store for what may be lost: it raises at once where the storage does not answer."""
        store = copy.copy(self)
        store._use(self._files.hurried())
        return store

    def snapshot(
        self,
        tables: Collection[str] = tuple(schema.TABLES),
        *,
        known: Snapshot | None = None,
        columns: Mapping[str, Collection[str]] = MappingProxyType({}),
    ) -> Snapshot:
        """Read tables, each file once.

        Args:
            tables: that are read.
            columns: table -> those of its columns that are read, `schema.REQUIRED` among them; all of a table that it
                does not name. The measures of 100,000 members take gigabytes.
            known: has the other tables, and the names of weights, as they were; None for none.

        Raises:
            StorageError: the storage does not answer.
        """
        parts = self.rows.read(tables, columns)
        weights = self.blobs.weights() if known is None else known.weights
        return Snapshot({**(known.parts if known else {}), **parts}, weights=weights, path=self._files.path)

    def _is_store(self) -> bool:
        return self._files.kind("store.json") == "file"

    def _refuse_other_folder(self) -> None:
        if self._files.kind("") == "file":
            raise ValueError(f"results folder {self.uri} is a file; allowed: a folder")
        inside = {entry.base_name for entry in self._files.inside("")}
        if inside - {"tmp"}:
            raise ValueError(
                f"{self.uri} is not empty and no results folder; allowed: a new folder or the --out of a run"
            )


@contextmanager
def _usable(uri: str, done: str) -> Iterator[None]:
    """Turn a fault of the storage into one line that names the folder."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"results folder {uri} cannot be {done}: {one_line(error)}") from None
