"""Which source files a module of this library depends on, read from its import statements."""

from __future__ import annotations

import ast
import contextlib
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT.name


def digest(*modules: str) -> str:
    """12 hex digits that change with any byte of any file of `closure`, wherever they lie.

    Raises FileNotFoundError: no such module.
    """
    names = (f"{path.relative_to(ROOT).as_posix()} {_content(path)}" for path in closure(*modules))
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]


def closure(*modules: str) -> list[Path]:
    """Paths of the modules and of all modules of this library that they import, sorted.

    "package.*" stands for all modules of a package, where they are imported by name at run time.
    Imports inside functions count too. Package data (templates) beside a module is included. Every
    file is read once in the life of a process.
    Raises FileNotFoundError: no such module.
    """
    found: set[Path] = set()
    waiting = []
    for module in modules:
        package = module.removesuffix(".*")
        waiting.append(package)
        if package != module:
            waiting += [f"{package}.{p.stem}" for p in _path(package).parent.glob("[!_]*.py")]
    while waiting:
        module = waiting.pop()
        path = _path(module)
        if path not in found:
            found.add(path)
            waiting.extend(_imported(path))
            # Python runs the __init__.py of the packages above first, where they have one.
            above = module.rpartition(".")[0]
            while above and not exists(above):
                above = above.rpartition(".")[0]
            waiting.extend([above] if above else [])
    for folder in {path.parent / "templates" for path in found}:
        found.update(folder.glob("*"))
    return sorted(found)


def _path(module: str) -> Path:
    package, *parts = module.split(".")
    if package != PACKAGE:
        raise FileNotFoundError(f"{module} is not a module of {PACKAGE}")
    for path in (ROOT.joinpath(*parts).with_suffix(".py"), ROOT.joinpath(*parts, "__init__.py")):
        if parts and path.is_file():
            return path
    if not parts:
        return ROOT / "__init__.py"
    raise FileNotFoundError(f"no module {module} below {ROOT}")


def exists(module: str) -> bool:
    """Whether this library has a module of that name."""
    try:
        _path(module)
    except FileNotFoundError:
        return False
    return True


@cache
def _imported(path: Path) -> tuple[str, ...]:
    found = names(_source(path))
    return tuple(n for n in found if n.split(".")[0] == PACKAGE and exists(n))


def literals(module: str) -> dict[str, Any]:
    """The constants in capitals of a module that are written as literals, without importing it.

    Raises FileNotFoundError: no such module.
    """
    found = {}
    for node in ast.parse(_source(_path(module))).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        name = node.targets[0].id
        if name.isupper():
            with contextlib.suppress(ValueError):  # it is computed
                found[name] = ast.literal_eval(node.value)
    return found


def names(source: bytes, package: str = "") -> set[str]:
    """What may be modules among the names that a source imports; `package` is the one it is in.

    Of `from a import b` both a and a.b. Raises SyntaxError, or ValueError for null bytes.
    """
    found = set()
    for node in _statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level]
            parts = [*(above if node.level else ()), *([node.module] if node.module else ())]
            found.add(".".join(parts))
            found.update(".".join([*parts, alias.name]) for alias in node.names)
    return found - {""}


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All statements at any depth; expressions, most of a tree, cannot import."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting.extend(getattr(node, part, ()))


@cache
def _source(path: Path) -> bytes:
    return path.read_bytes()


@cache
def _content(path: Path) -> str:
    return hashlib.sha256(_source(path)).hexdigest()
