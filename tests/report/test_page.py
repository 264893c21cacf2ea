"""The summary of all claims, the CSV and the page."""

import base64
import copy
import csv
import gzip
import io
import json
import re
from html.parser import HTMLParser

import pytest
import report_case
import synthetic

from limitcycles.judging import folders
from limitcycles.judging.result import Outcome, assemble
from limitcycles.report import page as report

META = {"scale": "laptop", "code_version": "0.1.0+src.abcdef", "config_hash": "0123456789ab"}


@pytest.fixture(scope="module")
def results():
    return report_case.results()


@pytest.fixture(scope="module")
def specs():
    return report_case.specs()


def shown(results, specs=None):
    heads = [report_case.paper(results)]
    return report.page(results, specs or {}, META, report_case.scripts(), heads)


@pytest.fixture(scope="module")
def page(results, specs):
    return shown(results, specs)


class Text(HTMLParser):
    """Elements with their attributes, and the visible text of each id."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._silent = 0
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._silent += tag in ("script", "style")

    def handle_endtag(self, tag):
        self._silent -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._silent:
            self.words.append(data)


def test_made_up_results_have_the_form_of_real_ones():
    entry = {
        "title": "",
        "group": "theory",
        "source": "",
        "statement": "",
        "paper": [],
        "statistic": "",
        "rule": "",
        "controls": {},
    }
    context = {
        "seeds": [],
        "scale": "quick",
        "config_hash": "",
        "artefacts": [],
        "departures": {},
    }
    real = assemble("a", entry, Outcome("reproduced", {}, [], []), context)
    assert set(real) == set(synthetic.result("a")) == set(synthetic.not_tested("a"))


def test_merge_counts_every_verdict(results):
    merged = report.merge(results)
    assert merged["counts"] == {
        "reproduced": 1,
        "reproduced with a caveat": 1,
        "not reproduced": 1,
        "contradicted": 1,
        "not tested": 29,
    }
    assert merged["scale"] == "laptop"
    assert [claim["id"] for claim in merged["claims"]] == [result["id"] for result in results]
    json.dumps(merged, allow_nan=False)


def test_the_hash_of_all_claims_changes_with_that_of_one(results):
    one = report.merge(results)["config_hash"]
    changed = [*results[:-1], results[-1] | {"config_hash": "another"}]
    assert re.fullmatch("[0-9a-f]{12}", one)
    assert report.merge(changed)["config_hash"] != one
    assert report.merge(results)["config_hash"] == one


def test_merge_names_all_code_versions(results):
    changed = [*results[:-1], results[-1] | {"code_version": "0.2.0"}]
    assert report.merge(changed)["code_version"] == "0.1.0+src.abcdef, 0.2.0"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale": "quick"}, "laptop, quick"),
        ({"verdict": "maybe"}, "gradient-norm has the verdict 'maybe'"),
    ],
)
def test_results_that_do_not_fit_are_refused(results, change, words):
    odd = [result | change if result["id"] == "gradient-norm" else result for result in results]
    with pytest.raises(report.ReportError, match=words):
        report.merge(odd)


def test_no_results_are_refused():
    with pytest.raises(report.ReportError, match="none"):
        report.merge([])


def test_the_csv_has_a_row_for_each_number(results):
    rows = list(csv.DictReader(io.StringIO(report.csv_table(results))))
    assert tuple(rows[0]) == report.COLUMNS
    statistics = sum(len(arm["statistics"]) for result in results for arm in result["arms"])
    assert len(rows) == len(results) + statistics

    row = next(r for r in rows if (r["claim"], r["arm"]) == ("rank-small-lenet", "code"))
    entry = next(r for r in results if r["id"] == "rank-small-lenet")["arms"][1]["statistics"][0]
    assert float(row["value"]) == entry["value"]
    assert [float(row["low"]), float(row["high"])] == entry["interval"]
    assert (row["statistic"], row["unit"], row["paper"]) == ("rank(D)/d", "%", "1.8")
    assert (row["run"], row["agrees"], row["n"]) == ("small-lenet-code", "no", "3")

    empty = next(r for r in rows if r["claim"] == "gradient-norm")
    filled = {key for key, value in empty.items() if value}
    assert filled == {"claim", "group", "verdict", "scale"}


def test_the_csv_has_no_nan():
    result, _, _ = synthetic.rank_case()
    result["arms"][0]["statistics"][0]["value"] = float("nan")
    assert "nan" not in report.csv_table([result]).lower()


def test_the_page_asks_for_nothing(page):
    parsed = Text(page)
    for tag, attrs in parsed.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
        assert "src" not in attrs
        assert attrs.get("href", "#").startswith("#")
    policy = next(attrs["content"] for _, attrs in parsed.elements if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert "@import" not in page
    assert sum(text.count("window.vegaEmbed=") for text in unpacked(page)) == 1


def test_the_page_is_small(page):
    assert len(page.encode()) < 3_000_000


def test_links_and_ids_meet(page):
    parsed = Text(page)
    ids = [attrs["id"] for _, attrs in parsed.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = {attrs["href"][1:] for tag, attrs in parsed.elements if tag == "a"}
    targets = {attrs["data-target"] for _, attrs in parsed.elements if "data-target" in attrs}
    labels = {
        attrs["aria-labelledby"] for _, attrs in parsed.elements if "aria-labelledby" in attrs
    }
    assert links | targets | labels <= set(ids)


def test_every_claim_has_a_row_and_a_section(page, results):
    parsed = Text(page)
    rows = {attrs.get("data-target") for tag, attrs in parsed.elements if tag == "tr"}
    for result in results:
        assert f"claim-{result['id']}" in rows
        assert f'id="claim-{result["id"]}"' in page
        assert result["title"] in parsed.text
        assert result["source"] in parsed.text
        assert result["statement"] in parsed.text
        assert result["rule"] in parsed.text
        assert (result["reason"] or result["caveat"] or "") in parsed.text


def test_a_section_has_our_numbers_beside_the_papers(page, results):
    text = Text(page).text
    result = next(r for r in results if r["id"] == "rank-small-lenet")
    for arm in result["arms"]:
        first = arm["statistics"][0]
        low, high = first["interval"]
        line = f"rank(D)/d {first['value']:.2f} mean [{low:.2f}, {high:.2f}] 95 %, linear 1.8 % 3 "
        assert line + " · ".join(f"{value:.2f}" for value in first["values"]) in text
        assert arm["description"] in text
        assert f"run {arm['run']}" in text
    for control in result["controls"]:
        assert control["name"] in text
        assert control["expectation"] in text
    assert "At this scale: 10 epochs instead of 100." in text
    assert "mean eigenvalue 3·10⁻⁴ gradient squared" in text
    assert "factor 1.5" in text
    assert "results/laptop/claims/rank-small-lenet.json" in text


def test_one_paper_is_cited_and_its_sections_can_be_chosen(page):
    assert "Chaudhari & Soatto, A title (arXiv 1710.11029; 2017). Each claim" in Text(page).text
    labels = re.findall(
        r'<button[^>]*data-filter="group" value="([^"]*)"[^>]*>(.*?)</button>', page
    )
    assert labels == [
        ("", "theory and networks"),
        ("made2024-theory", "theory"),
        ("made2024-networks", "networks"),
    ]


def test_of_several_papers_each_claim_says_whose_it_is():
    one, two = synthetic.not_tested("one"), synthetic.not_tested("two", group="networks")
    heads = [
        report_case.paper([one]),
        report_case.paper([two], "other2020", title="Another", venue="A journal 2021")
        | {"authors": "Some & Others"},
    ]
    page = report.page([one, two], {}, META, report_case.scripts(), heads)
    text = Text(page).text
    assert "Some & Others, Another (arXiv 1710.11029; A journal 2021)." in text
    assert "two · Some & Others, " in text
    assert "one · Chaudhari & Soatto, " in text
    assert "all papers" in text
    labels = re.findall(r'data-filter="group" value="([^"]+)"[^>]*>(.*?)</button>', page)
    assert ("other2020-networks", "Some &amp; Others: networks") in labels
    rows = re.findall(r'<tr [^>]*data-group="([^"]+)" data-target="([^"]+)"', page)
    assert rows == [("made2024-theory", "claim-one"), ("other2020-networks", "claim-two")]
    assert report.merge([one, two], heads)["papers"] == heads


def test_a_result_of_no_paper_is_refused():
    with pytest.raises(report.ReportError, match="no paper has the claims gone"):
        report.page(
            [synthetic.not_tested("gone")], {}, META, report_case.scripts(), [report_case.paper([])]
        )


def test_departures_of_the_scale_stand_in_the_header(page):
    text = Text(page).text
    where = text.index("What the scale “laptop” does differently from the paper")
    assert where < text.index("10 epochs instead of 100 (small-lenet-code") < text.index("Verdicts")


def test_a_control_that_misbehaved_is_shown(results):
    result = next(r for r in results if r["id"] == "training-errors")
    odd = result | {"controls": [result["controls"][0] | {"passed": False}]}
    text = Text(shown([odd])).text
    assert "✗ not as expected" in text
    assert "✓ as expected" not in text


def test_an_arm_with_another_number_of_the_paper_shows_it(results):
    result = next(r for r in results if r["id"] == "training-errors")
    own = result["statistic"]
    papers = [
        s["paper"] for a in result["arms"] for s in a["statistics"] if s["name"] == own["name"]
    ]
    assert (own["paper"], papers) == (0.75, [0.75, 0.75, 17, 17])
    text = Text(shown([result])).text
    assert text.count("; the paper: 17 %") == 2
    assert text.count("paper: 17 %") == 4  # in the table as well
    assert "paper: 0.75 %" not in text


def test_a_number_of_the_paper_that_ours_is_not_compared_with_is_named(results):
    result = copy.deepcopy(next(r for r in results if r["id"] == "training-errors"))
    result["statistic"]["paper"] = None
    for arm in result["arms"]:
        for statistic in arm["statistics"]:
            statistic["paper"] = None
    text = Text(shown([result])).text
    assert f"the paper: {result['paper'][0]['name']}" in text


def test_charts_carry_heading_and_caption_and_keep_their_order(page, specs):
    text = Text(page).text
    names = re.findall(r'<figure class="has-chart" data-name="([^"]+)"', page)
    there = specs["rank-small-lenet"]
    wanted = [f"rank-small-lenet-{name}" for name in folders.charts("rank") if name in there]
    assert [name for name in names if name.startswith("rank-small-lenet-")] == wanted
    assert len(names) == sum(len(drawn) for drawn in specs.values())
    for drawn in specs.values():
        for spec in drawn.values():
            assert spec["title"] in text
            assert spec["description"] in text


def unpacked(page: str) -> list[str]:
    """What is packed in a page: the specs of the charts, last the scripts."""
    found = re.findall(r'<script type="application/gzip"[^>]*>(.*?)</script>', page, re.DOTALL)
    return [gzip.decompress(base64.b64decode(text)).decode() for text in found]


def test_charts_come_back_from_the_page_as_they_were(page, specs):
    *found, scripts = unpacked(page)
    assert scripts == report_case.scripts()
    assert len(found) == sum(map(len, specs.values()))
    wanted = [
        {key: value for key, value in spec.items() if key != "title"}
        for drawn in specs.values()
        for spec in drawn.values()
    ]
    for spec in map(json.loads, found):
        assert spec in wanted


def test_text_of_a_result_cannot_become_markup():
    evil = "</script><script>alert(1)</script><b>"
    result, _, _ = synthetic.training_case()
    result |= {"statement": evil, "caveat": evil, "title": evil}
    spec = {"title": evil, "description": evil, "data": {"values": [{"a": evil}]}}
    page = shown([result], {result["id"]: {"a": spec}})
    assert evil not in page
    assert "<script>alert" not in page
    assert json.loads(unpacked(page)[0])["data"]["values"] == [{"a": evil}]


def test_charts_without_a_result_are_refused(results):
    with pytest.raises(report.ReportError, match="rank-of-nothing"):
        shown(results, {"rank-of-nothing": {}})


def test_a_page_needs_no_charts_and_no_verdicts():
    text = Text(shown([synthetic.not_tested("sde-limit")])).text
    assert "Claims not tested" in text
    assert "Claims with a verdict" not in text


@pytest.mark.parametrize("end", ["", "."])
def test_a_claim_whose_data_cannot_be_had_says_so_in_the_table_and_below(end):
    reason = "data not reachable (cifar100: no source could deliver it)"
    claim = synthetic.not_tested("rank-cifar100", reason=reason + end)
    text = " ".join(Text(shown([claim])).text.split())
    assert text.count(reason) == 2
    assert f"Not tested: {reason}." in text
    assert f"{reason}.." not in text
