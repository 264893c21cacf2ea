"""Are the spectra at 20, 40 and 100 % of training almost the same? (Remark 13)"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import xarray as xr

from limitcycles.diffusion.matrix import Rows, exact
from limitcycles.diffusion.spectrum import summarise
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import statistic
from limitcycles.judging.result import Outcome, Verdict, all_agree, arm, check, negative, positive
from limitcycles.statistics.intervals import POSITIVE, REAL, Estimate, Scale, estimate

# What the rule reads of its entry of the ledger.
PARAMETERS = ("level", "threshold", "smallest_count", "negative_scale")
EVIDENCE = ("spectra", "sample")

SCALE = POSITIVE  # of a distance; the rule's own interval is linear
WORDS = {True: "below", False: "above", None: "undecided"}


def distance(a: xr.Dataset, b: xr.Dataset, smallest_count: int, shape_only: bool = False) -> float:
    """Root mean square of |log10 λ_i(a) − log10 λ_i(b)| over the leading eigenvalues.

    As many as the smaller float32 rank, at least `smallest_count`. With `shape_only` each
    spectrum is divided by its trace first. In decades.
    """
    count = int(max(min(a.attrs["rank_float32"], b.attrs["rank_float32"]), smallest_count))
    logs = []
    for spectrum in (a, b):
        values = spectrum["eigenvalue"].values[:count]
        logs.append(np.log10(values / (spectrum.attrs["trace"] if shape_only else 1.0)))
    return float(np.sqrt(np.mean((logs[0] - logs[1]) ** 2)))


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """The largest distance between the snapshots of a run, over seeds, against the threshold."""
    parameters = entry["rule_parameters"]
    threshold, count = parameters["threshold"], parameters["smallest_count"]

    arms = []
    for name in entry["arms"]:
        by_percent = evidence.spectra[name]
        pairs = list(combinations(sorted(entry["snapshots"]), 2))

        def largest(shape_only, by_percent=by_percent, pairs=pairs):
            seeds = len(next(iter(by_percent.values())))
            return [
                max(
                    distance(by_percent[p][i], by_percent[q][i], count, shape_only)
                    for p, q in pairs
                )
                for i in range(seeds)
            ]

        statistics = [
            statistic(
                title, largest(shape_only), scale=SCALE, unit="decades", level=parameters["level"]
            )
            for title, shape_only in (
                ("largest distance between snapshots", False),
                ("largest distance, shape only", True),
            )
        ]
        arms.append(arm(entry, name, _below(statistics[0], REAL, parameters), statistics))

    verdict, caveats = _verdict(arms)
    again = [a | {"agrees": _below(a["statistics"][0], SCALE, parameters)} for a in arms]
    second, _ = _verdict(again)
    if second != verdict:
        caveats.append(f"by intervals on the log scale (third rule): {second}")
    shapes = {a["name"]: _below(a["statistics"][1], REAL, parameters) for a in arms}
    checks = [
        check(
            "shape only",
            all(shapes.values()),
            f"distance after division by the trace, against {threshold:g}: "
            + "; ".join(f"{name}: {WORDS[holds]}" for name, holds in shapes.items()),
        ),
        check(
            "third rule: intervals on the log scale",
            second == verdict,
            f"{second}; against {threshold:g} the interval is, on the linear scale as "
            "the rule has it and on the log scale: "
            + "; ".join(
                f"{a['name']}: {WORDS[a['agrees']]} and {WORDS[b['agrees']]}"
                for a, b in zip(arms, again, strict=True)
            ),
        ),
    ]
    worst = max(arms, key=lambda a: a["statistics"][0]["value"])["statistics"][0]
    controls = _controls(entry, evidence.rows, threshold, count)
    return Outcome(verdict, worst, arms, controls, checks, caveats)


def _verdict(arms: list[dict]) -> tuple[str, list[str]]:
    verdict, caveats = all_agree(arms)
    if all(a["agrees"] is False for a in arms):
        verdict = Verdict.CONTRADICTED
    return verdict, caveats


def _below(found: dict, scale: Scale, parameters: dict) -> bool | None:
    return below(estimate(found["values"], scale, parameters["level"]), parameters["threshold"])


def below(found: Estimate, threshold: float) -> bool | None:
    """Whether the whole interval is below (True) or above (False) the threshold; else None."""
    low, high = found.interval or (found.value, found.value)
    if high < threshold:
        return True
    return False if low > threshold else None


def _controls(entry: dict, sample: xr.Dataset, threshold: float, count: int) -> list[dict]:
    """Real per-sample gradients: two random halves, and the same rows ten times as large."""
    rows = sample["gradient"].values
    order = np.random.default_rng(0).permutation(len(rows))
    half = len(rows) // 2
    scale = entry["rule_parameters"]["negative_scale"]

    def spectrum(gradients):
        return summarise(exact(Rows(np.ascontiguousarray(gradients))))

    first = spectrum(rows[order[:half]])
    halves = distance(first, spectrum(rows[order[half : 2 * half]]), count)
    scaled = distance(first, spectrum(scale * rows[order[:half]]), count)
    return [
        positive(
            f"two halves of {2 * half} gradients", "distance in decades", halves, halves < threshold
        ),
        negative(
            f"the same gradients times {scale}", "distance in decades", scaled, scaled > threshold
        ),
    ]
