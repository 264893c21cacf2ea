"""The names for other people's code: few, loaded when used, each with an example that runs."""

import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import limitcycles

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", limitcycles.__all__)
def test_the_example_of_a_name_runs(name):
    public = getattr(limitcycles, name)
    tests = doctest.DocTestFinder(recurse=False).find(public, name, module=False, globs={})
    assert [test for test in tests if test.examples], f"{name} has no example"
    for test in tests:
        assert re.search(rf"\b{name}\b", test.docstring)
        assert doctest.DocTestRunner().run(test).failed == 0


def test_readme_lists_these_names_and_no_others():
    rows = re.findall(r"^\| `limitcycles\.(\w+)` \|", README, re.MULTILINE)
    assert sorted(rows) == sorted(limitcycles.__all__)


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_a_snippet_of_the_readme_uses_only_these_names(block):
    used = re.findall(
        r"^(?:from|import) limitcycles(\.\S+)?(?: import (.+))?$", block, re.MULTILINE
    )
    for room, names in used:
        assert not room
        assert set(re.sub(r" as \w+", "", names).split(", ")) <= set(limitcycles.__all__)


def test_importing_the_library_loads_none_of_it():
    code = (
        "import sys, limitcycles; dir(limitcycles); "
        "print(sorted(n for n in sys.modules if n.startswith(('limitcycles', 'torch', 'numpy'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['limitcycles']"


def test_names_are_seen_and_others_are_not_there():
    assert set(limitcycles.__all__) <= set(dir(limitcycles))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        limitcycles.nothing  # noqa: B018
    assert all(
        inspect.ismodule(public) or callable(public)
        for public in (getattr(limitcycles, name) for name in limitcycles.__all__)
    )
