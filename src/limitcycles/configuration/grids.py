"""Grids: one entry of `grids` stands for many runs, or trajectories, one for each combination.

A grid has factors, a factor has values. A combination takes one value of each factor: the settings
of the grid and of its values, in this order, are laid over each other; the names of its values are
joined by "-", and their words by ", ", where empty ones are left out.
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limitcycles.configuration import yamlscalars
from limitcycles.configuration.validation import KeyPath, Problem, show, suggestion

MOST = 10_000  # combinations of a grid
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class Piece:
    """Settings of a run or trajectory, and the key that they stand at.

    Where a factor names the key that it `sets`, `within` is that key.
    """

    path: KeyPath
    settings: Any
    within: KeyPath = ()


@dataclass(frozen=True)
class Value:
    """A value of a factor: its name, and what a combination has of it in its name and words."""

    name: str
    part: str
    words: str
    piece: Piece


@dataclass(frozen=True)
class Combination:
    """An entry of `runs` or `trajectories` (`group`) that a grid makes.

    `values` has the name of its value by factor, `words` tells it in one sentence, and `pieces`
    are its settings, each laid over the one before.
    """

    grid: str
    group: str
    name: str
    values: Mapping[str, str]
    words: str
    pieces: tuple[Piece, ...]


def combinations(grids: Mapping[str, Mapping[str, Any]]) -> list[Combination]:
    """All combinations of all grids, whose defaults are filled in; the last factor varies fastest.

    None of those that `refused` refuses for their factors or for a name that is not possible.
    """
    return [made for made in _all(grids) if _NAME.fullmatch(made.name)]


def refused(grids: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """What is wrong with grids: factors without values, impossible names, two of one name."""
    found = [problem for name, grid in grids.items() for problem in _shape(name, grid)]
    seen: dict[tuple[str, str], Combination] = {}
    for made in _all(grids):
        where = ("grids", made.grid, "factors")
        values = ", ".join(f"{factor}: {value}" for factor, value in made.values.items())
        if not _NAME.fullmatch(made.name):
            text = (
                f"the combination {{{values}}} has the name {show(made.name)}; give its values "
                "names of letters, digits, hyphens and dots that begin and end with a letter or "
                "digit"
            )
            found.append(Problem(where, text))
            continue
        other = seen.setdefault((made.group, made.name), made)
        if other is not made:
            of = "" if other.grid == made.grid else f" of the grid {other.grid}"
            theirs = ", ".join(f"{factor}: {value}" for factor, value in other.values.items())
            text = (
                f"the combinations {{{theirs}}}{of} and {{{values}}} have the same name, "
                f"{show(made.name)}; give one of their values another name"
            )
            found.append(Problem(where, text))
    return list({problem.path: problem for problem in reversed(found)}.values())[::-1]


def select(
    grid: Mapping[str, Any], name: str, where: Mapping[str, Sequence[Any]]
) -> list[Combination]:
    """The combinations of a grid that have one of the named values of each factor in `where`.

    Factors in `where` vary slowest, in its order and through its values in theirs; the others
    follow as the grid has them.

    Raises `KeyError` with the name of a factor, or (factor, value), that the grid does not have.
    """
    values = {factor: _values(name, grid, factor) for factor in grid["factors"]}
    chosen = {}
    for factor, wanted in where.items():
        if factor not in values:
            raise KeyError(factor)
        known = {value.name: value for value in values[factor]}
        for one in wanted:
            if _text(one) not in known:
                raise KeyError(factor, one)
        chosen[factor] = [known[_text(one)] for one in wanted]
    values = chosen | {factor: values[factor] for factor in values if factor not in chosen}
    found = []
    for picked in itertools.product(*values.values()):
        by_factor = dict(zip(values, picked, strict=True))
        found.extend(_combined(name, grid, [[by_factor[factor]] for factor in grid["factors"]]))
    return found


def why_not_selected(grid: Mapping[str, Any], error: KeyError) -> str:
    """What to write in place of what `select` does not find."""
    if len(error.args) == 1:
        return (
            f"the grid has no such factor; {suggestion(error.args[0], grid['factors'], 'factor')}"
        )
    factor, value = error.args
    known = [each.name for each in _values("", grid, factor)]
    return f"{show(value)} is no value of the factor; {suggestion(value, known)}"


def _all(grids: Mapping[str, Mapping[str, Any]]) -> Iterator[Combination]:
    for name, grid in grids.items():
        if not list(_shape(name, grid)):
            yield from _combined(name, grid, [_values(name, grid, f) for f in grid["factors"]])


def _combined(
    name: str, grid: Mapping[str, Any], values: Sequence[Sequence[Value]]
) -> Iterator[Combination]:
    common = Piece(("grids", name, "settings"), grid["settings"])
    for picked in itertools.product(*values):
        words = ", ".join(value.words for value in picked if value.words)
        yield Combination(
            name,
            grid["of"],
            "-".join(value.part for value in picked if value.part),
            dict(zip(grid["factors"], (value.name for value in picked), strict=True)),
            words and f"{words}.",
            (common, *(value.piece for value in picked)),
        )


def _values(name: str, grid: Mapping[str, Any], factor: str) -> list[Value]:
    spec = grid["factors"][factor]
    path = ("grids", name, "factors", factor, "values")
    if isinstance(spec["values"], list):
        within = tuple(spec["sets"].split("."))
        found = []
        for index, value in enumerate(spec["values"]):
            settings = value
            for key in reversed(within):
                settings = {key: settings}
            text = _text(value)
            named = (text, spec["name"].replace("{}", text), spec["words"].replace("{}", text))
            found.append(Value(*named, Piece((*path, index), settings, within)))
        return found
    return [
        Value(
            key,
            spec["name"].replace("{}", key) if its["name"] is None else its["name"],
            spec["words"].replace("{}", key) if its["words"] is None else its["words"],
            Piece((*path, key, "settings"), its["settings"]),
        )
        for key, its in spec["values"].items()
    ]


def _text(value: Any) -> str:
    return yamlscalars.number(value) if isinstance(value, float) else str(value)


def _shape(name: str, grid: Mapping[str, Any]) -> Iterator[Problem]:
    """Factors from which no combination can be made."""
    path = ("grids", name, "factors")
    if not grid["factors"]:
        yield Problem(path, "is empty; name at least one factor, or delete the grid")
    for factor, spec in grid["factors"].items():
        listed = isinstance(spec["values"], list)
        if not spec["values"]:
            text = "is empty; write a list of numbers, or {name: {settings: ...}} for each value"
            yield Problem((*path, factor, "values"), text)
        elif listed and spec["sets"] is None:
            text = f"{show(spec['values'])} is a list; name the key it is for, sets: training.…"
            yield Problem((*path, factor, "values"), text)
        elif not listed and spec["sets"] is not None:
            text = f"{show(spec['sets'])} goes with a list of values; delete it, or write a list"
            yield Problem((*path, factor, "sets"), text)
    number = math.prod(len(spec["values"]) for spec in grid["factors"].values())
    if number > MOST:
        yield Problem(path, f"make {number:,} combinations; take values for at most {MOST:,}")
