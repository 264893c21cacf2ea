"""Does local entropy make sharp minima less likely, and the wide saddle good? (Sec. V-C)"""

from __future__ import annotations

import numpy as np
import xarray as xr

from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import single, sloped
from limitcycles.judging.result import Outcome, Verdict, arm, check, negative, positive

# What the rule reads of its entry of the ledger.
PARAMETERS = ("level", "slope", "quantile", "smallest_gamma", "largest_gamma", "steeper")
NEEDED_ARMS = ("wells-1d", "wells-2d", "saddle")
ARMS = ("wells-1d", "wells-2d", "saddle")

WELLS = {"wells-1d": 1, "wells-2d": 2}


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Both parts of the rule at every γ; what smoothing adds decides on caveats only."""
    rule, measured = entry["rule_parameters"], evidence.parts
    wells, saddle = (_of(measured[name], rule) for name in ("wells", "saddle"))
    bare = measured["wells"].sel(gamma=0.0)
    arms = [
        arm(entry, name, bool(falls(wells.sel(dimension=d), rule)), _slopes(wells, d))
        for name, d in WELLS.items()
    ]
    low = bool((saddle["quantile"] < rule["quantile"]).all())
    arms.append(arm(entry, "saddle", low, _quantiles(saddle, rule["level"])))
    sharp = all(a["agrees"] for a in arms[:2])
    caveats = []
    if sharp and low:
        verdict = Verdict.REPRODUCED
    elif sharp or low:
        verdict = Verdict.WITH_CAVEAT
        failed = ", ".join(a["name"] for a in arms if not a["agrees"])
        caveats.append(f"one part holds; not {failed}")
    else:
        verdict = Verdict.NOT_REPRODUCED
    if bool((wells["slope_low"] > rule["slope"]).all()):
        twice = bool((wells["slope_exact_low"] > rule["slope"]).all())
        verdict = Verdict.CONTRADICTED if twice else Verdict.NOT_REPRODUCED
        if not twice:
            caveats.append("the closed form does not confirm that the slope is above 0")
    steeper = float((bare["slope"] - wells["slope"]).max())
    exponential = bool((wells["exponential"] < wells["power"]).all())
    if not steeper > rule["steeper"]:
        caveats.append(
            "the mass of a sharp well is as small without smoothing (γ = 0): local entropy does "
            "not make the slope steeper"
        )
    if not exponential:
        caveats.append(
            "a sharp well's mass falls with a power of the curvature, r^(−d/2), not exponentially "
            "(only in the dimension d)"
        )
    caveats.append("at λ ≠ 0 (Fig. 4c) there is no f to smooth: the saddle is that of f = Φ, λ = 0")
    checks = _checks(measured, wells, saddle, steeper, exponential, rule)
    return Outcome(
        verdict, arms[0]["statistics"][0], arms, _controls(entry, wells), checks, caveats
    )


def _of(part: xr.Dataset, rule: dict) -> xr.Dataset:
    """The γ to which the rule is applied."""
    gamma = part["gamma"]
    return part.sel(
        gamma=gamma[(gamma >= rule["smallest_gamma"]) & (gamma <= rule["largest_gamma"])]
    )


def falls(wells: xr.Dataset, rule: dict, which: str = "") -> bool:
    """The whole interval of the slope lies below the rule's at every γ; `which`: _exact, _fixed."""
    return bool((wells[f"slope{which}_high"] < rule["slope"]).all())


def _slopes(wells: xr.Dataset, d: int) -> list[dict]:
    mine, count = wells.sel(dimension=d), wells.sizes["ratio"]
    return [
        sloped(
            f"slope of log mass ratio, γ = {gamma:g}",
            mine["slope"].sel(gamma=gamma),
            [mine[f"slope_{end}"].sel(gamma=gamma) for end in ("low", "high")],
            count,
            level=wells.attrs["level"],
        )
        for gamma in mine["gamma"].values[::-1]
    ]


def _quantiles(saddle: xr.Dataset, level: float) -> list[dict]:
    return [
        single(
            f"quantile of f_γ at the saddle, γ = {gamma:g} (each: fine and coarse grid)",
            float(saddle["quantile"].sel(gamma=gamma)),
            unit="1",
            level=level,
            values=[saddle[name].sel(gamma=gamma) for name in ("quantile", "coarse_quantile")],
        )
        for gamma in saddle["gamma"].values[::-1]
    ]


def _checks(
    measured: dict[str, xr.Dataset],
    wells: xr.Dataset,
    saddle: xr.Dataset,
    steeper: float,
    exponential: bool,
    rule: dict,
) -> list[dict]:
    bare = measured["saddle"].sel(gamma=0.0)
    change = float(abs(wells["slope"] - measured["wells"]["slope"].sel(gamma=0.0)).max())
    last = saddle.isel(gamma=-1)
    height = wells["height_power"] < wells["height_exponential"]
    powers = [f"{g:g}" for g in wells["gamma"].values if bool(height.sel(gamma=g).all())]
    away = float(abs(wells["depth"] - wells["depth_exact"]).max())
    mass = float(abs(np.log(wells["mass"] / wells["mass_exact"])).max())
    bent = saddle["gamma"].values[saddle["curvature"].values > 0]
    return [
        check(
            "due to smoothing",
            steeper > rule["steeper"],
            "smoothing conserves the mass of each well, ∫G_γ * e^(−f) = ∫e^(−f), and "
            "without it the slope is −d/2 already: it changes by at most "
            f"{wording.number(change, 2)} (to count: steeper by more than "
            f"{wording.given(rule['steeper'])})",
        ),
        check(
            "exponential in the ratio of curvatures",
            exponential,
            "a power of the ratio leaves at most "
            f"{wording.number(float(wells['power'].max()), 2)} of the log mass, an exponential at "
            f"least {wording.number(float(wells['exponential'].min()), 2)} (root mean square)",
        ),
        check(
            "depth of the wells",
            None,
            "what smoothing does change is the height of e^(−f_γ) at the bottom of the "
            "sharp well, by ((1 + γ)/(1 + rγ))^(d/2): like an exponential in r while rγ is small, "
            f"then a power (which fits better at γ = {', '.join(powers) or 'none'})",
        ),
        check(
            "closed form",
            away < 1e-3 and mass < 1e-3,
            f"depths agree with it to {wording.number(away, 2)}, log masses to "
            f"{wording.number(mass, 2)}",
        ),
        check(
            "the saddle without smoothing",
            float(bare["quantile"]) < rule["quantile"],
            f"its quantile is {wording.number(float(bare['quantile']))} at γ = 0 and "
            f"{wording.number(float(last['quantile']))} at γ = {float(last['gamma']):g}"
            + (f"; from γ = {bent.min():g} on it is a minimum of f_γ" if bent.size else "")
            + f"; in the larger box [−3.5, 3.5]² it is at most "
            f"{wording.number(float(saddle['wide_quantile'].max()))}",
        ),
    ]


def _controls(entry: dict, wells: xr.Dataset) -> list[dict]:
    rule = entry["rule_parameters"]
    inside = (wells["slope"] >= wells["slope_exact_low"]) & (
        wells["slope"] <= wells["slope_exact_high"]
    )
    fixed = wells["slope_fixed_high"] < rule["slope"]
    return [
        positive(
            "closed form of two Gaussian wells",
            "slope nearest to 0",
            wells["slope_exact"].max(),
            falls(wells, rule, "_exact") and bool(inside.all()),
        ),
        negative(
            "mass ratio fixed for every curvature",
            "slopes that pass",
            fixed.sum(),
            not bool(fixed.any()),
        ),
    ]
