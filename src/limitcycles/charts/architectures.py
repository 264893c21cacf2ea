"""Chart of the claim that the spectrum ranks architectures (Rem. 16)."""

from typing import Any

import altair as alt
import pandas as pd
import xarray as xr

from limitcycles import wording
from limitcycles.charts import data, parts
from limitcycles.charts.theme import dressed

NAMES = ("score-against-error",)

ERROR = "test error"
SCORE = "rank(D)/d + var λ(D)"


def draw(
    result: dict[str, Any], spectra: list[xr.Dataset], runs: list[xr.Dataset]
) -> dict[str, alt.TopLevelMixin]:
    """Chart of the claim: the score of each network against its test error after training."""
    moments = data.percents(spectra)
    points, means = _tables(result, runs, moments)
    chosen = parts.legend_choice("network")
    order = [arm["name"] for arm in result["arms"]]
    panels = [
        _panel(
            points[points["percent"] == percent],
            means[means["percent"] == percent],
            "score before training" if percent == 0 else f"score after {percent:g} % of training",
            order,
            chosen,
        )
        for percent in moments
    ]
    last = means[means["percent"] == moments[-1]]
    facts = [
        f"{row.network} {wording.number(row.score)} and {wording.number(row.error)} %"
        for row in last.itertuples()
    ]
    headline = result["statistic"]
    caption = (
        f"If the claim holds, the score {SCORE} orders the networks as their test error does. "
        "Large marks are means over seeds, small ones the seeds. Score after training and test "
        f"error: {'; '.join(facts)}. {headline['name']}: {wording.estimate(headline)}."
    )
    chart = dressed(parts.panels(panels, chosen), "Score against test error", caption)
    return {"score-against-error": chart}


def _tables(
    result: dict[str, Any], runs: list[xr.Dataset], moments: list[float]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per network, snapshot (percent) and seed, and the same for means over seeds."""
    points, means = [], []
    for arm in result["arms"]:
        seeds = [run.attrs["seed"] for run in data.of_arm(runs, result, arm)]
        error = data.statistic(result, arm, ERROR)
        for percent in moments:
            score = data.statistic(result, arm, f"{SCORE} at {percent} %")
            key = {"network": arm["name"], "percent": percent}
            means.append(key | {"score": score["value"], "error": error["value"]})
            values = zip(seeds, score["values"], error["values"], strict=True)
            points += [key | {"seed": s, "score": y, "error": x} for s, y, x in values]
    return pd.DataFrame(points), pd.DataFrame(means)


def _panel(
    points: pd.DataFrame, means: pd.DataFrame, title: str, order: list[str], chosen: alt.Parameter
) -> alt.LayerChart:
    names = alt.Scale(domain=order)
    low, high = parts.log_range(points["score"])
    if high / low > 30:
        score = {
            "scale": parts.log_scale(low, high),
            "axis": parts.log_axis(SCORE, low, high, True),
        }
    else:
        score = {"scale": alt.Scale(zero=False, padding=14)}

    def marks(frame: pd.DataFrame, size: int, opacity: float, seed: list[alt.Tooltip]) -> alt.Chart:
        return (
            alt.Chart(data.table(frame.drop(columns="percent")))
            .mark_point(filled=True, size=size)
            .encode(
                x=alt.X(
                    "error:Q",
                    title="test error after training (%)",
                    scale=alt.Scale(zero=False, padding=14),
                ),
                y=alt.Y("score:Q", title=SCORE, **score),
                color=alt.Color("network:N", scale=names, legend=parts.legend(None)),
                shape=alt.Shape("network:N", scale=names, legend=parts.legend(None)),
                opacity=parts.fading(chosen, opacity),
                tooltip=[
                    alt.Tooltip("network:N"),
                    *seed,
                    alt.Tooltip("score:Q", title=SCORE, format=".4~g"),
                    alt.Tooltip("error:Q", title="test error (%)", format=".3~g"),
                ],
            )
        )

    small = marks(points, 36, 0.5, [alt.Tooltip("seed:N")])
    large = marks(means, 170, 1.0, [])
    return parts.panel(alt.layer(small, large), title)
