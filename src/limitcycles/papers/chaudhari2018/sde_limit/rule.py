"""Does SGD converge weakly to its stochastic differential equation? (Lemma 2)"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats

from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import sloped
from limitcycles.judging.result import Outcome, Verdict, all_agree, arm, check, negative, positive

# What the rule reads of its entry of the ledger.
PARAMETERS = ("level", "slope", "no_slope")
ARMS = ("symmetric", "skewed", "varying", "double-well")

CLOSE = 0.01  # numerical error relative to the weak error, at most
APART = 4  # standard errors


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Judge each system by all its test functions, η/b held fixed.

    Weak convergence is that of every smooth test function: a system agrees if no interval reaches
    down to `slope`, and contradicts if one of its intervals lies below `no_slope`.
    """
    parameters = entry["rule_parameters"]
    errors, usual = evidence.parts["errors"], evidence.parts["usual"]
    arms, flat = [], []
    for name in entry["arms"]:
        mine = errors.sel(system=name)
        statistics = [_slope(mine.sel(function=f), f) for f in mine["function"].values]
        arms.append(arm(entry, name, _judged(mine, parameters["slope"]), statistics))
        flat.append(bool((mine["high"] < parameters["no_slope"]).any()))
    verdict = Verdict.CONTRADICTED if all(flat) else all_agree(arms)[0]
    everything = [s for a in arms for s in a["statistics"]]
    return Outcome(
        verdict,
        min(everything, key=lambda s: s["value"]),
        arms,
        _controls(entry, evidence.parts["controls"]),
        [
            _cumulant(evidence.parts["cumulant"]),
            _left_over(errors),
            _largest(errors, parameters["slope"]),
            _usual(usual, parameters["slope"]),
            _ensembles(errors),
            _numerics(errors),
        ],
        _reasons(arms, errors, parameters["slope"]),
    )


def passes(errors: xr.Dataset, parameters: dict) -> bool:
    """Whether the interval of every test function's slope lies above the rule's number."""
    return bool((errors["low"] > parameters["slope"]).all())


def _slope(errors: xr.Dataset, function: str) -> dict:
    return sloped(
        f"slope of the weak error of {function}",
        errors["slope"],
        (errors["low"], errors["high"]),
        errors.sizes["batch"],
        level=errors.attrs["level"],
        values=[errors["slope"]],
    )


def _judged(errors: xr.Dataset, bound: float) -> bool | None:
    """All slopes above the bound, one below it, or neither (None)."""
    if bool((errors["low"] > bound).all()):
        return True
    return False if bool((errors["high"] < bound).any()) else None


def _reasons(arms: list[dict], errors: xr.Dataset, bound: float) -> list[str]:
    """Which systems and test functions do not agree, and why."""
    groups = {True: "holds for", False: "not for", None: "undecided for"}
    names = {k: [a["name"] for a in arms if a["agrees"] is k] for k in groups}
    found = []
    if len(names[True]) < len(arms):
        found.append("; ".join(f"{groups[k]} {', '.join(v)}" for k, v in names.items() if v))
    for name in names[False] + names[None]:
        mine = errors.sel(system=name)
        words = []
        for function in mine["function"].values[(mine["low"] <= bound).values]:
            one = mine.sel(function=function)
            text = f"{function} {_with_interval(one, '')}"
            if len(set(np.sign(one["error"].values))) > 1:
                text += " (its error changes sign)"
            words.append(text)
        found.append(f"{name}: slopes not above {bound:g} for {', '.join(words)}")
    rest = errors.sel(system=names[True])
    if names[True] and bool(_stays(rest).any()):
        found.append(
            f"{', '.join(names[True])}: at these rates; a smaller error is left over at η = 0"
        )
    if names[False]:
        found.append(
            "with η/b held fixed the third and higher cumulants of the kicks stay as η falls, and "
            "(3) has none: where the gradients are skewed, SGD keeps its jumps (checks)"
        )
    return found


def _with_interval(at: xr.Dataset, prefix: str) -> str:
    ends = [float(at[f"{prefix}{end}"]) for end in ("low", "high")]
    return f"{float(at[f'{prefix}slope']):.2f} {wording.interval(ends)}"


def _cumulant(found: xr.Dataset) -> dict:
    first, equation = float(found["sgd"][0]), float(found["equation"])
    limit, formula = float(found["limit"]), float(found["formula"])
    sampled, spread = float(found["sampled"]), float(found["standard_error"])
    same = abs(limit - formula) <= 1e-6 * abs(formula)
    as_exact = abs(sampled - first) <= APART * spread
    unlike = abs(sampled - equation) > APART * spread
    return check(
        "second method: the third cumulant stays",
        same and as_exact and unlike,
        f"third cumulant of z, system skewed: {abs(equation):.3f} for (3); SGD has "
        f"{', '.join(f'{v:.3f}' for v in found['sgd'].values[::-1])} as η falls from "
        f"{float(found['rate'][-1]):g} to {float(found['rate'][0]):g}; it extrapolates to "
        f"{limit:.4f}, (2T)²κ₃(1 − e^(−3t))/3 is {formula:.4f}; {sampled:.3f} ± {spread:.3f} "
        "(standard error) from sampled SGD at b = 1",
    )


def _stays(errors: xr.Dataset) -> xr.DataArray:
    """Which errors extrapolate to something else than 0."""
    return np.abs(errors["left_over"]) > APART * errors["left_over_error"]


def _left_over(errors: xr.Dataset) -> dict:
    rest, stays = errors["left_over"], _stays(errors)
    words = "; ".join(
        f"{name}: "
        + (
            ", ".join(
                f"{f} {wording.number(float(rest.sel(system=name, function=f)), 2)}"
                for f in errors["function"].values
                if bool(stays.sel(system=name, function=f))
            )
            or "nothing"
        )
        for name in errors["system"].values
    )
    return check(
        "no error is left over at η = 0",
        not bool(stays.any()),
        "the errors extrapolated to η → 0 with η/b fixed, where they differ from 0 "
        f"(η itself ends at b = 1): {words}. Without a third cumulant of the kicks the fourth is "
        "the first that stays; it is smaller by a factor of the order of √T",
    )


def _largest(errors: xr.Dataset, bound: float) -> dict:
    words = [
        f"{name}: {_with_interval(errors.sel(system=name), 'largest_')}"
        for name in errors["system"].values
    ]
    return check(
        "second reading: the largest error of all test functions",
        (errors["largest_low"] > bound).all(),
        "unlike the error of one function it cannot pass through zero. Slopes: " + "; ".join(words),
    )


def _usual(usual: xr.Dataset, bound: float) -> dict:
    words = [
        f"{name}: {_with_interval(usual.sel(system=name), 'largest_')}"
        for name in usual["system"].values
    ]
    silent = usual["silent_largest_slope"]
    return check(
        f"usual reading: η → 0 with b = {usual.attrs['batch']} fixed",
        (usual["largest_low"] > bound).all(),
        f"slopes of the largest error of all test functions: {'; '.join(words)}. The "
        "noise then vanishes with η; against ẋ = −∇f, without any noise, the slopes are "
        f"{float(silent.min()):.2f} to {float(silent.max()):.2f}",
    )


def _ensembles(errors: xr.Dataset) -> dict:
    score = np.abs(errors["sampled"] - errors["error"]) / errors["standard_error"]
    level = errors.attrs["level"] ** (1 / score.size)
    bound = stats.norm.ppf((1 + level) / 2)
    return check(
        "second method: sampled SGD",
        (score <= bound).all(),
        f"weak errors of {errors.attrs['paths']:,} paths of SGD differ from the computed "
        f"ones by at most {float(score.max()):.2f} standard errors ({bound:.2f} allowed for "
        f"{score.size} at once)",
    )


def _numerics(errors: xr.Dataset) -> dict:
    size = np.abs(errors["error"])
    grid = float((errors["grid_error"] / size).max())
    other = errors.attrs["other_error"] / float(size.min())
    return check(
        "numerical error",
        max(grid, other) <= CLOSE,
        f"half the nodes change a weak error by at most {wording.number(grid)} of it; "
        "exact moments and characteristic functions of the quadratic sums differ by at most "
        f"{wording.number(other)} of the smallest ({CLOSE:g} allowed)",
    )


def _controls(entry: dict, controls: xr.Dataset) -> list[dict]:
    parameters = entry["rule_parameters"]
    name = "Euler–Maruyama steps of an Ornstein–Uhlenbeck process"
    what = "smallest slope of a test function"
    right, doubled = (controls.sel(against=against) for against in ("equation", "doubled"))
    return [
        positive(name, what, right["slope"].min(), passes(right, parameters)),
        negative(
            f"{name} against D doubled",
            what,
            doubled["slope"].min(),
            not passes(doubled, parameters),
        ),
    ]
