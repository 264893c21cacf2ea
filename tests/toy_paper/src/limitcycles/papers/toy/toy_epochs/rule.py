"""Do the weights move?"""

from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import statistic
from limitcycles.judging.result import Outcome, all_agree, arm, negative, positive
from limitcycles.statistics.intervals import REAL

PARAMETERS = ("level", "least")


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Reproduced where the weights moved by more than the rule's least."""
    parameters = entry["rule_parameters"]

    def passes(value: float) -> bool:
        return value > parameters["least"]

    arms = []
    for name in entry["arms"]:
        values = [float(parts["moved"]["distance"]) for parts in evidence.by_arm[name]]
        found = statistic("distance", values, scale=REAL, unit="1", level=parameters["level"])
        arms.append(arm(entry, name, passes(found["value"]), [found]))
    controls = [
        positive("planted", "distance", 1, passes(1)),
        negative("none", "distance", 0, not passes(0)),
    ]
    verdict, caveats = all_agree(arms)
    return Outcome(verdict, arms[0]["statistics"][0], arms, controls, caveats=caveats)
