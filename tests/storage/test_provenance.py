"""The version of the code changes with any byte of it."""

import re

from limitcycles import __version__
from limitcycles.storage import provenance


def version_of(folder, monkeypatch):
    monkeypatch.setattr(provenance, "__file__", str(folder / "storage" / "provenance.py"))
    return provenance.code_version.__wrapped__()


def test_form():
    pattern = re.escape(__version__) + r"\+src\.[0-9a-f]{10}"
    assert re.fullmatch(pattern, provenance.code_version())


def test_it_follows_every_module_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "deep" / "b.py").write_text("y = 1\n")
    first = version_of(tmp_path, monkeypatch)
    assert version_of(tmp_path, monkeypatch) == first
    (tmp_path / "notes.txt").write_text("no code")
    assert version_of(tmp_path, monkeypatch) == first
    (tmp_path / "deep" / "b.py").write_text("y = 2\n")
    second = version_of(tmp_path, monkeypatch)
    (tmp_path / "deep" / "b.py").rename(tmp_path / "deep" / "c.py")
    third = version_of(tmp_path, monkeypatch)
    assert len({first, second, third}) == 3
