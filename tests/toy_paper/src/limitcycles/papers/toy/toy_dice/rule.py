"""Is the die fair?"""

from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import single
from limitcycles.judging.result import Outcome, all_agree, arm, negative, paper_value, positive

PARAMETERS = ("throws", "distance")
PAPER = ("mean of a throw",)


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Reproduced where the mean of the throws is near the paper's."""
    paper = paper_value(entry, "mean of a throw")
    distance = entry["rule_parameters"]["distance"]
    mean = float(evidence.parts["throws"]["face"].mean())
    statistic = single("mean of a throw", mean, n=evidence.parts["throws"].sizes["throw"])
    arms = [arm(entry, "die", abs(mean - paper) <= distance, [statistic])]
    controls = [
        positive("all faces", "mean of a throw", 3.5, abs(3.5 - paper) <= distance),
        negative("sixes", "mean of a throw", 6, not abs(6 - paper) <= distance),
    ]
    verdict, caveats = all_agree(arms)
    return Outcome(verdict, statistic, arms, controls, caveats=caveats)
