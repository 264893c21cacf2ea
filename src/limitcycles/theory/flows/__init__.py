"""The deterministic part ẋ = b(x): fixed points, return maps, limit cycles, closed orbits.

>>> from limitcycles import flows, systems
>>> drift = systems.van_der_pol().drift
>>> (cycle,) = flows.limit_cycles(drift, [(-4, 4), (-6, 6)]).cycles
>>> round(cycle.period, 4), cycle.stability
(6.6633, 'stable')
"""

from limitcycles.theory.flows.basins import Basins, basin_shares
from limitcycles.theory.flows.certificates import Dulac, dulac, lyapunov_coefficient
from limitcycles.theory.flows.cycles import (
    Cycle,
    CycleSearch,
    ReturnMap,
    Section,
    limit_cycles,
    ray,
    return_map,
)
from limitcycles.theory.flows.field import DynamicsError, Field
from limitcycles.theory.flows.orbits import Orbit, closed_orbits, closes, random_starts
from limitcycles.theory.flows.points import (
    Change,
    FixedPoint,
    fixed_points,
    index_of_box,
    kind_changes,
    kind_of,
)

__all__ = [
    "Basins",
    "Change",
    "Cycle",
    "CycleSearch",
    "Dulac",
    "DynamicsError",
    "Field",
    "FixedPoint",
    "Orbit",
    "ReturnMap",
    "Section",
    "basin_shares",
    "closed_orbits",
    "closes",
    "dulac",
    "fixed_points",
    "index_of_box",
    "kind_changes",
    "kind_of",
    "limit_cycles",
    "lyapunov_coefficient",
    "random_starts",
    "ray",
    "return_map",
]
