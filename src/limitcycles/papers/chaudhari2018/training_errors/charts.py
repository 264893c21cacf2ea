"""Charts of the claim about training and test errors (Sec. IV)."""

import json
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.charts import data, estimates, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence

NAMES = ("error-curves", "final-errors")

KINDS = {"train": "training error", "test": "test error"}


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim."""
    return {
        "error-curves": _curves(result, evidence.runs),
        "final-errors": _final(result, evidence.runs),
    }


def _papers(arms: list[dict[str, Any]]) -> dict[float, str]:
    """The numbers of the paper (%) that errors of these arms are compared with, and the errors.

    A number that stands for both errors is that of "errors".
    """
    found: dict[float, set[str]] = {}
    for arm in arms:
        for entry in arm["statistics"]:
            if entry["paper"] is not None:
                name = KINDS[entry["name"].removesuffix(" error")]
                found.setdefault(float(entry["paper"]), set()).add(name)
    return {
        paper: next(iter(names)) if len(names) == 1 else "errors"
        for paper, names in sorted(found.items())
    }


def _networks(result: dict[str, Any], runs: data.Stores) -> dict[str, list[dict[str, Any]]]:
    """The arms of each network, by the name of the network."""
    found: dict[str, list[dict[str, Any]]] = {}
    for arm in result["arms"]:
        made_with = json.loads(data.of_arm(runs, result, arm)[0].attrs["settings"])
        found.setdefault(made_with["network_name"], []).append(arm)
    return found


def _said(networks: dict[str, list[dict[str, Any]]]) -> str:
    return "; ".join(
        f"{network} "
        + ", ".join(f"{name} {wording.given(p)} %" for p, name in _papers(arms).items())
        for network, arms in networks.items()
    )


def _label(paper: float, name: str) -> str:
    which = "" if name == "errors" else f" ({name.removesuffix(' error')})"
    return f"paper: {wording.given(paper)} %{which}"


def _curves(result: dict[str, Any], runs: data.Stores) -> alt.TopLevelMixin:
    frames, facts = [], []
    for arm in result["arms"]:
        mine = data.of_arm(runs, result, arm)
        frames += [_curve(run, kind).assign(arm=arm["name"]) for run in mine for kind in KINDS]
        last = ", ".join(
            f"{label} {wording.number(np.mean([float(r[f'{kind}_error'][-1]) for r in mine]))} %"
            for kind, label in KINDS.items()
        )
        facts.append(f"{arm['name']} {last}")
    frame, networks = pd.concat(frames), _networks(result, runs)
    chosen = parts.legend_choice("kind")
    panels = []
    for network, arms in networks.items():
        papers = _papers(arms)
        mine = frame[frame["arm"].isin([arm["name"] for arm in arms])]
        bottom, top = parts.log_range([*papers, *mine["error"]])
        lines = [
            parts.horizontal_line(p, _label(p, name), below=len(papers) > 1 and k == 0)
            for k, (p, name) in enumerate(papers.items())
        ]
        for arm in arms:
            curves = mine[mine["arm"] == arm["name"]]
            curves = curves.assign(drawn=curves["error"].clip(lower=bottom))
            chart = alt.layer(*_lines(curves, bottom, top, chosen), *lines)
            panels.append(parts.panel(chart, f"{network}, arm: {arm['name']}"))
    caption = (
        "Errors after each epoch, one line per seed; epoch 0 is before training. After the last "
        f"epoch, as mean over seeds: {'; '.join(facts)}. The paper says: {_said(networks)} "
        "(dashed). An error of zero is drawn at the lower edge."
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


def _final(result: dict[str, Any], runs: data.Stores) -> alt.TopLevelMixin:
    """The networks, whose errors are far apart, one below the other."""
    networks = _networks(result, runs)
    names = {f"{kind} error": label for kind, label in KINDS.items()}
    panels, facts = [], []
    for network, arms in networks.items():
        papers = _papers(arms)
        marks, said = estimates.by_arm(result | {"arms": arms}, runs, names, list(papers))
        drawn = [
            parts.vertical_line(p, _label(p, name), y=-8, align="right" if k == 0 else "left")
            for k, (p, name) in enumerate(papers.items())
        ]
        panels.append(
            alt.layer(marks, *drawn).properties(title=alt.Title(network, fontSize=13, offset=22))
        )
        facts.append(said)
    level = wording.percent(result["statistic"]["level"])
    caption = (
        f"Errors after training: {'; '.join(facts)}. Bars are {level} intervals over seeds, "
        f"circles the seeds. The paper says: {_said(networks)} (dashed)."
    )
    return dressed(alt.concat(*panels, columns=1), "Errors after training", caption)
