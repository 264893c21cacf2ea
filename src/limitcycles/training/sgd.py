"""Training on mini-batches, with snapshots, that survives being killed at any moment.

The state (network, optimiser, every random generator, position in the epoch, snapshots and
metrics so far) is written to a folder of its own every few seconds, under a temporary name that
then takes the old one's place. A run that starts again continues there and ends bit for bit as an
uninterrupted one, on the same machine and build of torch with the same number of threads.
"""

from __future__ import annotations

import json
import math
import time
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
from limitcycles.training import networks, optimisers
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
        training = _Training(dataset, run, seed, name, device)
        training.go_on(Checkpoint(state, training.key), turn, limit_seconds)
        return training.result()


class _Training:
    """A run on its way: what it trains, its random streams, its place and record."""

    def __init__(self, dataset: xr.Dataset, run: dict, seed: int, name: str, device: str):
        self.run, self.seed, self.name, self.settings = run, seed, name, run["training"]
        self.who = f"{name}, seed {seed}"
        check_possible(dataset, self.settings, ("train", "test"))
        self.device = device = pick_device(device)
        self.on_cuda = device.type == "cuda"
        if self.on_cuda:
            torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=self.on_cuda)
        self.key = key(__name__, run, [seed], dataset.attrs["sha256"], device)

        torch.manual_seed(stream(seed, "initialisation"))
        self.network = networks.channels_last(networks.build(run["network"]).to(device).train())
        self.weights = networks.trainable(self.network)
        parts = {part: tensors(dataset, part, device) for part in ("train", "test")}
        (self.images, self.labels), test = parts["train"], parts["test"]
        self.parts = parts
        classes = 1 + int(max(self.labels.max(), test[1].max()))
        # Of tokens those of the test set, too: an embedding must have a row for each.
        tokens = not self.images.is_floating_point()
        seen = torch.cat([self.images, test[0]]) if tokens else self.images
        batch_size = self.settings["batch_size"]
        look(self.network, seen, self.labels, classes=classes, batch_size=batch_size)
        torch.manual_seed(stream(seed, "dropout"))
        start = self.settings["learning_rate"]["start"]
        self.optimizer = optimisers.of(self.settings).torch(self.weights.values(), start)
        self.order = torch.Generator().manual_seed(stream(seed, "sampler"))
        self.changes = torch.Generator().manual_seed(stream(seed, "augmentation"))
        if self.settings["augmentation"] is not None and self.images.ndim != 4:
            raise LimitcyclesError(
                f"training.augmentation of {name}: its dataset has tokens, and only images can be "
                "flipped and cropped; write null."
            )
        self.epochs, percents = self.settings["epochs"], self.settings["snapshots"]
        self.due = {round(p * self.epochs / 100): p for p in percents}
        if len(self.due) < len(percents):
            raise LimitcyclesError(
                f"training.snapshots of {name}: {percents} % of {self.epochs} epochs are not "
                "distinct epochs. Train longer or take fewer snapshots."
            )
        self.epoch = self.step = 0
        names = ("train_loss", "train_error", "test_loss", "test_error")
        self.record: dict = {"metrics": {n: [] for n in names}, "snapshots": {}}

    def state(self, order: Tensor) -> dict:
        """All that the next process needs; `order` is the sampler's before this epoch."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": torch.get_rng_state(),
            "cuda_generator": torch.cuda.get_rng_state() if self.on_cuda else None,
            "order": order,
            "changes": self.changes.get_state(),
            "epoch": self.epoch,
            "step": self.step,
            "record": self.record,
        }

    def restore(self, saved: dict) -> None:
        """Go on from a `state`."""
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["generator"])
        if self.on_cuda:
            torch.cuda.set_rng_state(saved["cuda_generator"])
        self.order.set_state(saved["order"])
        self.changes.set_state(saved["changes"])
        self.epoch, self.step, self.record = saved["epoch"], saved["step"], saved["record"]

    def go_on(self, checkpoint: Checkpoint, turn: Turn, limit_seconds: float | None) -> None:
        """Train to the end, from the checkpoint if there is one."""
        saved = checkpoint.load()
        if saved is None:
            self.measure()
        else:
            self.restore(saved)
        self.checkpoint, self.turn, self.limit = checkpoint, turn, limit_seconds
        self.began = self.last_save = time.monotonic()
        shown = {"total": self.epochs, "done": None if saved is None else self.epoch}
        with (
            stopping.requests() as asked,
            track(**shown, unit="epoch", what=f"{self.name} seed {self.seed}") as bar,
        ):
            while self.epoch < self.epochs:
                self.train_epoch(asked)
                self.epoch, self.step = self.epoch + 1, 0
                self.measure()
                bar.update()
        self.save(self.order.get_state())

    def train_epoch(self, asked: stopping.Request) -> None:
        """The steps of this epoch that are left."""
        training = self.settings
        order = self.order.get_state()  # a resumed epoch draws its order again from here
        plan = batches(training["sampler"], len(self.labels), training["batch_size"], self.order)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(training["learning_rate"], self.epoch, self.epochs)
        losses = torch.full((len(plan),), torch.nan, device=self.device)
        checked = self.step
        for step in range(self.step, len(plan)):
            losses[step] = self.take_step(plan[step].to(self.device))
            self.step = step + 1
            stop = asked.signal is not None
            save = stop or time.monotonic() - self.last_save >= training["checkpoint_seconds"]
            if save or self.step == len(plan) or self.step % STEPS_BETWEEN_CHECKS == 0:
                self.check(losses[checked : self.step], checked)
                checked = self.step
            if save:
                self.save(order)
                if stop:
                    raise asked.error(f"{self.who}: in epoch {self.epoch + 1} of {self.epochs}")
                self.last_save = time.monotonic()
                if self.limit is not None and self.last_save - self.began > self.limit:
                    raise TimeoutError(f"{self.name} stopped in epoch {self.epoch}; it can go on")

    def take_step(self, index: Tensor) -> Tensor:
        """One step on the mini-batch `index`; its loss, which was before."""
        self.optimizer.zero_grad(set_to_none=True)
        x = self.images[index]
        if self.settings["augmentation"] is not None:
            x = augment(x, self.changes, **self.settings["augmentation"])
        loss = F.cross_entropy(self.network(x), self.labels[index])
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def save(self, order: Tensor) -> None:
        self.turn.check()
        self.checkpoint.save(self.state(order))

    def check(self, losses: Tensor, first: int) -> None:
        """Losses of the steps from `first` of this epoch, and the weights after them."""
        self.check_weights()
        bad = torch.nonzero(~torch.isfinite(losses))
        if len(bad):
            at = int(bad[0, 0])
            when = f"in epoch {self.epoch + 1}, step {first + at + 1}"
            raise self.diverged(f"the loss is {float(losses[at])}", when)
        # The last step may spoil the weights though its loss, taken before, is finite.
        if not all(torch.isfinite(p).all() for p in self.weights.values()):
            when = f"after epoch {self.epoch + 1}, step {first + len(losses)}"
            raise self.diverged("a weight is not finite", when)

    def check_weights(self) -> None:
        """Raise NetworkError where they are others than at the start."""
        changed = self.weights.keys() ^ networks.trainable(self.network).keys()
        if changed:
            raise networks.NetworkError(
                f"{self.who}: the network changes requires_grad of {min(changed)} while "
                "it runs, and with it which numbers are its weights. Set it in the builder "
                f"{self.run['network']['builder']}."
            )

    def measure(self) -> None:
        """Losses and errors before this epoch, and the weights where a snapshot is due."""
        for part, (x, y) in self.parts.items():
            loss, error = evaluate(self.network, x, y)
            if not math.isfinite(loss):
                when = f"before epoch {self.epoch + 1}, step 1"
                raise self.diverged(f"the {part} loss is {loss}", when)
            self.record["metrics"][f"{part}_loss"].append(loss)
            self.record["metrics"][f"{part}_error"].append(error)
        self.check_weights()
        if self.epoch in self.due:
            flat = zip(("weights", "buffers"), networks.flatten(self.network), strict=True)
            self.record["snapshots"][self.epoch] = dict(flat)

    def diverged(self, what: str, when: str) -> DivergenceError:
        return DivergenceError(
            f"{self.who}: {what} {when}. Lower training.learning_rate.start, or look at "
            "the pixels of the dataset."
        )

    def result(self) -> xr.Dataset:
        taken, metrics = sorted(self.record["snapshots"]), self.record["metrics"]
        units = {"loss": "nat", "error": "percent"}
        return xr.Dataset(
            {
                "weights": (
                    ("snapshot", "weight"),
                    np.stack([self.record["snapshots"][e]["weights"].numpy() for e in taken]),
                    {"long_name": "weights", "units": "1"},
                ),
                "buffers": (
                    ("snapshot", "buffer"),
                    np.stack([self.record["snapshots"][e]["buffers"].numpy() for e in taken]),
                    {
                        "long_name": "frozen weights and buffers, such as running means",
                        "units": "1",
                    },
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
                "percent": (
                    "snapshot",
                    [self.due[e] for e in taken],
                    {"units": "percent of the epochs"},
                ),
                "epoch": ("snapshot", taken, {"units": "epoch"}),
                "epoch_end": (
                    "epoch_end",
                    np.arange(len(metrics["train_loss"])),
                    {"units": "epoch"},
                ),
            },
            attrs={
                "run": self.name,
                "seed": self.seed,
                "settings": json.dumps(self.run, sort_keys=True),
                "device": self.device.type,
                "torch": torch.__version__,
            },
        )
