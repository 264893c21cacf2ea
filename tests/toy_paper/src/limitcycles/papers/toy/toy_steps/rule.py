"""Do larger networks have more noise?"""

from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import statistic
from limitcycles.judging.result import Outcome, all_agree, arm, negative, positive
from limitcycles.statistics.intervals import REAL

PARAMETERS = ("level", "least")


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Reproduced where the trace is above the rule's least."""
    parameters = entry["rule_parameters"]

    def passes(value: float) -> bool:
        return value > parameters["least"]

    arms = []
    for name in entry["arms"]:
        values = [
            float(parts["traces"]["trace"].sel(run=entry["arms"][name]["run"]))
            for parts in evidence.by_seed
        ]
        found = statistic(
            "trace of D", values, scale=REAL, unit="gradient squared", level=parameters["level"]
        )
        arms.append(arm(entry, name, passes(found["value"]), [found]))
    controls = [
        positive("planted", "trace of D", 2, passes(2)),
        negative("none", "trace of D", 0, not passes(0)),
    ]
    verdict, caveats = all_agree(arms)
    return Outcome(verdict, arms[0]["statistics"][0], arms, controls, caveats=caveats)
