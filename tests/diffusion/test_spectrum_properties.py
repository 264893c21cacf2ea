"""Spectra of any rows in any array against sums with more digits than float64."""

import numpy as np
import pytest
import torch
from helpers import one_thread  # noqa: F401
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from limitcycles.diffusion.krylov import matrix_free
from limitcycles.diffusion.matrix import Rows, SpectrumError, exact, singular
from limitcycles.diffusion.spectrum import summarise
from limitcycles.theory.batch_noise import batch_noise, predicted_covariance

LAYOUTS = {
    "C order": np.ascontiguousarray,
    "Fortran order": np.asfortranarray,
    "backwards": lambda G: G[::-1].copy()[::-1],
    "backwards in both": lambda G: G[::-1, ::-1].copy()[::-1, ::-1],
    "every second column": lambda G: np.repeat(G, 2, axis=1)[:, ::2],
    "read-only": lambda G: np.require(G.copy(), requirements="C"),
    "other byte order": lambda G: G.astype(G.dtype.newbyteorder()),
    "torch": torch.tensor,
    "torch, transposed": lambda G: torch.tensor(G.T.copy()).T,
    "torch, with a gradient": lambda G: torch.tensor(G).requires_grad_(),
    "list": lambda G: G.tolist(),
}


@st.composite
def rows(draw, largest=9):
    """(N, d) with repeated rows, rows of zero, a mean and a scale; float64 or float32."""
    shape = draw(st.tuples(st.integers(2, largest), st.integers(1, largest)))
    entries = st.floats(-4, 4, width=16)
    G = draw(arrays.arrays(np.float64, shape, elements=entries, fill=st.nothing()))
    G = G[draw(st.lists(st.integers(0, shape[0] - 1), min_size=2, max_size=largest))]
    G = G * draw(st.sampled_from([1.0, 0.0, 1e-6])) ** (np.arange(len(G)) % 2)[:, None]
    G = G + draw(st.sampled_from([0.0, 1.0, -30.0, 1e3, 8e6, 1e12]))
    if draw(st.booleans()):
        return G.astype(np.float32)
    return G * 2.0 ** draw(st.sampled_from([0, 0, -490, -270, -40, 40, 270, 440]))


def oracle(G):
    """(trace, eigenvalues (d,), unit): of G/unit, two passes in extended precision."""
    unit = 2.0 ** np.frexp(np.abs(G).max())[1] if G.any() else 1.0
    wide = G.astype(np.longdouble) / np.longdouble(unit)
    centred = wide - wide.mean(0)
    sigma = np.linalg.svd(centred.astype(float), compute_uv=False) / np.sqrt(len(G))
    values = np.zeros(G.shape[1])
    values[: min(G.shape)] = sigma**2
    return float((centred**2).sum() / len(G)), values, unit


def differ(G):
    """Whether rows differ by more than the last digits; equal ones have none of it."""
    gap = np.abs(G - G[0]).max(0)
    assume((gap == 0).all() or (gap > 32 * np.finfo(G.dtype).eps * np.abs(G).max(0)).any())
    return bool(gap.any())


@settings(max_examples=120)
@given(rows(), st.sampled_from(sorted(LAYOUTS)), st.sampled_from([100, 0]))
def test_any_rows_in_any_array(G, layout, memory_mib):
    source = LAYOUTS[layout](G)
    if not differ(G):
        with pytest.raises(SpectrumError, match="all per-sample gradients are equal"):
            Rows(source, memory_mib=memory_mib)
        return
    trace, values, unit = oracle(G)
    taken = Rows(source, memory_mib=memory_mib)
    found = exact(taken)
    assert found.trace / unit / unit == pytest.approx(trace, rel=1e-11)
    np.testing.assert_allclose(found.eigenvalue / unit / unit, values, rtol=0, atol=1e-12 * trace)
    assert (found.eigenvalue >= 0).all()
    size = np.linalg.norm(values)
    assert found.frobenius / unit / unit == pytest.approx(size, rel=1e-11)
    squares = (singular(taken) / unit) ** 2
    np.testing.assert_allclose(squares, values[: len(squares)], rtol=0, atol=1e-12 * trace)


@settings(max_examples=40)
@given(rows())
def test_what_is_read_off_does_not_know_the_unit(G):
    assume(differ(G))
    trace, values, unit = oracle(G)
    assume(trace > 0)
    read = summarise(exact(Rows(G))).attrs
    d, size = len(values), np.linalg.norm(values)
    assert read["participation_ratio"] == pytest.approx((trace / size) ** 2, rel=1e-10)
    assert read["mean_all"] / unit / unit == pytest.approx(trace / d, rel=1e-10)
    assert read["std_all"] / unit / unit == pytest.approx(values.std(), rel=1e-6, abs=1e-7 * trace)
    share = values[values > 1e-11 * values[0]] / trace
    assert read["effective_rank"] == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-6)
    cut = d * 2.0**-23 * values[0]
    if not (np.abs(values - cut) < 1e-3 * cut).any():
        assert read["rank_float32"] == (values > cut).sum()


@settings(max_examples=40)
@given(rows(), st.randoms(use_true_random=False), st.integers(2, 3))
def test_order_and_copies_of_the_rows_do_not_count(G, random, copies):
    assume(differ(G))
    order = list(range(copies * len(G)))
    random.shuffle(order)
    found, again = (exact(Rows(g)) for g in (G, np.tile(G, (copies, 1))[order]))
    assert again.trace == pytest.approx(found.trace, rel=1e-11)
    atol = 1e-12 * found.trace
    np.testing.assert_allclose(again.eigenvalue, found.eigenvalue, rtol=0, atol=atol)


@settings(max_examples=15)
@given(
    st.integers(130, 160),
    st.integers(130, 160),
    st.sampled_from([0.0, 5.0, 1e3, 8e6]),
    st.sampled_from([-440, 0, 440]),
    st.integers(0, 2**32 - 1),
)
def test_leading_eigenvalues_lie_within_their_bounds(samples, weights, mean, exponent, seed):
    rng = np.random.default_rng(seed)
    G = rng.normal(size=(samples, weights)) * 0.8 ** np.arange(weights)
    G = (G[rng.integers(0, samples, samples)] + mean) * 2.0**exponent
    trace, values, unit = oracle(G)
    found = matrix_free(Rows(G), leading=6, tolerance=1e-3, seed=seed % 1000)
    count = len(found.eigenvalue)
    error = np.abs(found.eigenvalue / unit / unit - values[:count])
    assert (error <= found.error_bound / unit / unit + 1e-12 * trace).all()
    assert found.trace / unit / unit == pytest.approx(trace, rel=1e-11)
    assert found.frobenius / unit / unit == pytest.approx(np.linalg.norm(values), rel=1e-3)


@settings(max_examples=40)
@given(rows(), st.integers(1, 3))
def test_covariance_of_batches_does_not_know_mean_nor_unit(G, batch):
    assume(differ(G))
    trace, _, unit = oracle(G)
    predicted = np.trace(predicted_covariance(G, batch, "with-replacement"))
    assert predicted / unit / unit == pytest.approx(trace / batch, rel=1e-11)
    noise = batch_noise(G, batch, draws=40, claim="with-replacement", seed=0, replications=3)
    plain = (G.astype(float) - G[0].astype(float)) / unit
    other = batch_noise(plain, batch, draws=40, claim="with-replacement", seed=0, replications=3)
    assert noise.ratio == pytest.approx(other.ratio, rel=1e-9)
    assert noise.distance == pytest.approx(other.distance, rel=1e-9, abs=1e-7)


def test_a_mean_far_above_the_noise():
    """The sum of variances of 8e6 + noise is 60, to all its digits."""
    G = 8e6 + np.random.default_rng(1).normal(size=(300, 60))
    expected = G.var(0).sum()
    assert exact(Rows(G)).trace == pytest.approx(expected, rel=1e-13)
    norms = (G**2).sum(1)
    assert exact(Rows(G, square_norm=norms)).trace == pytest.approx(expected, rel=1e-13)
    assert exact(Rows(1e9 * G)).trace == pytest.approx(1e18 * expected, rel=1e-8)


def test_single_precision_is_not_rounded_again_where_the_mean_is_taken_off():
    G = (30 + np.random.default_rng(1).normal(size=(20, 9))).astype(np.float32)
    centred = G.astype(float) - G.astype(float).mean(0)
    expected = np.linalg.eigvalsh(centred.T @ centred / 20)[::-1]
    for memory_mib in (0, 100):
        found = exact(Rows(G, memory_mib=memory_mib)).eigenvalue
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_precisions():
    whole = np.random.default_rng(0).integers(-100, 100, (20, 5))
    expected = exact(Rows(whole.astype(float))).eigenvalue
    for kind in (np.int8, np.int64, np.float16, np.float32):
        np.testing.assert_allclose(exact(Rows(whole.astype(kind))).eigenvalue, expected, rtol=1e-13)
    half = torch.tensor(whole).to(torch.bfloat16)
    np.testing.assert_allclose(exact(Rows(half)).eigenvalue, expected, rtol=1e-13)
    assert Rows(whole.astype(np.float16)).dtype == torch.float32


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros(4), r"\(N, d\).*not \(4,\)"),
        (np.zeros((4, 0)), r"d ≥ 1, not \(4, 0\)"),
        (np.zeros((0, 4)), "at least two gradients, not 0"),
        (np.zeros((3, 4), complex), "real numbers, not complex128"),
        (np.array([["a"], ["b"]]), "real numbers, not <U1"),
        (torch.zeros(3, 4, dtype=torch.complex64), "real numbers, not torch.complex64"),
        (1e-170 * np.eye(4), r"1e-170, so that D.*outside the range"),
        (1e170 * np.eye(4), r"1e\+170, so that D.*outside the range"),
        (np.array([[1.0], [np.nan]]), "NaN or infinite"),
        (np.array([[1e200], [np.inf]]), "NaN or infinite"),
    ],
)
def test_arrays_that_hold_no_gradients(source, message):
    with pytest.raises(SpectrumError, match=message):
        Rows(source)
