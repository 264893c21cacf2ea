"""Training and test error at the end of training (Sec. IV)."""

from __future__ import annotations

import torch

from limitcycles.claims.rank import within
from limitcycles.claims.result import (
    Evidence,
    Outcome,
    arm,
    by_agreement,
    control,
    paper_value,
    statistic,
)
from limitcycles.training import error_percent

PLANTED = 10_000  # predictions of the positive control


def evaluate(entry: dict, evidence: Evidence) -> Outcome:
    """Compare the errors of small-lenet with the paper's 0.75 %."""
    parameters = entry["rule_parameters"]
    papers = {
        part: paper_value(entry, f"{word} error of small-lenet")
        for part, word in (("test", "test"), ("train", "training"))
    }

    def passes(errors: dict[str, float]) -> bool:
        return all(within(errors[p], papers[p], parameters["factor"]) for p in papers)

    arms = []
    for name in entry["arms"]:
        statistics = [
            statistic(
                f"{part} error",
                [float(run[f"{part}_error"][-1]) for run in evidence.runs[name]],
                unit="%",
                level=parameters["level"],
                paper=paper,
            )
            for part, paper in papers.items()
        ]
        values = {p: s["value"] for p, s in zip(papers, statistics, strict=True)}
        arms.append(arm(entry, name, passes(values), statistics))

    verdict, caveats = by_agreement(arms)
    labels = torch.arange(PLANTED) % 10
    predictions = labels.clone()
    wrong = round(PLANTED * papers["test"] / 100)
    predictions[:wrong] = (labels[:wrong] + 1) % 10
    planted = error_percent(predictions, labels)
    first = evidence.runs[next(iter(entry["arms"]))][0]
    untrained = {p: float(first[f"{p}_error"][0]) for p in papers}
    controls = [
        control(
            f"{wrong} of {PLANTED} labels planted wrong",
            "positive",
            entry["controls"]["positive"],
            "error in %",
            planted,
            passes(dict.fromkeys(papers, planted)),
        ),
        control(
            "the network before training",
            "negative",
            entry["controls"]["negative"],
            "test error in %",
            untrained["test"],
            not passes(untrained),
        ),
    ]
    return Outcome(verdict, arms[0]["statistics"][0], arms, controls, [], caveats)
