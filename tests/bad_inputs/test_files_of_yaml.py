"""Files of YAML that are refused before anything is made of them: by file, line, key and remedy."""

import json
import os

import pytest
from bad_inputs.refusal import refusal, says

from limitcycles.configuration.yamlfile import read_yaml

# the content of mine.yaml, its line, what is said of it
FILES = [
    # Not YAML.
    ("a:\n\tb: 1\n", 2, ["spaces, not tabs"]),
    ("a:\n  b: 1\n\tc: 1\n", 3, ["spaces, not tabs"]),
    ("a: {\tb: 1}: c\n", 1, ["spaces, not tabs"]),
    ("a: 1\nb: {c: 2\n", 3, ["flow mapping"]),
    ("a: [1, 2\nb: 3\n", 2, ["flow sequence"]),
    ("a: 'open\n", 2, ["quoted scalar"]),
    ("a: b: c\n", 1, ["mapping values are not allowed here"]),
    ("a: 1\n b: 2\n", 2, ["mapping values are not allowed here"]),
    ("a:\n  - 1\n - 2\n", 3, ["expected"]),
    ("a: *nowhere\n", 1, ["undefined alias", "nowhere"]),
    ("a: %x\n", 1, ["'%'"]),
    ("a: @x\n", 1, ["'@'"]),
    ("a: `x`\n", 1, ["'`'"]),
    ("a: 1\nb: \x00\n", 2, ["U+0000", "delete it"]),
    ("a: \x1b[0m\n", 1, ["U+001B", "delete it"]),
    ("a: 1\n---\nb: 1\n", 2, ["single document"]),
    ("a: " + "[" * 3000 + "\n", None, ["nested too deeply"]),
    # No mapping.
    ("- a\n", None, ["holds a list", "write `key: value`"]),
    ("a text\n", None, ["holds a single value", "write `key: value`"]),
    ("training.epochs=3\n", None, ["holds a single value", "write `key: value`"]),
    # Twice, or no text, or not plain.
    ("a: 1\nb: 2\na: 3\n", 3, ["'a' stands twice", "line 1", "delete or rename one"]),
    ("a:\n  b: 1\n  b: 1\n", 3, ["'b' stands twice"]),
    ("a: [{b: 1, b: 2}]\n", 1, ["'b' stands twice"]),
    ("a: 1\n'a': 2\n", 2, ["'a' stands twice"]),
    ("on: 1\n", 1, ["'on' is not text", "quotes"]),
    ("1: x\n", 1, ["'1' is not text", "quotes"]),
    ("null: x\n", 1, ["'null' is not text", "quotes"]),
    ("1e3: x\n", 1, ["'1e3' is not text", "quotes"]),
    ("2024-01-01: x\n", 1, ["'2024-01-01' is not text", "quotes"]),
    ("? [a, b]\n: c\n", 1, ["a list or mapping stands as a key"]),
    ("{{ epochs }}: 3\n", 1, ["a list or mapping stands as a key"]),
    ("a: !!python/object:os.system x\n", 1, ["a has the tag !!python/object", "delete the tag"]),
    ("a: !!int 'x'\n", 1, ["a has the tag !!int", "delete the tag"]),
    ("a: !!bool maybe\n", 1, ["a has the tag !!bool"]),
    ("a: !!timestamp x\n", 1, ["a has the tag !!timestamp"]),
    ("a: !!set {x}\n", 1, ["a has the tag !!set"]),
    ("a: !!binary x\n", 1, ["a has the tag !!binary"]),
    ("a: !mine {x: 1}\n", 1, ["a has the tag !mine"]),
    ("a: &a {b: *a}\n", 1, ["a.b holds itself", "*name"]),
    ("a: &a [1, *a]\n", 1, ["a[1] holds itself"]),
    ("a: 1\n<<: 3\n", 2, ["merging"]),
    # What YAML 1.1 and YAML 1.2 read differently.
    (
        "epochs: 010\n",
        1,
        ["epochs: 010 is the number 8", "number 10 in YAML 1.2", "write 8, or 10"],
    ),
    ("epochs: " + 5000 * "9" + "\n", 1, ["a number of 5000 digits is too long", "shorter"]),
    ("epochs: 0o10\n", 1, ["0o10 is a text", "the number 8", "write 8"]),
    ("epochs: 08\n", 1, ["08 is a text", "the number 8 in YAML 1.2", "write 8, or"]),
    ("epochs: -08\n", 1, ["write -8, or"]),
    ("epochs: 1:30\n", 1, ["the number 90", "write 90", '"1:30" in quotes']),
    ("epochs: 190:20:30\n", 1, ["the number 685230"]),
    ("epochs: 1:30.5\n", 1, ["the number 90.5"]),
    ("epochs: 1_000\n", 1, ["the number 1000", "write 1000"]),
    ("epochs: 1_0.5\n", 1, ["write 10.5"]),
    ("epochs: 0b11\n", 1, ["the number 3", "write 3"]),
    ("epochs: 0x1_F\n", 1, ["the number 31", "write 31"]),
    ("epochs: 0_\n", 1, ["write 0"]),
    ("rate: 1e3\n", 1, ["rate: 1e3 is a text", "write 1000,"]),
    ("rate: 1e-4\n", 1, ["write 0.0001"]),
    ("rate: 1e-7\n", 1, ["write 1.0e-07"]),
    ("rate: 2E-3\n", 1, ["write 0.002"]),
    ("rate: 1.5e3\n", 1, ["write 1500,"]),
    ("rate: 1.5e20\n", 1, ["write 1.5e+20"]),
    ("rate: 1e999\n", 1, ['write "1e999" in quotes']),
    ("rate: -.5\n", 1, ["write -0.5"]),
    ("rate: +.5\n", 1, ["write 0.5"]),
    ("flip: yes\n", 1, ["flip: yes is true", "write true", '"yes" in quotes']),
    ("flip: No\n", 1, ["write false"]),
    ("flip: on\n", 1, ["write true"]),
    ("flip: OFF\n", 1, ["write false"]),
    ("note: 2024-01-01\n", 1, ["is a date", '"2024-01-01" in quotes']),
    ("note: 2024-13-45\n", 1, ["is an error in YAML 1.1", '"2024-13-45" in quotes']),
    ("note: 2024-01-01T10:00:00Z\n", 1, ["is a datetime"]),
    ("note: =\n", 1, ['"=" in quotes']),
    ("note: <<\n", 1, ['"<<" in quotes']),
    ("a: [1, {b: [0, 08]}]\n", 1, ["a[1].b[1]: 08 is a text"]),
    ("a: {<<: {b: 08}}\n", 1, ["08 is a text"]),
]


@pytest.mark.parametrize(("content", "line", "words"), FILES, ids=[repr(f[0][:25]) for f in FILES])
def test_a_file_that_is_refused(tmp_path, monkeypatch, content, line, words):
    monkeypatch.chdir(tmp_path)
    with open("mine.yaml", "w", encoding="utf-8", newline="") as file:
        file.write(content)
    (said,) = refusal(lambda: read_yaml("mine.yaml"))
    assert said.startswith("mine.yaml: " if line is None else f"mine.yaml, line {line}: ")
    says(said, words)


def test_every_scalar_in_two_readings_has_a_line_of_its_own(tmp_path):
    (tmp_path / "mine.yaml").write_text("a: 010\nb: {c: no}\nd: [1e3]\ne: &x 08\nf: *x\n")
    lines = refusal(lambda: read_yaml(tmp_path / "mine.yaml"))
    assert [line.split("line ")[1][:5] for line in lines] == [
        "1: a:",
        "2: b.",
        "3: d[",
        "4: e:",
        "4: f:",
    ]


BYTES = [
    ("note: café\n".encode("latin-1"), "mine.yaml, line 1: is not UTF-8 text; save it as UTF-8"),
    ("a: 1\nnote: é\n".encode("cp1252"), "mine.yaml, line 2: is not UTF-8 text; save it as UTF-8"),
    ("a: 1\n".encode("utf-16"), "mine.yaml, line 1: is not UTF-8 text; save it as UTF-8"),
    (b"PK\x03\x04\xff\xfe", "mine.yaml, line 1: is not UTF-8 text; save it as UTF-8"),
]


@pytest.mark.parametrize(("content", "message"), BYTES)
def test_a_file_that_is_not_utf_8(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_bytes(content)
    assert refusal(lambda: read_yaml("mine.yaml")) == [message]


def _locked(path):
    path.write_text("a: 1\n")
    path.chmod(0)


PLACES = [
    (lambda path: None, ["mine.yaml: cannot be read: No such file", "check the path"]),
    (lambda path: path.mkdir(), ["mine.yaml: cannot be read: it is a folder", "give a file"]),
    (lambda path: os.mkfifo(path), ["mine.yaml: cannot be read: it is no ordinary file"]),
    (lambda path: path.symlink_to("nowhere"), ["mine.yaml: cannot be read: No such file"]),
    (lambda path: path.symlink_to(path), ["mine.yaml: cannot be read: "]),
    pytest.param(
        _locked,
        ["mine.yaml: cannot be read: Permission denied"],
        marks=pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything"),
    ),
]


@pytest.mark.parametrize(("make", "words"), PLACES)
def test_what_stands_in_the_place_of_a_file(tmp_path, monkeypatch, make, words):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "mine.yaml")
    (line,) = refusal(lambda: read_yaml("mine.yaml"))
    says(line, words)


# ------------------------------------------------------------------------------ what is no fault


def test_what_both_versions_read_alike(tmp_path):
    same = {
        "a": "~", "b": "0x1F", "c": ".5", "d": "1.5e+3", "e": "'010'", "f": "y", "g": "1,000",
        "h": "True", "i": "0o8", "j": "00", "k": '"no"', "l": "12:61", "m": "v1.0",
    }  # fmt: skip
    text = "".join(f"{key}: {value}\n" for key, value in same.items())
    (tmp_path / "mine.yaml").write_text(
        f"\ufeff{text}", encoding="utf-8"
    )  # with a mark, as Windows
    found = read_yaml(tmp_path / "mine.yaml")
    assert list(found.values()) == [
        None, 31, 0.5, 1500.0, "010", "y", "1,000", True, "0o8", 0, "no", "12:61", "v1.0",
    ]  # fmt: skip


def test_merge_keys_anchors_blocks_and_json(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: |\n  08\nd: [*a, *a]\n")
    found = read_yaml(path)
    assert found["b"] == {"x": 1, "y": 3}
    assert found["c"] == "08\n"
    assert found["d"] == [{"x": 1, "y": 2}] * 2
    path.write_text(json.dumps(found))
    assert read_yaml(path) == found
    path.write_text("# nothing\n")
    assert read_yaml(path) == {}
