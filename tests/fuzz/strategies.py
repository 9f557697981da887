"""Hypothesis strategies over cases: study files, `--set`, command lines, results folders."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from rdstudy.study.settings import Evaluation, Measures, Recipe, Resources
from tests.fuzz import odd
from tests.fuzz.cases import STUDY, Case
from tests.fuzz.damage import KINDS, Damage
from tests.fuzz.odd import RESULTS
from tests.fuzz.parts import CALLS, PARTS, study_text

_SETTINGS = {"recipe": Recipe, "evaluation": Evaluation, "measures": Measures, "resources": Resources}


def cases() -> Mapping[str, st.SearchStrategy[Case]]:
    """Kind of input -> cases of it."""
    return {"study": _studies(), "set": _settings(), "command": _commands(), "folder": _folders()}


@st.composite
def _studies(draw: Any) -> Case:
    parts = {call: dict(arguments) for call, arguments in PARTS.items()}
    lines: list[str] = []
    junk = None
    for _ in range(draw(st.sampled_from((1, 1, 1, 2)))):
        how = draw(st.sampled_from(("value", "value", "value", "value", "gone", "unknown", "statement", "bytes")))
        call = draw(st.sampled_from([*CALLS]))
        argument = draw(st.sampled_from([*parts[call]] or ["name"]))
        if how == "value":
            parts[call][argument] = draw(st.sampled_from(odd.EXPRESSIONS))
        elif how == "gone":
            parts[call].pop(argument, None)
        elif how == "unknown":
            parts[call][draw(st.sampled_from(("nothing", "Name", "betas", "lr")))] = "1"
        elif how == "statement":
            lines.append(draw(st.sampled_from(odd.STATEMENTS)))
        else:
            junk = draw(st.sampled_from(odd.BYTES))
    text = odd.DEFINITIONS + study_text(parts)
    for line in lines:
        text = f"{line}\n{text}" if draw(st.booleans()) and "STUDY" not in line else f"{text}{line}\n"
    if junk is not None:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + junk + text[at:]
    return Case("study", "run", [STUDY, *draw(_how_far()), "--out", draw(st.sampled_from((RESULTS, "new")))], text)


def _how_far() -> st.SearchStrategy[Sequence[str]]:
    """Mostly a plan; else a run that ends in order after seconds, however long its members would take."""
    short = ("--local", "--max-hours", "0.001")
    return st.sampled_from((*[("--plan",)] * 5, *[(*short, "--no-report")] * 4, short))


@st.composite
def _settings(draw: Any) -> Case:
    known = [f"{part}.{field.name}" for part, kind in _SETTINGS.items() for field in dataclasses.fields(kind)]
    words: list[str] = []
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        name = (
            draw(st.sampled_from(odd.SETTINGS_NAMES)) if draw(st.integers(0, 9)) == 0 else draw(st.sampled_from(known))
        )
        text = draw(st.sampled_from(odd.SETTINGS_TEXT))
        equals = draw(st.sampled_from(("=", "=", "=", "=", " = ", "")))
        words += ["--set", f"{name}{equals}{text}"]
    return Case("set", "run", [STUDY, *draw(_how_far()), *words, "--out", draw(st.sampled_from((RESULTS, "new")))])


@st.composite
def _commands(draw: Any) -> Case:
    module = draw(st.sampled_from(("run", "run", "run", "report", "retrain")))
    place = st.sampled_from(odd.PLACES)
    name = st.sampled_from(odd.NAMES)
    if module == "retrain":
        return Case("command", module, [draw(place), draw(name)])
    if module == "report":
        return Case("command", module, [draw(st.one_of(st.just(RESULTS), place)), *draw(_report_options())])
    start = draw(
        st.sampled_from((["--plan"], ["--local"], ["--local"], ["--address", draw(st.sampled_from(odd.ADDRESSES))]))
    )
    words = [draw(st.one_of(st.just(STUDY), st.just(STUDY), st.sampled_from(odd.STUDY_FILES))), *start]
    out = draw(st.one_of(st.just(RESULTS), place, place))
    words += draw(st.sampled_from((["--out", out], [f"--out={out}"])))
    number = st.sampled_from(odd.NUMBERS)
    options = {
        "--only": name,
        "--member": name,
        "--max-hours": number,
        "--max-cost": number,
        "--set": st.sampled_from(("recipe.steps=11", "x", "recipe.steps", "resources.price=1", "seed=7")),
        "--address": st.sampled_from(odd.ADDRESSES),
    }
    for option in draw(st.lists(st.sampled_from([*options]), max_size=3)):
        words += [option, draw(options[option])]
    words += draw(
        st.lists(
            st.sampled_from(("--plan", "--no-report", "--nothing", "-x", "extra", "--local=1", "--plan", "--only")),
            max_size=1,
        )
    )
    return Case("command", module, words)


@st.composite
def _report_options(draw: Any) -> list[str]:
    place, name = st.sampled_from(odd.HARMLESS_PLACES), st.sampled_from(odd.NAMES)
    options = {
        "--study": name,
        "--out": place,
        "--figures": place,
        "--format": st.sampled_from(("svg", "png", "SVG", "", "json")),
        "--nothing": name,
    }
    words: list[str] = []
    for option in draw(st.lists(st.sampled_from([*options]), max_size=3, unique=True)):
        words += [option, draw(options[option])]
    return words


@st.composite
def _folders(draw: Any) -> Case:
    kinds = st.builds(Damage, st.sampled_from([*KINDS]), st.integers(0, 2**16))
    damage = draw(st.lists(kinds, min_size=1, max_size=draw(st.sampled_from((1, 1, 1, 2)))))
    words = draw(
        st.sampled_from(
            (
                *[("run", [STUDY, "--local", "--no-report", "--out", RESULTS])] * 4,
                ("run", [STUDY, "--local", "--out", RESULTS]),
                ("run", [STUDY, "--plan", "--out", RESULTS]),
                ("report", [RESULTS]),
                ("report", [RESULTS, "--study", "fuzz", "--figures", "figures"]),
                ("retrain", [RESULTS, "MEMBER"]),
            )
        )
    )
    return Case("folder", words[0], words[1], damage=tuple(damage))
