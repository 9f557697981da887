"""A claim: a sentence, where it stands, and the contrasts that decide it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rdstudy.study.bounds import MOST_NAME, MOST_TEXT
from rdstudy.study.checks import check_name, fail, set_field, text, words
from rdstudy.study.claims.contrasts import Arm, Contrast


@dataclass(frozen=True)
class Claim:
    """A statement that the tables can support or contradict.

    Attributes:
        name: letters, digits, `-` and `_`; its anchor on the page.
        sentence: what is claimed, in words.
        source: where it is claimed, such as "Paper, 4.4, Figure 3".
        contrasts: what must hold: all of them.
        figure: key of the figure of the page that shows it, `<experiment>-<figure>`; or an experiment's name.
    """

    name: str
    sentence: str
    source: str
    contrasts: Sequence[Contrast]
    figure: str = ""

    def __post_init__(self) -> None:
        check_name("claim", self.name)
        where = f"claim {self.name!r}"
        text(f"{where}: sentence", self.sentence, most=MOST_TEXT)
        for name in ("source", "figure"):
            set_field(self, name, words(f"{where}: {name}", getattr(self, name), most=MOST_NAME))
        given = self.contrasts
        if not isinstance(given, list | tuple) or not given or not all(isinstance(part, Contrast) for part in given):
            raise fail(f"claim {self.name!r}: contrasts", given, "a list of one or more contrasts")
        set_field(self, "contrasts", tuple(given))

    def flat(self) -> list[Contrast]:
        """Its contrasts, and all that they are made of."""
        return [part for contrast in self.contrasts for part in contrast.flat()]

    def with_splits(self, rename: Callable[[Arm], str]) -> "Claim":
        """It with every split under another name, see `Contrast.with_splits`."""
        return dataclasses.replace(self, contrasts=[contrast.with_splits(rename) for contrast in self.contrasts])

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data; `from_dict` reads it back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Claim":
        """The claim that `to_dict` wrote."""
        return cls(**{**data, "contrasts": [Contrast.from_dict(contrast) for contrast in data["contrasts"]]})
