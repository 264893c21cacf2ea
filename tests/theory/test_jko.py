"""JKO steps against Gaussians in closed form, a general minimiser, and the exact equation."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from limitcycles.statistics.convergence import log_log_slope
from limitcycles.theory import jko
from limitcycles.theory.jko import JkoError, Quantiles, jko_flow_1d, jko_flow_2d, jko_step_1d


def gaussian(mean=0.0, deviation=1.0, cells=400, reach=7.5):
    edges = mean + deviation * np.linspace(-reach, reach, cells + 1)
    half = np.diff(scipy.stats.norm.cdf(np.linspace(-reach, 0, cells // 2 + 1)))
    return Quantiles.from_cells(edges, np.concatenate([half, half[::-1]]))


def free(x):
    return np.zeros_like(x)


def step_of_a_gaussian(mean, deviation, *, k, tau, strength):
    """σ' of (σ' − σ)/τ + kσ' = cT/σ', and m' = m/(1 + kτ)."""
    a = 1 + k * tau
    return mean / a, (deviation + np.sqrt(deviation**2 + 4 * a * strength * tau)) / (2 * a)


def l1(density, mean, deviation):
    edges = mean + deviation * np.linspace(-8, 8, 201)
    expected = np.diff(scipy.stats.norm.cdf(edges, mean, deviation))
    return np.abs(density.cell_masses(edges) - expected).sum()


@pytest.mark.parametrize("tau", [0.01, 0.3, 5.0])
@pytest.mark.parametrize(("k", "strength", "c"), [(0.0, 0.7, 1.0), (2.0, 0.7, 1.0), (2.0, 0.9, 3)])
def test_a_gaussian_stays_one(tau, k, strength, c):
    after = jko_step_1d(
        gaussian(1.5, 0.8),
        lambda x: k * x**2 / 2,
        lambda x: k * x,
        step=tau,
        temperature=strength / c,
        diffusivity=c,
    )
    mean, deviation = step_of_a_gaussian(1.5, 0.8, k=k, tau=tau, strength=strength)
    assert after.mean == pytest.approx(mean, abs=1e-6)
    assert after.variance**0.5 == pytest.approx(deviation, rel=5e-4)
    assert l1(after, mean, deviation) < 1e-3


def test_more_cells_come_closer_to_the_closed_form():
    errors = []
    for cells in (100, 200, 400):
        after = jko_step_1d(gaussian(cells=cells), free, free, step=0.3, temperature=1.0)
        exact = step_of_a_gaussian(0, 1, k=0, tau=0.3, strength=1.0)[1]
        errors.append(after.variance**0.5 - exact)
    assert log_log_slope([4, 2, 1], errors).slope == pytest.approx(2, abs=0.3)


def wavy(x):
    return x**4 / 4 - x**2 / 2 + 0.3 * np.sin(3 * x)


def wavy_slope(x):
    return x**3 - x + 0.9 * np.cos(3 * x)


def test_a_step_is_the_minimum_of_its_functional():
    """A general minimiser of the free energy plus distance, written with loops and quadrature."""
    start = gaussian(0.3, 0.5, cells=10, reach=2)
    c, temperature, tau = 1.7, 0.4, 0.05

    def functional(edges):
        total = 0.0
        for i, mass in enumerate(start.masses):
            low, high = edges[i], edges[i + 1]
            if high <= low:
                return 1e9
            grid = np.linspace(low, high, 2001)
            middle = (grid[1:] + grid[:-1]) / 2
            density = mass / (high - low)
            total += mass * (wavy(middle).mean() / c + temperature * np.log(density))
            share = (middle - low) / (high - low)
            before = start.edges[i] + share * (start.edges[i + 1] - start.edges[i])
            total += mass * ((middle - before) ** 2).mean() / (2 * c * tau)
        return total

    found = jko_step_1d(start, wavy, wavy_slope, step=tau, temperature=temperature, diffusivity=c)
    best = scipy.optimize.minimize(
        functional, start.edges, method="BFGS", options={"gtol": 1e-8, "maxiter": 500}
    )
    assert functional(found.edges) <= best.fun + 1e-9
    np.testing.assert_allclose(found.edges, best.x, atol=2e-3)
    value = jko.free_energy_1d(found, wavy, temperature=temperature, diffusivity=c)
    distance = found.wasserstein(start) ** 2 / (2 * c * tau)
    assert value + distance == pytest.approx(functional(found.edges), abs=1e-6)


def test_curvature_changes_the_way_only():
    start = gaussian(0.3, 0.5)
    keys = {"step": 0.1, "temperature": 0.4}
    without = jko_step_1d(start, wavy, wavy_slope, **keys)
    given = jko_step_1d(
        start, wavy, wavy_slope, curvature=lambda x: 3 * x**2 - 1 - 2.7 * np.sin(3 * x), **keys
    )
    np.testing.assert_allclose(given.edges, without.edges, atol=1e-8)


def test_free_energy_falls_to_that_of_the_steady_state():
    c, temperature = 1.4, 0.5
    start = gaussian(1.0, 0.4)
    later = jko_flow_1d(
        start,
        wavy,
        wavy_slope,
        np.arange(1, 60) * 0.2,
        step=0.1,
        temperature=temperature,
        diffusivity=c,
    )
    densities = [start, *later]
    values = [
        jko.free_energy_1d(d, wavy, temperature=temperature, diffusivity=c) for d in densities
    ]
    assert (np.diff(values) < 1e-10).all()
    # At the steady state exp(−f/cT)/Z the free energy is −T log Z.
    grid = np.linspace(-4, 4, 4001)
    Z = np.exp(-wavy(grid) / (c * temperature)).sum() * (grid[1] - grid[0])
    assert values[-1] == pytest.approx(-temperature * np.log(Z), abs=2e-3)
    edges = np.linspace(-3.5, 3.5, 141)
    middle = (edges[1:] + edges[:-1]) / 2
    expected = np.exp(-wavy(middle) / (c * temperature)) / Z * np.diff(edges)
    assert np.abs(densities[-1].cell_masses(edges) - expected).sum() < 0.01


def slope_against_the_equation(temperature):
    """Free diffusion, T = 0.5 in the exact equation: variance 1 + 2Tt."""
    taus, errors = [0.2, 0.1, 0.05, 0.025], []
    for tau in taus:
        (after,) = jko_flow_1d(gaussian(), free, free, [1.0], step=tau, temperature=temperature)
        errors.append(l1(after, 0, 2**0.5))
    return log_log_slope(taus, errors), errors


def test_the_flow_converges_to_free_diffusion():
    """The ledger's positive control: order 1, and at most 0.01 at the smallest step."""
    slope, errors = slope_against_the_equation(0.5)
    assert slope.interval[0] > 0.5
    assert slope.slope == pytest.approx(1, abs=0.2)
    assert errors[-1] < 0.01


def test_twice_the_temperature_does_not():
    """The ledger's negative control."""
    slope, errors = slope_against_the_equation(1.0)
    assert slope.interval[1] < 0.5
    assert errors[-1] > 0.1


def test_order_one_in_a_quadratic_well():
    """f = x²/2 with c = 2: OU with mean e^{−t} and variance cT + (σ² − cT) e^{−2t}."""
    taus, errors = [0.2, 0.1, 0.05], []
    for tau in taus:
        (after,) = jko_flow_1d(
            gaussian(1.0, 0.5),
            lambda x: x**2 / 2,
            lambda x: x,
            [1.0],
            step=tau,
            temperature=0.3,
            diffusivity=2.0,
        )
        exact = (np.exp(-1), np.sqrt(0.6 + (0.25 - 0.6) * np.exp(-2)))
        errors.append(l1(after, *exact))
    assert log_log_slope(taus, errors).slope == pytest.approx(1, abs=0.2)


def test_quantiles_by_hand():
    density = Quantiles.from_cells([0, 1, 2, 4, 5], [0, 1, 3, 0])
    np.testing.assert_array_equal(density.edges, [1, 2, 4])
    np.testing.assert_array_equal(density.masses, [0.25, 0.75])
    assert density.mean == pytest.approx(0.25 * 1.5 + 0.75 * 3)
    second = 0.25 * 7 / 3 + 0.75 * 28 / 3  # ∫x² over [1, 2] and half that over [2, 4]
    assert density.variance == pytest.approx(second - density.mean**2)
    np.testing.assert_allclose(density.cell_masses([-9, 1, 2, 4, 9]), [0, 0.25, 0.75, 0])
    moved = Quantiles(np.array([2.0, 3.0, 8.0]), density.masses)
    # Displacement 1 on the first piece; from 1 to 4 on the second: ∫(1 + 3s)² ds = 7.
    assert density.wasserstein(moved) == pytest.approx(np.sqrt(0.25 + 0.75 * 7))


@pytest.mark.parametrize(
    ("edges", "masses", "message"),
    [
        ([0, 1], [1, 2], r"\(2,\) masses do not fit"),
        ([0, 2, 1], [1, 2], "ascend"),
        ([0, 1, 2], [1, -1], "not negative"),
        ([0, 1, 2], [0, 0], "not all zero"),
        ([0, 1, 2, 3], [1, 0, 1], "hole between 1 and 2"),
    ],
)
def test_densities_that_are_none(edges, masses, message):
    with pytest.raises(JkoError, match=message):
        Quantiles.from_cells(edges, masses)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 0.0}, "must be finite and positive, not 0.0"),
        ({"temperature": -1.0}, "must be finite and positive"),
        ({"diffusivity": 0.0}, "must be finite and positive"),
        ({"gradient": lambda x: x * np.nan}, "no finite slope"),
    ],
)
def test_steps_that_cannot_be(change, message):
    keys = {"loss": free, "gradient": free, "step": 0.1, "temperature": 1.0} | change
    with pytest.raises(JkoError, match=message):
        jko_step_1d(gaussian(cells=20), **keys)


def test_a_step_too_long_for_a_hill():
    """f = −2x² bends by −4: a unique minimum for steps below 1/4 only."""
    hill = {"loss": lambda x: -2 * x**2, "gradient": lambda x: -4 * x, "temperature": 0.1}
    after = jko_step_1d(gaussian(cells=100), step=0.1, **hill)
    exact = step_of_a_gaussian(0, 1, k=-4, tau=0.1, strength=0.1)[1]
    assert after.variance**0.5 == pytest.approx(exact, rel=5e-3)
    with pytest.raises(JkoError, match=r"curvature of -4 here, so take steps below 0\.25"):
        jko_step_1d(gaussian(cells=100), step=2.0, **hill)


@pytest.mark.parametrize(
    ("times", "step", "message"), [([1.0, 0.5], 0.1, "ascend"), ([1.0], 0.0, "positive, not 0")]
)
def test_times_that_cannot_be(times, step, message):
    with pytest.raises(JkoError, match=message):
        jko_flow_1d(gaussian(cells=20), free, free, times, step=step, temperature=1.0)


# ---------------------------------------------------------------- two dimensions


def plane(cells=34, reach=2.5):
    edges = np.linspace(-reach, reach, cells + 1)
    return edges, (edges[1:] + edges[:-1]) / 2


def masses(edges, mean, deviation):
    parts = [
        np.diff(scipy.stats.norm.cdf(edges, m, s)) for m, s in zip(mean, deviation, strict=True)
    ]
    out = np.outer(*parts)
    return out / out.sum()


@pytest.mark.parametrize("entropic", [0.4, 1.0])
def test_a_quadratic_well_in_two_dimensions(entropic):
    """Two stiffnesses, c = 2: order 1 against the exact OU process; order 0 if T is doubled."""
    edges, centres = plane()
    x, y = np.meshgrid(centres, centres, indexing="ij")
    loss, c, temperature = (x**2 + 2 * y**2) / 2, 2.0, 0.15
    start = masses(edges, (0.6, -0.4), (0.5, 0.4))
    mean = (0.6 * np.exp(-0.8), -0.4 * np.exp(-1.6))
    variance = (0.3 + (0.25 - 0.3) * np.exp(-1.6), 0.15 + (0.16 - 0.15) * np.exp(-3.2))
    expected = masses(edges, mean, np.sqrt(variance))
    taus, errors, doubled = [0.4, 0.2, 0.1], [], []
    for tau in taus:
        for factor, found in ((1, errors), (2, doubled)) if entropic == 1 else ((1, errors),):
            (after,) = jko_flow_2d(
                start,
                (centres, centres),
                loss,
                [0.8],
                step=tau,
                temperature=factor * temperature,
                diffusivity=c,
                entropic=entropic,
            )
            assert after.sum() == pytest.approx(1, abs=1e-12)
            assert (after >= 0).all()
            found.append(np.abs(after - expected).sum())
    assert log_log_slope(taus, errors).slope == pytest.approx(1, abs=0.35)
    if doubled:
        assert log_log_slope(taus, doubled).slope < 0.5
        assert doubled[-1] > 0.2 > errors[-1]


def test_both_dimensions_take_the_same_steps():
    """f = wavy(x) + y²/2 from a product: the marginal of the plane's flow is that of the line."""
    edges, centres = plane(36, 2.7)
    x, y = np.meshgrid(centres, centres, indexing="ij")
    start = masses(edges, (0.2, 0.0), (0.6, 0.6))
    keys = {"step": 0.1, "temperature": 0.4}
    line = Quantiles.from_cells(edges, start.sum(1))
    (other,) = jko_flow_1d(line, wavy, wavy_slope, [0.2], **keys)
    found = []
    for entropic in (0.6, 0.3):
        (after,) = jko_flow_2d(
            start, (centres, centres), wavy(x) + y**2 / 2, [0.2], entropic=entropic, **keys
        )
        found.append(np.abs(after.sum(1) - other.cell_masses(edges)).sum())
    assert found[0] < 0.05
    assert found[1] < found[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 0.001}, "too coarse for steps of 0.001"),
        ({"entropic": 2.0}, "between 0 and 2"),
        ({"temperature": 0.0}, "must be finite and positive"),
        ({"start": np.zeros((34, 34))}, "not all zero"),
        ({"start": np.ones((34, 32))}, "not of one 2-D grid"),
        ({"loss": np.full((34, 34), np.nan)}, "NaN"),
        ({"centres": (np.arange(34) ** 2, np.arange(34))}, "equal spacings"),
        (
            {
                "start": np.ones((65, 65)),
                "loss": np.ones((65, 65)),
                "centres": (np.arange(65), np.arange(65)),
            },
            "at most 4096 cells",
        ),
    ],
)
def test_planes_that_cannot_be(change, message):
    centres = plane()[1]
    keys = {
        "start": np.ones((34, 34)),
        "centres": (centres, centres),
        "loss": np.zeros((34, 34)),
        "times": [1.0],
        "step": 0.5,
        "temperature": 0.3,
    }
    with pytest.raises(JkoError, match=message):
        jko_flow_2d(**(keys | change))
