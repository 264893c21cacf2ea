"""Charts of the claims about the rank of the diffusion matrix (Figs 1 and 2)."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.charts import data, estimates, lines, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.papers.chaudhari2018.rank import augmentations_chart, printed_moments_chart
from limitcycles.statistics.intervals import POSITIVE, estimate
from limitcycles.statistics.thresholds import paper_threshold

# The last is drawn only where D was taken over several augmentations of the images.
NAMES = (
    "spectrum",
    "rank-curve",
    "rank-by-arm",
    "mean-readings",
    "caption-arithmetic",
    "augmentations",
)

RANK = "rank"
MOMENTS = ("mean eigenvalue", "std of eigenvalues")
READINGS = {
    "all": "all eigenvalues",
    "clipped": "clipped at threshold",
    "above": "above threshold only",
}


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of a rank claim."""
    drawn = {
        "spectrum": _spectrum(result, evidence.spectra),
        "rank-curve": _rank_curve(result, evidence.spectra),
        "rank-by-arm": _rank_by_arm(result, evidence.spectra),
        "mean-readings": _mean_readings(result, evidence.spectra),
        "caption-arithmetic": printed_moments_chart.chart(result, evidence.spectra, READINGS),
    }
    papers = {"rank": data.paper_value(result, RANK), "mean": data.paper_value(result, MOMENTS[0])}
    if (swept := augmentations_chart.chart(result, evidence.spectra, papers)) is not None:
        drawn["augmentations"] = swept
    return drawn


def _spectrum(result: dict[str, Any], spectra: data.Stores) -> alt.TopLevelMixin:
    paper = wording.given(data.paper_value(result, RANK))
    line = parts.vertical_line(data.paper_value(result, RANK), f"paper: {paper} %")
    chosen, panels, facts = lines.choice(), [], []
    for arm in result["arms"]:
        mine = data.of_arm(spectra, result, arm)
        panels.append(lines.panel(mine, f"arm: {arm['name']}", chosen, threshold=True, also=line))
        last = data.percents(mine)[-1]
        attrs = data.at(mine, last)[0].attrs
        facts.append(
            f"Arm {arm['name']}, seed {attrs['seed']}, after {last:g} % of training: "
            f"{wording.count(attrs['rank_float32'])} of {wording.count(attrs['weights'])} "
            f"eigenvalues ({wording.number(attrs['rank_percent_float32'])} %) lie above the "
            "threshold."
        )
    caption = (
        f"Eigenvalues of D in descending order. {' '.join(facts)} The dotted level is the "
        "threshold of the rank, λ_max·d·ε(float32), of the seed drawn in full; the dashed line the "
        f"paper's rank, {paper} % of d. Faint: the other seeds."
    )
    return dressed(parts.panels(panels, chosen), "Spectrum of D", caption)


def _rank_curve(result: dict[str, Any], spectra: data.Stores) -> alt.TopLevelMixin:
    paper = data.paper_value(result, RANK)
    frames, facts, sizes = [], [], set()
    for arm in result["arms"]:
        mine = data.of_arm(spectra, result, arm)
        last = data.at(mine, data.percents(mine)[-1])
        d = int(last[0].attrs["weights"])
        sizes.add(d)
        means = {
            kind: wording.number(_percent([s.attrs[f"rank_{kind}"] for s in last], d))
            for kind in ("float32", "float64")
        }
        facts.append(
            f"{arm['name']} {means['float32']} % with float32 and "
            + (f"{means['float64']} %" if means["float64"] != wording.MISSING else "not resolved")
            + " with float64"
        )
        frames += [_curve(spectrum).assign(arm=arm["name"]) for spectrum in last]
    frame = pd.concat(frames)
    names = [arm["name"] for arm in result["arms"]]
    low, high = float(frame["tau"].min()), float(frame["tau"].max())
    marks = [_curves(frame, names, low, high, paper)]
    for d in sorted(sizes):
        for kind in ("float32", "float64"):
            tau = paper_threshold(d, kind)
            if low <= tau <= high:
                marks.append(parts.vertical_line(tau, f"d·ε({kind})", "threshold"))
    marks.append(parts.horizontal_line(paper, f"paper: {wording.given(paper)} % of d"))
    caption = (
        "How the rank depends on the threshold, after training; one line per seed. At the "
        "thresholds λ_max·d·ε (dotted) the rank is, as geometric mean over seeds: "
        f"{'; '.join(facts)}. The paper's figure says {wording.given(paper)} % of d (dashed). A "
        "line ends where the spectrum is not resolved."
    )
    chart = alt.layer(*marks).properties(width=parts.WIDE, height=300)
    return dressed(chart, "Rank against threshold", caption)


def _percent(ranks: list[float], weights: int) -> float:
    """Geometric mean over seeds in percent of the weights; NaN where one is not resolved."""
    resolved = bool(np.isfinite(ranks).all())
    return 100 / weights * estimate(ranks, POSITIVE).value if resolved else float("nan")


def _curve(spectrum: xr.Dataset) -> pd.DataFrame:
    """rank(τ) in percent of d where it is resolved, of one seed."""
    curve = spectrum["rank_curve"]
    frame = pd.DataFrame(
        {
            "tau": curve["tau"].values,
            "rank": 100 * curve.values / int(spectrum.attrs["weights"]),
            "seed": spectrum.attrs["seed"],
        }
    ).dropna()
    return frame[frame["rank"] > 0]


def _curves(
    frame: pd.DataFrame, names: list[str], low: float, high: float, paper: float
) -> alt.LayerChart:
    bottom = min(float(frame["rank"].min()), paper) / 2
    chosen = parts.legend_choice("arm")
    base = alt.Chart(data.table(frame)).encode(
        x=alt.X(
            "tau:Q",
            scale=parts.log_scale(low, high),
            axis=parts.log_axis("threshold τ, relative to the largest eigenvalue", low, high),
        ),
        y=alt.Y(
            "rank:Q",
            scale=parts.log_scale(bottom, 150),
            axis=parts.log_axis("rank: eigenvalues above τ·λ_max (% of d)", bottom, 150, True),
        ),
        color=alt.Color(
            "arm:N", scale=alt.Scale(domain=names), legend=parts.legend("arm", lines=True)
        ),
        detail="seed:N",
    )
    drawn = base.mark_line(strokeWidth=1.7).encode(
        strokeDash=alt.StrokeDash(
            "arm:N", scale=alt.Scale(domain=names), legend=parts.legend("arm", lines=True)
        ),
        opacity=parts.fading(chosen, 0.85),
    )
    targets = base.mark_point(size=90, aria=False).encode(
        opacity=alt.value(0),
        tooltip=[
            alt.Tooltip("arm:N"),
            alt.Tooltip("seed:N"),
            alt.Tooltip("tau:Q", title="τ", format=".2e"),
            alt.Tooltip("rank:Q", title="rank (% of d)", format=".3~g"),
        ],
    )
    return alt.layer(drawn.add_params(chosen), targets)


def _rank_by_arm(result: dict[str, Any], spectra: data.Stores) -> alt.TopLevelMixin:
    paper = data.paper_value(result, RANK)
    headline = result["statistic"]
    marks, facts = estimates.by_arm(
        result, spectra, {headline["name"]: headline["name"]}, [paper], log=True
    )
    line = parts.vertical_line(paper, f"paper: {wording.given(paper)} %", y=-8)
    level = wording.percent(headline["level"])
    caption = (
        f"{headline['name']} after training: {facts}. Bars are {level} "
        f"intervals over seeds, circles the seeds. The paper's figure says {wording.given(paper)} "
        "% of d (dashed)."
    )
    chart = alt.layer(marks, line)
    return dressed(chart, "Rank by arm", caption)


def _mean_readings(result: dict[str, Any], spectra: data.Stores) -> alt.TopLevelMixin:
    papers = [data.paper_value(result, moment) for moment in MOMENTS]
    charts, values = [], {}
    for moment, paper in zip(MOMENTS, papers, strict=True):
        gathered = estimates.Estimates(result, spectra)
        for reading, label in READINGS.items():
            for arm in result["arms"]:
                entry = gathered.add(arm, f"{moment} ({reading})", label)
                values[moment, reading, arm["name"]] = wording.number(entry["value"])
        low, high = parts.log_range([*gathered.values(), paper])
        title = f"{moment} (gradient squared)"
        marks = gathered.chart(
            title,
            row="of",
            colour="arm",
            scale=parts.log_scale(low, high),
            axis=parts.log_axis(title, low, high),
        )
        line = parts.vertical_line(paper, f"paper: {wording.given(paper)}", y=-8)
        charts.append(
            alt.layer(marks, line).properties(
                width=parts.PANEL_WIDTH - 60, height=24 * len(READINGS) * len(result["arms"])
            )
        )
    pairs = [
        f"{arm['name']} "
        + ", ".join(
            f"{values[MOMENTS[0], reading, arm['name']]} ± "
            f"{values[MOMENTS[1], reading, arm['name']]} ({label})"
            for reading, label in READINGS.items()
        )
        for arm in result["arms"]
    ]
    mean, std = (wording.given(paper) for paper in papers)
    caption = (
        "“Mean ± std” of the eigenvalues can be read in three ways, after training, as geometric "
        "means over seeds: "
        f"{'; '.join(pairs)}. The paper's figure says {mean} ± {std} (dashed). Bars are intervals "
        "over seeds, circles the seeds."
    )
    chart = alt.concat(*charts, columns=2).resolve_scale(color="shared")
    return dressed(chart, "Mean and standard deviation of the eigenvalues", caption)
