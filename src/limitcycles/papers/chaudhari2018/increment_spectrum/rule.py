"""The increments of the weights have a spectrum that is not flat (Remark 17, Fig. 3a)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import statistic
from limitcycles.judging.result import Outcome, Verdict, arm, check, deciding, negative, positive
from limitcycles.papers.chaudhari2018.increment_spectrum import measure as increments
from limitcycles.statistics.intervals import PERCENT, POSITIVE, REAL
from limitcycles.statistics.spectra import ratios_of

# What the rule reads of its entry of the ledger.
PARAMETERS = ("level", "low_percent", "high_percent", "weights_percent")

ARM_LISTS = ("deciding",)
MAIN = "weights above all nulls, both ratios"
PICTURE = ("first frequency", "low", "high")
CONTROL_SHAPE = (20, 4001)  # weights and epochs of the synthetic series


@dataclass(frozen=True)
class Shares:
    """Shares (0 to 1) of the weights that move, at both ends of the band (low, high).

    `above` (null, end): above the envelope of a null; `above_all` (end): of all three. With both
    ratios of a weight: `both` above all three, `others` (null) above the two others, `within` the
    random walk's. `count`: how many weights; they are counted over all seeds alike.
    """

    above: np.ndarray
    above_all: np.ndarray
    both: float
    others: np.ndarray
    within: float
    count: int


def shares(parts: Sequence[xr.Dataset], look: str = "periodogram") -> Shares | None:
    """Shares over the weights of several seeds, from their parts "weights"; None: none moves."""
    ratio, low, high = (
        np.concatenate(
            [
                part[key].sel(look=look).transpose("weight", ..., "end").values[part["moving"]]
                for part in parts
            ]
        )
        for key in ("ratio", "envelope_low", "envelope_high")
    )
    if not len(ratio):
        return None
    above = ratio[:, None] > high
    others = [np.delete(above, i, axis=1).all((1, 2)).mean() for i in range(above.shape[1])]
    within = (ratio >= low[:, 0]) & (ratio <= high[:, 0])  # the first null is the random walk
    return Shares(
        above.mean(0),
        above.all(1).mean(0),
        float(above.all((1, 2)).mean()),
        np.array(others),
        float(within.all(1).mean()),
        len(ratio),
    )


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Apply the rule to the arms text and code; the others are shown.

    One of the two that agrees, or that agrees in part (one ratio, or but for one null), gives a
    verdict with a caveat that names it: what the other shows is said there too.
    """
    parameters = entry["rule_parameters"]
    share, level = parameters["weights_percent"] / 100, parameters["level"]
    arms, looks = [], {"periodogram": {}, "welch": {}}
    for name in entry["arms"]:
        seeds = evidence.by_arm.get(name)
        if not seeds:
            continue
        weights = [seed["weights"] for seed in seeds]
        found = shares(weights)
        for look, states in looks.items():
            states[name] = shares(weights, look)
        decides = name in entry["deciding"] and found is not None
        agrees = found.both >= share if decides else None
        arms.append(arm(entry, name, agrees, _statistics(seeds, parameters)))
    deciding(entry, looks["periodogram"])
    names = entry["deciding"]
    verdict, caveats = decide(looks["periodogram"], share, names)
    mine = [a for a in arms if a["name"] in names]
    main = next(
        (s for a in arms for s in a["statistics"] if s["name"] == MAIN),
        statistic("weights that move", [0.0], scale=PERCENT, unit="%", level=level),  # none does
    )
    checks = [
        _second_look(looks["welch"], share, verdict, names),
        _picture(mine),
        _steady(mine, parameters["weights_percent"]),
    ]
    return Outcome(verdict, main, arms, _controls(parameters), checks, caveats)


def decide(
    states: dict[str, Shares | None], share: float, names: Sequence[str]
) -> tuple[str, list[str]]:
    """Verdict and caveats from what the arms `names` showed; one without weights is undecided."""
    known = {name: states[name] for name in names if states.get(name) is not None}
    caveats = []
    found = {name: _parts(one, share) for name, one in known.items()}
    agreeing = [name for name, parts in found.items() if parts == [""]]
    if len(agreeing) == len(names):
        return Verdict.REPRODUCED, []
    if any(found.values()):
        verdict = Verdict.WITH_CAVEAT
        for name, parts in found.items():
            words = "it holds" if name in agreeing else ", ".join(parts) or "it does not hold"
            caveats.append(f"{name}: {words}")
    elif len(known) == len(names) and all(s.within >= share for s in known.values()):
        verdict = Verdict.CONTRADICTED
    else:
        verdict = Verdict.NOT_REPRODUCED
    missing = [name for name in names if name not in known]
    caveats += [f"{name}: undecided, not run at this scale or no weight moves" for name in missing]
    return verdict, caveats


def _parts(found: Shares, share: float) -> list[str]:
    """What holds in words: [""] for all of it, [] for nothing."""
    if found.both >= share:
        return [""]
    holds = found.above_all >= share
    ends = zip(increments.ENDS, holds, strict=True)
    if holds.all():
        words = ["each ratio holds, but not for the same weights"]
    else:
        words = [f"only the ratio of {end} frequencies holds" for end, one in ends if one]
    for null, others in zip(increments.NULLS, found.others, strict=True):
        if others >= share:
            words.append(f"{null.replace('-', ' ')} explains it")
    return words


def _statistics(seeds: Sequence[dict[str, xr.Dataset]], parameters: dict) -> list[dict]:
    """The statistics of an arm over its seeds; of those in which a weight moves."""
    level = parameters["level"]
    moving = [100 * float(seed["weights"]["moving"].mean()) for seed in seeds]
    each = [(one, seed) for seed in seeds if (one := shares([seed["weights"]])) is not None]
    move = statistic("weights that move", moving, scale=PERCENT, unit="%", level=level)
    if not each:
        return [move]
    found = [one for one, _ in each]

    def percent(name, values):
        shares = [100 * float(v) for v in values]
        return statistic(name, shares, scale=PERCENT, unit="%", level=level)

    result = [percent(MAIN, [one.both for one in found])]
    for i, end in enumerate(increments.ENDS):
        result.append(percent(f"weights above all nulls, {end}", [o.above_all[i] for o in found]))
    for k, null in enumerate(increments.NULLS):
        for i, end in enumerate(increments.ENDS):
            name = f"weights above {null.replace('-', ' ')}, {end}"
            result.append(percent(name, [one.above[k, i] for one in found]))
    ratios = [seed["weights"]["ratio"].sel(look="periodogram") for _, seed in each]
    result.append(percent("weights within random walk, both ratios", [o.within for o in found]))
    for end in increments.ENDS:
        medians = [float(ratio.sel(end=end).median()) for ratio in ratios]
        name = f"median log ratio, {end}"
        result.append(statistic(name, medians, scale=REAL, unit="nat", level=level))
    drawn = [
        _drawn(seed["amplitudes"], parameters) for _, seed in each if "mean" in seed["amplitudes"]
    ]
    for part, values in zip(PICTURE, zip(*drawn, strict=True), strict=False):
        name = f"paper's picture, {part} over middle"
        result.append(statistic(name, values, scale=POSITIVE, unit="1", level=level))
    moved = [seed["weights"].isel(weight=seed["weights"]["moving"].values) for _, seed in each]
    halves = [weights["stationary"].values.mean() for weights in moved]
    return [*result, percent("weights with equal halves", halves), move]


def _drawn(amplitudes: xr.Dataset, parameters: dict) -> np.ndarray:
    """Amplitude at the first frequency, and means in the lowest 2 % and the highest 10 % of the
    paper's picture, each over the mean between; shape (3,).

    Of what is drawn there, not of the whole band; its zero frequency left out.
    """
    mean = amplitudes["mean"].values[1:]
    bands = parameters["low_percent"], parameters["high_percent"]
    low, high = np.exp(ratios_of(mean[None], *bands)[0])
    lowest = max(1, int(len(mean) * bands[0] / 100))
    return np.array([low * mean[0] / mean[:lowest].mean(), low, high])


# ---------------------------------------------------------------- checks


def _of(arms: list[dict], name: str) -> dict[str, float]:
    """A statistic of the arms that have it."""
    return {a["name"]: s["value"] for a in arms for s in a["statistics"] if s["name"] == name}


def _second_look(
    states: dict[str, Shares | None], share: float, verdict: str, names: Sequence[str]
) -> dict:
    again, _ = decide(states, share, names)
    parts = [
        f"{name} {wording.number(100 * one.above_all[0])} % (low), "
        f"{wording.number(100 * one.above_all[1])} % (high)"
        for name, one in states.items()
        if one is not None and name in names
    ]
    return check(
        "second look: Welch's estimate",
        again == verdict,
        f"the same rule on averaged segments gives: {again}. Weights above all nulls: "
        + ("; ".join(parts) or "no arm"),
    )


def _picture(arms: list[dict]) -> dict:
    first, low, high = (_of(arms, f"paper's picture, {part} over middle") for part in PICTURE)
    parts = [
        f"{name}: the first frequency {wording.number(first[name])} times the middle of the "
        f"picture, its lowest 2 % {wording.number(low[name])} times, its highest 10 % "
        f"{wording.number(high[name])} times"
        for name in first
    ]
    return check(
        "the paper's statistic: both ends of its picture rise",
        bool(parts) and all(v > 1 for end in (first, high) for v in end.values()),
        "mean amplitude over weights, in the first 1,000 frequencies only, without a "
        "null: " + ("; ".join(parts) or "no arm"),
    )


def _steady(arms: list[dict], percent: float) -> dict:
    found = _of(arms, "weights with equal halves")
    parts = [f"{name} {wording.number(value)} %" for name, value in found.items()]
    return check(
        "gate: a steady state",
        bool(found) and all(value >= percent for value in found.values()),
        "weights whose two halves have equal means and variances: "
        + ("; ".join(parts) or "no arm")
        + ". Without it low frequencies are drift as much as modes.",
    )


# ---------------------------------------------------------------- controls


def walks(seed: int) -> np.ndarray:
    """Random walks with independent steps of deviation 1; shape (weight, epoch)."""
    return np.cumsum(np.random.default_rng(seed).standard_normal(CONTROL_SHAPE), axis=1)


def planted(seed: int) -> np.ndarray:
    """Such walks with slow modes and anti-correlated steps; shape (weight, epoch).

    A sinusoid of a period of 500 to 2,000 epochs, a fifth of it its amplitude, of random phase; and
    a component that changes sign nearly every epoch, (−1)^k times a running mean of 40 normal
    numbers (of variance 1): power within 1/40 of the highest frequency, which no ARMA(1, 1) process
    has together with the rest.
    """
    rng = np.random.default_rng(seed)
    weights, epochs = CONTROL_SHAPE
    period, phase = rng.uniform([500, 0], [2000, 2 * np.pi], (weights, 2)).T[:, :, None]
    k = np.arange(epochs)
    slow = period / 5 * np.sin(2 * np.pi * k / period + phase)
    noise = rng.standard_normal((weights, epochs + 39))
    smooth = np.stack([np.convolve(row, np.ones(40) / np.sqrt(40), "valid") for row in noise])
    walk = np.cumsum(rng.standard_normal((weights, epochs)), axis=1)
    return walk + slow + (-1.0) ** k * smooth


def _controls(parameters: dict) -> list[dict]:
    share = parameters["weights_percent"] / 100
    name = f"{CONTROL_SHAPE[0]} made-up weights over {CONTROL_SHAPE[1] - 1:,} epochs"

    def judged(series: np.ndarray) -> tuple[float, list[str]]:
        found, _ = increments.against_nulls(series, 1, parameters)
        found["moving"] = ("weight", np.ones(len(series), bool))
        one = shares([found])
        return 100 * one.both, _parts(one, share)

    (cycles, whole), (chance, none) = judged(planted(0)), judged(walks(0))
    return [
        positive(name, f"{MAIN} (%)", cycles, whole == [""]),
        negative(name, f"{MAIN} (%)", chance, not none),
    ]
