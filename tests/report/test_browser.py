"""The page as a reader has it: in headless Chromium, offline, with a pointer, by keyboard, on a phone, on paper."""

import contextlib
import csv
import dataclasses
import io
import re
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from rdstudy.report.__main__ import main
from rdstudy.report.build import Source, read_report, write_report
from tests.report.conftest import HOSTILE_TEXTS, MEASURED, NOTHING, Simulation

CHROMIUM = shutil.which("chromium")
PAGES = {
    "whole": MEASURED,
    "nothing done": NOTHING,
    "everything failed": Simulation(outcomes=["failed"] * 30),
    "some failed": Simulation(outcomes=["ok"] * 11 + ["failed"] * 5, betas=[0.0, 0.1, 1.0]),
    "hostile names": HOSTILE_TEXTS,
    "one seed": Simulation(seeds=1),
    "one β": Simulation(betas=[0.1]),
    "mixed versions": Simulation(versions=["a", "b"]),
    "very many panels": Simulation(
        depths=(1, 2, 3),
        splits=[f"cv({size})" for size in range(1_000, 15_000, 1_000)],
        betas=[0.1, 0.3, 1.0],
        seeds=2,
        points=3,
    ),
}
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")]


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the page of a simulation, once; returns its address."""
    pages = {}

    def build(name):
        if name not in pages:
            folder = tmp_path_factory.mktemp("page")
            PAGES[name].write(folder / "results")
            report = read_report(Source(str(folder / "results")))
            pages[name] = write_report(report, out=str(folder / "page.html")).as_uri()
        return pages[name]

    return build


@pytest.fixture
def opened(chromium, built):
    """Open a page, at 1280 pixels unless said otherwise; nothing may be requested, or go wrong without a word."""
    with contextlib.ExitStack() as stack:

        def open_page(name, *, width=1280, **options):
            context = chromium.new_context(viewport={"width": width, "height": 800}, offline=True, **options)
            stack.callback(context.close)
            page, wrong = context.new_page(), []
            page.on("console", lambda message: wrong.append(message.text) if message.type != "log" else None)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
            page.goto(built(name))
            if options.get("java_script_enabled", True):
                page.wait_for_selector("html:not([data-charts=loading])")
            page.wrong = wrong
            return page

        yield open_page


def plots(page):
    """How many plots there are, and how many of them are drawn."""
    return page.locator(".plot").count(), page.locator(".plot > svg").count()


@pytest.mark.parametrize("name", PAGES)
def test_every_chart_is_drawn_when_it_comes_into_view_and_nothing_is_requested(opened, name):
    page = opened(name)
    for plot in page.locator(".plot").all():
        plot.scroll_into_view_if_needed()
        plot.locator("svg").wait_for()
    there, drawn = plots(page)
    assert there == drawn >= 1
    assert page.locator("html").get_attribute("data-charts") == "ready"
    assert page.locator("main b:not(.verdict)").count() == 0
    assert page.wrong == []


def test_charts_far_below_are_not_drawn_before_a_reader_comes(opened):
    there, drawn = plots(opened("whole"))
    assert 0 < drawn < there / 2


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["whole", "some failed"])
def test_axe_finds_nothing_serious_and_the_page_does_not_scroll_sideways(opened, name, width, scheme):
    page = opened(name, width=width, color_scheme=scheme)
    page.evaluate("drawAll()")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page).response["violations"]
    serious = [(rule["id"], rule["nodes"][0]["html"]) for rule in found if rule["impact"] in ("serious", "critical")]
    assert serious == []


def legend_button(page, name):
    return page.locator("#figure-depth-distortion .legend button", has_text=re.compile(f"^{name}$"))


def dots_of(page):
    return page.locator("#figure-depth-distortion .plot").first.locator("g.mark-symbol path").count()


def test_a_legend_isolates_by_pointer_and_by_keyboard(opened):
    page = opened("whole")
    page.evaluate("drawAll()")
    whole = dots_of(page)
    legend_button(page, "test").click()
    alone = dots_of(page)
    assert 0 < alone < whole
    assert legend_button(page, "test").get_attribute("aria-pressed") == "true"
    legend_button(page, "test").press("Enter")
    assert dots_of(page) == whole


def near_first_dot(page):
    """Move the pointer near a dot, but not onto it."""
    plot = page.locator("#figure-depth-distortion .plot").first
    plot.scroll_into_view_if_needed()
    box = plot.locator("g[class*=dots] path").first.bounding_box()
    page.mouse.move(box["x"] + 25, box["y"] + 25)
    page.mouse.move(box["x"] + 16, box["y"] + 14)


def test_the_pointer_near_a_dot_shows_its_numbers_and_rings_the_same_beta_in_other_charts(opened):
    page = opened("whole")
    page.evaluate("drawAll()")
    near_first_dot(page)
    tooltip = page.locator(".tooltip")
    tooltip.wait_for()
    assert "β" in tooltip.inner_text()
    assert "models" in tooltip.inner_text()
    views = "[...figures.values()].flatMap((figure) => [...figure.views])"
    seen = page.evaluate(f"{views}.filter(([plot, view]) => visible.has(plot)).map(([, view]) => view.signal('hot'))")
    assert len(seen) > 1
    assert set(seen) == {0.001}


def test_a_chart_that_was_out_of_view_keeps_no_ring_of_a_pointer_that_has_gone(opened):
    page = opened("whole")
    page.evaluate("drawAll()")
    first = "document.querySelector('#figure-depth-distortion .plot')"
    hot = f"owner.get({first}).views.get({first}).signal('hot')"
    near_first_dot(page)
    page.locator(".tooltip").wait_for()
    page.locator(".plot").last.scroll_into_view_if_needed()
    page.wait_for_function(f"!visible.has({first})")
    page.evaluate("highlight(0.1)")
    page.mouse.move(0, 0)
    page.evaluate("highlight(null)")
    assert page.evaluate(hot) == 0.001, "what is out of view is not drawn again"
    page.locator("#figure-depth-distortion .plot").first.scroll_into_view_if_needed()
    page.wait_for_function(f"visible.has({first})")
    assert page.evaluate(hot) is None


def test_a_click_lists_the_runs_of_a_point_with_the_command_that_retrains_each(opened):
    page = opened("whole")
    near_first_dot(page)
    page.mouse.down()
    page.mouse.up()
    dialog = page.locator("dialog.runs")
    dialog.wait_for()
    ids = [row.locator("td").first.inner_text() for row in dialog.locator("tbody tr").all()]
    assert len(ids) == 3
    assert all(re.fullmatch("[0-9a-f]{16}", member_id) for member_id in ids)
    commands = dialog.locator("pre").inner_text().splitlines()
    assert [command.split()[-1] for command in commands] == ids
    assert all(command.startswith("python -m rdstudy.retrain ") for command in commands)
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_runs_are_reached_by_keyboard_from_the_numbers_of_a_chart(opened):
    page = opened("whole")
    numbers = page.locator("#figure-depth-distortion details.numbers")
    numbers.locator("summary").press("Enter")
    numbers.locator("button.runs-button").first.press("Enter")
    page.locator("dialog.runs").wait_for()
    assert page.locator("dialog.runs tbody tr").count() == 3


def saved(page, button):
    with page.expect_download() as download:
        button.click()
    return download.value.suggested_filename, download.value.path().read_text("utf-8")


def test_the_numbers_of_a_chart_are_saved_as_csv_and_the_chart_as_svg(opened):
    page = opened("whole", accept_downloads=True)
    figure = page.locator("#figure-depth-distortion")
    name, text = saved(page, figure.locator(".tools button", has_text="CSV"))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert name == "simulated-depth-distortion.csv"
    assert {(row["panel"], row["subset"]) for row in rows} >= {("1 layer", "test"), ("3 layers", "train")}
    assert {float(row["beta"]) for row in rows} == set(PAGES["whole"].betas)
    name, text = saved(page, figure.locator(".tools button", has_text="SVG"))
    assert name == "simulated-depth-distortion.svg"
    assert "1 layer" in text
    assert "3 layers" in text


def test_switches_show_early_stopping_and_distortions_above_their_floor(opened):
    page = opened("whole")
    page.evaluate("drawAll()")
    figure = page.locator("#figure-depth-distortion")
    title = figure.locator(".plot").first.locator("text", has_text="nats per image")
    assert title.first.text_content() == "distortion D, nats per image"
    page.get_by_role("radio", name="D above its floor").press("Space")
    page.evaluate("drawAll()")
    assert title.first.text_content() == "D above its floor, nats per image"
    page.get_by_role("radio", name="of early stopping").check()
    page.evaluate("drawAll()")
    node = "document.querySelector('#figure-depth-distortion')"
    values = f"figures.get({node}).numbers().map((row) => row.distortion).filter(Number.isFinite)"
    above = page.evaluate(values)
    page.get_by_role("radio", name="of the last step").check()
    assert [round(last - stopped, 2) for last, stopped in zip(page.evaluate(values), above, strict=True)] == [3.0] * 20
    assert page.wrong == []


def test_a_page_of_two_studies_leads_to_the_runs_of_each(chromium, tmp_path):
    PAGES["whole"].write(tmp_path / "a")
    dataclasses.replace(PAGES["whole"], seeds=2).write(tmp_path / "b")
    path = tmp_path / "page.html"
    assert main([str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(path)]) == 0
    with contextlib.closing(chromium.new_context(offline=True)) as context:
        page = context.new_page()
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-charts=ready]")
        page.evaluate("drawAll()")
        there, drawn = plots(page)
        assert there == drawn
        page.locator("#figure-depth-distortion details.numbers summary").press("Enter")
        page.locator("#figure-depth-distortion button.runs-button").last.press("Enter")
        rows = page.locator("dialog.runs tbody tr")
        assert [row.locator("td").first.inner_text()[:2] for row in rows.all()] == ["B:", "B:"]
        assert ":" not in page.locator("dialog.runs pre").inner_text()


def test_a_table_is_sorted_and_filtered(opened):
    page = opened("whole")
    table = page.locator("#results .table table").first
    column = table.locator("th", has_text=re.compile("^D test"))
    place = column.evaluate("(head) => head.cellIndex")
    column.locator("button").press("Enter")
    cells = table.locator(f"tbody tr td:nth-child({place + 1})")
    values = [float(cell.get_attribute("data-n") or cell.inner_text().split()[0]) for cell in cells.all()]
    assert len(values) == 10
    assert values == sorted(values)


def test_a_long_table_is_sorted_and_filtered_whole_though_a_part_is_shown(opened):
    page = opened("very many panels")
    results = page.locator("#results")
    rows = results.locator("tbody tr")
    assert rows.count() == 100
    results.locator("th button", has_text="β").press("Enter")
    results.locator("th button", has_text="β").press("Enter")
    assert rows.first.locator("td").nth(2).inner_text() == "1"
    results.get_by_label("Filter rows").fill("14,000 volume")
    assert rows.count() == 9
    results.get_by_label("Filter rows").fill("")
    results.locator("button.more").click()
    assert rows.count() == 126


def test_the_page_reads_without_scripts(opened):
    page = opened("whole", java_script_enabled=False)
    drawing = page.locator("#figure-depth-distortion img.drawing")
    assert drawing.count() == 1
    assert drawing.bounding_box()["height"] > 200
    assert page.locator("#results tbody tr").count() == 10


def test_printing_draws_every_chart_and_opens_what_is_folded(opened, tmp_path):
    page = opened("whole", color_scheme="dark")
    drawn = "[...document.querySelectorAll('.plot')].map((plot) => plot.querySelector('svg')?.outerHTML ?? '')"
    page.evaluate(f"addEventListener('beforeprint', () => {{ window.printed = {drawn} }})")
    page.pdf(path=str(tmp_path / "page.pdf"))
    printed = page.evaluate("printed")
    assert len(printed) == plots(page)[0] > 1
    assert all(printed)
    assert not any("#E8ECF0" in chart for chart in printed)  # the ink of a dark page
    assert page.locator("main details:not(.numbers):not([open])").count() == 0
