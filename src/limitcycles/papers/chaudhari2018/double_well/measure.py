"""Example 19: steady density, fixed points, area rate and closed orbits, as λ changes.

dx = b dt + √(2T) dW with b = −"∇f" = −∇Φ + j (`systems.double_well`). Three methods look for closed
orbits of ẋ = b(x): Dulac's criterion, symbolically and for every λ; the return map on a ray; paths
from starts all over the box. A ring (`hopf_ring`) and the oscillator of van der Pol, whose cycles
are known, go through the same code.
"""

from __future__ import annotations

import numpy as np
import sympy as sp
import xarray as xr

from limitcycles.papers.chaudhari2018.double_well.pictures import pictures
from limitcycles.papers.chaudhari2018.double_well.steady_densities import (
    exact_rate,
    on_grids,
    ring_rate,
    simulated_rate,
    solved,
)
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.theory import flows as dynamics
from limitcycles.theory import systems
from limitcycles.theory.fokker_planck import analysis

READS = ("theory.seed", "theory.cells", "theory.paths", "theory.systems", "rule.level")

LAMBDAS = (0.0, 0.5, 1.5)  # the paper's
LARGEST, MOST_LAMBDAS = 2.0, 41  # of the bifurcation diagram
TEMPERATURES = (1.0, 0.5, 0.2, 0.1)
SQUARE = ((-2.5, 2.5), (-2.5, 2.5))  # every path of ẋ = b(x) comes into it and stays
PATH_SHARE, START_FACTOR = 10, 8  # paths/10 in an ensemble, systems × 8 starts
SAMPLES = 12  # starts on the ray of a return map, besides one for each of `systems`
PITCHFORK = float(np.exp(-0.25))  # λ at which both wells of b reach the origin
POINTS = 3
MOST_MODES = 4


def measure(settings: dict) -> dict[str, xr.Dataset]:
    """Everything about Example 19, from `cells`, `paths` and `systems`.

    Part `steady`, by `lam` (0, 0.5, 1.5): `l1` (grid) ∫|ρ_h − e^{−Φ}/Z| at T = 1 on grids of
    `cells` a side and half as many, `l1_extrapolated` of the fourth-order density; `rate_grid`
    (grid) the area rate ½∫(x₁J₂ − x₂J₁) per time on them, `rate_exact` πλ/Z in closed form, `rate`
    that of paths/10 simulated paths with its t interval `rate_low`, `rate_high` over paths;
    `shift`, the largest distance from a critical point of Φ to the nearest of f.
    Part `orbits`, by `system` (Example 19 at the three λ, `hopf_ring`, `van_der_pol`): `starts`,
    `on_closed` and `undecided` (shares of paths), `cycles` and `bands` found by the return maps,
    `complete` (no fixed point was missed), `closest` (smallest |displacement|/s), `period` found
    and `known_period` (NaN: none), `dulac` (the sign of ∇·(Bb), 0: the criterion says nothing),
    `settled` share of five paths that come back to within 1e-6 of the length after a time of 50
    (NaN where they have ended in a node or focus); and for the ring `l1`, `rate`, `rate_low`,
    `rate_high`, `rate_grid`, `rate_exact` as above (NaN elsewhere).
    Part `noise`, by (lam, temperature): `l1` ∫|ρ − e^{−Φ/T}/Z| and `l1_coarse` on half the cells;
    `mode1`, `mode2`, `height` (mode; NaN beyond the last); `from_wells` and `from_attractors`, the
    distance of the highest mode from the nearest well of Φ and attractor of b.
    Part `points`, by `sweep` (λ from 0 to 2): the fixed points of b: `x1`, `x2`, `real` and `imag`
    (largest parts of the eigenvalues), `kind` by point (NaN and "" beyond the last); its attributes
    `changes` and `after`: λ, to 1e-4, at which kinds change, and into which.
    Part `turns`, by `flow` (Example 19 at 1.5, hopf_ring): `s` and `relative` displacement of the
    return map (sample; NaN for a path that does not go around).
    Part `pictures`: see `_double_well_pictures.pictures`.

    Raises LimitcyclesError: fewer than 48 cells, 200 paths or 2 systems, or cells not divisible by
    four.
    """
    cells, paths, count = settings["cells"], settings["paths"], settings["systems"]
    if cells < 48 or cells % 4 or paths < 200 or count < 2:
        raise LimitcyclesError(
            f"the claim double-well needs cells that are a multiple of 4 from 48 on, at least 200 "
            f"paths and 2 systems, not {cells}, {paths} and {count}; change `theory`."
        )
    seed = settings["seed"]
    bar = track(total=len(LAMBDAS) * 2 + 6, unit="part", what="double well")
    steady, shown = _steady(cells, paths // PATH_SHARE, seed, settings["level"], bar)
    orbits, turns = _orbits(cells, paths // PATH_SHARE, count, seed, settings["level"], bar)
    noise, cold = _noise(cells, bar)
    result = {
        "steady": steady,
        "orbits": orbits,
        "noise": noise,
        "points": _points(min(MOST_LAMBDAS, 2 * count + 1)),
        "turns": turns,
        "pictures": pictures(LAMBDAS, shown | cold),
    }
    bar.update()
    bar.close()
    return result


def box_at(temperature: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """A box outside of which e^{−Φ/T} is below e^{−20} of its largest value."""
    first = 1.1 * np.sqrt(1 + np.sqrt(80 * temperature))
    second = 6.6 * np.sqrt(temperature)
    return ((-first, first), (-second, second))


def shift_of_points(lam: float) -> float:
    """Largest distance of a critical point of Φ, (0, 0) and (±1, 0), from the nearest of f."""
    system = systems.double_well(lam)
    found = dynamics.fixed_points(system.drift, SQUARE, jacobian=system.jacobian)
    positions = np.array([point.position for point in found])
    critical = np.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    return float(np.linalg.norm(critical[:, None] - positions, axis=-1).min(1).max())


def _steady(cells: int, paths: int, seed: int, level: float, bar):
    rows, shown = [], {}
    for lam in LAMBDAS:
        system = systems.double_well(lam)
        l1, best, rates, picture = on_grids(system, systems.WELLS_BOX, cells)
        rate, low, high = simulated_rate(system, paths, stream(seed, f"double well {lam}"), level)
        shown[lam, 1.0] = picture
        single = {
            "l1_extrapolated": best,
            "rate": rate,
            "rate_low": low,
            "rate_high": high,
            "rate_exact": exact_rate(lam),
            "shift": shift_of_points(lam),
        }
        rows.append(
            xr.Dataset({name: ((), value) for name, value in single.items()}).assign(
                l1=("grid", l1), rate_grid=("grid", rates)
            )
        )
        bar.update()
    result = xr.concat(rows, "lam").assign_coords(lam=list(LAMBDAS), grid=[cells // 2, cells])
    return result.assign_attrs(paths=paths, level=level, temperature=1.0), shown


def _orbits(cells: int, paths: int, count: int, seed: int, level: float, bar):
    starts = START_FACTOR * count
    flows = {f"lambda-{lam:g}": systems.double_well(lam) for lam in LAMBDAS}
    flows |= {"hopf_ring": systems.hopf_ring(), "van_der_pol": systems.van_der_pol()}
    known = {"hopf_ring": 2 * np.pi, "van_der_pol": 6.663286859323130}
    # Dulac's function knows nothing of λ, nor may the sign depend on it
    general = systems.double_well(sp.Symbol("lam", real=True))
    proof = dynamics.dulac(general, systems.double_well_dulac())
    rows, turns = [], {}
    for name, system in flows.items():
        box = system.box if name == "van_der_pol" else SQUARE
        search = dynamics.limit_cycles(
            system.drift, box, jacobian=system.jacobian, samples=SAMPLES + count
        )
        begin = dynamics.random_starts(box, starts, stream(seed, f"starts {name}"))
        ends = dynamics.basin_shares(system.drift, box, search=search, starts=begin, max_time=300)
        of_19 = name.startswith("lambda")
        criterion = proof if of_19 else dynamics.dulac(system, systems.double_well_dulac())
        row = {
            "starts": starts,
            "on_closed": ends.on_closed_orbit,
            "undecided": ends.shares["undecided"],
            "cycles": len(search.cycles),
            "bands": len(search.bands),
            "complete": search.complete,
            "closest": search.closest,
            "period": search.cycles[0].period if search.cycles else np.nan,
            "known_period": known.get(name, np.nan),
            "dulac": criterion.sign or 0,
            "settled": _settled(system, begin[:5], search),
        }
        measured = ("l1", "rate", "rate_low", "rate_high", "rate_grid", "rate_exact")
        row |= dict.fromkeys(measured, np.nan)
        if name == "hopf_ring":
            _, best, rates, _ = on_grids(system, system.box, cells)
            rate = simulated_rate(system, paths, stream(seed, "ring"), level)
            row |= dict(zip(measured, (best, *rate, rates[-1], ring_rate()), strict=True))
        rows.append(row)
        if name in ("lambda-1.5", "hopf_ring"):
            turns[name] = search.maps[0]
        bar.update()
    table = xr.Dataset(
        {key: ("system", [row[key] for row in rows]) for key in rows[0]},
        coords={"system": list(flows)},
        attrs={
            "dulac_expression": str(proof.expression),
            "lyapunov_coefficient": dynamics.lyapunov_coefficient(flows["lambda-1.5"], np.zeros(2)),
            "pitchfork": PITCHFORK,
        },
    )
    maps = xr.Dataset(
        {
            "s": (("flow", "sample"), [scan.start for scan in turns.values()]),
            "relative": (
                ("flow", "sample"),
                [scan.displacement / scan.start for scan in turns.values()],
            ),
        },
        coords={"flow": list(turns)},
    )
    return table, maps


def _settled(system: systems.System, starts: np.ndarray, search: dynamics.CycleSearch) -> float:
    """Share of paths that come back to within 1e-6 of the length, a time of 50 after `starts`."""
    if any(point.is_sink for point in search.fixed_points):
        return np.nan  # they have come to rest
    final = dynamics.basin_shares(
        system.drift, SQUARE, search=_nothing(search), starts=starts, max_time=50.0
    ).final
    return dynamics.closed_orbits(system.drift, final, 30.0, 1e-6, max_returns=3)[0]


def _nothing(search: dynamics.CycleSearch) -> dynamics.CycleSearch:
    """A search without a result: paths that are followed with it are never stopped."""
    return dynamics.CycleSearch(**(vars(search) | {
        "fixed_points": [], "sections": [], "maps": [], "cycles": [], "bands": [],
    }))  # fmt: skip


def _noise(cells: int, bar):
    potential = systems.double_well(0).potential
    shape = (len(LAMBDAS), len(TEMPERATURES))
    single = {
        name: np.full(shape, np.nan)
        for name in ("l1", "l1_coarse", "from_wells", "from_attractors")
    }
    several = {name: np.full((*shape, MOST_MODES), np.nan) for name in ("mode1", "mode2", "height")}
    cold = {}
    for i, lam in enumerate(LAMBDAS):
        attractors = _attractors(lam)
        for k, temperature in enumerate(TEMPERATURES):
            system = systems.double_well(lam, temperature=temperature)
            box = box_at(temperature)
            coarse = solved(system, box, cells // 2, potential, temperature)[2]
            generator, density, fine = solved(system, box, cells, potential, temperature)
            places, heights = analysis.modes(generator.grid, density, least=1e-3)
            places, heights = places[:MOST_MODES], heights[:MOST_MODES]
            for name, values in zip(several, (*places.T, heights), strict=True):
                several[name][i, k, : len(values)] = values
            single["l1"][i, k], single["l1_coarse"][i, k] = fine, coarse
            for name, where in (("wells", [[-1, 0], [1, 0]]), ("attractors", attractors)):
                away = np.linalg.norm(places[0] - np.array(where), axis=-1).min()
                single[f"from_{name}"][i, k] = away
            cold[lam, temperature] = (generator.grid, density)
        bar.update()
    dims = ("lam", "temperature", "mode")
    values = {name: (dims[:2], v) for name, v in single.items()}
    values |= {name: (dims, v) for name, v in several.items()}
    coords = {"lam": list(LAMBDAS), "temperature": list(TEMPERATURES)}
    return xr.Dataset(values, coords=coords), {(lam, t): v for (lam, t), v in cold.items() if t < 1}


def _attractors(lam: float) -> np.ndarray:
    """Points to which the paths of ẋ = b(x) go, (k, 2): sinks, and the weak focus at the origin."""
    system = systems.double_well(lam)
    found = dynamics.fixed_points(system.drift, SQUARE, jacobian=system.jacobian, starts=11)
    return np.array([p.position for p in found if p.is_sink or p.kind == "centre"])


def _points(count: int) -> xr.Dataset:
    sweep = np.round(np.linspace(0, LARGEST, count), 10)
    names = ("x1", "x2", "real", "imag")
    values = {name: np.full((len(sweep), POINTS), np.nan) for name in names}
    kinds = np.full((len(sweep), POINTS), "", dtype="<U16")
    for i, lam in enumerate(sweep):
        system = systems.double_well(float(lam))
        found = dynamics.fixed_points(system.drift, SQUARE, jacobian=system.jacobian, starts=5)
        for k, point in enumerate(found):
            parts = (*point.position, point.eigenvalues.real.max(), point.eigenvalues.imag.max())
            for name, value in zip(names, parts, strict=True):
                values[name][i, k] = value
            kinds[i, k] = point.kind
    changes = dynamics.kind_changes(
        systems.double_well, [0.3, 0.7, 1.1], SQUARE, tolerance=1e-4, starts=5
    )
    return xr.Dataset(
        {name: (("sweep", "point"), v) for name, v in (values | {"kind": kinds}).items()},
        coords={"sweep": sweep},
        attrs={
            "changes": [change.parameter for change in changes],
            "after": ["; ".join(change.after) for change in changes],
        },
    )
