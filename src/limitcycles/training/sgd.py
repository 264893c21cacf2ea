"""Training by SGD, with snapshots, that survives being killed at any moment.

The state (network, optimiser, every random generator, position in the epoch, snapshots and
metrics so far) is written to a folder of its own every few seconds, under a temporary name that
then takes the old one's place. A run that starts again continues there and ends bit for bit as an
uninterrupted one, on the same machine and build of torch with the same number of threads.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import xarray as xr
from torch import Tensor, nn

from limitcycles.runtime import stopping
from limitcycles.runtime.devices import pick_device
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.runtime.subnormals import flushed
from limitcycles.storage.sole_writer import Turn, sole_writer
from limitcycles.training import networks
from limitcycles.training.augmentation import augment
from limitcycles.training.checkpoint import Checkpoint, key
from limitcycles.training.first_look import look
from limitcycles.training.samplers import batches

EVALUATED = 200  # images at a time: their activations stay in the cache
STEPS_BETWEEN_CHECKS = 50  # steps between looks at the loss; each look waits for the device


class DivergenceError(LimitcyclesError):
    """A loss or a weight is no longer a finite number."""


def tensors(dataset: xr.Dataset, part: str, device) -> tuple[Tensor, Tensor]:
    """Images float32 (n, channel, height, width), or tokens int64 (n, length), and labels int64
    (n,) of "train" or "test"."""
    images = torch.from_numpy(dataset[f"{part}_image"].values).to(device)
    if images.dtype != torch.int64:  # tokens stay whole
        images = images.to(torch.float32)
    if images.ndim == 4:
        images = images.contiguous(memory_format=torch.channels_last)  # faster pooling, measured
    labels = torch.from_numpy(dataset[f"{part}_label"].values).to(device, torch.int64)
    return images, labels


def error_percent(predictions: Tensor, labels: Tensor) -> float:
    """Share of wrong predictions in percent; both int64 of shape (n,)."""
    return 100 * float((predictions != labels).sum()) / len(labels)


def evaluate(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy and error in percent, in evaluation mode."""
    was_training = network.training
    network.eval()
    loss, predictions = 0.0, []
    with torch.no_grad():
        for x, y in zip(images.split(EVALUATED), labels.split(EVALUATED), strict=True):
            logits = network(x.clone())  # a view, and the network may work in place
            loss += float(F.cross_entropy(logits, y, reduction="sum"))
            predictions.append(logits.argmax(1))
    network.train(was_training)
    return loss / len(labels), error_percent(torch.cat(predictions), labels)


def learning_rate(schedule: dict, epoch: int, epochs: int) -> float:
    """start · factor^(number of steps passed); `at` holds fractions of the epochs."""
    passed = sum(epoch >= round(fraction * epochs) for fraction in schedule["at"])
    return schedule["start"] * schedule["factor"] ** passed


def check_possible(dataset: xr.Dataset, training: dict, parts: tuple[str, ...]) -> None:
    """Raise LimitcyclesError where no step could be taken: `parts` are those that are needed.

    A part without images, a single image in larger batches, numbers beyond those of float32.
    """
    for part in parts:
        if not len(dataset[f"{part}_label"]):
            raise LimitcyclesError(f"the dataset has no {part} images; give it some")
    if len(dataset["train_label"]) == 1 < training["batch_size"]:
        raise LimitcyclesError(
            "the dataset has one training image, and a last mini-batch of one image is left out, "
            "so that no step is taken: give it more, or write training.batch_size: 1"
        )
    largest = float(np.finfo(np.float32).max)
    given = {
        "learning_rate.start": training["learning_rate"]["start"],
        "weight_decay": training["weight_decay"],
    }
    for name, value in given.items():
        if not abs(value) <= largest:
            raise LimitcyclesError(
                f"training.{name}: {value} is beyond {largest:.2g}, the largest number of float32, "
                "which weights are in; take less"
            )


def make_optimizer(network: nn.Module, training: dict) -> torch.optim.SGD:
    """SGD on the trainable weights, as in the configuration; heavy ball is v ← μv + g, x ← x − ηv.

    A weight that a step has no use for (a layer that is not called) has no gradient: SGD leaves it
    where it is, without weight decay.
    """
    momentum = training["momentum"]
    kind = momentum["kind"]
    return torch.optim.SGD(
        networks.trainable(network).values(),
        lr=training["learning_rate"]["start"],
        momentum=0.0 if kind == "none" else momentum["coefficient"],
        nesterov=kind == "nesterov",
        weight_decay=training["weight_decay"],
        foreach=True,
    )


@dataclass
class _Progress:
    """Position and record of a run; all of it goes into the checkpoint."""

    epoch: int = 0
    step: int = 0
    record: dict | None = None

    def __post_init__(self):
        names = ("train_loss", "train_error", "test_loss", "test_error")
        self.record = self.record or {"metrics": {n: [] for n in names}, "snapshots": {}}


@flushed()
def train(
    dataset: xr.Dataset,
    run: dict,
    seed: int,
    state: Path,
    *,
    name: str = "run",
    device: str = "auto",
    limit_seconds: float | None = None,
) -> xr.Dataset:
    """Train one network and return its run: snapshots, losses and errors.

    Parameters
    ----------
    dataset: as `limitcycles.datasets.build` returns it.
    run: resolved settings of the run (`limitcycles.configuration.settings.resolve_run`).
    seed: all random streams (initialisation, sampler, dropout, augmentation) derive from it.
    state: folder of the checkpoint, of this run alone; it may be deleted when the result is safe.
        The call waits while another process writes there.
    limit_seconds: stop after a checkpoint once this time has passed (None: never), with
        TimeoutError; the next call continues.

    Returns
    -------
    Dataset with `weights` (snapshot, weight) float32, `buffers` (snapshot, buffer) float64 as
    `networks.flatten` gives them,
    `percent` and `epoch` of each snapshot, and by epoch, 0 being before training, `train_loss`,
    `test_loss` (nats), `train_error`, `test_error` (percent), in evaluation mode, not augmented.

    Raises
    ------
    DivergenceError: a loss or a weight is NaN or infinite; names epoch and step. Nothing of it is
        in the checkpoint.
    NetworkError: the network cannot be trained on these images (`training.first_look`), which is
        found before anything is written; or it changes which of its parameters require a gradient.
    LimitcyclesError: no step can be taken (`check_possible`).
    StoppedError: SIGTERM or SIGUSR1 asked the process to end; the next call continues.
    CheckpointError, StorageError: the state cannot be used or written.
    TakenOverError: another process has become the writer of the state.
    """
    with sole_writer(state, f"{name}, seed {seed}") as turn:
        return _train(dataset, run, seed, state, turn, name, device, limit_seconds)


def _train(
    dataset: xr.Dataset,
    run: dict,
    seed: int,
    state: Path,
    turn: Turn,
    name: str,
    device: str,
    limit_seconds: float | None,
) -> xr.Dataset:
    """`train`, when it is this process's turn to write into the state."""
    training = run["training"]
    check_possible(dataset, training, ("train", "test"))
    device = pick_device(device)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    own_key = key(__name__, run, [seed], dataset.attrs["sha256"], device)
    checkpoint = Checkpoint(state, own_key)

    torch.manual_seed(stream(seed, "initialisation"))
    network = networks.build(run["network"]).to(device).train()
    network = networks.channels_last(network)
    weights = networks.trainable(network)
    images, labels = tensors(dataset, "train", device)
    test = tensors(dataset, "test", device)
    classes = 1 + int(max(labels.max(), test[1].max()))
    # Of tokens those of the test set, too: an embedding must have a row for each.
    seen = images if images.is_floating_point() else torch.cat([images, test[0]])
    look(network, seen, labels, classes=classes, batch_size=training["batch_size"])
    torch.manual_seed(stream(seed, "dropout"))
    optimizer = make_optimizer(network, training)
    order = torch.Generator().manual_seed(stream(seed, "sampler"))
    changes = torch.Generator().manual_seed(stream(seed, "augmentation"))
    if training["augmentation"] is not None and images.ndim != 4:
        raise LimitcyclesError(
            f"training.augmentation of {name}: its dataset has tokens, and only images can be "
            "flipped and cropped; write null."
        )
    epochs = training["epochs"]
    due = {round(p * epochs / 100): p for p in training["snapshots"]}
    if len(due) < len(training["snapshots"]):
        raise LimitcyclesError(
            f"training.snapshots of {name}: {training['snapshots']} % of {epochs} epochs are not "
            "distinct epochs. Train longer or take fewer snapshots."
        )

    now = _Progress()
    saved = checkpoint.load()
    if saved is not None:
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["generator"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(saved["cuda_generator"])
        now = _Progress(saved["epoch"], saved["step"], saved["record"])
        order.set_state(saved["order"])
        changes.set_state(saved["changes"])

    def save(order_state):
        turn.check()
        checkpoint.save(
            {
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "generator": torch.get_rng_state(),
                "cuda_generator": torch.cuda.get_rng_state() if device.type == "cuda" else None,
                "order": order_state,
                "changes": changes.get_state(),
                **vars(now),
            }
        )

    def diverged(what: str, when: str) -> DivergenceError:
        return DivergenceError(
            f"{name}, seed {seed}: {what} {when}. Lower training.learning_rate.start, or look at "
            "the pixels of the dataset."
        )

    def same_weights():
        changed = weights.keys() ^ networks.trainable(network).keys()
        if changed:
            raise networks.NetworkError(
                f"{name}, seed {seed}: the network changes requires_grad of {min(changed)} while "
                "it runs, and with it which numbers are its weights. Set it in the builder "
                f"{run['network']['builder']}."
            )

    def check(losses: Tensor, first: int):
        """Losses of the steps from `first` of this epoch, and the weights after them."""
        same_weights()
        bad = torch.nonzero(~torch.isfinite(losses))
        if len(bad):
            at = int(bad[0, 0])
            when = f"in epoch {now.epoch + 1}, step {first + at + 1}"
            raise diverged(f"the loss is {float(losses[at])}", when)
        # The last step may spoil the weights though its loss, taken before, is finite.
        if not all(torch.isfinite(p).all() for p in weights.values()):
            when = f"after epoch {now.epoch + 1}, step {first + len(losses)}"
            raise diverged("a weight is not finite", when)

    def measure():
        for part, (x, y) in (("train", (images, labels)), ("test", test)):
            loss, error = evaluate(network, x, y)
            if not math.isfinite(loss):
                when = f"before epoch {now.epoch + 1}, step 1"
                raise diverged(f"the {part} loss is {loss}", when)
            now.record["metrics"][f"{part}_loss"].append(loss)
            now.record["metrics"][f"{part}_error"].append(error)
        same_weights()
        if now.epoch in due:
            flat = zip(("weights", "buffers"), networks.flatten(network), strict=True)
            now.record["snapshots"][now.epoch] = dict(flat)

    done = None if saved is None else now.epoch
    if saved is None:
        measure()
    began = last_save = time.monotonic()
    with (
        stopping.requests() as asked,
        track(total=epochs, unit="epoch", what=f"{name} seed {seed}", done=done) as bar,
    ):
        while now.epoch < epochs:
            order_state = order.get_state()  # a resumed epoch draws its order again from here
            plan = batches(training["sampler"], len(labels), training["batch_size"], order)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(training["learning_rate"], now.epoch, epochs)
            losses = torch.full((len(plan),), torch.nan, device=device)
            first = checked = now.step
            for now.step in range(first, len(plan)):
                index = plan[now.step].to(device)
                optimizer.zero_grad(set_to_none=True)
                x = images[index]
                if training["augmentation"] is not None:
                    x = augment(x, changes, **training["augmentation"])
                loss = F.cross_entropy(network(x), labels[index])
                loss.backward()
                optimizer.step()
                losses[now.step] = loss.detach()
                stop = asked.signal is not None
                save_now = stop or time.monotonic() - last_save >= training["checkpoint_seconds"]
                last = now.step + 1 == len(plan)
                if save_now or last or (now.step + 1) % STEPS_BETWEEN_CHECKS == 0:
                    check(losses[checked : now.step + 1], checked)
                    checked = now.step + 1
                if save_now:
                    now.step += 1
                    save(order_state)
                    if stop:
                        raise asked.error(
                            f"{name}, seed {seed}: in epoch {now.epoch + 1} of {epochs}"
                        )
                    last_save = time.monotonic()
                    if limit_seconds is not None and last_save - began > limit_seconds:
                        raise TimeoutError(f"{name} stopped in epoch {now.epoch}; it can go on")
            now.epoch, now.step = now.epoch + 1, 0
            measure()
            bar.update()
    save(order.get_state())
    return _result(now.record, due, run, seed, name, device)


def _result(record, due, run, seed, name, device) -> xr.Dataset:
    taken = sorted(record["snapshots"])
    metrics = record["metrics"]
    units = {"loss": "nat", "error": "percent"}
    return xr.Dataset(
        {
            "weights": (
                ("snapshot", "weight"),
                np.stack([record["snapshots"][e]["weights"].numpy() for e in taken]),
                {"long_name": "weights", "units": "1"},
            ),
            "buffers": (
                ("snapshot", "buffer"),
                np.stack([record["snapshots"][e]["buffers"].numpy() for e in taken]),
                {"long_name": "frozen weights and buffers, such as running means", "units": "1"},
            ),
            **{
                key: (
                    ("epoch_end",),
                    np.asarray(values),
                    {"units": units[key.split("_")[1]], "long_name": key.replace("_", " ")},
                )
                for key, values in metrics.items()
            },
        },
        coords={
            "percent": ("snapshot", [due[e] for e in taken], {"units": "percent of the epochs"}),
            "epoch": ("snapshot", taken, {"units": "epoch"}),
            "epoch_end": ("epoch_end", np.arange(len(metrics["train_loss"])), {"units": "epoch"}),
        },
        attrs={
            "run": name,
            "seed": seed,
            "settings": json.dumps(run, sort_keys=True),
            "device": device.type,
            "torch": torch.__version__,
        },
    )
