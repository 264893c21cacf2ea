"""Weak convergence of SGD to its equation (3), Lemma 2: with η/b held fixed, and with b fixed.

Every expectation is computed without sampling noise (`theory.line_expectations`), and again by
other means: exact moments and characteristic functions of the quadratic sums
(`limitcycles.theory.finite_sums`), and ensembles of SGD on all of them.
"""

from __future__ import annotations

import numpy as np
import scipy.integrate
import xarray as xr

from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.statistics.convergence import log_log_slope
from limitcycles.theory import finite_sums
from limitcycles.theory.finite_sums import QuadraticSum, point_moments
from limitcycles.theory.langevin import weak_error
from limitcycles.theory.line_expectations import Interval, sde_expectations, sgd_expectations
from limitcycles.theory.line_systems import FUNCTIONS, SYSTEMS, TEMPERATURE, System

READS = ("theory.seed", "theory.paths", "rule.level")

BATCHES = (1, 2, 4, 8, 16)
RATES = tuple(2 * TEMPERATURE * b for b in BATCHES)  # 0.02 … 0.32
TIME = 1.28  # 64 … 4 steps
FIXED_BATCH = 8  # of the reading with b fixed
NODES = (80, 160)
REPLACED = "with-replacement"


def measure(settings: dict) -> dict[str, xr.Dataset]:
    """All errors are E φ(z) of SGD (with replacement) minus that of (3) after TIME, z = x/scale.

    Part `errors`, η/b fixed. By (system, function, batch): `error`; `grid_error`, its change from
    half as many nodes; `sampled`, from `settings.paths` paths of SGD, with `standard_error`. By
    (system, function): `slope`, `low`, `high` of log |error| against log rate (Student t, 95 %); by
    (system): `largest_slope`, `largest_low`, `largest_high` of the largest |error| of the five.
    By (system, function): `left_over`, the error extrapolated to η = 0, give or take
    `left_over_error`.
    By (batch): `rate` η. Attributes: `temperature` η/(2b), `time`, `level`, `paths`, `other_error`,
    the largest difference from the exact moments and characteristic functions of `finite_sums`.

    Part `usual`, b = 8 fixed, T = η/(2b) falls with η. By (system, function, rate): `error`, and
    `silent`, the error of ẋ = −f' in place of (3); the slopes of both, those of
    the latter with `silent_` before their names.

    Part `controls`: Euler–Maruyama steps of dx = −x dt + √(2T) dW in closed form. By (against,
    function, batch), against `equation` and `doubled` (D twice as large): `error`; and the slopes.

    Part `cumulant`: third cumulant of z of the system `skewed` after TIME. By (batch): `sgd`. And
    `equation` (3), `limit` (η → 0 continued), `formula` (2T)² κ₃ (1 − e^(−3t))/3 of the same,
    `sampled` at b = 1 with `standard_error`. All of unit 1.
    """
    found = {name: _system(name, settings) for name in track(SYSTEMS, unit="system", what="SGD")}
    dim = xr.Variable("system", list(SYSTEMS))
    errors, usual, other = zip(*found.values(), strict=True)
    attrs = {
        "temperature": TEMPERATURE,
        "time": TIME,
        "level": settings["level"],
        "paths": settings["paths"],
    }
    names = {"function": list(FUNCTIONS)}
    batches = {"batch": list(BATCHES), "rate": ("batch", list(RATES))}
    return {
        "errors": xr.concat(errors, dim)
        .assign_coords(names | batches)
        .assign_attrs(attrs | {"other_error": max(other)}),
        "usual": xr.concat(usual, dim)
        .assign_coords(names | {"rate": list(RATES)})
        .assign_attrs(batch=FIXED_BATCH, time=TIME, level=settings["level"]),
        "controls": _controls(settings["level"]).assign_coords(names | batches),
        "cumulant": _cumulant(settings).assign_coords(batches),
    }


def slopes(errors: np.ndarray, level: float, prefix: str = "") -> dict:
    """`slope`, `low`, `high` of errors (F, rates) against RATES, as variables by function.

    And `largest_slope`, ... of the largest error over the functions: it cannot change its sign.
    """
    fits = [log_log_slope(RATES, row, level) for row in errors]
    values = {"slope": [fit.slope for fit in fits]}
    values |= {end: [fit.interval[i] for fit in fits] for i, end in enumerate(("low", "high"))}
    found = {f"{prefix}{name}": ("function", row) for name, row in values.items()}
    largest = log_log_slope(RATES, np.abs(errors).max(0), level)
    return found | {
        f"{prefix}largest_slope": largest.slope,
        f"{prefix}largest_low": largest.interval[0],
        f"{prefix}largest_high": largest.interval[1],
    }


def left_over(errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Errors (F, rates) extrapolated to η = 0 and how far the last two orders are apart, (F,).

    Richardson: with η/b fixed the error is a smooth function of η, each rate twice the one before.
    """
    table = [errors]
    for order in range(1, errors.shape[1]):
        fine, coarse = table[-1][:, :-1], table[-1][:, 1:]
        table.append(fine + (fine - coarse) / (2**order - 1))
    return table[-1][:, 0], np.abs(table[-1][:, 0] - table[-2][:, 0])


def _steps(rate: float) -> int:
    return round(TIME / rate)


def _system(name: str, settings: dict) -> tuple[xr.Dataset, xr.Dataset, float]:
    system = SYSTEMS[name]
    coarse, exact = (_errors(system, nodes) for nodes in NODES)
    sampled, spread = _sampled(name, settings)
    dims = ("function", "batch")
    rest, uncertainty = left_over(exact)
    errors = xr.Dataset(
        {
            "left_over": ("function", rest),
            "left_over_error": ("function", uncertainty),
            "error": (dims, exact),
            "grid_error": (dims, np.abs(exact - coarse)),
            "sampled": (dims, sampled),
            "standard_error": (dims, spread),
        }
        | slopes(exact, settings["level"])
    )
    return errors, _usual(system, settings["level"]), _other_error(system)


def _equation(system: System, temperature: float, nodes: int = NODES[-1]) -> np.ndarray:
    interval = Interval(*system.ends, nodes)
    return sde_expectations(
        system.line(), interval, system.functions(), system.start, TIME, temperature=temperature
    )


def _sgd(system: System, rate: float, batch: int, nodes: int = NODES[-1]) -> np.ndarray:
    interval = Interval(*system.ends, nodes)
    return sgd_expectations(
        system.line(),
        interval,
        system.functions(),
        system.start,
        _steps(rate),
        rate=rate,
        batch=batch,
    )


def _errors(system: System, nodes: int) -> np.ndarray:
    """(functions, batches), η/b = 2T fixed."""
    equation = _equation(system, TEMPERATURE, nodes)
    columns = [_sgd(system, rate, b, nodes) for rate, b in zip(RATES, BATCHES, strict=True)]
    return np.stack(columns, axis=1) - equation[:, None]


def _usual(system: System, level: float) -> xr.Dataset:
    sgd = np.stack([_sgd(system, rate, FIXED_BATCH) for rate in RATES], axis=1)
    equations = [_equation(system, rate / (2 * FIXED_BATCH)) for rate in RATES]
    error = sgd - np.stack(equations, axis=1)
    silent = sgd - _silent(system)[:, None]
    dims = ("function", "rate")
    return xr.Dataset(
        {"error": (dims, error), "silent": (dims, silent)}
        | slopes(error, level)
        | slopes(silent, level, "silent_")
    )


def _silent(system: System) -> np.ndarray:
    """φ of the end of ẋ = −f'."""
    line = system.line()
    path = scipy.integrate.solve_ivp(
        lambda _, x: line.drift(x), (0, TIME), [system.start], rtol=1e-12, atol=1e-14
    )
    return np.array([f(path.y[0, -1]) for f in system.functions()])


def _sampled(name: str, settings: dict) -> tuple[np.ndarray, np.ndarray]:
    """Errors of ensembles of SGD and their standard errors, (functions, batches)."""
    system = SYSTEMS[name]
    reference = dict(zip(FUNCTIONS, _equation(system, TEMPERATURE), strict=True))
    start = np.full((settings["paths"], 1), system.start)
    columns = []
    for rate, batch in zip(RATES, BATCHES, strict=True):
        (points,) = finite_sums.sgd_ensemble(
            system.gradient,
            start,
            [_steps(rate)],
            samples=len(system.offsets),
            rate=rate,
            batch=batch,
            sampling=REPLACED,
            seed=stream(settings["seed"], f"SGD on {name}, b = {batch}"),
        )
        errors = weak_error(points[:, 0] / system.scale, FUNCTIONS, reference)
        columns.append([(e.error, e.standard_error) for e in errors.values()])
    return tuple(np.moveaxis(np.array(columns), -1, 0).swapaxes(1, 2))


def _other_error(system: System) -> float:
    """Largest difference from `finite_sums`, over functions and batches; 0 where it has none."""
    if system.quartic:
        return 0.0
    problem = QuadraticSum(np.reshape(system.curvatures, (-1, 1, 1)), np.c_[list(system.offsets)])
    start = point_moments([system.start], 3)
    wave = [1 / system.scale]
    common = len(set(system.curvatures)) == 1

    def expectations(moments, characteristic) -> np.ndarray:
        raw = [moments[0, 0, 1], moments[0, 1, 1], moments[1, 1, 1]]
        found = [value / system.scale ** (i + 1) for i, value in enumerate(raw)]
        if common:
            value = characteristic()
            found += [value.real, value.imag]
        return np.array(found)

    equation = expectations(
        finite_sums.sde_moments(problem, start, TIME, temperature=TEMPERATURE),
        lambda: finite_sums.sde_characteristic(
            problem, [system.start], wave, TIME, temperature=TEMPERATURE
        ),
    )
    worst = np.abs(_equation(system, TEMPERATURE)[: len(equation)] - equation).max()
    for rate, batch in zip(RATES, BATCHES, strict=True):
        keys = {"rate": rate, "batch": batch, "sampling": REPLACED}
        steps = _steps(rate)
        sgd = expectations(
            finite_sums.sgd_moments(problem, start, steps, **keys),
            lambda steps=steps, keys=keys: finite_sums.sgd_characteristic(
                problem, [system.start], wave, steps, **keys
            ),
        )
        worst = max(worst, np.abs(_sgd(system, rate, batch)[: len(sgd)] - sgd).max())
    return float(worst)


def gaussian(mean: float, variance: float) -> np.ndarray:
    """E φ(z) of a normal z, in the order of FUNCTIONS."""
    shrink = np.exp(-variance / 2)
    return np.array(
        [
            mean,
            mean**2 + variance,
            mean**3 + 3 * mean * variance,
            shrink * np.cos(mean),
            shrink * np.sin(mean),
        ]
    )


def _controls(level: float) -> xr.Dataset:
    """z from 1: mean (1 − h)^n and e^{−t}; variance 2h Σ (1 − h)^{2i} and D (1 − e^{−2t})."""
    steps = []
    for rate in RATES:
        powers = (1 - rate) ** (2 * np.arange(_steps(rate)))
        steps.append(gaussian((1 - rate) ** _steps(rate), 2 * rate * powers.sum()))
    steps = np.stack(steps, axis=1)
    found = []
    for D in (1, 2):
        error = steps - gaussian(np.exp(-TIME), D * -np.expm1(-2 * TIME))[:, None]
        found.append(xr.Dataset({"error": (("function", "batch"), error)} | slopes(error, level)))
    return xr.concat(found, xr.Variable("against", ["equation", "doubled"]))


def _cumulant(settings: dict) -> xr.Dataset:
    system = SYSTEMS["skewed"]
    problem = QuadraticSum(np.ones((5, 1, 1)), np.c_[list(system.offsets)])
    start = point_moments([system.start], 3)

    def third(moments) -> float:
        first, second, cube = moments[0, 0, 1], moments[0, 1, 1], moments[1, 1, 1]
        return float((cube - 3 * first * second + 2 * first**3) / system.scale**3)

    sgd = [
        third(
            finite_sums.sgd_moments(
                problem, start, _steps(rate), rate=rate, batch=b, sampling=REPLACED
            )
        )
        for rate, b in zip(RATES, BATCHES, strict=True)
    ]
    kick = float(np.mean(np.array(system.offsets) ** 3))  # κ₃; their mean is 0
    formula = (2 * TEMPERATURE) ** 2 * kick * -np.expm1(-3 * TIME) / 3
    (points,) = finite_sums.sgd_ensemble(
        system.gradient,
        np.full((settings["paths"], 1), system.start),
        [_steps(RATES[0])],
        samples=len(system.offsets),
        rate=RATES[0],
        batch=1,
        sampling=REPLACED,
        seed=stream(settings["seed"], "third cumulant"),
    )
    z = (points[:, 0] - points.mean()) / system.scale
    influence = z**3 - 3 * z.var() * z  # of a path on the third cumulant
    limits = {
        "equation": finite_sums.sde_moments(problem, start, TIME, temperature=TEMPERATURE),
        "limit": finite_sums.limit_moments(problem, start, TIME, temperature=TEMPERATURE),
    }
    return xr.Dataset(
        {"sgd": ("batch", sgd), "formula": formula / system.scale**3}
        | {name: third(moments) for name, moments in limits.items()}
        | {
            "sampled": float((z**3).mean()),
            "standard_error": float(influence.std(ddof=1) / np.sqrt(len(z))),
        }
    )
