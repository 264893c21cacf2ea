"""The force of linear systems and of Example 19 against formulas worked out by hand."""

import numpy as np
import pytest
from helpers import one_thread, settings_read  # noqa: F401

from limitcycles.papers.chaudhari2018.conservative_force import measure
from limitcycles.theory import systems

SETTINGS = settings_read("conservative-force", seed=3, cells=64)


def one(name, cells=64):
    return measure._one(measure.build(name), SETTINGS | {"cells": cells}, name)


def gaussian(force, derivatives):
    """Fields at normal points: Φ = |x|²/2, D = I, T = 1, j = Mx."""
    x = np.random.default_rng(0).standard_normal((200_000, 2))
    weights = np.full(len(x), 1 / len(x))
    repeated = np.broadcast_to(derivatives, (len(x), 2, 2))
    unit = np.broadcast_to(np.eye(2), (len(x), 2, 2))
    return measure.Fields(x, force(x), repeated, x, unit, weights, 1.0)


def test_a_rotation_passes_and_a_radial_force_does_not():
    """j = Rx + rx: ∇·j = 2r, ‖∂j‖² = 2 + 2r², cos = r/√(1 + r²)."""
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    for r in (0.0, 0.5):
        M = turn + r * np.eye(2)
        found = measure.numbers_of(gaussian(lambda x, M=M: x @ M.T, M), np.random.default_rng(1))
        assert found["divergence"] == pytest.approx(2 * r / np.sqrt(2 + 2 * r**2), abs=1e-12)
        assert found["cosine"] == pytest.approx(r / np.sqrt(1 + r**2), abs=1e-12)
        assert (found["share"] > 0.1) == (r > 0)


def test_the_share_is_that_of_a_density_that_moves():
    """One wave along x₁ and j = (r x₁, 0): both rates by integrals on a line, T = 1, D = I."""
    fields = gaussian(lambda x: x * [0.5, 0.0], np.diag([0.5, 0.0]))

    class Wave:
        def standard_normal(self, d):
            return np.array([1.0, 0.0])

        def uniform(self, low, high):
            return 0.3

    found = measure.numbers_of(fields, Wave())
    x = np.linspace(-8, 8, 4001)
    rho = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    ratio, slope = 1 + np.sin(x + 0.3) / 2, np.cos(x + 0.3) / 2
    through = np.trapezoid(rho * 0.5 * x * slope, x)
    fall = np.trapezoid(rho * slope**2 / ratio, x)
    assert found["share"] == pytest.approx(abs(through) / abs(through - fall), rel=0.03)


def test_example_19_fails_in_two_of_three_numbers():
    found = one("double_well λ=0.5")
    assert found["assumption_4"] == found["divergence_free"] == found["orthogonal"] == 0
    assert found["stationary"] == 1
    assert found["share"] < 1e-10
    # j = λ e^{x₁⁴/4 − x₁²/2 + x₂²/2 + 1/4 − |x|⁴/4} (−x₂, x₁): ∇·j = λ E x₁x₂(2 − x₁²) by hand
    side = np.linspace(-3.4, 3.4, 341)
    x, y = np.meshgrid(side, 1.7 * side, indexing="ij")
    phi = (x**2 - 1) ** 2 / 4 + y**2 / 2
    rho = np.exp(-phi)
    size = np.exp(phi - (x**2 + y**2) ** 2 / 4)
    spill = size * x * y * (2 - x**2)
    cosine = np.abs(-y * (x**3 - x) + x * y) / (np.hypot(x, y) * np.hypot(x**3 - x, y) + 1e-300)
    assert found["cosine"] == pytest.approx((rho * cosine).sum() / rho.sum(), rel=0.02)
    slopes = [(x**3 - x) - x * (x**2 + y**2), y - y * (x**2 + y**2)]  # of log size
    parts = [size * (-y * s) for s in slopes] + [size * (x * s) for s in slopes]
    parts[1] = parts[1] - size
    parts[2] = parts[2] + size
    total = sum(part**2 for part in parts)
    expected = np.sqrt((rho * spill**2).sum() / (rho * total).sum())
    assert found["divergence"] == pytest.approx(expected, rel=0.01)


def test_grid_tends_to_the_closed_form():
    coarse, fine = (one("double_well λ=0.5", cells) for cells in (48, 96))
    for key in ("divergence", "cosine"):
        errors = [abs(found[f"{key}_grid"] - found[key]) for found in (coarse, fine)]
        assert errors[1] < max(0.5 * errors[0], 0.005)
        assert errors[1] <= fine[f"{key}_error"]


def test_a_force_without_a_known_potential():
    found = one("gradient_double_well_tensor")
    assert found["assumption_4"] == found["stationary"] == -1
    assert found["divergence"] == found["divergence_grid"] > 0.1
    assert found["share"] < 0.01


def test_no_force_is_all_zeros():
    found = one("rotationally_invariant")
    assert [found[key] for key in measure.NUMBERS] == [0] * 4
    assert np.isnan(found["cosine_grid"])


def test_the_names_are_systems_with_a_steady_state():
    named = [name for members in measure.SYSTEMS.values() for name in members]
    assert len(set(named)) == len(named)
    left = set(systems.SYSTEMS) - {name.partition(" ")[0] for name in named}
    assert left == {"pure_rotation"}  # it has no steady state
    assert measure.build("double_well λ=1.5").symbols.drift.has(
        systems.double_well(1.5).symbols.x[0]
    )


def test_study_gathers_them(monkeypatch):
    monkeypatch.setattr(
        measure, "SYSTEMS", {"paper": ("double_well λ=1.5",), "built": ("hopf_ring",)}
    )
    found = measure.measure(SETTINGS)
    again = measure.measure(SETTINGS)
    assert found["systems"].identical(again["systems"])
    assert found["systems"]["family"].values.tolist() == ["paper", "built"]
    assert found["controls"]["share"].values[0] < 1e-3 < found["controls"]["share"].values[1]
