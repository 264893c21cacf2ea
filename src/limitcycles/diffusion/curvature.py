"""The Hessian and the gradient noise of what SGD sees at one point: the loss in training mode.

With batch normalisation the loss of a mini-batch depends on the batch as a whole, so that the mean
loss, its Hessian H and the noise belong to a size of batches. The gradient of a batch is then no
mean over its examples either: of its noise (Hoeffding's decomposition)

    ξ(B) = (1/b) Σ_{s ∈ B} a(x_s) + rest(B),

only the first part cancels in a shuffled pass over all examples. Without batch normalisation there
is no rest.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, replace_all_batch_norm_modules_, vmap

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.theory.linear_sgd import Epoch, LinearSGD
from limitcycles.training.compiled.engine import Engine
from limitcycles.training.networks import trainable

CHUNK = 2**14  # tangents times examples at once
MORE = 20  # dimensions of the subspace beyond those that are asked for


class CurvatureError(LimitcyclesError):
    """A network or a point of which the Hessian and noise cannot be had."""


def hessian(
    network: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    batches: Sequence[np.ndarray],
    directions: np.ndarray | None = None,
    *,
    dtype: torch.dtype = torch.float64,
) -> np.ndarray:
    """H v for each of `directions` (k, d); None: the whole H. (k, d) float64, nats per weight².

    H is the mean over `batches` (indices) of the Hessian of a batch's mean cross-entropy in
    training mode: batch normalisation with the batch's own moments, which are differentiated too.
    Exact, forward over reverse mode; ReLU counts as linear on either side of its kink. The
    network's weights are used, in the order of `networks.flatten`; it is left as it is.
    """
    losses, point = _losses(network, dtype)
    tangents = torch.eye(len(point)) if directions is None else torch.from_numpy(directions)
    tangents = tangents.to(dtype)
    inputs, targets = torch.from_numpy(images).to(dtype), torch.from_numpy(labels)

    def loss(weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return losses(weights, x, y).mean()

    total = torch.zeros(len(tangents), len(point), dtype=torch.float64)
    for index in batches:
        at = torch.from_numpy(np.asarray(index))
        x, y = inputs[at], targets[at]

        def along(tangent, x=x, y=y):
            return jvp(lambda w: grad(loss)(w, x, y), (point,), (tangent,))[1]

        total += vmap(along, chunk_size=max(1, CHUNK // max(1, len(at))))(tangents)
    return (total / len(batches)).numpy()


def whole_batch_diffusion(
    network: nn.Module, images: np.ndarray, labels: np.ndarray, directions: np.ndarray
) -> np.ndarray:
    """D (k, k) along `directions` where batch normalisation has the moments of all examples.

    The covariance over examples (divisor N) of the gradient of an example's loss, as a function of
    the weights directly and through these moments: what the control with Gaussian noise has as its
    noise. Without batch normalisation it is the D of every sampler. By forward mode, float64.
    """
    losses, point = _losses(network, torch.float64)
    x, y = torch.from_numpy(images).double(), torch.from_numpy(labels)
    along = [
        jvp(lambda w: losses(w, x, y), (point,), (tangent,))[1]
        for tangent in torch.from_numpy(directions).double()
    ]
    values = torch.stack(along).numpy()
    values -= values.mean(1, keepdims=True)
    return values @ values.T / len(y)


def _losses(network: nn.Module, dtype: torch.dtype):
    """Losses of the examples of a batch in training mode as a function of flat weights (d,), those
    of `networks.trainable`, and the weights of `network`."""
    model = copy.deepcopy(network).to(dtype).train()
    replace_all_batch_norm_modules_(model)  # they keep no running moments: nothing has a state
    parameters = trainable(model)
    sizes = [p.numel() for p in parameters.values()]
    point = torch.cat([p.detach().reshape(-1) for p in parameters.values()])

    def losses(weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
        parts = zip(parameters.items(), weights.split(sizes), strict=True)
        named = {name: part.view(like.shape) for (name, like), part in parts}
        logits = functional_call(model, named, (x.clone(),))  # the network may work in place
        return nn.functional.cross_entropy(logits, y, reduction="none")

    return losses, point


def leading(
    network: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    batches: Sequence[np.ndarray],
    count: int,
    *,
    coarse: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The `count` leading eigenvalues of H, falling, and their eigenvectors (count, d).

    By Rayleigh and Ritz: the whole H of the first `coarse` batches (float32) gives a subspace of
    count + 20 dimensions, H of all batches (float64) is diagonalised within it. Signs: the entry
    of the largest size is positive.
    """
    whole = hessian(network, images, labels, batches[:coarse], dtype=torch.float32)
    _, vectors = np.linalg.eigh((whole + whole.T) / 2)
    subspace = vectors[:, ::-1][:, : count + MORE]
    within = hessian(network, images, labels, batches, np.ascontiguousarray(subspace.T)) @ subspace
    values, turn = np.linalg.eigh((within + within.T) / 2)
    vectors = (subspace @ turn[:, ::-1][:, :count]).T
    biggest = np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, None], axis=1)
    return values[::-1][:count], vectors * np.sign(biggest)


@dataclass(frozen=True)
class Noise:
    """Gradient noise in a subspace of k directions; matrices (k, k), nats² per weight².

    `diffusion` D and `rest` R: a batch of b of the N examples has the covariance
    D/b · (N − b)/(N − 1) + R/b if drawn without replacement, D/b if drawn with it (R is 0 then).
    `last` is b' times the covariance of a smaller last batch of b' examples where it has one of its
    own, as with batch normalisation, else None.
    """

    diffusion: np.ndarray
    rest: np.ndarray
    last: np.ndarray | None


def noise(
    engine: Engine,
    directions: np.ndarray,
    rng: np.random.Generator,
    *,
    replacement: bool,
    batches: int,
    passes: int,
    last: int,
) -> Noise:
    """The noise at the engine's weights along `directions` (k, d), from mini-batch gradients.

    Without replacement from shuffled passes over all examples, as many as `batches` need and
    `passes` at least. With C the covariance of a batch, and P that of the sum over the n full
    batches of a pass,

        C = D/b · (N − b)/(N − 1) + R/b,    P = n N/(N − 1) (1/b − n/N) D + n R/b,

    of which D and R are the solution: P = nR/b where the batches fill the pass. Without batch
    normalisation R is 0 and D what C says: a shuffle takes so much of the noise away that an error
    of R would count for more than D. With replacement D is b times the covariance of `batches`
    batches, R is 0. Variances have a relative error of sqrt(2/m) for
    m batches or passes. Raises CurvatureError: fewer examples than two batches.
    """
    b, N, k = engine.batch, engine.examples, len(directions)
    n, left = divmod(N, b)
    if n < 2:
        raise CurvatureError(f"{N} examples are fewer than two batches of {b}")

    def draw(size):
        if replacement:
            return rng.integers(N, size=size)
        return rng.choice(N, size, replace=False, shuffle=False)

    smaller = None
    if left > 1 and engine.layers.moments:
        smaller = left * _covariance(_along(engine, directions, (draw(left) for _ in range(last))))
    if replacement:
        single = _along(engine, directions, (draw(b) for _ in range(batches)))
        return Noise(b * _covariance(single), np.zeros((k, k)), smaller)
    passes = max(passes, -(-batches // n))
    shuffles = (rng.permutation(N)[: n * b].reshape(n, b) for _ in range(passes))
    found = _along(engine, directions, (row for rows in shuffles for row in rows))
    C = _covariance(found)
    if not engine.layers.moments:
        return Noise(C * b * (N - 1) / (N - b), np.zeros((k, k)), smaller)
    P = _covariance(found.reshape(passes, n, k).sum(1))
    # P − nC = D · n(1 − n)/(N − 1): batches of one pass are anti-correlated by D/(N − 1).
    D = (n * C - P) * (N - 1) / (n * (n - 1))
    return Noise(D, b * C - (N - b) / (N - 1) * D, smaller)


def _along(engine: Engine, directions: np.ndarray, batches) -> np.ndarray:
    """Gradients of the batches along the directions, (batch, k), float64."""
    rows, held = [], []
    for index in batches:
        held.append(engine.gradient(index)[1])
        if len(held) == 1024:
            rows.append(np.array(held) @ directions.T)
            held = []
    if held:
        rows.append(np.array(held) @ directions.T)
    return np.concatenate(rows)


def _covariance(values: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.cov(values.T))


def epoch_of(
    curvature: np.ndarray,
    noise: Noise,
    examples: int,
    batch: int,
    rate: float,
    *,
    replacement: bool,
    momentum: float = 0.0,
    nesterov: bool = False,
    last: np.ndarray | None = None,
) -> Epoch:
    """An epoch of SGD by the linear theory, in the subspace of `noise`.

    `curvature` (k, k) is H there, `last` that of the smaller last batches (None: as the others).
    """
    options = (momentum, nesterov)
    model = LinearSGD(curvature, _definite(noise.diffusion), rate, batch, *options)
    end = None
    if noise.last is not None:
        own, size, D = curvature if last is None else last, model.sizes(examples)[-1], noise.last
        if not replacement:
            # `epoch` will take it for the D of examples: N/(N − 1) D/b' − `diffusion`/(N − 1) has
            # to be the covariance that was measured, `last`/b'.
            D = ((examples - 1) * D + size * model.diffusion) / examples
        end = LinearSGD(own, D, rate, size, *options)
    return model.epoch(examples, replacement=replacement, rest=_definite(noise.rest), last=end)


def _definite(matrix: np.ndarray) -> np.ndarray:
    """Without the negative eigenvalues that an estimate of a small covariance has by chance."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.maximum(values, 0)) @ vectors.T
