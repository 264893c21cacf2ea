"""Does equal (η/b)·mean λ(D) make the noise of trained networks alike? (Remark 15)

What is called noise here is how far the weights wander, not the noise of a step: that has the
variance (η²/b)·mean λ(D) by Definition 1; `one step` among the checks measures that of the
gradient, mean λ(D)/b. How the one follows from the other, `noise_temperature` says;
`predictions` compares.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import statistic
from limitcycles.judging.result import NotRun, Outcome, Verdict, arm, check, negative, positive
from limitcycles.papers.chaudhari2018.temperature_tracks_mean_eigenvalue import (
    predictions as temperature_theory,
)
from limitcycles.papers.chaudhari2018.temperature_tracks_mean_eigenvalue.measure import GROUPS
from limitcycles.papers.chaudhari2018.temperature_tracks_mean_eigenvalue.noise_temperature import (
    equal_rate,
    matched_rates,
)
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.statistics.intervals import POSITIVE, REAL, Scale, estimate
from limitcycles.theory.linear_sgd import LinearSGD, linear_series
from limitcycles.training.constant_rate import Moments

# What the rule reads of its entry of the ledger.
PARAMETERS = ("level", "ratio", "spread")

EQUAL, MATCHED = GROUPS
WORDS = {EQUAL: "equal η/b", MATCHED: "equal (η/b)·mean λ"}
RATIO = "spread at equal (η/b)·mean λ(D) over that at equal η/b"
LINEAR_MEANS = (1.0, 2.0, 4.0, 8.0)  # mean λ(D) of the linear systems
LINEAR_WEIGHTS, LINEAR_STEPS, LINEAR_RATE, LINEAR_BATCH = 32, 10_000, 0.1, 32
LINEAR_SEEDS, KNOWN = 3, 0.1  # relative distance from the known variance that is sampling


def spread(values) -> float:
    """Coefficient of variation over settings: std (divisor n − 1) over mean; at most √n."""
    values = np.asarray(values, dtype=np.float64)
    return float(values.std(ddof=1) / values.mean())


def spreads(tables: Sequence[xr.Dataset], key: str = "variance") -> dict[str, np.ndarray]:
    """By group, the spread of `key` over settings in each seed."""
    return {
        group: np.array([spread(one[key].sel(group=group)) for one in tables]) for group in GROUPS
    }


def ratios(tables: Sequence[xr.Dataset], key: str = "variance") -> np.ndarray:
    """Spread at equal (η/b)·mean λ over spread at equal η/b, one a seed.

    Raises LimitcyclesError: all settings are alike at equal η/b.
    """
    by_group = spreads(tables, key)
    if not (by_group[EQUAL] > 0).all():
        raise LimitcyclesError(
            f"at equal η/b all settings have the same {key.replace('_', ' ')}, whose "
            "spread cannot fall; give the claim arms that differ"
        )
    return by_group[MATCHED] / by_group[EQUAL]


def decide(
    tables: Sequence[xr.Dataset], parameters: dict, key: str = "variance", scale: Scale = REAL
):
    """(verdict, statistic of the ratio, mean spread at equal (η/b)·mean λ) by the rule.

    The rule has the interval of the ratio on the linear scale; the statistic has it on its own.
    """
    values = ratios(tables, key)
    found = statistic(RATIO, values, scale=POSITIVE, unit="1", level=parameters["level"])
    low, high = _ends(values, parameters, scale)
    own = float(spreads(tables, key)[MATCHED].mean())
    if high < parameters["ratio"]:
        verdict = Verdict.REPRODUCED if own <= parameters["spread"] else Verdict.WITH_CAVEAT
    else:
        verdict = Verdict.CONTRADICTED if low > parameters["ratio"] else Verdict.NOT_REPRODUCED
    return verdict, found, own


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Apply the rule; the second rule, the theory and the noise of one step stand in the checks.

    A setting that diverged has an infinite variance and no spread: the claim is then not
    reproduced, and the numbers are of the other settings.
    """
    parameters, level = entry["rule_parameters"], entry["rule_parameters"]["level"]
    arms = {spec["run"]: name for name, spec in entry["arms"].items()}
    if len(arms) < 2:
        raise NotRun(f"one setting alone, {', '.join(arms)}, has no spread: two are needed")
    if not evidence.by_seed:
        raise NotRun(f"{', '.join(arms)} have no seed in common: give them the same seeds")
    tables = [_of(one["noise"], list(arms)) for one in evidence.by_seed]
    finite = np.all([np.isfinite(one["variance"]).all("group") for one in tables], axis=0)
    if finite.sum() < 2:
        raise LimitcyclesError(
            "fewer than two settings stay finite; lower constant_rate_sgd.learning_rate"
        )
    settled = [one.isel(setting=np.flatnonzero(finite)) for one in tables]
    verdict, main, own = decide(settled, parameters)
    caveats = []
    if verdict == Verdict.WITH_CAVEAT:
        caveats.append(
            f"the spread itself is {wording.number(own)}, above {parameters['spread']:g}"
        )
    fourth, _, _ = decide(settled, parameters, scale=POSITIVE)
    if _direction(fourth) != _direction(verdict):
        caveats.append(f"by the interval on the log scale (fourth rule): {fourth}")
    low, high = _ends(log_ratios(settled), parameters, REAL)
    if (verdict == Verdict.CONTRADICTED and high < parameters["ratio"]) or (
        verdict in (Verdict.REPRODUCED, Verdict.WITH_CAVEAT) and low > parameters["ratio"]
    ):
        caveats.append("the spread of the logarithms says the opposite")
    if not finite.all():
        verdict = Verdict.NOT_REPRODUCED
        named = [
            f"{arms[setting]} ({WORDS[group]}, seed {one.attrs['seed']})"
            for one in tables
            for setting in one["setting"].values
            for group in GROUPS
            if not np.isfinite(float(one["variance"].sel(setting=setting, group=group)))
        ]
        caveats.append(
            f"infinite variance, for the steps diverge: {', '.join(named)}; the numbers are of the "
            "settings that stay finite throughout"
        )
    controls, likelihood = _controls(entry)
    checks = [
        _spread_check(settled, own, parameters),
        _rule_check(
            settled, parameters, "variance_by_time", "second rule: by unit of time η·steps"
        ),
        _rule_check(settled, parameters, "median_variance", "median over the weights, not mean"),
        _log_check(settled, parameters),
        _scale_check(settled, parameters),
        *temperature_theory.checks(settled, arms, level),
        likelihood,
    ]
    numbers = [_arm(entry, arms[run], tables, run, level) for run in arms]
    return Outcome(verdict, main, numbers, controls, checks, caveats)


def _of(one: xr.Dataset, runs: list[str]) -> xr.Dataset:
    missing = sorted(set(runs) - set(one["setting"].values))
    if missing:
        raise LimitcyclesError(
            f"the measurement of seed {one.attrs['seed']} lacks {', '.join(missing)}; delete the "
            "file and run it again"
        )
    return one.sel(setting=runs)


def _arm(entry: dict, name: str, tables: Sequence[xr.Dataset], run: str, level: float) -> dict:
    def of(key: str, group: str) -> list[float]:
        return [float(one[key].sel(setting=run, group=group)) for one in tables]

    numbers = [
        statistic(
            "mean λ(D)", of("mean_eigenvalue", MATCHED), unit="gradient squared", level=level,
            scale=POSITIVE,
        )
    ]  # fmt: skip
    for key, words, unit in (
        ("learning_rate", "learning rate", "1"),
        ("variance", "variance", "weight²"),
        ("variance_by_time", "variance by unit of time", "weight²"),
    ):
        for group in GROUPS:
            values = [value for value in of(key, group) if np.isfinite(value)]
            if values:  # of one that diverged the caveat speaks
                title, its = f"{words}, {WORDS[group]}", {"unit": unit, "level": level}
                numbers.append(statistic(title, values, scale=POSITIVE, **its))
    return arm(entry, name, None, numbers)


def _spread_check(tables: Sequence[xr.Dataset], own: float, parameters: dict) -> dict:
    by_group, count = spreads(tables), tables[0].sizes["setting"]
    return check(
        "the spread itself",
        own <= parameters["spread"],
        f"coefficient of variation over {count} settings, mean over seeds: "
        f"{wording.number(by_group[MATCHED].mean())} at {WORDS[MATCHED]}, "
        f"{wording.number(by_group[EQUAL].mean())} at {WORDS[EQUAL]}; the rule's bound is "
        f"{parameters['spread']:g}, and it can be at most {wording.number(count**0.5)}, which one "
        "setting far above the others gives",
    )


def log_ratios(tables: Sequence[xr.Dataset]) -> np.ndarray:
    """As `ratios`, with the standard deviation of the logarithms, which has no upper bound."""
    by_group = {
        group: np.array([np.log(one["variance"].sel(group=group)).std(ddof=1) for one in tables])
        for group in GROUPS
    }
    return by_group[MATCHED] / by_group[EQUAL]


def _ends(values: np.ndarray, parameters: dict, scale: Scale) -> tuple[float, float]:
    """The interval over seeds; with one seed its value, twice."""
    found = estimate(values, scale, parameters["level"])
    return found.interval or (found.value, found.value)


def _direction(verdict: str) -> str:
    """The verdict by the interval alone, without the rule's bound on the spread itself."""
    return Verdict.REPRODUCED if verdict == Verdict.WITH_CAVEAT else verdict


def _scale_check(tables: Sequence[xr.Dataset], parameters: dict) -> dict:
    first, found, _ = decide(tables, parameters)
    fourth, _, _ = decide(tables, parameters, scale=POSITIVE)
    linear = estimate(found["values"], REAL, parameters["level"])
    return check(
        "fourth rule: the interval on the log scale",
        _direction(first) == _direction(fourth),
        f"{fourth}: ratio {wording.estimate(found)}; on the linear scale, which decides, "
        f"{first}: mean {wording.number(linear.value)} {wording.interval(linear.interval)}".strip(),
    )


def _log_check(tables: Sequence[xr.Dataset], parameters: dict) -> dict:
    values, level = log_ratios(tables), parameters["level"]
    found = statistic(RATIO, values, scale=POSITIVE, unit="1", level=level)
    _, high = _ends(values, parameters, REAL)
    return check(
        "spread of the logarithms",
        high < parameters["ratio"],
        f"standard deviations of ln variance over settings: ratio "
        f"{wording.estimate(found)}; unlike the coefficient of variation it has no upper bound",
    )


def _rule_check(tables: Sequence[xr.Dataset], parameters: dict, key: str, name: str) -> dict:
    verdict, found, own = decide(tables, parameters, key)
    return check(
        name,
        verdict in (Verdict.REPRODUCED, Verdict.WITH_CAVEAT),
        f"{verdict}: ratio {wording.estimate(found)}; the spread itself is {wording.number(own)}",
    )


def linear_noise(curvatures, matched, seed: int) -> xr.Dataset:
    """Late noise of linear systems, made as that of networks is; their Hessian is `curvatures`·1.

    System i has D = LINEAR_MEANS[i]·1. In the group "matched" its rate is `matched`[i], in the
    other the geometric mean of these. `known` is the stationary variance, from the Lyapunov
    equation of the steps (`LinearSGD.covariance`).
    """
    rates = {EQUAL: np.full(len(matched), equal_rate(matched)), MATCHED: np.asarray(matched)}
    rng, points = np.random.default_rng(seed), LINEAR_STEPS - LINEAR_STEPS // 2
    one, paths, known = np.eye(LINEAR_WEIGHTS), [], []
    for i, (curvature, mean) in enumerate(zip(curvatures, LINEAR_MEANS, strict=True)):
        for group in GROUPS:
            system = LinearSGD(curvature * one, mean * one, rates[group][i], LINEAR_BATCH)
            root = np.linalg.cholesky(system.noise)
            noise = rng.standard_normal((LINEAR_STEPS, LINEAR_WEIGHTS)) @ root.T
            paths.append(linear_series(system.transition, noise)[-points:])
            known.append(np.diag(system.covariance()).mean())
    moments = Moments(points)
    for x in np.concatenate(paths, axis=1):
        moments.add(torch.from_numpy(x))
    shape = (len(LINEAR_MEANS), len(GROUPS))
    variance = moments.variance.reshape(*shape, LINEAR_WEIGHTS).mean(-1)
    return xr.Dataset(
        {
            "variance": (("setting", "group"), variance),
            "known": (("setting", "group"), np.reshape(known, shape)),
        },
        coords={"group": list(GROUPS)},
        attrs={"seed": seed},
    )


def _controls(entry: dict) -> tuple[list[dict], dict]:
    """The controls, and a check: systems whose Hessian is D, matched as the remark says."""
    parameters, means = entry["rule_parameters"], np.array(LINEAR_MEANS)

    def of(curvatures, matched):
        return [linear_noise(curvatures, matched, seed) for seed in range(LINEAR_SEEDS)]

    product = matched_rates(means, LINEAR_RATE)
    equal_curvature = np.ones(len(means))
    right = of(equal_curvature, product)
    wrong = of(equal_curvature, matched_rates(1 / means, LINEAR_RATE))
    distance = max(
        float(np.abs(one["variance"] / one["known"] - 1).max()) for one in (*right, *wrong)
    )
    passes, ratio, _ = decide(right, parameters)
    fails, wrong_ratio, _ = decide(wrong, parameters)
    likelihood, its_ratio, _ = decide(of(means, product), parameters)
    controls = [
        positive(
            f"{len(means)} linear systems of equal curvature, variances within "
            f"{wording.number(100 * distance, 2)} % of the known",
            RATIO,
            ratio["value"],
            passes == Verdict.REPRODUCED and distance < KNOWN,
        ),
        negative(
            "the same, learning rate in proportion to mean λ(D)",
            RATIO,
            wrong_ratio["value"],
            fails not in (Verdict.REPRODUCED, Verdict.WITH_CAVEAT),
        ),
    ]
    return controls, check(
        "linear systems at rest whose Hessian is D",
        likelihood in (Verdict.REPRODUCED, Verdict.WITH_CAVEAT),
        f"{likelihood}: ratio {wording.estimate(its_ratio)}, for they have Σ = η/(2b) "
        "whatever mean λ(D) is",
    )
