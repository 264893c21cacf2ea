"""Small runs on the digits of scikit-learn, seconds each, for tests of training and resuming."""

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from limitcycles import datasets

STEPS = 10  # steps in an epoch: 320 images, 32 in a batch
EPOCHS = 5
SNAPSHOT_EPOCHS = [0, 1, 2, 5]


def linear() -> nn.Module:
    """Softmax regression on 8x8 images; a test names it "small_runs:linear"."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


class PartlyFrozen(nn.Module):
    """650 weights behind a frozen layer; `spare` has 12 more and is called by nobody."""

    def __init__(self, spare: bool) -> None:
        super().__init__()
        self.a = nn.Linear(64, 64).requires_grad_(False)
        self.b = nn.Linear(64, 10)
        if spare:
            self.spare = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x.flatten(1)).relu())


def partly_frozen(spare: bool = False) -> nn.Module:
    return PartlyFrozen(spare)


class Freezing(PartlyFrozen):
    """Its forward pass freezes another layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.b.weight.requires_grad_(not self.training)
        return super().forward(x)


def freezing() -> nn.Module:
    return Freezing(False)


def digits(size: int | None = None) -> xr.Dataset:
    """320 training and 360 test images, 8x8 or `size` pixels a side."""
    resize = None if size is None else {"method": "bilinear", "size": size}
    spec = {"source": "digits", "train_images": 320, "resize": resize}
    return datasets.build(spec, log=lambda line: None)


def sgd(momentum: float = 0.0, nesterov: bool = False) -> dict[str, Any]:
    """An entry of `optimisers`."""
    return {"kind": "sgd", "options": {"momentum": momentum, "nesterov": nesterov}}


def run(network: dict[str, Any] | None = None, **training: Any) -> dict[str, Any]:
    """Settings of a run on `digits()`; fc-64 with Nesterov momentum unless told otherwise."""
    return {
        "network": network
        or {"builder": "fc", "options": {"inputs": 64, "hidden": 64, "classes": 10}},
        "dataset": {"source": "digits", "train_images": 320},
        "training": {
            "epochs": EPOCHS,
            "batch_size": 32,
            "learning_rate": {"start": 0.1, "factor": 0.2, "at": [0.4, 0.8]},
            "optimiser": sgd(0.9, nesterov=True),
            "weight_decay": 0.0,
            "augmentation": None,
            "sampler": "without-replacement",
            "snapshots": [0, 20, 40, 100],
            "checkpoint_seconds": 1e9,
        }
        | training,
    }


def lenet(dropout: float) -> dict[str, Any]:
    """The network of Fig. 1a, for `digits(28)`."""
    return {"builder": "small-lenet", "options": {"dropout": dropout}, "weights": 13338}


class Steps:
    """The weights after each step of any optimiser, while it is open."""

    def __enter__(self) -> "Steps":
        self.weights: list[np.ndarray] = []
        self.rates: list[float] = []
        self._hook = register_optimizer_step_post_hook(self._record)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def __len__(self) -> int:
        return len(self.weights)

    def _record(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        flat = torch.cat([p.detach().reshape(-1) for p in parameters])
        self.weights.append(flat.numpy().copy())
        self.rates.append(optimizer.param_groups[0]["lr"])
