"""The ledger: every claim of the paper with its numbers, its decision rule and its controls."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limitcycles.settings import resolve_run
from limitcycles.validation import Problem, fail_on, problems, show, suggestion
from limitcycles.yamlfile import read_yaml


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
    ledger = read_yaml(path)
    found = problems(ledger, read_yaml(schema))
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
    fail_on(found, [(str(path), ledger)])
    return ledger


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
            training = resolve_run(config, run)["training"]
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
