"""The form of a claim's result, and the rules that hold for the verdict of every claim."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.storage.provenance import code_version


class Verdict(StrEnum):
    """What is said of a claim; in result files its words."""

    REPRODUCED = "reproduced"
    WITH_CAVEAT = "reproduced with a caveat"
    NOT_REPRODUCED = "not reproduced"
    CONTRADICTED = "contradicted"
    NOT_TESTED = "not tested"


class NotRun(LimitcyclesError):
    """No arm that decides is run at this scale: there is nothing to judge."""


def deciding(entry: dict, run: Collection[str]) -> tuple[list[str], list[str]]:
    """The arms that decide: those among `run`, the arms that this scale runs, and the others.

    Raises NotRun: none of them is run.
    """
    names = entry["deciding"]
    if not set(names) & set(run):
        raise NotRun(
            f"none of the arms that decide, {', '.join(names)}, is run at this scale: give them a "
            "seed"
        )
    return [name for name in names if name in run], [name for name in names if name not in run]


@dataclass
class Outcome:
    """What a rule found; `assemble` adds what is common to all claims."""

    verdict: str
    statistic: dict
    arms: list[dict]
    controls: list[dict]
    checks: list[dict] = field(default_factory=list)
    caveats: list[str] = field(default_factory=list)


def positive(
    name: str, what: str, value: float, passed: bool, expectation: str | None = None
) -> dict:
    """A control of which the claim is true by construction; has it `passed`, as expected?

    `value` is its statistic, called `what`. The ledger says what is expected of it, unless it has
    an `expectation` of its own, as a second one has.
    """
    return _control("positive", name, what, value, passed, expectation)


def negative(name: str, what: str, value: float, passed: bool) -> dict:
    """A control of which the claim is false by construction; has it failed the rule (`passed`)?"""
    return _control("negative", name, what, value, passed)


def _control(kind: str, name: str, what: str, value, passed, expectation=None) -> dict:
    return {
        "name": name,
        "kind": kind,
        "expectation": expectation,  # `assemble` puts that of the ledger here
        "statistic": {"name": what, "value": float(value)},
        "passed": bool(passed),
    }


def check(name: str, holds: bool | None, detail: str, **more) -> dict:
    """A look beside the rule: does it hold (None: undecided), and its numbers in words."""
    return {"name": name, "holds": None if holds is None else bool(holds), "detail": detail} | more


def all_agree(arms: list[dict]) -> tuple[str, list[str]]:
    """Verdict where all arms must agree: all, some (with a caveat that names them), or none."""
    agreeing = [a["name"] for a in arms if a["agrees"]]
    others = [a["name"] for a in arms if not a["agrees"]]
    if not agreeing:
        return Verdict.NOT_REPRODUCED, []
    if not others:
        return Verdict.REPRODUCED, []
    return Verdict.WITH_CAVEAT, [f"holds for {', '.join(agreeing)}; not for {', '.join(others)}"]


def paper_value(entry: dict, name: str) -> float:
    """The paper's number of that name in the ledger. Raises LimitcyclesError: it has none."""
    for item in entry["paper"]:
        if item["name"] == name:
            return float(item["value"])
    raise LimitcyclesError(
        f"the ledger: {entry['title']}: paper has no number with the name {name!r}; add it"
    )


def arm(entry: dict, name: str, agrees: bool | None, statistics: list[dict]) -> dict:
    """One arm: does it agree (None: undecided), and its numbers, the first of which is by seed."""
    spec = entry["arms"][name]
    return {
        "name": name,
        "run": spec.get("run", spec.get("trajectory")),  # none: a system of the theory
        "description": spec["description"],
        "agrees": agrees,
        "statistics": statistics,
    }


def assemble(claim: str, entry: dict, outcome: Outcome, context: dict) -> dict:
    """The result file of a claim.

    `context` has scale, seeds, config_hash, artefacts, `departures`: by arm, how it departs from
    the paper (None: not at all), and `absent`: why arms are not there. A claim whose controls did
    not all behave is "not reproduced"; one with a caveat, a departure, or a part that is not there
    or not yet tested cannot be without one.
    """
    arms = [a | {"departure": context["departures"].get(a["name"])} for a in outcome.arms]
    caveats = list(outcome.caveats)
    decides = entry.get("deciding", list(context.get("absent", {})) + [a["name"] for a in arms])
    judged = [a for a in arms if a["name"] in decides]
    caveats += sorted({a["departure"] for a in judged if a["departure"]})
    missing: dict[str, list[str]] = {}
    for name, reason in context.get("absent", {}).items():
        if name in decides:
            missing.setdefault(reason, []).append(name)
    caveats += [f"{', '.join(names)}: {reason}" for reason, names in missing.items()]
    if entry.get("partial"):
        caveats.append(entry["partial"])
    caveats += _single([a for a in judged if a["run"]])
    verdict = outcome.verdict
    failed = [c["name"] for c in outcome.controls if not c["passed"]]
    if failed:
        caveats.insert(0, f"the controls did not behave: {', '.join(failed)}")
        verdict = Verdict.NOT_REPRODUCED  # a broken instrument neither confirms nor contradicts
    elif verdict == Verdict.REPRODUCED and caveats:
        verdict = Verdict.WITH_CAVEAT
    return _header(claim, entry, context) | {
        "verdict": verdict,
        "caveat": "; ".join(caveats) or None,
        "reason": None,
        "statistic": outcome.statistic,
        "arms": arms,
        "controls": [
            c | {"expectation": c["expectation"] or entry["controls"][c["kind"]]}
            for c in outcome.controls
        ],
        "checks": outcome.checks,
    }


def _single(arms: list[dict]) -> list[str]:
    """A caveat that names the arms of one seed, unless all have one."""
    single = [a["name"] for a in arms if a["statistics"][0]["n"] == 1]
    if not single:
        return []
    whose = "" if len(single) == len(arms) else f" of {', '.join(single)}"
    return [f"one seed only{whose}: no interval over seeds"]


def untested(claim: str, entry: dict, context: dict, reason: str | None = None) -> dict:
    """The result file of a claim without a verdict: `reason`, or why it is still to come."""
    return _header(claim, entry, context) | {
        "verdict": Verdict.NOT_TESTED,
        "caveat": None,
        "reason": reason or entry["not_tested"],
        "statistic": None,
        "arms": [],
        "controls": [],
        "checks": [],
    }


def _header(claim: str, entry: dict, context: dict) -> dict:
    return {
        "id": claim,
        "title": entry["title"],
        "group": entry["group"],
        "source": entry["source"],
        "statement": entry["statement"],
        "paper": entry["paper"],
        "measured": entry["statistic"],
        "rule": entry["rule"],
        "rule_parameters": entry.get("rule_parameters", {}),
        "deciding": entry.get("deciding", list(entry.get("arms", {}))),
        "planned_controls": entry["controls"],
        "judged_by": entry.get("judged_by", claim),
        "instruments": entry.get("instruments", []),
        "seeds": context["seeds"],
        "scale": context["scale"],
        "code_version": code_version(),
        "config_hash": context["config_hash"],
        "artefacts": context["artefacts"],
    }
