"""Whole files or none: errors, full disks, kills, and writers at the same time."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import small_disk

from limitcycles.storage import files
from limitcycles.storage.files import StorageError, read_json, replacing, write_json, write_text

KILLED = """
import os, signal, sys
from limitcycles.storage.files import replacing
with replacing(sys.argv[1]) as temporary:
    if sys.argv[2] == "folder":
        temporary.mkdir()
        temporary = temporary / "part"
    temporary.write_text("half")
    if sys.argv[3] == "wait":
        print("writing", flush=True)
        sys.stdin.read()
    else:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def write_in_another_process(path, kind="file", then="kill"):
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), kind, then],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(files.__file__).parents[2])},
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fail_to_write(path, error=ValueError):
    """Stop in the middle of writing a folder; the names beside it at that time."""
    beside = []
    try:
        with replacing(path) as temporary:
            temporary.mkdir()
            (temporary / "half").touch()
            beside += names(path.parent)
            raise error
    except error:
        return beside


def test_a_file_appears_whole_and_in_new_folders(tmp_path):
    path = tmp_path / "a" / "b" / "text.txt"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert temporary.name == path.name  # writers that go by the suffix find it
        assert not path.exists()
    assert path.read_text() == "new"
    assert names(path.parent) == ["text.txt"]


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch, kind, durable):
    """Else a power cut could leave the name without the bytes."""
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            files.os, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))
        )
    with replacing(tmp_path / "thing", durable) as temporary:
        if kind == "file":
            temporary.write_text("x")
        else:
            (temporary / "deep").mkdir(parents=True)
            (temporary / "a").touch()
            (temporary / "deep" / "b").touch()
    syncs = (1 if kind == "file" else 2) if durable else 0
    assert calls == ["fsync"] * syncs + ["replace"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    write_text(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_after_an_error_the_old_content_stands(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")
    fail_to_write(path, error)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_after_an_error_the_old_folder_stands(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").touch()
    fail_to_write(path)
    assert names(path) == ["old"]
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("nothing", "file"),
        ("nothing", "folder"),
        ("file", "file"),
        ("folder", "folder"),
        ("folder", "file"),
    ],
)
def test_the_new_takes_the_place_of_the_old(tmp_path, before, now):
    path = tmp_path / "thing"
    if before == "file":
        path.write_text("old")
    elif before == "folder":
        path.mkdir()
        (path / "old").touch()
    with replacing(path) as temporary:
        if now == "file":
            temporary.write_text("new")
        else:
            (temporary / "deep").mkdir(parents=True)
            (temporary / "deep" / "new").touch()
    assert path.read_text() == "new" if now == "file" else names(path) == ["deep"]
    assert names(tmp_path) == ["thing"]


def test_a_folder_never_takes_the_place_of_a_file(tmp_path):
    path = tmp_path / "thing"
    path.write_text("old")
    with pytest.raises(StorageError, match="cannot write"), replacing(path) as temporary:
        temporary.mkdir()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["thing"]


def test_a_writer_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(StorageError, match="cannot write"), replacing(tmp_path / "file"):
        pass
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path, kind):
    path = tmp_path / "file[1]*.txt"  # no pattern, for all its signs
    path.write_text("old")
    process = write_in_another_process(path, kind)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    (left,) = set(names(tmp_path)) - {path.name}
    assert left.startswith(".")
    write_text(tmp_path / "another", "x")
    assert left in names(tmp_path)  # only the next write of the same path
    assert left not in fail_to_write(path)  # before anything is written, to make room
    assert names(tmp_path) == ["another", path.name]


def test_a_writer_at_work_is_left_alone(tmp_path):
    path = tmp_path / "file"
    process = write_in_another_process(path, then="wait")
    process.stdout.readline()
    (temporary,) = names(tmp_path)
    write_text(path, "ours")
    assert names(tmp_path) == [temporary, "file"]
    process.communicate(b"")
    assert process.returncode == 0
    assert path.read_text() == "half"  # the last to finish
    assert names(tmp_path) == ["file"]


def test_a_users_hidden_files_are_left_alone(tmp_path):
    for name in (".file.partial", ".file.d", ".file.backup", ".fileabcdefgh.partial"):
        (tmp_path / name).mkdir()
    before = names(tmp_path)
    write_text(tmp_path / "file", "x")
    assert names(tmp_path) == sorted([*before, "file"])


def test_writing_without_locks(tmp_path, monkeypatch):
    """Some network file systems have none: leftovers stay, and that is all."""

    def flock(*_):
        raise OSError(95, "Operation not supported")

    process = write_in_another_process(tmp_path / "file")
    process.communicate()
    (left,) = names(tmp_path)
    monkeypatch.setattr(files.fcntl, "flock", flock)
    write_text(tmp_path / "file", "x")
    assert names(tmp_path) == [left, "file"]


def assert_sentence(caught, path, reason):
    assert str(caught.value) == (
        f"cannot write {path}: {reason}. Free space or choose another folder, then start again: "
        "what was finished before is kept."
    )


@pytest.mark.parametrize("before", [None, "old"])
def test_a_file_that_grows_too_large(tmp_path, before):
    path = tmp_path / "file"
    if before:
        path.write_text(before)
    with pytest.raises(StorageError) as caught, small_disk.files_of_at_most(1000):
        write_text(path, "x" * 1001)
    assert_sentence(caught, path, "File too large")
    assert names(tmp_path) == (["file"] if before else [])
    assert before is None or path.read_text() == before


def test_a_disk_that_is_full(tmp_path):
    with small_disk.mounted(tmp_path / "disk") as disk:
        path = disk / "file"
        path.write_text("old")
        with pytest.raises(StorageError) as caught:
            write_text(path, "x" * 2_000_000)
        assert_sentence(caught, path, "No space left on device")
        assert names(disk) == ["file"]
        ballast = small_disk.fill(disk)
        with pytest.raises(StorageError) as caught:
            write_text(path, "new")
        assert_sentence(caught, path, "No space left on device")
        assert path.read_text() == "old"
        ballast.unlink()
        write_text(path, "new")
        assert path.read_text() == "new"
        assert names(disk) == ["file"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "below"
    with pytest.raises(StorageError, match=f"cannot write {path}: File exists"):
        write_text(path, "x")


def test_json_round_trip(tmp_path):
    value = {"name": "τ ≤ 1e-16", "values": [1, 2.5, None, True], "deep": {"x": []}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "τ ≤ 1e-16" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "a.json").read_bytes()) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [{"x": float("-inf")}]])
def test_numbers_that_json_lacks_are_refused(tmp_path, value):
    write_json(tmp_path / "a.json", "old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == "old"
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": 1,\n "b": }', "line 2 column 7"),
        (b'{"a": [1, 2', "line 1 column 12"),
        (b"", "line 1 column 1"),
        (b'{"a": "\xff\xfe"}', "invalid start byte"),
    ],
)
def test_damaged_json_names_file_place_and_remedy(tmp_path, content, reason):
    path = tmp_path / "claim.json"
    path.write_bytes(content)
    with pytest.raises(StorageError) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"cannot read {path}: ")
    assert reason in str(caught.value)
    assert "Delete it and start snakemake again" in str(caught.value)


def test_missing_json_is_not_to_be_deleted(tmp_path):
    path = tmp_path / "claim.json"
    with pytest.raises(StorageError) as caught:
        read_json(path)
    assert str(caught.value) == f"there is no file {path}: start snakemake, which makes it."


def test_check_zip(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("entry", b"0123456789")
    files.check_zip(path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"456", b"457"))
    with pytest.raises(zipfile.BadZipFile, match="entry is damaged"):
        files.check_zip(path)
    path.write_bytes(content.replace(b"entry", b"entri", 1))
    with pytest.raises(zipfile.BadZipFile):
        files.check_zip(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        files.check_zip(path)
