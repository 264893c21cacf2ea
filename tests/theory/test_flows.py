"""Fixed points, return maps, limit cycles and closed orbits against closed forms."""

import numpy as np
import pytest
import sympy as sp
from scipy.optimize import brentq

from limitcycles.theory import flows, systems
from limitcycles.theory.flows import (
    DynamicsError,
    basin_shares,
    closed_orbits,
    closes,
    dulac,
    fixed_points,
    index_of_box,
    limit_cycles,
    return_map,
)

VAN_DER_POL_PERIOD = 6.663286859323130  # μ = 1; Andersen & Geer (1982) and many since
SQUARE = ((-2.5, 2.5), (-2.5, 2.5))
PITCHFORK = np.exp(-0.25)  # where 1 = λ² √e: the wells of Example 19 meet at the origin


def wells(u):
    """Fixed points of Example 19 off the origin, by u = λg: (λ, x₁, x₂, trace, determinant)."""
    s = u * u
    lam = u * np.exp(0.25 - s / 2 - s**2 / 4 + s**4 / 4)
    x2 = 1 - s
    y2 = s * x2
    j11 = 1 - 3 * x2 + s * x2 * (1 + y2)
    j12 = -u - u * y2 * s**2
    j21 = u - u * x2 * (1 + y2)
    j22 = -1 + s**3 * x2
    return lam, np.sqrt(x2), u * np.sqrt(x2), j11 + j22, j11 * j22 - j12 * j21


# ------------------------------------------------------------------------------ fixed points


@pytest.mark.parametrize("u", [0.2, 0.5, 0.9])
def test_fixed_points_of_example_19(u):
    lam, x, y, trace, determinant = wells(u)
    system = systems.double_well(lam)
    points = fixed_points(system.drift, SQUARE, jacobian=system.jacobian, starts=11)
    assert len(points) == 3
    expected = [[-x, -y], [0, 0], [x, y]]
    np.testing.assert_allclose([p.position for p in points], expected, atol=1e-12)
    assert points[1].kind == "saddle"
    np.testing.assert_allclose(points[0].eigenvalues.sum().real, trace, atol=1e-9)
    np.testing.assert_allclose(points[0].eigenvalues.prod().real, determinant, atol=1e-9)
    assert points[0].is_sink
    assert max(p.error for p in points) < 1e-12
    assert index_of_box(system.drift, SQUARE) == sum(p.index for p in points) == 1


def test_bifurcations_of_example_19():
    """The wells turn from nodes to foci, and then meet at the origin: at two known λ, and no more.

    The end points are off λ = 0, where the wells are nodes with a degenerate tangent.
    """
    focus = brentq(lambda u: wells(u)[3] ** 2 - 4 * wells(u)[4], 0.05, 0.9, xtol=1e-15)
    changes = flows.kind_changes(
        systems.double_well, [0.01, 0.3, 0.7, 1.1, 2.0], SQUARE, tolerance=1e-6, starts=7
    )
    assert [c.after.count("saddle") for c in changes] == [1, 0]
    assert changes[0].before == ("saddle", "stable node", "stable node")
    assert changes[0].after == ("saddle", "stable focus", "stable focus")
    assert changes[1].after == ("centre",)
    np.testing.assert_allclose(
        [c.parameter for c in changes], [wells(focus)[0], PITCHFORK], atol=1e-6
    )


def test_numerical_jacobian_and_other_dimensions():
    points = fixed_points(lambda x: x - x**3, [(-2, 2)], starts=41)
    np.testing.assert_allclose([p.position[0] for p in points], [-1, 0, 1], atol=1e-12)
    np.testing.assert_allclose([p.eigenvalues[0] for p in points], [-2, 1, -2], atol=1e-8)
    assert [p.index for p in points] == [-1, 1, -1]
    system = systems.rotational_ou_3d()
    (point,) = fixed_points(system.drift, [(-1, 2)] * 3, starts=4)
    assert point.kind == "stable focus"
    np.testing.assert_allclose(point.position, 0, atol=1e-12)
    assert fixed_points(systems.hopf_ring().drift, [(1, 2), (1, 2)], starts=5) == []


def test_kinds():
    kinds = {
        "stable node": [-1, -2],
        "unstable node": [1, 2],
        "stable focus": [-1 + 1j, -1 - 1j],
        "unstable focus": [1 + 1j, 1 - 1j],
        "saddle": [1, -1],
        "centre": [1j, -1j],
        "degenerate": [0, -1],
    }
    assert {flows.kind_of(np.array(v)): v for v in kinds.values()} == kinds


@pytest.mark.parametrize(("power", "index"), [(1, 1), (2, 2), (3, 3), (-1, -1), (-2, -2)])
def test_index_of_a_box(power, index):
    def field(x):
        z = x[..., 0] + 1j * x[..., 1] - 0.1
        z = z**power if power > 0 else z.conj() ** -power
        return np.stack([z.real, z.imag], -1)

    assert index_of_box(field, SQUARE) == index


# --------------------------------------------------------------------- limit cycles: controls


def test_return_map_of_a_linear_focus():
    system = systems.slow_spiral(0.05)
    section = flows.ray(SQUARE, np.zeros(2))
    found = return_map(system.drift, section, [0.1, 1, 2])
    np.testing.assert_allclose(found.arrival / found.start, np.exp(-0.1 * np.pi), rtol=1e-9)
    np.testing.assert_allclose(found.time, 2 * np.pi, rtol=1e-9)
    assert found.turn.tolist() == [1, 1, 1]
    node = return_map(lambda x: -x, section, [0.5], max_time=20)
    assert np.isnan(node.arrival).all()
    assert node.turn.tolist() == [0]


@pytest.mark.parametrize(("mu", "omega"), [(1.0, 1.0), (0.3, -2.0)])
def test_cycle_of_the_hopf_normal_form(mu, omega):
    system = systems.hopf_ring(mu, omega)
    found = limit_cycles(system.drift, SQUARE, jacobian=system.jacobian, samples=24)
    (cycle,) = found.cycles
    assert cycle.radius == pytest.approx(np.sqrt(mu), abs=1e-10)
    assert cycle.period == pytest.approx(2 * np.pi / abs(omega), abs=1e-9)
    assert cycle.multiplier == pytest.approx(np.exp(-4 * np.pi * mu / abs(omega)), rel=1e-8)
    assert (cycle.stability, cycle.turn) == ("stable", np.sign(omega))
    np.testing.assert_allclose(np.linalg.norm(cycle.points, axis=-1), np.sqrt(mu), atol=1e-8)
    assert found.complete
    assert not found.bands
    assert found.cycles


def test_cycle_of_van_der_pol():
    system = systems.van_der_pol(1)
    found = limit_cycles(system.drift, system.box, samples=24)  # with a numerical Jacobian
    (cycle,) = found.cycles
    assert cycle.period == pytest.approx(VAN_DER_POL_PERIOD, abs=1e-9)
    assert cycle.points[:, 0].max() == pytest.approx(2.00861986, abs=1e-5)
    assert cycle.stability == "stable"
    backwards = limit_cycles(lambda x: -system.drift(x), system.box, samples=24)
    (cycle,) = backwards.cycles
    assert cycle.stability == "unstable"


def radial(rate):
    """ṙ = r·rate(r), θ̇ = 1."""

    def field(x):
        r = np.linalg.norm(x, axis=-1, keepdims=True)
        return rate(r) * x + np.stack([-x[..., 1], x[..., 0]], -1)

    return field


def test_several_cycles_and_a_semi_stable_one():
    found = limit_cycles(
        radial(lambda r: -(r - 0.5) * (r - 1) * (r - 1.7)), SQUARE, samples=40, max_time=50
    )
    np.testing.assert_allclose(sorted(c.radius for c in found.cycles), [0.5, 1, 1.7], atol=1e-8)
    by_radius = sorted(found.cycles, key=lambda c: c.radius)
    assert [c.stability for c in by_radius] == ["stable", "unstable", "stable"]
    tangent = limit_cycles(radial(lambda r: -((r - 1.1) ** 2)), SQUARE, samples=40, max_time=50)
    assert len(tangent.cycles) == 1
    assert tangent.cycles[0].radius == pytest.approx(1.1, abs=1e-3)
    assert tangent.cycles[0].stability == "neutral"


def test_a_slow_spiral_has_none_and_a_rotation_a_band():
    spiral = limit_cycles(systems.slow_spiral(0.001).drift, SQUARE, samples=24)
    assert not spiral.cycles
    assert not spiral.bands
    assert spiral.closest == pytest.approx(1 - np.exp(-0.002 * np.pi), rel=1e-6)
    rotation = limit_cycles(systems.pure_rotation(2).drift, SQUARE, samples=24)
    assert not rotation.cycles
    ((number, (low, high)),) = rotation.bands
    assert number == 0
    assert low < 0.02
    assert high > 2.4


# ------------------------------------------------------------------------------- Example 19


def test_no_strength_of_example_19_has_a_closed_orbit():
    """First method: Bendixson–Dulac, for every λ at once."""
    system = systems.double_well(sp.Symbol("lam", real=True))
    x1, x2 = system.symbols.x
    found = dulac(system, systems.double_well_dulac())
    assert sp.expand(found.expression + x1**2 + 2 * x1**4 + x2**4 + x1**4 * x2**2) == 0
    assert found.sign == -1
    # Every path ends at a fixed point: d|x|²/dt = 2(x₁² − x₁⁴ − x₂²) < 0 outside a bounded region
    outwards = sp.expand(sp.simplify(2 * system.symbols.drift.dot(sp.Matrix([x1, x2]))))
    assert sp.expand(outwards - 2 * (x1**2 - x1**4 - x2**2)) == 0


@pytest.mark.parametrize("lam", [0.5, 1.5])
def test_return_maps_of_example_19_find_none(lam):
    """Second method; third: paths from all over the box."""
    system = systems.double_well(lam)
    found = limit_cycles(system.drift, SQUARE, jacobian=system.jacobian, samples=40)
    assert found.complete
    assert not found.cycles
    assert not found.bands
    if lam > PITCHFORK:  # the origin is the only fixed point, and every return leads inwards
        (scan,) = found.maps
        assert (scan.displacement < 0).all()
        assert not found.gaps
    ends = basin_shares(system.drift, SQUARE, search=found, count=100, max_time=100)
    assert ends.on_closed_orbit == 0
    assert ends.shares["undecided"] == 0
    assert ends.shares["left the box"] == 0


def test_origin_of_example_19_is_a_weak_focus():
    """Beyond the pitchfork its eigenvalues are ±iω; what decides is the cubic part.

    With A = λe^{1/4} the linear orbits are ellipses on which ⟨x₁²⟩ : ⟨x₁x₂⟩ = A : 1, and the
    divergence −3x₁² + 2A x₁x₂ has the mean −A < 0.
    """
    for lam in (0.9, 1.5):
        assert flows.lyapunov_coefficient(systems.double_well(lam), np.zeros(2)) < 0
    assert flows.lyapunov_coefficient(systems.hopf_ring(0, 1), np.zeros(2)) == pytest.approx(-1)
    # where the quadratic terms decide, against the return map: 1/r² falls by 2a in a unit of time
    x1, x2 = systems.variables(2)
    bent = systems.make("bent", x=(x1, x2), box=SQUARE, drift=[-x2 + x1**2, x1 + x1**2 + x1 * x2])
    a = flows.lyapunov_coefficient(bent, np.zeros(2))
    turned = return_map(bent.drift, flows.ray(SQUARE, np.zeros(2)), [0.005])
    growth = 1 / turned.start[0] ** 2 - 1 / turned.arrival[0] ** 2
    assert growth / (2 * a * turned.time[0]) == pytest.approx(1, rel=2e-2)
    # the decay r ~ (2|a|t)^{−1/2}: after n turns 1/r² grows by 2|a|·time, in area-true coordinates
    system = systems.double_well(1.5)
    a = flows.lyapunov_coefficient(system, np.zeros(2))
    section = flows.ray(SQUARE, np.zeros(2))
    turned = return_map(system.drift, section, [0.01])
    stretch = _stretch(system, section.direction)
    drop = 1 / (stretch * turned.arrival[0]) ** 2 - 1 / (stretch * turned.start[0]) ** 2
    assert drop / (-2 * a * turned.time[0]) == pytest.approx(1, rel=1e-2)


def _stretch(system, direction):
    """|y| for a unit step along `direction`, in coordinates in which the linear part rotates."""
    matrix = system.jacobian(np.zeros(2))
    values, vectors = np.linalg.eig(matrix)
    first = vectors[:, np.argmax(values.imag)]
    basis = np.column_stack([first.real, -first.imag])
    basis /= np.sqrt(abs(np.linalg.det(basis)))
    return np.linalg.norm(np.linalg.solve(basis, direction))


def test_force_of_example_19_runs_on_circles():
    system = systems.double_well(1.5)
    starts = flows.random_starts(SQUARE, 8, 0)
    # j is a circle's tangent times a positive number that is tiny far out: choose starts inside
    starts = starts[np.linalg.norm(starts, axis=-1) < 1.8]
    share, orbits = closed_orbits(system.force, starts, 1e3, 1e-8)
    assert share == 1
    for orbit in orbits:
        assert orbit.length == pytest.approx(2 * np.pi * np.linalg.norm(orbit.start), rel=1e-8)
    found = limit_cycles(system.force, ((-1.5, 1.5),) * 2, samples=16)
    assert not found.cycles
    assert found.bands


def test_dulac_says_nothing_where_there_is_a_cycle():
    assert dulac(systems.hopf_ring()).sign is None
    assert dulac(systems.van_der_pol()).sign is None
    assert dulac(systems.slow_spiral()).sign == -1
    assert dulac(systems.pure_rotation()).sign is None
    x1, x2 = systems.variables(2)
    repelling = systems.make("out", x=(x1, x2), box=SQUARE, drift=[x1**3 + x2, x2 - x1])
    assert dulac(repelling).sign == 1  # 1 + 3x₁²
    with pytest.raises(DynamicsError, match="positive"):
        dulac(repelling, x1)


# ---------------------------------------------------------------------------- closed orbits


def test_a_rotation_closes_and_a_slow_spiral_does_not():
    starts = flows.random_starts(SQUARE, 6, 1)
    share, orbits = closed_orbits(systems.rotational_ou(3).force, starts, 20.0)
    assert share == 1
    for orbit in orbits:
        assert orbit.time == pytest.approx(2 * np.pi / 3, abs=1e-9)
        assert orbit.length == pytest.approx(2 * np.pi * np.linalg.norm(orbit.start), rel=1e-9)
        assert orbit.relative < 1e-8
        assert orbit.returns == 1
    share, orbits = closed_orbits(systems.slow_spiral(0.01).drift, starts, 60.0)
    assert share == 0
    # In a turn the radius shrinks by 1 − e^{−2πε}, over about the length 2π r
    assert orbits[0].relative == pytest.approx(0.01, rel=0.06)
    assert len(orbits[0].profile) == 9


def test_with_no_tolerance_all_returns_are_found():
    orbit = closes(systems.rotational_ou(3).force, np.array([1.0, 0.0]), 7.0, 0.0)
    np.testing.assert_allclose(orbit.profile[:, 0], 2 * np.pi / 3 * np.arange(1, 4), rtol=1e-8)


def test_three_dimensions_spheres_close_and_tori_do_not():
    generator = np.random.default_rng(2)
    for name in ("rotational_ou_3d", "sphere_flow"):
        share, _ = closed_orbits(
            systems.system(name).force, generator.normal(size=(6, 3)), 200.0, 1e-7
        )
        assert share == 1, name
    angle = generator.uniform(0, 2 * np.pi, 6)
    radius = generator.uniform(0.6, 1.4, 6)
    starts = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0.3 + 0 * angle], -1)
    share, orbits = closed_orbits(systems.torus_flow().force, starts, 60.0, 1e-7)
    assert share == 0
    # no first integral is lost: Φ at the last return is that of the start (the integration is good)
    assert all(orbit.distance > 1e-4 for orbit in orbits)


def test_four_dimensions_close_only_for_rational_frequencies():
    starts = np.random.default_rng(4).normal(size=(5, 4))
    assert closed_orbits(systems.two_rotations(1.5).force, starts, 20.0, 1e-8)[0] == 1
    share, orbits = closed_orbits(systems.two_rotations().force, starts, 30.0)
    assert share == 0
    # distance² = Σ (2 r_k sin(ω_k t/2))² at each return
    orbit = orbits[0]
    golden = (1 + np.sqrt(5)) / 2
    r1, r2 = np.linalg.norm(orbit.start[:2]), np.linalg.norm(orbit.start[2:])
    times, lengths, distances = orbit.profile.T
    np.testing.assert_allclose(lengths, times * np.hypot(r1, golden * r2), rtol=1e-8)
    np.testing.assert_allclose(
        distances, 2 * np.hypot(r1 * np.sin(times / 2), r2 * np.sin(golden * times / 2)), rtol=1e-7
    )
    # and that is why a long time closes everything: returns get near faster than they get rare
    assert closed_orbits(systems.two_rotations().force, starts, 100.0)[0] == 1
    assert closed_orbits(systems.coupled_oscillators().force, starts, 60.0)[0] <= 0.2


def test_a_fixed_point_is_closed_and_an_escape_is_not():
    assert closes(lambda x: -x, np.zeros(2), 1.0).closed
    orbit = closes(lambda x: x**2 + 1, np.array([0.5, 0.5]), 10.0)
    assert not orbit.closed
    assert orbit.relative == np.inf


# ----------------------------------------------------------------------------------- basins


def test_basins_of_a_gradient_double_well_are_half_planes():
    system = systems.double_well(0)
    starts = flows.random_starts(SQUARE, 120, 5)
    search = limit_cycles(system.drift, SQUARE, samples=8)
    ends = basin_shares(system.drift, SQUARE, search=search, starts=starts, max_time=40)
    right = starts[:, 0] > 0
    assert ends.shares["undecided"] == 0
    assert ends.shares["stable node (1, 0)"] == pytest.approx(right.mean())
    names = np.array(ends.labels)[ends.end]
    assert (names[right] == "stable node (1, 0)").all()
    assert (names[~right] == "stable node (-1, 0)").all()


def test_basins_of_cycles_bands_and_escapes():
    def ends_of(drift, **options):
        search = limit_cycles(drift, SQUARE, samples=16, max_time=40)
        return basin_shares(drift, SQUARE, search=search, **options)

    ring = ends_of(systems.hopf_ring().drift, count=60, max_time=40)
    assert ring.on_closed_orbit == 1
    rotation = ends_of(systems.pure_rotation().drift, count=60, max_time=5)
    inside = np.linalg.norm(rotation.starts, axis=-1) < 2.4
    names = np.array(rotation.labels)[rotation.end]
    assert all(name.startswith("closed orbits") for name in names[inside])
    escape = ends_of(lambda x: x + x**3, count=20, max_time=40)
    assert escape.shares["left the box"] == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fixed_points(lambda x: x[..., :1], SQUARE), "shape"),
        (lambda: fixed_points(lambda x: x, [(1, 0)]), "low < high"),
        (lambda: limit_cycles(lambda x: x, [(0, 1)] * 3), "2 pairs"),
        (lambda: index_of_box(lambda x: x - 2.5, SQUARE), "vanishes on the edge"),
        (
            lambda: return_map(lambda x: x, flows.ray(SQUARE, np.zeros(2)), [0.0]),
            "above 0",
        ),
        (lambda: flows.ray(SQUARE, np.array([3.0, 0.0])), "inside"),
        (
            lambda: flows.lyapunov_coefficient(systems.double_well(0.5), np.zeros(2)),
            "eigenvalues",
        ),
        (lambda: closes(lambda x: x[..., :1], np.ones(2), 1.0), "shape"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(DynamicsError, match=words):
        call()
