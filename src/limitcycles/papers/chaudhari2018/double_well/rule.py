"""Example 19: steady density, shift, area rate, and whether any path ends on a closed orbit."""

from __future__ import annotations

import numpy as np
import xarray as xr

from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import counted, result_entry, single
from limitcycles.judging.result import Outcome, Verdict, arm, check, negative, positive
from limitcycles.statistics.intervals import MEAN, REAL

# What the rule reads of its entry of the ledger.
PARAMETERS = (
    "level",
    "distance",
    "no_shift",
    "shift",
    "orbit_percent",
    "no_orbit_percent",
    "grid_rate",
)
NEEDED_ARMS = ("lambda-0", "lambda-0.5", "lambda-1.5")

ARMS = {"lambda-0": 0.0, "lambda-0.5": 0.5, "lambda-1.5": 1.5}


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Each part of the rule on its own; the paths at λ = 1.5 may contradict the claim."""
    rule = entry["rule_parameters"]
    parts = evidence.parts
    judged = {name: _parts(parts, name, rule) for name in ARMS}
    needed = {
        "lambda-0": ("distance", "no shift"),
        "lambda-0.5": ("distance", "shift"),
        "lambda-1.5": ("distance", "area rate", "closed orbits"),
    }
    arms = [
        arm(entry, name, all(judged[name][part] for part in needed[name]), _numbers(parts, name))
        for name in ARMS
    ]
    # "For every λ" is one part
    failed = [
        f"{part} at λ = {lam:g}"
        for name, lam in ARMS.items()
        for part in needed[name]
        if part != "distance" and not judged[name][part]
    ]
    if not all(judged[name]["distance"] for name in ARMS):
        failed.insert(0, "the steady density")
    caveats = [f"fails: {', '.join(failed)}"] if failed else []
    verdict = (
        (Verdict.REPRODUCED, Verdict.WITH_CAVEAT)[len(failed)]
        if len(failed) < 2
        else Verdict.NOT_REPRODUCED
    )
    share = _orbit(parts, "lambda-1.5")["on_closed"]
    if 100 * share <= rule["no_orbit_percent"]:
        if _excluded(parts, "lambda-1.5"):
            verdict = Verdict.CONTRADICTED
        else:
            verdict = Verdict.NOT_REPRODUCED
            caveats.append("the other methods leave room for a closed orbit")
    caveats += _limits(parts)
    return Outcome(
        verdict,
        arms[-1]["statistics"][0],
        arms,
        _controls(entry, parts, judged["lambda-0"]),
        _checks(parts),
        caveats,
    )


def _orbit(parts: dict[str, xr.Dataset], name: str) -> dict[str, float]:
    return {k: v.item() for k, v in parts["orbits"].sel(system=name).data_vars.items()}


def _at(parts: dict[str, xr.Dataset], name: str) -> xr.Dataset:
    return parts["steady"].sel(lam=ARMS[name])


def _parts(parts: dict[str, xr.Dataset], name: str, rule: dict) -> dict[str, bool]:
    """Which parts of the rule a λ meets."""
    steady = _at(parts, name)
    shift = float(steady["shift"])
    return {
        "distance": bool(steady["l1_extrapolated"] <= rule["distance"]),
        "no shift": shift <= rule["no_shift"],
        "shift": shift >= rule["shift"],
        "area rate": rotates(
            float(steady["rate_low"]), float(steady["rate_high"]), steady["rate_grid"], rule
        ),
        "closed orbits": 100 * _orbit(parts, name)["on_closed"] >= rule["orbit_percent"],
    }


def rotates(low: float, high: float, grid, rule: dict) -> bool:
    """The interval over paths excludes 0, and so does the rate on every grid."""
    return (low > 0 or high < 0) and bool((abs(grid) > rule["grid_rate"]).all())


def _excluded(parts: dict[str, xr.Dataset], name: str) -> bool:
    """Dulac's criterion and the return map both leave no room for a closed orbit."""
    orbit = _orbit(parts, name)
    return bool(
        orbit["dulac"] != 0
        and orbit["cycles"] == 0
        and orbit["bands"] == 0
        and orbit["complete"]
        and orbit["closest"] > 0
    )


def _numbers(parts: dict[str, xr.Dataset], name: str) -> list[dict]:
    steady, orbit, level = _at(parts, name), _orbit(parts, name), parts["steady"].attrs["level"]
    starts = round(orbit["starts"])
    grids = steady.sizes["grid"]
    distances = steady["l1"].values
    rates = steady["rate_grid"].values
    return [
        counted(
            "paths of −∇f that end on a closed orbit",
            round(orbit["on_closed"] * starts),
            starts,
            level=level,
            paper=100.0 if name == "lambda-1.5" else None,  # "SGD converges to limit cycles"
        ),
        single(
            "L1 distance of the steady density from e^{−Φ} (extrapolated; each: the grids)",
            float(steady["l1_extrapolated"]),
            unit="1",
            level=level,
            n=grids,
            values=distances,
        ),
        single(
            "shift of the critical points", float(steady["shift"]), unit="length of x", level=level
        ),
        result_entry(
            "area rate of simulated paths",
            steady["rate"],
            kind=MEAN,
            unit="area per time",
            level=level,
            n=parts["steady"].attrs["paths"],
            interval=(steady["rate_low"], steady["rate_high"]),
            scale=REAL.name,
        ),
        single(
            "area rate on the finest grid",
            rates[-1],
            unit="area per time",
            level=level,
            n=grids,
            values=rates,
        ),
        single(
            "area rate πλ/Z in closed form",
            float(steady["rate_exact"]),
            unit="area per time",
            level=level,
        ),
    ]


def _limits(parts: dict[str, xr.Dataset]) -> list[str]:
    noise = parts["noise"]["l1"].sel(temperature=0.2)
    far = {lam: wording.number(float(noise.sel(lam=lam))) for lam in (0.5, 1.5)}
    return [
        "e^{−Φ/T} is the steady density at T = 1 only: at T = 0.2 the L1 distance is "
        f"{far[0.5]} for λ = 0.5 and {far[1.5]} for λ = 1.5",
        "what holds is a current around the origin, not a closed orbit of −∇f",
    ]


def _checks(parts: dict[str, xr.Dataset]) -> list[dict]:
    orbits, points, noise = parts["orbits"], parts["points"], parts["noise"]
    found = {name: _orbit(parts, name) for name in ARMS}
    last, turns = found["lambda-1.5"], parts["turns"]["relative"].sel(flow="lambda-1.5")
    formula = orbits.attrs["dulac_expression"].replace("**", "^").replace("*", " ")
    steady = parts["steady"]
    sigma = (steady["rate_high"] - steady["rate_low"]) / 4
    away = abs(steady["rate"] - steady["rate_exact"]) / sigma
    pitchfork = orbits.attrs["pitchfork"]
    meeting = points.attrs["changes"][-1]
    at = noise.sel(lam=1.5, temperature=1.0)
    still = steady.sel(lam=0.0)
    ends = wording.interval([float(still["rate_low"]), float(still["rate_high"])])
    return [
        check(
            "Dulac's criterion",
            all(f["dulac"] != 0 for f in found.values()),
            f"∇·(Bb)/B = {formula.replace('-', '−')}, without λ and never "
            "positive: no closed orbit of −∇f exists, for any λ",
        ),
        check(
            "return map",
            all(_excluded(parts, name) for name in ARMS) and bool((turns < 0).all()),
            "no cycle and no band of closed orbits around any fixed point; at λ = 1.5 "
            "the smallest displacement per turn is "
            f"{wording.number(last['closest'])} of the radius; {int((turns < 0).sum())} of "
            f"{turns.size} turns lead inwards",
        ),
        check(
            "settled paths",
            not last["settled"] > 0,
            f"after a time of 50 at λ = 1.5, {wording.given(100 * last['settled'])} % of "
            "paths come back to within 1e-6 of their length",
        ),
        check(
            "the wells meet",
            abs(meeting - pitchfork) < 1e-3,
            f"at λ = {meeting:.4f} (e^(−1/4) = {pitchfork:.4f}) both minima reach the "
            "origin, which beyond is a weak focus (first Lyapunov coefficient "
            f"{wording.number(orbits.attrs['lyapunov_coefficient'])}): paths spiral in",
        ),
        check(
            "area rate in closed form",
            (away < 4).all(),
            f"πλ/Z lies at most {float(away.max()):.1f} standard errors from the simulated rates",
        ),
        check(
            "area rate at λ = 0",
            (abs(still["rate_grid"]) <= 1e-6).all(),
            "0 on the grids, to rounding; the simulated paths give "
            f"{wording.number(float(still['rate']))} {ends}",
        ),
        check(
            "where SGD is found",
            None,
            "at λ = 1.5 and T = 1 the highest mode of ρ^ss is "
            f"{wording.number(float(at['from_wells']))} from a minimum of Φ and "
            f"{wording.number(float(at['from_attractors']))} from the only attractor of −∇f",
        ),
    ]


def _controls(entry: dict, parts: dict[str, xr.Dataset], still: dict[str, bool]) -> list[dict]:
    rule, ring = entry["rule_parameters"], _orbit(parts, "hopf_ring")
    known = abs(ring["rate_grid"] / ring["rate_exact"] - 1) <= rule["distance"]
    period = abs(ring["period"] / ring["known_period"] - 1) <= rule["no_shift"]
    passes = (
        ring["l1"] <= rule["distance"]
        and rotates(ring["rate_low"], ring["rate_high"], np.array([ring["rate_grid"]]), rule)
        and 100 * ring["on_closed"] >= rule["orbit_percent"]
        and not _excluded(parts, "hopf_ring")
        and known
        and period
    )
    passed = [part for part in ("shift", "area rate", "closed orbits") if still[part]]
    oscillator = _orbit(parts, "van_der_pol")
    return [
        positive(
            "ring (Hopf normal form)",
            "% of paths that end on the orbit",
            100 * ring["on_closed"],
            passes,
        ),
        positive(
            "oscillator of van der Pol",
            "% of paths that end on the orbit",
            100 * oscillator["on_closed"],
            abs(oscillator["period"] / oscillator["known_period"] - 1) <= rule["no_shift"]
            and 100 * oscillator["on_closed"] >= rule["orbit_percent"],
            "Its cycle of period 6.6633 is found by the same search.",
        ),
        negative("λ = 0", "parts that it passes", len(passed), not passed),
    ]
