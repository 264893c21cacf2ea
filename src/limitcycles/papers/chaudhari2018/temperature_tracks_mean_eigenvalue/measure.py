"""The noise of trained networks under plain SGD, at matched temperatures (Remark 15).

`noise_temperature` says what theory makes of it.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from limitcycles.configuration import plugins
from limitcycles.configuration.settings import digest
from limitcycles.diffusion.gradients import snapshot_network
from limitcycles.papers.chaudhari2018.temperature_tracks_mean_eigenvalue.noise_temperature import (
    diffusive_variance,
    equal_rate,
    expected_variance,
    matched_rates,
)
from limitcycles.runtime.devices import pick_device
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.storage.sole_writer import Turn, sole_writer
from limitcycles.training.checkpoint import Checkpoint, means
from limitcycles.training.constant_rate import Saving, descend, gradient_variance
from limitcycles.training.sgd import tensors

READS = (
    "constant_rate_sgd.steps",
    "constant_rate_sgd.batch_size",
    "constant_rate_sgd.learning_rate",
)
PLAIN_IMAGES = True  # it goes on with the images as they are: no augmentation

GROUPS = ("equal-temperature", "matched")
DRAWS = 200  # mini-batches for the noise of one step at the snapshot
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


def measure(
    runs: Sequence[xr.Dataset],
    spectra: Sequence[xr.Dataset],
    datasets: Mapping[str, xr.Dataset],
    settings: dict,
    seed: int,
    *,
    device: str = "auto",
    state: Path | None = None,
) -> dict[str, xr.Dataset]:
    """Let trained networks go on with plain SGD, at equal η/b and at equal (η/b)·mean λ(D).

    Parameters
    ----------
    runs: one of each setting, of this seed; with the snapshot of its spectrum.
    spectra: the spectrum of D of each of them; mean λ is its attribute `mean_all`.
    datasets: by name, those that the runs were trained on.
    settings: `steps`, `batch_size` b and the largest
        `learning_rate` of any network.
    seed: mini-batches (and dropout) derive from it and the name of the run. Both groups draw the
        same mini-batches, so that only the rate sets them apart.
    device: "auto" (CUDA where PyTorch finds it), "cpu" or "cuda".
    state: folder of the checkpoint, of this measurement alone; None: nothing is saved on the way.

    Returns
    -------
    Part `noise`, over (setting, group), setting the name of a run and group one of GROUPS, with
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
        turn = sole_writer(state, f"constant rate, seed {seed}")
    with turn as mine:
        return {"noise": _measure(runs, spectra, datasets, settings, seed, device, state, mine)}


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
        raise LimitcyclesError(f"constant_rate_sgd.steps: {steps} is too few; take at least 4")
    if not runs:
        raise LimitcyclesError("constant rate: no run was given; give the arms of the claim a seed")
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
        pause = Saving(
            turn, checkpoint, done, f"constant rate, seed {seed}: in step {{step}} of {steps}"
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
            what=f"constant rate seed {seed}",
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
            **means(__name__, [plugins.code(run["network"]["builder"]) for run in its], device),
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
            f"constant rate of seed {seed}: the run {name} of seed {its} has no spectrum of that "
            "seed; compute its spectra, and give all arms of the claim the same seeds"
        )
    return max(mine, key=lambda s: s.attrs["percent"])


def _dataset(run: xr.Dataset, datasets: Mapping[str, xr.Dataset]) -> xr.Dataset:
    settings = json.loads(run.attrs["settings"])
    name, run_name = settings["dataset_name"], run.attrs["run"]
    if name not in datasets:
        raise LimitcyclesError(
            f"constant rate: the run {run_name} was trained on the dataset {name}, which was not "
            f"given; there are {', '.join(datasets)}"
        )
    if settings["training"].get("augmentation"):
        raise LimitcyclesError(
            f"constant rate: the run {run_name} was trained on augmented images "
            "(training.augmentation), which plain mini-batches are not; take a run without"
        )
    return datasets[name]
