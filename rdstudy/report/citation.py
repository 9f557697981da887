"""How to cite what a page shows: the paper, this program and the study. Text and BibTeX; nothing here knows a result.

The paper's title is the one that is printed on it; the conference lists it with "Variational Autoencoders" in full.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import rdstudy

ADDRESS = "https://arxiv.org/abs/1911.04594"
_PROCEEDINGS = "https://proceedings.mlr.press/v130/bozkurt21a.html"
_CONFERENCE = "Proceedings of the 24th International Conference on Artificial Intelligence and Statistics"
_TITLE = "Rate-Regularization and Generalization in VAEs"
_AUTHORS = (
    ("Alican", "Bozkurt"),
    ("Babak", "Esmaeili"),
    ("Jean-Baptiste", "Tristan"),
    ("Dana H.", "Brooks"),
    ("Jennifer G.", "Dy"),
    ("Jan-Willem", "van de Meent"),
)

_ESCAPES = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_ESCAPES |= {letter: f"\\{letter}" for letter in "&%$#_{}"}


@dataclass(frozen=True)
class Citation:
    """Something to cite.

    Attributes:
        name: what it is, as a heading.
        words: as a list of references has it.
        address: on the network; empty where it has none.
        bibtex: an entry.
    """

    name: str
    words: str
    address: str
    bibtex: str


PAPER = Citation(
    name="The paper",
    words=(
        f"{', '.join(' '.join(author) for author in _AUTHORS[:-1])} and {' '.join(_AUTHORS[-1])}. {_TITLE}. "
        f"{_CONFERENCE} (AISTATS) 2021, PMLR 130; arXiv:1911.04594."
    ),
    address=ADDRESS,
    bibtex="\n".join(
        (
            "@inproceedings{bozkurt2021rate,",
            "  title = {Rate-Regularization and Generalization in {VAEs}},",
            f"  author = {{{' and '.join(f'{last}, {first}' for first, last in _AUTHORS)}}},",
            f"  booktitle = {{{_CONFERENCE}}},",
            "  series = {Proceedings of Machine Learning Research},",
            "  volume = {130},",
            "  publisher = {PMLR},",
            "  year = {2021},",
            "  eprint = {1911.04594},",
            "  archiveprefix = {arXiv},",
            f"  url = {{{_PROCEEDINGS}}}",
            "}",
        )
    ),
)
"""Bozkurt, Esmaeili et al. 2021."""

SHORT_PAPER = f"Bozkurt, Esmaeili et al., {_TITLE} (AISTATS 2021)"
"""The paper in a line."""


def software() -> Citation:
    """This program, in the version that makes the page."""
    words = f"rdstudy {rdstudy.__version__}: rate-distortion studies of variational autoencoders."
    fields = {
        "title": "rdstudy: rate-distortion studies of variational autoencoders",
        "version": rdstudy.__version__,
        "note": "Computer program",
    }
    return Citation("The program", words, "", _entry("misc", "rdstudy", fields))


def study_citation(
    *, name: str, title: str, authors: str, year: int | None, command: str, code_version: str
) -> Citation:
    """A study, as it was declared and run.

    Args:
        name: of the study.
        title: the heading of its page.
        authors: who made it; empty where it does not say.
        year: of its last result; None where there is none.
        command: that runs it; empty where it is not known.
        code_version: that trained its models; empty where it is not known.
    """
    made = f"made by {' '.join(command.split())}" if command else ""
    version = f"code version {code_version}" if code_version else ""
    known = ", ".join(part for part in (made, version) if part)
    heading = title if title.endswith((".", "?", "!")) else f"{title}."
    facts = ", ".join(part for part in (f"Study {name}", known, str(year or "")) if part)
    words = f"{f'{authors}. ' if authors else ''}{heading} {facts}."
    note = ", ".join(part for part in (f"rdstudy study {name}", known) if part)
    fields = {"author": authors, "title": title, "year": str(year or ""), "note": note}
    return Citation("This study", words, "", _entry("misc", f"study-{name}", fields))


def _entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    """A BibTeX entry of the fields that are known."""
    lines = [f"  {field} = {{{_escaped(value)}}}" for field, value in fields.items() if value]
    return f"@{kind}{{{key},\n" + ",\n".join(lines) + "\n}"


def _escaped(value: str) -> str:
    """Text that LaTeX prints as it is, with balanced braces."""
    return re.sub(r"[\\~^&%$#_{}]", lambda letter: _ESCAPES[letter[0]], value)
