"""The noise of trained networks under plain SGD, at matched temperatures (Remark 15).

`noise_temperature` says what theory makes of it.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import xarray as xr
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from limitcycles.configuration.settings import digest
from limitcycles.diffusion.gradients import snapshot_network
from limitcycles.papers.chaudhari2018.temperature_tracks_mean_eigenvalue.noise_temperature import (
    Moments,
    diffusive_variance,
    equal_rate,
    expected_variance,
    matched_rates,
)
from limitcycles.runtime import stopping
from limitcycles.runtime.devices import pick_device
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.runtime.subnormals import flushed
from limitcycles.storage.sole_writer import Turn, sole_writer
from limitcycles.training.checkpoint import Checkpoint, means
from limitcycles.training.networks import trainable
from limitcycles.training.sgd import tensors

GROUPS = ("equal-temperature", "matched")
DRAWS = 200  # mini-batches for the noise of one step at the snapshot
BETWEEN_CHECKS = 50  # steps between looks at the weights; each look waits for the device
CHECKPOINT_SECONDS = 20  # between two checkpoints
UNITS = {
    "learning_rate": "1",
    "batch": "images",
    "mean_eigenvalue": "nat² per weight²",
    "variance": "weight²",
    "median_variance": "weight²",
    "variance_by_time": "weight² per unit of learning rate times steps",
    "trend_share": "1",
    "expected_variance": "weight²",
    "diffusive_variance": "weight²",
    "late_gradient_variance": "nat² per weight²",
    "gradient_variance_evaluation": "nat² per weight²",
    "gradient_variance_training": "nat² per weight²",
    "loss": "nat",
    "weights": "1",
}


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


def measure(
    runs: Sequence[xr.Dataset],
    spectra: Sequence[xr.Dataset],
    datasets: Mapping[str, xr.Dataset],
    settings: dict,
    seed: int,
    *,
    device: str = "auto",
    state: Path | None = None,
) -> xr.Dataset:
    """Let trained networks go on with plain SGD, at equal η/b and at equal (η/b)·mean λ(D).

    Parameters
    ----------
    runs: one of each setting, of this seed; with the snapshot of its spectrum.
    spectra: the spectrum of D of each of them; mean λ is its attribute `mean_all`.
    datasets: by name, those that the runs were trained on.
    settings: `late_noise` of the configuration: `steps`, `batch_size` b and the largest
        `learning_rate` of any network.
    seed: mini-batches (and dropout) derive from it and the name of the run. Both groups draw the
        same mini-batches, so that only the rate sets them apart.
    device: "auto" (CUDA where PyTorch finds it), "cpu" or "cuda".
    state: folder of the checkpoint, of this measurement alone; None: nothing is saved on the way.

    Returns
    -------
    Dataset over (setting, group), setting the name of a run and group one of GROUPS, with
    `learning_rate`, `batch`, `mean_eigenvalue`, what `descend` returns, `variance_by_time`
    (variance over η·steps), `expected_variance` (the Hessian is D) and `diffusive_variance`; by
    setting `weights` (d) and the variance of a mini-batch gradient at the snapshot, in both modes.
    Attributes `seed`, `steps`, `percent` and `diverged`, a list of "setting, group".

    Raises
    ------
    LimitcyclesError: no run, no spectrum or dataset of a run, no positive mean eigenvalue, fewer
        than 4 steps, or a run on augmented images, whose D these mini-batches do not have.
    StoppedError: SIGTERM or SIGUSR1 asked the process to end, and `state` has what was done.
    CheckpointError, StorageError: the state cannot be used or written.
    TakenOverError: another process has become the writer of the state.
    """
    turn = contextlib.nullcontext()
    if state is not None:
        turn = sole_writer(state, f"late noise, seed {seed}")
    with turn as mine:
        return _measure(runs, spectra, datasets, settings, seed, device, state, mine)


def _measure(
    runs: Sequence[xr.Dataset],
    spectra: Sequence[xr.Dataset],
    datasets: Mapping[str, xr.Dataset],
    settings: dict,
    seed: int,
    device: str,
    state: Path | None,
    turn: Turn | None,
) -> xr.Dataset:
    """`measure`, when it is this process's turn to write into the state, if there is one."""
    steps, b = int(settings["steps"]), int(settings["batch_size"])
    if steps < 4:
        raise LimitcyclesError(f"late_noise.steps: {steps} is too few; take at least 4")
    if not runs:
        raise LimitcyclesError("late noise: no run was given; give the arms of the claim a seed")
    where = pick_device(device)
    torch.use_deterministic_algorithms(True, warn_only=where.type == "cuda")
    names = [run.attrs["run"] for run in runs]
    chosen = [_spectrum(run, spectra, seed) for run in runs]
    matched = matched_rates([s.attrs["mean_all"] for s in chosen], settings["learning_rate"])
    rates = {"equal-temperature": np.full(len(runs), equal_rate(matched)), "matched": matched}
    points = steps - steps // 2
    done: dict = {"found": [], "alone": [], "diverged": [], "walk": None}
    checkpoint = pause = saved = None
    if state is not None:
        checkpoint = Checkpoint(state, _key(runs, chosen, datasets, settings, seed, where))
        saved = checkpoint.load()
        done = saved or done
        pause = _Pause(
            turn, checkpoint, done, f"late noise, seed {seed}: in step {{step}} of {steps}"
        )
    found, alone, diverged = done["found"], done["alone"], done["diverged"]
    walk = done["walk"]
    total = len(runs) * len(GROUPS) * steps
    before = len(found) * steps + (walk["step"] if walk else 0)
    with (
        contextlib.nullcontext() if pause is None else pause,
        track(
            total=total,
            unit="step",
            what=f"late noise seed {seed}",
            done=None if saved is None else before,
        ) as bar,
    ):
        for i, (run, spectrum) in enumerate(zip(runs, chosen, strict=True)):
            if len(found) >= (i + 1) * len(GROUPS):
                continue
            images, labels = tensors(_dataset(run, datasets), "train", where)
            network = snapshot_network(run, spectrum.attrs["percent"]).to(where)
            draw = torch.Generator().manual_seed(stream(seed, f"late noise of {names[i]}"))
            sizes = (DRAWS + steps, b)  # with replacement; every mini-batch has b images
            index = torch.randint(len(labels), sizes, generator=draw).to(where)
            torch.manual_seed(stream(seed, f"dropout in the late noise of {names[i]}"))
            modes = {"evaluation": network.eval(), "training": copy.deepcopy(network).train()}
            first, others = index[:DRAWS], index[DRAWS:]
            if len(alone) == i:
                alone.append(
                    {
                        f"gradient_variance_{mode}": gradient_variance(it, images, labels, first)
                        for mode, it in modes.items()
                    }
                    | {"weights": int(spectrum.attrs["weights"])}
                )
            for group in GROUPS[len(found) - i * len(GROUPS) :]:
                rate, mean = float(rates[group][i]), float(spectrum.attrs["mean_all"])
                bar.set_postfix_str(f"{names[i]}, {group}", refresh=False)
                walker = copy.deepcopy(modes["training"])
                numbers = descend(
                    walker, images, labels, others, rate, bar, saved=walk, pause=pause
                )
                walk = None
                if not np.isfinite(numbers["variance"]):
                    diverged.append(f"{names[i]}, {group}")
                eigenvalue, trace = spectrum["eigenvalue"].values, float(spectrum.attrs["trace"])
                size = int(spectrum.attrs["weights"])
                found.append(
                    numbers
                    | {
                        "learning_rate": rate,
                        "batch": b,
                        "mean_eigenvalue": mean,
                        "variance_by_time": numbers["variance"] / (rate * steps),
                        "expected_variance": expected_variance(
                            eigenvalue, size, trace, rate, b, points
                        ),
                        "diffusive_variance": diffusive_variance(mean, rate, b, points),
                    }
                )
    shape = (len(runs), len(GROUPS))
    return xr.Dataset(
        {
            key: (("setting", "group"), np.reshape([f[key] for f in found], shape), _units(key))
            for key in found[0]
        }
        | {key: ("setting", [a[key] for a in alone], _units(key)) for key in alone[0]},
        coords={
            "setting": ("setting", np.array(names, dtype=object)),
            "group": ("group", np.array(GROUPS, dtype=object)),
        },
        attrs={
            "seed": seed,
            "steps": steps,
            "percent": int(chosen[0].attrs["percent"]),
            "diverged": diverged,
        },
    )


class _Pause:
    """Called in a descent: saves what is done now and then, and ends the process if it is asked."""

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


def _key(runs, spectra, datasets, settings: dict, seed: int, device: torch.device) -> str:
    """A digest of all that decides the numbers."""

    def content(values: np.ndarray) -> str:
        return hashlib.sha256(np.ascontiguousarray(values)).hexdigest()

    its = [json.loads(run.attrs["settings"]) for run in runs]
    return digest(
        {
            "runs": its,
            "weights": [[content(run[k].values) for k in ("weights", "buffers")] for run in runs],
            "spectra": [
                [
                    content(s["eigenvalue"].values),
                    float(s.attrs["mean_all"]),
                    int(s.attrs["percent"]),
                ]
                for s in spectra
            ],
            "data": {name: dataset.attrs["sha256"] for name, dataset in datasets.items()},
            "settings": settings,
            "seed": seed,
            **means(__name__, [run["network"]["builder"] for run in its], device),
        }
    )


def _units(key: str) -> dict[str, str]:
    return {"units": UNITS[key], "long_name": key.replace("_", " ")}


def _spectrum(run: xr.Dataset, spectra: Sequence[xr.Dataset], seed: int) -> xr.Dataset:
    """The last spectrum of that run and seed."""
    name, its = run.attrs["run"], run.attrs["seed"]
    mine = [s for s in spectra if (s.attrs["run"], s.attrs["seed"]) == (name, seed)]
    if its != seed or not mine:
        raise LimitcyclesError(
            f"late noise of seed {seed}: the run {name} of seed {its} has no spectrum of that "
            "seed; compute its spectra, and give all arms of the claim the same seeds"
        )
    return max(mine, key=lambda s: s.attrs["percent"])


def _dataset(run: xr.Dataset, datasets: Mapping[str, xr.Dataset]) -> xr.Dataset:
    settings = json.loads(run.attrs["settings"])
    name, run_name = settings["dataset_name"], run.attrs["run"]
    if name not in datasets:
        raise LimitcyclesError(
            f"late noise: the run {run_name} was trained on the dataset {name}, which was not "
            f"given; there are {', '.join(datasets)}"
        )
    if settings["training"].get("augmentation"):
        raise LimitcyclesError(
            f"late noise: the run {run_name} was trained on augmented images "
            "(training.augmentation), which plain mini-batches are not; take a run without"
        )
    return datasets[name]
