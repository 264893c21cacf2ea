"""Fokker–Planck equations on grids: generator, steady state, evolution and analysis.

`Grid` and `generator` make dρ/dt = Lρ for dx = b(x) dt + √(2 T D(x)) dW (Itô); `steady_state` and
`evolve` solve it, and the functions of `analysis` take the results apart.
"""

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
    "evolve",
    "extrapolated_evolve",
    "extrapolated_steady_state",
    "generator",
    "steady_state",
]
