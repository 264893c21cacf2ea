"""One contestant of `fokker_planck.py` in a process of its own: drift to density, timed.

Timed is everything from the functions of the problem to the density: grid, matrix or compiled
function, solution. Imports are not, nor is what py-pde does before its loop (it compiles): that
is given apart.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings

import densities
import numpy as np
from densities import Problem
from processes import memory_mib, serve

SHORT = 0.3  # seconds in which a short solution is repeated, to take the median
MOST = 15  # repetitions
CRANK_NICOLSON = 0.6  # step times square root of the error asked for: see FiPy.evolution
CORNERS = ((1, 1), (1, -1))  # where the drift is largest, up to a symmetry
UNIT = 0.5  # a whole number of steps
EULER = 0.2  # step over h²/T of the largest eigenvalue of D: the limit of stability is 1/4


class Contestant:
    """`steady` and `evolution` return (x, y, density): coordinates of the centres, values there.

    `limit` is the error that the result may have (it sets tolerances and steps, never the grid);
    `end` the time at which an evolution to the steady state may stop.
    """

    loop_s: float | None = None  # of the last solution: what counts, if not all of it
    counts: dict = {}  # noqa: RUF012  of the last solution

    def steady(self, problem: Problem, cells: int, limit: float, end: float):
        raise NotImplementedError

    def evolution(self, problem: Problem, cells: int, limit: float, time: float):
        raise NotImplementedError


def start(x, y):
    """The first density of an evolution at the centres, not normalised."""
    return np.exp(densities.log_gaussian(x, y, densities.START_MEAN, densities.START_COVARIANCE))


def broad(problem: Problem, x, y):
    """The first density of an evolution to the steady state."""
    return np.exp(densities.log_gaussian(x, y, (0, 0), problem.temperature * np.eye(2)))


class Ours(Contestant):
    """limitcycles: `extrapolated` or plain (second order)."""

    def __init__(self, extrapolated: bool):
        from limitcycles.theory import fokker_planck

        self.library, self.extrapolated = fokker_planck, extrapolated

    def generator(self, problem: Problem, cells: int):
        side = problem.side
        grid = self.library.Grid(-side, side, (cells, cells))
        return self.library.generator(
            grid,
            lambda points: np.stack(problem.drift(*points.T), axis=1),
            problem.diffusion,
            problem.temperature,
        )

    def steady(self, problem, cells, limit, end):
        made = self.generator(problem, cells)
        name = "extrapolated_steady_state" if self.extrapolated else "steady_state"
        density = getattr(self.library, name)(made)
        return (*np.meshgrid(*made.grid.axes, indexing="ij"), density)

    def evolution(self, problem, cells, limit, time):
        made = self.generator(problem, cells)
        x, y = np.meshgrid(*made.grid.axes, indexing="ij")
        first = made.grid.normalise(start(x, y))
        evolve = self.library.extrapolated_evolve if self.extrapolated else self.library.evolve
        # The tolerance is for the solution of third order in a step; the error is far smaller.
        result = evolve(made, first, [0, time], tolerance=min(10 * limit, 1e-2))
        self.counts = {"steps": result.steps, "factorisations": result.factorisations}
        return x, y, result.densities[-1]

    def relaxation(self, problem: Problem, limit: float) -> float:
        """The time at which an evolution from `broad` is within `limit` of the steady state."""
        made = self.generator(problem, 64)
        x, y = np.meshgrid(*made.grid.axes, indexing="ij")
        times = np.arange(0, 40, 0.5)
        first = made.grid.normalise(broad(problem, x, y))
        found = self.library.evolve(made, first, times, tolerance=limit / 10).densities
        steady = self.library.steady_state(made)
        off = np.abs(found - steady).sum(axis=(1, 2)) * made.grid.volume / 2
        return float(times[np.argmax(off < limit)])


class FPlanck(Contestant):
    """fplanck: `steady_state` (shift-invert Arnoldi on LU) and `propagate` (expm_multiply).

    With `force` and `potential` at once it would count the diffusion twice, so that it gets the
    potential alone where there is one (exact at the centres), else the force.
    """

    def __init__(self):
        vars(np).setdefault("product", np.prod)  # 0.2.2 uses the name, which NumPy 2 has not
        import fplanck
        from scipy import constants

        self.library, self.boltzmann = fplanck, constants.k

    def solver(self, problem: Problem, cells: int):
        if not problem.isotropic:
            raise NotImplementedError("no tensors")
        side = 2 * problem.side
        if problem.potential is not None:
            driven = {"potential": problem.potential}
        else:
            driven = {"force": lambda x, y: np.array(problem.drift(x, y))}
        return self.library.fokker_planck(
            temperature=problem.temperature / self.boltzmann,
            drag=1.0,
            extent=[side, side],
            resolution=side / cells * (1 + 1e-12),  # it rounds their quotient up
            boundary=self.library.boundary.reflecting,
            **driven,
        )

    def steady(self, problem, cells, limit, end):
        solver = self.solver(problem, cells)
        return (*solver.grid, solver.steady_state())

    def evolution(self, problem, cells, limit, time):
        solver = self.solver(problem, cells)
        return (*solver.grid, solver.propagate(lambda x, y: start(x, y), time))


class FiPy(Contestant):
    """FiPy, SciPy solvers: exponential convection (central with a tensor), conservative.

    Steady: one direct solution, with the value in one cell near the mode held by a large source, as
    its manual advises for internal fixed values. Evolution: Crank-Nicolson, Bi-CGSTAB; implicit
    Euler, which its examples start with, needs hundreds of steps for the same error.
    """

    def __init__(self):
        os.environ["FIPY_SOLVERS"] = "scipy"
        import fipy
        from fipy.solvers import scipy

        self.library, self.solvers = fipy, scipy

    def setting(self, problem: Problem, cells: int):
        if not problem.isotropic:
            raise NotImplementedError(
                "oblique diffusion is an explicit correction: no direct solution, and no "
                "Crank-Nicolson step of second order"
            )
        h, side = 2 * problem.side / cells, problem.side
        mesh = self.library.Grid2D(dx=h, dy=h, nx=cells, ny=cells)
        mesh = mesh + ((-side,), (-side,))  # noqa: RUF005  it moves the mesh
        drift = np.array(problem.drift(*np.array(mesh.faceCenters)))
        velocity = self.library.FaceVariable(mesh=mesh, rank=1, value=drift)
        # Nothing flows through the sides: FiPy adds no diffusion there, but it does add convection.
        velocity.setValue(0.0, where=mesh.exteriorFaces)
        x, y = np.array(mesh.cellCenters)
        return mesh, velocity, x, y

    def steady(self, problem, cells, limit, end):
        fipy = self.library
        mesh, velocity, x, y = self.setting(problem, cells)
        held = np.zeros(mesh.numberOfCells)
        nearest = np.argmin((x - problem.mode[0]) ** 2 + (y - problem.mode[1]) ** 2)
        held[nearest] = 1e8
        density = fipy.CellVariable(mesh=mesh, value=0.5)
        source = fipy.CellVariable(mesh=mesh, value=held)
        equation = (
            fipy.DiffusionTerm(coeff=problem.temperature)
            - fipy.ExponentialConvectionTerm(coeff=velocity)
            - fipy.ImplicitSourceTerm(coeff=source)
            + source
        )
        equation.solve(var=density, solver=self.solvers.LinearLUSolver(tolerance=limit / 1e3))
        return x, y, density.value.copy()

    def evolution(self, problem, cells, limit, time):
        """Steps ∝ √limit, as the error is of second order in them."""
        fipy, T = self.library, problem.temperature
        mesh, velocity, x, y = self.setting(problem, cells)
        density = fipy.CellVariable(mesh=mesh, value=start(x, y), hasOld=True)
        old = density.old
        equation = fipy.TransientTerm() == (
            fipy.DiffusionTerm(coeff=T / 2)
            - fipy.ExponentialConvectionTerm(coeff=velocity / 2)
            + ((T * old.faceGrad - velocity * old.arithmeticFaceValue) / 2).divergence
        )
        steps = int(np.ceil(CRANK_NICOLSON / np.sqrt(limit) * time))
        solver = self.solvers.LinearBicgstabSolver(tolerance=limit / 1e2, iterations=1000)
        for _ in range(steps):
            density.updateOld()
            equation.solve(var=density, dt=time / steps, solver=solver)
        self.counts = {"steps": steps}
        return x, y, density.value.copy()


class PyPDE(Contestant):
    """py-pde, Numba: conservative expression, explicit Euler near its limit of stability.

    At the same error this was faster than its adaptive steps, Runge-Kutta and SciPy's integrators.
    It has no solver for steady states: they are evolved to.
    """

    def __init__(self):
        import pde

        self.library, self.compiled = pde, {}

    def stepper(self, problem: Problem, grid, cells: int):
        """(its compiled loop, its step), kept, as it serves for all times."""
        if (problem.what, cells) in self.compiled:
            return self.compiled[problem.what, cells]
        pde, side, T, D = self.library, problem.side, problem.temperature, problem.diffusion
        b_x, b_y = problem.expressions
        diffused = f"{T} * laplace(p)"
        if not problem.isotropic:
            xx, xy, yy = T * D[np.triu_indices(2)]
            diffused = f"{xx}*d2_dx2(p) + {2 * xy}*d_dx(d_dy(p)) + {yy}*d2_dy2(p)"
        equation = pde.PDE(
            {"p": f"{diffused} - d_dx({b_x} * p) - d_dy({b_y} * p)"}, bc={"value": 0}
        )
        smallest, largest = np.linalg.eigvalsh(D)
        speed = max(sum(b**2 for b in problem.drift(side * u, side * v)) for u, v in CORNERS)
        step = min(EULER * (2 * side / cells) ** 2 / (T * largest), T * smallest / speed)
        step = UNIT / np.ceil(UNIT / step)
        state = pde.ScalarField(grid, 0.0)
        loop = pde.EulerSolver(equation, backend="numba").make_stepper(state, dt=step)
        loop(state, 0, step)
        self.compiled[problem.what, cells] = loop, step
        return loop, step

    def evolve(self, problem: Problem, cells: int, end: float, first):
        side = problem.side
        grid = self.library.CartesianGrid([[-side, side]] * 2, [cells, cells])
        x, y = np.moveaxis(grid.cell_coords, -1, 0)
        loop, step = self.stepper(problem, grid, cells)
        began = time.perf_counter()
        values = first(x, y)
        state = self.library.ScalarField(grid, values / values.max())
        loop(state, 0, end)
        self.loop_s = time.perf_counter() - began
        self.counts = {"steps": round(end / step)}
        return x, y, state.data

    def steady(self, problem, cells, limit, end):
        return self.evolve(problem, cells, end, lambda x, y: broad(problem, x, y))

    def evolution(self, problem, cells, limit, time):
        return self.evolve(problem, cells, time, start)


CONTESTANTS = {
    "limitcycles": lambda: Ours(extrapolated=True),
    "limitcycles, second order": lambda: Ours(extrapolated=False),
    "fplanck": FPlanck,
    "FiPy": FiPy,
    "py-pde": PyPDE,
}


def solve(contestant: Contestant, request: dict) -> dict:
    """Time and error of one solution; a short one is repeated, and the median taken."""
    problem = densities.PROBLEMS[request["problem"]]
    task = getattr(contestant, request["task"])
    seconds, before = [], []
    while True:
        contestant.loop_s, contestant.counts = None, {}
        began = time.perf_counter()
        x, y, density = task(problem, request["cells"], request["limit"], request["time"])
        whole = time.perf_counter() - began
        seconds.append(whole if contestant.loop_s is None else contestant.loop_s)
        before.append(whole - seconds[-1])
        if sum(seconds) + sum(before) > SHORT or len(seconds) == MOST:
            break
    x, y, density = (np.ravel(values) for values in (x, y, density))
    if request["task"] == "steady":
        exact = problem.steady(x, y)
    else:
        exact = problem.at(x, y, request["time"])
    return {
        "seconds": statistics.median(seconds),
        "before_s": statistics.median(before),
        "distance": densities.total_variation(density, exact),
        "memory": memory_mib(),
        **contestant.counts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, choices=CONTESTANTS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of coarse grids, of names that will change
    contestant = CONTESTANTS[arguments.name]()

    def answer(request: dict) -> dict:
        if request["do"] == "relaxation":
            problem = densities.PROBLEMS[request["problem"]]
            return {"time": contestant.relaxation(problem, request["limit"])}
        return solve(contestant, request)

    serve(answer)


if __name__ == "__main__":
    main()
