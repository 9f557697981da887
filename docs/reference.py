"""What the code says of itself, for the pages: columns, measures, contrasts, settings.

python docs/reference.py            print it
python docs/reference.py --write    put each part into its page, in place of the one there
"""

import ast
import inspect
import itertools
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from rdstudy.notebook.columns import meanings
from rdstudy.report.methods import methods_of
from rdstudy.report.read import StudyTables
from rdstudy.results import schema
from rdstudy.results.declaration import History
from rdstudy.study import Evaluation, Experiment, Measures, Member, Study, claims
from rdstudy.study.claims import contrasts
from rdstudy.study.settings import MEANINGS
from rdstudy.study.study import SETTABLE

FOLDER = Path(__file__).parent


def tables_part() -> str:
    """Every table, with its key and its columns."""
    words = _documented(schema)
    parts = []
    for name, table in schema.TABLES.items():
        rows = [(f"`{column}`", table.field(column).type, text) for column, text in meanings(name).items()]
        key = ", ".join(f"`{column}`" for column in schema.KEYS[name])
        parts += [
            f"## `{name}`",
            f"{words[name.upper()]} Of those that are read, no two agree in {key}.",
            _table(("column", "type", "meaning"), rows),
        ]
    return "\n\n".join(parts)


def _documented(module: ModuleType) -> dict[str, str]:
    """Constant of a module -> the text below it."""
    pairs = itertools.pairwise(ast.parse(inspect.getsource(module)).body)
    return {
        named.targets[0].id: " ".join(words.value.value.split())
        for named, words in pairs
        if isinstance(named, ast.Assign) and isinstance(named.targets[0], ast.Name)
        if isinstance(words, ast.Expr) and isinstance(words.value, ast.Constant) and isinstance(words.value.value, str)
    }


def contrasts_part() -> str:
    """What a claim is made of: contrasts, and the values that they compare."""
    functions = {name: getattr(claims, name) for name in claims.__all__ if inspect.isfunction(getattr(claims, name))}
    rows = [
        (f"`{name}({', '.join(inspect.signature(function).parameters)})`", _before_arguments(function))
        for name, function in functions.items()
    ]
    values = re.findall(r"^    ([a-z_]+(?:, [a-z_]+)*)\s+((?:.|\n {38})*)", contrasts.__doc__ or "", re.MULTILINE)
    said = [(", ".join(f"`{name}`" for name in names.split(", ")), " ".join(text.split())) for names, text in values]
    return "\n\n".join(
        [
            "## Contrasts",
            _table(("contrast", "holds where"), rows),
            "## Values",
            "In nats per image unless a name says otherwise, and compared above the floor of their own images.",
            _table(("value", "meaning"), said),
        ]
    )


def _before_arguments(function: Callable[..., object]) -> str:
    return " ".join((inspect.getdoc(function) or "").partition("Args:")[0].split())


def measures_part() -> str:
    """A section for each measure, as a page has it."""
    sections = []
    for method in methods_of(_study()):
        source = f"*{method.source}.*" if method.source else ""
        formula = f"> {method.formula}" if method.formula else ""
        sections += [f"### {method.name}", method.words, formula, f"{method.estimate} {source}".strip()]
    return "\n\n".join(filter(None, sections))


def _study() -> StudyTables:
    """The tables of a study that measures all there is, with the default settings: of values, only counts matter."""
    grid: dict[str, Any] = {
        "dataset": ["tetrominoes"],
        "split": ["cv(8192)", "cv(16384)"],
        "prior": ["normal", "flow(layers=4)"],
        "likelihood": ["bernoulli", "gaussian"],
        "objective": ["beta", "no_marginal_kl", "no_mutual_information"],
        "beta": [1],
        "seed": range(5),
    }
    experiment = Experiment("all", grid)
    study = Study("all", [experiment], evaluation=Evaluation(validation_images=1_000))
    empty = pd.DataFrame()
    return StudyTables(
        uri="",
        name="",
        title="",
        description="",
        command="",
        declared={},
        history=History(),
        seed=0,
        settings=(),
        experiments=(),
        claims=(claims.Claim("any", "Any.", "", [claims.monotone({"depth": 1})]),),
        planned=_planned(experiment.members(study)),
        members=_subsets(study, outcome="ok", stop_step=1, validation_images=study.evaluation.validation_images),
        trajectories=_trajectories(study.evaluation),
        examples=empty,
        measures=_measured(study),
        own_measures=pd.DataFrame({"value": []}),
        probes=pd.DataFrame({"dataset": "tetrominoes", "image": range(study.measures.probe_images)}),
        reconstructions=empty,
        samples=schema.SAMPLES.empty_table(),
        neighbours=_neighbours(study.measures),
        damaged=(),
        copies=(),
        outdated=0,
    )


def _planned(members: Iterable[Member]) -> pd.DataFrame:
    names = [name for name in schema.SETTINGS if name not in Evaluation.__dataclass_fields__]
    rows = [[member.member_id, *(member.level(name) for name in names)] for member in members]
    return pd.DataFrame(rows, columns=["member_id", *names])


def _subsets(study: Study, **values: Any) -> pd.DataFrame:
    """A row of the training and one of the test images of `cv(16384)`."""
    train, test = 16_384, 163_840 - 16_384 - study.evaluation.validation_images
    return pd.DataFrame({"subset": ["train", "test"], "images": [train, test]}).assign(**values)


def _trajectories(evaluation: Evaluation) -> pd.DataFrame:
    points = pd.DataFrame({"step": range(evaluation.trajectory_points), "images": evaluation.trajectory_images})
    return points.merge(pd.DataFrame({"subset": ["train", "test"], "member_id": "any"}), how="cross")


def _measured(study: Study) -> pd.DataFrame:
    rows, asked = _subsets(study, **dict.fromkeys(schema.MEASURES.names[3:], 1)), study.measures
    of_test = {
        "memorization_images": asked.memorization_images,
        "memorization_controls": rows["images"][0],
        "annealing_images": asked.annealing_images,
    }
    both = {name: getattr(asked, name) for name in ("latent_samples", "importance_images", "importance_samples")}
    return rows.assign(aggregate_images=rows["images"], **both, **{name: [None, n] for name, n in of_test.items()})


def _neighbours(asked: Measures) -> pd.DataFrame:
    key: dict[str, Any] = {"dataset": "tetrominoes", "split": "cv(16384)", "study_seed": 0}
    return pd.DataFrame({"image": range(asked.neighbour_images), "distance": 1.0}).assign(**key)


def settings_part() -> str:
    """What `--set` takes."""
    rows = [(f"`{name}`", _default(name, each.default), each.meaning) for name, each in SETTABLE.items()]
    return _table(("setting", "default", "meaning"), rows)


def _default(name: str, value: object) -> str:
    """A default, and what it means where it does not say so itself."""
    if isinstance(value, tuple):
        return ", ".join(value)
    words = MEANINGS.get((name, value), "")
    return words if words.startswith(f"{value}") else ": ".join(filter(None, [f"{value}", words]))


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    lines = [[str(cell).replace("|", "\\|") for cell in row] for row in [tuple(head), *rows]]
    written = [f"| {' | '.join(cells)} |" for cells in lines]
    return "\n".join([written[0], "|---" * len(lines[0]) + "|", *written[1:]])


PARTS: Mapping[str, tuple[str, Callable[[], str]]] = {
    "contrasts": ("claims.md", contrasts_part),
    "measures": ("measures.md", measures_part),
    "settings": ("settings.md", settings_part),
    "tables": ("tables.md", tables_part),
}
"""Name of a part -> its page, and what writes it."""


def with_part(page: str, name: str, part: str) -> str:
    """A page with a part in the place of the one that it has."""
    begin, end = f"<!-- by docs/reference.py: {name} -->\n", "<!-- end -->\n"
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n{part}\n\n{end}{rest.partition(end)[2]}"


def main() -> None:
    """Print the parts, or write them into their pages."""
    for name, (page, write) in PARTS.items():
        path = FOLDER / page
        if sys.argv[1:] == ["--write"]:
            path.write_text(with_part(path.read_text(), name, write()))
        else:
            print(write(), "<!-- end -->", sep="\n")


if __name__ == "__main__":
    main()
