"""Are weights correlated over longer lags than their nulls? (Remark 17, Fig. 3b)"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import xarray as xr
from scipy import stats

from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import statistic
from limitcycles.judging.result import Outcome, Verdict, arm, check, deciding, negative, positive
from limitcycles.papers.chaudhari2018.autocorrelation.envelopes import examine
from limitcycles.statistics import nulls
from limitcycles.statistics.intervals import PERCENT

# What the rule reads of its entry of the ledger.
PARAMETERS = ("level", "weights_percent", "within_percent")

ARM_LISTS = ("deciding",)
WALK, OU, NOISE = "random-walk", "ornstein-uhlenbeck", "epoch-noise"
OVER_SEEDS = 0.95  # of intervals over seeds; the level of the rule is that of bands and envelopes
FIRST, SECOND = "reach", "sum_reach"
BOTH, BEYOND = (
    "weights outside both envelopes",
    "weights outside the white-noise bands (the paper's)",
)
OUTSIDE = {
    WALK: "weights outside the random-walk envelope",
    OU: "weights outside the Ornstein–Uhlenbeck envelope",
    NOISE: "weights outside the epoch-noise envelope",
}
BOTH_SUMS = "weights whose sum of |r| is outside both envelopes"
STEADY, RATIO = "weights with equal halves", "weights whose variance ratio is not a random walk's"
CONTROL_SHAPE = (1000, 60)  # epochs and weights


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """An arm agrees where at least `weights_percent` leave the envelopes of both nulls."""
    parameters = entry["rule_parameters"]
    weights = {
        name: [parts["weights"] for parts in evidence.by_arm[name]]
        for name in entry["arms"]
        if evidence.by_arm.get(name)
    }
    there, missing = deciding(entry, weights)
    mine = {name: weights[name] for name in there}
    verdict, caveats = decide(mine, missing, parameters)
    second, _ = decide(mine, missing, parameters, SECOND)
    if second != verdict:
        caveats.append(f"by the sum of |r| (second rule): {second}")
    arms = []
    for name, of_seeds in weights.items():
        agrees = left(of_seeds, (WALK, OU)) >= parameters["weights_percent"]
        statistics = _statistics(of_seeds, parameters["level"])
        arms.append(arm(entry, name, agrees if name in entry["deciding"] else None, statistics))
    main = next(a for a in arms if a["name"] in mine)["statistics"][0]
    controls, walks = _controls(entry)
    checks = _checks(mine, missing, verdict, second, parameters, walks)
    if verdict == Verdict.CONTRADICTED and not checks[2]["holds"]:
        caveats.append("the variance ratio does tell weights from random walks")
    return Outcome(verdict, main, arms, controls, checks, caveats)


def left(of_seeds: Sequence[xr.Dataset], by: Sequence[str], kind=FIRST, width=1.0) -> float:
    """Percent of the weights of all seeds that leave the envelopes of all nulls in `by`.

    `kind` is "reach" (r at the lags) or "sum_reach"; `width` widens the envelopes.
    """
    parts = [(s[kind].sel(null=list(by)).values > width).all(0) for s in of_seeds]
    return float(100 * np.concatenate(parts).mean())


def beyond(of_seeds: Sequence[xr.Dataset]) -> float:
    """Percent of the weights of all seeds that leave the white-noise bands."""
    return float(100 * np.concatenate([s["leaves_band"].values for s in of_seeds]).mean())


def decide(
    arms: dict[str, list[xr.Dataset]],
    missing: Sequence[str],
    parameters: dict,
    kind: str = FIRST,
    width: float = 1.0,
) -> tuple[str, list[str]]:
    """The verdict of the rule by r at the lags, or by their sum, and its caveats.

    `width` is the factor by which the envelopes of the random walk are widened.
    """
    enough = parameters["weights_percent"]
    walk = {n: left(of, (WALK,), kind, width) for n, of in arms.items()}
    relaxing = {n: left(of, (OU,), kind) for n, of in arms.items()}
    agreeing = [n for n, of in arms.items() if left(of, (WALK, OU), kind) >= enough]
    within = [n for n in arms if 100 - walk[n] >= parameters["within_percent"]]
    caveats = [f"the arm {name} is not run at this scale: undecided" for name in missing]
    if agreeing:
        others = [n for n in arms if n not in agreeing]
        if others:
            caveats.append(f"holds for {', '.join(agreeing)}; not for {', '.join(others)}")
        return Verdict.WITH_CAVEAT if others or missing else Verdict.REPRODUCED, caveats
    if len(within) == len(arms) and not missing:
        return Verdict.CONTRADICTED, caveats
    weak = []
    for name in (n for n in arms if n not in within):
        leaves = [null for null, share in ((WALK, walk), (OU, relaxing)) if share[name] >= enough]
        numbers = (
            f"{name}: {_percent(walk[name])} of the weights leave the envelope of a random walk, "
            f"{_percent(relaxing[name])} that of an Ornstein–Uhlenbeck process"
        )
        if len(leaves) == 1:
            weak.append(f"it leaves one envelope only ({numbers})")
        elif leaves:
            weak.append(f"other weights leave the one envelope than leave the other ({numbers})")
        elif beyond(arms[name]) >= enough:
            weak.append(f"it leaves only the white-noise bands ({numbers})")
    return (Verdict.WITH_CAVEAT if weak else Verdict.NOT_REPRODUCED), caveats + weak


def _percent(value: float) -> str:
    return f"{wording.number(value)} %"


def _statistics(of_seeds: list[xr.Dataset], level: float) -> list[dict]:
    """All numbers of one arm; `value` is over the weights of all seeds."""

    def share(name: str, measure) -> dict:
        values = [measure([s]) for s in of_seeds]
        found = statistic(name, values, scale=PERCENT, unit="%", level=OVER_SEEDS)
        return found | {"value": measure(of_seeds)}

    return [
        share(BOTH, lambda of: left(of, (WALK, OU))),
        *(share(name, lambda of, null=null: left(of, (null,))) for null, name in OUTSIDE.items()),
        share(BEYOND, beyond),
        share(BOTH_SUMS, lambda of: left(of, (WALK, OU), SECOND)),
        share("lags outside the white-noise bands, mean", lambda of: _mean(of, "outside")),
        share(STEADY, lambda of: 100 * _mean(of, "same_halves")),
        share(RATIO, lambda of: _not_walks(of, level)),
        share("weights whose fitted relaxation time exceeds a tenth of the run", _slow),
    ]


def _mean(of_seeds: Sequence[xr.Dataset], name: str) -> float:
    return float(np.concatenate([s[name].values for s in of_seeds]).mean())


def _not_walks(of_seeds: Sequence[xr.Dataset], level: float) -> float:
    z = np.concatenate([s["variance_ratio_z"].values for s in of_seeds])
    return float(100 * (np.abs(z) > stats.norm.ppf((1 + level) / 2)).mean())


def _slow(of_seeds: Sequence[xr.Dataset]) -> float:
    times = [s["relaxation"].sel(null=OU).values / s.attrs["epochs"] for s in of_seeds]
    return float(100 * (np.concatenate(times) > 0.1).mean())


# ---------------------------------------------------------------- controls and checks


@cache
def _synthetic(level: float) -> tuple[list[xr.Dataset], list[xr.Dataset]]:
    """Cycles in noise, and random walks, looked at as the weights are."""
    epochs, count = CONTROL_SHAPE
    rng = np.random.default_rng(0)
    phase = rng.uniform(0, 2 * np.pi, count)
    cycles = np.cos(14 * np.pi * np.arange(epochs)[:, None] / epochs + phase)
    cycles += 0.5 * rng.standard_normal(cycles.shape)
    walks = nulls.simulate("random-walk", (count, epochs), 1).T
    return tuple([examine(weights, seed=0, level=level)["weights"]] for weights in (cycles, walks))


def _controls(entry: dict) -> tuple[list[dict], float]:
    """Both controls, and the percent of random walks that leave the white-noise bands."""
    parameters = entry["rule_parameters"]
    cycles, walks = _synthetic(parameters["level"])
    planted, by_chance = left(cycles, (WALK, OU)), left(walks, (WALK,))
    return [
        positive(
            "seven slow cycles and white noise",
            "% of series outside both envelopes",
            planted,
            planted >= parameters["weights_percent"],
        ),
        negative(
            f"random walks, {_percent(beyond(walks))} of them outside the white-noise bands",
            "% of series outside the envelope of a random walk",
            by_chance,
            left(walks, (WALK, OU)) < parameters["weights_percent"]
            and 100 - by_chance >= parameters["within_percent"],
        ),
    ], beyond(walks)


def _checks(
    arms: dict, missing: list, verdict: str, second: str, parameters: dict, walks: float
) -> list[dict]:
    enough, level = parameters["weights_percent"], parameters["level"]

    def by_arm(measure) -> tuple[list[float], str]:
        found = {name: measure(of) for name, of in arms.items()}
        return list(found.values()), "; ".join(f"{n}: {_percent(v)}" for n, v in found.items())

    bands, said = by_arm(beyond)
    unlike, ratios = by_arm(lambda of: _not_walks(of, level))
    _, sums = by_arm(lambda of: left(of, (WALK, OU), SECOND))
    same, halves = by_arm(lambda of: 100 * _mean(of, "same_halves"))
    ends = next(iter(arms.values()))[0].attrs["walk_doubt"]
    found = [decide(arms, missing, parameters, width=end)[0] for end in ends]
    walk = [[left(of, (WALK,), width=end) for end in ends] for of in arms.values()]
    ranges = "; ".join(
        f"{name}: {_percent(low)} to {_percent(high)}"
        for name, (high, low) in zip(arms, walk, strict=True)
    )
    return [
        check(
            "what the paper's statistic says",
            min(bands) >= enough,
            f"outside the white-noise bands: {said} of the weights, and "
            f"{_percent(walks)} of random walks (control), about which these bands tell nothing",
        ),
        check(
            "second rule: the sum of |r|",
            second == verdict,
            f"{second}; outside both envelopes: {sums} of the weights",
        ),
        check(
            "variance ratio, a look without envelopes",
            (max(unlike) <= 100 - parameters["within_percent"])
            if verdict == Verdict.CONTRADICTED
            else min(unlike) >= enough,
            "steps over a hundredth of the run against steps over a thousandth, which is "
            "at shorter lags than those of the rule; not those of a random walk at "
            f"{wording.percent(level)}: {ratios} of the weights",
        ),
        check(
            "simulations are enough",
            all(v == verdict for v in found),
            "weights outside the random-walk envelope, over the 95 % interval of its "
            f"width: {ranges}; verdicts: {' and '.join(dict.fromkeys(found))}",
        ),
        check(
            "steady state",
            min(same) >= parameters["within_percent"],
            f"weights whose halves have equal means and variances: {halves}",
        ),
    ]
