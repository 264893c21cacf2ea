"""Is the covariance of a mini-batch gradient D/b, or (1/b)(1 − b/N) D'? (Def. 1, App. A)"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats

from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import largest, result_entry, single
from limitcycles.judging.result import Outcome, Verdict, arm, check, negative, paper_value, positive
from limitcycles.statistics.intervals import EXPECTED, MEAN

# What the rule reads of its entry of the ledger.
PARAMETERS = {
    "noise-covariance-with-replacement": ("level", "half_width", "enumerated"),
    "noise-covariance-without-replacement": ("level", "half_width", "full_batch", "enumerated"),
}
PAPER = {
    "noise-covariance-with-replacement": ("b tr(cov) / tr(D)",),
    "noise-covariance-without-replacement": ("b tr(cov) / ((1 − b/N) tr(D'))",),
}
NEEDED_ARMS = ("network", "enumerated")
ARMS = ("network", "enumerated")

RARE = 1e-3  # a true control fails by chance this often


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Judge every batch size by itself; the sampling follows from the claim's id."""
    parameters = entry["rule_parameters"]
    sampling = entry["id"].removeprefix("noise-covariance-")
    network, enumeration, closed_form = (
        evidence.parts[part].sel(sampling=sampling)
        for part in ("network", "enumeration", "closed_form")
    )
    network = network.sortby("batch")
    holds = passes(network, parameters)
    full = float(network["full_batch_ratio"])
    exact = bool((enumeration["error"] <= parameters["enumerated"]).all())
    missing = misses(network, parameters["half_width"])
    caveats = _failures(network, holds, parameters)
    chance = _chance(network, parameters["level"])
    if caveats and chance["holds"]:
        caveats.append("as many misses of several intervals and envelopes occur by chance (checks)")
    by_log = passes(network, parameters, log=True)
    for b, here in zip(network["batch"].values, (by_log != holds).values, strict=True):
        if here:
            caveats.append(f"b = {int(b)}: another answer by the interval on the log scale")
    vanishes = sampling == "with-replacement" or full < parameters["full_batch"]
    if not vanishes:
        caveats.append(f"at b = N the covariance is {full:.3g} of D' and not zero")
    if not exact:
        caveats.append("the covariance over all mini-batches differs from the formula")

    if bool(missing.all()):
        verdict = Verdict.CONTRADICTED
    elif not bool(holds.any()):
        verdict = Verdict.NOT_REPRODUCED
    else:
        verdict = (
            Verdict.REPRODUCED if bool(holds.all()) and vanishes and exact else Verdict.WITH_CAVEAT
        )
    statistics = [
        _ratio(network.isel(size=i), entry, parameters["level"])
        for i in range(network.sizes["size"])
    ]
    if sampling == "without-replacement":
        statistics.append(
            single(
                "tr(cov)/tr(D') at b = N",
                full,
                n=int(network.attrs["full_batch_draws"]),
                level=parameters["level"],
                missing="every such mini-batch is all of the data",
                values=[full],
            )
        )
    errors = largest(
        "error of the enumerated covariance relative to D/b",
        enumeration["error"].values,
        unit="1",
        level=parameters["level"],
    )
    arms = [
        arm(entry, "network", bool(holds.all()) and vanishes, statistics),
        arm(entry, "enumerated", exact, [errors]),
    ]
    ratios = statistics[: network.sizes["size"]]
    return Outcome(
        verdict,
        max(ratios, key=lambda s: abs(s["value"] - s["paper"])),
        arms,
        _controls(entry, network, closed_form),
        [
            chance,
            _enumerated(enumeration, exact),
            _draws(network, parameters["half_width"]),
            _log(network, by_log, holds),
        ],
        caveats,
    )


def _part(network: xr.Dataset, prefix: str, log: bool = False) -> tuple[xr.DataArray, ...]:
    """Interval of the ratio, as the rule has it linear, or `log`; distance and its envelope."""
    low, high, ratio, *others = (
        network[f"{prefix}{name}"]
        for name in ("low", "high", "ratio", "distance", "envelope_low", "envelope_high")
    )
    if not log:
        half = ratio * np.log(high / low) / 2  # the ends stored are ratio · e^{± half/ratio}
        low, high = ratio - half, ratio + half
    return low, high, *others


def passes(
    network: xr.Dataset, parameters: dict, prefix: str = "", log: bool = False
) -> xr.DataArray:
    """Which batch sizes meet the rule; `prefix` "control_" for the other sampler."""
    low, high, distance, near, far = _part(network, prefix, log)
    contains = (low <= 1) & (high >= 1) & ((high - low) / 2 <= parameters["half_width"])
    return contains & (distance >= near) & (distance <= far)


def misses(network: xr.Dataset, distance: float) -> xr.DataArray:
    """For which batch sizes the interval of the ratio lies further than `distance` from 1."""
    low, high, *_ = _part(network, "")
    return (low > 1 + distance) | (high < 1 - distance)


def _ratio(at: xr.Dataset, entry: dict, level: float) -> dict:
    (number,) = entry["paper"]
    return result_entry(
        f"{number['name']}, b = {int(at['batch'])}",
        at["ratio"],
        kind=MEAN,
        unit="1",
        level=level,
        n=at["draws"],
        interval=(at["low"], at["high"]),
        scale=EXPECTED.name,
        paper=paper_value(entry, number["name"]),
        values=[at["ratio"]],
    )


def _failures(network: xr.Dataset, holds: xr.DataArray, parameters: dict) -> list[str]:
    """In words, what each batch size that fails has missed."""
    found = []
    for i in range(network.sizes["size"]):
        if bool(holds[i]):
            continue
        low, high, distance, near, far = (float(v[i]) for v in _part(network, ""))
        what = []
        if not low <= 1 <= high:
            what.append(f"the interval of the ratio misses 1 by {max(low - 1, 1 - high):.2g}")
        if (high - low) / 2 > parameters["half_width"]:
            what.append(f"its half-width is {(high - low) / 2:.2g}")
        if not near <= distance <= far:
            side = (
                "above its envelope" if distance > far else "below its envelope: closer than most"
            )
            what.append(f"the distance {distance:.3g} from the formula lies {side}")
        found.append(f"b = {int(network['batch'][i])}: {' and '.join(what)}")
    return found


def _chance(network: xr.Dataset, level: float) -> dict:
    """How likely as many misses are if the claim is true: each b has its own two intervals."""
    low, high, distance, near, far = _part(network, "")
    out = int(((low > 1) | (high < 1)).sum() + ((distance < near) | (distance > far)).sum())
    count = 2 * network.sizes["size"]
    chance = float(stats.binom.sf(out - 1, count, 1 - level))
    smallest = {name: float(network[f"{name}_p"].min()) for name in ("ratio", "distance")}
    return check(
        "several batch sizes",
        chance > 1 - level,
        f"{out} of {count} intervals and envelopes of {wording.percent(level)} each are "
        f"missed; so many or more would be in {wording.number(100 * chance)} % of repetitions if "
        f"the claim is true and they are independent. Smallest p: {smallest['ratio']:.2g} of a "
        f"ratio, {smallest['distance']:.2g} of a distance (with {network.attrs['replications']} "
        f"simulated draws none is below {2 / (1 + network.attrs['replications']):.2g})",
    )


def _enumerated(enumeration: xr.Dataset, exact: bool) -> dict:
    several = enumeration.sel(batch=enumeration["batch"] > 1)
    return check(
        "second rule: every mini-batch, without draws",
        exact,
        f"largest error {float(enumeration['error'].max()):.2g} of D/b over "
        f"b = {', '.join(str(b) for b in enumeration['batch'].values)} of "
        f"{enumeration.attrs['samples']} examples; with the formula of the other sampling it is at "
        f"least {float(several['other'].min()):.2g} for b > 1",
    )


def _draws(network: xr.Dataset, most: float) -> dict:
    low, high, *_ = _part(network, "")
    half = (high - low) / 2
    words = "; ".join(
        f"b = {int(b)}: {int(m):,}, ± {float(h):.3f}"
        for b, m, h in zip(network["batch"], network["draws"], half, strict=True)
    )
    return check(
        "enough draws",
        (half <= most).all(),
        f"mini-batches drawn, and the half-width of the ratio: {words}. D of the "
        f"{network.attrs['samples']} gradients in {network.attrs['weights']:,} dimensions has "
        f"{network.attrs['directions']:.1f} effective directions; training error "
        f"{network.attrs['train_error']:.1f} %",
    )


def _log(network: xr.Dataset, by_log: xr.DataArray, holds: xr.DataArray) -> dict:
    words = "; ".join(
        f"b = {int(at['batch'])}: {wording.interval((float(at['low']), float(at['high'])))}"
        for at in (network.isel(size=i) for i in range(network.sizes["size"]))
    )
    return check(
        "third rule: the interval of the ratio on the log scale",
        (by_log == holds).all(),
        f"passes for {int(by_log.sum())} of {by_log.size} sizes, {int(holds.sum())} by "
        f"the linear interval, which decides: {words}",
    )


def _controls(entry: dict, network: xr.Dataset, closed_form: xr.Dataset) -> list[dict]:
    parameters = entry["rule_parameters"]
    level = parameters["level"]
    passed = passes(closed_form, parameters)
    # The ratio and the envelope of a true claim are missed in 1 − level each, at most.
    needed = stats.binom.ppf(RARE, passed.size, 2 * level - 1)
    known = float(closed_form["formula_error"]) <= parameters["enumerated"]
    fooled = passes(network, parameters, "control_")
    return [
        positive(
            f"{passed.size} repetitions with a known D: at least {needed:.0f} pass",
            "repetitions that pass",
            passed.sum(),
            known and int(passed.sum()) >= needed,
        ),
        negative(
            f"the other sampler at b = {int(network['control_batch'])}",
            "ratio of the traces",
            network["control_ratio"],
            not bool(fooled),
        ),
    ]
