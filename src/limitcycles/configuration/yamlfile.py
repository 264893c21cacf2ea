"""Strict reading of YAML: nothing twice, nothing that can be read in two ways, and every error with
file and line."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from limitcycles.configuration import yamlscalars
from limitcycles.runtime.errors import LimitcyclesError

_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_RESOLVER = yaml.resolver.Resolver()


class ConfigError(LimitcyclesError):
    """A file of settings or claims that cannot be used; one line for each thing to mend."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping; an empty file is an empty mapping.

    Merge keys (<<) and anchors are YAML 1.1's, and work.

    Raises `ConfigError`, naming file and line, for a file that cannot be read, a syntax error, a
    key that stands twice in a mapping or is not text, a value that YAML 1.1 and YAML 1.2 read
    differently (see `yamlscalars`), a tag, a mapping or list within itself, and a file that is not
    a mapping.
    """
    path = Path(path)
    text = _text(path)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            kind = "list" if isinstance(node, yaml.SequenceNode) else "single value"
            raise ConfigError(f"{path}: holds a {kind} where a mapping is due; write `key: value`")
        found = [
            f"{path}, line {line}: {problem}" for line, problem in dict.fromkeys(_problems(node))
        ]
        if found:
            raise ConfigError("\n".join(found))
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}{_describe(error, text)}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: lists and mappings are nested too deeply") from error


def repeated_key(text: str) -> str | None:
    """A key that stands twice in one mapping of a text of YAML; None where there is none."""
    try:
        nodes = [yaml.compose(text, Loader=yaml.SafeLoader)]
    except (yaml.YAMLError, RecursionError):
        return None  # whoever reads it as YAML says what is wrong
    seen: set[int] = set()
    while nodes:
        node = nodes.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            repeated = [key for key, count in Counter(keys).items() if count > 1]
            if repeated:
                return repeated[0]
            nodes += [value for _, value in node.value]
        else:
            nodes += node.value
    return None


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "no ordinary file"
        raise ConfigError(f"{path}: cannot be read: it is {kind}; give a file of YAML")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            line = error.object.count(b"\n", 0, error.start) + 1
            raise ConfigError(
                f"{path}, line {line}: is not UTF-8 text; save it as UTF-8"
            ) from error
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: cannot be read: {reason}; check the path") from error


def _problems(
    node: yaml.Node, path: str = "", above: frozenset[int] = frozenset()
) -> Iterator[tuple[int, str]]:
    """What is wrong in a tree of nodes, each as (line, sentence). `above`: ids of what it is in."""
    line = node.start_mark.line + 1
    if id(node) in above:
        yield line, f"{path or 'it'} holds itself through an alias (*name); write it out"
        return
    yield from ((line, problem) for problem in _tag(node, path))
    above = above | {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _problems(item, f"{path}[{index}]", above)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            if key.tag != _MERGE:
                yield from _key(key, seen)
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            yield from _problems(value, f"{path}.{name}".lstrip("."), above)
    elif not node.style:  # in quotes, or as a block, it is text in both versions
        try:
            yamlscalars.plain(node.value)
        except ValueError as error:
            yield line, f"{path}: {error}"


def _key(key: yaml.Node, seen: dict[str, int]) -> Iterator[tuple[int, str]]:
    line = key.start_mark.line + 1
    if not isinstance(key, yaml.ScalarNode):
        yield line, "a list or mapping stands as a key; write a text before the colon"
        return
    if key.tag != _TEXT or (not key.style and not _is_text(key.value)):
        yield line, f"the key {key.value!r} is not text; put it in quotes"
    if key.value in seen:
        yield (
            line,
            f"the key {key.value!r} stands twice in one mapping, first at line "
            f"{seen[key.value]}; delete or rename one",
        )
    seen.setdefault(key.value, line)


def _is_text(text: str) -> bool:
    try:
        return isinstance(yamlscalars.plain(text), str)
    except ValueError:
        return False


def _tag(node: yaml.Node, path: str) -> Iterator[str]:
    """A tag that was written, not found; that of an unquoted scalar is left to `plain`."""
    plain = isinstance(node, yaml.ScalarNode) and not node.style
    implicit = (plain, not plain) if isinstance(node, yaml.ScalarNode) else (True, False)
    value = node.value if isinstance(node, yaml.ScalarNode) else None
    if node.tag != _RESOLVER.resolve(type(node), value, implicit):
        short = node.tag.replace("tag:yaml.org,2002:", "!!")
        yield f"{path or 'it'} has the tag {short}; delete the tag, and write the plain value"


def _describe(error: yaml.YAMLError, text: str) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return (
            f", line {line}: has the character U+{error.character:04X}, which is not allowed; "
            "delete it"
        )
    if not isinstance(error, yaml.MarkedYAMLError):
        return f": is not YAML: {error}"
    mark = error.problem_mark or error.context_mark
    where = f", line {mark.line + 1}" if mark else ""
    what = ", ".join(part for part in (error.context, error.problem) if part)
    if mark and "\t" in _line(text, mark.line)[: mark.column + 1]:
        what += "; indent with spaces, not tabs"
    return f"{where}: {what}"


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number] if number < len(lines) else ""
