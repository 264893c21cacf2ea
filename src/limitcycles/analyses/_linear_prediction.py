"""What the linear theory predicts for a trajectory near three of its points."""

from __future__ import annotations

import numpy as np
import xarray as xr

from limitcycles import curvature, networks
from limitcycles.fused.engine import Descent, Engine
from limitcycles.fused.trajectory import read
from limitcycles.series.linear_sgd import Epoch

MODES = 40
SHORT = 10_000  # epochs: a shorter run is not worth the curvature of a long one
FULL = {"coarse": 60, "batches": 240, "noise": 60_000, "passes": 400, "last": 4000, "last_h": 1000}
LESS = {"coarse": 20, "batches": 60, "noise": 6000, "passes": 200, "last": 1000, "last_h": 200}


class Place:
    """H, D and the linear theory at the weights after one epoch.

    `values` (mode,) and `modes` (mode, d): the leading eigenvalues of H, the positive ones among
    the first 40, and their eigenvectors. 40, because the planes lie among the first six: what is
    coupled to them by noise alone does not turn them, and the rest of H has relaxation times of
    the order of the run itself, for which there is no steady state to predict.
    """

    def __init__(self, sight: Sight, epoch: int):
        engine, rng, effort = sight.engine, sight.rng, sight.effort
        self.epoch = epoch
        weights = read(sight.trajectory, epoch, epoch + 1)[0]
        engine.restore(engine.state() | {"weights": weights})
        networks.restore(sight.network, weights, sight.buffers)
        batches = sight.batches()
        values, modes = curvature.leading(
            sight.network, *sight.data, batches, MODES, coarse=effort["coarse"]
        )
        there = values + sight.decay > 0
        self.values, self.modes = values[there] + sight.decay, modes[there]
        self.noise = self._noise(sight)
        self.last = None
        if self.noise.last is not None:  # its Hessian, by small batches of their own
            left = engine.examples % engine.batch
            small = [rng.choice(engine.examples, left, False) for _ in range(effort["last_h"])]
            along = curvature.hessian(sight.network, *sight.data, small, self.modes)
            self.last = along @ self.modes.T
            self.last = (self.last + self.last.T) / 2 + sight.decay * np.eye(len(self.last))
        self.theory = self._theory(sight)

    def _noise(self, sight: Sight) -> curvature.Noise:
        none = np.zeros((len(self.values), len(self.values)))
        if sight.sampler == "full-batch":
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

    def _theory(self, sight: Sight) -> Epoch:
        return curvature.epoch_of(
            np.diag(self.values),
            self.noise,
            sight.engine.examples,
            sight.engine.batch,
            sight.rate,
            replacement=sight.replacement,
            momentum=sight.descent.momentum,
            nesterov=sight.descent.nesterov,
            last=self.last,
        )

    def rates(self, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Area rates and their long-run variances in `planes` (plane, 2, d), and the smaller share
        of the two directions of a plane that lies within the modes; each (plane,)."""
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
    """How SGD sees a trajectory's loss: network, data, batches, options."""

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
        self.descent = Descent.of(training)
        self.decay = self.descent.weight_decay
        self.sampler = training["sampler"]
        self.replacement = self.sampler != "without-replacement"
        self.rng = np.random.default_rng(seed)
        self.effort = FULL if trajectory.sizes["epoch"] > SHORT else LESS

    def batches(self) -> list[np.ndarray]:
        """Batches for the Hessian: shuffled passes, without the smaller last batches."""
        examples, size = self.engine.examples, self.engine.batch
        if self.sampler in ("full-batch", "gaussian"):
            return [np.arange(examples)]
        whole, found = examples // size, []
        while len(found) < self.effort["batches"]:
            found += list(self.rng.permutation(examples)[: whole * size].reshape(whole, size))
        return found[: max(self.effort["batches"], 1)]
