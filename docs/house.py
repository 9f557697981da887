"""Draw the house: the rooms of the package and who imports whom, in Mermaid, for `docs/architecture.md`.

python docs/house.py            print the picture
python docs/house.py --write    put it into docs/architecture.md, in place of the one there
"""

import re
import sys
from pathlib import Path

import grimp

PAGE = Path(__file__).with_name("architecture.md")
_PICTURE = re.compile(r"```mermaid\n.*?^```\n", re.DOTALL | re.MULTILINE)


def picture() -> str:
    """The rooms and their imports, without those that follow from others."""
    graph = grimp.build_graph("rdstudy")
    rooms = sorted(graph.find_children("rdstudy"))
    below = {room: {other for other in rooms if other != room and _imports(graph, room, other)} for room in rooms}
    lines = ["```mermaid", "flowchart TD"]
    for room in rooms:
        # A room that one below imports too is reached through that one.
        through = {far for near in below[room] for far in _reached(near, below)}
        lines += [f"    {_name(room)} --> {_name(other)}" for other in sorted(below[room] - through)]
    return "\n".join([*lines, "```", ""])


def _imports(graph: grimp.ImportGraph, room: str, other: str) -> bool:
    return graph.direct_import_exists(importer=room, imported=other, as_packages=_are_packages(graph, room, other))


def _are_packages(graph: grimp.ImportGraph, *rooms: str) -> bool:
    return any(graph.find_children(room) for room in rooms)


def _reached(room: str, below: dict[str, set[str]]) -> set[str]:
    return below[room] | {far for near in below[room] for far in _reached(near, below)}


def _name(room: str) -> str:
    return room.partition(".")[2]


def main() -> None:
    """Print the picture, or write it."""
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(_PICTURE.sub(lambda _: picture(), PAGE.read_text()))
    else:
        print(picture(), end="")


if __name__ == "__main__":
    main()
