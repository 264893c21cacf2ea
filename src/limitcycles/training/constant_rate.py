"""Plain SGD at a constant rate on a trained network: how far its weights wander, and its noise."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from limitcycles.runtime import stopping
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.subnormals import flushed
from limitcycles.storage.sole_writer import Turn
from limitcycles.training.checkpoint import Checkpoint
from limitcycles.training.networks import trainable

BETWEEN_CHECKS = 50  # steps between looks at the weights; each look waits for the device
CHECKPOINT_SECONDS = 20  # between two checkpoints


class Moments:
    """Mean and variance of each weight, and its trend, over a known number of `points` (Welford).

    All in float64, on the device of what is added.
    """

    def __init__(self, points: int):
        self.points, self.count = points, 0
        self.mean = self.square = self.slope = None

    def add(self, x: Tensor) -> None:
        """Take the next point, x of shape (d,)."""
        x = x.detach().double()
        if self.mean is None:
            self.mean, self.square, self.slope = (x.new_zeros(x.shape) for _ in range(3))
            self._origin = x.clone()
        self.count += 1
        before = x - self.mean
        self.mean += before / self.count
        self.square.addcmul_(before, x - self.mean)
        self.slope.add_(x - self._origin, alpha=self.count - (self.points + 1) / 2)

    def state(self) -> dict:
        """What `restore` takes; its tensors are those that `add` changes."""
        return {name: value for name, value in vars(self).items() if name != "points"}

    def restore(self, state: dict, device) -> None:
        """Go on as the one whose `state` this was."""
        for name, value in state.items():
            setattr(self, name, value.to(device) if isinstance(value, Tensor) else value)

    @property
    def variance(self) -> np.ndarray:
        """Of each weight, (d,), divisor points − 1. Raises LimitcyclesError: not all were added."""
        if self.count != self.points or self.points < 2:
            raise LimitcyclesError(f"{self.count} of {self.points} points (at least 2) were added")
        return (self.square / (self.points - 1)).cpu().numpy()

    @property
    def trend_share(self) -> float:
        """Share of the variance, summed over weights, that is a straight line in time.

        Near 0 for weights at rest around a minimum, 0.6 for long independent steps (diffusion), 1
        for a steady drift.
        """
        times = self.points * (self.points**2 - 1) / 12  # Σ (t − t̄)²
        return float((self.slope**2).sum() / times / self.square.sum())


@flushed()
def gradient_variance(network: nn.Module, images: Tensor, labels: Tensor, index: Tensor) -> float:
    """Mean over the weights of the variance of the mini-batch gradient at fixed weights.

    `index` (draws, b) has the examples of each mini-batch. In evaluation mode it is, but for the
    draws, mean λ(D)/b; in training mode batch normalisation takes its moments from the batch, and
    it is another number. The mode is that of `network`, which is left as it is. nat² per weight².
    """
    network = copy.deepcopy(network)  # training mode changes running means
    parameters, moments = list(trainable(network).values()), Moments(len(index))
    for batch in index:
        moments.add(_gradient(network, parameters, images[batch], labels[batch])[0])
    return float(moments.variance.mean())


def _gradient(network, parameters, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient (d,), 0 for a weight that this forward pass does not use, and loss."""
    for p in parameters:
        p.grad = None
    loss = F.cross_entropy(network(images), labels)
    loss.backward()  # autograd.grad would not go through reentrant checkpoints
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return torch.cat([g.reshape(-1) for g in parts]), loss.detach()


@flushed()
def descend(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    index: Tensor,
    rate: float,
    bar=None,
    *,
    saved: dict | None = None,
    pause: Callable[[Callable[[], dict]], None] | None = None,
) -> dict[str, float]:
    """Plain SGD x ← x − η∇f over the mini-batches `index` (steps, b); what its second half does.

    The weights are summed in float64, for float32 would lose small steps; the gradients have the
    precision of the network, which is changed. Returned are `variance` and `median_variance` (over
    weights, of the variance of each over the second half), `trend_share` (`Moments`),
    `late_gradient_variance` (of the gradients of these steps, mean over weights) and the mean
    `loss`. If a weight is no longer finite the variances are infinite and the others NaN.

    `pause` is called every BETWEEN_CHECKS steps with a function that gives the state then; `saved`
    is such a state, from which it goes on to the same bits.
    """
    parameters = list(trainable(network).values())
    dtype, steps = parameters[0].dtype, len(index)
    points = steps - steps // 2
    x = parameters_to_vector(p.detach().contiguous() for p in parameters).double()
    weights, gradients = Moments(points), Moments(points)
    total = torch.zeros((), dtype=torch.float64, device=x.device)
    first = 0
    if saved is not None:
        first = saved["step"]
        network.load_state_dict(saved["network"])
        x, total = saved["x"].to(x.device), saved["total"].to(x.device)
        weights.restore(saved["weights"], x.device)
        gradients.restore(saved["gradients"], x.device)
        torch.set_rng_state(saved["generator"])
        if x.is_cuda:
            torch.cuda.set_rng_state(saved["cuda_generator"])

    def state() -> dict:
        return {
            "step": step + 1,
            "network": network.state_dict(),
            "x": x,
            "total": total,
            "weights": weights.state(),
            "gradients": gradients.state(),
            "generator": torch.get_rng_state(),
            "cuda_generator": torch.cuda.get_rng_state() if x.is_cuda else None,
        }

    for step in range(first, steps):
        batch = index[step]
        gradient, loss = _gradient(network, parameters, images[batch], labels[batch])
        x -= rate * gradient.double()
        vector_to_parameters(x.to(dtype), parameters)
        if step >= steps // 2:
            weights.add(x)
            gradients.add(gradient)
            total += loss
        if (step + 1) % BETWEEN_CHECKS == 0 or step + 1 == steps:
            done = step % BETWEEN_CHECKS + 1
            if not torch.isfinite(x).all():
                if bar is not None:
                    bar.update(steps - (step + 1 - done))
                return {
                    "variance": np.inf,
                    "median_variance": np.inf,
                    "trend_share": np.nan,
                    "late_gradient_variance": np.nan,
                    "loss": np.nan,
                }
            if bar is not None:
                bar.update(done)
            if pause is not None and step + 1 < steps:
                pause(state)
    variance = weights.variance
    return {
        "variance": float(variance.mean()),
        "median_variance": float(np.median(variance)),
        "trend_share": weights.trend_share,
        "late_gradient_variance": float(gradients.variance.mean()),
        "loss": float(total) / points,
    }


class Saving:
    """What `descend` calls as `pause`: saves what is done now and then, ends the process if asked.

    For the block in which it is entered. `done` is what was finished before this descent, whose
    state is saved beside it as `walk`; `what` says for a person where it stands, "in step {step}".
    """

    def __init__(self, turn: Turn, checkpoint: Checkpoint, done: dict, what: str):
        self.turn, self.checkpoint, self.done, self.what = turn, checkpoint, done, what
        self.last = time.monotonic()

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.asked = self.stack.enter_context(stopping.requests())

    def __exit__(self, *_):
        self.stack.close()

    def __call__(self, state: Callable[[], dict]) -> None:
        stop = self.asked.signal is not None
        if not stop and time.monotonic() - self.last < CHECKPOINT_SECONDS:
            return
        walk = state()
        self.turn.check()
        self.checkpoint.save(self.done | {"walk": walk})
        if stop:
            raise self.asked.error(self.what.format(step=walk["step"]))
        self.last = time.monotonic()
