"""Fokker–Planck equations on grids: generator, steady state, evolution and analysis.

`Grid` and `generator` make dρ/dt = Lρ for dx = b(x) dt + √(2 T D(x)) dW (Itô); `steady_state` and
`evolve` solve it, and the functions of `analysis` take the results apart.

>>> import numpy as np
>>> from limitcycles import fokker_planck as fp
>>> def drift(x):  # (..., 2) -> (..., 2): −Fx with a rotation
...     return np.stack([x[..., 1] - x[..., 0], -x[..., 0] - x[..., 1]], axis=-1)
>>> made = fp.generator(fp.Grid((-4, -4), (4, 4), (64, 64)), drift, np.eye(2), temperature=0.3)
>>> density = fp.steady_state(made)
>>> round(fp.analysis.entropy_production(made, density), 1)  # nats per unit of time
2.0
"""

from limitcycles.theory.fokker_planck import analysis
from limitcycles.theory.fokker_planck.evolution import (
    Evolution,
    EvolutionError,
    evolve,
    extrapolated_evolve,
)
from limitcycles.theory.fokker_planck.generator import (
    Generator,
    GeneratorError,
    GridWarning,
    generator,
)
from limitcycles.theory.fokker_planck.grid import EdgeMassWarning, Grid, GridError
from limitcycles.theory.fokker_planck.steady import (
    SteadyStateError,
    extrapolated_steady_state,
    steady_state,
)

__all__ = [
    "EdgeMassWarning",
    "Evolution",
    "EvolutionError",
    "Generator",
    "GeneratorError",
    "Grid",
    "GridError",
    "GridWarning",
    "SteadyStateError",
    "analysis",
    "evolve",
    "extrapolated_evolve",
    "extrapolated_steady_state",
    "generator",
    "steady_state",
]
