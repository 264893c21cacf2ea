"""Per-sample gradients: limitcycles beside torch.func, BackPACK, Opacus and JAX, in one run.

Every contestant must first give the same rows; then each is tried with every block size, memory
layout and division of the cores, and takes part with what suits it best. In the rounds that count
limitcycles runs before each peer's turn, so that a machine that slows down slows both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import contestants
import inputs
import limits
import numpy as np
import torch
from processes import ContestantError, Team, cores_for, log, run_script
from worker import FOLDED, OURS, REFERENCE

from limitcycles.training import networks

HERE = Path(__file__).resolve().parent
WORKER = HERE / "worker.py"
CHECKED = 64  # examples whose rows are compared
AGREEMENT = 1e-4  # of the largest entry of the rows; rounding in float32 is about 1e-6


class Configuration(dict):
    """batch, processes, channels_last: how a contestant runs."""

    def __str__(self) -> str:
        layout = "channels last" if self["channels_last"] else "channels first"
        return f"batch {self['batch']}, {self['processes']} process(es), {layout}"


def team(name: str, setting: dict, arguments: argparse.Namespace) -> Team:
    """The workers of a contestant, `setting` as in Configuration (without batch)."""
    cores = cores_for(arguments.cores)
    threads = 1 if setting["processes"] > 1 else len(cores)
    command = [
        f"--name={name}",
        f"--folder={inputs.folder_of(arguments)}",
        f"--images={arguments.images}",
        f"--threads={threads}",
    ]
    if setting["channels_last"]:
        command.append("--channels-last")
    return Team(WORKER, command, cores, setting["processes"])


def rows_of(name: str, channels_last: bool, arguments: argparse.Namespace) -> np.ndarray:
    """Rows of the first CHECKED examples. Raises ContestantError."""
    setting = {"processes": 1, "channels_last": channels_last}
    with tempfile.TemporaryDirectory() as folder, team(name, setting, arguments) as workers:
        path = Path(folder) / "rows.npy"
        workers.ask(do="rows", images=CHECKED, path=str(path))
        return np.load(path).astype(np.float64)


def compare(names: list[str], arguments: argparse.Namespace) -> dict:
    """For each contestant and layout: greatest difference of a row from those of limitcycles."""
    expected = {name: rows_of(name, False, arguments) for name in (OURS, FOLDED)}
    scale = float(np.abs(expected[OURS]).max())
    exact = rows_of(REFERENCE, False, arguments)
    result = {
        OURS: {
            "images": CHECKED,
            "largest_entry": scale,
            "difference_from_float64": float(np.abs(expected[OURS] - exact).max()),
        }
    }
    for name in names:
        target = expected[FOLDED if "folded" in name else OURS]
        result[name] = {}
        for channels_last in (False, True):
            layout = "channels last" if channels_last else "channels first"
            try:
                difference = float(np.abs(rows_of(name, channels_last, arguments) - target).max())
                agrees = difference <= AGREEMENT * scale
                entry = {"difference": difference, "agrees": agrees}
            except ContestantError as error:
                entry = {"difference": None, "agrees": False, "error": str(error)}
            result[name][layout] = entry
            log(f"rows of {name}, {layout}: {json.dumps(entry)}")
    return result


def timed(workers: Team, images: int, batch: int, copied: bool) -> float:
    """One pass over the images, all workers together, in µs an image."""
    replies = workers.ask(do="pass", images=images, batch=batch, copied=copied)
    seconds = max(r["end"] for r in replies) - min(r["start"] for r in replies)
    return 1e6 * seconds / replies[0]["images"]


def sweep(name: str, layouts: list[bool], arguments: argparse.Namespace) -> list[dict]:
    """Every configuration of a contestant, fastest first, with its µs an image (best of two)."""
    found = []
    divisions = (1,) if arguments.cores == 1 else (1, arguments.cores)
    settings = [
        {"processes": p, "channels_last": channels} for channels in layouts for p in divisions
    ]
    for setting in settings:
        with team(name, setting, arguments) as workers:
            for batch in arguments.batches:
                configuration = Configuration(batch=batch, **setting)
                try:
                    timed(
                        workers,
                        min(2 * batch * setting["processes"], arguments.images),
                        batch,
                        True,
                    )
                    best = min(
                        timed(workers, arguments.sweep_images, batch, True) for _ in range(2)
                    )
                except ContestantError as error:
                    found.append({**configuration, "us": None, "error": str(error)})
                    log(f"{name}, {configuration}: {error}")
                    continue
                found.append({**configuration, "us": best})
                log(f"{name}, {configuration}: {best:.1f} µs an image")
    return sorted(found, key=lambda entry: entry["us"] or float("inf"))


def spread(values: list[float]) -> dict:
    """Median and range."""
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "values": values,
    }


def rounds(best: dict[str, Configuration], arguments: argparse.Namespace) -> dict:
    """Alternating full passes: limitcycles, a peer with the copy, limitcycles, it without."""
    peers = [name for name in best if name != OURS]
    times: dict = {OURS: [], **{n: {True: [], False: []} for n in peers}}
    pairs: dict = {n: {True: [], False: []} for n in peers}
    teams = {name: team(name, setting, arguments) for name, setting in best.items()}

    def one(name, copied):
        return timed(teams[name], arguments.images, best[name]["batch"], copied)

    try:
        log("warming up")
        one(OURS, True)
        for name in peers:
            for copied in (True, False):
                one(name, copied)
        for number in range(arguments.rounds):
            for name in peers:
                for copied in (True, False):
                    ours, theirs = one(OURS, True), one(name, copied)
                    times[OURS].append(ours)
                    times[name][copied].append(theirs)
                    pairs[name][copied].append(theirs / ours)
            shown = [f"{OURS} {times[OURS][-1]:.1f}"]
            shown += [f"{n} {times[n][True][-1]:.1f}/{times[n][False][-1]:.1f}" for n in peers]
            log(f"round {number + 1} of {arguments.rounds}, µs an image: {', '.join(shown)}")
        memory = {
            name: {
                key: sum(reply[key] for reply in workers.ask(do="memory"))
                for key in ("loaded_mib", "peak_mib")
            }
            for name, workers in teams.items()
        }
    finally:
        for workers in teams.values():
            workers.close()
    ours = spread(times[OURS])
    result = {
        OURS: {"configuration": best[OURS], "us_per_image": ours, "memory": memory[OURS]},
    }
    for name in peers:
        result[name] = {
            "what": contestants.LABELS[name],
            "configuration": best[name],
            "memory": memory[name],
        }
        for copied, key in ((True, "in_rows"), (False, "in_own_layout")):
            theirs = times[name][copied]
            result[name][key] = {
                "us_per_image": spread(theirs),
                "ratio": statistics.median(theirs) / ours["median"],
                "ratio_of_pairs": spread(pairs[name][copied]),
            }
    return result


def measure(arguments: argparse.Namespace) -> dict:
    """The whole benchmark; see README.md for the keys."""
    cores = cores_for(arguments.cores)
    log("inputs")
    run_script([str(HERE / "inputs.py"), *inputs.options_of(arguments)], cores)
    log("peaks of this machine")
    script = [str(HERE / "environment.py"), f"--seconds={arguments.peak_seconds}"]
    described = json.loads(run_script(script, cores))
    network, images, _ = inputs.load(inputs.folder_of(arguments), arguments.images)
    arguments.images = len(images)
    limit = limits.per_sample_limit(network, images[0], described["peaks"])
    names = arguments.peers
    agreement = compare(names, arguments)
    sweeps, best, excluded = {}, {}, {}
    for name in [OURS, *names]:
        layouts = [False]
        if name != OURS:
            layouts = [
                channels
                for channels, key in ((False, "channels first"), (True, "channels last"))
                if agreement[name][key]["agrees"]
            ]
        sweeps[name] = sweep(name, layouts, arguments)
        if not sweeps[name] or sweeps[name][0]["us"] is None:
            excluded[name] = "no configuration gives the right rows: see agreement and sweep"
            continue
        fastest = sweeps[name][0]
        best[name] = Configuration(
            {key: fastest[key] for key in ("batch", "processes", "channels_last")}
        )
        log(f"{name} takes part with {best[name]}")
    results = rounds(best, arguments)
    full = [name for name in best if name != OURS and "folded" not in name]
    fastest = {
        key: min(((results[n][key]["ratio"], n) for n in full), default=None)
        for key in ("in_rows", "in_own_layout")
    }
    return {
        "benchmark": "per-sample gradients",
        "run": arguments.run,
        "scale": arguments.scale,
        "images": arguments.images,
        "weights": networks.count_weights(network),
        "rounds": arguments.rounds,
        "limit": limit,
        "ours_over_limit": results[OURS]["us_per_image"]["median"] / limit["overlapped_us"],
        "fastest_peer": {
            key: {"name": entry[1], "ratio": entry[0]} for key, entry in fastest.items() if entry
        },
        "results": results,
        "excluded": excluded,
        "agreement": agreement,
        "sweep": sweeps,
        "environment": described,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    inputs.add_options(parser)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 64, 128, 256, 512, 1024])
    parser.add_argument("--sweep-images", type=int, default=4096)
    parser.add_argument("--peak-seconds", type=float, default=1.0)
    parser.add_argument(
        "--peers", nargs="+", default=list(contestants.CONTESTANTS), choices=contestants.CONTESTANTS
    )
    parser.add_argument("--out", type=Path, default=HERE / "results" / "per_sample_gradients.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = measure(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    log(f"written: {arguments.out.name}")
    log(json.dumps(result["fastest_peer"], indent=2))


if __name__ == "__main__":
    main()
