"""Per-sample gradients of one snapshot, streamed into a sharded Zarr array (sample × weight)."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from limitcycles.diffusion import gradient_store
from limitcycles.diffusion.per_sample import BLOCK, PerSampleGradients
from limitcycles.runtime.devices import pick_device
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.runtime.subnormals import flushed
from limitcycles.storage.files import replacing
from limitcycles.training import networks
from limitcycles.training.augmentation import Copies
from limitcycles.training.sgd import tensors

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


@flushed()
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
    images: int | None = None,
    augmentations: Sequence[int] | None = None,
) -> xr.Dataset:
    """Write g_k = ∇f_k(x) of the training examples at one snapshot to the folder `path`.

    The group holds `gradient` (sample, weight), one row an example, not divided by N, and
    `square_norm` (sample), ‖g_k‖² in float64. Memory beyond the network and the images stays below
    about `memory_mib` MiB.

    `images`: so many training images only, drawn without replacement by the seed of the run, in
    rising order (None: all of them). `augmentations`: rising numbers of augmentations of each image
    over which D is asked for, the last being A. The rows are then those of all images, changed at
    random as in training, A times over (`augmentation.Copies`, from a stream of their own), so that
    the first a · n rows give D over a augmentations of n images. The attributes of the group keep
    `images`, `copies` (A; 1 for plain images) and `augmentations` (empty for plain images).

    Returned are `keep_samples` rows (all, if there are fewer), drawn without replacement by the
    seed of the run, with the index of their example and of its copy as coordinates.

    Raises BatchCouplingError, StorageError, LimitcyclesError (no such snapshot, too little memory
    for one example, fewer images than `images`, a run that was trained without augmentation).
    """
    where = pick_device(device)
    network = snapshot_network(run, percent, precision).to(where)
    dtype = getattr(torch, precision)
    pixels, labels = tensors(dataset, "train", where)
    seed = run.attrs["seed"]
    example = choose(len(pixels), images, seed)
    if len(example) < len(pixels):
        pixels, labels = (part[torch.from_numpy(example).to(where)] for part in (pixels, labels))
    pixels = pixels.to(dtype) if pixels.is_floating_point() else pixels  # tokens stay whole
    rows = PerSampleGradients(network, pixels, labels)
    if rows.slow is not None:
        print(f"gradients one example at a time, which is slow: {rows.slow}", file=sys.stderr)
    block, shard = plan(rows, pixels[0], memory_mib, threads)
    inputs, copies = pixels, 1
    if augmentations is not None:
        copies = max(augmentations)
        changes = torch.Generator().manual_seed(stream(seed, "gradient augmentation"))
        inputs = Copies(pixels, copies, changes, **augmentation_of(run))
    targets = labels.repeat(copies)
    attrs = {"run": run.attrs["run"], "seed": seed, "percent": percent}
    attrs |= {"images": len(example), "copies": copies, "augmentations": [*(augmentations or ())]}
    generator = np.random.default_rng(stream(seed, "gradient sample"))
    chosen = np.sort(generator.permutation(len(inputs))[:keep_samples])
    kept = np.empty((len(chosen), rows.weights), dtype=precision)
    with replacing(path, durable=False) as temporary:  # `diffusion.Rows` finds damage
        shape = (len(inputs), rows.weights)
        group = gradient_store.create(temporary, shape, shard, precision, attrs)
        array = group["gradient"]
        square_norm = np.empty(len(inputs))
        bar = track(
            total=len(inputs), unit="image", what=f"gradients at {percent} % by {rows.method}"
        )
        for start, part in rows.blocks(inputs, targets, shard, threads, block):
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
    copy, image = np.divmod(chosen, len(example))
    return gradient_store.rows(kept, example[image], copy, attrs)


def choose(available: int, images: int | None, seed: int) -> np.ndarray:
    """Indices of the examples whose gradients are taken, int64, rising; `images` as in `write`.

    Raises LimitcyclesError: there are fewer than `images`.
    """
    if images is None:
        return np.arange(available)
    if images > available:
        raise LimitcyclesError(
            f"images of the gradients: {images:,} is more than the {available:,} training images "
            "of the dataset; take fewer, or all (null)"
        )
    generator = np.random.default_rng(stream(seed, "gradient images"))
    return np.sort(generator.permutation(available)[:images])


def augmentation_of(run: xr.Dataset) -> dict:
    """`flip` and `pad` that a run was trained with. Raises LimitcyclesError: it was without."""
    augmentation = json.loads(run.attrs["settings"])["training"]["augmentation"]
    if augmentation is None:
        raise LimitcyclesError(
            f"augmentations of the gradients: run {run.attrs['run']} was trained without "
            "augmentation; ask for none (null), or give the run training.augmentation"
        )
    return augmentation


def plan(rows: PerSampleGradients, example, memory_mib: int, threads: int) -> tuple[int, int]:
    """(examples in a block, rows in a shard) so that blocks and shard fit into the memory."""
    itemsize = rows.dtype.itemsize
    budget = memory_mib * 2**20
    # A shard exists three times: as rows, as the array's copy, and encoded.
    shard = min(SHARD_BYTES, budget // 6) // (rows.weights * itemsize)
    block = (budget // 2) // (threads * rows.bytes_per_example(example))
    if shard < 1 or block < 1:
        raise LimitcyclesError(
            f"memory_mib of the gradients: {memory_mib} is too little for one example of a network "
            f"with {rows.weights:,} weights; raise it"
        )
    block = int(min(block, BLOCK))
    shard = int(max(block, shard // block * block)) if shard >= block else int(shard)
    return min(block, shard), shard
