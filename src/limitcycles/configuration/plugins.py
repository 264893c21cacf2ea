"""A user's own code by its dotted path, "package.module:function"."""

import contextlib
import difflib
import hashlib
import importlib
import os
import pkgutil
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.storage import sources

FOLDER = "LIMITCYCLES_OWN_CODE"  # variable of the environment: one more folder of a user's code


class PluginError(LimitcyclesError):
    """A dotted path that leads nowhere."""


def is_dotted(name: str) -> bool:
    """Whether `name` is a dotted path rather than a name of our own."""
    return ":" in name


def resolve(dotted: str) -> Any:
    """The object that "package.module:attribute" names.

    The working directory and the folder that FOLDER says are searched last, so that a file
    beside the Snakefile is found.

    Raises
    ------
    PluginError
        The path is not of that form, the module is missing or fails to import, or it has no such
        attribute; the message gives the nearest name where there is one.
    """
    module_name, colon, attribute = dotted.partition(":")
    parts = [*module_name.split("."), *attribute.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise PluginError(
            f'"{dotted}" is not a dotted path: write "package.module:function", '
            'for instance "my_package.data:load".'
        )
    found: Any = _module(module_name, dotted)
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise PluginError(
                f'"{dotted}": module "{module_name}" has no "{attribute}"'
                f"{did_you_mean(name, dir(found))}."
            )
        found = getattr(found, name)
    return found


def source(name: str) -> list[Path]:
    """The file of the module that a dotted path names; empty for one of our own names.

    Only that file: what it imports is not followed, and nothing is imported. Empty, too, for a
    module without source, and for one that is not there, which `resolve` reports.
    """
    if not is_dotted(name):
        return []
    found = _find(name.partition(":")[0])
    origin = Path(found.origin) if found is not None and found.origin else None
    return [origin] if origin is not None and origin.suffix == ".py" else []


def missing(module: str) -> str | None:
    """That there is no such module, with the remedy; None where there is. Nothing is imported."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        if _find(name) is None:
            return _no_module(name)
    return None


def code(name: str) -> str | None:
    """12 hex digits that change with any byte of the user's own code; None where there is none.

    That is the file of the module that a dotted path names, the packages above it, and what these
    import of their own: modules beside them, or of the same package where it is installed.
    """
    first, found = name.partition(":")[0], {}
    waiting = [first] if source(name) else []
    while waiting:
        module = waiting.pop()
        files = source(f"{module}:") if _belongs(module, first) else []
        if module in found or not files:
            continue
        found[module] = files[0].read_bytes()
        above = module.rpartition(".")[0]
        with contextlib.suppress(SyntaxError, ValueError):  # `resolve` says so
            package = module if files[0].name == "__init__.py" else above
            waiting += [*filter(None, [above]), *sources.names(found[module], package)]
    content = "\n".join(f"{m} {hashlib.sha256(found[m]).hexdigest()}" for m in sorted(found))
    return hashlib.sha256(content.encode()).hexdigest()[:12] if found else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """'; did you mean "x"?' without the question mark, or nothing where no choice is near."""
    near = difflib.get_close_matches(name, list(choices), n=1)
    return f'; did you mean "{near[0]}"' if near else ""


def _belongs(module: str, first: str) -> bool:
    """Whether a module is of the same hand as the module `first`."""
    top, own = module.split(".")[0], first.split(".")[0]
    place = _place(own)
    installed = place is None or place.name in ("site-packages", "dist-packages")
    return top == own or (not installed and _place(top) == place)


def _place(top: str) -> Path | None:
    """The folder that a module or package is in."""
    spec = _find(top)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).parent
    return Path(spec.origin).parent if spec.origin else None


def _find(module: str) -> ModuleSpec | None:
    """Where a module is, found as an import would find it, but without importing what is above."""
    _search_here()
    if module in sys.modules:
        return sys.modules[module].__spec__
    parent, _, _ = module.rpartition(".")
    above = _find(parent) if parent else None
    if parent and (above is None or above.submodule_search_locations is None):
        return None
    path = above.submodule_search_locations if above else None
    finders = (finder.find_spec for finder in sys.meta_path if hasattr(finder, "find_spec"))
    return next((spec for find in finders if (spec := find(module, path)) is not None), None)


def _no_module(name: str) -> str:
    return (
        f'there is no module "{name}"{_near_module(name)}: install its package, or put its folder '
        "on PYTHONPATH"
    )


def _search_here() -> None:
    # Appended, never put first, and for good: a user's module may import its neighbours late.
    for folder in (os.getcwd(), os.environ.get(FOLDER)):
        if folder and folder not in sys.path:
            sys.path.append(folder)
    importlib.invalidate_caches()


def _module(name: str, dotted: str) -> Any:
    _search_here()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise PluginError(
                f'"{dotted}": module "{name}" needs the module "{error.name}", which is not '
                "installed: install it in this environment."
            ) from error
        raise PluginError(f'"{dotted}": {_no_module(error.name)}.') from error
    except (Exception, SystemExit) as error:
        raise PluginError(
            f'"{dotted}": module "{name}" fails to import: {type(error).__name__}: {error}.'
        ) from error


def _near_module(name: str) -> str:
    parent, _, last = name.rpartition(".")
    above = _find(parent) if parent else None
    paths = (above.submodule_search_locations or []) if above else sys.path
    return did_you_mean(last, (found.name for found in pkgutil.iter_modules(list(paths))))
