"""All claims together: the summary (JSON, CSV) and the page that a person reads.

The page is one HTML file that asks the network for nothing: styles, scripts and charts are inside,
and its content security policy forbids requests. It also works inside a frame with a ``data:``
address, where there is no storage and no address to change.
"""

import base64
import csv
import gzip
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from limitcycles.charts import theme
from limitcycles.judging import folders, wording
from limitcycles.judging.result import Verdict
from limitcycles.runtime.errors import LimitcyclesError

VERDICTS = tuple(Verdict)
COLUMNS = (
    "claim",
    "group",
    "verdict",
    "arm",
    "run",
    "statistic",
    "value",
    "kind",
    "low",
    "high",
    "level",
    "interval_scale",
    "unit",
    "n",
    "paper",
    "agrees",
    "scale",
)


class ReportError(LimitcyclesError):
    """Results that cannot stand in one report."""


def merge(
    results: Sequence[Mapping[str, Any]], papers: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """All results in one mapping: scale, code_version, config_hash, counts, papers, claims.

    `papers` are what `limitcycles.judging.papers.heads` returns. `counts` has every verdict.
    `code_version` lists all versions where results come from several;
    `config_hash` is a digest over the hashes of all claims.

    Raises ReportError: no results, results of several scales, or a verdict that does not exist.
    """
    scales = sorted({result["scale"] for result in results})
    if len(scales) != 1:
        raise ReportError(
            f"results of the scales {', '.join(scales) or '(none)'} cannot be merged; "
            "give the results of exactly one scale."
        )
    for result in results:
        if result["verdict"] not in VERDICTS:
            raise ReportError(
                f"the result of {result['id']} has the verdict '{result['verdict']}'; "
                f"allowed: {', '.join(VERDICTS)}. Delete it and start again."
            )
    hashes = "".join(f"{result['id']}={result['config_hash']}\n" for result in results)
    return {
        "scale": scales[0],
        "code_version": ", ".join(sorted({result["code_version"] for result in results})),
        "config_hash": hashlib.sha256(hashes.encode()).hexdigest()[:12],
        "counts": {
            verdict: sum(result["verdict"] == verdict for result in results) for verdict in VERDICTS
        },
        "papers": list(papers),
        "claims": list(results),
    }


def csv_table(results: Sequence[Mapping[str, Any]]) -> str:
    """Flat CSV with the columns `COLUMNS`; one row per claim and one per statistic of each arm.

    The row of a claim holds its own statistic and has no arm; it is there for every claim, tested
    or not. Missing values are empty.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    table.writeheader()
    for result in results:
        claim = {"claim": result["id"]} | {
            key: result[key] for key in ("group", "verdict", "scale")
        }
        table.writerow(claim | _cells(result["statistic"]))
        for arm in result["arms"]:
            agrees = {True: "yes", False: "no", None: ""}[arm["agrees"]]
            whose = {"arm": arm["name"], "run": arm["run"], "agrees": agrees}
            for statistic in arm["statistics"]:
                table.writerow(claim | whose | _cells(statistic))
    return text.getvalue()


def _cells(statistic: Mapping[str, Any] | None) -> dict[str, Any]:
    if statistic is None:
        return {}
    low, high = statistic["interval"] or (None, None)
    cells = {
        key: statistic[key] for key in ("value", "kind", "level", "interval_scale", "unit", "n")
    }
    cells |= {"statistic": statistic["name"], "low": low, "high": high}
    cells["paper"] = statistic.get("paper")
    return {key: "" if _missing(value) else value for key, value in cells.items()}


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def page(
    results: Sequence[Mapping[str, Any]],
    charts: Mapping[str, Mapping[str, dict[str, Any]]],
    meta: Mapping[str, str],
    scripts: str,
    papers: Sequence[Mapping[str, Any]],
) -> str:
    """The whole report as one HTML page.

    Parameters
    ----------
    results
        The results of all claims, in the order of the ledger.
    charts
        By claim and by name, the Vega-Lite spec of each chart; its `title` becomes the heading and
        its `description` the caption. They are shown in the order of NAMES in `charts.py`.
    meta
        `scale`, `code_version`, `config_hash`.
    scripts
        What `limitcycles.charts.files.scripts` returns.
    papers
        What `limitcycles.judging.papers.heads` returns: the claims of each in its sections.

    Raises
    ------
    ReportError
        As `merge`; charts of a claim that is not among the results; or a result of no paper.
    """
    counts = merge(results)["counts"]
    strangers = sorted(set(charts) - {result["id"] for result in results})
    if strangers:
        raise ReportError(
            f"there are charts of {', '.join(strangers)} but no result; make the claim first."
        )
    paper_of = {claim: paper for paper in papers for claim in paper["claims"]}
    homeless = sorted({result["id"] for result in results} - set(paper_of))
    if homeless:
        raise ReportError(f"no paper has the claims {', '.join(homeless)}; delete their results.")
    judged = [result for result in results if result["verdict"] != Verdict.NOT_TESTED]
    untested = [result for result in results if result["verdict"] == Verdict.NOT_TESTED]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            judged=judged,
            untested=untested,
            charts={
                result["id"]: _ordered(result, charts.get(result["id"], {})) for result in judged
            },
            meta=meta,
            papers=papers,
            paper_of=paper_of,
            counts=counts,
            total=len(results),
            departures=_departures(results),
            dark=theme.dark(),
            style=_resource("report.css"),
            script=_resource("report.js"),
            bundle=scripts,
        )
    )


def _ordered(
    result: Mapping[str, Any], specs: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The charts of a claim in the order of its folder and its instruments; any others follow."""
    own = [result["judged_by"], *result["instruments"]]
    listed = [name for one in own if folders.has(one, "charts") for name in folders.charts(one)]
    known = [name for name in listed if name in specs]
    return {name: specs[name] for name in [*known, *(n for n in specs if n not in known)]}


def _departures(results: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """How runs depart from the paper at this scale: departure -> runs."""
    found: dict[str, set[str]] = {}
    for result in results:
        for arm in result["arms"]:
            if arm["departure"]:
                found.setdefault(arm["departure"], set()).add(arm["run"])
    return {departure: sorted(runs) for departure, runs in sorted(found.items())}


def _headline(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the table shows as ours: the claim's statistic in each arm, or alone if no arm has it.

    Each entry has arm (or None), statistic, agrees: "yes", "no", "open" (undecided), or None
    where the rule does not judge arms at all, and paper: the paper's number of an arm that has
    another than the claim, else None.
    """
    own = result["statistic"]
    if own is None:
        return []
    judged = any(arm["agrees"] is not None for arm in result["arms"])
    words = {True: "yes", False: "no", None: "open" if judged else None}
    by_arm = [
        {
            "arm": arm["name"],
            "agrees": words[arm["agrees"]],
            "statistic": statistic,
            "paper": None if statistic["paper"] == own["paper"] else statistic["paper"],
        }
        for arm in result["arms"]
        for statistic in arm["statistics"]
        if statistic["name"] == own["name"]
    ]
    return by_arm or [{"arm": None, "agrees": None, "statistic": own, "paper": None}]


def _said(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The paper's number for the table: the one that ours is compared with, else the first.

    It has name, value and unit; the name is None where it is that of our statistic.
    """
    own = result["statistic"]
    if own is not None and own.get("paper") is not None:
        return {"name": None, "value": own["paper"], "unit": own["unit"]}
    return result["paper"][0] if result["paper"] else None


def _where(paper: Mapping[str, Any]) -> str:
    """Where a paper can be found: its number in arXiv or its address; where it was published."""
    its = paper["citation"]
    place = f"arXiv {its['arxiv']}" if "arxiv" in its else its["url"]
    return f"{place}; {its.get('venue', its['year'])}"


def _stated(entry: Mapping[str, Any]) -> str:
    """A number of the paper with its unit."""
    return wording.with_unit(wording.given(entry["value"]), entry["unit"])


def _setting(value: Any) -> str:
    """A parameter of a rule in words."""
    return wording.given(value) if isinstance(value, int | float) else str(value)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("limitcycles.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # `tojson` escapes <, > and &, so that no text of a result can end its script element.
    environment.policies["json.dumps_kwargs"] = {
        "allow_nan": False,
        "ensure_ascii": False,
        "separators": (",", ":"),
    }
    environment.filters |= {
        "number": wording.number,
        "interval": wording.interval,
        "estimate": wording.estimate,
        "over": wording.over,
        "percent": wording.percent,
        "with_unit": wording.with_unit,
        "given": wording.given,
        "stated": _stated,
        "setting": _setting,
        "headline": _headline,
        "said": _said,
        "found": _where,
        "slug": lambda text: text.replace(" ", "-"),
        "packed": _packed,
        "untitled": lambda spec: {key: spec[key] for key in spec if key != "title"},
    }
    environment.globals["VERDICTS"] = VERDICTS
    return environment


def _packed(content) -> str:
    """Text, or anything else as JSON, compressed and in letters."""
    text = content if isinstance(content, str) else json.dumps(content, allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _resource(name: str) -> Markup:
    return Markup(
        resources.files("limitcycles.report").joinpath("templates", name).read_text("utf-8")
    )
