"""Damage to a results folder, as disks, clouds' clients and people do it."""

import itertools
import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

GARBAGE = b"\x00\xffnot what you expect\r\n" * 7

JSON_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**30,
    1e308,
    "",
    "x",
    "../../x",
    [],
    {},
    [None],
    {"x": {}},
    "é\u202e",
)

JSON_TEXTS = (
    b"",
    b"[]",
    b"null",
    b"1",
    b'"x"',
    b"{}",
    b"{",
    b'{"version": 99}',
    b'{"format": "rdstudy results", "version": 99, "id": "x"}',
    b'{"format": "rdstudy results", "version": "1", "id": 7}',
    b'{"format": "something else", "version": 1, "id": "x"}',
    b"\xef\xbb\xbf{}",
    b"NaN",
    b"\xff\xfe",
    b"[" * 20_000,
    b'{"id": 1e999}',
)

STRAYS = (
    ".DS_Store",
    "Thumbs.db",
    "members/notes.txt",
    "members/.hidden.parquet",
    "members/empty.parquet",
    "checkpoints/junk",
    "checkpoints/0123456789abcdef/abc.bin",
    "checkpoints/0123456789abcdef/7 (copy).bin",
    "checkpoints/0123456789abcdef/7.bin",
    "tmp/0123456789abcdef",
    "tmp/folder/x",
    "weights/x.bin",
    "logs/x.log",
    "logs/fuzz-x.log",
    "studies/x.json",
    "studies/.x.json",
    "studies/fuzz (copy).json",
    "datasets/x/y",
    "runs/x.json",
    "unheard-of/x",
)
"""Files that nobody asked for."""

OTHER_TABLES = (
    pa.table({}),
    pa.table({"x": [1]}),
    pa.table({"member_id": [1, 2]}),
    pa.table({"member_id": [["a"]], "run_id": [{"a": 1}]}),
    pa.table({"member_id": pa.array([None, None], pa.string()), "run_id": ["a", "b"], "outcome": ["ok", "what"]}),
    pa.table({"member_id": ["x"] * 3, "run_id": ["y"] * 3, "outcome": [None] * 3, "subset": ["train"] * 3}),
)
"""Good Parquet files that are none of ours."""


@dataclass(frozen=True)
class Damage:
    """One damage.

    Attributes:
        kind: a key of `KINDS`.
        seed: which file, and whatever else is drawn.
    """

    kind: str
    seed: int

    def apply(self, folder: Path) -> None:
        """Do it."""
        KINDS[self.kind](folder, random.Random(self.seed))

    def __str__(self) -> str:
        return f"Damage({self.kind!r}, {self.seed}).apply(results folder)"


def files_of(folder: Path, ending: str = "") -> list[Path]:
    """Files below a folder in an order that does not depend on names drawn at random: by place and size."""
    files = [path for path in folder.rglob(f"*{ending}") if path.is_file()]
    return sorted(files, key=lambda path: (path.relative_to(folder).parts[:-1], path.stat().st_size, path.name))


def _any(folder: Path, draw: random.Random, ending: str = "") -> Path:
    """One file, of a subfolder drawn first: there are many rows and one declaration."""
    groups = [list(group) for _, group in itertools.groupby(files_of(folder, ending), key=lambda path: path.parent)]
    return draw.choice(draw.choice(groups)) if groups else folder / "store.json"


def _garbage(folder: Path, draw: random.Random) -> None:
    _any(folder, draw).write_bytes(draw.choice((b"", b"\n", GARBAGE, draw.randbytes(997), b"PAR1" * 5)))


def _truncated(folder: Path, draw: random.Random) -> None:
    path = _any(folder, draw)
    path.write_bytes(path.read_bytes()[: draw.randrange(max(1, path.stat().st_size))])


def flip_bits(content: bytes, draw: random.Random) -> bytes:
    """Up to five bits turned."""
    flipped = bytearray(content or b"\x00")
    for _ in range(draw.randint(1, 5)):
        flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
    return bytes(flipped)


def _flipped(folder: Path, draw: random.Random) -> None:
    path = _any(folder, draw)
    path.write_bytes(flip_bits(path.read_bytes(), draw))


def fill_with_zeros(content: bytes, draw: random.Random) -> bytes:
    """A block, or all of it, is zeros: what a journal leaves after a loss of power."""
    start = draw.choice((0, draw.randrange(max(1, len(content)))))
    return content[:start] + bytes(len(content) - start)


def _zeroed(folder: Path, draw: random.Random) -> None:
    path = _any(folder, draw)
    path.write_bytes(fill_with_zeros(path.read_bytes(), draw))


def _swapped(folder: Path, draw: random.Random) -> None:
    first, second = _any(folder, draw), _any(folder, draw)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def _another_table(folder: Path, draw: random.Random) -> None:
    pq.write_table(draw.choice(OTHER_TABLES), _any(folder, draw, ".parquet"))


def _copied(folder: Path, draw: random.Random) -> None:
    path = _any(folder, draw)
    names = (
        f"{path.stem} (copy){path.suffix}",
        f"{path.stem} (Anna's conflicted copy 2026-01-01){path.suffix}",
        f"._{path.name}",
        f".~lock.{path.name}#",
        f"{path.name}.bak",
        f"Copy of {path.name}",
        f"{path.stem}-1{path.suffix}",
    )
    shutil.copyfile(path, path.with_name(draw.choice(names)))


def _deleted(folder: Path, draw: random.Random) -> None:
    _any(folder, draw).unlink()


def _folder_in_its_place(folder: Path, draw: random.Random) -> None:
    path = _any(folder, draw)
    path.unlink()
    path.mkdir()
    (path / "x").write_bytes(b"x")


def _link_in_its_place(folder: Path, draw: random.Random) -> None:
    path = _any(folder, draw)
    path.unlink()
    path.symlink_to(draw.choice(("nowhere", path.name, "/dev/null")))


def _stray(folder: Path, draw: random.Random) -> None:
    path = folder / draw.choice(STRAYS)
    if path.parent.is_file():
        path.parent.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(draw.choice((b"", GARBAGE)))


def _file_for_folder(folder: Path, draw: random.Random) -> None:
    path = draw.choice(sorted(path for path in folder.iterdir() if path.is_dir()))
    shutil.rmtree(path)
    path.write_bytes(b"x")


def _other_json(folder: Path, draw: random.Random) -> None:
    _any(folder, draw, ".json").write_bytes(draw.choice(JSON_TEXTS))


def _odd_json(folder: Path, draw: random.Random) -> None:
    """The same JSON with one value replaced, or one key gone."""
    path = _any(folder, draw, ".json")
    tree = json.loads(path.read_bytes()) or {"": 0}
    node = tree
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw.choice(keys)
        deeper = node[key]
        if isinstance(deeper, dict | list) and deeper and draw.random() < 0.7:
            node = deeper
            continue
        if draw.random() < 0.3:
            del node[key]
        else:
            node[key] = draw.choice(JSON_VALUES)
        break
    path.write_text(json.dumps(tree))


KINDS = {
    "garbage": _garbage,
    "truncated": _truncated,
    "bits flipped": _flipped,
    "zeros": _zeroed,
    "swapped": _swapped,
    "another table": _another_table,
    "copied": _copied,
    "deleted": _deleted,
    "a folder in its place": _folder_in_its_place,
    "a link in its place": _link_in_its_place,
    "stray file": _stray,
    "a file for a folder": _file_for_folder,
    "other JSON": _other_json,
    "odd JSON": _odd_json,
}

MENDED = ("garbage", "truncated", "bits flipped", "zeros", "swapped", "copied", "stray file", "other JSON", "odd JSON")
"""After these a run that ends well has made the tables what they were. Who deletes a file, or puts another good one in
its place, may get other tables."""
