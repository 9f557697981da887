"""What a store keeps beside its tables, as bytes: checkpoints, weights, logs, runs at work, images of one's own."""

import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from rdstudy.results.files import Files
from rdstudy.results.snapshot import stem
from rdstudy.study.sources import Source

_WEIGHTS = (".safetensors", ".bin")
"""How files of weights end: now, and in an earlier version."""


@dataclass(frozen=True)
class StoredWeights:
    """The bytes of a file of weights."""

    name: str  # below the store's folder
    path: str  # as messages name it
    content: bytes

    @property
    def is_old(self) -> bool:
        """Whether it is of the earlier version, whose files do not say whose weights they hold."""
        return self.name.endswith(_WEIGHTS[1])


class Blobs:
    """The files of a store that are no rows.

        checkpoints/<pack id>/<n>.bin     see `rdstudy.results.checkpoints`
        weights/<member>-<run>.safetensors     weights of a member, where they were to be kept; `.bin` from earlier
        logs/<study>-<started>.log     what a run said while it worked
        runs/<token>.json, .beat       who is at work, see `rdstudy.results.presence`
        datasets/<name>/<file>         images of one's own, for nodes that were not given them
        trackers/<study>/<trial>/<file>     what experiment trackers wrote: TensorBoard's files
        parts/<digest>/<file>          files of parts of one's own, for the record: never run unless the user says so
        tmp/<name>                     files that are being written, in a folder; buckets need none

    Who writes: checkpoints, the process that trains the pack; weights, the process that stores the run, and whoever
    trains a member again, to the same numbers, because its weights are damaged or were not kept; a log, files of
    trackers and those of a run at work, its driver, and whoever takes that run over; a data set, any process: its name
    says its contents; a file of a part, the driver of a run that trains with it, once: its folder is the hash of its
    bytes.

    Atomic: each file by itself.

    What survives a crash: weights are written before the rows of their run, so that rows never promise weights that are
    not there. A checkpoint is written before an older one is deleted, and all are deleted after the rows are stored.

    What never changes: weights, files of parts and of a data set that are whole; but weights of members that a person
    asks to forget go with their rows. Logs, checkpoints, files of trackers and of runs at work are replaced and
    deleted, and whoever lacks one loses time and no number.

    Args:
        files: of the store.
        check: holds the folder against the store's identity before each write, see `Store.check_folder`.
    """

    def __init__(self, files: Files, check: Callable[[], None]) -> None:
        self._files, self._check = files, check

    # --- checkpoints

    def checkpoint_names(self, pack_id: str) -> list[int]:
        """Numbers of the checkpoints of a pack, oldest first."""
        numbers = [stem(path) for path in self._files.names(f"checkpoints/{pack_id}", ".bin")]
        return sorted(int(number) for number in numbers if re.fullmatch(r"[1-9][0-9]{0,17}", number))

    def read_checkpoint(self, pack_id: str, number: int) -> bytes:
        """The bytes of one checkpoint."""
        return self._files.read(f"checkpoints/{pack_id}/{number}.bin")

    def write_checkpoint(self, pack_id: str, number: int, send: Callable[[pa.NativeFile], object]) -> None:
        """Keep one checkpoint as `send` writes it."""
        self._check()
        self._files.stream(f"checkpoints/{pack_id}/{number}.bin", send)

    def delete_checkpoint(self, pack_id: str, number: int) -> None:
        """Forget one checkpoint."""
        self._files.delete(f"checkpoints/{pack_id}/{number}.bin")

    def delete_checkpoints(self, pack_id: str) -> None:
        """Forget a pack's checkpoints; nothing happens where it has none."""
        self._files.delete_folder(f"checkpoints/{pack_id}")

    def checkpoint_packs(self) -> list[str]:
        """The packs that have checkpoints."""
        return sorted(entry.base_name for entry in self._files.inside("checkpoints") if not entry.is_file)

    # --- weights

    def write_weights(self, run_id: str, member_id: str, content: bytes) -> None:
        """Keep the weights that a member had at the end of a run."""
        self._check()
        self._files.write(f"weights/{member_id}-{run_id}{_WEIGHTS[0]}", content)

    def weights(self) -> list[str]:
        """Names of the weights that are kept, `<member_id>-<run_id>`; whether they are whole is seen on reading."""
        return sorted({stem(path) for path in self._files.names("weights", "") if path.endswith(_WEIGHTS)})

    def read_weights(self, run_id: str, member_id: str) -> StoredWeights:
        """The bytes that `write_weights` kept.

        Raises:
            FileNotFoundError: none are kept.
        """
        names = [f"weights/{member_id}-{run_id}{ending}" for ending in _WEIGHTS]
        for name in names:
            with suppress(FileNotFoundError):
                return StoredWeights(name, self._files.path(name), self._files.read(name))
        raise FileNotFoundError(f"{self._files.path(names[0])} is not there")

    def set_aside_weights(self, weights: StoredWeights) -> None:
        """Rename a file of weights that cannot be used to `<name>.damaged`."""
        self._check()
        self._files.move(weights.name, f"{weights.name}.damaged")

    def copy_aside_weights(self, weights: StoredWeights) -> None:
        """Keep the bytes of a file of weights that cannot be used as `<name>.damaged`; the file stays."""
        self._check()
        self._files.write(f"{weights.name}.damaged", weights.content)

    def delete_weights(self, weights: StoredWeights) -> None:
        """Delete a file of weights."""
        self._check()
        self._files.delete(weights.name)

    def forget_weights(self, member_ids: Collection[str]) -> None:
        """Delete the weights of some members, of all their runs."""
        self._check()
        for name in self._files.names("weights", ""):
            if name.endswith(_WEIGHTS) and stem(name).partition("-")[0] in member_ids:
                self._files.delete(name)

    # --- logs

    def write_log(self, study: str, started: str, text: str) -> str:
        """Keep what a run of a study has said so far, in place of what it had said before.

        Args:
            study: its name.
            started: when the run began, such that later is greater; what is no letter or digit is left out of it.
            text: all lines.

        Returns:
            The name of the log.
        """
        name = self.log_name(study, started)
        self._check()
        self._files.write(f"logs/{name}.log", text.encode())
        return name

    @staticmethod
    def log_name(study: str, started: str) -> str:
        """The name that `write_log` gives a log."""
        return f"{study}-{re.sub('[^A-Za-z0-9]', '', started)}"

    def logs(self, study: str) -> list[str]:
        """Names of the logs of a study, oldest first."""
        names = [stem(path) for path in self._files.names("logs", ".log")]
        return [name for name in names if name.rpartition("-")[0] == study]

    def read_log(self, name: str) -> str:
        """The lines of a log of `logs`."""
        return self._files.read(f"logs/{name}.log").decode()

    # --- experiment trackers

    def write_tracked(self, folder: str, name: str, file: Path) -> None:
        """Keep a copy of what a tracker wrote, in place of an earlier one."""
        self._check()
        self._files.upload(file, f"trackers/{folder}/{name}")

    # --- runs at work

    def run_tokens(self) -> list[str]:
        """Tokens of the runs that were put down."""
        return [stem(path) for path in self._files.names("runs", ".json")]

    def read_run_entry(self, token: str) -> str:
        """What a run said of itself."""
        return self._files.read(f"runs/{token}.json").decode(errors="replace")

    def write_run_entry(self, token: str, text: str) -> None:
        """Put a run down."""
        self._check()
        self._files.write(f"runs/{token}.json", text.encode())

    def read_beat(self, token: str) -> bytes:
        """The last sign of life of a run; empty where it gave none."""
        try:
            return self._files.read(f"runs/{token}.beat")
        except FileNotFoundError:
            return b""

    def write_beat(self, token: str, text: str) -> None:
        """Give a sign of life."""
        self._check()
        self._files.write(f"runs/{token}.beat", text.encode())

    def delete_run(self, token: str) -> None:
        """Take a run up again."""
        self._files.delete(f"runs/{token}.json")
        self._files.delete(f"runs/{token}.beat")

    # --- leftovers

    def temporary_files(self) -> list[str]:
        """Names of the files that are being written, or were when their process was killed."""
        return self._files.names("tmp", "")

    def delete_temporary(self, name: str) -> None:
        """Delete a file of `temporary_files`."""
        self._files.delete(name)

    # --- data sets

    def write_dataset(self, name: str, files: Mapping[str, Path]) -> None:
        """Keep the files of a data set whose name says its contents; those that are there, whole, stay as they are.

        Args:
            name: of the data set.
            files: file name -> where it is on this node; none where it is no data set of one's own.
        """
        if not files:
            return
        self._check()
        for base_name, file in files.items():
            if not self._files.holds(file, f"datasets/{name}/{base_name}"):
                self._files.upload(file, f"datasets/{name}/{base_name}")

    def dataset_files(self, name: str) -> list[str]:
        """Names of the files of a data set that are kept here."""
        return sorted(entry.base_name for entry in self._files.inside(f"datasets/{name}"))

    def fetch_dataset_file(self, name: str, base_name: str, file: Path) -> None:
        """Write a copy of a file of `dataset_files` to a path on this node."""
        self._files.download(f"datasets/{name}/{base_name}", file)

    # --- parts of one's own

    def write_part(self, source: Source) -> None:
        """Keep the file of a part, unless it is there."""
        if source.name not in self._part_files(source.digest):
            self._check()
            self._files.write(f"parts/{source.digest}/{source.name}", source.body)

    def part_source(self, digest: str) -> Source | None:
        """The file that is kept under this digest, whatever its bytes are now; None where none is."""
        names = self._part_files(digest)
        return Source(names[0], self._files.read(f"parts/{digest}/{names[0]}")) if names else None

    def _part_files(self, digest: str) -> list[str]:
        return sorted(entry.base_name for entry in self._files.inside(f"parts/{digest}") if entry.is_file)
