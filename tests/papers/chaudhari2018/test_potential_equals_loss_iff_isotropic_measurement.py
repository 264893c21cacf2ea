"""Lemma 6 on a few systems, against moments of Gaussians and sums made by hand."""

import numpy as np
import pytest
from helpers import one_thread, settings_read  # noqa: F401

from limitcycles.judging import measuring
from limitcycles.papers.chaudhari2018.potential_equals_loss_iff_isotropic import measure

SETTINGS = settings_read("potential-equals-loss-iff-isotropic", seed=3, cells=64, systems=3)


@pytest.fixture(scope="module")
def found():
    return measuring.of_theory("potential-equals-loss-iff-isotropic", SETTINGS)


def test_a_residual_is_what_least_squares_leave():
    rng = np.random.default_rng(0)
    phi, loss, weights = rng.random((3, 50))
    weights /= weights.sum()
    columns = np.sqrt(weights)[:, None] * np.stack([loss, np.ones(50)], 1)
    left = np.linalg.lstsq(columns, np.sqrt(weights) * phi, rcond=None)[1][0]
    spread = np.sum(weights * (phi - np.sum(weights * phi)) ** 2)
    expected = np.sqrt(left / spread)
    assert measure.affine_residual(phi, loss, weights) == pytest.approx(expected, rel=1e-10)
    assert measure.affine_residual(3 - 2 * loss, loss, weights) < 1e-12


def test_linear_numbers_are_those_of_a_gaussian_sample():
    F, D = np.array([[2.0, 1.0], [1.0, 2.0]]), np.diag([1.0, 3.0])
    sigma = np.array([[5 / 6, -2 / 3], [-2 / 3, 11 / 6]])  # Fσ + σF = 2D, by hand
    np.testing.assert_allclose(F @ sigma + sigma @ F, 2 * D, atol=1e-12)
    x = np.random.default_rng(0).multivariate_normal([0, 0], sigma, 400_000)
    precision = np.linalg.inv(sigma)
    phi = np.einsum("ni,ij,nj->n", x, precision, x) / 2
    loss = np.einsum("ni,ij,nj->n", x, F, x) / 2
    force = -x @ F + x @ precision @ D
    numbers = measure.linear_numbers(F, D)
    ratio = np.sqrt((force**2).sum() / ((x @ F) ** 2).sum())
    expected = np.sqrt(1 - np.corrcoef(phi, loss)[0, 1] ** 2)
    assert numbers["force"] == pytest.approx(ratio, rel=5e-3)
    assert numbers["residual"] == pytest.approx(expected, rel=5e-3)


def test_commuting_systems_have_the_residual_of_their_anisotropy(found):
    """Σ = T F⁻¹D: the residual is √(1 − (tr D)²/(d tr D²)), and that is the anisotropy."""
    mine = found["random"].sel(family="commuting")
    np.testing.assert_allclose(mine["residual"], mine["anisotropy"], rtol=1e-8)
    assert float(mine["force"].max()) < 1e-12
    assert float(mine["commutator"].max()) < 1e-12


def test_families_are_what_they_are_called(found):
    drawn = found["random"]
    assert dict(drawn.sizes) == {"family": 3, "dimension": 3, "system": 3}
    assert float(drawn["anisotropy"].sel(family="isotropic").max()) < 1e-12
    assert float(drawn["residual"].sel(family="isotropic").max()) < 1e-12
    assert float(drawn["commutator"].sel(family="non-commuting").min()) > 1e-3
    assert float(drawn["force"].sel(family="non-commuting").min()) > 1e-3


def test_grid_and_closed_form_agree(found):
    named = found["named"]
    known = named.sel(system=named["residual_exact"].notnull())
    assert known.sizes["system"] == 9
    for key in ("residual", "force"):
        apart = np.abs(known[f"{key}_grid"] - known[f"{key}_exact"])
        assert (apart <= known[f"{key}_error"] + 1e-9).all()
        assert float(apart.max()) < 0.03


def test_what_sympy_says(found):
    named = found["named"].to_dataframe()
    assert named.loc["rotationally_invariant", ["proportional", "no_force"]].tolist() == [1, 1]
    assert named.loc["linear_commuting", ["proportional", "no_force"]].tolist() == [0, 1]
    assert named.loc["linear_non_commuting", ["proportional", "no_force"]].tolist() == [0, 0]
    assert named.loc["gradient_double_well_tensor", "no_force"] == -1
    controls = found["controls"]
    assert int(controls["proof"]) == int(controls["no_gradient"]) == 1
    assert float(controls["shuffled_residual"]) > 0.9


def test_equal_settings_give_equal_numbers(found):
    again, other = measure._random(SETTINGS), measure._random(SETTINGS | {"seed": 4})
    assert again.identical(found["random"])
    assert not np.array_equal(other["force"], found["random"]["force"])
