"""Measures and figures of one's own: what is stored, claimed and drawn of them, and by whom their code is run."""

import re
from pathlib import Path

import altair as alt
import numpy as np
import pytest

import rdstudy
from rdstudy.datasets import dataset_info
from rdstudy.datasets.splits import make_split, parse_rule
from rdstudy.report.__main__ import main as main_of_report
from rdstudy.run import main
from rdstudy.study import Measures
from rdstudy.study.sources import Source, keep_source
from tests.running.test_own_parts import folder, forget, run  # noqa: F401
from tests.test_run import STUDY, table

MEASURES = """
from pathlib import Path

Path("marker").touch()
UNIT = "of white"
IMAGES = 31

def brightness(model, images, *, power: float = 1.0):
    return (images ** power).mean(dim=1)

def codes(model, images):
    return model.encoder(images).square().sum(dim=1)

def broken(model, images):
    return images.mean()

def together(model, images):
    return images.mean(dim=1) - images.mean()

def infinite(model, images):
    return images.mean(dim=1) / 0
"""
FIGURES = """
import pandas as pd
from pathlib import Path

from rdstudy.report.figure import FigureKind
from rdstudy.report.theme import Spec

Path("marker").touch()

def rates():
    def chart(experiment, table):
        return Spec({"mark": "point", "data": {"values": table.to_dict("records")}, "encoding": {}})

    def points(experiment):
        return experiment.points[["beta", "rate"]]

    return FigureKind("rates", "Rates in a row", "models", points, chart, "Says the user.")

def broken():
    raise KeyError("no")
"""


def write(names: str = "[]", figures: str = "[]", claims: str = "[]", measures: str = MEASURES) -> None:
    text = STUDY.replace("import Evaluation", "import part, Evaluation").replace("names=[]", f"names={names}")
    text = text.replace('"few",', f'"few",\n            figures={figures},').replace(
        "measures=Meas", f"claims={claims},\n    measures=Meas"
    )
    text = text.replace("[1, 2]", "[1]").replace(
        "from rdstudy",
        "from rdstudy.study.claims import Claim\nfrom rdstudy.study.claims.contrasts import falls\nfrom rdstudy",
        1,
    )
    Path("tiny.py").write_text(text)
    Path("measures.py").write_text(measures)
    Path("figures.py").write_text(FIGURES)


def report(*options: str) -> str:
    forget()
    assert main_of_report(["out", "--out", "page.html", *options]) == 0
    return re.sub(r"<script.*?</script>", "", Path("page.html").read_text(), flags=re.DOTALL)


def test_a_measure_is_its_mean_over_a_sample_of_each_subset_with_its_error():
    write('[part("measures.py:brightness", power=2), part("measures.py:codes")]')
    assert run() == 0
    rows = table("own_measures")
    assert {(row["name"], row["subset"], row["unit"], row["images"]) for row in rows} == {
        (name, subset, "of white", 31) for name in ("brightness(power=2.0)", "codes") for subset in ("train", "test")
    }
    assert len(rows) == 2 * 2 * 2
    data = dataset_info("tetrominoes").load()
    split = make_split(parse_rule("cv(97)"), dataset="tetrominoes", images=len(data.images), factors=None, study_seed=0)
    squares = np.square(data.images[split.train] / 255.0).mean(axis=(1, 2, 3))
    bright = [row for row in rows if row["name"].startswith("bright") and row["subset"] == "train"]
    assert len({row["value"] for row in bright}) == 1  # the same images for all members
    assert abs(bright[0]["value"] - squares.mean()) < 4 * bright[0]["value_se"]
    assert bright[0]["value_se"] == pytest.approx(squares.std() / np.sqrt(31), rel=0.5)
    assert len({row["value"] for row in rows if row["name"] == "codes" and row["subset"] == "train"}) == 2


def test_a_claim_about_a_measure_is_judged_in_its_unit_and_the_measure_is_drawn():
    claim = 'Claim("dark", "Less is more.", "", [falls({"depth": 1}, value="own:codes", subset="test")])'
    write('[part("measures.py:codes")]', claims=f"[{claim}]", figures='["own-measures"]')
    assert run() == 0
    page = report()
    assert "Measures of this study" in page
    assert "Less is more." in page
    assert "codes in of white" in Path("page.html").read_text()
    alt.TopLevelSpec.validate(rdstudy.figure("out", "own-measures").to_dict(validate=False))


def test_a_claim_about_a_measure_that_is_not_taken_is_refused(capsys):
    claim = 'Claim("dark", "Less is more.", "", [falls({"depth": 1}, value="own:none", subset="test")])'
    write('[part("measures.py:codes")]', claims=f"[{claim}]")
    assert run() == 2
    assert "value is 'own:none'; allowed: own measures: codes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "measures", "expected"),
    [
        ("codes", MEASURES.replace("UNIT", "UNITS"), "UNIT is None; allowed: a constant of the file"),
        ("broken", MEASURES, "it gives []; allowed: a number an image, [2]"),
        ("together", MEASURES, "its value of an image depends on the others"),
        ("none", MEASURES, "allowed: what the file defines: brightness, codes, broken, together, infinite"),
    ],
)
def test_a_measure_that_is_none_is_one_line_before_anything_starts(name, measures, expected, capsys):
    write(f'[part("measures.py:{name}")]', measures=measures)
    assert run("--plan") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


def test_a_measure_without_finite_values_is_a_reason_and_no_row():
    write('[part("measures.py:infinite")]')
    assert run() == 0
    assert table("own_measures") == []
    assert {row["null_reasons"] for row in table("measures")} == {"infinite: 31 of 31 values are not finite"}


def test_two_measures_of_one_name_are_refused():
    first, second = (keep_source(Source("measures.py", body)) for body in (b"def f(m, x): 1", b"def f(m, x): 2"))
    with pytest.raises(
        ValueError, match=r"measures\.names is 'f'; allowed: measures of one's own with different names"
    ):
        Measures(names=[f"f@{first.digest}", f"f@{second.digest}"])


def test_settings_without_measures_of_ones_own_are_what_they_were():
    assert Measures().measures_id == "3b19e8fff6c08cee"
    assert Measures(names=["probe", "rate_parts"]).names == ("rate_parts", "probe")


def test_a_figure_is_drawn_by_its_own_run_and_later_only_where_its_code_is_trusted(capsys):
    write(figures='["distortion", part("figures.py:rates")]')
    assert main(["tiny.py", "--local", "--out", "out"]) == 0
    assert "Rates in a row" in Path("reports/tiny.html").read_text()
    assert "Says the user." in Path("reports/tiny.html").read_text()
    Path("marker").unlink()
    page = report()
    assert "Rates in a row" not in page
    assert "Figure rates: its code is not here." in page
    assert not Path("marker").exists()
    assert "Rates in a row" in report("--trust-code")
    assert Path("marker").exists()
    (digest,) = (path.name for path in Path("out", "parts").iterdir())
    Path("out", "parts", digest, "figures.py").write_text("raise SystemExit(0)")
    forget()
    assert main_of_report(["out", "--trust-code"]) == 2
    assert f"allowed: {digest}" in capsys.readouterr().err


def test_a_figure_that_breaks_takes_no_page_with_it():
    write(figures='["distortion", part("figures.py:broken")]')
    assert main(["tiny.py", "--local", "--out", "out"]) == 0
    assert re.search(
        r"Figure broken, figures\.py, line \d+: KeyError: &#39;no&#39;", Path("reports/tiny.html").read_text()
    )
