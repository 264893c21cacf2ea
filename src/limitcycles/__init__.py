"""Measure what papers claim about stochastic gradient descent.

The names in `__all__` are the library for other people's code; README.md lists them, and each has
an example in its docstring. They are loaded when they are first used. All else is behind them, in
the rooms of src/limitcycles/README.md, and may change.
"""

from importlib import import_module

__version__ = "0.1.0"

_PUBLIC = {
    "PerSampleGradients": "diffusion.per_sample",
    "Rows": "diffusion.matrix",
    "currents": "statistics",
    "exact": "diffusion.matrix",
    "flows": "theory",
    "fokker_planck": "theory",
    "jko": "theory",
    "langevin": "theory",
    "linear_sgd": "theory",
    "linear_theory": "theory",
    "matrix_free": "diffusion.krylov",
    "spectrum_of": "diffusion.network_spectrum",
    "systems": "theory",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'limitcycles' has no attribute '{name}'")
    room = import_module(f"limitcycles.{_PUBLIC[name]}")
    found = getattr(room, name, None) or import_module(f"{room.__name__}.{name}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
