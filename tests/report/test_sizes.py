"""Split sizes in one panel: which cells are overlaid, and where nothing is."""

import altair as alt
import pytest
import vl_convert

from rdstudy.report import sizes, statistics
from rdstudy.report.cells import with_cells
from rdstudy.report.figure_files import figures_of
from rdstudy.report.figures import sizes_distortion, sizes_rate_distortion
from tests.report.conftest import Simulation, tables_of

SIZES = (8192, 16384, 32768, 57344)
BOTH = [f"{kind}({size})" for kind in ("cv", "cd") for size in SIZES]


def table_of(study):
    return sizes.sized_points(tables_of(study))


def test_test_points_are_grouped_by_kind_and_depth(simulate):
    table = table_of(simulate(Simulation(splits=[*BOTH, "checkerboard"], seeds=2)))
    assert len(table) == 2 * 2 * 4 * 5  # kinds, depths, sizes, β
    assert set(table["subset"]) == {"test"}
    panels = table.drop_duplicates("group").sort_values("group")["panel"].to_list()
    assert panels == [f"constant {kind}, {n}" for kind in ("volume", "density") for n in ("1 layer", "3 layers")]
    for _, part in table.groupby("group"):
        assert sorted(part["size"].unique()) == list(SIZES)
        assert not part.duplicated(["size", "beta"]).any()


def test_points_keep_their_values(simulate):
    study = simulate(Simulation(splits=BOTH[:3], depths=[1]))
    table = table_of(study)
    assert set(table["panel"]) == {"constant volume"}
    rows = statistics.ok_rows(with_cells(study.planned), study.members).merge(
        study.planned[["member_id", "split"]], on="member_id"
    )
    wanted = rows[(rows["subset"] == "test") & (rows["split"] == "cv(16384)")].groupby("beta")["distortion"].mean()
    values = table[table["size"] == 16384].set_index("beta")["distortion"]
    assert values.to_dict() == pytest.approx(wanted.to_dict())


def test_groups_are_named_by_whatever_else_tells_cells_apart(simulate):
    table = table_of(
        simulate(Simulation(splits=BOTH[:3], depths=[1], seeds=1, levels={"prior": ["normal", "vamp(k=5)"]}))
    )
    panels = table.drop_duplicates("group").sort_values("group")["panel"].to_list()
    assert panels == ["constant volume, normal prior", "constant volume, vamp(k=5) prior"]


@pytest.mark.parametrize(
    "simulation",
    [
        Simulation(splits=["cv(8192)", "cv(16384)"]),
        Simulation(splits=["cv(8192)", "cv(16384)", "cd(8192)", "cd(16384)", "checkerboard"]),
        Simulation(splits=BOTH, datasets=["tetrominoes", "mnist"], seeds=1),
        Simulation(splits=BOTH[:3], depths=[1], seeds=1, levels={"likelihood": ["bernoulli", "gaussian"]}),
        Simulation(splits=BOTH, outcomes=[None] * 240),
    ],
    ids=["two sizes", "two of each kind", "another data set", "another likelihood", "nothing done"],
)
def test_otherwise_there_is_no_such_figure(simulate, simulation):
    study = simulate(simulation)
    assert table_of(study).empty
    assert all(figure.FIGURE.table(tables_of(study)).empty for figure in (sizes_distortion, sizes_rate_distortion))


@pytest.mark.parametrize("betas", [[0.0, 0.1, 1.0], [0.1, 3.0]], ids=["with a star", "without"])
def test_the_charts_compile_clipped_with_one_line_per_size(simulate, betas):
    study = simulate(
        Simulation(splits=BOTH, betas=betas, seeds=2, figures=("sizes-rate-distortion", "sizes-distortion"))
    )
    figures = [drawn.figure for drawn in figures_of(study)]
    assert [figure.key for figure in figures] == ["depth-sizes-rate-distortion", "depth-sizes-distortion", "splits"]
    for figure in figures[:2]:
        alt.TopLevelSpec.validate(figure.spec.vega_lite)
        spec = figure.spec.vega_lite
        assert len(spec["concat"]) == 4
        panels = [part for panel in spec["concat"] for part in panel.get("vconcat", [panel])]
        assert len(panels) == (8 if figure.key == "depth-sizes-distortion" else 4)
        assert all(layer["mark"]["clip"] for panel in panels for layer in panel["layer"])
        svg = vl_convert.vegalite_to_svg(spec)
        assert all(f">{size:,}</text>" in svg for size in SIZES)
