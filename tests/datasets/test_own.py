import sys
import types

import numpy as np
import pytest

from limitcycles.datasets import own
from limitcycles.datasets.errors import DatasetError


@pytest.fixture
def returning(monkeypatch):
    """Make `made_up:load` return what is given, or call it if it is a function."""

    def set_up(returned):
        module = types.ModuleType("made_up")
        module.load = returned if callable(returned) else lambda: returned
        monkeypatch.setitem(sys.modules, "made_up", module)

    return set_up


def arrays(**changes):
    found = {
        "train_images": np.zeros((4, 3, 8, 9), np.uint8),
        "train_labels": np.array([0, 1, 2, 1]),
        "test_images": np.ones((2, 3, 8, 9), np.uint8),
        "test_labels": np.array([2, 0]),
    }
    return tuple({**found, **changes}.values())


def test_load_passes_the_options_on_and_keeps_bytes(returning):
    def load(images, classes):
        return arrays(train_images=np.full((4, 3, 8, 9), images, np.uint8))

    returning(load)
    train_images, train_labels, test_images, _ = own.load(
        "made_up:load", {"images": 7, "classes": 3}
    )
    assert train_images.dtype == np.uint8
    assert (train_images == 7).all()
    assert train_labels.dtype == np.int32
    assert test_images.shape == (2, 3, 8, 9)


def test_load_adds_the_channel_and_takes_floats_as_they_are(returning):
    values = np.linspace(-3, 300, 2 * 5 * 5).reshape(2, 5, 5)
    returning((values, np.array([0, 1], np.uint8), values, np.array([0, 1])))
    train_images, _, _, _ = own.load("made_up:load", {})
    assert train_images.shape == (2, 1, 5, 5)
    assert train_images.dtype == np.float32
    np.testing.assert_array_equal(train_images[:, 0], values.astype(np.float32))


NAN = np.zeros((4, 3, 8, 9))
NAN[1, 2, 3, 4] = np.nan


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "must return the four arrays"),
        (arrays()[:3], "must return the four arrays"),
        (arrays(train_images=[[0]]), "train_images: it is a list; give a NumPy array"),
        (arrays(train_images=np.zeros((4, 9))), r"it is float64 of shape \(4, 9\)"),
        (arrays(train_images=np.zeros((0, 3, 8, 9))), "not empty"),
        (arrays(train_images=np.zeros((4, 3, 8, 9), int)), "int64 .*; give uint8"),
        (arrays(train_images=np.full((4, 3, 8, 9), "a")), "give uint8"),
        (arrays(train_images=NAN, test_images=NAN), "train_images: it has values that are not fin"),
        (arrays(train_images=np.full((4, 3, 8, 9), 1e300)), "not finite in float32"),
        (arrays(train_labels=np.zeros(3, int)), "4 train_images but 3 train_labels"),
        (arrays(test_labels=np.zeros(3, int)), "2 test_images but 3 test_labels"),
        (arrays(train_labels=np.zeros((4, 1), int)), r"give a NumPy array of \(n,\)"),
        (arrays(train_labels=np.zeros(4)), "train_labels: it is float64 .*whole numbers"),
        (arrays(train_labels=np.array([0, 1, -1, 0])), "from -1 to 1; number the classes from 0"),
        (arrays(train_labels=np.array([0, 1, 2**40, 0])), "number the classes from 0"),
        (arrays(test_images=np.zeros((2, 3, 9, 9), np.uint8)), r"\(3, 8, 9\), test_images \(3, 9"),
        (arrays(test_images=np.zeros((2, 3, 8, 9))), "train_images are uint8, test_images float32"),
    ],
)
def test_load_refuses_what_is_not_a_dataset(returning, returned, message):
    returning(lambda: returned)
    with pytest.raises(DatasetError, match=rf'"made_up:load".*{message}'):
        own.load("made_up:load", {})


def test_load_tells_how_the_function_failed(returning):
    def load(path):
        raise OSError("no such disk")

    returning(load)
    with pytest.raises(DatasetError, match=r"options {'path': 1} failed: OSError: no such disk"):
        own.load("made_up:load", {"path": 1})
    with pytest.raises(DatasetError, match="failed: TypeError"):
        own.load("made_up:load", {"pth": 1})


def test_load_refuses_what_cannot_be_called():
    with pytest.raises(DatasetError, match='"math:pi" is no function but float'):
        own.load("math:pi", {})
