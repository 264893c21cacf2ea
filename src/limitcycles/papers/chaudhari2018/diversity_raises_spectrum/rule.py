"""Do diverse data raise the mean and the spread of the eigenvalues of D? (Remark 14)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr

from limitcycles.diffusion.matrix import Rows, exact
from limitcycles.diffusion.spectrum import summarise
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import statistic
from limitcycles.judging.result import (
    NotRun,
    Outcome,
    Verdict,
    arm,
    check,
    negative,
    paper_value,
    positive,
)
from limitcycles.papers.chaudhari2018.diversity_raises_spectrum.pairs import (
    Logs,
    Pair,
    first_rule,
    log_ratios,
    pair_name,
    ratio_name,
    sign,
    signs,
)
from limitcycles.statistics.intervals import POSITIVE, REAL, estimate

# What the rule reads of its entry of the ledger.
PARAMETERS = ("level", "log_ratio")
EVIDENCE = ("spectra",)
ARM_LISTS = ("deciding", "pairs")

MOMENTS = {"mean eigenvalue": "mean_all", "std of eigenvalues": "std_all"}
# Other ways to look at the size of a spectrum: the first two, sums over all weights, do not
# depend on the number of weights d, which differs between networks.
OTHERS = {
    "trace, not divided by d": lambda s: s.attrs["trace"],
    "Frobenius norm, not divided by d": lambda s: s.attrs["frobenius_norm"],
    "largest eigenvalue": lambda s: float(s["eigenvalue"].values[0]),
    "mean, clipped at the threshold": lambda s: s.attrs["mean_clipped"],
    "mean, above the threshold": lambda s: s.attrs["mean_above"],
}
SECOND_LOOK = tuple(OTHERS)[:2]
EXCHANGES = 1000
PLANTED = (400, 40, 1.5)  # examples and weights of the synthetic gradients, growth of their spread


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Log ratios of mean and std of the eigenvalues at the end of training, pair by pair."""
    parameters, last = entry["rule_parameters"], max(entry["snapshots"])
    spectra = {name: evidence.spectra[name][last] for name in entry["arms"]}
    decisive, others = pairs_of(entry)
    first, missing = _split(decisive, spectra)
    second, missing_second = _split(others, spectra)
    if not first:
        raise NotRun(
            "no pair of "
            + ", ".join(pair_name(p) for p in decisive)
            + " has both of its arms at this scale"
        )
    logs = _logs(spectra, [lambda s, key=key: s.attrs[key] for key in MOMENTS.values()])
    found = signs(logs, first, parameters)
    verdict = first_rule(found, missing)
    caveats = [f"{pair_name(pair)} is not tested" for pair in missing]
    for pair, row in zip(first, found, strict=True):
        failing = [m for m, s in zip(MOMENTS, row, strict=True) if s <= 0]
        if failing and verdict == Verdict.WITH_CAVEAT:
            caveats.append(f"{pair_name(pair)} does not hold for the {' and the '.join(failing)}")

    looks = {name: _look(spectra, first, read, parameters) for name, read in OTHERS.items()}
    if verdict == Verdict.CONTRADICTED and not all(
        looks[name]["all_below"] for name in SECOND_LOOK
    ):
        caveats.append(f"below 0 in every pair, but not so in {' and '.join(SECOND_LOOK)}")

    held = (signs(logs, second, parameters) > 0).all(axis=1) if second else np.array([])
    if second and not held.any() and verdict in (Verdict.REPRODUCED, Verdict.WITH_CAVEAT):
        verdict = Verdict.WITH_CAVEAT
        caveats.append("within one dataset and one network it holds in no pair")

    ratios = {pair: _ratios(entry, logs, pair) for pair in [*first, *second]}
    for pair in first:
        if len(log_ratios(logs, pair)) == 1 < min(len(spectra[name]) for name in pair):
            caveats.append(f"{pair_name(pair)}: one common seed only, no interval")
    arms = []
    for name, its in spectra.items():
        against = [s for pair, both in ratios.items() if pair[1] == name for s in both]
        arms.append(arm(entry, name, None, [*_moments(entry, name, its), *against]))
    checks = [
        *(_check("first rule", p, ratios[p], s > 0) for p, s in zip(first, found, strict=True)),
        *(_check("second rule", p, ratios[p], h) for p, h in zip(second, held, strict=True)),
        *(
            check(f"{rule}: {pair_name(p)}", False, "not tested")
            for rule, pairs in (("first rule", missing), ("second rule", missing_second))
            for p in pairs
        ),
        *(check(name, look["all_above"], look["words"]) for name, look in looks.items()),
    ]
    weakest = min(
        (s for p in first for s in ratios[p]), key=lambda s: (s["interval"] or [s["value"]])[0]
    )
    controls = _controls(decisive, parameters, logs, first)
    return Outcome(verdict, weakest, arms, controls, checks, caveats)


def pairs_of(entry: dict) -> tuple[list[Pair], list[Pair]]:
    """Pairs (less diverse, more diverse) of the first rule, whose arms decide; of the second."""
    pairs = [tuple(pair) for pair in entry["pairs"]]
    first = [pair for pair in pairs if set(pair) <= set(entry["deciding"])]
    return first, [pair for pair in pairs if pair not in first]


def _split(pairs: Sequence[Pair], there: Mapping) -> tuple[list[Pair], list[Pair]]:
    """Pairs of which both arms are there, and the others."""
    whole = [pair for pair in pairs if set(pair) <= set(there)]
    return whole, [pair for pair in pairs if pair not in whole]


def _logs(spectra: Mapping[str, Sequence[xr.Dataset]], reads: Sequence) -> Logs:
    return {
        name: {s.attrs["seed"]: np.log([read(s) for read in reads]) for s in mine}
        for name, mine in spectra.items()
    }


def _moments(entry: dict, name: str, spectra: Sequence[xr.Dataset]) -> list[dict]:
    its = {"unit": "gradient squared", "level": entry["rule_parameters"]["level"]}
    return [
        statistic(moment, [s.attrs[key] for s in spectra], paper=paper, scale=POSITIVE, **its)
        for (moment, key), paper in zip(MOMENTS.items(), (_paper(entry, name), None), strict=True)
    ]


def _paper(entry: dict, arm: str) -> float | None:
    """The paper's mean eigenvalue for an arm, if it has one."""
    name = entry["arms"][arm].get("paper")
    return None if name is None else paper_value(entry, name)


def _ratios(entry: dict, logs: Logs, pair: Pair) -> list[dict]:
    papers = [None, None]
    low, high = (_paper(entry, name) for name in pair)
    if low and high:
        papers[0] = float(np.log(high / low))
    its = {"scale": REAL, "unit": "1", "level": entry["rule_parameters"]["level"]}
    return [
        statistic(ratio_name(moment, pair), list(values), paper=paper, **its)
        for moment, values, paper in zip(MOMENTS, log_ratios(logs, pair).T, papers, strict=True)
    ]


def _check(rule: str, pair: Pair, ratios: Sequence[dict], holds) -> dict:
    return check(
        f"{rule}: {pair_name(pair)}",
        np.all(holds),
        "log ratio of the "
        + ", of the ".join(
            f"{moment} {_said(ratio['value'], ratio['interval'])}"
            for moment, ratio in zip(MOMENTS, ratios, strict=True)
        )
        + f", n = {ratios[0]['n']}",
    )


def _said(value: float, interval: Sequence[float] | None) -> str:
    span = "" if interval is None else f" [{interval[0]:+.2f}, {interval[1]:+.2f}]"
    return f"{value:+.2f}{span}"


def _look(spectra: Mapping, pairs: Sequence[Pair], read, parameters: Mapping) -> dict:
    """The pairs of the first rule by another measure of size than the moments of the rule."""
    # A matrix-free spectrum need not resolve the readings at the threshold (NaN).
    usable = [p for p in pairs if all(np.isfinite(read(s)) for name in p for s in spectra[name])]
    logs = _logs({name: spectra[name] for pair in usable for name in pair}, [read])
    found = [sign(log_ratios(logs, pair)[:, 0], parameters) for pair in usable]
    spans = [estimate(log_ratios(logs, p)[:, 0], REAL, parameters["level"]) for p in usable]
    words = [
        f"{pair_name(p)}: {_said(found.value, found.interval)}"
        for p, found in zip(usable, spans, strict=True)
    ] + [f"{pair_name(p)}: not resolved" for p in pairs if p not in usable]
    whole = len(usable) == len(pairs)
    return {
        "all_above": whole and all(s > 0 for s in found),
        "all_below": whole and all(s < 0 for s in found),
        "words": f"log ratios of the first rule's pairs: {'; '.join(words)}",
    }


def planted(seed: int, pairs: Sequence[Pair]) -> dict[str, np.ndarray]:
    """ln(mean), ln(std) of the spectra of Gaussian gradients, the more spread the more diverse.

    The spread grows by a factor from the first arm of each pair to the second.
    """
    samples, weights, growth = PLANTED
    generator = torch.Generator().manual_seed(seed)
    steps: dict[str, int] = {}
    for low, high in pairs:
        steps[high] = steps.setdefault(low, 0) + 1
    found = {}
    for name, step in steps.items():
        rows = growth**step * torch.randn(samples, weights, generator=generator)
        attrs = summarise(exact(Rows(rows))).attrs
        found[name] = np.log([attrs[key] for key in MOMENTS.values()])
    return found


def exchanged_share(logs: Logs, pairs: Sequence[Pair], parameters: Mapping) -> float:
    """Share of random exchanges of names, within each seed, after which every pair holds.

    The identity is among them: with one seed it alone passes too often, and the control fails.
    """
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    seeds = sorted(set().union(*(logs[name] for name in names)))
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(EXCHANGES):
        exchanged: dict[str, dict[int, np.ndarray]] = {name: {} for name in names}
        for seed in seeds:
            there = [name for name in names if seed in logs[name]]
            for name, other in zip(there, generator.permutation(there), strict=True):
                exchanged[name][seed] = logs[other][seed]
        hits += bool((signs(exchanged, pairs, parameters) > 0).all())
    return hits / EXCHANGES


def _controls(
    all_pairs: Sequence[Pair], parameters: Mapping, logs: Logs, pairs: Sequence[Pair]
) -> list[dict]:
    synthetic = [planted(seed, all_pairs) for seed in range(3)]
    by_arm = {name: {k: one[name] for k, one in enumerate(synthetic)} for name in synthetic[0]}
    found = signs(by_arm, all_pairs, parameters)
    smallest = min(log_ratios(by_arm, pair).min() for pair in all_pairs)
    limit = 1 - parameters["level"]
    share = exchanged_share(logs, pairs, parameters)
    return [
        positive(
            f"synthetic gradients, spread times {PLANTED[2]:g} from step to step",
            "smallest log ratio",
            smallest,
            first_rule(found, ()) == Verdict.REPRODUCED,
        ),
        negative(
            f"{EXCHANGES} exchanges of the names within seeds: at most {100 * limit:.0f} % pass",
            "share in which every pair holds",
            share,
            share <= limit,
        ),
    ]
