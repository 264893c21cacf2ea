"""Selling's decomposition: exact, non-negative, continuous, and axes for diagonal tensors."""

import numpy as np
import pytest

from limitcycles.theory.fokker_planck.selling import decompose


def rotated(condition, angle):
    c, s = np.cos(angle), np.sin(angle)
    turn = np.moveaxis(np.array([[c, -s], [s, c]]), -1, 0)
    return turn @ np.diag([condition, 1.0]) @ turn.swapaxes(1, 2)


def rebuilt(offsets, weights):
    return np.einsum("nk,nki,nkj->nij", weights, offsets, offsets)


@pytest.mark.parametrize("condition", [1.0, 3.0, 100.0, 1e4, 1e6])
def test_exact_and_non_negative(condition):
    tensors = rotated(condition, np.random.default_rng(1).uniform(0, np.pi, 2000))
    offsets, weights, _ = decompose(tensors)
    assert weights.min() >= 0
    np.testing.assert_allclose(rebuilt(offsets, weights), tensors, atol=1e-12 * condition)
    assert np.abs(offsets).max() <= 2 * np.sqrt(condition) + 1
    first = np.where(offsets[..., 0] != 0, offsets[..., 0], offsets[..., 1])
    assert (first[weights > 0] > 0).all()


def test_diagonal_tensors_give_the_axes():
    offsets, weights, _ = decompose(
        np.array([np.diag([2.0, 5.0]), np.diag([1.0, 0.0]), np.zeros((2, 2))])
    )
    found = [
        {tuple(map(int, e)): w for e, w in zip(*pair, strict=True) if w > 0}
        for pair in zip(offsets, weights, strict=True)
    ]
    assert found == [{(1, 0): 2.0, (0, 1): 5.0}, {(1, 0): 1.0}, {}]


def test_singular_along_a_lattice_direction():
    u = np.array([3.0, -2.0])
    offsets, weights, _ = decompose(np.outer(u, u)[None])
    assert sorted(weights[0])[:2] == [0, 0]
    np.testing.assert_array_equal(offsets[0][weights[0] > 0], [[3, -2]])


def test_weights_are_continuous():
    angle = np.linspace(0, np.pi, 20001)
    offsets, weights, _ = decompose(rotated(50.0, angle))
    for e in np.unique(offsets.reshape(-1, 2), axis=0):
        weight = np.where((offsets == e).all(-1), weights, 0).sum(1)
        assert np.abs(np.diff(weight)).max() < 0.2


def test_one_dimension():
    offsets, weights, _ = decompose(np.array([2.0, 0.0])[:, None, None])
    np.testing.assert_array_equal(offsets[:, :, 0], [[1], [0]])
    np.testing.assert_array_equal(weights, [[2], [0]])


def test_search_stops_at_the_longest_offset():
    u = np.array([1.0, np.sqrt(2)])
    tensors = np.stack([np.outer(u, u), np.eye(2)])
    offsets, _, complete = decompose(tensors, longest=5)
    np.testing.assert_array_equal(complete, [False, True])
    assert np.abs(offsets).max() <= 20
