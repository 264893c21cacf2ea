import sys

import pytest

from limitcycles.configuration import plugins


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a user's package, and sys.path as it was afterwards."""
    package = tmp_path / "users_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "networks.py").write_text(
        "class Small:\n    @staticmethod\n    def build():\n        return 'built'\n"
    )
    (package / "needy.py").write_text("import a_module_that_is_not_there\n")
    (package / "broken.py").write_text("1 / 0\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("users_package")]:
        del sys.modules[name]


def test_resolve_an_installed_function():
    from os.path import join

    assert plugins.resolve("os.path:join") is join


def test_resolve_finds_the_working_directory_last(here):
    before = list(sys.path)
    assert plugins.resolve("users_package.networks:Small.build")() == "built"
    assert sys.path == [*before, str(here)]


@pytest.mark.parametrize(
    ("dotted", "message"),
    [
        ("os.path.join", 'is not a dotted path: write "package.module:function"'),
        ("os.path:", "is not a dotted path"),
        (":join", "is not a dotted path"),
        ("os..path:join", "is not a dotted path"),
        ("os.path:join:x", "is not a dotted path"),
        ("os.path:joint", 'module "os.path" has no "joint"; did you mean "join"'),
        ("os.path:qqqq", 'module "os.path" has no "qqqq".'),
        ("users_pakage.networks:Small", 'no module "users_pakage"; did you mean "users_package"'),
        (
            "users_package.network:Small",
            'no module "users_package.network"; did you mean "networks"',
        ),
        ("users_package.needy:x", 'needs the module "a_module_that_is_not_there"'),
        ("users_package.broken:x", "fails to import: ZeroDivisionError: division by zero"),
        ("os.path.nothing:x", 'no module "os.path.nothing"'),
    ],
)
def test_resolve_says_what_is_wrong(here, dotted, message):
    with pytest.raises(plugins.PluginError) as caught:
        plugins.resolve(dotted)
    assert message in str(caught.value)
    assert dotted in str(caught.value)


def test_is_dotted():
    assert plugins.is_dotted("a.b:c")
    assert not plugins.is_dotted("small-lenet")


def test_source_is_the_file_of_the_module_without_running_it(here):
    package = here / "users_package"
    assert plugins.source("users_package.networks:Small.build") == [package / "networks.py"]
    assert plugins.source("users_package.broken:x") == [package / "broken.py"]
    assert plugins.source("users_package:x") == [package / "__init__.py"]


@pytest.mark.parametrize(
    "name",
    ["small-lenet", "math:sqrt", "nowhere:x", "users_package.nowhere:x", "broken_parent.a:x"],
)
def test_source_of_what_has_none(here, name):
    (here / "broken_parent").mkdir()
    (here / "broken_parent" / "__init__.py").write_text("1 / 0\n")
    assert plugins.source(name) == []
    assert plugins.code(name) is None


FILES = {
    "net.py": "import os, torch\nimport beside\nfrom package.deep import thing\n",
    "beside.py": "def f():\n    import later\n",
    "later.py": "x = (",
    "package/__init__.py": "",
    "package/deep/__init__.py": "from ..sibling import y\nfrom . import below\n",
    "package/deep/below.py": "import net\n",
    "package/sibling.py": "",
}


def test_code_changes_with_whatever_it_imports_of_the_users_own(here):
    other = {"unused.py": "", "package/unused.py": "", "package/deep/unused.py": ""}
    for name, content in (FILES | other).items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(content)
    seen = [plugins.code("net:build")]
    for name, content in FILES.items():
        (here / name).write_text(content + "# changed")
        seen.append(plugins.code("net:build"))
    assert len(set(seen)) == len(FILES) + 1
    for name in other:
        (here / name).write_text("# changed")
        assert plugins.code("net:build") == seen[-1]


def test_code_of_an_installed_package_ends_with_it(here, monkeypatch):
    place = here / "site-packages"
    for name, content in {"theirs/__init__.py": "from theirs import more", "theirs/more.py":
                          "import other", "other.py": ""}.items():  # fmt: skip
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content)
    monkeypatch.syspath_prepend(place)
    first = plugins.code("theirs:build")
    (place / "other.py").write_text("1")
    assert plugins.code("theirs:build") == first
    (place / "theirs/more.py").write_text("1")
    assert plugins.code("theirs:build") != first


def test_code_changes_with_any_byte_of_the_file(here):
    file = here / "latin.py"
    file.write_bytes(b"# \xe9\n")
    first = plugins.code("latin:x")
    assert plugins.code("latin:y") == first
    file.write_bytes(b"# \xe8\n")
    assert plugins.code("latin:x") not in (first, None)
