"""One contestant of `per_sample_gradients.py` in a process of its own."""

from __future__ import annotations

import argparse
import gc
import time
from pathlib import Path

import contestants
import inputs
import numpy as np
import torch
from processes import memory_mib, serve

from limitcycles.diffusion import gradients
from limitcycles.diffusion.per_sample import PerSampleGradients
from limitcycles.runtime.memory import keep_freed
from limitcycles.training import networks

OURS = "limitcycles"
REFERENCE = "reference"  # vmap(grad) in float64
FOLDED = f"{OURS}, folded"  # the rows that "Opacus, folded" must agree with


class Peer:
    """A contestant of `contestants.py`, block after block."""

    def __init__(self, rows: contestants.Rows, weights: int):
        self.rows = rows
        self.weights = weights
        self.buffer = torch.empty(0, weights)

    def first(self, images, labels) -> np.ndarray:
        parts = self.rows(images, labels)
        return torch.cat([p.reshape(len(images), -1) for p in parts], 1).numpy()

    def run(self, images, labels, batch: int, copied: bool) -> None:
        """All examples; `copied`: into rows of a buffer as large as that of limitcycles."""
        capacity = max(1, gradients.SHARD_BYTES // (4 * self.weights) // batch) * batch
        if copied and len(self.buffer) != capacity:
            self.buffer = torch.empty(capacity, self.weights)
        for start in range(0, len(images), batch):
            x, y = images[start : start + batch], labels[start : start + batch]
            parts = self.rows(x, y)
            if copied:
                place = start % capacity
                target = self.buffer[place : place + len(x)].split(
                    [p[0].numel() for p in parts], dim=1
                )
                for part, columns in zip(parts, target, strict=True):
                    columns.unflatten(1, part.shape[1:]).copy_(part)


class Ours:
    """`PerSampleGradients.blocks` as `diffusion.gradients.write` uses it, without the disk."""

    def __init__(self, network, images, labels, threads: int):
        keep_freed()  # this and the next as every job does; the peers run as they come
        gc.freeze()
        self.rows = PerSampleGradients(network, images, labels)
        self.threads = threads

    def first(self, images, labels) -> np.ndarray:
        return self.rows(images, labels).numpy()

    def run(self, images, labels, batch: int, copied: bool) -> None:
        shard = max(1, gradients.SHARD_BYTES // (4 * self.rows.weights) // batch) * batch
        for _ in self.rows.blocks(images, labels, shard, self.threads, batch):
            pass


def enter(name: str, network, images, labels, channels_last: bool, threads: int) -> Ours | Peer:
    """The contestant called `name`."""
    if name == OURS:
        return Ours(network, images, labels, threads)
    if name == FOLDED:
        return Ours(contestants.fold(network), images, labels, threads)
    weights = networks.count_weights(network)
    if name == REFERENCE:
        rows = contestants.torch_func(network.double(), False)
        return Peer(lambda x, y: rows(x.double(), y), weights)
    if name == "Opacus, folded":
        weights = networks.count_weights(contestants.fold(network))
    return Peer(contestants.CONTESTANTS[name](network, channels_last), weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    network, images, labels = inputs.load(arguments.folder, arguments.images)
    if arguments.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    loaded = memory_mib()["now_mib"]
    contestant: list[Ours | Peer] = []

    def answer(request: dict) -> dict:
        if not contestant:
            contestant.append(
                enter(
                    arguments.name,
                    network,
                    images,
                    labels,
                    arguments.channels_last,
                    arguments.threads,
                )
            )
        if request["do"] == "rows":
            count = request["images"]
            np.save(request["path"], contestant[0].first(images[:count], labels[:count]))
            return {}
        if request["do"] == "pass":
            total = min(request["images"], len(images))
            share = slice(
                arguments.part * total // arguments.parts,
                (arguments.part + 1) * total // arguments.parts,
            )
            start = time.perf_counter()
            contestant[0].run(images[share], labels[share], request["batch"], request["copied"])
            # One clock for all processes of this machine.
            return {"start": start, "end": time.perf_counter(), "images": total}
        if request["do"] == "memory":
            return {"loaded_mib": loaded, **memory_mib()}
        raise ValueError(f"unknown request {request['do']}")

    serve(answer)


if __name__ == "__main__":
    main()
