"""Charts of the claim that the noise does not depend on the weights (Rem. 13)."""

from typing import Any

import altair as alt

from limitcycles.charts import data, estimates, lines, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence

NAMES = ("spectra-over-training", "distance")


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim."""
    return {
        "spectra-over-training": _spectra(result, evidence.spectra),
        "distance": _distance(result, evidence.spectra),
    }


def _spectra(result: dict[str, Any], spectra: data.Stores) -> alt.TopLevelMixin:
    chosen, panels, facts = lines.choice(), [], []
    for arm in result["arms"]:
        mine = data.of_arm(spectra, result, arm)
        panels.append(lines.panel(mine, f"arm: {arm['name']}", chosen, threshold=False))
        front = min(spectrum.attrs["seed"] for spectrum in mine)
        largest = [
            f"{wording.number(float(spectrum['eigenvalue'].values[0]))} at "
            f"{data.snapshot_label(spectrum.attrs['percent'])}"
            for spectrum in mine
            if spectrum.attrs["seed"] == front
        ]
        facts.append(f"{arm['name']} {', '.join(largest)}")
    caption = (
        "If the claim holds, the lines of one panel lie on each other. Largest eigenvalue of the "
        f"seed drawn in full: {'; '.join(facts)}. Faint: the other seeds."
    )
    return dressed(parts.panels(panels, chosen), "Spectra over training", caption)


def _distance(result: dict[str, Any], spectra: data.Stores) -> alt.TopLevelMixin:
    headline = result["statistic"]
    limit = data.rule_parameter(result, "threshold")
    marks, facts = estimates.by_arm(result, spectra, {headline["name"]: headline["name"]}, [limit])
    line = parts.vertical_line(limit, f"rule: below {wording.given(limit)}", "threshold", y=-8)
    caption = (
        f"{headline['name'].capitalize()}: {facts}. Bars are {wording.percent(headline['level'])} "
        "intervals over seeds, circles the seeds. An arm agrees if its whole interval lies below "
        f"{wording.with_unit(wording.given(limit), headline['unit'])} (dotted)."
    )
    chart = alt.layer(marks, line)
    return dressed(chart, "Distance between the spectra of a run", caption)
