"""The deterministic part ẋ = b(x): fixed points, return maps, limit cycles, closed orbits."""

from limitcycles.dynamics.basins import Basins, basin_shares
from limitcycles.dynamics.certificates import Dulac, dulac, lyapunov_coefficient
from limitcycles.dynamics.cycles import (
    Cycle,
    CycleSearch,
    ReturnMap,
    Section,
    limit_cycles,
    ray,
    return_map,
)
from limitcycles.dynamics.field import DynamicsError, Field
from limitcycles.dynamics.orbits import Orbit, closed_orbits, closes, random_starts
from limitcycles.dynamics.points import (
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
