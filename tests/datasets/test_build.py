import dataclasses
import json
import sys

import numpy as np
import pytest

from limitcycles.datasets import DatasetError, build, digits, idx, transforms


@pytest.fixture
def published(tiny, tmp_path, lines):
    """Build from the tiny catalogue, its files in a local folder."""
    for name, content in tiny.gz.items():
        (tmp_path / f"{name}.gz").write_bytes(content)

    def call(**spec):
        return build(
            {"source": "tiny", **spec},
            cache=tmp_path / "cache",
            data_folder=tmp_path,
            log=lines.append,
            catalogues={"tiny": tiny.catalogue},
        )

    return call


def test_build_gives_dims_types_units_and_provenance(tiny, tmp_path, published):
    dataset = published()
    assert dict(dataset.sizes) == {"train": 6, "channel": 1, "height": 4, "width": 4, "test": 3}
    for split, images, labels in (("train", *tiny.arrays[:2]), ("test", *tiny.arrays[2:])):
        image, label = dataset[f"{split}_image"], dataset[f"{split}_label"]
        assert image.dims == (split, "channel", "height", "width")
        assert image.dtype == np.float32
        assert label.dtype == np.int64
        assert image.attrs["units"] == "1"
        assert label.attrs["units"] == "class"
        np.testing.assert_array_equal(image[:, 0], images.astype(np.float32) / np.float32(255))
        np.testing.assert_array_equal(label, labels)
    assert dataset.attrs["origin"] == f"local folder {tmp_path}"
    assert dataset.attrs["source"] == tiny.catalogue.citation
    assert dataset.attrs["licence"] == "none"
    assert dataset.attrs["sha256"] == tiny.catalogue.sha256
    assert json.loads(dataset.attrs["spec"])["pixels"] == "unit"


def test_build_raw_pixels(tiny, published):
    dataset = published(pixels="raw")
    np.testing.assert_array_equal(dataset.train_image[:, 0], tiny.arrays[0])
    assert dataset.train_image.dtype == np.float32
    assert dataset.train_image.attrs["units"] == "grey level (0 to 255)"


def test_build_takes_classes_then_the_first_then_resizes_then_scales(tiny, published):
    dataset = published(
        classes=[0, 2], train_images=3, resize={"method": "wrapped", "size": 2}, pixels="unit"
    )
    assert dataset.train_label.values.tolist() == [0, 2, 0]
    assert dataset.test_label.values.tolist() == [0, 2]
    kept = tiny.arrays[0][[0, 2, 3]][:, np.newaxis]
    expected = transforms.wrapped(kept, 2) / np.float32(255)
    np.testing.assert_array_equal(dataset.train_image, expected)
    # The hash is of the originals, whatever is done to them.
    assert dataset.attrs["sha256"] == tiny.catalogue.sha256


def test_build_from_no_source_fails(tiny, tmp_path, lines):
    bare = dataclasses.replace(tiny.catalogue, npm=None)
    with pytest.raises(DatasetError, match="no source could deliver it"):
        build({"source": "tiny"}, cache=tmp_path, log=lines.append, catalogues={"tiny": bare})
    assert lines == ["tiny: no local folder is set"]


def test_build_uses_the_default_cache(tiny, tmp_path, lines, monkeypatch):
    monkeypatch.setenv("LIMITCYCLES_CACHE", str(tmp_path))
    (tmp_path / "tiny").mkdir()
    for name, content in tiny.raw.items():
        (tmp_path / "tiny" / name).write_bytes(content)
    dataset = build({"source": "tiny"}, log=lines.append, catalogues={"tiny": tiny.catalogue})
    assert dataset.attrs["origin"] == f"cache {tmp_path / 'tiny'}"


@pytest.mark.parametrize(
    ("resize", "side"),
    [
        (None, 8),
        ({"method": "bilinear", "size": 28}, 28),
        ({"method": "bilinear", "size": 7}, 7),
        ({"method": "block-mean", "size": 4}, 4),
        ({"method": "wrapped", "size": 7}, 7),
    ],
)
def test_build_digits_in_any_size(lines, resize, side):
    dataset = build({"source": "digits", "resize": resize}, log=lines.append)
    assert dataset.train_image.shape == (1437, 1, side, side)
    assert dataset.test_image.shape == (360, 1, side, side)
    assert float(dataset.train_image.min()) >= 0
    assert 0.5 < float(dataset.train_image.max()) <= 1
    assert dataset.attrs["sha256"] == digits.SHA256
    assert dataset.attrs["origin"] == "scikit-learn"
    assert lines == ["digits: read from scikit-learn"]


def test_build_digits_refuses_block_means_that_do_not_fit(lines):
    with pytest.raises(DatasetError, match="it does not divide the 8x8"):
        build({"source": "digits", "resize": {"method": "block-mean", "size": 7}}, log=lines.append)


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A user's module in the working directory, in a package on no path."""
    (tmp_path / "users_data.py").write_text(
        "import numpy as np\n"
        "def load(low, high, dtype='float32'):\n"
        "    images = np.linspace(low, high, 4 * 2 * 6 * 6).reshape(4, 2, 6, 6).astype(dtype)\n"
        "    return images, np.array([0, 1, 0, 1]), images[:2], np.array([1, 0])\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "users_data:load"
    sys.modules.pop("users_data", None)


def test_build_a_users_own(own_module, lines):
    options = {"low": 0, "high": 255, "dtype": "uint8"}
    dataset = build({"source": own_module, "options": options, "classes": [1]}, log=lines.append)
    assert dict(dataset.sizes) == {"train": 2, "channel": 2, "height": 6, "width": 6, "test": 1}
    assert float(dataset.train_image.max()) == 1
    assert dataset.attrs["origin"] == own_module
    assert len(dataset.attrs["sha256"]) == 64
    assert lines == [f"calling {own_module}"]


def test_build_leaves_a_users_floats_as_they_are(own_module, lines):
    options = {"low": -2, "high": 3}
    spec = {"source": own_module, "options": options, "pixels": "raw"}
    dataset = build(spec, log=lines.append)
    assert float(dataset.train_image.min()) == -2
    assert float(dataset.train_image.max()) == 3
    assert dataset.train_image.attrs["units"] == "own"
    with pytest.raises(DatasetError, match=r'"users_data:load" run from -2 to 3; return floats in'):
        build({**spec, "pixels": "unit"}, log=lines.append)
    inside = build({"source": own_module, "options": {"low": 0, "high": 1}}, log=lines.append)
    assert float(inside.train_image.max()) == 1


def test_build_hashes_a_users_originals(own_module, lines):
    spec = {"source": own_module, "options": {"low": 0, "high": 1}}
    images = np.linspace(0, 1, 288).reshape(4, 2, 6, 6).astype(np.float32)
    labels = np.array([0, 1, 0, 1], np.int32)
    expected = idx.digest([images, labels, images[:2], np.array([1, 0], np.int32)])
    assert build(spec, log=lines.append).attrs["sha256"] == expected
