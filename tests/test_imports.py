"""Source files of a module, against what Python really loads; and a library without Snakemake."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import limitcycles
from limitcycles import imports

ROOT = Path(limitcycles.__file__).parent
MODULES = sorted(
    ".".join(["limitcycles", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(
        ".__init__"
    )
    for path in ROOT.rglob("*.py")
)

# Every module is imported in a process of its own. They are forked from one in which the other
# packages are loaded, so that it takes seconds.
LOADED = """
import json, os, sys
import altair, sklearn.datasets, torch, xarray, zarr
ours = [n for n in sys.modules if n.split(".")[0] in ("limitcycles", "snakemake")]
assert not ours, ours
for module in sys.argv[1:]:
    if os.fork() == 0:
        __import__(module)
        files = [m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "limitcycles"]
        snakemake = any(n.split(".")[0] == "snakemake" for n in sys.modules)
        line = json.dumps({"module": module, "files": sorted(files), "snakemake": snakemake})
        os.write(1, (line + "\\n").encode())
        os._exit(0)
    assert os.wait()[1] == 0, module
"""


@pytest.fixture(scope="module")
def loaded():
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *MODULES],
        env=os.environ | {"PYTHONPATH": str(ROOT.parent), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["module"]: line for line in lines}


def test_no_module_of_the_library_needs_snakemake(loaded):
    assert len(loaded) == len(MODULES) > 30
    assert [name for name, line in loaded.items() if line["snakemake"]] == []


@pytest.mark.parametrize("module", MODULES)
def test_all_that_python_loads_is_in_the_closure(loaded, module, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # so that paths are absolute
    assert set(loaded[module]["files"]) <= set(imports.closure(module))


def names(*modules):
    return {Path(path).name for path in imports.closure(*modules)}


def test_modules_that_others_import_are_there():
    found = names("limitcycles.training")
    assert {"training.py", "networks.py", "plugins.py", "files.py", "errors.py"} <= found
    assert "spectrum.py" not in found
    assert names("limitcycles.errors") == {"__init__.py", "errors.py"}
    both = names("limitcycles.errors", "limitcycles.training")
    assert both == found


def test_the_report_depends_on_its_templates():
    templates = {path.name for path in (ROOT / "templates").iterdir()}
    assert len(templates) > 1
    assert templates <= names("limitcycles.report")
    assert not templates & names("limitcycles.training")


def test_paths_are_relative_sorted_and_stable(monkeypatch):
    monkeypatch.chdir(ROOT.parents[1])
    found = imports.closure("limitcycles.training", "limitcycles.store")
    assert "src/limitcycles/training.py" in found
    assert not any(os.path.isabs(path) for path in found)
    assert found == sorted(set(found))
    assert found == imports.closure("limitcycles.store", "limitcycles.training")
    assert all(Path(path).is_file() for path in found)


@pytest.mark.parametrize(
    "module", ["limitcycles.trainning", "limitcycles.datasets.none", "numpy.random", "training"]
)
def test_a_module_that_is_not_there(module):
    with pytest.raises(FileNotFoundError, match=module):
        imports.closure(module)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A made-up library in the place of ours: file name -> source."""
    root = tmp_path / "limitcycles"
    monkeypatch.setattr(imports, "ROOT", root)
    monkeypatch.chdir(tmp_path)

    def write(**sources):
        for name, source in {"__init__": "", **sources}.items():
            path = root.joinpath(*name.split("__in__")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        return lambda module: [
            path.removeprefix("limitcycles/") for path in imports.closure(module)
        ]

    return write


@pytest.mark.parametrize(
    "line",
    [
        "import limitcycles.b",
        "import os, limitcycles.b as other",
        "from limitcycles import b",
        "from limitcycles.b import thing",
        "def f():\n    from limitcycles import b as late",
        "if True:\n    try:\n        import limitcycles.b\n    except ImportError:\n        pass",
    ],
)
def test_ways_of_importing(package, line):
    closure = package(a=line, b="import limitcycles.c", c="import limitcycles.a", d="")
    assert closure("limitcycles.a") == ["__init__.py", "a.py", "b.py", "c.py"]


def test_packages_above_a_module_count(package):
    closure = package(
        a="import limitcycles.deep.b",
        deep__in____init__="from limitcycles import c",
        deep__in__b="",
        c="",
    )
    assert closure("limitcycles.a") == [
        "__init__.py",
        "a.py",
        "c.py",
        "deep/__init__.py",
        "deep/b.py",
    ]


def test_text_that_looks_like_an_import_does_not_count(package):
    closure = package(a="x = 'import limitcycles.b'  # no import", b="")
    assert closure("limitcycles.a") == ["__init__.py", "a.py"]


def test_the_library_has_no_relative_import():
    """They would be overlooked."""
    found = [
        f"{path}:{node.lineno}"
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert found == []


def test_a_star_stands_for_all_modules_of_a_package():
    alone, all_of_it = (
        imports.closure("limitcycles.claims"),
        imports.closure("limitcycles.claims.*"),
    )
    assert not any(path.endswith("claims/rank.py") for path in alone)
    names = {Path(path).name for path in all_of_it if Path(path).parent.name == "claims"}
    assert names == {path.name for path in (ROOT / "claims").glob("*.py")}
    assert any(path.endswith("limitcycles/diffusion.py") for path in all_of_it)  # what they import
