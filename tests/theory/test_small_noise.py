"""The expansion for small noise against closed forms, and against grids at small temperatures."""

import numpy as np
import pytest
from helpers import one_thread  # noqa: F401

from limitcycles.theory import systems
from limitcycles.theory.fokker_planck import Grid, analysis, extrapolated_steady_state, generator
from limitcycles.theory.linear_theory import LinearTheoryError
from limitcycles.theory.small_noise import SmallNoiseError, expand


def test_one_dimension_in_closed_form():
    """The mode is −αT/(1 + 2κT), and Φ₀''' follows from Φ₀' = x/D."""
    system = systems.multiplicative_noise(0.4, 0.1, temperature=1)
    found = expand(system, [0.0])
    assert found.shift == pytest.approx([-0.4])
    assert found.U.ravel() == pytest.approx([1.0])
    assert found.third.ravel() == pytest.approx([-0.8])  # (x/D)'' = −2α at 0


def test_two_wells_with_a_known_potential():
    """Φ = ∫ f'/D + T log D along x₁: Φ₁' = D'/D, and Φ₀'' = 2/D at the well, D(1) = 1 + 3s/4."""
    s = 0.5
    system = systems.gradient_double_well("varying diagonal", strength=s, temperature=0.1)
    shift = expand(system, [1.0, 0.0]).shift
    assert shift == pytest.approx([-s / 2, 0.0], abs=1e-12)  # −D'/2 with D' = s
    assert expand(system, [-1.0, 0.0]).shift == pytest.approx([0.0, 0.0], abs=1e-12)


def test_a_linear_system_has_no_shift():
    found = expand(systems.linear_non_commuting(), [0.0, 0.0])
    assert np.abs(found.third).max() < 1e-12
    assert np.abs(found.shift).max() < 1e-12


@pytest.mark.parametrize("noise", ["tensor", "varying isotropic", "varying tensor"])
def test_modes_on_grids_tend_to_it(noise):
    """Φ is not known for these."""
    heat = 0.02
    system = systems.gradient_double_well(noise, strength=0.5, temperature=heat)
    shift = expand(system, [1.0, 0.0]).shift
    made = generator(
        Grid((0.2, -1), (1.8, 1), (160, 160)), system.drift, system.diffusion, heat
    )  # the other well, and the way there, do not matter
    (mode, *_), _ = analysis.modes(made.grid, extrapolated_steady_state(made))
    found = (mode - [1.0, 0.0]) / heat
    assert np.linalg.norm(found - shift) < 0.07 * np.linalg.norm(shift)


def test_points_that_are_no_sinks():
    system = systems.gradient_double_well("tensor")
    with pytest.raises(SmallNoiseError, match="not zero"):
        expand(system, [0.5, 0.0])
    with pytest.raises(LinearTheoryError):
        expand(system, [0.0, 0.0])
