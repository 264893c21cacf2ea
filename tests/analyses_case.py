"""A long trajectory that the linear theory describes: logistic regression on random labels."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import xarray as xr
from torch import nn

from limitcycles.training.trajectories.reading import open_trajectory
from limitcycles.training.trajectories.recording import record

EXAMPLES, BATCH, PIXELS, CLASSES = 70, 16, 16, 3  # four batches of 16 and one of 6


def logistic() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, CLASSES))


def dataset(seed=0) -> xr.Dataset:
    """Skewed images, so that D and the Hessian do not commute."""
    rng = np.random.default_rng(seed)
    mixed = rng.exponential(size=(EXAMPLES, PIXELS)) @ rng.standard_normal((PIXELS, PIXELS))
    image = (mixed / 3).astype(np.float32).reshape(EXAMPLES, 1, 4, 4)
    return xr.Dataset(
        {
            "train_image": (("sample", "channel", "row", "column"), image),
            "train_label": ("sample", rng.integers(0, CLASSES, EXAMPLES)),
        },
        attrs={"sha256": f"logistic, {seed}"},
    )


def run(epochs: int, rate: float, **training) -> dict:
    """The learning rate falls to `rate` after a tenth of the epochs."""
    return {
        "network": {"builder": "analyses_case:logistic", "options": {}, "weights": None},
        "dataset": {},
        "training": {
            "epochs": epochs,
            "batch_size": BATCH,
            "learning_rate": {"start": 2 * rate, "factor": 0.5, "at": [0.1]},
            "optimiser": {"kind": "sgd", "options": {}},
            "weight_decay": 0.0,
            "sampler": "without-replacement",
        }
        | training,
    }


MOMENTA = {
    "none": {},
    "heavy-ball": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
}


@cache
def trajectory(epochs: int, rate: float, momentum: str = "none", seed: int = 0, **training):
    """The run, opened, with all in memory."""
    optimiser = {"kind": "sgd", "options": MOMENTA[momentum]}
    settings = run(epochs, rate, optimiser=optimiser, **training)
    with TemporaryDirectory() as folder:
        path = record(dataset(), settings, seed, Path(folder), gradient_every=epochs)
        return open_trajectory(path).load()
