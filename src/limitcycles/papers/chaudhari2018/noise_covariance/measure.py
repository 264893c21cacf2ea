"""Covariance of mini-batch gradients at fixed weights (Def. 1, App. A): draws and enumeration.

The gradients are those of a network that was trained for a few epochs on real images, as the
pipeline does it. The mini-batches come from `training.samplers`, which training uses; the
envelope of the distance from the draws of `theory.batch_noise`, which share no code with it.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from scipy import stats

from limitcycles import datasets
from limitcycles.diffusion import gradients
from limitcycles.diffusion.per_sample import PerSampleGradients
from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.theory import batch_noise
from limitcycles.theory.batch_noise import SAMPLINGS
from limitcycles.training import sgd
from limitcycles.training.samplers import SAMPLERS

READS = ("theory.seed", "theory.paths", "rule.level")

SIZES = (1, 8, 32, 128)  # and N with replacement, N/2 without
AIM = 0.04  # half-width that is expected with `PATHS` paths; draws grow with the root of paths
PATHS = 20_000
REPLICATIONS = 100
DATASET = {
    "source": "digits",
    "classes": [0, 1, 2, 3, 4],
    "train_images": 200,
    "resize": {"method": "bilinear", "size": 7},
    "pixels": "unit",
}
RUN = {
    "dataset": DATASET,
    "network": {
        "builder": "fc",
        "options": {"inputs": 49, "hidden": 16, "classes": 5},
        "weights": 917,
    },
    "training": {
        "epochs": 2,
        "batch_size": 32,
        "learning_rate": {"start": 0.1, "factor": 1.0, "at": []},
        "optimiser": {"kind": "sgd", "options": {"momentum": 0.9, "nesterov": True}},
        "weight_decay": 0.0,
        "sampler": "without-replacement",
        "snapshots": [100],
        "augmentation": None,
        "checkpoint_seconds": 3600,
    },
}
TINY, TINY_SIZES = (6, 3), (1, 2, 3, 4, 5, 6)
EIGENVALUES = np.linspace(1, 2, 8)  # of D of the positive control
FULL_DRAWS = 100  # at b = N without replacement: all alike but for the order
REPETITIONS, CONTROL_DRAWS, CONTROL_SIZE = 20, 1000, 8


def measure(settings: dict) -> dict[str, xr.Dataset]:
    """`settings.paths` decides the draws: what a half-width of 0.04·(20,000/paths)^¼ needs.

    Part `network`, by (sampling, size), sizes 1, 8, 32, 128 and `last` (N with replacement, N/2
    without); C is the claimed covariance, D/b or (1/b)(1 − b/N) D': `batch`, `draws`; `ratio`
    tr(cov)/tr(C) with `low` and `high` (Student t, 95 %) and `ratio_p`, two-sided, of the ratio 1;
    `distance` ‖cov − C‖_F/‖C‖_F with `envelope_low`, `envelope_high` (95 % of simulated draws, for
    each size by itself) and `distance_p`, its two-sided rank among them. By (sampling): the same
    with `control_` before it, the other sampler at b = N/2. `full_batch_ratio`: tr(cov)/tr(D') at
    b = N without replacement. All of unit 1. Attributes: `samples` N, `weights` d, `train_error`
    (percent), `level`, `replications` (of an envelope), `full_batch_draws`, `directions`
    (tr D)²/tr D².

    Part `enumeration`, by (sampling, batch): `error` ‖cov − C‖_F/‖D/b‖_F over all mini-batches of
    6 random gradients; `other`, the same with the formula of the other sampling.

    Part `closed_form`: gradients ±√(N λ_i/2) e_i + constant, whose D is diag(λ) by hand. By
    (sampling): `formula_error` of the claimed covariance relative to that by hand; by (sampling,
    repetition), 20 independent repetitions at b = 8 = N/2: the variables of `network`.
    """
    seed = settings["seed"]
    rows, attrs = network_gradients(seed)
    found = [_network(rows, sampling, settings) for sampling in SAMPLINGS]
    network = xr.concat(found, xr.Variable("sampling", list(SAMPLINGS)))
    order = torch.Generator().manual_seed(stream(seed, "full batches"))
    full = batch_noise.batch_noise(
        rows,
        len(rows),
        draws=FULL_DRAWS,
        claim="without-replacement",
        seed=0,
        indices=first_batches("without-replacement", len(rows), len(rows), FULL_DRAWS, order),
    )
    network["full_batch_ratio"] = full.full_batch_ratio
    closed = [_closed_form(sampling, seed, settings["level"]) for sampling in SAMPLINGS]
    return {
        "network": network.assign_attrs(
            attrs, level=settings["level"], full_batch_draws=FULL_DRAWS
        ),
        "enumeration": _enumeration(seed),
        "closed_form": xr.concat(closed, xr.Variable("sampling", list(SAMPLINGS))),
    }


def network_gradients(seed: int) -> tuple[np.ndarray, dict]:
    """Per-sample gradients (N, d), float64, of the trained network, and the attributes."""
    dataset = datasets.build(DATASET, log=lambda line: None)
    with tempfile.TemporaryDirectory() as state:
        run = sgd.train(
            dataset, RUN, stream(seed, "network"), Path(state), name="tiny-fc", device="cpu"
        )
    # `snapshot_network` and the gradients in float64: the rounding of D is then no matter.
    network = gradients.snapshot_network(run, 100, "float64")
    images, labels = sgd.tensors(dataset, "train", "cpu")
    images = images.double()
    rows = PerSampleGradients(network, images, labels)(images, labels).numpy()
    squares = ((rows - rows.mean(0)) ** 2).sum(1)
    return rows, {
        "samples": len(rows),
        "weights": rows.shape[1],
        "train_error": float(run["train_error"][-1]),
        "replications": REPLICATIONS,
        "directions": float(squares.sum() ** 2 / _gram_square(rows)),
    }


def _gram_square(rows: np.ndarray) -> float:
    """N² tr D²."""
    centred = rows - rows.mean(0)
    return float(np.linalg.norm(centred @ centred.T) ** 2)


def draws_needed(rows: np.ndarray, batch: int, half_width: float, level: float) -> int:
    """Draws for which the interval of the trace ratio at `level` has about that half-width.

    With |u|² = |g_k − ḡ|²: var |δ|²/(E|δ|²)² = (var |u|²/(E|u|²)² + 2(b − 1) tr D²/(tr D)²)/b for
    independent draws; those without replacement vary less.
    """
    squares = ((rows - rows.mean(0)) ** 2).sum(1)
    single = squares.var() / squares.mean() ** 2
    pairs = 2 * (batch - 1) * _gram_square(rows) / squares.sum() ** 2
    variance = (single + pairs) / batch
    return math.ceil(variance * (stats.norm.ppf((1 + level) / 2) / half_width) ** 2)


def first_batches(
    sampling: str, samples: int, batch: int, draws: int, order: torch.Generator
) -> np.ndarray:
    """The first mini-batch of each of `draws` epochs of training: independent; (draws, b)."""
    epochs = (SAMPLERS[sampling](samples, order)[:batch] for _ in range(draws))
    return torch.stack(list(epochs)).numpy()


def _network(rows: np.ndarray, sampling: str, settings: dict) -> xr.Dataset:
    seed, samples = settings["seed"], len(rows)
    half_width = AIM * (PATHS / settings["paths"]) ** 0.25
    other = next(s for s in SAMPLINGS if s != sampling)
    half = samples // 2
    sizes = [*SIZES, samples if sampling == "with-replacement" else half]

    def measure(batch, drawn_by):
        words = f"{sampling} {drawn_by} {batch}"
        order = torch.Generator().manual_seed(stream(seed, f"batches {words}"))
        draws = draws_needed(rows, batch, half_width, settings["level"])
        return _measured(
            rows,
            batch,
            draws,
            sampling,
            stream(seed, f"envelope {words}"),
            settings["level"],
            first_batches(drawn_by, samples, batch, draws, order),
        )

    names = [str(size) for size in SIZES] + ["last"]
    sizes = track(sizes, unit="size", what=f"mini-batches {sampling}")
    measured = xr.concat([measure(b, sampling) for b in sizes], xr.Variable("size", names))
    control = measure(half, other)
    return measured.assign({f"control_{name}": value for name, value in control.items()})


def _measured(rows, batch, draws, claim, seed, level, indices=None) -> xr.Dataset:
    found = batch_noise.batch_noise(
        rows,
        batch,
        draws=draws,
        claim=claim,
        seed=seed,
        indices=indices,
        replications=REPLICATIONS,
        level=level,
    )
    low, high = found.interval
    # The interval is ratio · e^{± t · error/ratio}.
    error = found.ratio * np.log(high / low) / 2 / stats.t.ppf((1 + level) / 2, draws - 1)
    return xr.Dataset(
        {
            "batch": batch,
            "draws": draws,
            "ratio": found.ratio,
            "low": low,
            "high": high,
            "ratio_p": 2 * stats.t.sf(abs(found.ratio - 1) / error, draws - 1),
            "distance": found.distance,
            "envelope_low": found.envelope[0],
            "envelope_high": found.envelope[1],
            "distance_p": found.p_value,
        }
    )


def _enumeration(seed: int) -> xr.Dataset:
    rng = np.random.default_rng(stream(seed, "gradients to enumerate"))
    rows = rng.standard_normal(TINY) + 1
    error = np.empty((2, len(SAMPLINGS), len(TINY_SIZES)))
    for i, sampling in enumerate(SAMPLINGS):
        for j, batch in enumerate(TINY_SIZES):
            exact = batch_noise.batch_covariance_by_enumeration(rows, batch, sampling)
            scale = np.linalg.norm(
                batch_noise.predicted_covariance(rows, batch, "with-replacement")
            )
            for k, formula in enumerate((sampling, SAMPLINGS[1 - i])):
                claimed = batch_noise.predicted_covariance(rows, batch, formula)
                error[k, i, j] = np.linalg.norm(exact - claimed) / scale
    dims = ("sampling", "batch")
    return xr.Dataset(
        {"error": (dims, error[0]), "other": (dims, error[1])},
        coords={"sampling": list(SAMPLINGS), "batch": list(TINY_SIZES)},
        attrs={"samples": TINY[0], "weights": TINY[1]},
    )


def _closed_form(sampling: str, seed: int, level: float) -> xr.Dataset:
    samples = 2 * len(EIGENVALUES)
    axes = np.diag(np.sqrt(samples * EIGENVALUES / 2))
    rows = np.concatenate([axes, -axes]) + 0.5
    known = np.diag(EIGENVALUES) / CONTROL_SIZE
    if sampling == "without-replacement":
        known = known * (samples - CONTROL_SIZE) / (samples - 1)
    claimed = batch_noise.predicted_covariance(rows, CONTROL_SIZE, sampling)
    words = f"closed form {sampling}"
    each = [
        _measured(rows, CONTROL_SIZE, CONTROL_DRAWS, sampling, stream(seed, f"{words} {i}"), level)
        for i in track(range(REPETITIONS), unit="repetition", what=words)
    ]
    return xr.concat(each, "repetition").assign(
        formula_error=float(np.linalg.norm(claimed - known) / np.linalg.norm(known))
    )
