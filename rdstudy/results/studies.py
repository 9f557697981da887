"""The declarations of the studies of a store as files."""

import errno
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from rdstudy.results.declaration import Declaration
from rdstudy.results.files import Files
from rdstudy.study.checks import did_you_mean
from rdstudy.study.words import one_line


class Declarations:
    """The declarations of the studies of a store: `studies/<study>.json`.

    Who writes: each run of the study, once, before it trains. Two that do so at the same moment leave one of the two
    declarations, and the change that the other one made is not in its history.

    Atomic: a file. What survives a crash: the old declaration or the new one.

    What never changes: when a study was first declared, and each change that was noted. A file that cannot be read is
    renamed to `<study>.json.damaged`, and the next declaration says that its history is lost.

    Args:
        files: of the store.
        check: holds the folder against the store's identity before each write, see `Store.check_folder`.
    """

    def __init__(self, files: Files, check: Callable[[], None]) -> None:
        self._files, self._check = files, check

    def names(self) -> list[str]:
        """Names of the studies declared here."""
        return [name.removeprefix("studies/").removesuffix(".json") for name in self._files.names("studies", ".json")]

    def read(self, study: str) -> Declaration:
        """The declaration of a study.

        Raises:
            ValueError: no such study, or its file is damaged.
        """
        name = f"studies/{study}.json"
        try:
            return Declaration.from_json(self._files.read(name), path=self._files.path(name))
        except FileNotFoundError:
            names = self.names()
            hint, allowed = did_you_mean(study, names), ", ".join(names) or "none yet"
            raise ValueError(f"study {study!r} is not in {self._files.place}{hint}; allowed: {allowed}") from None

    def readable(self) -> dict[str, Declaration]:
        """Name -> declaration, of those that are not damaged."""
        declarations = {}
        for study in self.names():
            with suppress(ValueError):
                declarations[study] = self.read(study)
        return declarations

    def declare(self, declaration: Declaration, *, at: datetime | None = None) -> str:
        """Keep a declaration, its own history left out, in place of an earlier one of that name, whose history goes on.

        Returns:
            What its user must know: that the earlier one was damaged and is set aside. Empty otherwise.
        """
        self._check()
        name, said, earlier = f"studies/{declaration.name}.json", "", None
        try:
            content = self._files.read(name)
            earlier = Declaration.from_json(content, path=self._files.path(name))
        except FileNotFoundError:
            content = b""
        except (ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.EIO:
                raise
            self._files.move(name, f"{name}.damaged")
            reason = one_line(error).partition("; ")[0]
            said = f"{reason}: set aside as {name}.damaged; since when the study is declared is lost with it"
        time = (at or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
        text = declaration.after(earlier, at=time, lost=bool(said)).to_json().encode()
        if text != content:
            self._files.write(name, text)
        return said
