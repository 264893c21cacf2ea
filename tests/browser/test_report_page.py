"""The report page as a person sees it: headless Chromium, no network.

Screenshots go to the folder of each test (`pytest --basetemp` chooses where).
"""

import base64

import pytest
import report_case
from playwright.sync_api import Browser, Page, expect

from limitcycles.charts import files
from limitcycles.report import page as report

pytestmark = pytest.mark.browser

LOCAL = ("file:", "data:", "blob:", "about:")
ALL_DRAWN = "[...document.querySelectorAll('figure.has-chart')].every((f) => f.dataset.drawn)"
FIGURES = sum(len(drawn) for drawn in report_case.specs().values())


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    page = report.page(
        report_case.results(),
        report_case.specs(),
        {"scale": "laptop", "code_version": "0.1.0+src.abcdef", "config_hash": "0123456789ab"},
        report_case.scripts(),
        [report_case.paper(report_case.results())],
    )
    path = tmp_path_factory.mktemp("report") / "claims.html"
    path.write_text(page, encoding="utf-8")
    return path


class Visit:
    """An open page, with what it said and what it asked for."""

    def __init__(self, browser: Browser, url: str, width: int, height: int, scheme: str) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page: Page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)


@pytest.fixture
def visit(browser):
    """Open a page; when the test is over, nothing may have been said or fetched."""
    opened = []

    def visit(url: str, width: int = 1280, height: int = 900, scheme: str = "light") -> Page:
        opened.append(Visit(browser, url, width, height, scheme))
        return opened[-1].page

    yield visit
    for one in opened:
        one.page.close()
        assert one.complaints == []
        assert [url[:90] for url in one.requests if not url.startswith(LOCAL)] == []


@pytest.fixture
def page(visit, file):
    page = visit(file.as_uri())
    page.wait_for_function(ALL_DRAWN)
    return page


def chart_sizes(page: Page) -> list[dict[str, float]]:
    """Width and height of each chart's picture, and the width that it may have."""
    return page.evaluate(
        """() => [...document.querySelectorAll("figure.has-chart")].map((figure) => {
          const picture = figure.querySelector("svg.marks").getBoundingClientRect();
          const room = figure.querySelector(".chart").getBoundingClientRect().width;
          return { width: picture.width, height: picture.height, room };
        })"""
    )


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (400, 800)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_chart_is_drawn_and_fits(visit, file, tmp_path, width, height, scheme):
    page = visit(file.as_uri(), width, height, scheme)
    page.wait_for_function(ALL_DRAWN)
    page.screenshot(path=tmp_path / f"{width}-{scheme}.png")
    page.screenshot(path=tmp_path / f"{width}-{scheme}-whole.png", full_page=True)

    sizes = chart_sizes(page)
    assert len(sizes) == FIGURES
    for size in sizes:
        assert size["room"] - 60 < size["width"] <= size["room"] + 1
        assert size["height"] > 100
    assert page.locator("figure.has-chart svg.marks path").count() > 100
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    ink = page.locator("figure.has-chart svg.marks .role-axis-title text").first
    colour = {"light": "rgb(27, 31, 36)", "dark": "rgb(236, 239, 243)"}[scheme]
    expect(ink).to_have_css("fill", colour)


def test_charts_follow_the_width_of_the_window(page):
    page.set_viewport_size({"width": 500, "height": 900})
    page.wait_for_function(
        """() => [...document.querySelectorAll("figure.has-chart")].every((figure) =>
          figure.dataset.width === String(figure.querySelector(".chart").clientWidth))"""
    )
    assert all(size["width"] <= size["room"] + 1 <= 501 for size in chart_sizes(page))


def test_the_filter_hides_rows_and_sections(page):
    rows, sections = page.locator("table.verdicts tbody tr"), page.locator("article")
    shown = page.locator("#shown")
    assert rows.count() == sections.count() == report_case.TOTAL
    expect(shown).to_have_text("33 of 33 claims shown")

    button = page.get_by_role("button", name="contradicted 1")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(shown).to_have_text("1 of 33 claims shown")
    expect(rows.locator("visible=true")).to_have_count(1)
    expect(rows.locator("visible=true")).to_contain_text("spectrum-ranks-architectures")
    expect(page.locator("article >> visible=true")).to_have_count(1)
    expect(page.get_by_role("heading", name="Claims not tested")).to_be_hidden()

    page.get_by_role("button", name="theory", exact=True).click()
    expect(shown).to_have_text("0 of 33 claims shown")
    expect(page.locator("#none")).to_be_visible()

    page.get_by_role("button", name="all 33").click()
    expect(shown).to_have_text("26 of 33 claims shown")
    page.get_by_role("button", name="theory and networks").click()
    expect(shown).to_have_text("33 of 33 claims shown")
    expect(page.locator("#none")).to_be_hidden()


def test_a_chart_that_was_hidden_while_the_window_changed_is_drawn_again(page):
    page.get_by_role("button", name="not tested").click()
    page.set_viewport_size({"width": 600, "height": 900})
    page.wait_for_timeout(300)
    page.get_by_role("button", name="all 33").click()
    page.wait_for_function(
        """() => [...document.querySelectorAll("figure.has-chart")].every((figure) =>
          figure.dataset.width === String(figure.querySelector(".chart").clientWidth))"""
    )
    assert all(0 < size["width"] <= size["room"] + 1 for size in chart_sizes(page))


def test_a_click_on_a_row_goes_to_the_claim(page):
    row = page.locator("tr[data-target='claim-training-errors']")
    heading = page.locator("#claim-training-errors")
    expect(heading).not_to_be_in_viewport()
    row.locator("td.judgement").click()
    expect(heading).to_be_in_viewport()
    expect(heading).to_be_focused()


def test_the_keyboard_reaches_a_claim_and_comes_back(page):
    link = page.get_by_role("link", name="Training and test errors")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#claim-training-errors")).to_be_in_viewport()
    article = page.locator("article[aria-labelledby='claim-training-errors']")
    article.get_by_role("link", name="Back to the table").press("Enter")
    expect(page.locator("#table")).to_be_in_viewport()
    expect(page.locator("#table")).to_be_focused()


def test_a_click_on_a_legend_fades_the_other_lines(page):
    figure = page.locator("figure[data-name='rank-small-lenet-rank-curve']")
    lines = figure.locator(".mark-line path")
    opacities = "all => all.map((path) => Number(path.getAttribute('opacity')))"
    assert lines.evaluate_all(opacities) == [0.85] * 6
    figure.locator(".role-legend-label text", has_text="code").click()
    assert sorted(lines.evaluate_all(opacities)) == [0.07] * 3 + [0.85] * 3


def test_a_point_of_a_line_tells_its_numbers(page):
    figure = page.locator("figure[data-name='rank-small-lenet-rank-curve']")
    figure.locator(".mark-symbol path").nth(30).hover(force=True)
    tooltip = page.locator("#vg-tooltip-element")
    expect(tooltip).to_be_visible()
    for word in ("arm", "seed", "τ", "rank (% of d)"):
        expect(tooltip).to_contain_text(word)


def test_it_works_in_a_frame_with_a_data_address(visit, file, tmp_path):
    """As Snakemake's own report shows it."""
    address = base64.b64encode(file.read_bytes()).decode()
    outer = tmp_path / "outer.html"
    outer.write_text(
        "<!doctype html><title>outer</title>"
        f'<iframe src="data:text/html;charset=utf8;base64,{address}" width="1000" height="700">',
        encoding="utf-8",
    )
    page = visit(outer.as_uri())
    frame = page.frame_locator("iframe")
    inner = page.frames[1]
    inner.wait_for_function(ALL_DRAWN)
    frame.locator("tr[data-target='claim-training-errors'] a").click()
    heading = frame.locator("#claim-training-errors")
    expect(heading).to_be_focused()
    inner.wait_for_function(
        """() => {
          const top = document.getElementById("claim-training-errors").getBoundingClientRect().top;
          return top >= 0 && top < window.innerHeight;
        }"""
    )
    frame.get_by_role("button", name="contradicted 1").click()
    expect(frame.locator("#shown")).to_have_text("1 of 33 claims shown")
    page.screenshot(path=tmp_path / "frame.png")


def test_it_prints_on_white_with_all_charts(visit, file, tmp_path):
    page = visit(file.as_uri(), scheme="dark")
    page.wait_for_function(ALL_DRAWN)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    expect(page.locator(".filters")).to_be_hidden()
    page.pdf(path=tmp_path / "claims.pdf")
    assert (tmp_path / "claims.pdf").stat().st_size > 50_000


def test_a_chart_of_its_own_opens_without_network(visit, tmp_path):
    synthetic = report_case.synthetic
    drawn = synthetic.drawn(*synthetic.training_case())
    files.save(drawn["error-curves"], tmp_path / "error-curves", report_case.scripts())
    page = visit((tmp_path / "error-curves.html").as_uri())
    picture = page.locator("#vis canvas, #vis svg.marks").first
    expect(picture).to_be_visible()
    assert picture.bounding_box()["width"] > 500
