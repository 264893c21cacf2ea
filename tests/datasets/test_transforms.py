import numpy as np
import pytest

from limitcycles.datasets import transforms
from limitcycles.datasets.errors import DatasetError


def one_image(rows, dtype=np.uint8):
    return np.array(rows, dtype)[np.newaxis, np.newaxis]


LABELS = np.array([3, 0, 1, 3, 1, 0], np.uint8)
IMAGES = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)


def test_select_keeps_order_and_numbers_of_the_labels():
    images, labels = transforms.select(IMAGES, LABELS, [1, 3])
    assert labels.tolist() == [3, 1, 3, 1]
    assert images.ravel().tolist() == [0, 2, 3, 4]


def test_select_takes_the_first_of_the_classes_kept():
    images, labels = transforms.select(IMAGES, LABELS, [0, 1], 3)
    assert labels.tolist() == [0, 1, 1]
    assert images.ravel().tolist() == [1, 2, 4]


def test_select_without_a_choice_keeps_all():
    images, labels = transforms.select(IMAGES, LABELS, None)
    assert images is IMAGES
    assert labels is LABELS


def test_select_takes_the_first_of_each_class():
    images, labels = transforms.select(IMAGES, LABELS, [1, 3], per_class=1)
    assert labels.tolist() == [3, 1]
    assert images.ravel().tolist() == [0, 2]


@pytest.mark.parametrize("number", [0, 3])
def test_select_refuses_more_of_a_class_than_there_are(number):
    message = f"train_images_per_class: {number}: give a number from 1 to 2"
    with pytest.raises(DatasetError, match=message):
        transforms.select(IMAGES, LABELS, None, per_class=number)


@pytest.mark.parametrize(
    ("classes", "first", "message"),
    [
        ([0, 7], None, r"classes: \[0, 7\]: the dataset has the labels \[0, 1, 3\]"),
        ([], None, r"classes: \[\]"),
        (None, 7, "train_images: 7: give a number from 1 to 6"),
        ([0], 3, "train_images: 3: give a number from 1 to 2"),
        (None, 0, "train_images: 0"),
    ],
)
def test_select_refuses_what_is_not_there(classes, first, message):
    with pytest.raises(DatasetError, match=message):
        transforms.select(IMAGES, LABELS, classes, first)


def test_block_mean_by_hand():
    image = one_image([[0, 1, 255, 255], [2, 4, 255, 254], [9, 9, 0, 0], [9, 9, 0, 2]])
    found = transforms.block_mean(image, 2)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, one_image([[1.75, 254.75], [9, 0.5]], np.float32))


def test_block_mean_of_28_pixels_is_exact():
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 28, 28), dtype=np.uint8)
    found = transforms.block_mean(images, 7)
    for n, row, column in np.ndindex(5, 7, 7):
        block = images[n, 0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert found[n, 0, row, column] == int(block.sum(dtype=int)) / 16


def test_block_mean_refuses_a_size_that_does_not_divide():
    with pytest.raises(DatasetError, match="block-mean, size 7: it does not divide the 8x8"):
        transforms.block_mean(np.zeros((1, 1, 8, 8), np.uint8), 7)


def triangle_weights(old: int, new: int) -> np.ndarray:
    """(new, old) weights of the triangle filter, widened to the scale where old > new."""
    scale = old / new
    width = max(scale, 1.0)
    centres = (np.arange(new) + 0.5) * scale
    distance = np.abs(np.arange(old) + 0.5 - centres[:, np.newaxis]) / width
    weights = np.clip(1 - distance, 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("old", "new"), [(28, 7), (8, 7), (8, 28), (5, 5)])
def test_bilinear_is_the_triangle_filter(old, new):
    images = np.random.default_rng(1).integers(0, 256, (4, 2, old, old), dtype=np.uint8)
    weights = triangle_weights(old, new)
    found = transforms.bilinear(images, new)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, weights @ images.astype(float) @ weights.T, atol=1e-3)


def test_bilinear_by_hand():
    # Centres of two pixels made four: 0, 1/4, 3/4 of the way, and 1.
    found = transforms.bilinear(one_image([[0, 100], [0, 100]]), 4)
    np.testing.assert_allclose(found[0, 0], [[0, 25, 75, 100]] * 4, atol=1e-5)


@pytest.mark.parametrize("new", [7, 8, 28])
def test_bilinear_stays_within_the_grey_levels(new):
    images = np.full((1, 1, 8, 8), 255, np.uint8)
    images[..., 0, 0] = 250
    found = transforms.bilinear(images, new)
    assert found.max() <= 255
    assert found.min() >= 250


def test_wrapped_turns_grey_levels_round():
    image = one_image([[0, 1, 2], [127, 128, 129], [253, 254, 255]])
    expected = [[0, 255, 254], [129, 128, 127], [3, 2, 1]]
    # The same by the formula of the conversion, 255 x mod 256.
    assert (image[0, 0].astype(int) * 255 % 256).tolist() == expected
    found = transforms.wrapped(image, 3)
    assert found.dtype == np.float32
    assert found[0, 0].tolist() == expected


# Pillow 13.0 made these: grey levels 37 k mod 256, times 255 mod 256, Image.resize(BILINEAR).
PIL_8_TO_7 = [
    [66, 202, 161, 120, 78, 68, 217],
    [199, 158, 117, 76, 77, 198, 208],
    [154, 113, 72, 81, 185, 204, 163],
    [110, 69, 78, 179, 201, 160, 119],
    [66, 68, 179, 199, 157, 116, 75],
    [52, 185, 195, 154, 112, 71, 30],
    [197, 192, 151, 110, 68, 27, 163],
]
PIL_28_TO_7 = [
    [155, 120, 135, 136, 114, 147, 87],
    [125, 141, 116, 150, 108, 142, 108],
    [96, 144, 115, 142, 126, 122, 143],
    [101, 136, 136, 120, 147, 107, 154],
    [132, 113, 145, 112, 146, 120, 136],
    [159, 104, 139, 130, 126, 144, 99],
    [141, 118, 120, 144, 111, 150, 101],
]
PIL_7_TO_9 = [
    [0, 146, 203, 174, 145, 116, 87, 59, 34],
    [169, 201, 201, 172, 143, 114, 85, 57, 32],
    [252, 227, 199, 170, 141, 112, 83, 55, 30],
    [249, 224, 196, 167, 138, 109, 80, 52, 27],
    [247, 222, 194, 165, 136, 107, 78, 50, 25],
    [245, 220, 192, 163, 134, 105, 76, 48, 23],
    [242, 217, 189, 160, 131, 102, 73, 45, 20],
    [240, 215, 187, 158, 129, 100, 71, 43, 18],
    [238, 213, 185, 156, 127, 98, 69, 41, 16],
]


@pytest.mark.parametrize(("old", "expected"), [(8, PIL_8_TO_7), (28, PIL_28_TO_7), (7, PIL_7_TO_9)])
def test_wrapped_gives_the_bytes_of_pil(old, expected):
    image = (np.arange(old * old) * 37 % 256).astype(np.uint8).reshape(1, 1, old, old)
    assert transforms.wrapped(image, len(expected))[0, 0].tolist() == expected


@pytest.mark.parametrize(("old", "new"), [(28, 7), (28, 14), (8, 7), (8, 28)])
def test_wrapped_is_the_rounded_triangle_filter(old, new):
    images = np.random.default_rng(2).integers(0, 256, (20, 1, old, old), dtype=np.uint8)
    weights = triangle_weights(old, new)
    exact = weights @ (images.astype(np.int64) * 255 % 256) @ weights.T
    found = transforms.wrapped(images, new)
    assert (found == np.rint(found)).all()
    # Half a level from each of the two roundings.
    assert np.abs(found - exact).max() <= 1.001


def test_wrapped_keeps_the_brightest_bytes_in_range():
    # A grey level of 1 becomes 255; sums of weighted bytes must not overflow.
    assert (transforms.wrapped(np.ones((1, 1, 28, 28), np.uint8), 9) == 255).all()


def test_wrapped_shows_the_rim_of_a_stroke():
    # Full ink with a soft rim on an empty ground: only the rim stays bright.
    image = np.zeros((1, 1, 28, 28), np.uint8)
    image[..., 8:20, 8:20] = 64
    image[..., 10:18, 10:18] = 255
    found = transforms.wrapped(image, 28)[0, 0]
    assert found[14, 14] == 1
    assert found[0, 0] == 0
    assert found[8, 14] == 192


def test_wrapped_refuses_floats():
    with pytest.raises(DatasetError, match="needs images of uint8, these are float32"):
        transforms.wrapped(np.zeros((1, 1, 8, 8), np.float32), 7)


def test_resizes_leave_read_only_originals_alone():
    images = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
    images.flags.writeable = False
    for method in transforms.RESIZE.values():
        assert method(images, 4).shape == (1, 1, 4, 4)


@pytest.mark.parametrize(("pixels", "expected"), [("unit", [0, 0.2, 1]), ("raw", [0, 51, 255])])
def test_scale(pixels, expected):
    found = transforms.scale(np.array([0, 51, 255], np.uint8), pixels)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(expected, np.float32))
