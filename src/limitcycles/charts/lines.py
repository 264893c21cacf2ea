"""Spectra as lines: one panel, several snapshots, one seed in front of the others."""

import altair as alt
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.statistics.thresholds import paper_threshold

FLOOR = 1e-14  # the drawn range in units of the largest eigenvalue; below it is rounding
_TITLE = "after training for"
_DASHES = [[1, 4], [2, 3], [7, 4], [1, 0]]


def choice() -> alt.Parameter:
    """The choice of snapshots that all panels share; hand it to `parts.panels`."""
    return parts.legend_choice("snapshot")


def panel(
    spectra: list[xr.Dataset],
    title: str,
    chosen: alt.Parameter,
    threshold: bool,
    also: alt.LayerChart | None = None,
) -> alt.LayerChart:
    """Eigenvalue against index (% of d), log-log, one line per snapshot.

    The lowest seed is drawn in full, the others faint. `threshold` adds the rank threshold
    λ_max·d·ε(float32) of each snapshot of that seed; `also` is laid on top. Eigenvalues of zero
    have no place on a log axis and are left out.

    Raises ChartDataError if all eigenvalues are zero.
    """
    front = min(spectrum.attrs["seed"] for spectrum in spectra)
    close, faint, limits = [], [], []
    for spectrum in spectra:
        seed, label = spectrum.attrs["seed"], data.snapshot_label(spectrum.attrs["percent"])
        lines, most = (close, data.LINE_POINTS) if seed == front else (faint, data.FAINT_POINTS)
        lines.append(_line(spectrum, most).assign(snapshot=label, seed=seed))
        if seed == front:
            cut = paper_threshold(spectrum.attrs["weights"])
            largest = float(spectrum["eigenvalue"].values[0])
            limits.append({"snapshot": label, "limit": cut * largest})
    order = [data.snapshot_label(percent) for percent in data.percents(spectra)]
    # Colours and dashes count from the end: the last snapshot is always dark and solid.
    slots = [f"({k})" for k in range(len(_DASHES) - len(order))] + order
    legend = parts.legend(_TITLE, lines=True, values=order)
    drawn = pd.concat(close + faint)
    top, left = float(drawn["eigenvalue"].max()), float(drawn["percent"].min())
    bottom = max(float(drawn["eigenvalue"].min()), top * FLOOR) / 2
    place = {
        "x": alt.X(
            "percent:Q",
            scale=parts.log_scale(left, 100),
            axis=parts.log_axis("index (% of d)", left, 100, plain=True),
        ),
        "y": alt.Y(
            "eigenvalue:Q",
            scale=parts.log_scale(bottom, 3 * top),
            axis=parts.log_axis("eigenvalue of D (gradient squared)", bottom, 3 * top),
        ),
        "color": alt.Color("snapshot:O", scale=alt.Scale(domain=slots), legend=legend),
    }
    dash = alt.StrokeDash(
        "snapshot:O", scale=alt.Scale(domain=slots, range=_DASHES[-len(slots) :]), legend=legend
    )
    base = alt.Chart(data.table(pd.concat(close))).encode(**place)
    # The legend looks like the first layer: the faint lines come after it.
    layers = [base.mark_line(clip=True).encode(strokeDash=dash, opacity=parts.fading(chosen))]
    if faint:
        others = alt.Chart(data.table(pd.concat(faint))).encode(**place, detail="seed:N")
        layers.append(
            others.mark_line(style="faint", clip=True).encode(opacity=parts.fading(chosen, 0.4))
        )
    layers.append(
        base.mark_point(size=70, clip=True, aria=False).encode(
            opacity=alt.value(0), tooltip=_tooltip()
        )
    )
    if threshold:
        cuts = alt.Chart(data.table(pd.DataFrame(limits)))
        layers.append(
            cuts.mark_rule(strokeDash=[2, 3], strokeWidth=1.3).encode(
                y="limit:Q",
                color=place["color"],
                opacity=parts.fading(chosen),
                tooltip=[
                    alt.Tooltip("snapshot:N", title=_TITLE),
                    alt.Tooltip("limit:Q", title="λ_max·d·ε(float32)", format=".3e"),
                ],
            )
        )
    if also is not None:
        layers.append(also)
    return parts.panel(alt.layer(*layers), title)


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("snapshot:N", title=_TITLE),
        alt.Tooltip("seed:N"),
        alt.Tooltip("index:Q", format=","),
        alt.Tooltip("percent:Q", title="index (% of d)", format=".3~g"),
        alt.Tooltip("eigenvalue:Q", format=".3e"),
    ]


def _line(spectrum: xr.Dataset, most: int) -> pd.DataFrame:
    """A thinned line with columns index (from 1), percent (of d) and eigenvalue (> 0)."""
    values = spectrum["eigenvalue"].values
    keep = data.thin(values.size, most)
    frame = pd.DataFrame(
        {
            "index": keep + 1,
            "percent": 100 * (keep + 1) / int(spectrum.attrs["weights"]),
            "eigenvalue": values[keep],
        }
    )
    frame = frame[frame["eigenvalue"] > 0]
    if frame.empty:
        attrs = spectrum.attrs
        raise data.ChartDataError(
            f"the spectrum of run '{attrs['run']}', seed {attrs['seed']}, at {attrs['percent']} % "
            "has no positive eigenvalue to draw; check that the network trains."
        )
    return frame
