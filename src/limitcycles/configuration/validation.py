"""Check a tree against a JSON schema, with one plain sentence for each thing that is wrong."""

import difflib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from limitcycles.configuration import yamlscalars
from limitcycles.configuration.yamlfile import ConfigError

KeyPath = tuple[str | int, ...]
Source = tuple[str, Mapping[str, Any]]

_KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}


@dataclass(frozen=True)
class Problem:
    """What is wrong (`text`, with the remedy) at the key `path`."""

    path: KeyPath
    text: str


def _is_integer(_, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)  # 20.0 is no whole number here


def _is_number(_, value: Any) -> bool:
    return _is_integer(_, value) or (isinstance(value, float) and math.isfinite(value))


def _increasing(validator, wanted, value, _):
    numbers = isinstance(value, list) and all(validator.is_type(v, "number") for v in value)
    if wanted and numbers and any(b <= a for a, b in itertools.pairwise(value)):
        yield ValidationError("must rise strictly")


_Validator = extend(
    Draft202012Validator,
    {"x-increasing": _increasing},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer).redefine(
        "number", _is_number
    ),
)


def problems(tree: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Problem]:
    """All that is wrong with `tree` (plain dicts, lists and scalars) by `schema`, by key path."""
    errors = list(_Validator(schema).iter_errors(tree))
    # A value of the wrong kind breaks every other rule as well; its kind is what to say.
    mistyped = {tuple(e.absolute_path) for e in errors if e.validator == "type"}
    found = {
        problem: None
        for error in errors
        if error.validator == "type" or tuple(error.absolute_path) not in mistyped
        for problem in _explain(error, schema)
    }
    return sorted(found, key=lambda problem: [str(part) for part in problem.path])


def fail_on(found: Iterable[Problem], sources: Sequence[Source]) -> None:
    """Raise a `ConfigError` with one line for each problem: file, key path, and what to do."""
    lines = [f"{origin(p.path, sources)}: {dotted(p.path)}: {p.text}" for p in found]
    if lines:
        raise ConfigError("\n".join(lines))


def origin(path: KeyPath, sources: Sequence[Source]) -> str:
    """The name of the last of `sources` that contains `path`, or as much of it as any does."""
    best, reached = sources[0][0] if len(sources) == 1 else "the defaults", 0
    for name, tree in sources:
        here = depth(path, tree)
        if here and here >= reached:
            best, reached = name, here
    return best


def nearest(word: Any, words: Iterable[str]) -> str | None:
    """The one of `words` most like `word`, case aside; `None` where none is near."""
    if not isinstance(word, str):
        return None
    lower = {str(candidate).lower(): str(candidate) for candidate in words}
    close = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.5)
    return lower[close[0]] if close else None


def suggestion(word: Any, words: Iterable[str], what: str = "value") -> str:
    """The end of an error message: the nearest of `words`, and all of them where they are few."""
    words = sorted(str(candidate) for candidate in words)
    near = nearest(word, words)
    parts = [f"nearest valid {what}: {near}"] if near else []
    if words and (not near or 1 < len(words) <= 6):
        parts.append(f"valid {what}s: {', '.join(words)}")
    return "; ".join(parts) or f"there is no valid {what} here"


def show(value: Any) -> str:
    """A value as an error message quotes it, on one line and cut to 60 characters."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def dotted(path: KeyPath) -> str:
    """`("training", "snapshots", 1)` as `training.snapshots[1]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or "(top level)"


def resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with its `$ref` (to `#/$defs/...`) put in; its own keywords win."""
    if "$ref" not in schema:
        return dict(schema)
    target = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    own = {key: value for key, value in schema.items() if key != "$ref"}
    return {**resolved(target, root), **own}


def fill(tree: Any, schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Any:
    """A copy of `tree` with the schema's defaults put in at every depth.

    Mappings marked `x-laid-over` get no defaults: these would hide the values that they are laid
    over. Whole numbers become floats where the schema says `number`, so that 0 and 0.0 are one.
    """
    return _fill(tree, schema, schema if root is None else root, True)


def _fill(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], defaults: bool) -> Any:
    schema = resolved(schema, root)
    if isinstance(value, Mapping):
        known = schema.get("properties", {})
        other = schema.get("additionalProperties")
        other = other if isinstance(other, Mapping) else {}
        defaults = defaults and "x-laid-over" not in schema
        # A mapping that may be left out as a whole has nothing below it to be laid over.
        defaults = defaults or schema.get("default", "none") is None
        filled = {
            key: _fill(child, known.get(key, other), root, defaults) for key, child in value.items()
        }
        for key, child in known.items():
            child = resolved(child, root)
            if defaults and key not in filled and "default" in child:
                filled[key] = _fill(child["default"], child, root, defaults)
        return filled
    if isinstance(value, list):
        return [_fill(item, schema.get("items", {}), root, defaults) for item in value]
    if _is_integer(None, value) and schema.get("type") == "number":
        return float(value)
    return value


def depth(path: KeyPath, tree: Any) -> int:
    """How many keys of `path` there are in `tree`."""
    for reached, part in enumerate(path):
        if isinstance(part, int):
            inside = isinstance(tree, list) and part < len(tree)
        else:
            inside = isinstance(tree, Mapping) and part in tree
        if not inside:
            return reached
        tree = tree[part]
    return len(path)


def _explain(error: ValidationError, root: Mapping[str, Any]) -> Iterator[Problem]:
    path, value, schema = tuple(error.absolute_path), error.instance, error.schema
    if error.validator == "additionalProperties":
        known = schema.get("properties", {})
        gone = schema.get("x-gone", {})
        for key in value.keys() - known.keys():
            text = f"is a key no longer; {gone[key]}" if key in gone else None
            yield Problem((*path, key), text or _unknown_key(key, value[key], known, root))
    elif error.validator == "required":
        for key in schema["required"]:
            if key not in value:
                yield Problem((*path, key), "is missing; add it")
    elif "propertyNames" in list(error.schema_path)[-2:]:
        yield Problem((*path, value), f"is no valid name; write {schema['x-expects']}")
    elif error.validator == "type":
        yield Problem(path, f"{show(value)} is not {_kinds(schema)}{_remedy(value, schema, root)}")
    elif error.validator == "enum":
        yield Problem(path, f"{show(value)} is not allowed; {suggestion(value, schema['enum'])}")
    elif error.validator in {"anyOf", "oneOf"}:
        choices = [word for branch in schema[error.validator] for word in branch.get("enum", ())]
        near = nearest(value, choices)
        hint = f"; nearest valid value: {near}" if near else ""
        what = "this entry" if isinstance(value, Mapping) else show(value)
        yield Problem(path, f"{what} is not allowed; write {schema['x-expects']}{hint}")
    elif "x-expects" in schema:
        yield Problem(path, f"{show(value)} is not allowed; write {schema['x-expects']}")
    else:
        yield Problem(path, f"{show(value)} is not allowed; {_limits(error)}")


def _unknown_key(key: str, value: Any, known: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    name, sign, rest = key.replace("=", ":", 1).partition(":")
    if sign and value is None and name in known:  # {epochs:3} and {epochs=3} are keys without value
        return f"is a key without a value; put a space after the colon: {name}: {rest.strip()}"
    text = f"unknown key (value {show(value)}); "
    elsewhere = sorted(dotted(path) for path in _places(root, root) if path[-1] == key)
    if elsewhere and not nearest(key, known):
        return f"{text}this key belongs at {' or '.join(elsewhere[:2])}"
    return text + suggestion(key, known, "key")


def _places(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    schema = resolved(schema, root)
    if "x-laid-over" in schema:
        return
    for key, child in schema.get("properties", {}).items():
        yield (key,)
        yield from ((key, *below) for below in _places(child, root))
    if isinstance(schema.get("additionalProperties"), Mapping):
        below = _places(schema["additionalProperties"], root)
        yield from (("<name>", *path) for path in below)


def _kinds(schema: Mapping[str, Any]) -> str:
    kinds = schema["type"]
    return " or ".join(_KINDS[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _remedy(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    kinds = schema["type"]
    if value is None:
        return "; give it a value, or delete the key for its default"
    if isinstance(value, float) and not math.isfinite(value):
        return "; it must be finite"
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        return "; close its brackets, and put the whole of it in quotes on the command line"
    if "object" in kinds:
        return _mapping_remedy(value, schema, root)
    if isinstance(value, int | float) and "string" in kinds:
        return "; put it in quotes"
    if isinstance(value, str) and ("number" in kinds or "integer" in kinds):
        return _number_remedy(value, "number" in kinds)
    if isinstance(value, float) and "integer" in kinds and value.is_integer():
        return f"; write {int(value)}"
    if "array" in kinds and not isinstance(value, list | Mapping):
        return f"; write {schema.get('x-expects', f'[{value}]')}"
    return ""


def _mapping_remedy(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """`{start: 0.1}` for a number where a mapping is due: the first key that takes the value."""
    known = {key: resolved(child, root) for key, child in schema.get("properties", {}).items()}
    for key, child in known.items():
        if _Validator({**child, "$defs": root.get("$defs", {})}).is_valid(value):
            written = yamlscalars.number(value) if isinstance(value, float) else show(value)
            return f"; write {{{key}: {written}}}"
    if known:
        return f"; write {{{', '.join(f'{key}: ...' for key in list(known)[:3])}}}"
    return "; write {name: ...}"


def _number_remedy(text: str, fraction: bool) -> str:
    try:
        number = float(text)
    except ValueError:
        return ""
    if not math.isfinite(number) or not (fraction or number.is_integer()):
        return ""
    return f"; write {yamlscalars.number(number)} without quotes"


def _limits(error: ValidationError) -> str:
    schema = error.schema
    words = {
        "minimum": "at least {}",
        "exclusiveMinimum": "more than {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "less than {}",
    }
    if error.validator in words:
        limits = [text.format(schema[word]) for word, text in words.items() if word in schema]
        return f"it must be {' and '.join(limits)}"
    return {
        "uniqueItems": "no value may stand in it twice",
        "minItems": "it must not be empty",
        "minLength": "it must not be empty",
        "x-increasing": "its values must rise strictly",
    }.get(error.validator, error.message)
