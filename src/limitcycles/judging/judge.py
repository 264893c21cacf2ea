"""Claims: stored results in, a verdict with its numbers, controls and caveats out.

A rule never trains. It applies the rule of the ledger, written before the run, to evidence that is
already stored. To add one, write `rule.py` in the folder of the claim, which declares as literals
what it reads of the entry: PARAMETERS (numbers of the rule: all of them, and no others), EVIDENCE
(`runs`, `spectra`, `sample`), PAPER and PAPER_OF_NETWORK (names of the paper's numbers),
ARM_LISTS (keys that list some of the arms, such as `deciding`), ARMS (all systems that there are)
and NEEDED_ARMS. Where claims that share a rule differ, PARAMETERS and PAPER are mappings by claim.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping

from limitcycles.judging import folders
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.result import NotRun, assemble, untested


def absent(
    entry: dict, runs: Mapping[str, dict], unreachable: Mapping[str, str | None]
) -> dict[str, str]:
    """Why arms with a run are not there, by arm; those that are there are not listed.

    `runs` has the resolved settings of each arm, `unreachable` by dataset why it cannot be had
    (None: it can), of which the first sentence is taken.
    """
    reasons = {}
    for name, spec in entry["arms"].items():
        if "run" not in spec:
            continue
        reason = unreachable.get(runs[name]["dataset_name"])
        if not runs[name]["seeds"]:
            reasons[name] = "not run at this scale"
        elif reason is not None:
            first = re.split(r"\. |\.?\n", reason)[0].removesuffix(".")
            file = f"data/{runs[name]['dataset_name']}.reachable.json"
            reasons[name] = f"data not reachable ({first}; all attempts, and what to do: {file})"
    return reasons


def judge(claim: str, entry: dict, evidence: Evidence, context: dict) -> dict:
    """The result file of one claim: by its rule, or "not tested" with the reason,
    which may be that this scale runs no arm that decides, or that its data cannot be had.

    The rule is `judge(entry, evidence)` in `rule.py` of the claim's folder, or of that of
    `judged_by`; `entry` is that of the ledger, with the claim's `id`. Arms that `context["absent"]`
    names are judged as if the ledger did not have them, and become a caveat.

    Raises LimitcyclesError: there is no such rule.
    """
    if "not_tested" in entry:
        return untested(claim, entry, context)
    absent = context.get("absent", {})
    there = {name: its for name, its in entry["arms"].items() if name not in absent}
    if not there:
        return untested(claim, entry, context, "; ".join(dict.fromkeys(absent.values())))
    module = importlib.import_module(folders.module(entry.get("judged_by", claim), "rule"))
    entry = entry | {"id": claim, "arms": there}
    try:
        return assemble(claim, entry, module.judge(entry, evidence), context)
    except NotRun as reason:
        return untested(claim, entry, context, str(reason))
