"""How often each face was thrown."""

import altair as alt
import numpy as np
import pandas as pd

from limitcycles.charts import data
from limitcycles.charts.theme import dressed
from limitcycles.judging.evidence import Evidence

NAMES = ("throws",)


def draw(result: dict, evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    faces, counts = np.unique(evidence.parts["throws"]["face"], return_counts=True)
    frame = pd.DataFrame({"face": faces, "count": counts})
    chart = alt.Chart(data.table(frame)).mark_bar().encode(x="face:O", y="count:Q")
    return {"throws": dressed(chart, "Throws", f"{counts.sum()} throws of a die.")}
