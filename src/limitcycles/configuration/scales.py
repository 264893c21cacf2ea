"""Which runs and trajectories there are, what each is laid together from, and which of them run.

The first layer says what there is; the grids of all layers add their combinations. A scale opts in:
what none of the layers above the first one names has no seeds, so that it is not run. A name may be
a pattern, in which `*` stands for any text: it names all that it matches, and its settings are laid
over those of the layers below. Within one layer patterns come first, in the order in which they
are written, and the exact name is laid over them. An entry that repeats one of the first layer word
for word, as in a copy of config.yaml, names nothing. Combinations that the first layer does not
have are named by the layer that adds them.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limitcycles.configuration import grids
from limitcycles.configuration.grids import Piece
from limitcycles.configuration.merging import merge
from limitcycles.configuration.validation import (
    Problem,
    Source,
    depth,
    fill,
    problems,
    show,
    suggestion,
)

GROUPS = ("runs", "trajectories")


@dataclass(frozen=True)
class Laid:
    """A merged configuration: no patterns, all combinations, no seeds for what is not run.

    `problems` are those of grids and patterns; `pieces` has by (group, name) what an entry was laid
    together from, the last on top.
    """

    tree: dict[str, Any]
    problems: list[Problem]
    pieces: dict[tuple[str, str], list[Piece]]

    def as_written(self, found: Iterable[Problem]) -> list[Problem]:
        """The same problems, each at the key where it was written: of a grid or a pattern, once."""
        told: dict[Any, Problem] = {}
        for problem in found:
            moved = self._moved(problem)
            told.setdefault(problem if moved is problem else moved.path, moved)
        return list(told.values())

    def _moved(self, problem: Problem) -> Problem:
        name, rest = problem.path[:2], problem.path[2:]
        pieces = self.pieces.get(name, ())
        reached = [depth(rest, piece.settings) for piece in pieces]
        if not rest or not any(reached):
            return problem
        piece = max(zip(reached, range(len(pieces)), pieces, strict=True))[2]
        if not piece.within:
            moved = (*piece.path, *rest)
        elif problem.text.startswith("unknown key") or len(rest) < len(piece.within):
            moved = (*piece.path[:-2], "sets")
        else:
            moved = (*piece.path, *rest[len(piece.within) :])
        return problem if moved == problem.path else Problem(moved, problem.text)


def lay(sources: Sequence[Source], schema: Mapping[str, Any]) -> Laid:
    """Lay the layers of a configuration, which may be wrong in any way, over each other."""
    trees = [tree for _, tree in sources]
    whole, first = merge(trees), merge(trees[:1])
    filled = _grids(whole, schema)
    made = grids.combinations(filled)
    before = {(one.group, one.name) for one in grids.combinations(_grids(first, schema))}
    named = {(one.group, one.name) for one in made} - before
    found = [*grids.refused(filled), *_taken(filled, made, trees)]
    pieces: dict[tuple[str, str], list[Piece]] = {}
    for group in GROUPS:
        layers = [tree.get(group, {}) for tree in trees]
        if not all(isinstance(layer, Mapping) for layer in layers):
            continue  # which the schema tells
        entries = {one.name: list(one.pieces) for one in made if one.group == group}
        for layer in layers:
            entries |= {key: [] for key in layer if "*" not in key and key not in entries}
        for layer in layers:
            for key, settings in sorted(layer.items(), key=lambda item: "*" not in item[0]):
                matched = _matched(key, entries)
                if not matched and key != "*":
                    text = f"matches none of the {group}; {suggestion(key, entries)}"
                    found.append(Problem((group, key), text))
                for name in matched:
                    entries[name].append(Piece((group, key), settings))
                if layer is not layers[0] and (key not in layers[0] or layers[0][key] != settings):
                    named |= {(group, name) for name in matched}
        if entries:
            whole[group] = {name: _together(its) for name, its in entries.items()}
        for name, entry in whole.get(group, {}).items():
            if isinstance(entry, dict) and (group, name) not in named:
                entry["seeds"] = []
        pieces |= {(group, name): its for name, its in entries.items()}
    return Laid(whole, found, pieces)


def _grids(tree: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The grids of a tree with their defaults filled in; none where the schema refuses them."""
    its = {"grids": tree.get("grids", {})}
    return {} if problems(its, schema) else fill(its, schema)["grids"]


def _taken(
    filled: Mapping[str, Any], made: Sequence[grids.Combination], trees: Sequence[Mapping]
) -> Iterable[Problem]:
    """Combinations with the name of an entry that is there without them.

    An entry in a layer above the one that the grid comes from is laid over the combination.
    """
    for name in filled:
        layer = next(i for i, tree in enumerate(trees) if name in tree.get("grids", {}))
        for one in made:
            entries = [tree.get(one.group, {}) for tree in trees[: layer + 1]]
            if one.grid == name and any(one.name in each for each in entries):
                text = (
                    f"make the combination {show(one.name)}, and {one.group}.{one.name} stands "
                    "beside them; rename one of the two (what is laid over a combination stands "
                    "in a layer above: the scale, --configfile or --config)"
                )
                yield Problem(("grids", name, "factors"), text)


def _matched(key: str, names: Iterable[str]) -> list[str]:
    pattern = re.compile(".*".join(map(re.escape, key.split("*"))))
    return [name for name in names if pattern.fullmatch(name)]


def _together(pieces: Sequence[Piece]) -> Any:
    return merge({"it": piece.settings} for piece in pieces)["it"]
