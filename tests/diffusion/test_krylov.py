"""The matrix-free method against the exact one."""

import numpy as np
import pytest
from helpers import SAMPLES, SPECTRA, WEIGHTS, fitted, gradients, one_thread  # noqa: F401

from limitcycles.diffusion import matrix
from limitcycles.diffusion.krylov import matrix_free
from limitcycles.diffusion.matrix import Rows, SpectrumError, exact
from limitcycles.diffusion.spectrum import rank
from limitcycles.runtime.errors import LimitcyclesError

LEADING, TOLERANCE = 20, 1e-3


def compare(rows, threshold=0.0, leading=LEADING, tolerance=TOLERANCE, seed=1, **more):
    """Exact and matrix-free spectrum, after the checks that hold for any rows."""
    oracle = exact(Rows(rows))
    found = matrix_free(
        Rows(rows, **more), leading=leading, tolerance=tolerance, seed=seed, threshold=threshold
    )
    count = len(found.eigenvalue)
    expected = oracle.eigenvalue[:count]
    difference = np.abs(found.eigenvalue - expected)
    assert found.method == "matrix-free"
    assert found.error_bound.shape == (count,)
    assert (np.diff(found.eigenvalue) <= 0).all()
    assert (difference <= found.error_bound + oracle.error_bound[0]).all()
    assert found.floor >= oracle.eigenvalue[count:].max(initial=0) - oracle.error_bound[0]
    assert found.trace == pytest.approx(oracle.trace, rel=1e-14)
    assert found.trace == pytest.approx(oracle.eigenvalue.sum(), rel=1e-9)
    error = found.frobenius_error + oracle.frobenius_error
    assert abs(found.frobenius - oracle.frobenius) <= 4 * error
    assert found.frobenius_error < 1e-2 * found.frobenius
    return oracle, found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mean", [0, 1, 10])
@pytest.mark.parametrize("name", SPECTRA)
def test_leading_eigenvalues(name, mean, dtype):
    rows = gradients(SPECTRA[name], SAMPLES, mean=mean, dtype=dtype)
    oracle, found = compare(rows)
    assert len(found.eigenvalue) >= LEADING
    relative = found.eigenvalue[:LEADING] / oracle.eigenvalue[:LEADING] - 1
    assert np.abs(relative).max() <= TOLERANCE


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "threshold", "count"),
    [
        ("power law", 7e-4, 37),
        ("exponential", 1e-4, 74),
        ("clusters", 3e-3, 25),
        ("planted rank and floor", 1e-4, 20),
        ("planted rank and high floor", 5e-2, 20),
    ],
)
def test_rank_at_the_threshold_is_complete(name, threshold, count, dtype):
    rows = gradients(SPECTRA[name], SAMPLES, mean=1, dtype=dtype)
    oracle, found = compare(rows, threshold)
    assert found.floor < threshold * found.eigenvalue[0]
    assert rank(oracle, threshold) == count
    assert rank(found, threshold) == count


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threshold", [0.0, 1e-4])
def test_a_rank_below_what_is_asked_for(dtype, threshold):
    planted = np.concatenate([np.linspace(1, 0.1, 20), np.zeros(WEIGHTS - 20)])
    oracle, found = compare(gradients(planted, SAMPLES, dtype=dtype), threshold, leading=40)
    assert len(found.eigenvalue) >= 20
    np.testing.assert_allclose(found.eigenvalue[:20], oracle.eigenvalue[:20], rtol=TOLERANCE)
    assert (found.eigenvalue[20:] <= found.error_bound[20:] + 1e-12).all()
    if threshold:
        assert rank(found, threshold) == rank(oracle, threshold) == 20


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fewer_samples_than_weights(dtype):
    rows = gradients(SPECTRA["power law"][:200], 220, mean=1, dtype=dtype)
    wide = np.concatenate([rows, np.zeros((220, 300), dtype)], axis=1)
    oracle, found = compare(wide, threshold=2e-3)
    assert rank(found, 2e-3) == rank(oracle, 2e-3) == 22


@pytest.mark.parametrize("name", ["power law", "exponential", "tight clusters"])
def test_bounds_hold_on_random_draws(name):
    """Rows of which the eigenvalues are not planted but drawn, at loose and at sharp tolerance."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        turn = np.linalg.qr(rng.standard_normal((WEIGHTS, WEIGHTS)))[0]
        rows = rng.standard_normal((SAMPLES, WEIGHTS)) * np.sqrt(SPECTRA[name]) @ turn.T
        oracle, found = compare(rows, tolerance=[1e-2, 1e-3, 1e-4, 1e-5][seed], seed=seed)
        # What is bounded is not far below its bound either: the bounds are not empty words.
        assert found.error_bound[0] <= 0.1 * oracle.eigenvalue[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("share", [1e-9, 1e-5])
def test_bounds_hold_where_rows_are_left_out(share, dtype):
    rows = fitted(dtype)
    _, found = compare(rows, tolerance=1e-2, negligible=share)
    assert (found.error_bound >= Rows(rows, negligible=share).left_out).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_streaming_gives_the_same_bits(monkeypatch, dtype):
    monkeypatch.setattr(matrix, "ROWS", 64)
    rows = gradients(SPECTRA["exponential"], SAMPLES, mean=1, dtype=dtype)
    resident, streamed = (Rows(rows, memory_mib=m) for m in (100, 0))
    one, other = (matrix_free(r, leading=20, seed=3) for r in (resident, streamed))
    assert np.array_equal(one.eigenvalue, other.eigenvalue)
    assert np.array_equal(one.error_bound, other.error_bound)
    assert (one.frobenius, one.trace) == (other.frobenius, other.trace)


def test_a_seed_decides_everything():
    rows = gradients(SPECTRA["power law"], SAMPLES, dtype=np.float32)
    first, again, other = (matrix_free(Rows(rows), leading=20, seed=s) for s in (5, 5, 6))
    assert np.array_equal(first.eigenvalue, again.eigenvalue)
    assert (first.frobenius, first.floor) == (again.frobenius, again.floor)
    assert not np.array_equal(first.eigenvalue, other.eigenvalue[: len(first.eigenvalue)])


class TestErrors:
    def test_too_many_leading(self):
        rows = Rows(np.random.default_rng(0).standard_normal((30, 50)))
        with pytest.raises(SpectrumError, match=r"^leading: 16 .*diffusion\.exact") as error:
            matrix_free(rows, leading=16)
        assert isinstance(error.value, LimitcyclesError)

    def test_a_flat_spectrum_cannot_be_resolved(self):
        rows = np.random.default_rng(0).standard_normal((400, 200))
        with pytest.raises(SpectrumError, match=r"the tolerance 1e-06.*diffusion\.exact"):
            matrix_free(Rows(rows), leading=60, tolerance=1e-6)

    def test_a_threshold_below_what_half_of_the_dimensions_resolve(self):
        rows = np.random.default_rng(0).standard_normal((500, 400)) * np.logspace(0, -2, 400)
        said = (
            r"\(20 are asked for\) reach .*threshold of 1e-07 times the largest.*diffusion\.exact"
        )
        with pytest.raises(SpectrumError, match=said):
            matrix_free(Rows(rows), leading=20, threshold=1e-7)

    def test_precision_that_does_not_reach_the_tolerance(self):
        rows = gradients(SPECTRA["power law"], SAMPLES, mean=5, dtype=np.float32)
        with pytest.raises(SpectrumError, match=r"tolerance 1e-07.*torch\.float32 allows no more"):
            matrix_free(Rows(rows), leading=20, tolerance=1e-7, threshold=1e-5)

    def test_very_few_weights(self):
        rows = gradients(10.0 ** -np.arange(5), 40)
        found = matrix_free(Rows(rows), leading=2)
        np.testing.assert_allclose(found.eigenvalue[:2], [1, 0.1], rtol=1e-4)
