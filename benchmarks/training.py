"""One step of training small-allcnn (26,982 weights, 128 images of 3x32x32), in several ways.

Memory format, compilation, bfloat16 where torch.autocast takes it, threads, and two processes side
by side. In each round every way has its turn, so that a machine that slows down slows all. Then
some train CIFAR-10 for a few epochs, to see what they cost in error.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
from inputs import WORK
from processes import ContestantError, Team, Worker, cores_for, log, run_script

from limitcycles import datasets
from limitcycles.storage.files import replacing

HERE = Path(__file__).resolve().parent
WORKER = HERE / "training_worker.py"
OURS = "channels last"
# Options of the worker; threads; processes side by side, each with so many threads.
WAYS = {
    OURS: (["--channels-last"], 1, 1),
    "contiguous": ([], 1, 1),
    "contiguous, compiled": (["--compiled"], 1, 1),
    "channels last, compiled": (["--channels-last", "--compiled"], 1, 1),
    "contiguous, bfloat16": (["--bfloat16"], 1, 1),
    "channels last, bfloat16": (["--channels-last", "--bfloat16"], 1, 1),
    "channels last, bfloat16, compiled": (["--channels-last", "--bfloat16", "--compiled"], 1, 1),
    "channels last, two threads": (["--channels-last"], 2, 1),
    "channels last, bfloat16, two threads": (["--channels-last", "--bfloat16"], 2, 1),
    "channels last, two processes": (["--channels-last"], 1, 2),
    "channels last, bfloat16, two processes": (["--channels-last", "--bfloat16"], 1, 2),
}
# What is trained to compare errors: way and seed. Two layouts differ in rounding only, two seeds in
# everything: both say how much of a difference is chance.
TRAINED = {
    OURS: (OURS, 0),
    "channels last, bfloat16": ("channels last, bfloat16", 0),
    "channels last, another seed": (OURS, 1),
    "channels last, bfloat16, another seed": ("channels last, bfloat16", 1),
    "contiguous": ("contiguous", 0),
    "channels last, compiled": ("channels last, compiled", 0),
}


def team(way: str, *more: str) -> Team:
    """The workers of one way."""
    options, threads, processes = WAYS[way]
    cores = cores_for(max(threads, processes))
    return Team(WORKER, [*options, f"--threads={threads}", *more], cores, processes)


def spread(values: list[float]) -> dict:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def times(arguments: argparse.Namespace) -> tuple[dict, dict]:
    """({way: its times}, {way: why it has none})."""
    found: dict[str, list[float]] = {}
    peak, refused, teams = {}, {}, {}
    augmented: list[float] = []

    def turn(way: str, changed: bool = False) -> float:
        """Milliseconds a step of the slowest of the processes."""
        replies = teams[way].ask(do="time", steps=arguments.steps, augmented=changed)
        peak[way] = sum(reply["peak_mib"] for reply in replies)
        return max(reply["ms"] for reply in replies)

    try:
        for way in arguments.ways:
            teams[way] = team(way)
            try:
                turn(way)
                log(f"{way}: ready, {turn(way):.0f} ms a step")
                found[way] = []
            except ContestantError as error:
                refused[way] = str(error)
                log(f"{way}: {error}")
        for number in range(arguments.rounds):
            for way, values in found.items():
                values.append(turn(way))
            augmented.append(turn(OURS, changed=True))
            shown = ", ".join(f"{way} {values[-1]:.1f}" for way, values in found.items())
            log(f"round {number + 1} of {arguments.rounds}, ms a step: {shown}")
    finally:
        for workers in teams.values():
            workers.close()
    ours = statistics.median(found[OURS])
    results = {}
    for way, values in found.items():
        processes = WAYS[way][2]
        results[way] = {
            "threads": WAYS[way][1],
            "processes": processes,
            "ms": spread(values),
            "steps_per_s_together": 1e3 * processes / statistics.median(values),
            "ratio": ours / statistics.median(values) * processes,
            "peak_mib": peak[way],
        }
    results[OURS]["ms_with_augmentation"] = spread(augmented)
    return results, refused


def cifar10(arguments: argparse.Namespace) -> Path:
    """CIFAR-10, whitened as for Fig. 2, as an .npz file; made once."""
    path = WORK / "cifar10-whitened.npz"
    if path.exists():
        return path
    folder = Path(arguments.data_folder) if arguments.data_folder else None
    spec = {"source": "cifar10", "whiten": {"regulariser": 1e-5}}
    data = datasets.build(spec, data_folder=folder, log=log)
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            **{f"{part}_image": data[f"{part}_image"].values for part in ("train", "test")},
            **{
                f"{part}_label": data[f"{part}_label"].values.astype(np.int64)
                for part in ("train", "test")
            },
        )
    return path


def errors(arguments: argparse.Namespace) -> dict:
    """{what is trained: loss and error after the epochs}, two at a time, one core each."""
    found, cores, images = {}, cores_for(2), cifar10(arguments)
    for i in range(0, len(arguments.trained), 2):
        running = {}
        for name, core in zip(arguments.trained[i : i + 2], cores, strict=False):
            way, seed = TRAINED[name]
            options = [*WAYS[way][0], f"--images={images}", f"--seed={seed}", "--threads=1"]
            running[name] = Worker(WORKER, options, [core])
        try:
            for worker in running.values():
                worker.send(do="run", epochs=arguments.epochs)
            for name, worker in running.items():
                found[name] = worker.receive()
                log(f"{name}: {json.dumps(found[name])}")
        finally:
            for worker in running.values():
                worker.close()
    return found


def measure(arguments: argparse.Namespace) -> dict:
    """The parts that were asked for; see README.md for the keys."""
    found = {
        "benchmark": "a step of training small-allcnn",
        "what": "milliseconds a step: 128 images of 3x32x32, heavy ball, weight decay",
    }
    if "times" in arguments.parts:
        script = [str(HERE / "environment.py"), f"--seconds={arguments.peak_seconds}"]
        found["environment"] = json.loads(run_script(script, cores_for(1)))
        found |= {key: getattr(arguments, key) for key in ("steps", "rounds")}
        found["results"], found["refused"] = times(arguments)
    if "errors" in arguments.parts:
        found |= {"epochs": arguments.epochs, "errors": errors(arguments)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--steps", type=int, default=8, help="of each way in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=3, help="of CIFAR-10, for the errors")
    parser.add_argument(
        "--parts",
        nargs="+",
        default=["times", "errors"],
        choices=["times", "errors"],
        help="what to measure; the other part of an earlier result stays",
    )
    parser.add_argument("--trained", nargs="+", default=list(TRAINED), choices=TRAINED)
    parser.add_argument("--data-folder", help="folder with the original files of CIFAR-10")
    parser.add_argument("--peak-seconds", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "training.json")
    arguments = parser.parse_args()
    if OURS not in arguments.ways:
        parser.error(f"--ways must name {OURS!r}: the others are compared with it")
    earlier = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    result = earlier | measure(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    for way, entry in result.get("results", {}).items():
        print(f"{way:40} {entry['ms']['median']:7.1f} ms  {entry['ratio']:5.2f}")


if __name__ == "__main__":
    main()
