"""SGD on a network circulates (Lemma 7): area rates in planes chosen beforehand."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import xarray as xr

from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import sloped, statistic
from limitcycles.judging.result import Outcome, Verdict, arm, check, deciding, negative, positive
from limitcycles.judging.wording import listed
from limitcycles.papers.chaudhari2018.network_currents import planted
from limitcycles.papers.chaudhari2018.network_currents.planes import (
    detections,
    finds,
    slope,
)
from limitcycles.statistics.intervals import POSITIVE, count_of
from limitcycles.statistics.slopes import Slope

# What the rule reads of its entry of the ledger.
PARAMETERS = (
    "level",
    "leading",
    "random",
    "shift",
    "ratio",
    "calibration_runs",
    "false_alarms",
    "error",
    "power",
)

ARM_LISTS = ("deciding", "enough")
FOUND, COUNTED = "planes with a current", "planes that pass the gate"
LARGEST = "largest area rate over its error, planes that pass the gate"
EXPECTED = "largest area rate over its error that the linear theory expects"
SLOPE, FAST_SLOPE = "slope of measured on predicted", "slope without the slow parts"


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """An arm agrees where a plane within the gate has a current; plain arms decide."""
    parameters = entry["rule_parameters"]
    arms, slopes = [], {}
    for name in entry["arms"]:
        seeds = [parts["planes"] for parts in evidence.by_arm.get(name, ())]
        if not seeds:
            continue
        slopes[name] = slope(seeds, parameters)
        agrees = finds(detections(seeds, parameters))
        arms.append(arm(entry, name, agrees, _statistics(seeds, parameters, slopes[name])))
    there, absent = deciding(entry, slopes)
    mine = {a["name"]: a for a in arms if a["name"] in there}
    agrees = {name: mine[name]["agrees"] for name in there}
    verdict, caveats = _verdict(agrees, absent, entry["enough"])
    calibration, few = _calibrated(evidence.instruments["calibration"]["rates"], parameters)
    if few:
        caveats.append(few)
    if not calibration["holds"]:
        verdict = Verdict.NOT_REPRODUCED
        caveats.insert(0, "the detector of currents is not calibrated")
    if verdict != Verdict.NOT_REPRODUCED:
        caveats += [
            f"the slope on the linear theory's prediction excludes 1 in {name}: "
            f"{wording.interval((found.low, found.high))}"
            for name, found in slopes.items()
            if name in mine and found is not None and not found.low <= 1 <= found.high
        ]
    main = next(iter(mine.values()))["statistics"][0]
    checks = [calibration, *_checks(evidence, arms, mine, parameters)]
    return Outcome(verdict, main, arms, _controls(entry), checks, caveats)


def _verdict(
    agrees: dict[str, bool | None], absent: Sequence[str], enough: Sequence[str]
) -> tuple[str, list[str]]:
    """By the arms that decide; `agrees` (None: undecided) has those that were run.

    Where all those in `enough` pass, it does not matter what the others show.
    """
    passing = [name for name, its in agrees.items() if its]
    failing = [name for name, its in agrees.items() if its is False]
    undecided = [name for name, its in agrees.items() if its is None]
    caveats = []
    if undecided:
        caveats.append(f"undecided, since no plane passes the gate: {listed(undecided)}")
    if absent:
        caveats.append(f"not run at this scale: {listed(absent)}")
    if set(enough) <= set(passing):
        return Verdict.REPRODUCED, []
    if passing:
        words = f"a current in {listed(passing)}"
        words += f"; none in {listed(failing)}" if failing else ""
        return Verdict.WITH_CAVEAT, [words, *caveats]
    return Verdict.NOT_REPRODUCED, caveats


def _statistics(seeds: Sequence[xr.Dataset], parameters: dict, found: Slope | None) -> list[dict]:
    level, detected = parameters["level"], detections(seeds, parameters)
    planes = {"scale": count_of(seeds[0].sizes["plane"]), "unit": "planes", "level": level}
    statistics = [
        statistic(FOUND, [int(one.found.sum()) for one in detected], **planes),
        statistic(COUNTED, [int(one.stationary.sum()) for one in detected], **planes),
    ]
    sizes = {"scale": POSITIVE, "unit": "errors", "level": level}
    largest = [
        float(np.abs(planes["rate"] / planes["error"]).values[count].max())
        for planes, count in zip(seeds, (one.stationary for one in detected), strict=True)
        if count.any() and (planes["error"].values[count] > 0).all()
    ]
    if largest:
        statistics.append(statistic(LARGEST, largest, **sizes))
    expected = [e for e in map(_expected, seeds) if e is not None]
    if expected:
        statistics.append(statistic(EXPECTED, expected, **sizes))
    for name, line in ((SLOPE, found), (FAST_SLOPE, slope(seeds, parameters, fast=True))):
        if line is not None:
            n = len(line.batches)
            ends = line.low, line.high
            statistics.append(sloped(name, line.slope, ends, n, level=level, values=line.batches))
    return statistics


def _expected(planes: xr.Dataset) -> float | None:
    """The largest |predicted rate| over its predicted error; None without noise."""
    leading = planes.sel(plane=~planes["random"])
    variance = (
        leading["predicted_variance"].mean("place", skipna=False).values / planes.attrs["epochs"]
    )
    if not (variance > 0).all():
        return None
    return float(
        (np.abs(leading["predicted"].mean("place", skipna=False).values) / np.sqrt(variance)).max()
    )


# ---------------------------------------------------------------- checks


def _calibrated(rates: xr.Dataset, parameters: dict) -> tuple[dict, str | None]:
    """The check of the detector, and a caveat for fewer runs than the rule asks for.

    A false-alarm share is held against the rule itself if enough runs pass the gate, else it is
    only held to be wrong where its interval leaves no room. The power is that of the whole rule:
    past the gate, an interval that excludes 0, and outside the surrogates.
    """
    runs, wanted = int(rates.attrs["runs"]), parameters["calibration_runs"]
    few, error = runs < wanted, parameters["error"]
    low, high = parameters["false_alarms"] - error, parameters["false_alarms"] + error
    held, words = [], []
    for name in (str(p) for p in rates["process"].values):
        one = rates.sel(process=name)
        if bool(one["current"]):
            passed = float(one["stationary"])
            power = {end: passed * float(one[f"confirmed{end}"]) for end in ("", "_low", "_high")}
            held.append(power["_high" if few else ""] >= parameters["power"])
            span = wording.interval((100 * power["_low"], 100 * power["_high"]))
            words.append(f"{name}, found: {wording.number(100 * power[''])} % {span}")
        elif float(one["stationary"]) > 0:
            rough = float(one["stationary"]) * runs < wanted / 2
            least, most = (one["gated_low"], one["gated_high"]) if rough else 2 * (one["gated"],)
            rounding = 1e-12  # 0.04 and 0.06 themselves are within the error
            held.append(float(most) >= low - rounding and float(least) <= high + rounding)
            words.append(f"{name}, false alarms: {_percent(one, 'gated')}")
        else:
            held.append(True)  # it raises no false alarm either
            words.append(f"{name}: no run passes the gate")
    found = check(
        "calibration of the detector",
        all(held),
        f"{runs:,} runs of each process; of those that pass the gate "
        f"{100 * parameters['false_alarms']:g} % ± "
        f"{100 * error:g} % may be false alarms, and {100 * parameters['power']:g} % of the driven "
        "ones have to be found: " + "; ".join(words),
    )
    return found, f"the detector is calibrated on {runs:,} runs, not {wanted:,}" if few else None


def _percent(one: xr.Dataset, name: str) -> str:
    low, high = (100 * float(one[f"{name}_{end}"]) for end in ("low", "high"))
    return f"{wording.number(100 * float(one[name]))} % {wording.interval((low, high))}"


def _checks(
    evidence: Evidence, arms: list[dict], deciding: Collection[str], parameters: dict
) -> list[dict]:
    level = parameters["level"]
    naive, drift, lines = [], [], []
    missed = held = True
    exact = planted.slope(level)
    found = False
    for name in (a["name"] for a in arms):
        seeds = [parts["planes"] for parts in evidence.by_arm[name]]
        without = [one.clear for one in detections(seeds, parameters)]
        naive.append(f"{name}: {np.sum(without)} of {np.size(without)}")
        fast = detections(seeds, parameters, fast=True)
        count = sum(int(one.stationary.sum()) for one in fast)
        passing = sum(int(one.found.sum()) for one in fast)
        drift.append(f"{name}: {passing} of {count}")
        line = slope(seeds, parameters, fast=True)
        if line is not None:
            lines.append(f"{name}: {_written(line)} ({_by_place(seeds, parameters)})")
        if name in deciding:
            missed &= not np.any(without)
            found |= passing > 0
            held &= line is not None and line.low <= 1 <= line.high
    return [
        check(
            "no current without the gate either",
            missed,
            "planes whose interval excludes 0, whatever the gate says: " + "; ".join(naive),
        ),
        check(
            "a current in one of the deciding arms, without the slow parts",
            found,
            "a second look, not part of the rule: each coordinate minus its mean over a "
            "hundredth of the run around, which takes slow drifts out and makes no current of its "
            "own; planes with a current, of those that pass the gate then: " + "; ".join(drift),
        ),
        check(
            "the linear theory, without the slow parts",
            held,
            "slope of the measured on the predicted area rates over the planes of that "
            "second look; 1 is a perfect theory, an interval above 0 a current as predicted (in "
            "brackets with the prediction of one place alone: H and D change along the run): "
            + ("; ".join(lines) or "no plane"),
        ),
        check(
            "the slope where the linear theory is exact",
            exact.low <= 1 <= exact.high,
            f"slope over the planes of the positive control: {_written(exact)}",
        ),
    ]


def _written(line: Slope) -> str:
    return f"{wording.number(line.slope)} {wording.interval((line.low, line.high))}"


def _by_place(seeds: Sequence[xr.Dataset], parameters: dict) -> str:
    found = {
        str(place): slope(seeds, parameters, fast=True, place=str(place))
        for place in seeds[0]["place"].values
    }
    return ", ".join(f"{place} {_written(line)}" for place, line in found.items() if line)


def _controls(entry: dict) -> list[dict]:
    parameters = entry["rule_parameters"]

    def judged(planes: xr.Dataset) -> tuple[float, bool | None]:
        sizes = np.abs(planes["rate"] / planes["error"]).values
        return float(sizes.max()), finds(detections([planes], parameters))

    turning, reversible, phases = planted.tables(parameters["level"])
    largest = "largest area rate over its error"
    size, passes = judged(turning)
    controls = [
        positive(
            f"linear SGD that turns {planted.strength():.2f} radians in a relaxation time, "
            f"{planted.EPOCHS:,} epochs",
            largest,
            size,
            passes is True,
        )
    ]
    for name, table in (
        ("linear SGD whose D commutes with its Hessian", reversible),
        ("independent phases of the one that turns", phases),
    ):
        size, passes = judged(table)
        controls.append(negative(name, largest, size, passes is False))
    return controls
