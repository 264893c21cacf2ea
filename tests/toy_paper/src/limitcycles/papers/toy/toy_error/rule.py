"""Does the network learn?"""

from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import statistic
from limitcycles.judging.result import Outcome, all_agree, arm, negative, positive
from limitcycles.statistics.intervals import REAL

PARAMETERS = ("level", "percent")
EVIDENCE = ("runs",)


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Reproduced where the test error is below the rule's."""
    parameters = entry["rule_parameters"]

    def passes(value: float) -> bool:
        return value < parameters["percent"]

    arms = []
    for name in entry["arms"]:
        values = [float(run["test_error"][-1]) for run in evidence.runs[name]]
        found = statistic("test error", values, scale=REAL, unit="%", level=parameters["level"])
        arms.append(arm(entry, name, passes(found["value"]), [found]))
    controls = [
        positive("planted", "test error", 0, passes(0)),
        negative("none", "test error", 90, not passes(90)),
    ]
    verdict, caveats = all_agree(arms)
    return Outcome(verdict, arms[0]["statistics"][0], arms, controls, caveats=caveats)
