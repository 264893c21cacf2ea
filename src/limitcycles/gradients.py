"""Per-sample gradients of one snapshot, streamed into a sharded Zarr array (sample × weight)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from limitcycles import gradient_store, networks
from limitcycles.devices import pick_device
from limitcycles.errors import LimitcyclesError
from limitcycles.files import replacing
from limitcycles.per_sample import BLOCK, PerSampleGradients
from limitcycles.progress import track
from limitcycles.seeds import stream
from limitcycles.training import tensors

SHARD_BYTES = 64 * 2**20


def snapshot_network(run: xr.Dataset, percent: int, precision: str = "float32"):
    """The network of one snapshot, in evaluation mode. Raises LimitcyclesError: no such percent."""
    percents = [int(p) for p in run["percent"].values]
    if percent not in percents:
        raise LimitcyclesError(
            f"run {run.attrs['run']} has snapshots at {percents} %, not at {percent} %: "
            "add it to training.snapshots"
        )
    at = run.isel(snapshot=percents.index(percent))
    settings = json.loads(run.attrs["settings"])
    network = networks.build(settings["network"]).to(getattr(torch, precision))
    return networks.restore(network, at["weights"].values, at["buffers"].values).eval()


def write(
    run: xr.Dataset,
    dataset: xr.Dataset,
    percent: int,
    path: Path,
    *,
    precision: str = "float32",
    memory_mib: int = 1024,
    threads: int = 1,
    device: str = "auto",
    keep_samples: int = 2048,
) -> xr.Dataset:
    """Write g_k = ∇f_k(x) of every training example at one snapshot to the folder `path`.

    The group holds `gradient` (sample, weight), one row an example, not divided by N, and
    `square_norm` (sample), ‖g_k‖² in float64. Memory beyond the network and the images stays below
    about `memory_mib` MiB. Returned are `keep_samples` rows (all, if there are fewer), drawn
    without replacement by the seed of the run, with the index of their example as coordinate.

    Raises BatchCouplingError, StorageError, LimitcyclesError (no such snapshot, too little memory
    for one example).
    """
    where = pick_device(device)
    network = snapshot_network(run, percent, precision).to(where)
    dtype = getattr(torch, precision)
    images, labels = tensors(dataset, "train", where)
    images = images.to(dtype)
    rows = PerSampleGradients(network, images, labels)
    block, shard = plan(rows, images[0], memory_mib, threads)
    attrs = {"run": run.attrs["run"], "seed": run.attrs["seed"], "percent": percent}
    generator = np.random.default_rng(stream(run.attrs["seed"], "gradient sample"))
    chosen = np.sort(generator.permutation(len(images))[:keep_samples])
    kept = np.empty((len(chosen), rows.weights), dtype=precision)
    with replacing(path, durable=False) as temporary:  # `diffusion.Rows` finds damage
        shape = (len(images), rows.weights)
        group = gradient_store.create(temporary, shape, shard, precision, attrs)
        array = group["gradient"]
        square_norm = np.empty(len(images))
        bar = track(total=len(images), unit="image", what=f"gradients at {percent} %")
        for start, part in rows.blocks(images, labels, shard, threads, block):
            array[start : start + len(part)] = part.numpy()
            norm = torch.linalg.vector_norm(part, dim=1, dtype=torch.float64)
            square_norm[start : start + len(part)] = (norm**2).numpy()
            low, high = np.searchsorted(chosen, (start, start + len(part)))
            kept[low:high] = part.numpy()[chosen[low:high] - start]
            bar.update(len(part))
        bar.close()
        group.create_array(
            "square_norm", data=square_norm, dimension_names=("sample",), fill_value=np.nan
        )
    return gradient_store.rows(kept, chosen, attrs)


def plan(rows: PerSampleGradients, example, memory_mib: int, threads: int) -> tuple[int, int]:
    """(examples in a block, rows in a shard) so that blocks and shard fit into the memory."""
    itemsize = example.dtype.itemsize
    budget = memory_mib * 2**20
    # A shard exists three times: as rows, as the array's copy, and encoded.
    shard = min(SHARD_BYTES, budget // 6) // (rows.weights * itemsize)
    block = (budget // 2) // (threads * rows.bytes_per_example(example))
    if shard < 1 or block < 1:
        raise LimitcyclesError(
            f"gradients.memory_mib: {memory_mib} is too little for one example of a network with "
            f"{rows.weights:,} weights; raise it"
        )
    block = int(min(block, BLOCK))
    shard = int(max(block, shard // block * block)) if shard >= block else int(shard)
    return min(block, shard), shard
