"""The ledger: every claim of the paper with its numbers, its decision rule and its controls."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from limitcycles.configuration.settings import resolve_run
from limitcycles.configuration.validation import (
    Problem,
    fail_on,
    nearest,
    problems,
    show,
    suggestion,
)
from limitcycles.configuration.yamlfile import read_yaml

PAPER = "limitcycles.papers.chaudhari2018"
# name in the ledger -> folder of the claim
EVALUATORS: dict[str, str] = {
    name.name.replace("_", "-"): name.name
    for name in sorted(Path(__file__).parents[1].joinpath("papers", "chaudhari2018").iterdir())
    if (name / "rule.py").exists() and name.name != "noise_covariance"
} | {f"noise-covariance-{how}-replacement": "noise_covariance" for how in ("with", "without")}


def load(path: Path, schema: Path) -> dict[str, dict[str, Any]]:
    """Read the ledger: claim id -> entry, in the order of the file.

    Parameters
    ----------
    path, schema
        `config/claims.yaml` and `workflow/schemas/claims.schema.yaml`.

    Raises
    ------
    ConfigError
        One line for each thing that is wrong, naming file, key, value and remedy.
    """
    ledger, rules = read_yaml(path), read_yaml(schema)
    found = problems(ledger, rules)
    for claim, entry in ledger.items() if not found else ():
        needing = {"spectra", "sample", "late-noise"} & set(entry.get("evidence", ()))
        if needing and "snapshots" not in entry:
            text = f"is missing, but evidence names {', '.join(sorted(needing))}; add the percents"
            found.append(Problem((claim, "snapshots"), text))
        evidence = set(entry.get("evidence", ()))
        for kind in ("analysis", "study"):
            if (kind in entry) != (kind in evidence):
                text = f"goes with evidence: [{kind}]; write both or neither"
                found.append(Problem((claim, kind), text))
        kind = next((kind for kind in ("analysis", "study") if kind in evidence), "runs")
        wanted = {"analysis": "trajectory", "study": None, "runs": "run"}[kind]
        for arm, content in entry.get("arms", {}).items():
            for key in ("run", "trajectory"):
                if (key in content) != (key == wanted):
                    text = "is missing" if key == wanted else f"does not go with evidence: [{kind}]"
                    found.append(Problem((claim, "arms", arm, key), text))
        if is_tested(entry) and not found:
            found.extend(_read_by_evaluator(claim, entry, rules["x-evaluators"]))
    fail_on(found, [(str(path), ledger)])
    return ledger


def _read_by_evaluator(
    claim: str, entry: Mapping[str, Any], evaluators: Mapping[str, Mapping[str, Any]]
) -> Iterator[Problem]:
    """What an evaluator reads of an entry and does not find there, or finds and cannot use."""
    name = entry["evaluator"]
    if name not in evaluators:
        text = f"{show(name)} is not allowed; {suggestion(name, evaluators)}"
        yield Problem((claim, "evaluator"), text)
        return
    reads, reader = evaluators[name], f"the evaluator {name}"
    missing = sorted(set(reads["evidence"]) - set(entry["evidence"]))
    if missing:
        yield Problem((claim, "evidence"), f"{reader} reads {', '.join(missing)} too; add it")
    for key in ("analysis", "study"):
        if key in reads and entry.get(key) != reads[key]:
            text = f"{show(entry.get(key))} is not what {reader} reads; write {reads[key]}"
            yield Problem((claim, key), text)
    given, known = entry["rule_parameters"], reads["rule_parameters"]
    for key in known:
        if key not in given:
            text = f"is missing, and {reader} decides by it; add the number"
            yield Problem((claim, "rule_parameters", key), text)
    for key in given:
        if key not in known:
            text = f"{reader} reads no such number; {suggestion(key, known, 'key')}"
            yield Problem((claim, "rule_parameters", key), text)
    by_arm = reads.get("paper_of_arm", {})
    names = [*reads.get("paper", ()), *(by_arm[arm] for arm in by_arm if arm in entry["arms"])]
    yield from _numbers(claim, entry, names, reader)
    for arm in reads.get("needed_arms", ()):
        if arm not in entry["arms"]:
            yield Problem((claim, "arms", arm), f"is missing, and {reader} reads it; add it")
    systems = reads.get("arms", entry["arms"])
    for arm in entry["arms"]:
        if arm not in systems:
            text = f"is no system of the study {entry['study']}; {suggestion(arm, systems)}"
            yield Problem((claim, "arms", arm), text)


def _numbers(
    claim: str, entry: Mapping[str, Any], names: Iterable[str], reader: str
) -> Iterator[Problem]:
    given = [number["name"] for number in entry["paper"]]
    for name in names:
        if name not in given:
            near = nearest(name, given)
            hint = f"; is it {show(near)}?" if near else ""
            text = f"has no number with the name {show(name)}, which {reader} reads{hint}; add it"
            yield Problem((claim, "paper"), text)


def is_tested(entry: Mapping[str, Any]) -> bool:
    """Whether a claim gets a verdict, rather than a reason why there is none yet."""
    return "not_tested" not in entry


def check_runs(
    ledger: Mapping[str, Mapping[str, Any]],
    config: Mapping[str, Any],
    path: Path | str = "config/claims.yaml",
) -> None:
    """Check that each arm's run or trajectory exists, and that a run keeps the snapshots needed.

    `config` is the checked configuration, `path` the file that an error names. Raises
    `ConfigError` with all errors, one line each.
    """
    found = []
    for claim, entry in ledger.items():
        for arm, content in entry.get("arms", {}).items():
            kind = "trajectory" if "trajectory" in content else "run"
            if kind not in content:  # a system of the theory
                continue
            run, key = content[kind], (claim, "arms", arm, kind)
            group = "trajectories" if kind == "trajectory" else "runs"
            if run not in config[group]:
                text = f"{show(run)} is not under {group}; {suggestion(run, config[group])}"
                found.append(Problem(key, text))
                continue
            if kind == "trajectory":
                continue
            resolved = resolve_run(config, run)
            if entry.get("evaluator") == "training-errors":
                of = resolved["network_name"]
                names = [f"{error} error of {of}" for error in ("training", "test")]
                found.extend(_numbers(claim, entry, names, f"the evaluator, for the arm {arm},"))
            training = resolved["training"]
            if "late-noise" in entry.get("evidence", ()) and training["augmentation"] is not None:
                text = (
                    f"the run {show(run)} has training.augmentation, and late-noise goes on with "
                    "the images as they are; take a run without"
                )
                found.append(Problem(key, text))
            kept = training["snapshots"]
            missing = sorted(set(content.get("snapshots", entry.get("snapshots", ()))) - set(kept))
            if missing:
                text = (
                    f"the run {show(run)} keeps the snapshots {kept}, the claim needs {missing} "
                    f"too; add them to training.snapshots"
                )
                found.append(Problem(key, text))
    fail_on(found, [(str(path), ledger)])
