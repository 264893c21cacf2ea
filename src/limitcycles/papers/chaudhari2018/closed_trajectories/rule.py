"""Do the trajectories of ẋ = j(x) close (Lemma 7)? By the rule and the strict one beside it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import MEDIAN, UNTOLD, counted, single
from limitcycles.judging.result import Outcome, Verdict, arm, check, negative, positive

# What the rule reads of its entry of the ledger.
PARAMETERS = ("distance_percent", "closed_percent", "open_percent", "strict_distance", "time")
ARMS = (
    "rotational-ou",
    "linear-non-commuting",
    "rotating-wells",
    "example-19",
    "rotational-ou-3d",
    "sphere-flow",
    "torus-flow",
    "two-rotations",
    "coupled-oscillators",
)

LEVEL = 0.95  # of the intervals of shares, which do not decide
RATIONAL, POSITIVE, NEGATIVE = "two-rotations-3-2", "pure-rotation", "slow-spiral"


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """The verdict of the strict rule; what the rule alone would say is a check."""
    rule, paths = entry["rule_parameters"], evidence.parts["trajectories"]
    strict = {n: share(paths, n, "strict", rule["strict_distance"]) for n in paths["system"].values}
    loose = {n: share(paths, n, "loose", rule["distance_percent"] / 100) for n in strict}
    second = {n: share(paths, n, "second", rule["strict_distance"]) for n in strict}
    arms = [
        arm(
            entry,
            name,
            strict[name] >= rule["closed_percent"],
            _numbers(paths, name, strict[name], loose[name], rule),
        )
        for name in entry["arms"]
    ]
    verdict, caveats = decide(entry, paths, strict, second)
    first, _ = decide(entry, paths, loose, loose)
    checks = [
        check(
            "the first rule alone",
            all(loose[n] >= rule["closed_percent"] for n in entry["arms"]),
            f"within {wording.given(rule['distance_percent'])} % of the length, in a "
            f"time of {wording.given(rule['time'])}, at least "
            f"{min(loose[n] for n in entry['arms']):.0f} % close on every system, and the verdict "
            f"would be “{first}”: an orbit that fills a torus passes too, if one waits",
        ),
        *_second_methods(paths, rule),
        check(
            "rational frequencies close",
            strict[RATIONAL] >= rule["closed_percent"],
            f"with the frequencies 1 and 3/2 in place of 1 and (1 + √5)/2, "
            f"{strict[RATIONAL]:.0f} % close in four dimensions",
        ),
    ]
    controls = [
        positive(
            "pure rotation",
            "% that close strictly",
            strict[POSITIVE],
            min(strict[POSITIVE], loose[POSITIVE]) >= rule["closed_percent"],
        ),
        negative(
            "slow spiral",
            "% that close by the first rule",
            loose[NEGATIVE],
            max(strict[NEGATIVE], loose[NEGATIVE]) <= rule["open_percent"],
        ),
    ]
    headline = arms[-1]["statistics"][0]
    return Outcome(verdict, headline, arms, controls, checks, caveats)


def share(paths: xr.Dataset, name: str, which: str, tolerance: float) -> float:
    """Percent of a field's trajectories with distance/length within `tolerance`; NaN: no data."""
    values = paths[which].sel(system=name).values
    if np.isnan(values).any():
        return float("nan")
    return 100 * float((values <= tolerance).mean())


def decide(
    entry: dict, paths: xr.Dataset, shares: dict[str, float], again: dict[str, float]
) -> tuple[str, list[str]]:
    """Verdict and caveats from the shares; `again` are those of a second method."""
    rule = entry["rule_parameters"]
    names = list(entry["arms"])
    closed = [n for n in names if shares[n] >= rule["closed_percent"]]
    others = [n for n in names if n not in closed]
    flat = [n for n in names if int(paths["dimension"].sel(system=n)) == 2]
    open_ = [
        n
        for n in names
        if shares[n] <= rule["open_percent"] and int(paths["meets"].sel(system=n)) == 1
    ]
    twice = [n for n in open_ if again[n] <= rule["open_percent"]]
    caveats = []
    if others:
        caveats.append(f"trajectories close on {', '.join(closed) or 'no system'}; not on "
                       f"{', '.join(others)}")  # fmt: skip
    if twice:
        if set(flat) <= set(closed):
            caveats.append("every trajectory in two dimensions closes")
        return Verdict.CONTRADICTED, caveats
    if open_:
        caveats.append(f"the second method does not confirm it on {', '.join(open_)}")
        return Verdict.NOT_REPRODUCED, caveats
    if not others:
        return Verdict.REPRODUCED, caveats
    return (Verdict.WITH_CAVEAT if set(flat) <= set(closed) else Verdict.NOT_REPRODUCED), caveats


def _numbers(paths: xr.Dataset, name: str, strict: float, loose: float, rule: dict) -> list[dict]:
    mine = paths.sel(system=name)
    n = mine.sizes["start"]
    statistics = [
        counted(
            f"trajectories that close, within {rule['strict_distance']:g} of their length",
            round(strict * n / 100),
            n,
            level=LEVEL,
            paper=100.0,
        ),
        counted(
            f"trajectories that close, within {rule['distance_percent']:g} % of their length",
            round(loose * n / 100),
            n,
            level=LEVEL,
            paper=100.0,
        ),
        single(
            "median distance of the closest return",
            float(mine["strict"].median()),
            kind=MEDIAN,
            missing=UNTOLD,
            unit="length of the trajectory",
            level=LEVEL,
            n=n,
        ),
    ]
    if not np.isnan(mine["second"]).any():
        statistics.append(
            single(
                "the same by a second method",
                float(mine["second"].median()),
                kind=MEDIAN,
                missing=UNTOLD,
                unit="length of the trajectory",
                level=LEVEL,
                n=n,
            )
        )
    return statistics


def _second_methods(paths: xr.Dataset, rule: dict) -> list[dict]:
    low, high = paths.attrs["winding"]
    words = {
        "torus-flow": "the ratio of its two frequencies, by quadrature, changes from torus to "
        f"torus (from {low:.3f} to {high:.3f} over the starts) and is irrational for almost all",
        "two-rotations": "the frequencies 1 and (1 + √5)/2 have no common period; exact distances",
        "coupled-oscillators": "a symplectic integrator",
    }
    checks = []
    for name, how in words.items():
        least = float(paths["second"].sel(system=name).min())
        near = share(paths, name, "second", rule["strict_distance"])
        checks.append(
            check(
                f"second method, {name}",
                near <= rule["open_percent"],
                f"{how}: {near:.0f} % close, and the closest return of all is "
                f"{wording.number(least)} of the length (strict rule: "
                f"{wording.given(rule['strict_distance'])})",
            )
        )
    return checks
