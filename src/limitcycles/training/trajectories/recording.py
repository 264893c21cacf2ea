"""Long trajectories of SGD: the weights after every epoch, in stores that grow while they run.

A store is a Zarr group that xarray opens: `weights` (epoch, weight) and what belongs to each
epoch. It is written in blocks of epochs, each a shard, and the state of training goes into a
checkpoint after each block. A process that is killed at any moment loses its block at most; the
next one writes it anew, to the same bits, so that no epoch is missing or there twice.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from limitcycles.runtime import stopping
from limitcycles.runtime.devices import pick_device
from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.runtime.subnormals import flushed
from limitcycles.storage.provenance import code_version
from limitcycles.storage.sole_writer import Turn, sole_writer
from limitcycles.training import networks, optimisers
from limitcycles.training.checkpoint import Checkpoint, key
from limitcycles.training.compiled.engines import Engines
from limitcycles.training.compiled.ensemble import Ensemble
from limitcycles.training.compiled.layers import CompiledError
from limitcycles.training.first_look import look
from limitcycles.training.samplers import CONTROLS, SAMPLERS
from limitcycles.training.sgd import DivergenceError, check_possible, learning_rate, tensors
from limitcycles.training.trajectories.writing import Writer

BLOCK = 1024  # epochs in a shard: some seconds of work
NAME = "trajectory.zarr"


def record(dataset: xr.Dataset, run: dict, seed: int, folder: Path, **options) -> Path:
    """Train one network with the compiled loops: `record_seeds` of one seed, in one folder.

    Returns the path of the store, `folder`/trajectory.zarr.
    """
    return record_seeds(dataset, run, {seed: Path(folder) / NAME}, folder, **options)[0]


@flushed()
def record_seeds(
    dataset: xr.Dataset,
    run: dict,
    stores: dict[int, Path],
    folder: Path,
    *,
    device: str | None = None,
    gradient_every: int = 100,
    windows: tuple[tuple[int, int], ...] = (),
    block: int = BLOCK,
    name: str = "trajectory",
) -> list[Path]:
    """Train one network for each seed, and keep its weights after every epoch.

    Parameters
    ----------
    dataset: as `limitcycles.datasets.build` returns it; the training part is used.
    run: resolved settings of the run (`settings.resolve_run`); `snapshots` and
        `checkpoint_seconds` of its `training` are not used.
    stores: the path of the store of each seed. All random streams (initialisation, sampler) derive
        from the seed, the same ones on all devices.
    folder: takes the checkpoint. A call with other settings starts anew; it waits while another
        process writes there.
    device: None: the compiled loops, one network after another on one core. Else all networks at
        once as an `Ensemble` on that device, "cuda" or "cpu".
    gradient_every: epochs between full gradients; epoch 0 and the last have theirs too.
    windows: (first, epochs): the weights after each step of these epochs are kept as well.
    block: epochs in a shard and between checkpoints; of an ensemble they are in memory at once.

    Returns the paths of the stores, each a Zarr group whose chunks all have checksums, with, by
    `epoch` (0: before training):

    - `weights` (epoch, weight) float32, in the order of `networks.flatten`;
    - `moments` (epoch, moment) float32: running means, then variances, of batch normalisation;
    - `loss` (epoch) float32: mean over the steps of the epoch, in training mode, nats; NaN at 0.
      Of all examples, equally weighted, where the steps take all (`samplers.CONTROLS`);
    - `gradient_epoch` (gradient) int64 and, in evaluation and in training mode,
      `gradient_evaluation`, `gradient_training` (gradient, weight) float32 (nats per unit of
      weight), `loss_evaluation`, `loss_training` (nats) and `error_evaluation` (percent): see
      `Engine.full_gradient`;
    - `window_weights` (step, weight) float32 with `window_epoch` (step) int64, the epoch (from 1)
      of each of these steps.

    Raises
    ------
    DivergenceError: a loss is no longer finite; names seed and epoch. What was written stays.
    NetworkError: the network cannot be trained on these images (`limitcycles.training.first_look`).
    CompiledError: a network or a sampler that the device cannot take, or augmentation.
    LimitcyclesError: no step can be taken (`training.check_possible`).
    StoppedError: SIGTERM or SIGUSR1 asked the process to end; the next call continues.
    CheckpointError, StorageError: the state cannot be used or written.
    TakenOverError: another process has become the writer of the folder.
    """
    what = f"{name} seed {'-'.join(map(str, stores))}"
    with sole_writer(folder, what) as turn:
        plan = {"gradient_every": gradient_every, "windows": [list(w) for w in windows]}
        return _record(dataset, run, stores, Path(folder), turn, device, plan, block, name, what)


def _record(
    dataset: xr.Dataset,
    run: dict,
    stores: dict[int, Path],
    folder: Path,
    turn: Turn,
    device: str | None,
    plan: dict,
    block: int,
    name: str,
    what: str,
) -> list[Path]:
    """`record_seeds`, when it is this process's turn to write into the folder."""
    training, seeds = run["training"], list(stores)
    check_possible(dataset, training, ("train",))
    engine = _engine(dataset, run, seeds, device)
    where = None if device is None else pick_device(device)
    own_key = key(__name__, run, seeds, dataset.attrs["sha256"], where, block=block, **plan)
    checkpoint = Checkpoint(folder, own_key)
    writer = Writer([Path(p) for p in stores.values()], engine, training["epochs"], block, plan)
    sources = [torch.Generator().manual_seed(stream(seed, "sampler")) for seed in seeds]
    saved = checkpoint.load() if writer.open(own_key) else None
    if saved is None:
        attrs = {"run": name, "settings": json.dumps(run, sort_keys=True)}
        attrs |= {"code_version": code_version(), "key": own_key}
        # An old checkpoint of these settings would make the next process skip what it says is done.
        checkpoint.path.unlink(missing_ok=True)
        writer.create([attrs | {"seed": seed} for seed in seeds])
        done = 0  # rows that are in the stores
    else:
        done = saved["done"]
        for source, state in zip(sources, saved["order"], strict=True):
            source.set_state(state)
        engine.restore({part: values.numpy() for part, values in saved["engine"].items()})
    total = training["epochs"] + 1
    shown = {"total": training["epochs"], "done": None if saved is None else done - 1}
    with stopping.requests() as asked, track(**shown, unit="epoch", what=what) as bar:
        while done < total:
            stop = min((done // block + 1) * block, total)  # the end of a shard
            rows = writer.rows(done, stop)
            for epoch in range(done, stop):
                losses, path = np.full((len(seeds), 1), np.nan), None
                if epoch:
                    losses, path = _train(engine, training, epoch, sources, writer.in_window(epoch))
                state = engine.state()
                if epoch:
                    _check_finite(losses, state["weights"], seeds, f"{name}, seed", epoch)
                rows.add(epoch, losses.mean(1), state, path)
                bar.update(min(epoch, 1))  # epoch 0 is before training
                if asked.signal is not None:
                    break
            turn.check()
            writer.write(rows)
            done = epoch + 1
            checkpoint.save(
                {
                    "done": done,
                    "order": [source.get_state() for source in sources],
                    "engine": {k: torch.from_numpy(v) for k, v in engine.state().items()},
                }
            )
            if asked.signal is not None and done < total:
                raise asked.error(f"{what}: after epoch {done - 1} of {training['epochs']}")
    return writer.paths


def _engine(
    dataset: xr.Dataset, run: dict, seeds: list[int], device: str | None
) -> Engines | Ensemble:
    """A network for each seed, before training, compiled (device None) or on a device."""
    sampler = run["training"]["sampler"]
    if run["training"].get("augmentation") is not None:
        raise CompiledError(
            "training.augmentation is for runs only: trajectories take the images as they are; "
            "write null"
        )
    if device is not None and sampler not in SAMPLERS:
        raise CompiledError(f"the sampler {sampler} has compiled loops only; use the CPU")
    data = dataset["train_image"].values, dataset["train_label"].values
    members, batch_size = [_network(run, seed) for seed in seeds], run["training"]["batch_size"]
    look(members[0], *tensors(dataset, "train", "cpu"), batch_size=batch_size)
    given = members, *data, batch_size, optimisers.of(run["training"])
    return Engines(*given) if device is None else Ensemble(*given, device=pick_device(device))


def _check_finite(losses, weights, seeds, who: str, epoch: int) -> None:
    for seed, loss, own in zip(seeds, losses, weights, strict=True):
        if not np.isfinite(loss).all() or not np.isfinite(own).all():
            raise DivergenceError(
                f"{who} {seed}: a loss or a weight is not finite in epoch {epoch}. Lower "
                "training.learning_rate.start."
            )


def _train(
    engine: Engines | Ensemble,
    training: dict,
    epoch: int,
    sources: list[torch.Generator],
    keep: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Epoch `epoch` (from 1) of all members, each from its source of random numbers.

    Losses and, to `keep`, weights of its steps. The state of a source before the epoch decides the
    epoch of its member.
    """
    sampler = training["sampler"]
    rate = learning_rate(training["learning_rate"], epoch - 1, training["epochs"])
    steps, examples = engine.steps(engine.examples), engine.examples
    kept = steps if keep else 0
    if sampler in SAMPLERS:
        orders = [SAMPLERS[sampler](examples, source).numpy() for source in sources]
        return engine.epoch(orders, rate, keep=kept)
    shares = [CONTROLS[sampler](steps, examples, engine.batch, source) for source in sources]
    return engine.descend_all(steps, rate, shares=shares, keep=kept)


def _network(run: dict, seed: int) -> torch.nn.Module:
    torch.manual_seed(stream(seed, "initialisation"))
    return networks.build(run["network"]).train()
