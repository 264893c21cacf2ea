"""Is the rank low?"""

from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import statistic
from limitcycles.judging.result import Outcome, all_agree, arm, negative, positive
from limitcycles.statistics.intervals import REAL

PARAMETERS = ("level", "percent")
EVIDENCE = ("spectra", "sample")


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Reproduced where rank(D)/d is below the rule's."""
    parameters = entry["rule_parameters"]

    def passes(value: float) -> bool:
        return value < parameters["percent"]

    assert evidence.rows.sizes["sample"] > 1
    arms = []
    for name in entry["arms"]:
        values = [s.attrs["rank_percent_float32"] for s in evidence.spectra[name][100]]
        found = statistic("rank(D)/d", values, scale=REAL, unit="%", level=parameters["level"])
        arms.append(arm(entry, name, passes(found["value"]), [found]))
    controls = [
        positive("planted", "rank(D)/d", 1, passes(1)),
        negative("none", "rank(D)/d", 100, not passes(100)),
    ]
    verdict, caveats = all_agree(arms)
    return Outcome(verdict, arms[0]["statistics"][0], arms, controls, caveats=caveats)
