"""The first step of the compiled loops, and of ensembles, against PyTorch's on the given network.

`Layers.of` reads a network off its layers; whether it is the one that PyTorch trains is seen here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limitcycles.training.compiled.layers import CompiledError
from limitcycles.training.networks import trainable

# Differences that are no error, in parts of the largest entry and of the rounding error that
# PyTorch's own step has in float32; ours is like it, and another network is off by 1e-2 or more.
CLOSE, ROUNDING, NOTHING = 1e-3, 20, 1e-25
POINTS = 5
PARTS = {"gradient": "gradient", "mean": "running mean", "variance": "running variance"}

States = dict[str, np.ndarray]  # as of `Ensemble.state`: (members, ...)


def check_first_step(
    networks: Sequence[nn.Module],
    images: np.ndarray,
    labels: np.ndarray,
    start: States,
    step: Callable[[States], States],
) -> None:
    """Compare gradient and running moments of one step in training mode on these examples.

    `networks`: those that the loops were given. `step`: states -> `gradient` of the same examples
    at these, and the running moments after that.

    At the given weights a unit may lie on the kink of its ReLU, where rounding decides (one with
    batch normalisation does if its inputs do not vary). Where the steps differ, they are compared
    at random weights as well. What is not finite is left to those who look for divergence.

    Raises CompiledError: PyTorch cannot take this step, or takes another one at all these points; a
    weight or running moment is not finite before it.
    """
    if not all(np.isfinite(values).all() for values in start.values()):
        raise CompiledError(
            "a weight or running moment of the network is NaN or infinite before any training: "
            "look at its builder"
        )
    x, y = torch.from_numpy(np.array(images, np.float32)), torch.from_numpy(np.array(labels))
    rng, weights = np.random.default_rng(0), start["weights"]
    states, left, found = start, list(range(len(networks))), {}
    for _ in range(POINTS):
        after = step(states)
        found = {i: _difference(networks[i], states, after, i, x, y.long()) for i in left}
        left = [i for i, words in found.items() if words is not None]
        if not left:
            return
        moved = weights + 0.3 * weights.std() * rng.standard_normal(weights.shape)
        states = start | {"weights": moved.astype(np.float32)}
    raise CompiledError(
        f"the compiled loops would train another network than the one given: {found[left[0]]}, in "
        f"the first step on {len(x)} examples. They know torch's own layers, unchanged, only: "
        "train it as a run, without a trajectory."
    )


def _difference(
    network: nn.Module, states: States, found: States, member: int, x: Tensor, y: Tensor
) -> str | None:
    """What is not as PyTorch has it, in words."""
    known, rounded = (
        _step(copy.deepcopy(network).to(dtype).train(), states, member, x.to(dtype), y)
        for dtype in (torch.float64, torch.float32)
    )
    for part, words in PARTS.items():
        exact, mine = known[part], found[part][member]
        if not (np.isfinite(exact).all() and np.isfinite(rounded[part]).all() and exact.size):
            continue
        rounding = np.abs(rounded[part] - exact).max()
        bound = CLOSE * np.abs(exact).max() + ROUNDING * rounding + NOTHING
        error = np.abs(mine - exact)
        if not error.max() <= bound:
            at = int(error.argmax())
            return f"number {at} of its {words} is {mine[at]:.6g}, PyTorch has {exact[at]:.6g}"
    return None


def _step(model: nn.Module, states: States, member: int, x: Tensor, y: Tensor) -> States:
    parameters = list(trainable(model).values())
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
    moments = {
        "mean": [m.running_mean for m in norms],
        "variance": [m.running_var for m in norms],
    }
    with torch.no_grad():
        for part, tensors in ({"weights": parameters} | moments).items():
            flat = torch.from_numpy(states[part][member])
            for tensor, values in zip(
                tensors, flat.split([t.numel() for t in tensors]), strict=True
            ):
                tensor.copy_(values.view(tensor.shape))
    try:
        loss = F.cross_entropy(model(x), y)
        gradient = torch.autograd.grad(loss, parameters, materialize_grads=True)
    except (RuntimeError, ValueError, TypeError) as error:  # images of another shape, mostly
        raise CompiledError(
            f"PyTorch cannot take a step with this network on images of shape {tuple(x.shape[1:])} "
            f"({error}). A network of linear layers begins with torch.nn.Flatten()."
        ) from error
    return {
        name: torch.cat([torch.empty(0), *(t.detach().ravel() for t in tensors)]).numpy()
        for name, tensors in ({"gradient": gradient} | moments).items()
    }
