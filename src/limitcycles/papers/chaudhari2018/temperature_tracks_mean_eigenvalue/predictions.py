"""Late noise of networks against what theory predicts of it; it decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from limitcycles.judging import wording
from limitcycles.judging.result import check
from limitcycles.papers.chaudhari2018.temperature_tracks_mean_eigenvalue.measure import GROUPS
from limitcycles.statistics.intervals import POSITIVE, REAL, estimate

EQUAL, MATCHED = GROUPS
FACTOR = 2  # a prediction holds if all settings are within it
APART = 0.1  # of the log of two rates, from which an exponent can be read off them


def points(one: xr.Dataset) -> int:
    """Steps that the variance is over: the second half."""
    return one.attrs["steps"] - one.attrs["steps"] // 2


def predictions(one: xr.Dataset) -> dict[str, xr.DataArray]:
    """Predicted variance of the weights by theory, over (setting, group).

    "D": the Hessian is D, noise D/b as the spectrum has it (`noise_temperature.expected_variance`).
    "step": the weights diffuse, η² v (n + 1)/6, with the variance v of the mini-batch gradients
    that was measured in these steps, and no spectrum.
    """
    step = one["learning_rate"] ** 2 * one["late_gradient_variance"] * (points(one) + 1) / 6
    return {"D": one["expected_variance"], "step": step}


def agreement(measured: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Slope and correlation of log measured on log predicted, and ends and middle of the ratio.

    Slope and correlation are NaN where all predictions are equal.
    """
    x, y = np.log(predicted), np.log(measured)
    slope = correlation = float("nan")
    if np.ptp(x) > 0 and np.ptp(y) > 0:
        slope = float(np.polyfit(x, y, 1)[0])
        correlation = float(np.corrcoef(x, y)[0, 1])
    ratio = measured / predicted
    return {
        "slope": slope,
        "correlation": correlation,
        "low": float(ratio.min()),
        "middle": float(np.exp(np.log(ratio).mean())),
        "high": float(ratio.max()),
    }


def exponents(one: xr.Dataset) -> tuple[float, float]:
    """(a, c) of variance ∝ η^a · (mean λ)^c, in one seed.

    a from each network at its two rates, mean over networks whose rates differ; c is the slope over
    networks at equal η/b. Equal noise at equal η·mean λ needs a = c. NaN where nothing differs.
    """
    variance, rate = np.log(one["variance"]), np.log(one["learning_rate"])
    rates = (rate.sel(group=MATCHED) - rate.sel(group=EQUAL)).values
    rise = (variance.sel(group=MATCHED) - variance.sel(group=EQUAL)).values
    differ = np.abs(rates) > APART
    a = float((rise[differ] / rates[differ]).mean()) if differ.any() else float("nan")
    mean = np.log(one["mean_eigenvalue"].sel(group=EQUAL).values)
    c = float("nan")
    if np.ptp(mean) > APART:
        c = float(np.polyfit(mean, variance.sel(group=EQUAL).values, 1)[0])
    return a, c


def checks(tables: Sequence[xr.Dataset], arms: Mapping[str, str], level: float) -> list[dict]:
    """Checks for the result of the claim; `tables` has one a seed, with finite variances only."""
    return [
        _prediction(tables, "D", "theory: the Hessian is D"),
        _prediction(tables, "step", "theory: diffusion by the noise that was measured"),
        _exponents(tables, level),
        _one_step(tables, arms),
        _trend(tables),
    ]


def _prediction(tables: Sequence[xr.Dataset], kind: str, name: str) -> dict:
    predicted = [predictions(one)[kind] for one in tables]
    if not np.isfinite(predicted).all():
        return check(name, False, "the steps are unstable by theory")
    found = agreement(
        np.array([one["variance"] for one in tables]).ravel(), np.array(predicted).ravel()
    )
    variation = [p.std("setting", ddof=1) / p.mean("setting") for p in predicted]
    ratios = [float(v.sel(group=MATCHED) / v.sel(group=EQUAL)) for v in variation]
    ratio = estimate(ratios, POSITIVE).value
    low, middle, high = (wording.number(found[key]) for key in ("low", "middle", "high"))
    return check(
        name,
        found["low"] >= 1 / FACTOR and found["high"] <= FACTOR,
        f"measured over predicted {low} to {high}, geometric mean {middle}; slope "
        f"{wording.number(found['slope'])} and correlation {wording.number(found['correlation'])} "
        f"of the logarithms; predicted ratio of the spreads {wording.number(ratio)}, "
        "geometric mean over seeds",
    )


def _exponents(tables: Sequence[xr.Dataset], level: float) -> dict:
    name = "exponents: variance ∝ η^a · (mean λ)^c"
    found = np.array([exponents(one) for one in tables])
    if not np.isfinite(found).all():
        return check(name, False, "the settings are too alike to tell")
    words = []
    for letter, values in zip("ac", found.T, strict=True):
        mean, interval, _ = estimate(values, REAL, level)
        words.append(f"{letter} = {wording.number(mean)} {wording.interval(interval)}".strip())
    a, c = found.mean(0)
    return check(
        name,
        abs(a - c) <= 0.1,
        f"{', '.join(words)}; equal noise at equal η·mean λ needs a = c (diffusion: 2 "
        f"and 1, by unit of time 1 and 1; at rest with the Hessian D: 1 and 0). Here η ∝ "
        f"(mean λ)^{wording.number(-c / a)} would make it most alike",
    )


def _one_step(tables: Sequence[xr.Dataset], arms: Mapping[str, str]) -> dict:
    """Variance of a mini-batch gradient at the snapshot over mean λ(D)/b, in both modes."""
    held, words = [], []
    for run, name in arms.items():
        if run not in tables[0]["setting"].values:
            continue
        ratios = {}
        for mode in ("evaluation", "training"):
            values = []
            for one in tables:
                its = one.sel(setting=run, group=MATCHED)
                by_definition = float(its["mean_eigenvalue"] / its["batch"])
                values.append(float(its[f"gradient_variance_{mode}"]) / by_definition)
            ratios[mode] = estimate(values, POSITIVE).value
        held.append(1 / FACTOR <= ratios["training"] <= FACTOR)
        pair = " and ".join(wording.number(value) for value in ratios.values())
        words.append(f"{name} {pair}")
    return check(
        "one step: the noise has the variance mean λ(D)/b",
        all(held),
        "measured over mean λ(D)/b at the snapshot, geometric means over seeds, in "
        f"evaluation and in training mode, in which the steps are taken: {'; '.join(words)}",
    )


def _trend(tables: Sequence[xr.Dataset]) -> dict:
    by_group = {
        group: np.mean([one["trend_share"].sel(group=group) for one in tables]) for group in GROUPS
    }
    return check(
        "weights are at rest around a minimum",
        all(share < 0.3 for share in by_group.values()),
        "share of the variance that is a straight line in time, mean over networks and "
        "seeds (0 at rest, 0.6 in "
        f"diffusion, 1 in a steady drift): {wording.number(by_group[EQUAL])} at equal η/b, "
        f"{wording.number(by_group[MATCHED])} at equal (η/b)·mean λ",
    )
