"""What the linear theory predicts for a trajectory near three of its points."""

from __future__ import annotations

import numpy as np
import xarray as xr

from limitcycles.diffusion import curvature
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.theory.linear_sgd import Epoch
from limitcycles.training import networks, optimisers
from limitcycles.training.compiled.engine import Engine
from limitcycles.training.optimisers import sgd
from limitcycles.training.samplers import CONTROLS
from limitcycles.training.trajectories.reading import after_transient, read

MODES = 40
SHORT = 10_000  # epochs: a shorter run is not worth the curvature of a long one
FULL = {
    "coarse": 60,
    "batches": 240,
    "noise": 60_000,
    "passes": 800,
    "last": 20_000,
    "last_h": 1000,
}
LESS = {"coarse": 10, "batches": 30, "noise": 6000, "passes": 200, "last": 1000, "last_h": 60}


class Place:
    """H, D and the linear theory at the weights after one epoch.

    `leading` (40, d) are the leading eigenvectors of H; `values` (mode,) and `modes` (mode, d) the
    eigenvalues and eigenvectors of those of them that relax within the run, so that they have a
    steady state to predict. 40, because the planes lie among the first six and at later places,
    where H has turned, within the span of these but for some percent (`captured`).
    """

    def __init__(self, sight: Sight, epoch: int):
        self.epoch = epoch
        weights = read(sight.trajectory, epoch, epoch + 1)[0]
        sight.engine.restore(sight.engine.state() | {"weights": weights})
        networks.restore(sight.network, weights, sight.buffers)
        values, self.leading = curvature.leading(
            sight.network, *sight.data, sight.batches(), MODES, coarse=sight.effort["coarse"]
        )
        values = values + sight.decay
        relax = values * sight.pace * sight.epochs > 1
        self.values, self.modes = values[relax], self.leading[relax]
        self.noise = self._noise(sight)
        self.last = self._last(sight)
        self.theory = self._theory(sight)
        while len(self.values) and not self._stable():  # by the Hessian of the last batch alone
            self._drop()
            self.theory = self._theory(sight)

    def _stable(self) -> bool:
        return np.abs(np.linalg.eigvals(self.theory.transition)).max() < 1

    def _drop(self) -> None:
        """Leave the flattest of the modes out."""
        cut = np.s_[:-1, :-1]
        noise, last = self.noise, self.noise.last
        self.values, self.modes = self.values[:-1], self.modes[:-1]
        self.noise = curvature.Noise(
            noise.diffusion[cut], noise.rest[cut], None if last is None else last[cut]
        )
        self.last = None if self.last is None else self.last[cut]

    def _last(self, sight: Sight) -> np.ndarray | None:
        """H of the smaller last batches, (mode, mode)."""
        if self.noise.last is None or not len(self.values):
            return None
        examples = sight.engine.examples
        left = examples % sight.engine.batch
        small = [
            sight.rng.choice(examples, left, replace=False) for _ in range(sight.effort["last_h"])
        ]
        along = curvature.hessian(sight.network, *sight.data, small, self.modes) @ self.modes.T
        return (along + along.T) / 2 + sight.decay * np.eye(len(along))

    def _noise(self, sight: Sight) -> curvature.Noise:
        none = np.zeros((len(self.values), len(self.values)))
        if sight.sampler == "full-batch" or not len(self.values):
            return curvature.Noise(none, none, None)
        if sight.sampler == "gaussian":
            D = curvature.whole_batch_diffusion(sight.network, *sight.data, self.modes)
            return curvature.Noise(D, none, None)
        return curvature.noise(
            sight.engine,
            self.modes,
            sight.rng,
            replacement=sight.replacement,
            batches=sight.effort["noise"],
            passes=sight.effort["passes"],
            last=sight.effort["last"],
        )

    def _theory(self, sight: Sight) -> Epoch | None:
        if not len(self.values):
            return None
        examples = sight.engine.examples
        if sight.sampler in CONTROLS:  # every step is like the others
            examples = sight.engine.steps(examples) * sight.engine.batch
        return curvature.epoch_of(
            np.diag(self.values),
            self.noise,
            examples,
            sight.engine.batch,
            sight.rate,
            replacement=sight.replacement,
            momentum=sight.optimiser.momentum,
            nesterov=sight.optimiser.nesterov,
            last=self.last,
        )

    def rates(self, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Area rates and their long-run variances in `planes` (plane, 2, d), and the smaller share
        of the two directions of a plane that lies within the modes; each (plane,). NaN without
        a mode that relaxes."""
        if not len(self.values):
            return tuple(np.full(len(planes), np.nan) for _ in range(3))
        within = planes @ self.modes.T
        rates = np.array([self.theory.area_rate(plane) for plane in within])
        variances = np.array([self.theory.area_variance(plane) for plane in within])
        return rates, variances, (within**2).sum(2).min(1)

    def commutator(self) -> float:
        """‖HD − DH‖/(‖H‖‖D‖), Frobenius, of D + R: 0 where the linear theory has no current.

        NaN without noise.
        """
        D, H = self.noise.diffusion + self.noise.rest, np.diag(self.values)
        if not D.any():
            return float("nan")
        return float(np.linalg.norm(H @ D - D @ H) / (np.linalg.norm(H) * np.linalg.norm(D)))


class Sight:
    """How SGD sees a trajectory's loss: network, data, batches, options.

    Raises LimitcyclesError: the images make fewer than two mini-batches; another optimiser than
    SGD, which the linear theory is of.
    """

    def __init__(
        self, trajectory: xr.Dataset, dataset: xr.Dataset, run: dict, rate: float, seed: int
    ):
        training = run["training"]
        self.trajectory, self.rate = trajectory, rate
        self.network = networks.build(run["network"]).train()
        self.buffers = networks.flatten(self.network)[1].numpy()
        images, labels = dataset["train_image"].values, dataset["train_label"].values
        self.data = images, labels.astype(np.int64)
        self.engine = Engine(self.network, images, labels, training["batch_size"])
        self.optimiser = optimisers.of(training)
        if not isinstance(self.optimiser, sgd.Optimiser):
            kind = training["optimiser"]["kind"]
            raise LimitcyclesError(
                f"{trajectory.attrs['run']}: currents are predicted for SGD, and its optimiser is "
                f"{kind}; take a trajectory of kind sgd into the arms of the claim"
            )
        self.decay = self.optimiser.weight_decay
        self.sampler = training["sampler"]
        whole_batch = self.sampler in ("full-batch", "gaussian")
        if not whole_batch and self.engine.examples < 2 * self.engine.batch:
            raise LimitcyclesError(
                f"{trajectory.attrs['run']}: {self.engine.examples} images are fewer than two "
                f"batches of {self.engine.batch}, which its currents need; lower "
                "training.batch_size"
            )
        self.replacement = self.sampler != "without-replacement"
        self.rng = np.random.default_rng(seed)
        self.epochs = trajectory.sizes["epoch"] - after_transient(trajectory)
        steps = self.engine.steps(self.engine.examples)
        self.pace = rate * steps / (1 - self.optimiser.momentum)  # per epoch, times h: 1/relaxation
        self.effort = FULL if self.epochs > SHORT else LESS

    def batches(self) -> list[np.ndarray]:
        """Batches for the Hessian: shuffled passes, without the smaller last batches."""
        examples, size = self.engine.examples, self.engine.batch
        if self.sampler in CONTROLS:
            return [np.arange(examples)]
        whole, found = examples // size, []
        while len(found) < self.effort["batches"]:
            found += list(self.rng.permutation(examples)[: whole * size].reshape(whole, size))
        return found[: max(self.effort["batches"], 1)]
