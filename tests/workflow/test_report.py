"""Snakemake's report of the quick run, opened in headless Chromium."""

import pytest
from helpers import claims

pytestmark = [pytest.mark.workflow, pytest.mark.browser]


def test_the_page_fits_into_an_address(quick):
    """Snakemake's report shows it in a frame by a data: address; Chromium takes 2 MiB at most."""
    page = quick.folder / "results/quick/report/claims.html"
    assert page.stat().st_size * 4 / 3 < 0.9 * 2**21


def test_the_report_opens_offline_and_shows_verdicts_and_charts(quick, browser, tmp_path):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    errors, requests = [], []
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda r: requests.append(r.url))
    page.goto((quick.folder / "report.html").as_uri())
    page.get_by_text("Verdicts").first.click()
    page.locator("table a").first.click()
    inside = page.frame_locator("iframe").first
    number = len(claims())
    inside.get_by_text(f"{number} of {number} claims shown").wait_for()
    figure = inside.locator("figure.has-chart[data-drawn]").first
    figure.scroll_into_view_if_needed()
    assert figure.locator("svg, canvas").first.bounding_box()["width"] > 100
    page.screenshot(path=tmp_path / "report.png")
    page.goto((quick.folder / "report.html").as_uri())
    page.get_by_text("Charts").first.click()
    page.get_by_text("rank-small-lenet").first.wait_for()
    page.close()
    assert errors == []
    assert all(url.startswith(("file:", "data:", "blob:", "about:")) for url in requests)
