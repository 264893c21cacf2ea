"""Source files of a module, against what Python really loads; and a library without Snakemake."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import limitcycles
from limitcycles.storage import sources as source_files

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
        ours = [m for n, m in sys.modules.items() if n.split(".")[0] == "limitcycles"]
        files = [m.__file__ for m in ours if m.__file__]
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
def test_all_that_python_loads_is_in_the_closure(loaded, module):
    assert set(loaded[module]["files"]) <= set(map(str, source_files.closure(module)))


def names(*modules):
    return {path.name for path in source_files.closure(*modules)}


def test_modules_that_others_import_are_there():
    found = names("limitcycles.training.sgd")
    assert {"sgd.py", "networks.py", "plugins.py", "files.py", "errors.py"} <= found
    assert "spectrum.py" not in found
    assert names("limitcycles.runtime.errors") == {"__init__.py", "errors.py"}
    both = names("limitcycles.runtime.errors", "limitcycles.training.sgd")
    assert both == found


def test_the_report_depends_on_its_templates():
    templates = {path.name for path in (ROOT / "report" / "templates").iterdir()}
    assert len(templates) > 1
    assert templates <= names("limitcycles.report.page")
    assert not templates & names("limitcycles.training.sgd")


def test_paths_are_sorted_and_stable():
    found = source_files.closure("limitcycles.training.sgd", "limitcycles.storage.store")
    assert ROOT / "training" / "sgd.py" in found
    assert found == sorted(set(found))
    assert found == source_files.closure("limitcycles.storage.store", "limitcycles.training.sgd")
    assert all(path.is_file() for path in found)


@pytest.mark.parametrize(
    "module", ["limitcycles.trainning", "limitcycles.datasets.none", "numpy.random", "training"]
)
def test_a_module_that_is_not_there(module):
    with pytest.raises(FileNotFoundError, match=module):
        source_files.closure(module)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A made-up library in the place of ours: file name -> source."""
    root = tmp_path / "limitcycles"
    monkeypatch.setattr(source_files, "ROOT", root)

    def write(**sources):
        for name, source in {"__init__": "", **sources}.items():
            path = root.joinpath(*name.split("__in__")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        return lambda module: [
            path.relative_to(root).as_posix() for path in source_files.closure(module)
        ]

    return write


@pytest.mark.parametrize(
    "line",
    [
        "import limitcycles.b",
        "import os, limitcycles.b as other",
        "from limitcycles import b",
        "from limitcycles.b import thing",
        "class C:\n    with f() as g:\n        for x in g:\n            import limitcycles.b",
        "match x:\n    case 1:\n        import limitcycles.b",
        "def f():\n    from limitcycles import b as late",
        "if True:\n    try:\n        import limitcycles.b\n    except ImportError:\n        pass",
    ],
)
def test_ways_of_importing(package, line):
    closure = package(a=line, b="import limitcycles.c", c="import limitcycles.a", d="")
    assert closure("limitcycles.a") == ["__init__.py", "a.py", "b.py", "c.py"]


def test_a_digest_changes_with_each_file_of_the_closure_and_with_no_other(tmp_path, monkeypatch):
    def digest(where, **changed):
        sources = {"__init__": "", "a": "import limitcycles.b", "b": "", "c": ""} | changed
        root = tmp_path / where / "limitcycles"
        root.mkdir(parents=True)
        for name, source in sources.items():
            (root / f"{name}.py").write_text(source)
        monkeypatch.setattr(source_files, "ROOT", root)
        return source_files.digest("limitcycles.a")

    first = digest("first")
    assert len(first) == 12
    assert digest("elsewhere") == first
    assert digest("other", c="1") == first
    changed = {
        digest(name, **{name: "import limitcycles.b  # 1"}) for name in ("__init__", "a", "b")
    }
    assert len(changed | {first}) == 4


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
    alone = source_files.closure("limitcycles.charts")
    all_of_it = source_files.closure("limitcycles.charts.*")
    assert ROOT / "charts/parts.py" not in alone
    assert set((ROOT / "charts").glob("*.py")) <= set(all_of_it)
    assert ROOT / "statistics/thresholds.py" in all_of_it  # what they import
