"""The table of all keys in the manual of the configuration, made from the schema.

`python -m limitcycles.manual` writes it anew into config/README.md of the current folder.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from limitcycles.configuration.validation import resolved
from limitcycles.configuration.yamlfile import ConfigError, read_yaml

BEGIN, END = "<!-- keys: begin -->", "<!-- keys: end -->"


def key_table(schema: Mapping[str, Any]) -> str:
    """A Markdown table with one row for each key: meaning, default, what is allowed, unit."""
    rows = [
        "| key | meaning | default | allowed | unit |",
        "|---|---|---|---|---|",
    ]
    for path, key in keys(schema):
        cells = (
            f"`{path}`",
            key["description"].strip(),
            f"`{json.dumps(key['default'])}`",
            _allowed(key),
            key.get("x-unit", ""),
        )
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def keys(
    schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, above: str = ""
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (dotted path, sub-schema) of every key; free names stand as `<name>`.

    Keys of a mapping that is laid over another one stand there, and are not repeated.
    """
    root = schema if root is None else root
    for name, child in schema.get("properties", {}).items():
        key = resolved(child, root)
        path = f"{above}{name}"
        yield path, key
        if "x-laid-over" in key:
            continue
        yield from keys(key, root, f"{path}.")
        if isinstance(key.get("additionalProperties"), Mapping):
            entry = resolved(key["additionalProperties"], root)
            yield from keys(entry, root, f"{path}.<name>.")


def write_table(readme: Path, schema: Path) -> None:
    """Replace the table between the two markers in `readme` by that of the file `schema`."""
    text = readme.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{readme}: has no lines `{BEGIN}` and `{END}`; add them")
    table = key_table(read_yaml(schema))
    readme.write_text(f"{head}{BEGIN}\n\n{table}\n\n{END}{tail}", encoding="utf-8")


def _allowed(key: Mapping[str, Any]) -> str:
    kinds = [key["type"]] if isinstance(key["type"], str) else key["type"]
    null = " or `null`" if "null" in kinds else ""
    if "x-expects" in key:
        return key["x-expects"]
    if key["type"] == "boolean":
        return "`true`, `false`"
    if "enum" in key:
        return ", ".join(f"`{value}`" for value in key["enum"]) + null
    kind = next(kind for kind in kinds if kind != "null")
    names = {"integer": "whole number", "number": "number", "string": "text", "object": "mapping"}
    if kind == "array":
        items = "rising numbers" if key.get("x-increasing") else "different whole numbers"
        return f"list of {items}{null}"
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    range_ = " and ".join(f"{sign} {key[word]}" for word, sign in limits.items() if word in key)
    return f"{names[kind]} {range_}".strip() + null


if __name__ == "__main__":
    write_table(Path("config/README.md"), Path("workflow/schemas/config.schema.yaml"))
