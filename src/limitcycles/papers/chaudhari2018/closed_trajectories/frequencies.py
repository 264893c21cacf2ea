"""How near an orbit of two frequencies comes back to its start, without following its returns.

Each function maps (system, starts (n, d), mean speeds (n,), time) to the smallest distance/length
over that time, (n,), to be compared with `dynamics.closes`.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from limitcycles.theory import systems
from limitcycles.theory.systems import coupled_oscillators

LEFT = 1.0  # time in which every orbit here has left its start
RESOLUTION = 2e-3  # time between the points at which distances are taken
NODES = 400  # of a quadrature
STEP = 4e-3  # of the symplectic integrator


def rotations(
    system: systems.System, starts: np.ndarray, speeds: np.ndarray, time: float
) -> np.ndarray:
    """`two_rotations`: distance² = Σ (2 r_k sin(ω_k t/2))², length = t √Σ(ω_k r_k)²; exact.

    The frequencies are read from the system's drift at a point: b = (−1 + iω) z in each plane.
    """
    unit = np.array([[1.0, 0, 0, 0], [0, 0, 1.0, 0]])
    omega = np.array([system.force(unit[0])[1], system.force(unit[1])[3]])
    t = np.arange(LEFT, time, RESOLUTION)
    radius = np.stack(
        [np.linalg.norm(starts[:, :2], axis=1), np.linalg.norm(starts[:, 2:], axis=1)], -1
    )
    result = np.empty(len(starts))
    for i, r in enumerate(radius):
        speed = np.hypot(*(omega * r))

        def relative(t, r=r, speed=speed):
            return 2 * np.hypot(*(r * np.sin(np.outer(t, omega) / 2)).T) / (speed * t)

        # Refined around each of the smallest values: between them the distance is a smooth curve
        near = t[np.argsort(relative(t))[:20]]
        fine = (near[:, None] + np.linspace(-1, 1, 401) * RESOLUTION).ravel()
        result[i] = relative(fine).min()
    return result


def torus_periods(system: systems.System, starts: np.ndarray) -> np.ndarray:
    """The time of one turn the short way around, (n,), by quadrature, of `torus_flow`.

    With s = r²/2 the flow in (s, x₃) is Hamiltonian: ṡ = −x₃, ẋ₃ = V'(s) with
    V = 2(2s − 1 − log 2s), energy E = V + x₃²/2; the period is 2∫ds/√(2(E − V)). The angle around
    the axis grows at the rate 1, so that an orbit closes only where period/2π is rational.
    """

    def well(s):
        return 2 * (2 * s - 1 - np.log(2 * s))

    periods = []
    for x1, x2, x3 in starts:
        energy = well((x1**2 + x2**2) / 2) + x3**2 / 2
        inner = brentq(lambda s, e=energy: well(s) - e, 1e-12, 0.5, xtol=1e-15)
        outer = brentq(lambda s, e=energy: well(s) - e, 0.5, 50.0, xtol=1e-15)
        middle, half = (outer + inner) / 2, (outer - inner) / 2

        # s = middle + half sin a: smooth and periodic in a, where the midpoint rule has no order
        a = (np.arange(NODES) + 0.5) / NODES * np.pi - np.pi / 2
        s = middle + half * np.sin(a)
        rates = half * np.cos(a) / np.sqrt(2 * (energy - well(s)))
        periods.append(2 * rates.mean() * np.pi)
    return np.array(periods)


def torus(
    system: systems.System, starts: np.ndarray, speeds: np.ndarray, time: float
) -> np.ndarray:
    """`torus_flow`: after k short turns only the angle is off, distance = 2r |sin(kP/2)|.

    Within one turn the plane through the start may be crossed a little nearer, by a factor that is
    the sine of the angle between the two windings.
    """
    periods = torus_periods(system, starts)
    radius = np.hypot(starts[:, 0], starts[:, 1])
    result = np.empty(len(starts))
    for i, period in enumerate(periods):
        turns = np.arange(1, max(2, int(time / period) + 1))
        away = 2 * radius[i] * np.abs(np.sin(turns * period / 2))
        result[i] = (away / (speeds[i] * turns * period)).min()
    return result


def symplectic(
    system: systems.System, starts: np.ndarray, speeds: np.ndarray, time: float
) -> np.ndarray:
    """`coupled_oscillators`, whose force is H = ½|x|² + 4x₁²x₂²: Yoshida's fourth-order leapfrog.

    Distances are those from the straight piece between two steps, good to some 1e-6. Raises
    ValueError: another force than that.
    """
    q, p = starts[:, :2].copy(), starts[:, 2:].copy()
    if not np.allclose(_field(q, p), system.force(starts)):
        raise ValueError(f"{system.name} is not {coupled_oscillators.__name__} with coupling 4")
    root = 2 ** (1 / 3)
    kicks = np.array([1.0, -root, 1.0]) / (2 - root)
    length = np.zeros(len(starts))
    best = np.full(len(starts), np.inf)
    before = starts
    for step in range(1, int(time / STEP) + 1):
        for share in kicks * STEP:
            q = q + share / 2 * p
            p = p + share * _push(q)
            q = q + share / 2 * p
        now = np.concatenate([q, p], axis=1)
        move = now - before
        square = (move**2).sum(1)
        length += np.sqrt(square)
        if step * STEP > LEFT:
            where = np.clip(((starts - before) * move).sum(1) / square, 0, 1)
            away = np.linalg.norm(before + where[:, None] * move - starts, axis=1)
            best = np.minimum(best, away / length)
        before = now
    return best


def _push(q: np.ndarray) -> np.ndarray:
    """−∂H/∂q."""
    return -q - 8 * q * q[:, ::-1] ** 2


def _field(q: np.ndarray, p: np.ndarray) -> np.ndarray:
    return np.concatenate([p, _push(q)], axis=1)
