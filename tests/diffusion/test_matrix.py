"""The spectrum of D against brute force."""

import numpy as np
import pytest
import torch
from helpers import SAMPLES, SPECTRA, WEIGHTS, fitted, gradients, one_thread  # noqa: F401

from limitcycles.diffusion import matrix as diffusion
from limitcycles.diffusion.matrix import Rows, SpectrumError, exact, singular

EPS = np.finfo(float).eps


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 7 rows, so that a few dozen rows already make several blocks."""
    monkeypatch.setattr(diffusion, "ROWS", 7)


def by_double_loop(rows):
    """D entry by entry, from its definition (Eq. 2)."""
    samples, weights = rows.shape
    mean = rows.mean(0)
    matrix = np.empty((weights, weights))
    for i in range(weights):
        for j in range(weights):
            matrix[i, j] = np.sum(rows[:, i] * rows[:, j]) / samples - mean[i] * mean[j]
    return matrix


def random_rows(samples, weights, mean=0.5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((samples, weights)) * rng.uniform(0.1, 2, weights) + mean


class TestExact:
    @pytest.mark.parametrize("memory_mib", [100, 0])
    def test_covariance_is_the_definition(self, small_blocks, memory_mib):
        rows = random_rows(30, 12)
        matrix = diffusion.covariance(Rows(rows, memory_mib=memory_mib))
        np.testing.assert_allclose(matrix.numpy(), by_double_loop(rows), rtol=0, atol=1e-13)

    @pytest.mark.parametrize("samples", [40, 12, 11, 5])
    @pytest.mark.parametrize("memory_mib", [100, 0])
    def test_eigenvalues_are_numpys(self, small_blocks, samples, memory_mib):
        rows = random_rows(samples, 12)
        spectrum = exact(Rows(rows, memory_mib=memory_mib))
        expected = np.linalg.eigvalsh(by_double_loop(rows))[::-1]
        assert spectrum.method == "exact"
        assert spectrum.eigenvalue.shape == spectrum.error_bound.shape == (12,)
        np.testing.assert_allclose(spectrum.eigenvalue, expected, rtol=0, atol=1e-13)
        assert (np.diff(spectrum.eigenvalue) <= 0).all()
        assert (spectrum.eigenvalue >= 0).all()
        assert (spectrum.samples, spectrum.weights) == (samples, 12)

    @pytest.mark.parametrize("samples", [30, 11])
    def test_a_large_network_is_read_in_smaller_blocks(self, monkeypatch, samples):
        monkeypatch.setattr(diffusion, "BLOCK_BYTES", 4 * 8 * 12)  # four rows of 12 in float64
        rows = random_rows(samples, 12)
        blocks = Rows(rows, memory_mib=0)
        assert {len(block) for block in blocks} == {4, samples % 4}
        found = exact(blocks).eigenvalue
        np.testing.assert_allclose(found, exact(Rows(rows)).eigenvalue, rtol=0, atol=1e-13)

    def test_fewer_samples_than_weights_leave_zeros(self):
        spectrum = exact(Rows(random_rows(5, 12)))
        assert (spectrum.eigenvalue[:4] > 1e-3).all()
        assert (spectrum.eigenvalue[4:] <= spectrum.error_bound[4:]).all()
        assert (spectrum.eigenvalue[5:] == 0).all()

    @pytest.mark.parametrize("samples", [60, 20])
    def test_planted_eigenvalues_lie_within_their_bound(self, samples):
        planted = np.zeros(40)
        planted[:15] = 10.0 ** -np.arange(15)
        rows = gradients(planted[: min(40, samples - 1)], samples, mean=2)
        spectrum = exact(Rows(rows))
        count = rows.shape[1]
        # The rows themselves are rounded: a relative 1e-16 of their length √(5 tr D).
        error = spectrum.error_bound + 10 * EPS * np.sqrt(5 * planted[:count])
        assert (np.abs(spectrum.eigenvalue - planted[:count]) <= error).all()

    @pytest.mark.parametrize("samples", [50, 8])
    def test_trace_and_frobenius_norm(self, samples):
        rows = random_rows(samples, 20)
        matrix = by_double_loop(rows)
        spectrum = exact(Rows(rows))
        assert spectrum.trace == pytest.approx(np.trace(matrix), rel=1e-13)
        assert spectrum.frobenius == pytest.approx(np.linalg.norm(matrix), rel=1e-13)
        assert spectrum.trace == pytest.approx(spectrum.eigenvalue.sum(), rel=1e-13)
        assert spectrum.floor == 0

    def test_single_precision_rows_are_taken_as_they_are(self):
        rows = random_rows(50, 20).astype(np.float32)
        expected = np.linalg.eigvalsh(by_double_loop(rows.astype(float)))[::-1]
        np.testing.assert_allclose(exact(Rows(rows)).eigenvalue, expected, rtol=0, atol=1e-13)

    @pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
    def test_rows_of_zero_count_as_examples(self, kind):
        rows = random_rows(30, 8)
        rows[::3] = 0
        spectrum = exact(Rows(kind(rows)))
        expected = np.linalg.eigvalsh(by_double_loop(rows))[::-1]
        np.testing.assert_allclose(spectrum.eigenvalue, expected, rtol=0, atol=1e-13)

    def test_a_large_mean_does_not_spoil_the_small_eigenvalues(self):
        planted = 10.0 ** -np.arange(8)
        spectrum = exact(Rows(gradients(planted, 30, mean=1e3)))
        # Rows of length 1e3 carry a rounding of 1e3 eps: 1e-13 relative to √λ_1.
        np.testing.assert_allclose(spectrum.eigenvalue, planted, rtol=1e-8)
        assert spectrum.trace == pytest.approx(planted.sum(), rel=1e-9)


class TestSingular:
    @pytest.mark.parametrize("samples", [40, 9])
    def test_squares_are_the_eigenvalues(self, small_blocks, samples):
        rows = random_rows(samples, 12)
        values = singular(Rows(rows))
        assert values.shape == (min(samples, 12),)
        expected = np.linalg.eigvalsh(by_double_loop(rows))[::-1][: len(values)]
        np.testing.assert_allclose(values**2, expected, rtol=0, atol=1e-13)

    def test_eigenvalues_below_the_reach_of_d_are_kept(self, small_blocks):
        planted = 10.0 ** -np.arange(0, 24, 2)
        values = singular(Rows(gradients(planted, 40)))
        np.testing.assert_allclose(values**2, planted, rtol=1e-2)
        formed = exact(Rows(gradients(planted, 40))).eigenvalue
        assert not np.allclose(formed, planted, rtol=1e-2, atol=0)

    def test_exact_zeros_stand_apart(self, small_blocks):
        # Row sums of zero: one direction in which no gradient has a component.
        rows = random_rows(40, 10)
        rows -= rows.mean(1, keepdims=True)
        values = singular(Rows(rows))
        assert np.sum(values < 1e-14 * values[0]) == 1
        assert values[-2] > 1e-2 * values[0]


class TestNegligibleRows:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("share", [1e-9, 1e-5])
    def test_left_out_is_respected(self, share, dtype):
        rows = fitted(dtype)
        norms = (rows.astype(float) ** 2).sum(1)
        left = Rows(rows, negligible=share)
        assert 0 < (~left.kept).sum() < SAMPLES
        assert (~left.kept)[:20].all()
        assert norms[~left.kept].max() <= norms[left.kept].min()
        assert left.left_out == pytest.approx(norms[~left.kept].sum() / SAMPLES, rel=1e-6)
        assert left.left_out <= share * norms.mean()
        assert left.left_out > 0

    def test_the_product_is_that_of_the_kept_rows(self):
        rows = fitted(np.float64)
        left = Rows(rows, negligible=1e-5)
        mean = rows.mean(0)
        kept = rows[left.kept]
        matrix = kept.T @ kept / SAMPLES - np.outer(mean, mean)
        vectors = np.random.default_rng(0).standard_normal((WEIGHTS, 5))
        product = left.multiply(torch.from_numpy(vectors)).numpy()
        np.testing.assert_allclose(product, matrix @ vectors, rtol=0, atol=1e-13)
        whole = rows.T @ rows / SAMPLES - np.outer(mean, mean)
        lost = np.linalg.eigvalsh(whole - matrix)
        assert lost.min() >= -1e-15
        assert lost.sum() == pytest.approx(left.left_out, rel=1e-6)

    def test_the_exact_methods_refuse(self):
        rows = Rows(fitted(np.float64), negligible=1e-5)
        for method in (exact, singular, diffusion.covariance, diffusion.gram):
            with pytest.raises(SpectrumError, match="negligible = 0"):
                method(rows)

    def test_nothing_is_left_out_unless_asked_for(self):
        rows = Rows(fitted(np.float64))
        assert rows.kept.all()
        assert rows.left_out == 0


class TestReading:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_streaming_gives_the_same_bits(self, small_blocks, dtype):
        rows = gradients(SPECTRA["exponential"], SAMPLES, mean=1, dtype=dtype)
        resident, streamed = (Rows(rows, memory_mib=m) for m in (100, 0))
        assert resident.resident is not None
        assert streamed.resident is None
        assert np.array_equal(exact(resident).eigenvalue, exact(streamed).eigenvalue)

    def test_streaming_leaves_out_the_same_rows(self, monkeypatch):
        monkeypatch.setattr(diffusion, "ROWS", 64)
        rows = fitted(np.float64)
        resident, streamed = (Rows(rows, memory_mib=m, negligible=1e-5) for m in (100, 0))
        assert np.array_equal(resident.kept, streamed.kept)
        vectors = torch.eye(WEIGHTS, 4, dtype=torch.float64)
        torch.testing.assert_close(
            resident.multiply(vectors), streamed.multiply(vectors), rtol=0, atol=1e-15
        )

    def test_known_norms_are_used(self):
        rows = random_rows(30, 8)
        norms = (rows**2).sum(1)
        one, other = exact(Rows(rows)), exact(Rows(rows, square_norm=norms))
        assert one.trace == pytest.approx(other.trace, rel=1e-14)
        assert np.array_equal(one.eigenvalue, other.eigenvalue)


class TestErrors:
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_value_that_is_not_finite(self, value):
        rows = random_rows(30, 8)
        rows[17, 3] = value
        with pytest.raises(SpectrumError, match="NaN or infinite"):
            Rows(rows)

    @pytest.mark.parametrize("damage", [np.nan, 0.0, 1e-3])
    def test_rows_that_were_damaged_after_their_norms_were_taken(self, damage):
        rows = random_rows(30, 8)
        norms = (rows**2).sum(1)
        rows[17, 3] = damage
        with pytest.raises(SpectrumError, match="gradient 17 does not have the norm"):
            Rows(rows, square_norm=norms)

    @pytest.mark.parametrize(
        ("gradients", "named"),
        [
            (np.ma.masked_less(np.arange(12.0).reshape(4, 3), 2), "masked entries.*filled"),
            (2**60 + np.arange(12).reshape(4, 3), "int64 run from 1152921504606846976 .*2\\^53"),
            (torch.tensor(2**60 + np.arange(12).reshape(4, 3)), r"torch.int64 .*2\^53"),
            (torch.eye(4).to_sparse(), r"torch.sparse_coo: give the array .to_dense"),
            ([[1.0], [1.0, 2.0]], "no array of rows .*inhomogeneous"),
            (np.uint64(2**63) + np.arange(12, dtype=np.uint64).reshape(4, 3), "uint64 .*2\\^53"),
        ],
    )
    def test_numbers_that_are_not_what_they_seem(self, gradients, named):
        with pytest.raises(SpectrumError, match=named):
            Rows(gradients)

    @pytest.mark.parametrize("norms", [np.ones(29), np.ones((30, 1)), 1.0])
    def test_norms_of_another_shape(self, norms):
        with pytest.raises(SpectrumError, match=r"square_norm has shape .*30 rows have \(30,\)"):
            Rows(random_rows(30, 8), square_norm=norms)

    def test_one_row(self):
        with pytest.raises(SpectrumError, match="at least two gradients, not 1"):
            Rows(random_rows(1, 8))

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("samples", [2, 3, 7, 30, 999])
    def test_equal_rows(self, samples, dtype):
        row = np.random.default_rng(samples).standard_normal((1, 50)).astype(dtype)
        with pytest.raises(SpectrumError, match="equal"):
            Rows(np.repeat(row, samples, axis=0))

    def test_rows_of_zero_only(self):
        with pytest.raises(SpectrumError, match="equal"):
            Rows(np.zeros((5, 4)))

    def test_rows_that_are_almost_equal_are_taken(self):
        rows = 1 + 1e-6 * random_rows(40, 50)
        spectrum = exact(Rows(rows))
        assert spectrum.trace == pytest.approx(rows.var(0).sum(), rel=1e-9)
        assert spectrum.eigenvalue.sum() == pytest.approx(rows.var(0).sum(), rel=1e-9)
