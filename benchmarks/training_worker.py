"""One way to train small-allcnn on 3x32x32 images, as a worker process of `training.py`.

All ways start from the same weights and take the same mini-batches, as `training.sgd` does
it: gather the images, augment them, forward, backward, SGD with heavy ball and weight decay.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from processes import memory_mib, serve

from limitcycles.runtime.memory import keep_freed
from limitcycles.training import networks, optimisers
from limitcycles.training.augmentation import augment
from limitcycles.training.samplers import batches
from limitcycles.training.sgd import evaluate, learning_rate

BATCH = 128
TRAINING = {
    "learning_rate": {"start": 0.1, "factor": 0.2, "at": [0.3, 0.6]},
    "optimiser": {"kind": "sgd", "options": {"momentum": 0.9}},
    "weight_decay": 1e-4,
}
RANDOM_IMAGES = 4096  # where only times are asked for


class Trainer:
    """A network, its optimiser and its data, in one of the ways."""

    def __init__(self, way: dict, images: Path | None):
        self.layout = torch.channels_last if way["channels_last"] else torch.contiguous_format
        self.autocast = way["bfloat16"]
        torch.manual_seed(way["seed"])
        self.network = networks.allcnn().to(memory_format=self.layout).train()
        self.forward = torch.compile(self.network) if way["compiled"] else self.network
        self.optimizer = optimisers.of(TRAINING).torch(
            self.network.parameters(), TRAINING["learning_rate"]["start"]
        )
        self.order = torch.Generator().manual_seed(way["seed"])
        self.changes = torch.Generator().manual_seed(way["seed"])
        if images is None:
            x = torch.randn(RANDOM_IMAGES, 3, 32, 32, generator=self.order)
            y = torch.randint(10, (RANDOM_IMAGES,), generator=self.order)
            self.train, self.test = (x.contiguous(memory_format=self.layout), y), None
        else:
            with np.load(images) as arrays:
                self.train, self.test = (
                    (
                        torch.from_numpy(arrays[f"{part}_image"]).contiguous(
                            memory_format=self.layout
                        ),
                        torch.from_numpy(arrays[f"{part}_label"]),
                    )
                    for part in ("train", "test")
                )

    def step(self, index: torch.Tensor, augmented: bool = False) -> torch.Tensor:
        """One step; the loss before it."""
        x, y = self.train[0][index], self.train[1][index]
        if augmented:
            x = augment(x, self.changes, flip=True, pad=4)
        self.optimizer.zero_grad(set_to_none=True)
        half = torch.autocast("cpu", dtype=torch.bfloat16)
        with half if self.autocast else contextlib.nullcontext():
            loss = F.cross_entropy(self.forward(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def time(self, steps: int, augmented: bool) -> dict:
        """Milliseconds a step."""
        plan = torch.randint(len(self.train[1]), (steps, BATCH), generator=self.order)
        start = time.perf_counter()
        for index in plan:
            self.step(index, augmented)
        return {"ms": 1e3 * (time.perf_counter() - start) / steps}

    def run(self, epochs: int) -> dict:
        """Train from the start of the process; loss and error at the end, in evaluation mode.

        Evaluated in float32, whatever it was trained in: that is what a snapshot is looked at in.
        """
        for epoch in range(epochs):
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(TRAINING["learning_rate"], epoch, epochs)
            for index in batches("without-replacement", len(self.train[1]), BATCH, self.order):
                self.step(index)
        loss, error = evaluate(self.network, *self.test)
        train_loss, train_error = evaluate(self.network, *self.train)
        return {
            "test_loss": loss,
            "test_error_percent": error,
            "train_loss": train_loss,
            "train_error_percent": train_error,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--part", type=int, help="number of this worker of a team; not used")
    parser.add_argument("--parts", type=int, help="workers of the team; not used")
    arguments = parser.parse_args()
    keep_freed()  # as every job does
    torch.set_num_threads(arguments.threads)
    trainer = Trainer(vars(arguments), arguments.images)

    def answer(request: dict) -> dict:
        if request["do"] == "time":
            return trainer.time(request["steps"], request["augmented"]) | memory_mib()
        return trainer.run(request["epochs"])

    serve(answer)


if __name__ == "__main__":
    main()
