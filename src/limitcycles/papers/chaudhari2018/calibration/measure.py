"""How often the detector of currents is right, on processes whose answer is known.

The detector is that of `calibration.processes`: a gate of equal halves, then the interval
of the area rate. A claim asks for a place outside the envelope of surrogates as well, which can
only take away from what the interval finds; that share is kept beside the others.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr
from scipy import stats

from limitcycles.papers.chaudhari2018.calibration import processes as calibration
from limitcycles.papers.chaudhari2018.calibration.processes import (
    RELAXATION,
    STEPS,
    STRENGTH,
    Detection,
    Rates,
    Share,
)
from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.statistics.long_run import BATCHES

DRIVEN = "driven OU"
LEVEL = 0.95  # of the detector, and of the intervals of its rates
STRENGTHS = np.linspace(0, 2 * STRENGTH, 7)
SHARE = 10  # one run in so many for each strength


def study(settings: dict) -> dict[str, xr.Dataset]:
    """Run the detector on every process; `settings` has `seed` and `calibration_runs`.

    Part `rates`, by `process`: bool `current`, whether it has one (`driven OU` only), and shares of
    runs, each with the ends `_low` and `_high` of its exact binomial interval at `level`:

    - `stationary`: of all runs, those that pass the gate;
    - `ungated`: of all runs, those in which the interval finds a current, whatever the gate says;
    - `found`: of all runs, both; for the driven process this is the power;
    - `gated`: of those that pass the gate, those with a current: false alarms where there is none;
    - `confirmed`: of those that pass the gate, those whose current lies outside the envelope of
      surrogates, too.

    `gated` and `confirmed` are NaN where no run passes the gate (the random walk). Attributes:
    `runs` of each process, `level`, `steps` of a run, `strength` of the driven process (radians in
    a relaxation time), `relaxation` (steps) and `batches` of the detector.

    Part `power`, by `strength` of the driven process (radians in a relaxation time), from fewer
    runs (attribute `runs`): `ungated` and `found` with their intervals, `deviations`, how many
    standard deviations the expected area rate is from 0, and `predicted`, the power of the interval
    without a gate: see `predicted_power`.
    """
    runs = settings["calibration_runs"]
    few = max(20, runs // SHARE)
    processes = calibration.NULLS | {DRIVEN: calibration.driven}
    total = runs * len(processes) + few * len(STRENGTHS)
    with track(total=total, unit="run", what="calibration", delay=10) as bar:

        def rated(process, replications: int, name: str) -> dict[str, Share]:
            return _rated(process, replications, stream(settings["seed"], name), bar.update)

        found = {
            name: rated(process, runs, f"calibration: {name}")
            for name, process in processes.items()
        }
        by_strength = [
            rated(partial(calibration.driven, strength=s), few, f"calibration: strength {k}")
            for k, s in enumerate(STRENGTHS)
        ]
    rates = _table(list(found.values()), "process").assign_coords(process=list(found))
    rates["current"] = ("process", [name == DRIVEN for name in found])
    power = _table(by_strength, "strength")[
        [f"{kind}{end}" for kind in ("ungated", "found") for end in ("", "_low", "_high")]
    ].assign_coords(strength=("strength", STRENGTHS, {"units": "rad"}))
    deviations = expected_deviations(STRENGTHS)
    power["deviations"] = ("strength", deviations, {"units": "1"})
    power["predicted"] = ("strength", predicted_power(deviations), {"units": "1"})
    common = {"level": LEVEL, "steps": STEPS, "relaxation": RELAXATION, "batches": BATCHES}
    return {
        "rates": rates.assign_attrs(runs=runs, strength=STRENGTH, **common),
        "power": power.assign_attrs(runs=few, **common),
    }


def expected_deviations(strength):
    """Expected area rate of the driven process over its deviation: s/√(1 + s²) · √(n/τ)."""
    strength = np.asarray(strength, dtype=float)
    return strength / np.sqrt(1 + strength**2) * np.sqrt(STEPS / RELAXATION)


def predicted_power(deviations, level: float = LEVEL, batches: int = BATCHES):
    """Probability that a t interval from `batches` batch means excludes 0, in closed form.

    The batch means are taken for normal and independent: the mean over its error then has a
    noncentral t distribution with batches − 1 degrees of freedom, shifted by `deviations`, which is
    the normal approximation but for the error's own scatter.
    """
    freedom = batches - 1
    critical = stats.t.ppf((1 + level) / 2, freedom)
    law = stats.nct(freedom, np.maximum(deviations, 1e-12))  # scipy has NaN at 0
    return law.sf(critical) + law.cdf(-critical)


def _rated(process, runs: int, seed: int, done) -> dict[str, Share]:
    """Shares of one process by name."""
    confirmed = 0

    def detector(points: np.ndarray) -> Detection:
        nonlocal confirmed
        found = calibration.detect(points, level=LEVEL)
        if found.stationary and found.current:  # seldom: surrogates need not be made of all runs
            confirmed += calibration.detect(points, level=LEVEL, surrogates=True).current
        return found

    rates: Rates = calibration.rates(
        process, replications=runs, seed=seed, detector=detector, level=LEVEL, done=done
    )
    shares = {name: getattr(rates, name) for name in ("stationary", "ungated", "found", "gated")}
    return shares | {"confirmed": calibration.share(confirmed, rates.stationary.count, level=LEVEL)}


def _table(rows: list[dict[str, Share]], dim: str) -> xr.Dataset:
    """Shares and the ends of their intervals by process or strength."""
    columns = {
        f"{kind}{end}": (dim, [getattr(row[kind], key) for row in rows], {"units": "1"})
        for kind in rows[0]
        for end, key in (("", "rate"), ("_low", "low"), ("_high", "high"))
    }
    return xr.Dataset(columns)
