"""What a user's function may return by mistake: refused with the array, its shape and remedy."""

import sys
import types

import numpy as np
import pytest
import torch
from bad_inputs.refusal import refusal, says

from limitcycles import datasets
from limitcycles.datasets import own

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 3, 8, 9), dtype=np.uint8)
FLOATS = RNG.random((6, 8, 8))
TOKENS = RNG.integers(0, 100, (6, 12))
LABELS = np.array([0, 1, 2, 1, 0, 2])


def arrays(**changes):
    found = {
        "train_images": IMAGES,
        "train_labels": LABELS,
        "test_images": IMAGES,
        "test_labels": LABELS,
    }
    return tuple({**found, **changes}.values())


def spoilt(value, place=(4, 2, 7, 1)):
    found = np.random.default_rng(1).random((6, 3, 8, 9))
    found[place] = value
    return found


def images(found):
    return arrays(train_images=found, test_images=found)


def labels(found):
    return arrays(train_labels=np.asarray(found), test_labels=np.asarray(found))


def fails(error):
    def load(**_):
        raise error

    return load


RETURNED = [  # what the function returns, what is said of it
    (None, ["must return the four arrays (train_images, train_labels, test_images, test_labels)"]),
    (IMAGES, ["must return the four arrays"]),
    (arrays()[:2], ["must return the four arrays"]),
    (dict(zip("abcd", arrays(), strict=True)), ["must return the four arrays"]),
    ((arrays()[:2], arrays()[2:]), ["must return the four arrays"]),
    (images([[0]]), ["train_images: it is a list", "np.array(...)"]),
    (images(torch.zeros(6, 3, 8, 9)), ["it is a Tensor", "tensor.numpy()"]),
    (images(None), ["train_images: it is a NoneType", "NumPy array"]),
    (images(np.ma.masked_less(FLOATS, 0.5)), ["of its entries are masked", ".filled(0)"]),
    (arrays(test_labels=np.ma.masked_equal(LABELS, 2)), ["test_labels: 2 of its entries"]),
    (images(np.zeros((0, 3, 8, 9))), ["(0, 3, 8, 9)", "not be empty"]),
    (images(np.zeros(6)), ["float64 of shape (6,)", "(n, channel, height, width)"]),
    (images(np.zeros((6, 64))), ["float64 of shape (6, 64)", "(n, height, width)"]),
    (images(np.zeros((6, 64), np.uint8)), ["uint8 of shape (6, 64)", "tokens of (n, length)"]),
    (images(np.zeros((6, 1, 3, 8, 9))), ["shape (6, 1, 3, 8, 9)", "(n, channel, height, width)"]),
    (images(np.zeros((6, 8, 8, 3))), ["(n, height, width, channel)", "transpose(0, 3, 1, 2)"]),
    (images(np.zeros((6, 28, 28, 1), np.uint8)), ["(n, height, width, channel)", "transpose"]),
    (images(np.zeros((6, 32, 48, 4))), ["(n, height, width, channel)", "transpose"]),
    (images(np.zeros((6, 3, 8, 9), int)), ["int64 of shape", "give uint8 (0 to 255) or floats"]),
    (images(np.zeros((6, 8, 8), np.int32)), ["int32 of shape", "give uint8"]),
    (images(np.zeros((6, 3, 8, 9), bool)), ["bool of shape", "give uint8"]),
    (images(np.zeros((6, 3, 8, 9), complex)), ["complex128 of shape", "give uint8"]),
    (images(np.full((6, 3, 8, 9), "a")), ["<U1 of shape", "give uint8"]),
    (images(np.full((6, 3, 8, 9), None)), ["object of shape", "give uint8"]),
    (
        images(spoilt(np.nan)),
        ["train_images: 1 of 6", "first [4, 2, 7, 1] (example, channel, row, column)", "nan"],
    ),
    (images(spoilt(-np.inf)), ["first [4, 2, 7, 1]", "-inf", "mend or remove"]),
    (images(spoilt(1e300)), ["1 of 6 have values that are not finite in float32", "inf"]),
    (images(np.full((6, 8, 8), np.nan)), ["6 of 6", "first [0, 0, 0, 0]"]),
    (arrays(test_images=spoilt(np.nan)), ["test_images: 1 of 6"]),
    (arrays(train_labels=LABELS[:5]), ["6 train_images but 5 train_labels", "one label for each"]),
    (arrays(test_labels=LABELS[:5]), ["6 test_images but 5 test_labels"]),
    (arrays(test_images=IMAGES[..., :8]), ["(3, 8, 9)", "(3, 8, 8)", "must be the same"]),
    (arrays(test_images=IMAGES / 255), ["train_images are uint8, test_images float32"]),
    (arrays(test_images=TOKENS), ["(3, 8, 9)", "(12,)", "must be the same"]),
    (images(-TOKENS), ["tokens that run from -", "number them from 0"]),
    (images(TOKENS + 2**40), ["tokens that run from 1", "number them from 0 to 2147483647"]),
    (labels([1, 2, 3, 1, 2, 3]), ["no example has the label 0", "to 3", "from 0 to 2"]),
    (labels([0, 1, 3, 1, 0, 3]), ["no example has the label 2", "the 3 classes from 0 to 2"]),
    (labels([0, 1, 2, 1, 0, 1_000_000]), ["no example has the label 3", "labels run to 1000000"]),
    (labels([5] * 6), ["no example has the label 0", "the 1 classes"]),
    (labels([0, 1, -1, 1, 0, 2]), ["from -1 to 2", "number the classes from 0"]),
    (labels([0, 1, 2**40, 1, 0, 2]), ["number the classes from 0"]),
    (labels(LABELS.astype(float)), ["float64 of shape (6,)", "labels.astype(int)"]),
    (labels(LABELS == 1), ["bool of shape (6,)", "labels.astype(int)"]),
    (labels(list("abcabc")), ["<U1 of shape (6,)", "whole numbers"]),
    (labels(np.eye(6)), ["(6, 6)", "one-hot rows: labels.argmax(1)"]),
    (labels(LABELS[:, None]), ["(6, 1)", "give one of (n,)"]),
    (labels(np.array(3)), ["shape ()", "give one of (n,)"]),
    (labels([]), ["not be empty"]),
    (arrays(train_labels=[0, 1]), ["train_labels: it is a list", "np.array(...)"]),
    (arrays(test_labels=LABELS + 1), ["test_labels run to 3, train_labels to 2 only"]),
    (fails(OSError("no such disk")), ["failed: OSError: no such disk"]),
    (fails(SystemExit("done")), ["failed: SystemExit: done"]),
    (fails(KeyError("x")), ["failed: KeyError: 'x'"]),
    (fails(FileNotFoundError(2, "No such file", "mnist.npz")), ["FileNotFoundError", "mnist.npz"]),
    (lambda path: None, ["failed: TypeError", "missing 1 required"]),
    (3, ["is no function but int"]),
]


@pytest.mark.parametrize(("returned", "words"), RETURNED)
def test_what_is_no_dataset(monkeypatch, returned, words):
    module = types.ModuleType("made_up")
    module.load = returned if callable(returned) or type(returned) is int else lambda: returned
    monkeypatch.setitem(sys.modules, "made_up", module)
    (line,) = refusal(lambda: own.load("made_up:load", {}))
    says(line, ['"made_up:load"', *words])


TRANSFORMS = [  # an entry of `datasets` beside its source, what the function returns, what is said
    ({}, images(FLOATS * 255), ["pixels: unit", "run from", "pixels: raw"]),
    ({}, images(FLOATS - 0.5), ["pixels: unit", "return floats in [0, 1]"]),
    ({"classes": [3]}, arrays(), ["classes: [3]", "has the labels [0, 1, 2]"]),
    ({"train_images": 7}, arrays(), ["train_images: 7", "from 1 to 6"]),
    ({"train_images_per_class": 3}, arrays(), ["train_images_per_class: 3", "from 1 to 2"]),
    ({"resize": {"method": "block-mean", "size": 4}}, arrays(), ["does not divide the 8x9"]),
    ({"resize": {"method": "wrapped", "size": 4}}, images(FLOATS), ["it needs images of uint8"]),
    ({"resize": {"method": "bilinear", "size": 4}}, images(TOKENS), ["resize: ", "tokens", "null"]),
    ({"whiten": {"regulariser": 1e-5}}, images(TOKENS), ["whiten: ", "gives tokens", "null"]),
]


@pytest.mark.parametrize(("entry", "returned", "words"), TRANSFORMS)
def test_what_a_dataset_cannot_be_made_into(monkeypatch, entry, returned, words):
    module = types.ModuleType("made_up")
    module.load = lambda: returned
    monkeypatch.setitem(sys.modules, "made_up", module)
    entry = {"source": "made_up:load", **entry}
    (line,) = refusal(lambda: datasets.build(entry, log=lambda _: None))
    says(line, words)
