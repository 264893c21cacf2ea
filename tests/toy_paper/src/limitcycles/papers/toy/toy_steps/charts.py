"""Traces of the arms."""

import altair as alt
import pandas as pd

from limitcycles.charts import data
from limitcycles.charts.theme import dressed
from limitcycles.judging.evidence import Evidence

NAMES = ("traces",)


def draw(result: dict, evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    values = [
        {"arm": arm["name"], "value": value}
        for arm in result["arms"]
        for value in arm["statistics"][0]["values"]
    ]
    chart = alt.Chart(data.table(pd.DataFrame(values))).mark_point().encode(x="value:Q", y="arm:N")
    return {"traces": dressed(chart, "Traces", "One point a seed.")}
