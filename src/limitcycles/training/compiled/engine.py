"""Training of a fully connected network in compiled loops: one core, one trajectory.

A step of tiny-fc takes less than twice its arithmetic at the peak of a core; a loop in PyTorch
takes fifty times that, most of it for calling operators (benchmarks/README.md). `Engine` takes its
network from PyTorch and gives its weights back in the order of `networks.flatten`; one step agrees
with PyTorch's to float32 rounding.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from torch import nn

from limitcycles.runtime.subnormals import flushed
from limitcycles.training.compiled import loops, steps
from limitcycles.training.compiled.first_step import States, check_first_step
from limitcycles.training.compiled.layers import CompiledError, Layers
from limitcycles.training.compiled.loops import BATCH, FROZEN, TRACKED
from limitcycles.training.networks import trainable
from limitcycles.training.optimisers import Optimiser, sgd

NONE = np.empty(0, np.float32)
FULL_BATCH = 256  # examples at a time where nothing depends on the batch: they stay in the cache


class Engine:
    """A network in training: its state, and the compiled loops over it.

    Parameters
    ----------
    network: see `Layers.of`; its present weights and running moments are where it starts.
    images: (examples, ...) float32, flattened to pixels; labels: (examples,) integers.
    batch: size of the mini-batches.
    optimiser: an `Elementwise` one; plain SGD unless given.

    Subnormal numbers are taken as zero (`limitcycles.runtime.subnormals`).

    Raises CompiledError: see `Layers.of`; images of another size, labels that are no classes of the
    network, a batch of one example with batch normalisation; a first step that is not PyTorch's
    (`check_first_step`); an optimiser that they cannot take (`steps.compiled_step`).
    """

    def __init__(
        self,
        network: nn.Module,
        images: np.ndarray,
        labels: np.ndarray,
        batch: int,
        optimiser: Optimiser | None = None,
    ):
        self._optimiser = optimiser = steps.elementwise(optimiser or sgd.Optimiser())
        self._take = steps.compiled_step(optimiser)
        self.layers = layers = Layers.of(network)
        given, images = images, layers.checked(images, labels, batch)
        self._labels = np.ascontiguousarray(labels, np.int64)
        self.examples, self.batch = len(images), batch
        self._images = images.ravel()
        self._place, self._moment_place, size, moments = layers.places()
        self._weights, self._gradient = (np.zeros(size, np.float32) for _ in range(2))
        self._vectors, self._done = np.zeros((len(optimiser.vectors), size), np.float32), 0
        self._moments = np.zeros(moments, np.float32), np.ones(moments, np.float32)
        norms = [m for m in network if isinstance(m, nn.BatchNorm1d)]
        self.restore(
            self.state()
            | {
                "weights": _flat(trainable(network).values()),
                "mean": _flat(m.running_mean for m in norms),
                "variance": _flat(m.running_var for m in norms),
            }
        )
        self._shape = (
            layers.units,
            layers.normed,
            np.float32(layers.eps),
            np.float32(layers.momentum),
        )
        self._room = loops.room_for(layers, max(batch, FULL_BATCH), moments)
        self._check(network, given[:batch], labels[:batch])

    def _check(self, network: nn.Module, images: np.ndarray, labels: np.ndarray) -> None:
        start = self.state()

        def step(states: States) -> States:
            self.restore({name: values[0] for name, values in states.items()})
            gradient = self._loss_and_gradient(np.arange(len(images)), TRACKED)[1]
            found = self.state() | {"gradient": gradient}
            return {name: values[None] for name, values in found.items()}

        if self.steps(len(images)):
            alone = {name: values[None] for name, values in start.items()}
            check_first_step([network], images, labels, alone, step)
            self.restore(start)

    @property
    def weights(self) -> np.ndarray:
        """A copy of the weights, (d,) float32, in the order of `networks.flatten`."""
        return self._weights[self._place]

    def state(self) -> dict[str, np.ndarray]:
        """All that decides what the next step does.

        `weights` (d,) and `vectors` (vector, d), those of the optimiser, in the order of
        `networks.flatten`; `mean`, `variance` (units with batch normalisation,), the running
        moments: float32; `steps` (), how many were taken, int64.
        """
        return {
            "weights": self.weights,
            "vectors": self._vectors[:, self._place],
            "mean": self._moments[0][self._moment_place],
            "variance": self._moments[1][self._moment_place],
            "steps": np.array(self._done, np.int64),
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take a state as `state` gives it."""
        self._weights[self._place] = state["weights"]
        self._vectors[:, self._place] = state["vectors"]
        self._moments[0][self._moment_place] = state["mean"]
        self._moments[1][self._moment_place] = state["variance"]
        self._done = int(state["steps"])

    def steps(self, examples: int) -> int:
        """Steps for that many examples: a last batch of one is left out, as in `samplers`."""
        whole, rest = divmod(examples, self.batch)
        return whole + (rest > 1)

    @flushed(torch_threads=False)
    def epoch(
        self, order: np.ndarray, rate: float, *, frozen=False, keep: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """One step for each mini-batch of `order`.

        Parameters
        ----------
        order: indices of examples, int64, as a sampler gives them.
        rate: learning rate η.
        frozen: batch normalisation uses the running moments, which stay as they are.
        keep: the weights after each of the first `keep` steps are returned.

        Returns
        -------
        Losses of the steps (nats), float64; and the weights after them, (keep, d) float32.
        """
        losses, path, numbers = self._prepared(self.steps(len(order)), rate, keep)
        loops.epoch(
            self._shape, self._weights, self._vectors, self._moments,
            FROZEN if frozen else TRACKED, self._images, self._labels, order, self.batch,
            self._take.address, numbers, self._room, self._gradient, losses, self._place, path,
        )  # fmt: skip
        return losses, path

    @flushed(torch_threads=False)
    def descend_all(
        self, steps: int, rate: float, *,
        shares: np.ndarray | None = None, frozen=False, keep: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Steps with the gradient over all examples: that of f = (1/N) Σ f_n, or Σ w_n f_n.

        Batch normalisation uses the moments of all examples, each counted once whatever its
        weight, and notes them after each step as after one mini-batch.

        Parameters
        ----------
        shares: (steps, examples) float32, the weights w of each step; None: 1/N, descent on f.
            See `samplers.gaussian_weights`.
        rate, frozen, keep: as in `epoch`.

        Returns
        -------
        Mean losses f before each step (nats), float64, whatever the weights; and the weights of
        the network after them, (keep, d) float32.

        Raises CompiledError: shares of another shape; one example with batch normalisation.
        """
        if shares is not None and shares.shape != (steps, self.examples):
            raise CompiledError(
                f"shares of shape {shares.shape}; {steps} steps over {self.examples} examples need "
                f"({steps}, {self.examples})"
            )
        if self.examples == 1 and self.layers.moments and not frozen:
            raise CompiledError("one example has no variance for batch normalisation")
        if shares is None:
            shares = np.empty((0, self.examples), np.float32)
        losses, path, numbers = self._prepared(steps, rate, keep)
        loops.epoch_of_all(
            self._shape, self._weights, self._vectors, self._moments,
            FROZEN if frozen else TRACKED, self._images, self._labels,
            np.ascontiguousarray(shares, np.float32), self._take.address, numbers,
            self._room_of_all, self._gradient, losses, self._place, path,
        )  # fmt: skip
        return losses, path

    @cached_property
    def _room_of_all(self) -> tuple[np.ndarray, ...]:
        return loops.room_for(self.layers, self.examples, len(self._moments[0]))

    def _prepared(self, count: int, rate: float, keep: int) -> tuple[np.ndarray, ...]:
        """Room for losses and weights of the next steps, and the optimiser's numbers for them."""
        numbers = steps.table(self._optimiser, rate, self._done, count)
        self._done += count
        return np.empty(count), np.empty((min(keep, count), len(self._place)), np.float32), numbers

    @flushed(torch_threads=False)
    def gradient(self, index: np.ndarray, *, frozen=False) -> tuple[float, np.ndarray]:
        """Loss (nats) and gradient (d,) float32 of one mini-batch; no state changes.

        Raises CompiledError: more examples than there is room for.
        """
        if len(index) > (most := max(self.batch, FULL_BATCH)):
            raise CompiledError(f"{len(index)} examples at once; there is room for {most}")
        return self._loss_and_gradient(index, FROZEN if frozen else BATCH)

    def _loss_and_gradient(self, index: np.ndarray, mode: int) -> tuple[float, np.ndarray]:
        loss = loops.gradient(
            self._shape, self._weights, self._moments, mode,
            self._images, self._labels, index, NONE, self._room, self._gradient,
        )  # fmt: skip
        return loss, self._gradient[self._place]

    @flushed(torch_threads=False)
    def full_gradient(self, *, frozen=True) -> tuple[float, float, np.ndarray]:
        """Loss (nats), error (percent) and gradient (d,) float64 over all examples, in order.

        `frozen`: the gradient of f in evaluation mode. Else the mean of the gradients of the
        mini-batches in training mode, each normalised by its own moments (the authors' "full
        gradient" of Fig. 3c); the running moments are left as they are.
        """
        whole = np.empty(len(self._weights))
        batch = FULL_BATCH if frozen else self.batch
        steps = -(-self.examples // batch) if frozen else self.steps(self.examples)
        loss, error = loops.full(
            self._shape, self._weights, self._moments, FROZEN if frozen else BATCH,
            self._images, self._labels, batch, steps, self._room, self._gradient, whole,
        )  # fmt: skip
        return loss, error, whole[self._place]


def _flat(tensors) -> np.ndarray:
    parts = [t.detach().cpu().numpy().astype(np.float32).ravel() for t in tensors]
    return np.concatenate([np.empty(0, np.float32), *parts])
