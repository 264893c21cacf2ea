"""Reduction to a band, against LAPACK on the whole matrix."""

import numpy as np
import pytest
import torch
from helpers import one_thread  # noqa: F401

from limitcycles.diffusion import banded

EPS = np.finfo(float).eps


def symmetric(eigenvalues, seed=0):
    """A matrix with these eigenvalues in random directions."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((len(eigenvalues),) * 2))[0]
    matrix = (turn * eigenvalues) @ turn.T
    return (matrix + matrix.T) / 2


@pytest.mark.parametrize("n", [1, 2, 3, 5, 16, 17, 18, 33, 100, 203])
@pytest.mark.parametrize("width", [1, 4, 16])
def test_eigenvalues_are_lapacks(monkeypatch, n, width):
    monkeypatch.setattr(banded, "WIDTH", width)
    drawn = np.random.default_rng(n).standard_normal((n, n))
    matrix = drawn + drawn.T
    found = banded.eigenvalues(torch.from_numpy(matrix.copy()))
    np.testing.assert_allclose(found, np.linalg.eigvalsh(matrix), rtol=0, atol=50 * n * EPS)


@pytest.mark.parametrize("n", [150, 500])
def test_planted_eigenvalues_of_many_sizes(n):
    planted = np.sort(10.0 ** np.random.default_rng(0).uniform(-18, 0, n))
    found = banded.eigenvalues(torch.from_numpy(symmetric(planted)))
    np.testing.assert_allclose(found, planted, rtol=0, atol=n * EPS)


def test_weights_without_effect_and_a_low_rank(monkeypatch):
    """Rows and columns of zeros, as of a dead unit, and fewer directions than the band is wide."""
    monkeypatch.setattr(banded, "WIDTH", 8)
    planted = np.concatenate([np.zeros(55), [0.5, 1, 1, 1, 3]])
    matrix = np.zeros((100, 100))
    kept = np.random.default_rng(1).permutation(100)[:60]
    matrix[np.ix_(kept, kept)] = symmetric(planted)
    found = banded.eigenvalues(torch.from_numpy(matrix))
    expected = np.concatenate([np.zeros(40), planted])
    np.testing.assert_allclose(found, expected, rtol=0, atol=100 * EPS)
    assert not banded.eigenvalues(torch.zeros(40, 40, dtype=torch.float64)).any()


def test_the_upper_triangle_need_not_be_kept(monkeypatch):
    """The reduction leaves blocks above the diagonal as they were: what is there does not count."""
    monkeypatch.setattr(banded, "WIDTH", 4)
    matrix = symmetric(np.arange(64.0))
    part = 64 // banded.PANELS
    spoiled = matrix.copy()
    for start in range(0, 64, part):
        spoiled[start : start + part, start + part :] = np.nan
    found = banded.eigenvalues(torch.from_numpy(spoiled))
    np.testing.assert_allclose(found, np.arange(64.0), rtol=0, atol=64 * 64 * EPS)


def test_no_second_matrix_is_made():
    """Only slices of the width of the band: the largest tensor made is far below the matrix."""
    n, largest = 1200, 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple) else [result]:
                if tensor.untyped_storage().data_ptr() != matrix.untyped_storage().data_ptr():
                    largest = max(largest, tensor.untyped_storage().nbytes())
            return result

    matrix = torch.from_numpy(symmetric(np.linspace(0, 1, n)))
    with Watch():
        banded.eigenvalues(matrix)
    assert 0 < largest <= 2 * 8 * banded.WIDTH * n
