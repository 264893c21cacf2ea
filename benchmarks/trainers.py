"""Contestants that train tiny-fc for one epoch, as a worker process: ours and its peers.

Each starts from the same weights, takes the same mini-batches in the same order, and does what
torch.optim.SGD with Nesterov momentum does, batch normalisation in training mode. One core.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
import torch.nn.functional as F
from processes import serve

from limitcycles.training import networks

RATE, MOMENTUM = 1e-3, 0.9
INPUTS, HIDDEN, CLASSES = 49, 16, 5
LABELS = {
    "limitcycles": "limitcycles.training.compiled: loops compiled by Numba",
    "torch": "PyTorch, a plain loop: nn.Module, autograd, torch.optim.SGD",
    "torch-fused": "the same with SGD(fused=True)",
    "torch.compile": "torch.compile of a whole step: loss, gradient (torch.func) and update",
    "jax": "jax.jit of a whole epoch: lax.scan over its steps",
}


def problem(images: int) -> tuple[np.ndarray, np.ndarray, torch.nn.Module]:
    """Images of noise: no step depends on what they show."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    pixels = rng.random((images, INPUTS), dtype=np.float32)
    network = networks.fully_connected(INPUTS, HIDDEN, CLASSES)
    return pixels, rng.integers(0, CLASSES, images), network.train()


def ours(images, labels, network, batch):
    """`order` -> weights after the epoch (d,)."""
    from limitcycles.training.compiled.engine import Engine
    from limitcycles.training.optimisers import sgd

    engine = Engine(network, images, labels, batch, sgd.Optimiser(MOMENTUM, nesterov=True))

    def epoch(order):
        engine.epoch(order, RATE)
        return engine.weights

    return epoch


def plain(images, labels, network, batch, **options):
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=RATE, momentum=MOMENTUM, nesterov=True, **options
    )

    def epoch(order):
        for index in torch.from_numpy(order).split(batch):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(network(x[index]), y[index]).backward()
            optimizer.step()
        return networks.flatten(network)[0].numpy()

    return epoch


def compiled(images, labels, network, batch):
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    weights = {k: p.detach().clone() for k, p in network.named_parameters()}
    moments = {k: b.clone() for k, b in network.named_buffers()}
    velocity = {k: torch.zeros_like(w) for k, w in weights.items()}

    def loss(weights, moments, image, label):
        logits = torch.func.functional_call(network, (weights, moments), (image,))
        return F.cross_entropy(logits, label)

    @torch.compile(fullgraph=True)
    def step(weights, velocity, moments, index):
        gradient = torch.func.grad(loss)(weights, moments, x[index], y[index])
        for key, g in gradient.items():
            velocity[key].mul_(MOMENTUM).add_(g)
            weights[key].sub_(RATE * (g + MOMENTUM * velocity[key]))

    def epoch(order):
        with torch.no_grad():
            for index in torch.from_numpy(order).split(batch):
                step(weights, velocity, moments, index)
        return torch.cat([w.ravel() for w in weights.values()]).numpy()

    return epoch


def scanned(images, labels, network, batch):
    import jax
    import jax.numpy as jnp

    x, y = jnp.asarray(images), jnp.asarray(labels)
    weights = tuple(jnp.asarray(p.detach().numpy()) for p in network.parameters())
    state = (
        weights,
        tuple(jnp.zeros_like(w) for w in weights),
        (jnp.zeros(HIDDEN), jnp.ones(HIDDEN)),
    )

    def loss(weights, image, label):
        W, b, scale, shift, V, c = weights
        z = image @ W.T + b
        mean, variance = z.mean(0), z.var(0)
        h = jax.nn.relu(scale * (z - mean) * jax.lax.rsqrt(variance + 1e-5) + shift)
        logits = h @ V.T + c
        value = jax.nn.logsumexp(logits, axis=1) - jnp.take_along_axis(
            logits, label[:, None], axis=1
        )[:, 0]  # fmt: skip
        return value.mean(), (mean, variance)

    def step(state, index):
        weights, velocity, (mean, variance) = state
        (value, (m, v)), gradient = jax.value_and_grad(loss, has_aux=True)(
            weights, x[index], y[index]
        )
        n = index.shape[0]
        velocity = tuple(MOMENTUM * u + g for u, g in zip(velocity, gradient, strict=True))
        weights = tuple(
            w - RATE * (g + MOMENTUM * u)
            for w, g, u in zip(weights, gradient, velocity, strict=True)
        )
        moments = 0.9 * mean + 0.1 * m, 0.9 * variance + 0.1 * v * n / (n - 1)
        return (weights, velocity, moments), value

    whole = jax.jit(lambda state, index: jax.lax.scan(step, state, index), donate_argnums=0)

    def epoch(order):
        nonlocal state
        count = len(order) // batch  # whole batches: a scan has steps of one size
        state, losses = whole(state, jnp.asarray(order[: count * batch].reshape(count, batch)))
        losses.block_until_ready()
        return np.concatenate([np.asarray(w).ravel() for w in state[0]])

    return epoch


MAKERS = {
    "limitcycles": ours,
    "torch": plain,
    "torch-fused": lambda *given: plain(*given, fused=True),
    "torch.compile": compiled,
    "jax": scanned,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", choices=MAKERS, required=True)
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # Whole batches only, for every contestant.
    images = arguments.images // arguments.batch * arguments.batch
    epoch = MAKERS[arguments.name](*problem(images), arguments.batch)
    rng = np.random.default_rng(1)

    def answer(request: dict) -> dict:
        orders = [rng.permutation(images) for _ in range(request["epochs"])]
        start = time.perf_counter()
        for order in orders:
            weights = epoch(order)
        seconds = time.perf_counter() - start
        if "path" in request:
            np.save(request["path"], weights)
        return {"us": 1e6 * seconds / (request["epochs"] * images / arguments.batch)}

    serve(answer)


if __name__ == "__main__":
    main()
