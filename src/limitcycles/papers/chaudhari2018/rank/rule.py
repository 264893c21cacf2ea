"""Rank of the diffusion matrix against the paper's figure (Figs. 1 and 2)."""

from __future__ import annotations

import torch

from limitcycles.diffusion.matrix import Rows, exact
from limitcycles.diffusion.spectrum import rank
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import statistic, within
from limitcycles.judging.result import (
    Outcome,
    Verdict,
    all_agree,
    arm,
    check,
    negative,
    paper_value,
    positive,
)
from limitcycles.papers.chaudhari2018.rank import checks as _rank_checks
from limitcycles.papers.chaudhari2018.rank.printed_moments import READINGS
from limitcycles.statistics.intervals import FROM_ONE, POSITIVE, SHARE_LOG
from limitcycles.statistics.thresholds import paper_threshold

# What the rule reads of its entry of the ledger.
PARAMETERS = ("level", "factor", "mean_factor", "contradiction_percent", "settled_percent")
PAPER = ("rank", "mean eigenvalue", "std of eigenvalues")
EVIDENCE = ("spectra",)

CONTROL_SHAPE = (3000, 1000)  # examples and weights of the synthetic gradients


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Compare rank(D)/d and the mean eigenvalue at the end of training with the paper's."""
    parameters = entry["rule_parameters"]
    paper, paper_mean, paper_std = (paper_value(entry, name) for name in PAPER)
    level, last = parameters["level"], max(entry["snapshots"])

    arms, means_hold = [], {}
    for name in entry["arms"]:
        spectra = evidence.spectra[name][last]

        def over_seeds(name, key, spectra=spectra, **its):
            return statistic(name, [s.attrs[key] for s in spectra], level=level, **its)

        main = over_seeds(
            "rank(D)/d", "rank_percent_float32", unit="%", paper=paper, scale=SHARE_LOG
        )
        statistics, holding, its = [main], [], {"unit": "gradient squared", "scale": POSITIVE}
        for reading in READINGS:
            mean, std = (
                over_seeds(f"{moment} ({reading})", f"{key}_{reading}", paper=number, **its)
                for moment, key, number in (
                    ("mean eigenvalue", "mean", paper_mean),
                    ("std of eigenvalues", "std", paper_std),
                )
            )
            statistics += [mean, std]
            if within(mean["value"], paper_mean, parameters["mean_factor"]):
                holding.append(reading)
        ratio = over_seeds("participation ratio", "participation_ratio", unit="1", scale=FROM_ONE)
        whole = agrees(main, paper, parameters["factor"])
        arms.append(arm(entry, name, whole, [*statistics, ratio]))
        means_hold[name] = holding

    verdict, caveats = all_agree(arms)
    main = [a["statistics"][0] for a in arms]
    lower = [(s["interval"] or [s["value"]])[0] for s in main]
    if all(value > parameters["contradiction_percent"] for value in lower):
        verdict = Verdict.CONTRADICTED
    agreeing = [a["name"] for a in arms if a["agrees"]]
    if agreeing and not any(means_hold[name] for name in agreeing):
        verdict = Verdict.WITH_CAVEAT
        caveats.append("the rank agrees, the mean eigenvalue in no reading")
    detail = "; ".join(f"{n}: {', '.join(r) or 'no reading'}" for n, r in means_hold.items())
    checks = [
        check(
            "mean eigenvalue",
            any(means_hold.values()),
            f"readings within a factor {parameters['mean_factor']:g} of the paper's "
            f"{paper_mean:g}: {detail}",
        ),
        _precision(arms, paper, parameters["factor"]),
    ]
    spectra = {name: evidence.spectra[name][last] for name in entry["arms"]}
    checks.append(_rank_checks.caption_arithmetic(entry, spectra))
    if augmented := _rank_checks.settled(spectra, parameters["settled_percent"]):
        checks.append(augmented)
        if not augmented["holds"]:
            verdict = Verdict.WITH_CAVEAT if verdict == Verdict.REPRODUCED else verdict
            caveats.append("the rank has not settled over the number of augmentations")
    return Outcome(verdict, main[0], arms, _controls(entry, paper), checks, caveats)


def _precision(arms: list[dict], paper: float, factor: float) -> dict:
    """The stricter reading of the rule: not only the estimate but its whole interval agrees."""
    inside = {
        a["name"]: all(within(end, paper, factor) for end in a["statistics"][0]["interval"] or ())
        and a["statistics"][0]["interval"] is not None
        for a in arms
        if a["agrees"]
    }
    words = {True: "within the band", False: "not within it"}
    return check(
        "whole interval",
        bool(inside) and all(inside.values()),
        f"intervals of the agreeing arms within a factor {factor:g} of the paper's "
        f"{paper:g} %: " + ("; ".join(f"{k}: {words[v]}" for k, v in inside.items()) or "no arm"),
    )


def agrees(main: dict, paper: float, factor: float) -> bool:
    """The point estimate lies in the band around the paper's number and the interval meets it."""
    low, high = main["interval"] or [main["value"]] * 2
    overlaps = low <= paper * factor and high >= paper / factor
    return within(main["value"], paper, factor) and overlaps


def rank_percent(gradients: torch.Tensor) -> float:
    """rank(D)/d in percent by the paper's rule with float32, from gradients (N, d)."""
    spectrum = exact(Rows(gradients))
    return 100 * rank(spectrum, paper_threshold(spectrum.weights)) / spectrum.weights


def _controls(entry: dict, paper: float) -> list[dict]:
    factor = entry["rule_parameters"]["factor"]
    samples, weights = CONTROL_SHAPE
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    planted = round(paper / 100 * weights)
    low_rank = rank_percent(normal(samples, planted) @ normal(planted, weights))
    isotropic = rank_percent(normal(samples, weights))
    return [
        positive(
            f"planted rank {planted} of {weights}",
            "rank(D)/d in %",
            low_rank,
            within(low_rank, paper, factor),
        ),
        negative(
            "isotropic Gaussian gradients",
            "rank(D)/d in %",
            isotropic,
            not within(isotropic, paper, factor),
        ),
    ]
