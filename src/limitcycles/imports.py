"""Which source files a module of this library depends on, read from its import statements."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent
PACKAGE = ROOT.name


def closure(*modules: str) -> list[str]:
    """Paths of the modules and of all modules of this library that they import, sorted.

    "package.*" stands for all modules of a package, where they are imported by name at run time.
    Imports inside functions count too. Package data (templates) beside a module is included. Paths
    are relative to the working folder where they lie below it.
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
            if "." in module:  # Python runs the __init__.py of the package above first
                waiting.append(module.rpartition(".")[0])
    if found & {ROOT / "report.py", ROOT / "charts" / "files.py"}:
        found.update((ROOT / "templates").glob("*"))
    here = Path.cwd()
    return sorted(str(p.relative_to(here) if p.is_relative_to(here) else p) for p in found)


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


def _exists(module: str) -> bool:
    try:
        _path(module)
    except FileNotFoundError:
        return False
    return True


@cache
def _imported(path: Path) -> tuple[str, ...]:
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(n for n in names if n.split(".")[0] == PACKAGE and _exists(n))
