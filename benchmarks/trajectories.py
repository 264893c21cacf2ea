"""One step of training tiny-fc (49-16-5, batch 128): limitcycles beside PyTorch and JAX, one core.

After two epochs every contestant must have the weights of limitcycles, to rounding. In the rounds
limitcycles runs before each peer's turn, so that a machine that slows down slows both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np
from processes import ContestantError, Worker, cores_for, log, run_script
from trainers import LABELS

HERE = Path(__file__).resolve().parent
OURS = "limitcycles"
AGREEMENT = 1e-4  # of the largest weight, after two epochs of float32 in another order
FLOPS_A_STEP = 2 * 128 * (2 * 49 * 16 + 3 * 16 * 5)  # products and sums of the linear layers


def worker(name: str, arguments: argparse.Namespace) -> Worker:
    options = [f"--name={name}", f"--images={arguments.images}", f"--batch={arguments.batch}"]
    return Worker(HERE / "trainers.py", options, cores_for(1))


def ask(process: Worker, **request) -> dict:
    process.send(do="epoch", **request)
    return process.receive()


def measure(arguments: argparse.Namespace) -> dict:
    """The whole benchmark; see README.md for the keys."""
    script = [str(HERE / "environment.py"), f"--seconds={arguments.peak_seconds}"]
    described = json.loads(run_script(script, cores_for(1)))
    running, refused = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        expected = None
        for name in LABELS:
            process = worker(name, arguments)
            path = Path(folder) / f"{name}.npy"
            try:
                log(f"{name}: compilation and two epochs")
                ask(process, epochs=2, path=str(path))
            except ContestantError as error:
                refused[name] = str(error)
                log(f"{name}: {error}")
                process.close()
                continue
            weights = np.load(path)
            expected = weights if name == OURS else expected
            difference = float(np.abs(weights - expected).max() / np.abs(expected).max())
            if difference > AGREEMENT:
                refused[name] = f"its weights differ by {difference:.1e} of the largest"
                log(f"{name}: {refused[name]}")
                process.close()
                continue
            running[name] = (process, difference)
    try:
        times, pairs = _rounds({n: t for n, (t, _) in running.items()}, arguments)
    finally:
        for process, _ in running.values():
            process.close()
    ours = statistics.median(times[OURS])
    peak = described["peaks"]["gemm_float32_gflop_per_s"]
    return {
        "what": "microseconds a step of SGD, batch 128, 49-16-5, Nesterov momentum, one core",
        "environment": described,
        "settings": {k: getattr(arguments, k) for k in ("images", "batch", "rounds", "epochs")},
        "limit_us": FLOPS_A_STEP / peak / 1e3,
        "contestants": {
            name: {
                "what": LABELS[name],
                "us": {
                    "median": statistics.median(times[name]),
                    "min": min(times[name]),
                    "max": max(times[name]),
                },
                "ratio": statistics.median(times[name]) / ours,
                "ratio_of_pairs": statistics.median(pairs[name]) if name in pairs else 1.0,
                "difference_of_weights": running[name][1],
            }
            for name in running
        },
        "refused": refused,
    }


def _rounds(running: dict[str, Worker], arguments: argparse.Namespace):
    times = {name: [] for name in running}
    pairs = {name: [] for name in running if name != OURS}

    def one(name: str) -> float:
        fast = arguments.epochs * (10 if name == OURS else 1)
        return ask(running[name], epochs=fast)["us"]

    for number in range(arguments.rounds):
        for name in pairs:
            ours, theirs = one(OURS), one(name)
            times[OURS].append(ours)
            times[name].append(theirs)
            pairs[name].append(theirs / ours)
        shown = ", ".join(f"{name} {values[-1]:.1f}" for name, values in times.items())
        log(f"round {number + 1} of {arguments.rounds}, µs a step: {shown}")
    return times, pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=30596)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--epochs", type=int, default=3, help="of a peer in a round; ours: ten times"
    )
    parser.add_argument("--peak-seconds", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "trajectories.json")
    arguments = parser.parse_args()
    result = measure(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    for name, entry in result["contestants"].items():
        print(f"{name:14} {entry['us']['median']:8.1f} us  {entry['ratio']:6.1f}")


if __name__ == "__main__":
    main()
