"""The arms of a claim: those that the ledger writes out, and those that it selects from a grid."""

from collections.abc import Mapping
from typing import Any

from limitcycles.configuration import grids
from limitcycles.configuration.validation import KeyPath, Problem, show, suggestion

KINDS = {"runs": "run", "trajectories": "trajectory"}  # what an arm calls an entry of a section


def expanded(
    arms: Mapping[str, Mapping[str, Any]], config: Mapping[str, Mapping[str, Any]], path: KeyPath
) -> tuple[dict[str, dict[str, Any]], list[Problem]]:
    """The arms with each selection replaced by the combinations that it takes, and what is wrong.

    Parameters
    ----------
    arms
        By name, arms as they are in the result, or selections: `grid`, a name under `grids`;
        `where`, values by factor (see `grids.select`); `snapshots`, which all its arms have.
    config
        The `grids` of the checked configuration.
    path
        Where the arms stand, for the problems.

    A combination that another arm has, or a selection before, is left out. Each of the others is an
    arm of its name, whose description is that of the grid's words.
    """
    taken = {arm[kind] for arm in arms.values() for kind in KINDS.values() if kind in arm}
    found: dict[str, dict[str, Any]] = {}
    wrong: list[Problem] = []
    for name, arm in arms.items():
        if "grid" not in arm:
            found[name] = dict(arm)
            continue
        where, grid = (*path, name), config.get(arm["grid"])
        if grid is None:
            text = f"{show(arm['grid'])} is not under grids; {suggestion(arm['grid'], config)}"
            wrong.append(Problem((*where, "grid"), text))
            continue
        try:
            selected = grids.select(grid, arm["grid"], arm.get("where", {}))
        except KeyError as error:
            text = grids.why_not_selected(grid, error)
            wrong.append(Problem((*where, "where", error.args[0]), text))
            continue
        left = [one for one in selected if one.name not in taken]
        double = sorted({one.name for one in left} & (set(arms) - {name}))
        if double:
            text = f"selects {show(double[0])}, and another arm has this name; rename that one"
            wrong.append(Problem(where, text))
        elif not left:
            text = "selects no combination that no other arm has; change `where`, or delete it"
            wrong.append(Problem(where, text))
        own = {"snapshots": arm["snapshots"]} if "snapshots" in arm else {}
        for one in left:
            taken.add(one.name)
            description = one.words or f"{one.name}."
            found[one.name] = {KINDS[one.group]: one.name, "description": description} | own
    return found, wrong
