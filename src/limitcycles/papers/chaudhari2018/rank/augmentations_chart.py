"""D of augmented data against the number of augmentations of each image."""

from typing import Any

import altair as alt
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.statistics.intervals import POSITIVE, estimate

COLUMNS = {"rank": "rank (% of d)", "mean": "mean eigenvalue (gradient squared)"}


def chart(
    result: dict[str, Any], spectra: data.Stores, papers: dict[str, float]
) -> alt.TopLevelMixin | None:
    """Rank and mean eigenvalue against the number of augmentations, after training, by seed.

    `papers` are the paper's numbers by the keys of COLUMNS. None: no arm has augmentations.
    """
    rows, said, arms = [], [], []
    for arm in result["arms"]:
        mine = data.of_arm(spectra, result, arm)
        last = [s for s in data.at(mine, data.percents(mine)[-1]) if "augmentations" in s.dims]
        if not last:
            continue
        arms.append(arm["name"])
        rows += [_curve(spectrum).assign(arm=arm["name"]) for spectrum in last]
        means = pd.concat(rows[-len(last) :]).groupby("augmentations")["rank"]
        means = means.agg(lambda ranks: estimate(ranks, POSITIVE).value)
        said.append(
            f"{arm['name']} "
            + ", ".join(f"{wording.number(rank)} % at {number:g}" for number, rank in means.items())
        )
    if not rows:
        return None
    frame, chosen = pd.concat(rows), parts.legend_choice("arm")
    panels = [_panel(frame, column, papers[column], arms, chosen) for column in COLUMNS]
    caption = (
        "D over several augmentations of each image, after training, one line per seed. Rank by "
        f"the paper's rule against the number of augmentations, as geometric mean over seeds: "
        f"{'; '.join(said)}. The paper's figure (dashed) says "
        f"{wording.given(papers['rank'])} % and a mean of {wording.given(papers['mean'])}."
    )
    return dressed(parts.panels(panels, chosen), "Settled over augmentations?", caption)


def _curve(spectrum: xr.Dataset) -> pd.DataFrame:
    """One row per number of augmentations that is resolved: rank in % of d, mean eigenvalue."""
    frame = pd.DataFrame(
        {
            "augmentations": spectrum["augmentations"].values,
            "rank": 100 * spectrum["augmented_rank"].values / int(spectrum.attrs["weights"]),
            "mean": spectrum["augmented_mean"].values,
            "seed": spectrum.attrs["seed"],
        }
    )
    return frame.dropna()


def _panel(
    frame: pd.DataFrame, column: str, paper: float, arms: list[str], chosen: alt.Parameter
) -> alt.LayerChart:
    low, high = parts.log_range([*frame[column], paper])
    numbers = sorted({int(number) for number in frame["augmentations"]})
    title, names = COLUMNS[column], alt.Scale(domain=arms)
    base = alt.Chart(data.table(frame[["augmentations", column, "arm", "seed"]])).encode(
        x=alt.X(
            "augmentations:Q",
            scale=alt.Scale(type="log", base=2, domain=[numbers[0] / 1.1, numbers[-1] * 1.1]),
            axis=alt.Axis(title="augmentations of each image", values=numbers, format="d"),
        ),
        y=alt.Y(
            f"{column}:Q",
            scale=parts.log_scale(low, high),
            axis=parts.log_axis(title, low, high, plain=True),
        ),
        color=alt.Color("arm:N", scale=names, legend=parts.legend("arm")),
        shape=alt.Shape("arm:N", scale=names, legend=parts.legend("arm")),
        opacity=parts.fading(chosen, 0.9),
        detail="seed:N",
        tooltip=[
            alt.Tooltip("arm:N"),
            alt.Tooltip("seed:N"),
            alt.Tooltip("augmentations:Q"),
            alt.Tooltip(f"{column}:Q", title=title, format=".3~g"),
        ],
    )
    points = base.mark_point(filled=True, size=60)
    line = parts.horizontal_line(paper, f"paper: {wording.given(paper)}")
    return parts.panel(alt.layer(base.mark_line(), points, line), title)
