"""Steps of tiny-fc (49-16-5, batch 128) for many members at once, on whatever device there is.

Each ensemble first takes two epochs; its first member must then have the weights of the compiled
engine on a core, to rounding. An epoch is timed with everything a trajectory needs of it: the
orders drawn on the CPU and sent over, the losses and weights brought back.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from processes import cores_for, log, run_script
from trainers import CLASSES, HIDDEN, INPUTS, MOMENTUM, RATE, problem

from limitcycles.runtime.devices import pick_device
from limitcycles.training import networks
from limitcycles.training.compiled.engines import Engines
from limitcycles.training.compiled.ensemble import Ensemble
from limitcycles.training.optimisers import sgd

HERE = Path(__file__).resolve().parent
OPTIMISER = sgd.Optimiser(MOMENTUM, nesterov=True)
AGREEMENT = 1e-4  # of the largest weight, after two epochs of float32 in another order
COMPILED = "compiled, one core"


def members(count: int) -> list[torch.nn.Module]:
    torch.manual_seed(0)
    return [networks.fully_connected(INPUTS, HIDDEN, CLASSES).train() for _ in range(count)]


class Epochs:
    """One epoch after another of all members, each member with a stream of orders of its own."""

    def __init__(self, engine: Engines | Ensemble, count: int):
        self.engine = engine
        self.sources = [torch.Generator().manual_seed(i) for i in range(count)]

    def __call__(self) -> np.ndarray:
        examples = self.engine.examples
        orders = [torch.randperm(examples, generator=source).numpy() for source in self.sources]
        self.engine.epoch(orders, RATE)
        return self.engine.weights


def measure(arguments: argparse.Namespace) -> dict:
    """The whole benchmark; see README.md for the keys."""
    script = [str(HERE / "environment.py"), f"--seconds={arguments.peak_seconds}"]
    described = json.loads(run_script(script, cores_for(1)))
    torch.set_num_threads(1)
    device = pick_device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    images = arguments.images // arguments.batch * arguments.batch
    steps = images // arguments.batch
    pixels, labels, _ = problem(images)
    data = pixels, labels, arguments.batch
    compiled = Epochs(Engines(members(1), *data, OPTIMISER), 1)
    expected = [compiled() for _ in range(2)][-1][0]
    running = {COMPILED: (compiled, 1, 0.0)}
    for count in arguments.members:
        epoch = Epochs(Ensemble(members(count), *data, OPTIMISER, device=device), count)
        weights = [epoch() for _ in range(2)][-1][0]
        difference = float(np.abs(weights - expected).max() / np.abs(expected).max())
        if difference > AGREEMENT:
            raise SystemExit(f"{count} members: the weights differ by {difference:.1e}")
        running[f"{count} members"] = (epoch, count, difference)
    times: dict[str, list[float]] = {key: [] for key in running}
    for number in range(arguments.rounds):
        for key, (epoch, _, _) in running.items():
            start = time.perf_counter()
            epoch()
            times[key].append(1e6 * (time.perf_counter() - start) / steps)
        shown = ", ".join(f"{key} {values[-1]:.1f}" for key, values in times.items())
        log(f"round {number + 1} of {arguments.rounds}, µs a step: {shown}")
    return {
        "what": "microseconds a step of SGD of all members, 49-16-5, Nesterov momentum",
        "environment": described,
        "device": name,
        "settings": {k: getattr(arguments, k) for k in ("images", "batch", "rounds")},
        "ensembles": {
            key: {
                "members": count,
                "us": {
                    "median": (median := statistics.median(times[key])),
                    "min": min(times[key]),
                    "max": max(times[key]),
                },
                "member_steps_per_s": 1e6 * count / median,
                "difference_of_weights": difference,
            }
            for key, (_, count, difference) in running.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--members", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--images", type=int, default=30596)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5, help="an epoch of each")
    parser.add_argument("--peak-seconds", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "ensembles.json")
    arguments = parser.parse_args()
    result = measure(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    for name, entry in result["ensembles"].items():
        print(
            f"{name:20} {entry['us']['median']:10.1f} us a step "
            f"{entry['member_steps_per_s']:12,.0f} steps x members a second"
        )


if __name__ == "__main__":
    main()
