"""A step of tiny-fc whose dead units have decayed to subnormal numbers, kept or taken as zero.

Without batch normalisation, with η = 0.05 and weight decay 0.01, on 721 images of the digits 0 to
4: the weights of units that are always off shrink by 0.9995 a step and reach the smallest normal
number, 1.2e-38, after about 175,000 steps. Both ways of the compiled loops are trained that far;
then steps from each state are timed in turns, and PyTorch's from the first. One core.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from processes import cores_for, log, run_script

from limitcycles import datasets
from limitcycles.runtime.subnormals import flushed
from limitcycles.training import networks
from limitcycles.training.compiled.engine import Engine
from limitcycles.training.optimisers import sgd

HERE = Path(__file__).resolve().parent
DATA = {
    "source": "digits",
    "classes": [0, 1, 2, 3, 4],
    "train_images": None,
    "resize": {"method": "bilinear", "size": 7},
}
RATE, OPTIMISER, BATCH = 0.05, sgd.Optimiser(weight_decay=0.01), 128
MODES = {
    "kept": lambda: patch.object(torch, "set_flush_denormal", lambda mode: True),
    "flushed": contextlib.nullcontext,
}


class Trained:
    """The compiled loops over one network, in one of the two modes."""

    def __init__(self, mode: str, network: torch.nn.Module, images, labels):
        self.mode, self.images, self.labels = mode, images, labels
        self.engine = Engine(network, images, labels, BATCH, OPTIMISER)
        self.rng = np.random.default_rng(0)
        self.steps = 0

    def us(self, steps: int) -> float:
        """Microseconds a step, over so many steps or the rest of the last epoch more."""
        done, began = 0, time.perf_counter()
        with MODES[self.mode]():
            while done < steps:
                losses, _ = self.engine.epoch(self.rng.permutation(len(self.labels)), RATE)
                done += len(losses)
        self.steps += done
        return 1e6 * (time.perf_counter() - began) / done

    def state(self) -> dict:
        size = np.abs(self.engine.weights)
        least = float(np.finfo(np.float32).tiny)
        return {
            "steps": self.steps,
            "subnormal_weights": int(((size > 0) & (size < least)).sum()),
            "weights_below_1e-30": int((size < 1e-30).sum()),
        }


class Plain:
    """The loop in PyTorch, from the given weights."""

    def __init__(self, mode: str, network: torch.nn.Module, images, labels):
        self.mode, self.network = mode, network
        self.x, self.y = torch.from_numpy(images), torch.from_numpy(labels)
        self.optimizer = torch.optim.SGD(
            network.parameters(), lr=RATE, weight_decay=OPTIMISER.weight_decay, foreach=True
        )

    def us(self, steps: int) -> float:
        began = time.perf_counter()
        with MODES[self.mode](), flushed():
            for index in torch.randint(len(self.y), (steps, BATCH)):
                self.optimizer.zero_grad(set_to_none=True)
                F.cross_entropy(self.network(self.x[index]), self.y[index]).backward()
                self.optimizer.step()
        return 1e6 * (time.perf_counter() - began) / steps


def network(weights: np.ndarray | None = None) -> torch.nn.Module:
    torch.manual_seed(0)
    made = networks.fully_connected(49, 16, 5, norm=False)
    return made if weights is None else networks.restore(made, weights, np.empty(0))


def in_turns(ways: dict, steps: int, rounds: int) -> dict[str, dict]:
    """Microseconds a step of each way: median, least and largest over the rounds."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(way.us(steps))
    return {
        name: {"median": statistics.median(t), "min": min(t), "max": max(t)}
        for name, t in times.items()
    }


def measure(arguments: argparse.Namespace) -> dict:
    """The whole benchmark; see README.md for the keys."""
    script = [str(HERE / "environment.py"), f"--seconds={arguments.peak_seconds}"]
    described = json.loads(run_script(script, cores_for(1)))
    torch.set_num_threads(1)
    data = datasets.build(DATA, log=log)
    data = data["train_image"].values.astype(np.float32), data["train_label"].values
    compiled = {mode: Trained(mode, network(), *data) for mode in MODES}
    for way in compiled.values():
        way.us(1)  # compiles, or reads what was compiled before
    early = in_turns(compiled, arguments.timed, arguments.rounds)
    for mode, way in compiled.items():
        log(f"{mode}: {arguments.steps} steps")
        way.us(arguments.steps - way.steps)
    states = {mode: way.state() for mode, way in compiled.items()}
    weights = compiled["kept"].engine.weights
    late = in_turns(compiled, arguments.timed, arguments.rounds)
    plain = {mode: Plain(mode, network(weights), *data) for mode in MODES}
    torch_late = in_turns(plain, arguments.timed // 20, arguments.rounds)
    return {
        "what": "microseconds a step of SGD, 49-16-5 without batch normalisation, batch 128, "
        "one core; subnormal numbers kept or taken as zero",
        "environment": described,
        "settings": {k: getattr(arguments, k) for k in ("steps", "timed", "rounds")},
        "states": states,
        "early": early,
        "late": late,
        "late_pytorch": torch_late,
        "kept_over_flushed": {
            name: times["kept"]["median"] / times["flushed"]["median"]
            for name, times in (("early", early), ("late", late), ("late_pytorch", torch_late))
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200_000, help="before the late state")
    parser.add_argument("--timed", type=int, default=5000, help="steps in a turn")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peak-seconds", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "subnormals.json")
    arguments = parser.parse_args()
    result = measure(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    for name, ratio in result["kept_over_flushed"].items():
        kept, zero = (result[name][mode]["median"] for mode in MODES)
        print(f"{name:14} kept {kept:8.1f} us  flushed {zero:8.1f} us  {ratio:6.2f}")


if __name__ == "__main__":
    main()
