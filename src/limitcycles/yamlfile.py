"""Strict reading of YAML: no key twice, only text as keys, errors with file and line."""

from pathlib import Path
from typing import Any

import yaml

from limitcycles.errors import LimitcyclesError

_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"


class ConfigError(LimitcyclesError):
    """A file of settings or claims that cannot be used; one line for each thing to mend."""


class _StrictLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys and drops the first in silence; this one stops."""

    # Checked while composing: later, merge keys (<<) have been written into the mappings.
    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if key.tag == _MERGE:
                continue
            if key.tag != _TEXT:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} is not text; put it in quotes",
                    problem_mark=key.start_mark,
                )
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} stands twice in one mapping, "
                    f"first at line {seen[key.value]}; delete or rename one",
                    problem_mark=key.start_mark,
                )
            seen[key.value] = key.start_mark.line + 1
        return node


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping; an empty file is an empty mapping.

    Raises `ConfigError`, naming file and line, for a file that cannot be read, a syntax error, a
    key that stands twice in a mapping, a key that is not text (YAML reads `on`, `no` and `1` as
    something else), and a file that is not a mapping.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=_StrictLoader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text; save it as UTF-8") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}{_describe(error)}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path}: holds a {type(content).__name__} where a mapping is due; write `key: value`"
        )
    return content


def _describe(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        return f": is not YAML: {error}"
    mark = error.problem_mark or error.context_mark
    where = f", line {mark.line + 1}" if mark else ""
    what = ", ".join(part for part in (error.context, error.problem) if part)
    if "'\\t'" in what:
        what += "; indent with spaces, not tabs"
    return f"{where}: {what}"
