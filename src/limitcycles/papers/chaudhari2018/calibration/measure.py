"""How often the detector of currents is right, on processes whose answer is known.

The detector is that of `statistics.detection`: a gate of equal halves, the interval of the area
rate, and a place outside the envelope of surrogates, which can only take away from what the
interval finds; shares without it, and without the gate, are kept beside the others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy import stats

from limitcycles.papers.chaudhari2018.calibration.processes import (
    NULLS,
    RELAXATION,
    STEPS,
    STRENGTH,
    Process,
    driven,
)
from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.statistics import detection
from limitcycles.statistics.intervals import exact_binomial
from limitcycles.statistics.long_run import BATCHES

READS = (
    "trajectory_statistics.seed",
    "trajectory_statistics.calibration_runs",
    "rule.level",
    "rule.shift",
    "rule.ratio",
)

DRIVEN = "driven OU"
STRENGTHS = np.linspace(0, 2 * STRENGTH, 7)
SHARE = 10  # one run in so many for each strength


def measure(settings: dict) -> dict[str, xr.Dataset]:
    """Run the detector on every process.

    `settings` has `seed`, `calibration_runs`, and the `level`, `shift` and `ratio` of the detector.

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
    runs, level = settings["calibration_runs"], settings["level"]
    rule = {key: settings[key] for key in ("level", "shift", "ratio")}
    few = max(20, runs // SHARE)
    processes = NULLS | {DRIVEN: driven}
    total = runs * len(processes) + few * len(STRENGTHS)
    with track(total=total, unit="run", what="calibration", delay=10) as bar:

        def rated(process, replications: int, name: str) -> dict[str, Share]:
            seed = stream(settings["seed"], name)
            return rates(process, rule, replications=replications, seed=seed, done=bar.update)

        found = {
            name: rated(process, runs, f"calibration: {name}")
            for name, process in processes.items()
        }
        by_strength = [
            rated(partial(driven, strength=s), few, f"calibration: strength {k}")
            for k, s in enumerate(STRENGTHS)
        ]
    table = _table(list(found.values()), "process").assign_coords(process=list(found))
    table["current"] = ("process", [name == DRIVEN for name in found])
    power = _table(by_strength, "strength")[
        [f"{kind}{end}" for kind in ("ungated", "found") for end in ("", "_low", "_high")]
    ].assign_coords(strength=("strength", STRENGTHS, {"units": "rad"}))
    deviations = expected_deviations(STRENGTHS)
    power["deviations"] = ("strength", deviations, {"units": "1"})
    power["predicted"] = ("strength", predicted_power(deviations, level), {"units": "1"})
    common = {"level": level, "steps": STEPS, "relaxation": RELAXATION, "batches": BATCHES}
    return {
        "rates": table.assign_attrs(runs=runs, strength=STRENGTH, **common),
        "power": power.assign_attrs(runs=few, **common),
    }


def expected_deviations(strength):
    """Expected area rate of the driven process over its deviation: s/√(1 + s²) · √(n/τ)."""
    strength = np.asarray(strength, dtype=float)
    return strength / np.sqrt(1 + strength**2) * np.sqrt(STEPS / RELAXATION)


def predicted_power(deviations, level: float, batches: int = BATCHES):
    """Probability that a t interval from `batches` batch means excludes 0, in closed form.

    The batch means are taken for normal and independent: the mean over its error then has a
    noncentral t distribution with batches − 1 degrees of freedom, shifted by `deviations`, which is
    the normal approximation but for the error's own scatter.
    """
    freedom = batches - 1
    critical = stats.t.ppf((1 + level) / 2, freedom)
    law = stats.nct(freedom, np.maximum(deviations, 1e-12))  # scipy has NaN at 0
    return law.sf(critical) + law.cdf(-critical)


def rates(
    process: Process,
    rule: dict[str, float],
    *,
    replications: int,
    seed: int,
    steps: int = STEPS,
    done: Callable[[], object] | None = None,
) -> dict[str, Share]:
    """How often the detector finds a current in independent runs of `process`: shares by name.

    Each run draws from a stream of its own of `seed`. For a process without current `gated` is the
    rate of false positives, for one with a current `found` is the power. `rule` has the level and
    the tolerances of the detector. `done` is called after each run.
    """
    level = rule["level"]
    answers = []
    for rng in np.random.default_rng(seed).spawn(replications):
        answers.append(detected(process(rng, steps), rule))
        if done is not None:
            done()
    stationary, current, confirmed = np.array(answers).T
    passing, both = int(stationary.sum()), int((stationary & current).sum())
    return {
        "stationary": Share.of(passing, replications, level),
        "ungated": Share.of(int(current.sum()), replications, level),
        "found": Share.of(both, replications, level),
        "gated": Share.of(both, passing, level),
        "confirmed": Share.of(int(confirmed.sum()), passing, level),
    }


def detected(points: np.ndarray, rule: dict[str, float]) -> tuple[bool, bool, bool]:
    """Of one run (step, plane, 2): does it pass the gate, has it a current by the interval, and by
    all that the detector asks for?"""
    numbers = detection.measure(points, level=rule["level"])
    rule = rule | {"planes": points.shape[1]}
    found = detection.detect(numbers, **rule)
    confirmed = False
    if found.found.any():  # seldom: the envelope need not be had of all runs
        confirmed = detection.detect(numbers | detection.envelope(points), **rule).found.any()
    return bool(found.stationary.all()), bool(found.clear.any()), bool(confirmed)


class Share(NamedTuple):
    """A share, and the ends of the exact binomial interval of its probability; NaN of nothing."""

    rate: float
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, n: int, level: float) -> Share:
        """That of `hits` among `n` runs."""
        return cls(hits / n if n else float("nan"), *exact_binomial(hits, n, level))


def _table(rows: list[dict[str, Share]], dim: str) -> xr.Dataset:
    """Shares and the ends of their intervals by process or strength."""
    columns = {
        f"{kind}{end}": (dim, [getattr(row[kind], key) for row in rows], {"units": "1"})
        for kind in rows[0]
        for end, key in (("", "rate"), ("_low", "low"), ("_high", "high"))
    }
    return xr.Dataset(columns)
