"""Mappings laid over each other."""

from collections.abc import Iterable, Mapping
from typing import Any


def merge(trees: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Lay mappings over each other, key by key, as Snakemake does; the inputs stay as they are."""
    merged: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            if isinstance(value, Mapping):
                below = merged.get(key)
                merged[key] = merge([below if isinstance(below, Mapping) else {}, value])
            else:
                merged[key] = plain(value)
    return merged


def plain(value: Any) -> Any:
    """A copy of dicts and lists, whatever mappings and sequences it was made of."""
    if isinstance(value, Mapping):
        return {key: plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
