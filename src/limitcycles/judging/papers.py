"""The papers: one file each in `config/papers`, with citation, sections, targets and claims.

A paper is found by the name of its file. Ids of papers, claims, instruments and targets are unique
over all papers, for results and targets are called by them.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from limitcycles.configuration.validation import (
    Problem,
    fail_on,
    problems,
    show,
    suggestion,
)
from limitcycles.configuration.yamlfile import ConfigError, read_yaml
from limitcycles.judging import arms, ledger

Papers = dict[str, dict[str, Any]]


def load(folder: Path, schema: Path, config: Mapping[str, Any]) -> Papers:
    """Read and check all papers, by id and in the order of their ids.

    Each has `file`, `citation`, `sections` (id -> title), `targets` (name -> claims, message),
    `instruments` and `claims` (id -> entry, in the order of the file, with arms in place of what
    selects them).

    Parameters
    ----------
    folder, schema
        `config/papers` and `workflow/schemas/paper.schema.yaml`.
    config
        The checked configuration, whose runs, trajectories and grids the claims name.

    Raises
    ------
    ConfigError
        One line for each thing that is wrong, naming file, key, value and remedy.
    """
    rules = read_yaml(schema)
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise ConfigError(f"{folder}: has no file of a paper; write one, such as authors2018.yaml")
    papers: Papers = {}
    owners: dict[str, Path] = {}
    for file in files:
        if not file.stem.isidentifier() or not file.stem.islower():
            raise ConfigError(
                f"{file}: the name of the file is that of the paper's folder and target; take "
                "small letters, digits and _, such as authors2018.yaml"
            )
        tree = read_yaml(file)
        found = problems(tree, rules)
        if not found:
            paper = _made(tree, config["grids"], found)
            found += [*_taken(tree, file, owners), *_apart(paper), *ledger.wrong(paper["claims"])]
            found += [] if found else ledger.wrong_runs(paper["claims"], config)
            papers[file.stem] = paper | {"file": str(file)}
        fail_on(found, [(str(file), tree)])
    ledger.check_reads(claims(papers), config)
    return papers


def claims(papers: Papers) -> dict[str, dict[str, Any]]:
    """The ledger: the entries of all papers, by claim."""
    return {claim: entry for paper in papers.values() for claim, entry in paper["claims"].items()}


def targets(papers: Papers, taken: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """What a person asks for by name: by target the `claims` and the `message` when they are there.

    The id of each paper is a target, too. `taken` are the names of the rules of the workflow.

    Raises ConfigError for a name that a rule or another target has.
    """
    taken = {*taken, *(f"claim_{claim.replace('-', '_')}" for claim in claims(papers))}
    taken |= {name.replace("-", "_") for paper in papers.values() for name in paper["instruments"]}
    found: dict[str, dict[str, Any]] = {}
    for name, paper in papers.items():
        message = f"The claims of {short(paper)} are judged."
        whole = {"claims": list(paper["claims"]), "message": message}
        for target, its in [(name, whole), *paper["targets"].items()]:
            if target in taken or target in found:
                where = "its name" if its is whole else f"targets.{target}"
                raise ConfigError(
                    f"{paper['file']}: {where}: {show(target)} is a rule of the workflow, a claim, "
                    "an instrument or a target of another paper, too; take another name"
                )
            found[target] = its
    return found


def heads(papers: Papers) -> list[dict[str, Any]]:
    """What the report says of each paper: id, authors, citation, sections, ids of its claims."""
    return [
        {
            "id": name,
            "authors": short(paper),
            "citation": paper["citation"],
            "sections": paper["sections"],
            "claims": list(paper["claims"]),
        }
        for name, paper in papers.items()
    ]


def short(paper: Mapping[str, Any]) -> str:
    """Who wrote it: "Chaudhari & Soatto"; of more than three only the first, with "et al."."""
    families = [author["family"] for author in paper["citation"]["authors"]]
    if len(families) > 3:
        return f"{families[0]} et al."
    return " & ".join(filter(None, [", ".join(families[:-1]), families[-1]]))


def _made(
    tree: Mapping[str, Any], grids: Mapping[str, Mapping[str, Any]], found: list[Problem]
) -> dict[str, Any]:
    """The content of a file with what may be left out, its arms and its targets written out."""
    made = {"targets": {}, "instruments": {}} | dict(tree)
    made["claims"] = dict(tree["claims"])
    for claim, entry in tree["claims"].items():
        if "arms" in entry:
            its, wrong = arms.expanded(entry["arms"], grids, ("claims", claim, "arms"))
            made["claims"][claim] = entry | {"arms": its}
            found += wrong
    made["targets"] = {
        name: {"message": target["message"], "claims": _claims_of(target, tree["claims"])}
        for name, target in made["targets"].items()
    }
    return made


def _claims_of(target: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if "claims" in target:
        return target["claims"]
    return [claim for claim, entry in entries.items() if entry["group"] == target["section"]]


def _taken(tree: Mapping[str, Any], file: Path, owners: dict[str, Path]) -> list[Problem]:
    """Ids that another paper has, or that are a claim and an instrument; `owners` grows."""
    found = []
    for kind in ("claims", "instruments"):
        for name in tree.get(kind, ()):
            if name in owners:
                text = f"{owners[name]} has this id, too; rename one of the two"
                found.append(Problem((kind, name), text))
            owners.setdefault(name, file)
    return found


def _apart(paper: Mapping[str, Any]) -> list[Problem]:
    """Sections, instruments and claims that are named in a paper, and are not there."""
    found = []
    for claim, entry in paper["claims"].items():
        known = paper["sections"]
        if entry["group"] not in known:
            text = (
                f"{show(entry['group'])} is not under sections; {suggestion(entry['group'], known)}"
            )
            found.append(Problem(("claims", claim, "group"), text))
        for name in entry.get("instruments", ()):
            if name not in paper["instruments"]:
                known = paper["instruments"]
                text = f"{show(name)} is not under instruments; {suggestion(name, known)}"
                found.append(Problem(("claims", claim, "instruments"), text))
    for target, its in paper["targets"].items():
        for claim in its["claims"]:
            if claim not in paper["claims"]:
                text = f"{show(claim)} is not under claims; {suggestion(claim, paper['claims'])}"
                found.append(Problem(("targets", target, "claims"), text))
        if not its["claims"]:
            text = f"has no claim; take one of the sections: {', '.join(paper['sections'])}"
            found.append(Problem(("targets", target, "section"), text))
    return found
