"""Stores: what goes in comes out, equal data are equal files, and no damage goes unseen."""

import json
import struct
import warnings
import zipfile

import numpy as np
import pytest
import small_disk
import xarray as xr
from zarr.storage import ZipStore

from limitcycles.storage import store
from limitcycles.storage.files import StorageError
from limitcycles.storage.provenance import code_version


def example() -> xr.Dataset:
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "weights": (
                ("snapshot", "weight"),
                rng.standard_normal((3, 50)).astype(np.float32),
                {"units": "1", "long_name": "weights"},
            ),
            "rank_curve": ("tau", np.array([1.0, np.nan, np.inf, -0.0]), {"units": "1"}),
            "label": ("train", np.arange(20)),
            "image": ("train", np.arange(236, 256, dtype=np.uint8)),
        },
        coords={"percent": ("snapshot", [0, 20, 100]), "tau": [1e-16, 1e-9, 1e-3, 1e-1]},
        attrs={
            "run": "small-lenet-text",
            "seed": 3,
            "trace": 0.1 + 0.2,
            "std_above": float("nan"),
            "largest": np.float64(1 / 3),
            "count": np.int64(2**40),
            "settings": json.dumps({"weight": None, "τ": [1, 2]}),
            "trace_50": [1, 2],
            "exact": True,
        },
    )


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "store.zarr.zip"
    store.save(example(), path)
    return path


def test_round_trip(path):
    found, given = store.load(path), example()
    assert found.attrs.pop("code_version") == code_version()
    assert np.isnan(found.attrs.pop("std_above"))
    del given.attrs["std_above"]
    assert found.attrs == given.attrs
    assert list(found.attrs) == list(given.attrs)
    for name, variable in given.variables.items():
        assert found[name].dtype == variable.dtype
        assert found[name].attrs == variable.attrs
        assert found[name].dims == variable.dims
        assert found[name].values.tobytes() == variable.values.tobytes()


def test_the_dataset_itself_stays_as_it_is(tmp_path):
    given = example()
    store.save(given, tmp_path / "a.zarr.zip")
    xr.testing.assert_identical(given, example())


def test_equal_data_give_equal_bytes(path, tmp_path):
    store.save(example(), tmp_path / "again.zarr.zip")
    assert (tmp_path / "again.zarr.zip").read_bytes() == path.read_bytes()
    shuffled = example()[["label", "weights", "image", "rank_curve"]]
    store.save(shuffled, tmp_path / "shuffled.zarr.zip")
    assert (tmp_path / "shuffled.zarr.zip").read_bytes() == path.read_bytes()
    changed = example()
    changed["weights"][0, 0] += 1
    store.save(changed, tmp_path / "changed.zarr.zip")
    assert (tmp_path / "changed.zarr.zip").read_bytes() != path.read_bytes()


def test_a_loaded_store_saved_again_is_the_same(path, tmp_path):
    store.save(store.load(path), tmp_path / "again.zarr.zip")
    assert (tmp_path / "again.zarr.zip").read_bytes() == path.read_bytes()


def test_saving_says_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.save(example(), tmp_path / "a.zarr.zip")


@pytest.mark.parametrize("how", ["path", "store"])
def test_a_user_opens_it_with_xarray_alone(path, how, recwarn):
    if how == "path":
        found = xr.open_zarr(f"zip::{path}").load()
    else:
        with ZipStore(path, mode="r") as opened:
            found = xr.open_zarr(opened).load()
    xr.testing.assert_identical(found, store.load(path))
    said = [str(w.message) for w in recwarn if not issubclass(w.category, ResourceWarning)]
    assert said == []


def test_a_missing_store(tmp_path):
    path = tmp_path / "none.zarr.zip"
    with pytest.raises(StorageError) as caught:
        store.load(path)
    assert str(caught.value) == f"there is no file {path}: start snakemake, which makes it."


def assert_refused(path):
    with pytest.raises(StorageError) as caught:
        store.load(path)
    assert str(caught.value).startswith(f"cannot read {path}: ")
    assert str(caught.value).endswith(
        ". Delete it and start snakemake again: it will be made anew."
    )


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.95, 0.999])
def test_a_truncated_store(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert_refused(path)


def test_files_that_are_no_stores(path):
    path.write_bytes(b"no zip at all")
    assert_refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "a zip, but no store")
    assert_refused(path)
    path.unlink()
    path.mkdir()
    assert_refused(path)


def chunks(path) -> list[tuple[int, int]]:
    """Where the bytes of each chunk begin and end in the file."""
    content = path.read_bytes()
    found = []
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if "/c/" in info.filename:
                at = info.header_offset
                name, extra = struct.unpack("<HH", content[at + 26 : at + 30])
                begin = at + 30 + name + extra
                found.append((begin, begin + info.compress_size))
    return found


def test_a_flipped_bit_of_a_chunk_is_always_seen(path):
    content = path.read_bytes()
    found = chunks(path)
    assert len(found) == 6
    for begin, end in found:
        for position in {begin, (begin + end) // 2, end - 1}:
            spoilt = bytearray(content)
            spoilt[position] ^= 1 << position % 8
            path.write_bytes(spoilt)
            assert_refused(path)


def test_no_flipped_bit_anywhere_changes_a_number_unseen(path):
    """A chunk whose name is spoilt in the directory would be lost, and read as fill values."""
    content, right = path.read_bytes(), store.load(path)
    directory = content.index(b"PK\x01\x02")
    refused = 0
    for position in [*range(0, directory, 47), *range(directory, len(content), 3)]:
        spoilt = bytearray(content)
        spoilt[position] ^= 1 << position % 8
        path.write_bytes(spoilt)
        try:
            found = store.load(path)
        except StorageError:
            refused += 1
        else:  # a date, say
            xr.testing.assert_identical(found, right)
    assert refused > 100


def test_a_disk_that_is_full_leaves_the_old_store(path):
    before = path.read_bytes()
    with pytest.raises(StorageError) as caught, small_disk.files_of_at_most(len(before) // 2):
        store.save(example(), path)
    assert str(caught.value).startswith(f"cannot write {path}: File too large. Free space")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_real_disk_that_is_full(tmp_path):
    with small_disk.mounted(tmp_path / "disk") as disk:
        noise = np.random.default_rng(0).random(200_000)  # 1.6 MB that do not compress
        with pytest.raises(StorageError, match="No space left on device"):
            store.save(xr.Dataset({"noise": ("index", noise)}), disk / "a.zarr.zip")
        assert list(disk.iterdir()) == []
        store.save(example(), disk / "a.zarr.zip")
        assert store.load(disk / "a.zarr.zip").attrs["seed"] == 3


def test_parts_come_back_by_name(tmp_path):
    parts = {"fine": xr.Dataset({"a": ("x", [1.0, 2.0])}), "coarse": xr.Dataset({"a": 3})}
    store.save_parts(parts, tmp_path / "parts")
    found = store.load_parts(tmp_path / "parts")
    assert sorted(found) == ["coarse", "fine"]
    assert all(np.array_equal(found[name]["a"], parts[name]["a"]) for name in parts)


def test_words_in_parts_need_no_warning(tmp_path):
    part = xr.Dataset(
        {"kind": ("system", ["one", "another"]), "size": ("system", [1.0, 2.0])},
        coords={"system": ["λ = 0.5", "x"]},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.save_parts({"a": part}, tmp_path)
        found = store.load_parts(tmp_path)["a"]
    assert float(found["size"].sel(system="λ = 0.5")) == 1
    assert [str(word) for word in found["kind"].values] == ["one", "another"]
    assert part["kind"].dtype.kind == "U"  # the given one stays as it was


def test_a_folder_without_parts(tmp_path):
    with pytest.raises(StorageError, match="there is no file"):
        store.load_parts(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError, match="holds no"):
        store.load_parts(tmp_path / "empty")
