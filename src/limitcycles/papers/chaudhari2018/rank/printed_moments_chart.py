"""What the caption of a figure leaves to the largest eigenvalue, beside the measured one."""

from typing import Any

import altair as alt
import pandas as pd

from limitcycles.charts import data, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.papers.chaudhari2018.rank import printed_moments

CAPTION = ("rank", "mean eigenvalue", "std of eigenvalues")  # names of the paper's numbers


def chart(result: dict[str, Any], spectra: data.Stores, readings: dict[str, str]) -> alt.LayerChart:
    """Bars: the possible λ_max of each reading, named by `readings`. Points: measured, by seed."""
    last = {}
    for arm in result["arms"]:
        mine = data.of_arm(spectra, result, arm)
        last[arm["name"]] = data.at(mine, data.percents(mine)[-1])
    measured = pd.DataFrame(
        [
            {"arm": name, "seed": s.attrs["seed"], "top": float(s["eigenvalue"].values[0])}
            for name, mine in last.items()
            for s in mine
        ]
    )
    weights = int(next(iter(last.values()))[0].attrs["weights"])
    numbers = [data.paper_value(result, name) for name in CAPTION]
    bars, said = [], []
    for reading, label in readings.items():
        ends = printed_moments.range_of_paper(weights, *numbers, reading)
        if ends is None:
            said.append(f"{label}: none at all")
            bars.append({"reading": label, "low": None, "high": None})
        else:
            low, high = map(wording.number, ends)
            said.append(f"{label}: {low} to {high}")
            bars.append({"reading": label, "low": ends[0], "high": ends[1]})
    bars = pd.DataFrame(bars).astype({"low": float, "high": float})
    rank, mean, std = (wording.given(number) for number in numbers)
    tops = "; ".join(
        f"{name} {', '.join(wording.number(top) for top in mine['top'])}"
        for name, mine in measured.groupby("arm", sort=False)
    )
    caption = (
        f"The paper's caption, {mean} ± {std} with a rank of {rank} % of d = "
        f"{wording.count(weights)}, is arithmetically possible only for these largest eigenvalues "
        f"of D (gradient squared), whatever the network: {'; '.join(said)}. Vertical lines: "
        f"measured after training, one per seed: {tops}. All that rounds to the printed numbers "
        "counts."
    )
    return dressed(
        _layers(bars, measured, list(last)),
        "What the caption can mean: largest eigenvalue",
        caption,
    )


def _layers(bars: pd.DataFrame, measured: pd.DataFrame, arms: list[str]) -> alt.LayerChart:
    low, high = parts.log_range([*bars["low"].dropna(), *bars["high"].dropna(), *measured["top"]])
    title = "largest eigenvalue of D (gradient squared)"
    scale, axis = parts.log_scale(low, high), parts.log_axis(title, low, high)
    base = alt.Chart(data.table(bars)).encode(
        y=alt.Y(
            "reading:N", title="the caption's mean is of", sort=None, axis=alt.Axis(labelLimit=200)
        )
    )
    possible = base.mark_bar(height=16, opacity=0.35, color="gray").encode(
        x=alt.X("low:Q", title=title, scale=scale, axis=axis),
        x2="high:Q",
        tooltip=[
            alt.Tooltip("reading:N"),
            alt.Tooltip("low:Q", title="smallest possible", format=".3~g"),
            alt.Tooltip("high:Q", title="largest possible", format=".3~g"),
        ],
    )
    # Filtered marks alone would leave out the row of a reading that is impossible.
    rows = base.mark_tick(opacity=0).encode(x=alt.value(0))
    possible = possible.transform_filter("isValid(datum.low)")
    none = base.mark_text(style="paper-label", align="left", dx=6).encode(
        x=alt.value(0), text=alt.value("impossible")
    )
    none = none.transform_filter("!isValid(datum.low)")
    chosen = parts.legend_choice("arm")
    marks = (
        alt.Chart(data.table(measured))
        .mark_rule(strokeWidth=2)
        .encode(
            x=alt.X("top:Q", title=title, scale=scale, axis=axis),
            color=alt.Color(
                "arm:N", scale=alt.Scale(domain=arms), legend=parts.legend("measured", lines=True)
            ),
            opacity=parts.fading(chosen, 0.85),
            detail="seed:N",
            tooltip=[
                alt.Tooltip("arm:N"),
                alt.Tooltip("seed:N"),
                alt.Tooltip("top:Q", title="λ_max", format=".3~g"),
            ],
        )
        .add_params(chosen)
    )
    return alt.layer(rows, possible, none, marks).properties(width=parts.WIDE - 80, height=150)
