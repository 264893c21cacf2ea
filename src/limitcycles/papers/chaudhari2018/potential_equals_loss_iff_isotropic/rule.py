"""Φ = f and j = 0 if, and only if, D = cI? (Lemma 6)"""

from __future__ import annotations

import numpy as np
import xarray as xr

from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import largest, smallest
from limitcycles.judging.result import Outcome, Verdict, arm, check, negative, positive
from limitcycles.judging.wording import listed

# What the rule reads of its entry of the ledger.
PARAMETERS = ("zero", "not_zero")
ARMS = ("isotropic", "commuting", "non-commuting", "varying", "exact-cases")

ISOTROPIC = "isotropic"  # the arm in which both must vanish; in all others they must not
NAMES = {"residual": "residual of Φ on f", "force": "‖j‖/‖∇f‖"}


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Judge both directions: all isotropic systems, and all others."""
    parameters, measured = entry["rule_parameters"], evidence.parts
    arms, forward, backward, refuted = [], True, True, False
    for name in entry["arms"]:
        values = numbers(measured, name)
        isotropic = name == ISOTROPIC
        agrees = vanish(values, parameters) if isotropic else differ(values, parameters)
        if isotropic:
            forward = agrees
            refuted = max(values["residual"]) > parameters["not_zero"]
        else:
            backward &= agrees
        statistics = [
            take(title, values[key])
            for take in (smallest, largest)
            for key, title in reversed(NAMES.items())
        ]
        arms.append(arm(entry, name, agrees, statistics))
    if refuted:
        verdict = Verdict.CONTRADICTED
    elif forward and backward:
        verdict = Verdict.REPRODUCED
    else:
        verdict = Verdict.WITH_CAVEAT if forward or backward else Verdict.NOT_REPRODUCED
    named = measured["named"]
    caveats = []
    if verdict == Verdict.WITH_CAVEAT:
        caveats.append(_caveat(forward, named, parameters))
    return Outcome(
        verdict,
        arms[0]["statistics"][0],
        arms,
        _controls(entry, measured),
        [
            _proof(measured),
            _commutators(measured["random"], parameters),
            _methods(named),
            _gradient(measured),
        ],
        caveats,
    )


def numbers(measured: dict[str, xr.Dataset], family: str) -> dict[str, list[float]]:
    """`residual` and `force` of all systems of a family, named ones first."""
    named, drawn = measured["named"], measured["random"]
    mine = named.sel(system=named["family"] == family)
    result = {}
    for key in NAMES:
        result[key] = mine[key].values.tolist()
        if family in drawn["family"]:
            result[key] += drawn[key].sel(family=family).values.ravel().tolist()
    return result


def vanish(values: dict[str, list[float]], parameters: dict) -> bool:
    """Both numbers of every system are at most `zero`."""
    return all(max(values[key]) <= parameters["zero"] for key in NAMES)


def differ(values: dict[str, list[float]], parameters: dict) -> bool:
    """Both numbers of every system are at least `not_zero`."""
    return all(min(values[key]) >= parameters["not_zero"] for key in NAMES)


def exceptions(named: xr.Dataset, key: str, bound: float) -> list[str]:
    """Named systems without D = cI of which a number is below `bound`."""
    chosen = (named["family"] != ISOTROPIC) & (named[key] < bound)
    return [str(name) for name in named["system"].values[chosen.values]]


def _caveat(forward: bool, named: xr.Dataset, parameters: dict) -> str:
    if not forward:
        return "only the second direction holds: not every isotropic system has Φ = f and j = 0"
    bound = parameters["not_zero"]
    return (
        "only one direction holds: D = cI gives Φ = f/c and j = 0; without D = cI there is no "
        f"force in {listed(exceptions(named, 'force', bound))}, and Φ is proportional to f in "
        f"{listed(exceptions(named, 'residual', bound))}. What decides for constant D is whether "
        "it commutes with the Hessian, not whether it is isotropic"
    )


def _proof(measured: dict[str, xr.Dataset]) -> dict:
    return check(
        "symbolic proof of the first direction",
        measured["controls"]["proof"],
        "for any f(x₁, x₂) and D = cI with a constant c, e^{−f/(cT)} is stationary and j = 0",
    )


def _commutators(drawn: xr.Dataset, parameters: dict) -> dict:
    rest, shared = (drawn.sel(family=name) for name in ("non-commuting", "commuting"))
    commutator, force = (rest[key].values.ravel() for key in ("commutator", "force"))
    quiet = float(shared["force"].max())
    return check(
        "the commutator decides, not the anisotropy",
        quiet <= parameters["zero"] and float(np.median(force)) > parameters["zero"],
        f"‖j‖/‖∇f‖ is at most {quiet:.2g} over {shared['force'].size} random linear "
        "systems whose D commutes with the Hessian, however anisotropic (up to "
        f"{float(shared['anisotropy'].max()):.2g}); of {force.size} that do not commute "
        f"{int((force < parameters['not_zero']).sum())} have less than {parameters['not_zero']:g}, "
        "and the correlation of log ‖j‖/‖∇f‖ with the log of the relative commutator is "
        f"{np.corrcoef(np.log(commutator), np.log(force))[0, 1]:.2f}",
    )


def _methods(named: xr.Dataset) -> dict:
    known = named.sel(system=named["residual_exact"].notnull())
    apart, allowed = [], []
    for key in NAMES:
        apart.append(np.abs(known[f"{key}_grid"] - known[f"{key}_exact"]).values)
        allowed.append(known[f"{key}_error"].values + 1e-9)
    return check(
        "closed form and grid agree",
        (np.array(apart) <= np.array(allowed)).all(),
        f"{known.sizes['system']} systems with a known Φ; the two differ by at most "
        f"{np.max(apart):.2g}, each by no more than its difference from a grid half as fine",
    )


def _gradient(measured: dict[str, xr.Dataset]) -> dict:
    return check(
        "the lemma needs a gradient",
        measured["controls"]["no_gradient"],
        "the drift must be −∇f: Example 19 has D = I and yet j ≠ 0, because its drift is "
        "no gradient; systems without an f are not judged here",
    )


def _controls(entry: dict, measured: dict[str, xr.Dataset]) -> list[dict]:
    parameters, known = entry["rule_parameters"], measured["controls"]
    named = measured["named"]
    plain, crossed = (named.sel(system=f"linear_{k}") for k in ("isotropic", "non_commuting"))
    off = max(
        abs(float(crossed[f"{key}_grid"] - known[f"known_{key}"])) / float(known[f"known_{key}"])
        for key in NAMES
    )
    zero = max(float(plain[f"{key}_grid"]) for key in NAMES)
    shuffled = float(known["shuffled_residual"])
    return [
        positive(
            "two linear systems on the grid",
            "largest relative distance from the linear theory",
            max(off, zero),
            zero <= parameters["zero"] and off <= parameters["not_zero"],
        ),
        negative(
            "linear, D = 2I, Φ shuffled over the cells",
            "residual of Φ on f",
            shuffled,
            shuffled > parameters["zero"],
        ),
    ]
