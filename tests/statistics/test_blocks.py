"""Series in blocks."""

import numpy as np
import pytest
import xarray as xr

from limitcycles.statistics.blocks import SeriesError, blocks, per_weight, series_of


@pytest.mark.parametrize("wrap", [np.asarray, lambda w: xr.DataArray(w, dims=("epoch", "weight"))])
def test_blocks_are_the_columns(wrap):
    weights = np.random.default_rng(0).normal(size=(7, 150)).astype(np.float32)
    parts = list(blocks(wrap(weights)))
    assert [p.shape for p in parts] == [(64, 7), (64, 7), (22, 7)]
    assert {p.dtype for p in parts} == {np.dtype(np.float64)}
    np.testing.assert_array_equal(np.concatenate(parts).T, weights)


def test_statistics_are_in_the_order_of_the_weights():
    weights = np.arange(6.0 * 100).reshape(6, 100)
    np.testing.assert_array_equal(per_weight(weights, lambda s: s[:, 0]), np.arange(100.0))


def test_what_is_not_finite_is_named():
    weights = np.zeros((5, 100))
    weights[3, 71] = np.inf
    with pytest.raises(SeriesError, match="weight 71 "):
        list(blocks(weights))


@pytest.mark.parametrize("shape", [(5,), (1, 4), (5, 0)])
def test_shapes_without_series(shape):
    with pytest.raises(SeriesError, match="epoch"):
        list(blocks(np.zeros(shape)))


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((2, 1)), np.full((2, 3), np.nan)])
def test_values_that_are_no_series(values):
    with pytest.raises(SeriesError):
        series_of(values)
