"""The norm of the gradient over all images along a long trajectory (Fig. 3c).

‖∇f‖/√d is the root mean square over the d weights, in nats per unit of weight; d counts all weights
of the network. In evaluation mode f is the loss that is evaluated, in training mode ∇f is what the
paper takes for the full gradient: the mean over mini-batches, each normalised by its own moments
(see `Engine.full_gradient`). The stored one has the images always in the order of the dataset,
whose last batches can lack a class or be small, and then outweigh all others; beside it stands one
with the images shuffled anew each time ("shuffled").
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.training.trajectories.reading import after_transient, read, training_of, values

READS = ("trajectory_statistics.seed",)

MODES = ("evaluation", "training")  # stored with the trajectory
KINDS = (*MODES, "shuffled")
COM = 100  # centre of mass of the exponential average in the authors' figure, in points
POINTS = 400  # of a curve, at most
ROWS = 256  # gradients read at once
EPOCHS = 4096  # of weights read at once
PARTITIONS = 20  # of the images into mini-batches


def measure(trajectory: xr.Dataset, dataset: xr.Dataset, settings: dict) -> dict[str, xr.Dataset]:
    """Norms of all stored gradients, thinned curves, and what the order of the images does.

    Part `norms`, by `gradient` (coordinate `epoch`), every gradient of the store, float64:
    `norm_evaluation`, `norm_training` and `norm_shuffled`, ‖∇f‖/√d in nats per unit of weight.

    Part `curve`, by `point` (coordinate `epoch`), at most 400 gradients: a quarter of them evenly
    spaced on a log scale and the rest evenly spaced, the first and the last among them. The same
    three, and of each `smoothed_<kind>` and `smoothed_after_<kind>`: their exponential average over
    all gradients before thinning (`smooth`), from epoch 0 and from the first epoch after the
    transient on (NaN before); `loss_evaluation`, `loss_training` (nats) and `error_evaluation`
    (percent) of the same images.

    Part `partitions`, by `epoch`: the first gradient after the transient and the last one. In
    training mode, over 20 random partitions of the images into mini-batches: `norm_one`, the root
    mean square of ‖∇f‖/√d of one partition, and `norm_expected`, that of their mean,
    sqrt(max(0, ‖ḡ‖² − tr S/20)/d) with S the covariance over partitions, which takes their scatter
    out (both nats per unit of weight).

    Attributes of all: `after`, the epoch after which the learning rate is constant, `epochs` of
    the run, `weights` d, and `com` of the average (points).

    Raises StorageError: a gradient is damaged, missing or not finite; LimitcyclesError: none is
    after the transient.
    """
    epoch = values(trajectory, "gradient_epoch")
    starts = range(0, len(epoch), ROWS)
    norms = {
        mode: np.concatenate(
            [norm(values(trajectory, f"gradient_{mode}", s, s + ROWS)) for s in starts]
        )
        for mode in MODES
    }
    after = after_transient(trajectory)
    later = epoch > after
    if not later.any():
        raise LimitcyclesError(f"no gradient after epoch {after}; lower gradient_every")
    shuffled = _Shuffled(trajectory, dataset, settings)
    norms["shuffled"] = shuffled.norms(epoch)
    attrs = {
        "after": after,
        "epochs": int(training_of(trajectory)["epochs"]),
        "weights": trajectory.sizes["weight"],
        "com": COM,
    }
    columns = {}
    for kind, its in norms.items():
        columns[f"norm_{kind}"] = its
        columns[f"smoothed_{kind}"] = smooth(its)
        columns[f"smoothed_after_{kind}"] = np.full(len(its), np.nan)
        columns[f"smoothed_after_{kind}"][later] = smooth(its[later])
    for name in ("loss_evaluation", "loss_training", "error_evaluation"):
        columns[name] = values(trajectory, name)
    kept = thin(len(epoch))
    return {
        "norms": _table({f"norm_{k}": norms[k] for k in KINDS}, epoch, "gradient", attrs),
        "curve": _table({k: v[kept] for k, v in columns.items()}, epoch[kept], "point", attrs),
        "partitions": _partitions(shuffled, epoch[later][[0, -1]], attrs),
    }


class _Shuffled:
    """Gradients over all images in training mode, the images shuffled anew for each."""

    def __init__(self, trajectory: xr.Dataset, dataset: xr.Dataset, settings: dict):
        # Imported here: a claim, which takes `norm` from this module, needs no compiler.
        from limitcycles.training import networks
        from limitcycles.training.compiled.engine import Engine

        run = json.loads(trajectory.attrs["settings"])
        images, labels = dataset["train_image"].values, dataset["train_label"].values
        size = run["training"]["batch_size"]
        self._trajectory = trajectory
        self._engine = Engine(networks.build(run["network"]), images, labels, size)
        self._rng = np.random.default_rng(stream(settings["seed"], "order of the images"))

    def norms(self, epochs: np.ndarray) -> np.ndarray:
        """‖∇f‖/√d with the weights after each of `epochs` (rising); (epoch,)."""
        found = []
        with track(total=len(epochs), unit="gradient", what="shuffled gradients", delay=10) as bar:
            for first in range(0, int(epochs[-1]) + 1, EPOCHS):
                inside = epochs[(epochs >= first) & (epochs < first + EPOCHS)]
                if len(inside):
                    block = read(self._trajectory, first, int(inside[-1]) + 1)
                for epoch in inside:
                    found.append(norm(self.gradient(block[epoch - first])[None])[0])
                    bar.update()
        return np.array(found)

    def at(self, epoch: int) -> np.ndarray:
        """Gradients of some partitions with the weights after `epoch`; (partition, d)."""
        (weights,) = read(self._trajectory, epoch, epoch + 1)
        return np.stack([self.gradient(weights) for _ in range(PARTITIONS)])

    def gradient(self, weights: np.ndarray) -> np.ndarray:
        """Mean over mini-batches, weighted by their sizes; (d,) float64."""
        engine = self._engine
        engine.restore(engine.state() | {"weights": weights})  # training mode needs no moments
        order, size = self._rng.permutation(engine.examples), engine.batch
        batches = [order[k * size : (k + 1) * size] for k in range(engine.steps(len(order)))]
        gradients = [engine.gradient(batch)[1] for batch in batches]
        return np.average(gradients, axis=0, weights=[len(batch) for batch in batches])


def _partitions(shuffled: _Shuffled, epochs: np.ndarray, attrs: dict) -> xr.Dataset:
    rows = [expected_norm(shuffled.at(int(epoch))) for epoch in epochs]
    columns = dict(zip(("norm_one", "norm_expected"), np.array(rows).T, strict=True))
    return _table(columns, epochs, "epoch", attrs | {"partitions": PARTITIONS})


def expected_norm(gradients: np.ndarray) -> tuple[float, float]:
    """Of estimates (R, d) of one gradient: ‖g‖/√d of each (root mean square), and of their mean.

    The second without bias before the root: ‖ḡ‖² − tr S/R, S their covariance; 0 if negative.
    """
    count, d = gradients.shape
    mean_square = (gradients.mean(0) ** 2).sum() - gradients.var(0, ddof=1).sum() / count
    return float(np.sqrt((gradients**2).sum() / count / d)), float(np.sqrt(max(0, mean_square) / d))


def norm(gradients) -> np.ndarray:
    """‖g‖/√d of each of `gradients` (gradient, weight); (gradient,) float64."""
    gradients = np.asarray(gradients, dtype=np.float64)
    return np.sqrt(np.einsum("ij,ij->i", gradients, gradients) / gradients.shape[1])


def smooth(values, com: float = COM) -> np.ndarray:
    """y_k = Σ_i w^i x_{k−i} / Σ_i w^i with w = com/(1 + com), sums over i = 0 … k.

    What pandas calls ewm(com=…).mean(): w is the weight of the past, and the first values are
    averages of the few that are there.
    """
    return pd.Series(np.asarray(values, dtype=np.float64)).ewm(com=com).mean().to_numpy()


def thin(count: int, most: int = POINTS) -> np.ndarray:
    """At most `most` indices into `range(count)`: a quarter log-spaced, the rest even."""
    if count <= most:
        return np.arange(count)
    logarithmic = np.geomspace(1, count, most // 4) - 1
    even = np.linspace(0, count - 1, most - most // 4)
    return np.unique(np.concatenate([logarithmic, even]).round().astype(int))


def _table(columns: dict, epoch: np.ndarray, dim: str, attrs: dict) -> xr.Dataset:
    def units(name: str) -> str:
        kinds = {"loss": "nat", "error": "percent"}
        return kinds.get(name.split("_")[0], "nat per unit of weight")

    return xr.Dataset(
        {name: (dim, values, {"units": units(name)}) for name, values in columns.items()},
        coords={"epoch": (dim, np.asarray(epoch), {"units": "epoch"})},
        attrs=attrs,
    )
