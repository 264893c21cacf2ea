import sys
import types

import numpy as np
import pytest

from limitcycles.datasets import own


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


def test_load_takes_tokens_of_any_whole_numbers(returning):
    tokens = np.array([[0, 7, 2], [500, 1, 1]])
    for dtype in (np.int64, np.int32, np.int16, np.uint16):
        returning((tokens.astype(dtype), np.array([0, 1]), tokens, np.array([0, 1])))
        train_tokens, _, test_tokens, _ = own.load("made_up:load", {})
        assert train_tokens.dtype == test_tokens.dtype == np.int32
        np.testing.assert_array_equal(train_tokens, tokens)


def test_images_of_few_rows_are_no_channels_last(returning):
    values = np.zeros((4, 3, 4, 4))
    returning((values, np.array([0, 1, 1, 0]), values, np.array([0, 1, 1, 0])))
    assert own.load("made_up:load", {})[0].shape == (4, 3, 4, 4)


def test_a_test_set_may_lack_a_class(returning):
    images = np.zeros((4, 5, 5), np.uint8)
    returning((images, np.array([0, 1, 2, 1]), images, np.array([0, 1, 1, 0])))
    assert own.load("made_up:load", {})[1].max() == 2
