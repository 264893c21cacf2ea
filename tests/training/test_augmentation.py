"""Random flips and crops against a loop over images and pixels."""

import numpy as np
import pytest
import torch

from limitcycles.training.augmentation import Copies, augment


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def one_by_one(images, seed, flip, pad):
    """The definition, pixel by pixel: cut at (top, left) of the padded image, then mirrored."""
    n, channels, height, width = images.shape
    source = generator(seed)
    top, left = torch.randint(2 * pad + 1, (2, n), generator=source).tolist()
    mirrored = torch.randint(2, (n,), generator=source).tolist()
    result = np.zeros(images.shape, dtype=images.numpy().dtype)
    for k in range(n):
        for y in range(height):
            for x in range(width):
                row, column = y + top[k] - pad, x + left[k] - pad
                inside = 0 <= row < height and 0 <= column < width
                target = width - 1 - x if flip and mirrored[k] else x
                for c in range(channels):
                    result[k, c, y, target] = images[k, c, row, column] if inside else 0
    return torch.from_numpy(result)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("flip", "pad"), [(True, 2), (True, 0), (False, 3), (False, 0), (True, 7)])
@pytest.mark.parametrize("shape", [(9, 3, 6, 5), (4, 1, 4, 8), (1, 2, 3, 3)])
def test_as_a_loop_over_pixels(shape, flip, pad, layout):
    images = torch.randn(shape, generator=generator(1)).contiguous(memory_format=layout)
    before = images.clone()
    result = augment(images, generator(5), flip, pad)
    assert torch.equal(result, one_by_one(images, 5, flip, pad))
    assert result.dtype == torch.float32
    assert torch.equal(images, before)


def test_nothing_to_do():
    images = torch.randn(6, 3, 5, 5, generator=generator(1))
    assert torch.equal(augment(images, generator(), False, 0), images)


@pytest.mark.parametrize("dtype", [torch.float64, torch.uint8])
def test_the_type_stays(dtype):
    images = (255 * torch.rand(6, 3, 5, 5, generator=generator(1))).to(dtype)
    result = augment(images, generator(), True, 2)
    assert result.dtype == dtype
    assert torch.equal(result, one_by_one(images, 0, True, 2))


def test_channels_last_for_what_comes_next():
    images = torch.randn(6, 3, 5, 5, generator=generator(1))
    result = augment(images, generator(), True, 2)
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_each_place_and_side_is_as_probable():
    """A single white pixel in the middle of each image shows where it was cut."""
    images = torch.zeros(18_000, 1, 7, 7)
    images[:, 0, 3, 2] = 1
    cut = augment(images, generator(), True, 1)
    assert (cut.sum((1, 2, 3)) == 1).all()
    row, column = torch.nonzero(cut[:, 0])[:, 1:].T
    # Columns 1 to 3 as they are, 3 to 5 mirrored; 9 places and 2 sides, 1,000 images each.
    counts = torch.zeros(7, 7, dtype=torch.int64)
    counts.index_put_((row, column), torch.ones_like(row), accumulate=True)
    expected = torch.zeros(7, 7, dtype=torch.int64)
    expected[2:5, 1:6] = torch.tensor([1000, 1000, 2000, 1000, 1000])
    assert ((counts - expected).abs() <= 5 * expected.double().sqrt()).all()


def test_images_are_changed_one_by_one_and_anew_each_time():
    images = torch.randn(1, 2, 8, 8, generator=generator(1)).expand(40, -1, -1, -1)
    source = generator()
    one, two = (augment(images, source, True, 2) for _ in range(2))
    assert len(one.flatten(1).unique(dim=0)) > 20  # of 50 ways
    assert not torch.equal(one, two)
    assert torch.equal(augment(images, generator(), True, 2), one)


@pytest.mark.parametrize("options", [(True, 0), (False, 4), (False, 0)])
def test_the_stream_moves_on_alike_whatever_is_asked_for(options):
    images = torch.zeros(6, 3, 5, 5)
    one, two = generator(), generator()
    augment(images, one, True, 2)
    augment(images, two, *options)
    assert torch.equal(torch.rand(3, generator=one), torch.rand(3, generator=two))


HOW = {"flip": True, "pad": 2}


class TestCopies:
    def images(self):
        return torch.randn(11, 3, 6, 5, generator=generator(1), dtype=torch.float64)

    def test_copy_by_copy(self):
        images, source = self.images(), generator(4)
        copies = Copies(images, 3, source, **HOW)
        assert len(copies) == 33
        again = generator(4)
        expected = torch.cat([augment(images, again, **HOW) for _ in range(3)])
        assert torch.equal(copies[:], expected)
        assert not torch.equal(expected[:11], expected[11:22])
        assert torch.equal(torch.rand(3, generator=source), torch.rand(3, generator=again))

    @pytest.mark.parametrize("step", [1, 4, 11, 12, 100])
    def test_slices_give_the_same_images(self, step):
        copies = Copies(self.images(), 3, generator(4), **HOW)
        parts = [copies[i : i + step] for i in range(0, len(copies), step)]
        assert torch.equal(torch.cat(parts), copies[:])

    def test_first_copies_do_not_depend_on_how_many_there_are(self):
        few, many = (Copies(self.images(), n, generator(4), **HOW) for n in (2, 5))
        assert torch.equal(few[:], many[:22])
