"""The ledger: every claim of the papers with its numbers, its decision rule and its controls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from limitcycles.configuration.settings import resolve_run
from limitcycles.configuration.validation import (
    Problem,
    nearest,
    show,
    suggestion,
)
from limitcycles.configuration.yamlfile import ConfigError
from limitcycles.judging import folders

ARM_LISTS = ("deciding", "enough", "pairs")  # keys of an entry; a rule declares those it reads


def wrong(ledger: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """What does not fit in the entries of a ledger (claim id -> entry), by key of its paper.

    That is: folders that are not there, and what rules and measurements read of an entry and do not
    find there, or find and cannot use.
    """
    tested = {claim: entry for claim, entry in ledger.items() if is_tested(entry)}
    found = (problem for claim, entry in tested.items() for problem in _of_entry(claim, entry))
    return [Problem(("claims", *problem.path), problem.text) for problem in found]


def rule_of(claim: str, entry: Mapping[str, Any]) -> str:
    """The folder that has the rule and the charts of a claim: its own, or `judged_by`."""
    return entry.get("judged_by", claim)


def measurement_of(claim: str, entry: Mapping[str, Any]) -> str | None:
    """The folder that measures what a claim is judged on, if its rule reads a measurement."""
    rule = rule_of(claim, entry)
    return entry.get("measured_by", rule if folders.has(rule, "measure") else None)


def kind(entry: Mapping[str, Any]) -> str | None:
    """What the arms are: "run", "trajectory", or None for systems of the theory."""
    arms = entry.get("arms", {}).values()
    return next((kind for kind in ("run", "trajectory") for arm in arms if kind in arm), None)


def measured(ledger: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """The claims that read each measurement, by its name; each instrument is one, too."""
    found: dict[str, list[str]] = {}
    for claim, entry in ledger.items():
        if not is_tested(entry):
            continue
        own = measurement_of(claim, entry)
        for name in [*([own] if own else []), *entry.get("instruments", ())]:
            found.setdefault(name, []).append(claim)
    return found


def measured_on(name: str, ledger: Mapping[str, Mapping[str, Any]]) -> str | None:
    """What a measurement is made of, as `kind` has it; None for an instrument, too."""
    own = (e for claim, e in ledger.items() if is_tested(e) and measurement_of(claim, e) == name)
    return next(map(kind, own), None)


def settings_read(
    name: str, ledger: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any]
) -> dict[str, Any]:
    """The values that a measurement reads, by the last part of the names in its READS.

    Numbers of a rule ("rule.leading") are those of the claims that are judged in its folder, or,
    for an instrument, that name it; `check_reads` has looked at them.
    """
    found = {}
    for key in folders.declared(name, "measure").get("READS", ()):
        section, _, last = key.rpartition(".")
        if section == "rule":
            found[last] = next(
                ledger[claim]["rule_parameters"][last] for claim in _of(name, ledger)
            )
        else:
            found[last] = config[section][last]
    return found


def _of(name: str, ledger: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The claims whose rule has the numbers that a measurement reads."""
    readers = measured(ledger).get(name, ())
    return [claim for claim in readers if rule_of(claim, ledger[claim]) == name] or list(readers)


def _of_entry(claim: str, entry: Mapping[str, Any]) -> Iterator[Problem]:
    """What does not fit: the folders, the arms, and what rule and measurement read of them."""
    rule = rule_of(claim, entry)
    for key, name, files in (
        ("judged_by", rule, ("rule", "charts")),
        ("measured_by", entry.get("measured_by"), ("measure",)),
        *(("instruments", name, ("measure", "charts")) for name in entry.get("instruments", ())),
    ):
        missing = [file for file in files if name and not folders.has(name, file)]
        if missing:
            able = [n for n in folders.with_file(missing[0]) if n != claim]
            yield Problem((claim, key), _no_folder(name, missing[0], able))
            return
    measurement = measurement_of(claim, entry)
    needing = sorted({"spectra", "sample"} & set(entry.get("evidence", ())))
    if kind(entry) == "run" and measurement:
        needing.append(f"the measurement {measurement}")
    if needing and "snapshots" not in entry:
        need = "needs" if len(needing) == 1 else "need"
        text = f"is missing, but {' and '.join(needing)} {need} it; add the percents"
        yield Problem((claim, "snapshots"), text)
    reads = folders.declared(rule, "rule")
    yield from _arms(claim, entry, reads, f"the rule {rule}")
    yield from _read_by_rule(claim, entry, reads, f"the rule {rule}")


def _no_folder(name: str, file: str, able: list[str]) -> str:
    where = f"papers/<paper>/{name.replace('-', '_')}/{file}.py"
    return f"{show(name)} has no file {where}; add it, or name another: {suggestion(name, able)}"


def _arms(
    claim: str, entry: Mapping[str, Any], reads: Mapping[str, Any], reader: str
) -> Iterator[Problem]:
    """Arms that are not all of the kind that the rule reads, or are none of its systems."""
    systems = reads.get("ARMS", entry["arms"])
    wanted = kind(entry)
    if "ARMS" in reads:
        wanted = None
    elif reads.get("EVIDENCE"):
        wanted = "run"
    for arm, content in entry["arms"].items():
        for key in ("run", "trajectory"):
            if key in content and key != wanted:
                text = f"does not go with {reader}, which reads " + (
                    f"arms with {wanted}" if wanted else "systems of the theory"
                )
                yield Problem((claim, "arms", arm, key), f"{text}; leave it out")
            elif key not in content and key == wanted:
                yield Problem((claim, "arms", arm, key), f"is missing, and {reader} reads it")
        if arm not in systems:
            text = f"is no system that {reader} has; {suggestion(arm, systems)}"
            yield Problem((claim, "arms", arm), text)
    for key in ARM_LISTS:
        if key in entry and key not in reads.get("ARM_LISTS", ()):
            yield Problem((claim, key), f"is not read by {reader}; leave it out")
        elif key not in entry and key in reads.get("ARM_LISTS", ()):
            yield Problem((claim, key), f"is missing, and {reader} reads it; add the arms")
        listed = entry.get(key, [])
        for arm in dict.fromkeys(chain(*listed) if key == "pairs" else listed):
            if arm not in entry["arms"]:
                text = f"{show(arm)} is no arm of the claim; {suggestion(arm, entry['arms'])}"
                yield Problem((claim, key), text)
            elif key == "enough" and arm not in entry.get("deciding", entry["arms"]):
                text = f"{show(arm)} is none of the arms that decide; "
                yield Problem((claim, key), text + suggestion(arm, entry["deciding"]))
    for arm in reads.get("NEEDED_ARMS", ()):
        if arm not in entry["arms"]:
            yield Problem((claim, "arms", arm), f"is missing, and {reader} reads it; add it")


def _read_by_rule(
    claim: str, entry: Mapping[str, Any], reads: Mapping[str, Any], reader: str
) -> Iterator[Problem]:
    """What a rule reads of an entry and does not find there, or finds and cannot use."""
    missing = sorted(set(reads.get("EVIDENCE", ())) - set(entry.get("evidence", ())))
    if missing:
        yield Problem((claim, "evidence"), f"{reader} reads {', '.join(missing)} too; add it")
    given, known = entry["rule_parameters"], _by_claim(reads.get("PARAMETERS", ()), claim)
    measurement = measurement_of(claim, entry)
    also = _rule_numbers(measurement) if measurement == rule_of(claim, entry) else []
    for name in entry.get("instruments", ()):
        also += _rule_numbers(name)
    for key in dict.fromkeys([*known, *also]):
        if key not in given:
            who, does = (reader, "decides by") if key in known else ("its measurement", "reads")
            text = f"is missing, and {who} {does} it; add the number"
            yield Problem((claim, "rule_parameters", key), text)
    for key in given:
        if key not in known and key not in also:
            text = f"{reader} reads no such number; {suggestion(key, [*known, *also], 'key')}"
            yield Problem((claim, "rule_parameters", key), text)
    names = _by_claim(reads.get("PAPER", ()), claim)
    yield from _numbers(claim, entry, names, reader)
    for arm, content in entry["arms"].items():
        if "paper" in content:
            yield from _numbers(claim, entry, [content["paper"]], f"the arm {arm}")


def _by_claim(declared: Any, claim: str) -> tuple[str, ...]:
    """A declaration of a rule: for all claims that it judges, or a mapping by claim."""
    return declared.get(claim, ()) if isinstance(declared, Mapping) else declared


def _rule_numbers(measurement: str | None) -> list[str]:
    """The numbers of the rule that a measurement reads."""
    reads = folders.declared(measurement, "measure").get("READS", ()) if measurement else ()
    return [key.removeprefix("rule.") for key in reads if key.startswith("rule.")]


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


def wrong_runs(ledger: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any]) -> list[Problem]:
    """Arms whose run or trajectory is not in the checked configuration, or does not fit the claim.

    `wrong` finds nothing in these entries. The problems are by key of the paper.
    """
    found = []
    for claim, entry in ledger.items():
        for arm, content in entry.get("arms", {}).items():
            kind = "trajectory" if "trajectory" in content else "run"
            if kind not in content:  # a system of the theory
                continue
            run, key = content[kind], ("claims", claim, "arms", arm, kind)
            group = "trajectories" if kind == "trajectory" else "runs"
            if run not in config[group]:
                text = f"{show(run)} is not under {group}; {suggestion(run, config[group])}"
                found.append(Problem(key, text))
                continue
            if kind == "trajectory":
                continue
            resolved = resolve_run(config, run)
            rule = rule_of(claim, entry)
            names = [
                name.format(network=resolved["network_name"])
                for name in folders.declared(rule, "rule").get("PAPER_OF_NETWORK", ())
            ]
            for problem in _numbers(claim, entry, names, f"the rule, for the arm {arm},"):
                found.append(Problem(("claims", *problem.path), problem.text))
            training = resolved["training"]
            measurement = measurement_of(claim, entry)
            plain = measurement and folders.declared(measurement, "measure").get("PLAIN_IMAGES")
            if plain and training["augmentation"] is not None:
                text = (
                    f"the run {show(run)} has training.augmentation, and the measurement "
                    f"{measurement} goes on with the images as they are; take a run without"
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
    return found


def check_reads(ledger: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any]) -> None:
    """Check that what measurements read is in the configuration, and that claims agree on it.

    Raises `ConfigError` with the first that is wrong.
    """
    for name in measured(ledger):
        its = folders.declared(name, "measure").get("READS", ())
        last = [key.rpartition(".")[2] for key in its]
        for key in its:
            section, _, end = key.rpartition(".")
            where = f"{folders.module(name, 'measure')}: READS names {show(key)}"
            if last.count(end) > 1:
                raise ConfigError(f"{where}, and another key that ends in {end}; take one of them")
            if section == "rule":
                values = {c: ledger[c]["rule_parameters"].get(end) for c in _of(name, ledger)}
                if len(set(values.values())) > 1:
                    given = ", ".join(f"{value} ({claim})" for claim, value in values.items())
                    raise ConfigError(f"{where}, for which claims have {given}; make them one")
            elif end not in config.get(section, {}):
                sections = ("theory", "trajectory_statistics", "constant_rate_sgd")
                keys = [f"{section}.{key}" for section in sections for key in config[section]]
                raise ConfigError(f"{where}, which is no key; {suggestion(key, keys)}")
