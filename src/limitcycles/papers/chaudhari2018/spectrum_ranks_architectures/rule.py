"""Does rank(D)/d + var λ(D) rank architectures by their error? (Remark 16)"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import xarray as xr

from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import statistic
from limitcycles.judging.result import NotRun, Outcome, Verdict, arm, check, negative, positive
from limitcycles.papers.chaudhari2018.spectrum_ranks_architectures import (
    rank_correlation as correlation,
)
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.statistics.intervals import CORRELATION, PERCENT, POSITIVE

# What the rule reads of its entry of the ledger.
PARAMETERS = ("level", "tau", "permutations", "permuted_pass_share", "fewest_networks")
EVIDENCE = ("runs", "spectra")

ALL = "all networks"


def score(spectrum: xr.Dataset) -> float:
    """rank(D)/d + var λ(D) as the paper writes it: a share plus a number with a unit."""
    return rank_share(spectrum) + variance(spectrum)


def rank_share(spectrum: xr.Dataset) -> float:
    """rank(D)/d with the float32 threshold."""
    return spectrum.attrs["rank_float32"] / spectrum.attrs["weights"]


def variance(spectrum: xr.Dataset) -> float:
    """Variance of all eigenvalues of D."""
    return spectrum.attrs["std_all"] ** 2


def dataset(run: xr.Dataset) -> str:
    """Name of the dataset that a stored run was trained on."""
    return json.loads(run.attrs["settings"])["dataset_name"]


def is_connected(run: xr.Dataset) -> bool:
    """Whether a stored run is that of a fully connected network."""
    return json.loads(run.attrs["settings"])["network"]["builder"] == "fc"


def common_seeds(runs: dict[str, list[xr.Dataset]], names: Sequence[str]) -> set[int]:
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


def groups(evidence: Evidence, names: Sequence[str], fewest: float) -> dict[str, list[str]]:
    """The networks of each dataset that at least `fewest` of them see, by dataset."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(dataset(evidence.runs[name][0]), []).append(name)
    return {where: mine for where, mine in found.items() if len(mine) >= fewest}


def table(
    evidence: Evidence,
    names: Sequence[str],
    percent: int | None = None,
    read: Callable[[xr.Dataset], float] = score,
) -> np.ndarray:
    """A number of each network and each seed that all of `names` have, shape (network, seed).

    It is what `read` takes from the spectrum at `percent`, or without one the test error (%) at the
    end of training.

    Raises LimitcyclesError: as `common_seeds`; or a number is not finite.
    """
    seeds = common_seeds(evidence.runs, names)

    def numbers(name):
        if percent is None:
            return [float(r["test_error"][-1]) for r in evidence.runs[name] if _seed(r) in seeds]
        return [read(s) for s in evidence.spectra[name][percent] if _seed(s) in seeds]

    found = np.array([numbers(name) for name in names])
    if not np.isfinite(found).all():
        bad = [name for name, row in zip(names, found, strict=True) if not np.isfinite(row).all()]
        what = "the test error" if percent is None else f"the spectrum of D at {percent} %"
        raise LimitcyclesError(
            f"{what} of {', '.join(bad)} has no finite number to rank by: where training diverged, "
            "take a smaller training.learning_rate; where the rank is not resolved, a larger "
            "spectrum.leading"
        )
    return found


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Rank correlation of the score, before and after training, with the final test error.

    Raises NotRun: fewer than two networks are there; LimitcyclesError: as `common_seeds`.
    """
    parameters, names = entry["rule_parameters"], list(entry["arms"])
    if len(names) < 2:
        raise NotRun("fewer than two networks are run at this scale: there is nothing to rank")
    level = parameters["level"]
    within = groups(evidence, names, parameters["fewest_networks"])
    checks, signs, by_z, statistics = [], {}, {}, {}

    def look(where, mine, percent, read=score, resample=False):
        """Add one τ to the checks; returns its sign if it passes, and the statistic."""
        scores, errors = table(evidence, mine, percent, read), table(evidence, mine)
        found = statistic(
            f"Kendall's τ with the score at {percent} %",
            correlation.taus(scores, errors),
            scale=CORRELATION,
            unit="1",
            level=level,
        )
        sign = correlation.passes(found["values"], parameters)
        by_z[where, percent] = correlation.passes(found["values"], parameters, CORRELATION)
        span = correlation.bootstrap(scores, errors, level) if resample else None
        checks.append(_check(where, percent, mine, found, bool(sign), span))
        return sign, found

    for percent in entry["snapshots"]:
        signs[ALL, percent], statistics[percent] = look(ALL, names, percent, resample=True)
        for where, mine in within.items():
            signs[where, percent], _ = look(where, mine, percent, resample=True)
        look("rank(D)/d alone", names, percent, rank_share)
        look("var λ(D) alone", names, percent, variance)
        connected = [name for name in names if is_connected(evidence.runs[name][0])]
        if len(connected) > 1:
            look("fully connected networks only", connected, percent)

    first, last = min(entry["snapshots"]), max(entry["snapshots"])
    verdict = _verdict(signs[ALL, first], signs[ALL, last])
    third = _verdict(by_z[ALL, first], by_z[ALL, last])
    caveats = []
    if verdict == Verdict.WITH_CAVEAT:
        only = first if signs[ALL, first] else last
        caveats.append(f"only with the score at {only} % of training")
    if third != verdict:
        caveats.append(f"by intervals of Fisher's z (third rule): {third}")
    others = [
        f"{where}, {percent} %: {'passes' if z else 'does not pass'}"
        for (where, percent), z in by_z.items()
        if z != signs.get((where, percent), z)
    ]
    checks.append(
        check(
            "third rule: intervals of Fisher's z",
            third == verdict,
            f"{third}; another answer than by the linear interval, which decides: "
            f"{wording.listed(others)}",
        )
    )
    agreeing = [
        where
        for where in within
        if any(signs[where, p] and signs[where, p] == signs[ALL, p] for p in entry["snapshots"])
    ]
    if verdict != Verdict.NOT_REPRODUCED and not agreeing:
        known = ", ".join(within) or f"none is seen by {parameters['fewest_networks']:g} networks"
        caveats.append(
            f"passes within no single dataset ({known}) with the same sign, only over all together"
        )

    errors = table(evidence, names)
    tables = {percent: table(evidence, names, percent) for percent in entry["snapshots"]}
    score_of = partial(statistic, scale=POSITIVE, unit="mixed", level=level)
    arms = []
    for i, name in enumerate(names):
        error = statistic("test error", errors[i], scale=PERCENT, unit="%", level=level)
        scores = [score_of(f"rank(D)/d + var λ(D) at {p} %", tables[p][i]) for p in tables]
        arms.append(arm(entry, name, None, [error, *scores]))
    for where, mine in within.items():
        share = correlation.permuted_share(
            table(evidence, mine, last), table(evidence, mine), parameters
        )
        checks.append(
            check(
                f"permutations within {where}",
                share <= parameters["permuted_pass_share"],
                f"{100 * share:.3g} % of the permuted scores pass the second rule",
            )
        )
    controls = _controls(parameters, tables[last], errors)
    return Outcome(verdict, statistics[last], arms, controls, checks, caveats)


def _verdict(before: int, after: int) -> str:
    """From the signs with which τ passes before and after training; 0: it does not."""
    if before and before == after:
        return Verdict.REPRODUCED
    return Verdict.WITH_CAVEAT if bool(before) != bool(after) else Verdict.NOT_REPRODUCED


def _seed(store: xr.Dataset) -> int:
    return store.attrs["seed"]


def _check(
    where: str,
    percent: int,
    names: Sequence[str],
    tau: dict,
    holds: bool,
    span: tuple[float, float] | None,
) -> dict:
    """A check with its numbers: `statistic` over seeds, `bootstrap` over networks (or None)."""
    low_high = tau["interval"]
    text = "" if low_high is None else f" [{low_high[0]:.2f}, {low_high[1]:.2f}]"
    seeds = "one seed" if tau["n"] == 1 else f"{tau['n']} seeds"
    detail = f"τ = {tau['value']:.2f}{text} over {seeds}, {len(names)} networks"
    if span:
        detail += f"; bootstrap over the networks [{span[0]:.2f}, {span[1]:.2f}]"
    its = {"of": where, "percent": percent, "statistic": tau}
    return check(
        f"{where}, {percent} %", holds, detail, bootstrap=list(span) if span else None, **its
    )


def _controls(parameters: dict, scores: np.ndarray, errors: np.ndarray) -> list[dict]:
    planted = correlation.taus(np.exp(-errors), errors)
    share = correlation.permuted_share(scores, errors, parameters)
    return [
        positive(
            "a falling function of the error as score",
            "mean τ",
            np.mean(planted),
            correlation.passes(planted, parameters),
        ),
        negative(
            f"{parameters['permutations']} permutations of the scores",
            "share that passes",
            share,
            share <= parameters["permuted_pass_share"],
        ),
    ]
