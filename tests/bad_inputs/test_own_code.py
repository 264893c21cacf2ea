"""Functions of a user's own that cannot be used, told before anything runs, and without running
them; and what is told when a job calls them."""

import sys
from pathlib import Path

import pytest
from bad_inputs.refusal import refusal, says

from limitcycles.configuration import plugins, signatures
from limitcycles.training import networks

FILES = {
    "nets.py": """
import functools
import nowhere_installed
from nowhere_installed import borrowed

raise SystemExit("this module may not be run")

def make(width=8, *, depth: int = 2, name: str = None): ...
def needs(width, depth): ...
def anything(width=8, **others): ...
def by_place(width=8, /): ...
@functools.cache
def wrapped(width=8): ...
partial = functools.partial(make, 3)
class Net(Base):
    def __init__(self, width: int = 8): ...
class Inherits(Net): ...
@dataclass(frozen=True)
class Optimiser:
    power: float
    limits: ClassVar = {"power": (0, 1)}
    steps: int = 3
@dataclasses.dataclass
class Own:
    power: float = 1.0
    def __init__(self, width: int): ...
if True:
    def conditional(flip: bool = False): ...
else:
    conditional = None
""",
    "broken.py": "def make(:\n    ...\n",
    "zeros.py": "x = '\0'\n",
    "tabs.py": "def make():\n    if True:\n\treturn 1\n",
    "package/__init__.py": "raise SystemExit('this package may not be run')\n",
    "package/deep.py": "def make(width=8): ...\n",
    "star.py": "from nets import *\n",
    "folder.py/readme.txt": "",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    (tmp_path / "latin.py").write_bytes("def make(): return 'é'\n".encode("latin-1"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not {"nets", "package"} & set(sys.modules)


PATHS = [  # what a user writes, what is said of it
    ("no_such:thing", ['there is no module "no_such"', "install its package", "PYTHONPATH"]),
    ("netz:make", ['there is no module "netz"', 'did you mean "nets"']),
    ("nets.py:make", ['write "nets:make", without .py']),
    ("package.nets.py:make", ['write "package.nets:make"']),
    ("nets.deep:make", ['there is no module "nets.deep"']),
    ("package.depe:make", ['there is no module "package.depe"', 'did you mean "deep"']),
    ("nets:mkae", ['module "nets"', 'nets.py) has no "mkae"', 'did you mean "make"']),
    ("nets:functool", ['has no "functool"', 'did you mean "functools"']),
    ("nets:zzzz", ['has no "zzzz"']),
    ("broken:make", ["broken.py, line 1: ", "correct it"]),
    ("tabs:make", ["tabs.py, line 3: ", "inconsistent use of tabs"]),
    ("zeros:make", ["zeros.py", "null bytes"]),
    ("latin:make", ["latin.py", "utf-8"]),
    ("torch.nnn:Linear", ['there is no module "torch.nnn"', 'did you mean "nn"']),
]


@pytest.mark.parametrize(("dotted", "words"), PATHS)
def test_a_path_that_leads_nowhere(here, dotted, words):
    says(signatures.why_not(dotted), words)


OPTIONS = [  # a function, options, the option and what is said of it
    ("nets:make", {"widht": 8}, "widht", ['did you mean "width"', "takes width, depth, name"]),
    ("nets:make", {"depth": 2.0}, "depth", ["says that it is int"]),
    ("nets:make", {"depth": True}, "depth", ["says that it is int"]),
    ("nets:make", {"depth": None}, "depth", ["says that it is int"]),
    ("nets:make", {"name": 3}, "name", ["says that it is str"]),
    ("nets:needs", {}, None, ["needs width, depth", "add {width: ...}"]),
    ("nets:needs", {"width": 3}, None, ["needs depth", "add {depth: ...}"]),
    ("nets:by_place", {"width": 3}, "width", ["takes no options"]),
    ("nets:Net", {"self": 3}, "self", ["it takes width"]),
    ("nets:Net", {"width": "8"}, "width", ["says that it is int"]),
    ("nets:Optimiser", {"power": 0.5, "weight_decay": 1.0}, "weight_decay", ["takes power, steps"]),
    ("nets:Optimiser", {"power": 0.5, "steps": 0.5}, "steps", ["says that it is int"]),
    ("nets:Optimiser", {}, None, ["needs power"]),
    ("package.deep:make", {"wide": 8}, "wide", ["it takes width"]),
]


@pytest.mark.parametrize(("dotted", "options", "name", "words"), OPTIONS)
def test_options_that_a_function_does_not_take(here, dotted, options, name, words):
    ((key, text),) = signatures.wrong_options(dotted, options)
    assert key == name
    says(text, [f'"{dotted}"', *words])


@pytest.mark.parametrize(
    ("dotted", "options"),
    [
        ("nets:make", {"width": "any", "depth": 3, "name": None}),
        ("nets:anything", {"more": 1}),
        ("nets:wrapped", {"more": 1}),
        ("nets:partial", {"more": 1}),
        ("nets:borrowed", {"more": 1}),
        ("nets:Inherits", {"more": 1}),
        ("nets:Net.build", {}),
        ("nets:conditional", {"flip": 3}),
        ("nets:Own", {"more": 1}),
        ("star:make", {"more": 1}),
        ("package.deep:make", {"width": 1}),
        ("math:pi", {}),
        ("torch.nn:Linear", {"in_features": 3}),
    ],
)
def test_what_cannot_be_told_without_running_passes(here, dotted, options):
    assert signatures.why_not(dotted) is None
    assert list(signatures.wrong_options(dotted, options)) == []


def test_the_librarys_own_networks_are_known():
    assert set(signatures.BUILDERS) == set(networks.BUILDERS)
    for name, dotted in signatures.BUILDERS.items():
        assert plugins.resolve(dotted) is networks.BUILDERS[name]


CALLED = [  # the source of mine.py, options, what is said when a job calls mine:make
    ("import nowhere_installed", {}, ['needs the module "nowhere_installed"', "install it"]),
    ("1 / 0", {}, ["fails to import: ZeroDivisionError"]),
    ("raise SystemExit('done')", {}, ["fails to import: SystemExit: done"]),
    ("def make(): raise SystemExit('done')", {}, ["SystemExit: done"]),
    ("def make(): raise KeyError('x')", {}, ["KeyError: 'x'"]),
    ("make = 3", {}, ["not callable"]),
    ("def make(): return 3", {}, ["returned int, not a torch.nn.Module"]),
    ("def make(): pass", {}, ["returned NoneType, not a torch.nn.Module"]),
    ("from torch.nn import Linear as make", {"in_features": 3}, ["missing 1 required"]),
]


@pytest.mark.parametrize(("source", "options", "words"), CALLED)
def test_a_builder_that_does_not_build(tmp_path, monkeypatch, source, options, words):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(source)
    lines = refusal(lambda: networks.build({"builder": "mine:make", "options": options}))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    says(lines[0], ["mine:make", *words])


def test_a_file_in_any_encoding_has_a_digest(here):
    """The same bytes, the same digest: what the locale makes of them does not matter."""
    digest = plugins.code("latin:make")
    (here / "latin.py").write_bytes("def make(): return 'è'\n".encode("latin-1"))
    assert digest != plugins.code("latin:make")


def test_limits_of_a_class(here):
    ((name, text),) = signatures.wrong_options("nets:Optimiser", {"power": 1.0})
    assert (name, text) == ("power", "1.0 is not allowed; it must be at least 0 and less than 1")
    assert list(signatures.wrong_options("nets:Optimiser", {"power": 0.0})) == []
