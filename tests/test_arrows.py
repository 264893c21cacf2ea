"""Which rooms of the library import which: as the tables of src/limitcycles/README.md have it."""

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

import limitcycles
from limitcycles.storage import sources

ROOT = Path(limitcycles.__file__).parent
TABLES = [
    re.fullmatch(r"\| `([\w.]+)` \|(?:.*\|)? ?([\w, ]*) \|", line)
    for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| `")
]
ALLOWED = {row[1]: frozenset(filter(None, row[2].strip().split(", "))) for row in TABLES}
ROOMS = [name for name in ALLOWED if not name.endswith(".py")]
FILES = [name for name in ALLOWED if name.endswith(".py")]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
BY_NAME = {
    "__init__",
    "charts.drawing",
    "configuration.plugins",
    "judging.judge",
    "judging.measuring",
}
CLAIMS = sorted({path.parent for path in (ROOT / "papers").glob("*/*/*.py")})


@cache
def imported(path: Path) -> frozenset[str]:
    """Modules of the library that a file imports, without "limitcycles."."""
    names = sources.names(path.read_bytes())
    found = {name.removeprefix("limitcycles.") for name in names if name.startswith("limitcycles.")}
    return frozenset(found & MODULES.keys())


def rooms(modules) -> set[str]:
    return {module.split(".")[0] for module in modules}


def within(claim: Path, file: str) -> set[Path]:
    """The modules of a claim's folder that one of its files imports, and those that they do."""
    found, waiting = set(), [claim / file]
    while waiting:
        path = waiting.pop()
        if path not in found and path.is_file():
            found.add(path)
            waiting += [MODULES[name] for name in imported(path) if MODULES[name].parent == claim]
    return found


def test_each_room_has_a_row_and_knows_only_those_above_it():
    assert {*ROOMS, "papers"} == {path.name for path in ROOT.iterdir() if path.is_dir()} - {
        "__pycache__"
    }
    assert set(FILES) == {"measure.py", "rule.py", "charts.py"}
    for number, room in enumerate(ROOMS):
        assert ALLOWED[room] <= set(ROOMS[:number]), room
    for less, more in pairwise(FILES):
        assert ALLOWED[less] < ALLOWED[more] <= set(ROOMS) - {"report"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_its_row_has(room):
    for module, path in MODULES.items():
        if module.split(".")[0] == room:
            assert rooms(imported(path)) - {room} <= ALLOWED[room], module


@pytest.mark.parametrize("file", FILES)
def test_a_file_of_a_claim_imports_only_what_its_row_has(file):
    for claim in CLAIMS:
        for path in within(claim, file):
            used = rooms(imported(path)) - {"papers"}
            assert used <= ALLOWED[file], path.relative_to(ROOT)


def test_no_claim_imports_another_and_nobody_imports_papers():
    for module, path in MODULES.items():
        for name in imported(path):
            other = MODULES[name].parent
            assert other not in CLAIMS or other == path.parent, f"{module} imports {name}"


def test_every_module_of_a_claim_is_used_by_its_files():
    for claim in CLAIMS:
        used = set.union(*(within(claim, file) for file in FILES))
        assert used == set(claim.glob("*.py")), claim


def test_only_charts_know_altair():
    drawing = {path for claim in CLAIMS for path in within(claim, "charts.py")}
    for other in ("rule.py", "measure.py"):
        drawing -= {path for claim in CLAIMS for path in within(claim, other)}
    for module, path in MODULES.items():
        if "altair" in sources.names(path.read_bytes()):
            assert module.split(".")[0] == "charts" or path in drawing, module


def test_modules_are_imported_by_name_only_where_they_are_found():
    by_name = {
        module
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Attribute | ast.Name)
        and (getattr(node, "attr", None) or getattr(node, "id", None))
        in ("import_module", "__import__")
    }
    assert by_name == BY_NAME
