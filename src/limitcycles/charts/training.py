"""Charts of the claim about training and test errors (Sec. IV)."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles import wording
from limitcycles.charts import data, estimates, parts
from limitcycles.charts.theme import dressed

NAMES = ("error-curves", "final-errors")

KINDS = {"train": "training error", "test": "test error"}


def draw(
    result: dict[str, Any], spectra: list[xr.Dataset], runs: list[xr.Dataset]
) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim; `spectra` is not used."""
    return {"error-curves": _curves(result, runs), "final-errors": _final(result, runs)}


def _papers(result: dict[str, Any]) -> list[float]:
    """The distinct numbers of the paper (%) that the arms' errors are compared with."""
    return sorted(
        {
            float(entry["paper"])
            for arm in result["arms"]
            for entry in arm["statistics"]
            if entry["paper"] is not None
        }
    )


def _said(papers: list[float]) -> str:
    return " and ".join(f"{wording.given(paper)} %" for paper in papers)


def _curves(result: dict[str, Any], runs: list[xr.Dataset]) -> alt.TopLevelMixin:
    frames, facts = [], []
    for arm in result["arms"]:
        mine = data.of_arm(runs, result, arm)
        frames += [_curve(run, kind).assign(arm=arm["name"]) for run in mine for kind in KINDS]
        last = ", ".join(
            f"{label} {wording.number(np.mean([float(r[f'{kind}_error'][-1]) for r in mine]))} %"
            for kind, label in KINDS.items()
        )
        facts.append(f"{arm['name']} {last}")
    frame, papers = pd.concat(frames), _papers(result)
    bottom, top = parts.log_range([*papers, *frame["error"]])
    frame["drawn"] = frame["error"].clip(lower=bottom)
    chosen = parts.legend_choice("kind")
    panels = [
        parts.panel(
            alt.layer(
                *_lines(frame[frame["arm"] == arm["name"]], bottom, top, chosen),
                *(parts.horizontal_line(p, f"paper: {wording.given(p)} %") for p in papers),
            ),
            f"arm: {arm['name']}",
        )
        for arm in result["arms"]
    ]
    caption = (
        "Errors after each epoch, one line per seed; epoch 0 is before training. After the last "
        f"epoch, as mean over seeds: {'; '.join(facts)}. The paper says {_said(papers)} (dashed). "
        "An error of zero is drawn at the lower edge."
    )
    return dressed(parts.panels(panels, chosen), "Errors while training", caption)


def _curve(run: xr.Dataset, kind: str) -> pd.DataFrame:
    """One curve, thinned evenly: epoch, error (%), kind, seed."""
    errors = run[f"{kind}_error"]
    count = min(errors.size, data.LINE_POINTS)
    keep = np.linspace(0, errors.size - 1, count).round().astype(int)
    return pd.DataFrame(
        {
            "epoch": errors["epoch_end"].values[keep],
            "error": errors.values[keep],
            "kind": KINDS[kind],
            "seed": run.attrs["seed"],
        }
    )


def _lines(
    frame: pd.DataFrame, bottom: float, top: float, chosen: alt.Parameter
) -> list[alt.Chart]:
    scale = alt.Scale(domain=list(KINDS.values()))
    axis = parts.log_axis("error (%)", bottom, top, plain=True)
    base = alt.Chart(data.table(frame.drop(columns="arm"))).encode(
        x=alt.X("epoch:Q", title="epoch", scale=alt.Scale(zero=True)),
        y=alt.Y("drawn:Q", scale=parts.log_scale(bottom, top), axis=axis),
        color=alt.Color("kind:N", scale=scale, legend=parts.legend(None, lines=True)),
        detail="seed:N",
    )
    drawn = base.mark_line(strokeWidth=1.6).encode(
        strokeDash=alt.StrokeDash("kind:N", scale=scale, legend=parts.legend(None, lines=True)),
        opacity=parts.fading(chosen, 0.85),
    )
    targets = base.mark_point(size=70, aria=False).encode(
        opacity=alt.value(0),
        tooltip=[
            alt.Tooltip("kind:N", title="curve"),
            alt.Tooltip("seed:N"),
            alt.Tooltip("epoch:Q"),
            alt.Tooltip("error:Q", title="error (%)", format=".3~g"),
        ],
    )
    return [drawn, targets]


def _final(result: dict[str, Any], runs: list[xr.Dataset]) -> alt.TopLevelMixin:
    papers = _papers(result)
    names = {f"{kind} error": label for kind, label in KINDS.items()}
    marks, facts = estimates.by_arm(result, runs, names, papers)
    drawn = [parts.vertical_line(p, f"paper: {wording.given(p)} %", y=-8) for p in papers]
    caption = (
        f"Errors after training: {facts}. Bars are {wording.percent(result['statistic']['level'])} "
        f"intervals over seeds, circles the seeds. The paper says {_said(papers)} (dashed)."
    )
    chart = alt.layer(marks, *drawn)
    return dressed(chart, "Errors after training", caption)
