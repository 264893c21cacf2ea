"""What a user may have in the data folder, the cache or their names: each refused in a sentence."""

import gzip
import os
import sys
from pathlib import Path

import pytest
from bad_inputs.refusal import refusal, says

from limitcycles import datasets
from limitcycles.datasets import cache, idx
from limitcycles.storage.files import check_folder, user_path

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))
from conftest import make_tiny

TINY = make_tiny()
IMAGES, LABELS = (TINY.files[0].name, TINY.files[1].name)


def fill(folder, **changes):
    """All files of the dataset, with other content for some of them."""
    folder.mkdir(parents=True)
    for name, content in TINY.raw.items():
        (folder / name).write_bytes(changes.get(name, content))


def _instead(folder, make):
    fill(folder)
    (folder / IMAGES).unlink()
    make(folder / IMAGES)


RAW = TINY.raw[IMAGES]
PACKED = gzip.compress(RAW)
# what is put into data_folder, what is said of it
FOLDERS = [
    (lambda folder: None, ["there is no such folder"]),
    (lambda folder: folder.write_text("x"), ["there is no such folder"]),
    (lambda folder: folder.symlink_to("nowhere"), ["there is no such folder"]),
    (lambda folder: folder.mkdir(), [f"it has no {IMAGES} or {IMAGES}.gz"]),
    (lambda folder: fill(folder / "deeper"), [f"it has no {IMAGES}"]),
    (lambda folder: _instead(folder, lambda path: path.mkdir()), [f"it has no {IMAGES}"]),
    (lambda folder: _instead(folder, os.mkfifo), [f"it has no {IMAGES}"]),
    (lambda folder: _instead(folder, lambda path: path.symlink_to("x")), [f"it has no {IMAGES}"]),
    (lambda folder: fill(folder, **{IMAGES: b""}), [IMAGES, "not an IDX file"]),
    (lambda folder: fill(folder, **{IMAGES: b"<html>404</html>"}), [IMAGES, "not an IDX file"]),
    (lambda folder: fill(folder, **{IMAGES: PACKED}), [IMAGES, "not an IDX file", "1f8b"]),
    (lambda folder: fill(folder, **{IMAGES: RAW[:10]}), [IMAGES, "header is cut off after 10"]),
    (lambda folder: fill(folder, **{IMAGES: RAW[:-1]}), [IMAGES, "its header (shape (6, 4, 4))"]),
    (lambda folder: fill(folder, **{IMAGES: RAW[:-1] + b"!"}), [IMAGES, "SHA-256 is", "expected"]),
    (lambda folder: fill(folder, **{IMAGES: TINY.raw[LABELS]}), [IMAGES, "not uint8 of shape"]),
    (
        lambda folder: fill(folder, **{IMAGES: idx.encode(TINY.arrays[0].astype("f4"))}),
        [IMAGES, "float32"],
    ),
    (lambda folder: _gz(folder, b"plain"), [f"{IMAGES}.gz", "not a sound gzip file"]),
    (lambda folder: _gz(folder, PACKED[:-9]), [f"{IMAGES}.gz", "cut off"]),
    (lambda folder: _gz(folder, PACKED + b"x"), [f"{IMAGES}.gz", "not a sound gzip file"]),
    (lambda folder: _gz(folder, PACKED + PACKED), [f"{IMAGES}.gz", "more than the expected"]),
    (lambda folder: _gz(folder, b""), [f"{IMAGES}.gz", "IDX"]),
]


def _gz(folder, content):
    fill(folder)
    (folder / IMAGES).unlink()
    (folder / f"{IMAGES}.gz").write_bytes(content)


def fetch(tmp_path, folder=None):
    return cache.originals(
        TINY.catalogue, cache=tmp_path / "cache", data_folder=folder, log=lambda _: None, sources=()
    )


@pytest.mark.parametrize(("make", "words"), FOLDERS)
def test_a_folder_that_cannot_be_used(tmp_path, make, words):
    folder = tmp_path / "my data"
    make(folder)
    lines = refusal(lambda: fetch(tmp_path, folder))
    assert lines[0] == "tiny: no source could deliver it. Tried:"
    says(lines[1], [f"local folder {folder}", *words])
    says(lines[-1], ["What to do: put the files", "set data_folder in config/config.yaml"])


@pytest.mark.parametrize("name", ["{x}", "%d %s", "café", "a b", "~", "$HOME", "'quoted'", "[ab]*"])
def test_a_folder_of_any_name_is_read(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    fill(Path(name))
    assert fetch(tmp_path, Path(name)).origin == f"local folder {name}"


def test_a_gzip_file_of_two_members_is_read(tmp_path):
    _gz(tmp_path / "data", gzip.compress(RAW[:50]) + gzip.compress(RAW[50:]))
    assert (fetch(tmp_path, tmp_path / "data").arrays[0] == TINY.arrays[0]).all()


def _in_place(make):
    def put(place):
        fill(place / "tiny")
        (place / "tiny" / IMAGES).unlink()
        make(place / "tiny" / IMAGES)

    return put


# what stands in the cache, what is said of it
CACHES = [
    (lambda place: place.write_text("x"), ["cannot use the cache", "cache", "LIMITCYCLES_CACHE"]),
    (
        lambda place: [place.mkdir(), (place / "tiny").write_text("x")],
        ["cannot use the cache", "tiny", "LIMITCYCLES_CACHE"],
    ),
    (
        lambda place: [place.mkdir(), (place / "tiny.lock").mkdir()],
        ["cannot use the cache", "tiny.lock", "LIMITCYCLES_CACHE"],
    ),
    (_in_place(lambda path: path.mkdir()), [IMAGES, "no ordinary file: remove it"]),
    (_in_place(os.mkfifo), [IMAGES, "no ordinary file: remove it"]),
    (_in_place(lambda path: path.symlink_to(path)), ["cannot use the cache", IMAGES]),
    (_in_place(lambda path: path.write_bytes(b"junk")), ["no source could deliver it"]),
    (_in_place(lambda path: path.symlink_to("nowhere")), ["no source could deliver it"]),
]


@pytest.mark.parametrize(("make", "words"), CACHES)
def test_a_cache_that_cannot_be_used(tmp_path, make, words):
    make(tmp_path / "cache")
    says(refusal(lambda: fetch(tmp_path))[0], words)


PATHS = [  # what a user wrote, what is said of it
    ("$NOT_SET/mnist", ["key: $NOT_SET/mnist", "variable NOT_SET, which is not set", "set it"]),
    ("${NOT_SET}/mnist", ["variable NOT_SET, which is not set"]),
    ("~nobody-here/mnist", ["names a user who is not known here", "write the path out"]),
]


@pytest.mark.parametrize(("text", "words"), PATHS)
def test_a_path_that_leads_nowhere(monkeypatch, text, words):
    monkeypatch.delenv("NOT_SET", raising=False)
    (line,) = refusal(lambda: user_path(text, "key"))
    says(line, words)
    monkeypatch.setenv("LIMITCYCLES_CACHE", text)
    (line,) = refusal(cache.default_cache)
    says(line, ["LIMITCYCLES_CACHE: ", *words[1:]])
    (line,) = refusal(lambda: datasets.build({"source": "digits"}, data_folder=text))
    says(line, ["data_folder: ", *words[1:]])


def test_home_and_variables_are_put_in(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WHERE", "here")
    assert user_path("~/a/$WHERE/${WHERE}x", "key") == tmp_path / "a/here/herex"
    assert user_path("a/~/b", "key") == Path("a/~/b")


PLACES = [  # what stands at results, what is said of it
    (lambda path: path.write_text("x"), ["results is no folder", "move it away"]),
    (lambda path: path.symlink_to("nowhere"), ["results is a link to what is not there"]),
    (lambda path: path.symlink_to(path), ["results is a link"]),
    (os.mkfifo, ["results is no folder"]),
]


@pytest.mark.parametrize(("make", "words"), PLACES)
def test_a_place_for_results_that_is_none(tmp_path, make, words):
    make(tmp_path / "results")
    (line,) = refusal(lambda: check_folder(tmp_path / "results"))
    says(line, words)


def test_a_place_for_results_that_one_may_not_write_to(tmp_path, monkeypatch):
    check_folder(tmp_path / "results" / "quick")
    check_folder(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write whatever the mode
    (line,) = refusal(lambda: check_folder(tmp_path / "results"))
    says(line, [f"{tmp_path}: you may not write there", "a folder of your own"])


# One entry of `datasets`, as the library itself is given it (the workflow's schema comes first).
ENTRIES = [
    ({}, ["the key source is missing"]),
    ({"source": "mnits"}, ["source: mnits", 'did you mean "mnist"']),
    ({"source": 3}, ["source: 3: unknown"]),
    ({"source": "digits", "clases": [0]}, ['no key "clases"', 'did you mean "classes"']),
    ({"source": "digits", "options": {"a": 1}}, ['the source "digits" takes none']),
    ({"source": "digits", "classes": "0"}, ["classes: 0", "give a list of labels"]),
    ({"source": "digits", "classes": [10]}, ["classes: [10]", "the dataset has the labels"]),
    ({"source": "digits", "train_images": 0}, ["train_images: 0", "from 1 to 1437"]),
    ({"source": "digits", "train_images": 2000}, ["train_images: 2000", "from 1 to 1437"]),
    ({"source": "digits", "train_images": 1.5}, ["train_images: 1.5", "give a number"]),
    ({"source": "digits", "train_images_per_class": 500}, ["train_images_per_class: 500", "from"]),
    ({"source": "digits", "resize": 7}, ["resize: 7", "{method: ..., size: ...}"]),
    ({"source": "digits", "resize": {"method": "nearest", "size": 7}}, ["method: nearest"]),
    ({"source": "digits", "resize": {"method": "bilinear", "size": 0}}, ["size: 0"]),
    (
        {"source": "digits", "resize": {"method": "block-mean", "size": 7}},
        ["size 7: it does not divide the 8x8", "bilinear"],
    ),
    ({"source": "digits", "pixels": "bytes"}, ["pixels: bytes: unknown", "unit, raw"]),
    ({"source": "digits", "whiten": True}, ["whiten: True", "{regulariser: ...}"]),
    ({"source": "digits", "whiten": {"regulariser": 0}}, ["regulariser: 0", "above 0"]),
    ({"source": "digits", "optional": "maybe"}, ["optional: maybe", "true or false"]),
]


@pytest.mark.parametrize(("entry", "words"), ENTRIES)
def test_an_entry_of_datasets_that_is_refused(entry, words):
    (line,) = refusal(lambda: datasets.build(entry, log=lambda _: None))
    says(line, words)
