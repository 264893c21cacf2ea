"""Manufactured steady states and closed forms for the tests of the Fokker–Planck library."""

import numpy as np
import sympy
from scipy.linalg import expm, solve_continuous_lyapunov

X, Y = sympy.symbols("x y", real=True)


def function(expression, variables=(X, Y)):
    """An expression, vector or matrix of them as a function of points (n, d)."""
    array = np.array(expression, dtype=object)
    parts = [sympy.lambdify(variables, e, "numpy") for e in array.ravel()]

    def evaluate(points):
        columns = [np.broadcast_to(part(*points.T), len(points)) for part in parts]
        return np.stack(columns, axis=-1).reshape(len(points), *array.shape)

    return evaluate


def steady_drift(potential, diffusion, temperature=1, stream=0):
    """b such that ρ = e^{−Φ/T} is steady with J = (∂ψ/∂y, −∂ψ/∂x): bρ = J + T ∇·(Dρ)."""
    rho = sympy.exp(-potential / temperature)
    J = (sympy.diff(stream, Y), -sympy.diff(stream, X))
    variables = (X, Y)
    return [
        sympy.simplify(
            J[i] / rho
            + temperature
            * sum(
                sympy.diff(diffusion[i][k], variables[k])
                - diffusion[i][k] * sympy.diff(potential, variables[k]) / temperature
                for k in range(2)
            )
        )
        for i in range(2)
    ]


def on_grid(grid, log_density):
    """The density ∝ e^{log_density(points)} at the centres, of mass 1 on the grid."""
    logs = np.ravel(log_density(grid.centres))
    return grid.normalise(np.exp(logs - logs.max()).reshape(grid.shape))


def gaussian(grid, mean, covariance):
    inverse = np.linalg.inv(covariance)
    return on_grid(grid, lambda x: -np.einsum("ni,ij,nj->n", x - mean, inverse, x - mean) / 2)


class OrnsteinUhlenbeck:
    """dx = −Fx dt + √(2 T D) dW: steady covariance and the Gaussian at any time."""

    def __init__(self, F, D, temperature=1.0):
        self.F, self.D, self.temperature = np.array(F, float), np.array(D, float), temperature
        self.covariance = solve_continuous_lyapunov(self.F, 2 * temperature * self.D)

    def drift(self, points):
        return -points @ self.F.T

    def at(self, time, mean, covariance):
        decay = expm(-self.F * time)
        spread = self.covariance + decay @ (covariance - self.covariance) @ decay.T
        return decay @ mean, spread

    def box(self, sigmas):
        wide = sigmas * np.sqrt(np.diag(self.covariance))
        return tuple(-wide), tuple(wide)


def orders(errors):
    """log₂ of the ratios of errors on grids each twice as fine."""
    errors = np.array(errors)
    return np.log2(errors[:-1] / errors[1:])
