"""Does rank(D)/d + var λ(D) rank architectures by their error? (Remark 16)"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.stats import kendalltau

from limitcycles.claims.result import (
    NOT_REPRODUCED,
    REPRODUCED,
    WITH_CAVEAT,
    Evidence,
    Outcome,
    arm,
    control,
    statistic,
)
from limitcycles.errors import LimitcyclesError
from limitcycles.statistics import t_interval


def score(spectrum: xr.Dataset) -> float:
    """rank(D)/d + var λ(D) as the paper writes it: a share plus a number with a unit."""
    return spectrum.attrs["rank_float32"] / spectrum.attrs["weights"] + variance(spectrum)


def variance(spectrum: xr.Dataset) -> float:
    """Variance of all eigenvalues of D."""
    return spectrum.attrs["std_all"] ** 2


def taus(scores: np.ndarray, errors: np.ndarray) -> list[float]:
    """Kendall's τ-b over networks, one a seed; both arrays (network, seed).

    Where all scores or all errors are equal nothing is ranked: τ is taken as 0.
    """
    return [
        0.0 if 0 in (np.ptp(s), np.ptp(e)) else float(kendalltau(s, e).statistic)
        for s, e in zip(scores.T, errors.T, strict=True)
    ]


def passes(values: list[float], parameters: dict) -> int:
    """Sign of τ where its interval excludes 0 and |mean| is large enough, else 0."""
    mean, interval = t_interval(values, parameters["level"])
    low, high = interval or (mean, mean)
    excluded = low > 0 or high < 0
    return int(np.sign(mean)) if excluded and abs(mean) >= parameters["tau"] else 0


def common_seeds(runs: dict[str, list[xr.Dataset]], names: list[str]) -> set[int]:
    """Seeds that the runs of all arms have: networks are ranked seed by seed.

    Raises LimitcyclesError: there is none.
    """
    common = set.intersection(*({r.attrs["seed"] for r in runs[name]} for name in names))
    if not common:
        raise LimitcyclesError(
            f"the runs of {', '.join(names)} have no seed in common, by which they could be "
            "ranked; give them the same `seeds`"
        )
    return common


def evaluate(entry: dict, evidence: Evidence) -> Outcome:
    """Rank correlation of the score, before and after training, with the final test error."""
    parameters = entry["rule_parameters"]
    names = list(entry["arms"])
    seeds = common_seeds(evidence.runs, names)

    def of(stores):
        return [s for s in stores if s.attrs["seed"] in seeds]

    errors = np.array([[float(r["test_error"][-1]) for r in of(evidence.runs[n])] for n in names])

    def table(read, percent, chosen=names):
        return np.array([[read(s) for s in of(evidence.spectra[n][percent])] for n in chosen])

    signs, statistics = {}, {}
    for percent in entry["snapshots"]:
        values = taus(table(score, percent), errors)
        signs[percent] = passes(values, parameters)
        statistics[percent] = statistic(
            f"Kendall's τ with the score at {percent} %",
            values,
            unit="1",
            level=parameters["level"],
        )

    first, last = min(signs), max(signs)
    caveats = []
    if signs[first] and signs[first] == signs[last]:
        verdict = REPRODUCED
    elif bool(signs[first]) != bool(signs[last]):
        verdict = WITH_CAVEAT
        caveats.append(f"only with the score at {first if signs[first] else last} % of training")
    else:
        verdict = NOT_REPRODUCED

    connected = [n for n in names if not n.startswith("small-lenet")]
    rows = [names.index(n) for n in connected]
    checks = []
    for percent in entry["snapshots"]:
        for title, values in (
            ("rank(D)/d alone", taus(table(_rank_share, percent), errors)),
            ("var λ(D) alone", taus(table(variance, percent), errors)),
            (
                "fully connected networks only",
                taus(table(score, percent, connected), errors[rows]),
            ),
        ):
            mean, interval = t_interval(values, parameters["level"])
            span = "" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]"
            checks.append(
                {
                    "name": f"{title}, {percent} %",
                    "holds": bool(passes(values, parameters)),
                    "detail": f"τ = {mean:.2f}{span} over {len(values)} seeds",
                }
            )

    arms = [
        arm(
            entry,
            name,
            None,
            [
                statistic("test error", list(errors[i]), unit="%", level=parameters["level"]),
                *(
                    statistic(
                        f"rank(D)/d + var λ(D) at {percent} %",
                        list(table(score, percent)[i]),
                        unit="mixed",
                        level=parameters["level"],
                    )
                    for percent in entry["snapshots"]
                ),
            ],
        )
        for i, name in enumerate(names)
    ]
    controls = _controls(entry, table(score, last), errors)
    return Outcome(verdict, statistics[last], arms, controls, checks, caveats)


def _rank_share(spectrum: xr.Dataset) -> float:
    return spectrum.attrs["rank_float32"] / spectrum.attrs["weights"]


def _controls(entry: dict, scores: np.ndarray, errors: np.ndarray) -> list[dict]:
    parameters = entry["rule_parameters"]
    planted = taus(np.exp(-errors), errors)
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(parameters["permutations"]):
        # Each seed its own permutation: networks and scores have nothing to do with each other.
        shuffled = generator.permuted(scores, axis=0)
        hits += bool(passes(taus(shuffled, errors), parameters))
    share = hits / parameters["permutations"]
    return [
        control(
            "a falling function of the error as score",
            "positive",
            entry["controls"]["positive"],
            "mean τ",
            float(np.mean(planted)),
            bool(passes(planted, parameters)),
        ),
        control(
            f"{parameters['permutations']} permutations of the scores",
            "negative",
            entry["controls"]["negative"],
            "share that passes",
            share,
            share <= parameters["permuted_pass_share"],
        ),
    ]
