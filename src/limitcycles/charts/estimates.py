"""Estimates with their intervals and seeds as horizontal bars."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from limitcycles.charts import data, parts
from limitcycles.judging import wording


class Estimates:
    """Statistics of arms, gathered row by row, then drawn.

    Parameters
    ----------
    result
        The claim's result.
    stores
        The spectra or runs that the statistics come from; they name the seed of each value.
    """

    def __init__(self, result: dict[str, Any], stores: data.Stores) -> None:
        self._result, self._stores = result, stores
        self._rows: list[dict[str, Any]] = []
        self._seeds: list[dict[str, Any]] = []

    def add(self, arm: dict[str, Any], name: str, label: str) -> dict[str, Any]:
        """Take the statistic `name` of `arm`, shown as `label`, and return it.

        Raises ChartDataError if the arm lacks it, or has not one value for each seed.
        """
        entry = data.statistic(self._result, arm, name)
        mine = data.of_arm(self._stores, self._result, arm)
        seeds = sorted({store.attrs["seed"] for store in mine})
        if len(seeds) != len(entry["values"]):
            raise data.ChartDataError(
                f"the statistic '{name}' of {self._result['id']}, arm '{arm['name']}', has "
                f"{len(entry['values'])} values for {len(seeds)} seeds; make the claim anew."
            )
        low, high = entry["interval"] or (None, None)
        key = {"arm": arm["name"], "of": label}
        self._rows.append(
            key
            | {
                "value": entry["value"],
                "low": low,
                "high": high,
                "text": wording.estimate(entry),
            }
        )
        self._seeds += [
            key | {"seed": seed, "value": value}
            for seed, value in zip(seeds, entry["values"], strict=True)
        ]
        return entry

    def values(self) -> list[float]:
        """All numbers that will be drawn: estimates, ends of intervals, seeds."""
        rows = [row[key] for row in self._rows for key in ("value", "low", "high")]
        return [v for v in rows if v is not None] + [seed["value"] for seed in self._seeds]

    def chart(
        self, title: str, row: str, colour: str, scale: alt.Scale, axis: alt.Axis | None = None
    ) -> alt.LayerChart:
        """Diamonds with intervals, and the seeds as open circles.

        Parameters
        ----------
        title
            Title of the value axis, with its unit.
        row, colour
            "arm" or "of": what names the rows, and what the colours within a row. Equal: one
            estimate per row, and no legend.
        scale, axis
            Of the values.
        """
        drawn, single = pd.DataFrame(self._rows), row == colour
        names = list(dict.fromkeys(drawn[colour]))
        place: dict[str, Any] = {
            "y": alt.Y(f"{row}:N", title=None, sort=None),
            "color": alt.Color(
                f"{colour}:N",
                scale=alt.Scale(domain=names),
                legend=None if single else parts.legend(None),
            ),
        }
        if not single:
            place["yOffset"] = alt.YOffset(f"{colour}:N", sort=None)
        x = alt.X(
            "value:Q", title=title, scale=scale, axis=axis or alt.Axis(title=title, tickCount=8)
        )
        named = [alt.Tooltip("arm:N"), alt.Tooltip("of:N", title="statistic")]
        whole = [*named, alt.Tooltip("text:N", title="estimate")]
        embedded = data.table(drawn)
        seeds = (
            alt.Chart(data.table(pd.DataFrame(self._seeds)))
            .mark_point(size=55, opacity=0.75)
            .encode(
                **place,
                x=x,
                tooltip=[
                    *named,
                    alt.Tooltip("seed:N"),
                    alt.Tooltip("value:Q", title="value", format=".4~g"),
                ],
            )
        )
        spans = (
            alt.Chart(embedded)
            .mark_rule(strokeWidth=4, opacity=0.45, strokeCap="round")
            .encode(**place, x=alt.X("low:Q", title=title, scale=scale), x2="high:Q", tooltip=whole)
            .transform_filter("isValid(datum.low)")
        )
        centres = (
            alt.Chart(embedded)
            .mark_point(shape="diamond", filled=True, size=120, opacity=1)
            .encode(**place, x=x, tooltip=whole)
        )
        return alt.layer(spans, seeds, centres)


def by_arm(
    result: dict[str, Any],
    stores: data.Stores,
    names: Mapping[str, str],
    references: list[float],
    log: bool = False,
) -> tuple[alt.LayerChart, str]:
    """Draw statistics of every arm, and say them in words for the caption.

    `names` are the statistics, with the label that each is shown as. The axis starts at zero, or is
    logarithmic (`log`, for numbers whose interval is), and has room for `references` (the paper's
    number, a threshold).

    Raises ChartDataError if an arm lacks one of the statistics.
    """
    gathered, facts = Estimates(result, stores), []
    several = len(names) > 1
    for arm in result["arms"]:
        for name, label in names.items():
            entry = gathered.add(arm, name, label)
            who = f"{arm['name']}, {label}" if several else arm["name"]
            facts.append(f"{who} {wording.estimate(entry)}")
    title = "value" if several else label
    if entry["unit"] != "1":
        title += f" ({entry['unit']})"
    values = [*gathered.values(), *references]
    if log:
        low, high = parts.log_range(values)
        scale, axis = parts.log_scale(low, high), parts.log_axis(title, low, high, plain=True)
    else:
        scale, axis = parts.zero_scale(values), None
    chart = gathered.chart(
        title, row="arm", colour="of" if several else "arm", scale=scale, axis=axis
    )
    height = len(result["arms"]) * (28 * len(names) if several else 46)
    return chart.properties(width=parts.WIDE, height=height), "; ".join(facts)
