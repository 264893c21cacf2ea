import json

import numpy as np
import pytest

from limitcycles.datasets import build, whitening
from limitcycles.datasets.transforms import scale

EPSILON = 1e-2


@pytest.fixture(scope="module")
def images():
    """Images (400, 3, 4, 4) whose numbers are correlated, with means and contrasts of their own."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(400, 48)) @ rng.normal(size=(48, 48)) / 7
    mixed = (
        mixed * rng.uniform(0.5, 2, (400, 1)) + rng.normal(size=(400, 1)) + np.linspace(0, 1, 48)
    )
    return mixed.reshape(400, 3, 4, 4).astype(np.float32)


def covariance(images):
    return np.cov(images.reshape(len(images), -1), rowvar=False, bias=True, dtype=np.float64)


def test_contrast_is_normalised_over_all_numbers_of_an_image(images, monkeypatch):
    monkeypatch.setattr(whitening, "_BLOCK", 150)  # so that the last block is a part
    found = whitening.normalise_contrast(images)
    assert found.dtype == np.float32
    assert found.shape == images.shape
    for one, image in zip(found[::37], images[::37].astype(float), strict=True):
        np.testing.assert_allclose(one, (image - image.mean()) / image.std(), atol=1e-5)


@pytest.mark.parametrize("level", [0, 0.1, 1, 255, -1e-30])
def test_an_image_without_contrast_becomes_zero(images, level):
    flat = np.concatenate([np.full_like(images[:1], level), images[:3]])
    found = whitening.normalise_contrast(flat)
    assert (found[0] == 0).all()
    np.testing.assert_array_equal(found[1:], whitening.normalise_contrast(images[:3]))


def test_a_faint_contrast_is_still_one(images):
    faint = np.full_like(images[:1], 255)
    faint[0, 0, 0, 0] = np.nextafter(np.float32(255), np.float32(0))
    found = whitening.normalise_contrast(faint)
    assert found.std() == pytest.approx(1, rel=1e-5)


def test_covariance_of_the_whitened_training_images(images, monkeypatch):
    monkeypatch.setattr(whitening, "_BLOCK", 150)
    values, vectors = np.linalg.eigh(covariance(images))
    found = whitening.zca(images, EPSILON)(images)
    assert found.dtype == np.float32
    assert found.shape == images.shape
    expected = (vectors * (values / (values + EPSILON))) @ vectors.T
    np.testing.assert_allclose(covariance(found), expected, atol=2e-6)
    # The regulariser is seen, and the rest is white.
    assert expected.trace() < 47.9
    np.testing.assert_allclose(found.mean(axis=0, dtype=np.float64), 0, atol=1e-6)


def test_the_map_is_symmetric_and_of_the_eigenvalues_as_given(images):
    fitted = whitening.zca(images, EPSILON)
    np.testing.assert_array_equal(fitted.matrix, fitted.matrix.T)
    values, vectors = np.linalg.eigh(covariance(images))
    along = np.einsum("ik,ij,jk->k", vectors, fitted.matrix.astype(float), vectors)
    np.testing.assert_allclose(along, (values + EPSILON) ** -0.5, rtol=1e-4)


def test_other_images_are_mapped_with_the_statistics_of_the_training_images(images):
    fitted = whitening.zca(images[:300], EPSILON)
    others = fitted(images[300:])
    flat = (images[300:].reshape(100, -1) - images[:300].reshape(300, -1).mean(axis=0)).astype(
        float
    )
    expected = flat @ fitted.matrix
    np.testing.assert_allclose(others.reshape(100, -1), expected, atol=1e-4)
    assert np.abs(others.mean(axis=0)).max() > 0.05  # their own mean is not taken away


def test_a_direction_without_variance_stays_so(images):
    """As after `normalise_contrast`, which takes the mean of each image away."""
    normal = whitening.normalise_contrast(images)
    found = whitening.zca(normal, 1e-5)(normal)
    assert np.abs(found.mean(axis=(1, 2, 3))).max() < 1e-3
    fewer = whitening.zca(images[:20], EPSILON)(images[:20])  # more numbers than images
    assert np.isfinite(fewer).all()


def test_the_same_bits_each_time(images):
    one, two = (whitening.zca(images, EPSILON) for _ in range(2))
    np.testing.assert_array_equal(one.matrix, two.matrix)
    np.testing.assert_array_equal(one(images), two(images))


def test_build_whitens_after_resize_and_pixels(lines):
    spec = {"source": "digits", "resize": {"method": "block-mean", "size": 4}, "train_images": 900}
    plain = build({**spec, "pixels": "raw"}, log=lines.append)
    lines.clear()
    found = build(
        {**spec, "pixels": "raw", "whiten": {"regulariser": EPSILON}, "optional": True},
        log=lines.append,
    )
    # Fitted on all training images, so that an image is the same in every subset.
    every = build({**spec, "pixels": "raw", "train_images": None}, log=lambda line: None)
    fitted = whitening.zca(whitening.normalise_contrast(every.train_image.values), EPSILON)
    normal = whitening.normalise_contrast(plain.train_image.values)
    np.testing.assert_array_equal(found.train_image, fitted(normal))
    test = whitening.normalise_contrast(plain.test_image.values)
    np.testing.assert_array_equal(found.test_image, fitted(test))
    np.testing.assert_array_equal(found.train_label, plain.train_label)
    assert found.train_image.attrs["units"] == "1"
    assert found.attrs["sha256"] == plain.attrs["sha256"]
    stated = json.loads(found.attrs["spec"])
    assert stated["whiten"] == {"regulariser": EPSILON}
    assert "optional" not in stated
    assert lines[-1] == "global contrast normalisation and ZCA whitening, regulariser 0.01"


def test_the_scale_of_the_pixels_does_not_matter(images):
    levels = np.random.default_rng(1).integers(0, 256, (50, 1, 5, 5), dtype=np.uint8)
    unit, raw = (whitening.normalise_contrast(scale(levels, pixels)) for pixels in ("unit", "raw"))
    np.testing.assert_allclose(unit, raw, atol=2e-6)
