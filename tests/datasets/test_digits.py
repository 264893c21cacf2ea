import numpy as np
import pytest
from sklearn.datasets import load_digits

from limitcycles.datasets import digits
from limitcycles.datasets.errors import DatasetError


def test_digits_are_the_file_in_its_order_on_the_scale_of_bytes():
    train_images, train_labels, test_images, test_labels = digits.load()
    assert train_images.shape == (1437, 8, 8)
    assert test_images.shape == (360, 8, 8)
    assert train_images.dtype == train_labels.dtype == np.uint8
    file = load_digits()
    images = np.concatenate([train_images, test_images])
    # Sixteen grey steps, rounded: half a level at most, and one to one.
    assert np.abs(images - file.images * 255 / 16).max() <= 0.5
    np.testing.assert_array_equal(np.rint(images / 255 * 16), file.images)
    np.testing.assert_array_equal(np.concatenate([train_labels, test_labels]), file.target)


def test_every_class_is_in_both_splits():
    _, train_labels, _, test_labels = digits.load()
    assert np.bincount(train_labels).min() > 130
    assert np.bincount(test_labels).min() > 30


def test_other_data_in_scikit_learn_is_refused(monkeypatch):
    images, labels = load_digits(return_X_y=True)
    monkeypatch.setattr(digits, "load_digits", lambda **_: (images[::-1], labels))
    with pytest.raises(DatasetError, match="ships other data"):
        digits.load()
