"""Scalars that YAML 1.1 and YAML 1.2 read differently: nobody shall get another value than meant.

PyYAML reads YAML 1.1, where `010` is eight, `1:30` ninety and `no` false. Most other programs, and
most people, read YAML 1.2, where they are ten, a text and a text.
"""

import functools
import math
import re
from typing import Any

import yaml


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # Python reads 4,300 digits at most
        problem = f"a number of {len(text)} digits is too long; write a shorter one"
        raise ValueError(problem) from None


# The core schema of YAML 1.2.2, section 10.3.2; what matches none of them is text.
_CORE = (
    (re.compile(r"null|Null|NULL|~|"), lambda text: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text.lower() == "true"),
    (re.compile(r"[-+]?[0-9]+"), _whole),
    (re.compile(r"0o[0-7]+"), lambda text: int(text[2:], 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text[2:], 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: float(text.replace(".", ""))),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda text: math.nan),
)


@functools.cache
def plain(text: str) -> Any:
    """The value of an unquoted scalar: text, number, true or false, or None.

    Raises `ValueError` where YAML 1.1 (as PyYAML reads it) and the core schema of YAML 1.2 differ
    in value or type; its message says both values and what to write.
    """
    old, new = _yaml_1_1(text), _yaml_1_2(text)
    if type(old) is type(new) and (old == new or old != old):
        return new
    raise ValueError(
        f"{text} is {_shown(old)} in YAML 1.1 and {_shown(new)} in YAML 1.2; write "
        f"{', or '.join(_unambiguous(text, old, new))}"
    )


def number(value: float) -> str:
    """A finite number as both versions read it: whole, or with a dot and a sign in its exponent."""
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    mantissa, exponent, power = repr(value).partition("e")
    if "." not in mantissa:
        mantissa += ".0"
    if exponent and power[0] not in "+-":
        power = f"+{power}"
    return f"{mantissa}{exponent}{power}"


def _yaml_1_1(text: str) -> Any:
    tag = yaml.resolver.Resolver().resolve(yaml.ScalarNode, text, (True, False))
    try:
        return yaml.constructor.SafeConstructor().construct_object(yaml.ScalarNode(tag, text))
    except (ValueError, yaml.YAMLError):  # such as 2024-13-45, or a lone =
        return _Unreadable()


def _yaml_1_2(text: str) -> Any:
    return next((read(text) for form, read in _CORE if form.fullmatch(text)), text)


class _Unreadable:
    """What looks like a date or a number and is none."""


def _shown(value: Any) -> str:
    if isinstance(value, _Unreadable):
        return "an error"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value!r}"
    return "a text" if isinstance(value, str) else f"a {type(value).__name__}"


def _unambiguous(text: str, old: Any, new: Any) -> list[str]:
    """What both versions read in the same way: each of the values, and the text in quotes."""
    found = []
    for value in (old, new):
        if isinstance(value, bool):
            found.append(_shown(value))
        elif isinstance(value, int):
            found.append(str(value))
        elif isinstance(value, float) and math.isfinite(value):
            found.append(number(value))
    return [*dict.fromkeys(found), f'"{text}" in quotes for the text']
