"""The spectrum of Fig. 1a from stored gradients: matrix-free beside dense eigensolvers, in one run.

Each contestant runs in a process of its own, limitcycles before each peer. The eigenvalues of the
dense float64 solver are what the others are compared with, or those of `diffusion.exact` where it
does not take part, as for networks whose D fits into the memory once only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import inputs
import limits
import numpy as np
import torch
from processes import ContestantError, cores_for, log, run_script

from limitcycles.diffusion import gradient_store
from limitcycles.diffusion.spectrum import paper_threshold

HERE = Path(__file__).resolve().parent
OURS = "limitcycles"
REFERENCES = ("dense float64", "limitcycles exact")  # the first that took part is compared with
WHAT = {
    OURS: "diffusion.Rows and krylov.matrix_free, with reading",
    "limitcycles exact": "diffusion.covariance and band.eigenvalues: one matrix in memory, float64",
    "dense float64": "torch: addmm in float64, linalg.eigvalsh",
    "dense float32": "torch: addmm in float32, linalg.eigvalsh; faster, and less exact",
    "scipy subset": "BLAS dsyrk (half the arithmetic of a product), scipy.linalg.eigh for the "
    "leading 500 only, float64",
}


def run(name: str, path: Path, arguments: argparse.Namespace) -> tuple[dict, dict]:
    """One solution: (its times and memory, its arrays). Raises ContestantError."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "solution.npz"
        command = [
            str(HERE / "solvers.py"),
            f"--name={name}",
            f"--gradients={path}",
            f"--threads={arguments.cores}",
            f"--leading={arguments.leading}",
            f"--tolerance={arguments.tolerance}",
            f"--memory-mib={arguments.memory_mib}",
            f"--out={out}",
        ]
        result = json.loads(run_script(command, cores_for(arguments.cores)))
        with np.load(out) as arrays:
            found = dict(arrays)
    memory = result["memory"]["peak_mib"]
    log(
        f"{name}: {result['form_s']:.1f} s + {result['solve_s']:.1f} s = "
        f"{result['total_s']:.1f} s, {memory:.0f} MiB"
    )
    return result, found


def rank(eigenvalue: np.ndarray, weights: int) -> int | None:
    """The paper's rank; None where not all eigenvalues that may count are there."""
    count = int(np.sum(eigenvalue > eigenvalue[0] * paper_threshold(weights)))
    return count if count < len(eigenvalue) or len(eigenvalue) == weights else None


def accuracy(found: dict, exact: np.ndarray, weights: int, leading: int, tolerance: float) -> dict:
    """Rank and leading eigenvalues against those of the dense float64 solver."""
    value = found["eigenvalue"]
    count = min(leading, len(value))
    difference = np.abs(value[:count] - exact[:count])
    relative = difference / exact[:count]
    counted = rank(exact, weights)
    result = {
        "rank": rank(value, weights),
        "same_rank": rank(value, weights) == counted,
        "largest_relative_error_in_rank": float(relative[:counted].max()),
        "leading_compared": count,
        "largest_relative_error": float(relative.max()),
        "eigenvalues": len(value),
    }
    if "error_bound" in found:
        bound = found["error_bound"]
        rounding = weights * np.finfo(np.float64).eps * exact[0]  # of the dense solver
        off = np.abs(value - exact[: len(value)])
        result["error_bound_respected"] = bool((off <= bound + rounding).all())
        result["largest_error_over_bound"] = float((off / (bound + rounding)).max())
        result["largest_relative_bound"] = float((bound[:count] / value[:count]).max())
        sharp = bound <= tolerance * value  # the others: as exact as float32 allows
        result["within_tolerance"] = int(sharp.sum())
        result["largest_relative_error_within"] = float((off / exact[: len(value)])[sharp].max())
    return result


def limit_of(name: str, last: dict, shape: tuple[int, int], peaks: dict) -> dict:
    """The physical limit of the contestant's own method."""
    samples, weights = shape
    if name == OURS:
        return limits.krylov_limit(
            samples,
            last["rows_kept"],
            weights,
            last["columns_multiplied"],
            last["krylov_space"],
            peaks,
        )
    precision = "float32" if name == "dense float32" else "float64"
    return limits.dense_limit(
        samples, weights, peaks, precision, name in ("scipy subset", "limitcycles exact")
    )


def spread(results: list[dict], key: str) -> dict:
    values = [r[key] for r in results]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def stored_gradients(arguments: argparse.Namespace) -> Path:
    """The gradients to use, made if none were given, and read once into the page cache."""
    if arguments.gradients:
        path = arguments.gradients
    else:
        log("inputs")
        command = [str(HERE / "inputs.py"), "--gradients", *inputs.options_of(arguments)]
        command += [f"--samples={arguments.samples}"] if arguments.samples else []
        run_script(command, cores_for(arguments.cores))
        path = inputs.gradients_path(arguments, arguments.samples)
    for file in path.rglob("*"):
        if file.is_file():
            with open(file, "rb") as handle:
                while handle.read(2**24):
                    pass
    return path


def measure(arguments: argparse.Namespace) -> dict:
    """The whole benchmark; see README.md for the keys."""
    path = stored_gradients(arguments)
    store = gradient_store.open_store(path)
    samples, weights = store["gradient"].shape
    log(f"{samples:,} gradients of {weights:,} weights; peaks of this machine")
    script = [str(HERE / "environment.py"), f"--seconds={arguments.peak_seconds}"]
    described = json.loads(run_script(script, cores_for(arguments.cores)))
    timings: dict[str, list[dict]] = {}
    arrays: dict[str, dict] = {}
    errors = {}
    for number in range(arguments.rounds):
        log(f"round {number + 1} of {arguments.rounds}")
        for peer in arguments.peers:
            for name in (OURS, peer):
                try:
                    timing, arrays[name] = run(name, path, arguments)
                    timings.setdefault(name, []).append(timing)
                except ContestantError as error:
                    errors[name] = str(error)
                    log(f"{name}: {error}")
    if OURS not in timings:
        sys.exit("limitcycles found no solution, see above: nothing to compare, nothing written")
    reference = next((name for name in REFERENCES if name in arrays), None)
    exact = arrays[reference]["eigenvalue"] if reference else None
    ours = spread(timings[OURS], "total_s")["median"]
    results = {}
    for name, found in timings.items():
        results[name] = {
            "what": WHAT[name],
            "form_s" if name != OURS else "read_s": spread(found, "form_s"),
            "solve_s": spread(found, "solve_s"),
            "total_s": spread(found, "total_s"),
            "ratio": spread(found, "total_s")["median"] / ours,
            "memory": {key: max(f["memory"][key] for f in found) for key in found[0]["memory"]},
            "limit": limit_of(name, found[-1], (samples, weights), described["peaks"]),
        }
        if name == OURS:
            results[name] |= {
                key: found[-1][key] for key in ("rows_kept", "columns_multiplied", "krylov_space")
            }
        if exact is not None:
            results[name]["accuracy"] = accuracy(
                arrays[name], exact, weights, arguments.leading, arguments.tolerance
            )
    return {
        "benchmark": "spectrum from stored gradients",
        "run": store.attrs["run"],
        "percent": store.attrs["percent"],
        "epochs": None if arguments.gradients else arguments.epochs,
        "samples": samples,
        "weights": weights,
        "leading": arguments.leading,
        "tolerance": arguments.tolerance,
        "rounds": arguments.rounds,
        "memory_mib": arguments.memory_mib,
        "reference": reference,
        "note": arguments.note,
        "results": results,
        "errors": errors,
        "environment": described,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    inputs.add_options(parser)
    parser.add_argument("--gradients", type=Path, help="stored gradients (a Zarr folder) to use")
    parser.add_argument("--samples", type=int, help="the first examples only")
    parser.add_argument("--leading", type=int, default=400)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--memory-mib", type=int, default=4096, help="spectrum.memory_mib")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--peak-seconds", type=float, default=1.0)
    peers = [name for name in WHAT if name != OURS]
    parser.add_argument("--peers", nargs="+", default=peers, choices=peers)
    parser.add_argument("--note", default="", help="kept in the result: what else was running, say")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "spectrum.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = measure(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    log(f"written: {arguments.out.name}")


if __name__ == "__main__":
    main()
