"""A look at the settings on a command line before the program that was called reads them itself.

Snakemake takes every word after --configfile or --config for a file or a setting, a target too, and
reads them before the workflow; where one is wrong it ends with a traceback, or names no file and no
line. The profile calls `stop_on_wrong_settings` before that.
"""

import collections
import itertools
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from limitcycles.configuration.yamlfile import ConfigError, read_yaml, repeated_key
from limitcycles.runtime.errors import LimitcyclesError

_STANDARD = Path("config/config.yaml")
_FILES = ("--configfile", "--configfiles")
_VALUES = ("--config", "-C")
_NAME = re.compile(r"[a-zA-Z_][\w-]*\w")
_TARGET = re.compile(r"[\w./-]+")


def stop_on_wrong_settings() -> None:
    """End this process with one sentence where `check` finds something wrong in its arguments."""
    try:
        check(sys.argv[1:])
    except LimitcyclesError as error:
        sys.exit(str(error))


def check(words: Sequence[str]) -> None:
    """Look at config/config.yaml here, and the words after --configfile and --config (name=value).

    Raises `ConfigError`: a file that cannot be used (see `read_yaml`), a word that is neither, or
    an option or a setting that stands there twice, of which Snakemake would take the last one only.
    """
    if _STANDARD.exists():
        read_yaml(_STANDARD)
    for word in itertools.takewhile(_is_target, words):
        if "=" in word:
            raise ConfigError(f"{word}: is a setting, no target; write --config {word}")
    _check_once(words)
    for option, word in _given(words):
        if option in _FILES:
            _check_file(option, word)
        else:
            _check_value(option, word)


def _check_once(words: Sequence[str]) -> None:
    ours = list(itertools.takewhile(lambda word: word != "--", words))
    for options, what in ((_FILES, "files"), (_VALUES, "settings")):
        found = [name for name in (word.partition("=")[0] for word in ours) if name in options]
        if len(found) > 1:
            raise ConfigError(
                f"{found[1]}: stands there after {found[0]}, which Snakemake would then forget: "
                f"write all {what} after one {options[0]}"
            )
    names = [word.partition("=")[0] for option, word in _given(words) if option in _VALUES]
    for name, count in collections.Counter(names).items():
        if count > 1:
            raise ConfigError(f"--config: {name}: stands there {count} times; write it once")


def _given(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each word that an option of settings takes, with that option."""
    option = None
    for word in words:
        name, equals, value = word.partition("=")
        if word == "--":
            return
        if word.startswith("-"):
            option = name if name in (*_FILES, *_VALUES) else None
            if option and equals:
                yield option, value
        elif option:
            yield option, word


def _is_target(word: str) -> bool:
    """Whether a word may be a target, or is -n: after other options it may be theirs."""
    return not word.startswith("-") or word in ("-n", "--dry-run")


def _check_file(option: str, word: str) -> None:
    looks_like_one = word.endswith((".yaml", ".yml", ".json")) or "/" in word
    if not looks_like_one and not Path(word).exists():
        raise ConfigError(f"{option}: {word}: there is no such file; {_takes_all(option, word)}.")
    read_yaml(Path(word))


def _check_value(option: str, word: str) -> None:
    name, equals, value = word.partition("=")
    if not equals:
        remedy = "put a value with spaces into quotes, the whole of it: 'seeds=[0, 1]'"
        if _TARGET.fullmatch(word):
            remedy = _takes_all(option, word)
        raise ConfigError(f"{option}: {word}: is no name=value; {remedy}.")
    if (key := repeated_key(value)) is not None:
        raise ConfigError(f"{option}: {word}: the key {key!r} stands twice in it; write it once.")
    if _NAME.fullmatch(name):
        return
    first, dot, rest = name.partition(".")
    if dot and _NAME.fullmatch(first):
        for part in reversed(rest.split(".")):
            value = f"{{{part}: {value}}}"
        raise ConfigError(f"{option}: {word}: write {shlex.quote(f'{first}={value}')}.")
    raise ConfigError(f"{option}: {word}: {name!r} is no name of a setting; see config/README.md.")


def _takes_all(option: str, word: str) -> str:
    return (
        f"{option} takes all words that follow it: put a target before it "
        f"(snakemake {word} {option} ...) or after --"
    )
