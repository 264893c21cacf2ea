"""Fokker-Planck equations: steady states and evolution beside fplanck, FiPy and py-pde, in one run.

Every contestant solves the same problems (`densities.py`) in a process of its own. At the same
error: each on the coarsest grid, found beforehand, on which its density is within a total-variation
distance of the closed form. On the same grid: what is left without that. Then the cost of
limitcycles alone against the number of cells.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from pathlib import Path

import numpy as np
from densities import PROBLEMS
from processes import ContestantError, Worker, cores_for, log, run_script

HERE = Path(__file__).resolve().parent
OURS, PLAIN = "limitcycles", "limitcycles, second order"
WHAT = {
    OURS: "extrapolated_steady_state, extrapolated_evolve (fourth order)",
    PLAIN: "steady_state, evolve",
    "fplanck": "steady_state (shift-invert Arnoldi), propagate (expm_multiply)",
    "FiPy": "exponential convection; direct solution; Crank-Nicolson with Bi-CGSTAB",
    "py-pde": "Numba, explicit Euler; steady state by evolution",
}
ORDER = {OURS: 4}  # of the error in the width of a cell; 2 for the others
SLOPE = {"py-pde": 4}  # power of the cells along an axis that time grows with; 2.5 for the others
COARSEST = 24  # cells along an axis, of any grid: on fewer a density means little
TRIAL = 48  # cells along an axis of the first trial
TRIALS = 5
TIGHT = 0.8  # share of the error asked for that a solution should have, so as not to be too fine
CASES = (
    ("rotation", "steady"),
    ("driven-wells", "steady"),
    ("tensor", "steady"),
    ("rotation", "evolution"),
    ("tensor", "evolution"),
)
SAME_GRID = (
    ("rotation", "steady"),
    ("wells", "steady"),
    ("driven-wells", "steady"),
    ("rotation", "evolution"),
)


class Clock:
    """Progress lines with the time that is left, from the share of the work that is done."""

    def __init__(self, parts: int):
        self.began, self.parts, self.done = time.perf_counter(), parts, 0

    def step(self, text: str) -> None:
        self.done += 1
        spent = time.perf_counter() - self.began
        left = spent / self.done * (self.parts - self.done)
        log(f"{text} [{self.done}/{self.parts}, {spent:.0f} s, about {left:.0f} s left]")


def start(name: str, cores: list[int]) -> Worker:
    return Worker(HERE / "density_solvers.py", [f"--name={name}"], cores)


def ask(worker: Worker, case: tuple[str, str], cells: int, limit: float, end: float) -> dict:
    """One solution. Raises ContestantError."""
    problem, task = case
    worker.send(do="solve", problem=problem, task=task, cells=cells, limit=limit, time=end)
    return worker.receive()


def fitting_grid(name, worker, case, limit, end, cap) -> dict:
    """The coarsest grid with an error of at most `limit`: {"cells", …}, or {"reason"}.

    Found by the order of the error; a trial that would take longer than `cap` is not made.
    """
    cells, tried = TRIAL, []
    for _ in range(TRIALS):
        reply = ask(worker, case, cells, limit, end)
        error = reply["distance"]
        tried.append({"cells": cells, "seconds": reply["seconds"], "error": error})
        fits = error <= limit
        if fits and (error >= TIGHT * limit or cells == COARSEST):
            break
        if not math.isfinite(error) or error > 1:
            target = 2 * cells
        else:
            order = ORDER.get(name, 2)
            target = cells * (max(error, 1e-16) / (0.93 * limit)) ** (1 / order)
            target = min(max(target, COARSEST), 8 * cells)
        target = 2 * math.ceil(target / 2)
        growth = (target / cells) ** SLOPE.get(name, 2.5)
        if growth * reply["seconds"] > cap:
            if not any(t["error"] <= limit for t in tried):
                return {
                    "reason": f"not within {cap:g} s: {cells} cells along an axis, error "
                    f"{error:.2g}, {reply['seconds']:.2g} s; {target} would be needed",
                    "estimated_s": growth * reply["seconds"],
                    "tried": tried,
                }
            break
        if any(t["cells"] == target for t in tried):
            break
        cells = target
    good = [t for t in tried if t["error"] <= limit]
    if not good:
        return {"reason": f"the error did not fall to {limit:g}", "tried": tried}
    return {"cells": min(t["cells"] for t in good), "tried": tried}


def spread(values: list[float]) -> dict:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def rounds(workers, grids, case, limit, end, count) -> dict:
    """Times of the contestants on `grids`, in `count` rounds one after the other, and ratios."""
    found: dict[str, list[dict]] = {name: [] for name in grids}
    for _ in range(count):
        for name, cells in grids.items():
            found[name].append(ask(workers[name], case, cells, limit, end))
    ours = statistics.median(r["seconds"] for r in found[OURS]) if OURS in found else math.nan
    result = {}
    for name, replies in found.items():
        seconds = spread([r["seconds"] for r in replies])
        result[name] = {
            "cells": grids[name],
            "seconds": seconds,
            "ratio": seconds["median"] / ours,
            "error": replies[-1]["distance"],
            "before_s": statistics.median(r["before_s"] for r in replies),
        }
        result[name] |= {k: replies[-1][k] for k in ("steps", "factorisations") if k in replies[-1]}
    return result


def compare(arguments, workers, clock) -> tuple[list[dict], list[dict]]:
    """The rows at the same error and those on the same grid."""
    same_error, same_grid = [], []
    peers = arguments.peers

    def end_of(case, limit):
        if case[1] == "evolution":
            return arguments.time
        workers[PLAIN].send(do="relaxation", problem=case[0], limit=limit / 10)
        return workers[PLAIN].receive()["time"]

    def row_of(case, limit, grids, missing, end):
        row = {
            "problem": case[0],
            "what": PROBLEMS[case[0]].what,
            "task": case[1],
            "time": end,
            "results": rounds(workers, grids, case, limit, end, arguments.rounds),
            "missing": missing,
        }
        able = {n: row["results"][n]["ratio"] for n in peers if n in row["results"]}
        if able:
            best = min(able, key=able.get)
            row["fastest_peer"] = {"name": best, "ratio": able[best]}
        shown = [f"{n} {r['seconds']['median']:.3g} s" for n, r in row["results"].items()]
        clock.step(f"{case[0]}, {case[1]}: {', '.join(shown)}")
        return row

    for case in CASES:
        for limit in arguments.errors:
            end = end_of(case, limit)
            grids, missing = {}, {}
            for name in (OURS, PLAIN, *peers):
                try:
                    found = fitting_grid(name, workers[name], case, limit, end, arguments.cap)
                except ContestantError as error:
                    found = {"reason": str(error)}
                if "cells" in found:
                    grids[name] = found["cells"]
                else:
                    missing[name] = found
                    log(f"{name} takes no part: {found['reason']}")
            same_error.append({"error": limit} | row_of(case, limit, grids, missing, end))
    for case in SAME_GRID:
        limit = 1e-4
        end = end_of(case, limit)
        grids, missing = {}, {}
        for name in (PLAIN, OURS, *peers):
            try:
                ask(workers[name], case, arguments.cells, limit, end)
                grids[name] = arguments.cells
            except ContestantError as error:
                missing[name] = {"reason": str(error)}
        row = row_of(case, limit, grids, missing, end)
        plain = row["results"][PLAIN]["seconds"]["median"]
        for entry in row["results"].values():
            entry["ratio_to_second_order"] = entry["seconds"]["median"] / plain
        same_grid.append(row)
    return same_error, same_grid


def costs(arguments, cores, clock) -> dict:
    """limitcycles on grids of all sizes, a process each: seconds, memory, errors, exponents."""
    tasks = (("steady", PLAIN), ("steady", OURS), ("evolution", PLAIN))
    table: dict[str, list[dict]] = {}
    for task, name in tasks:
        rows = []
        for cells in arguments.sizes:
            # An evolution on the finest grid takes a minute, so that it is done once.
            count = 1 if task == "evolution" and cells > 512 else arguments.rounds
            worker = start(name, cores)
            try:
                before = ask(worker, ("rotation", task), 24, 1e-4, arguments.time)["memory"]
                replies = [
                    ask(worker, ("rotation", task), cells, 1e-4, arguments.time)
                    for _ in range(count)
                ]
            except ContestantError as error:  # memory, most likely
                clock.step(f"{name}, {task}, {cells} x {cells}: {error}")
                continue
            finally:
                worker.close()
            rows.append(
                {
                    "cells": cells,
                    "rounds": count,
                    "seconds": spread([r["seconds"] for r in replies]),
                    "error": replies[-1]["distance"],
                    "peak_mib": replies[-1]["memory"]["peak_mib"],
                    "before_mib": before["now_mib"],
                }
            )
            clock.step(
                f"{name}, {task}, {cells} x {cells}: {rows[-1]['seconds']['median']:.3g} s, "
                f"error {rows[-1]['error']:.2g}, {rows[-1]['peak_mib']:.0f} MiB"
            )
        n = np.log([row["cells"] ** 2 for row in rows])
        large = n >= np.log(128**2)  # below, what does not grow with the grid counts
        for key, values in (
            ("time_exponent", [row["seconds"]["median"] for row in rows]),
            ("memory_exponent", [row["peak_mib"] - row["before_mib"] for row in rows]),
        ):
            if large.sum() > 1:
                table.setdefault(f"{task}, {name}", {})[key] = float(
                    np.polyfit(n[large], np.log(np.array(values)[large]), 1)[0]
                )
        orders = -np.diff(np.log([row["error"] for row in rows])) / np.diff(n / 2)
        table.setdefault(f"{task}, {name}", {}).update(rows=rows, order=orders.tolist())
    return table


def measure(arguments: argparse.Namespace) -> dict:
    """The whole benchmark; see README.md for the keys."""
    cores = cores_for(arguments.cores)
    log("peaks of this machine")
    script = [str(HERE / "environment.py"), f"--seconds={arguments.peak_seconds}"]
    described = json.loads(run_script(script, cores))
    parts = len(CASES) * len(arguments.errors) + len(SAME_GRID) + 3 * len(arguments.sizes)
    clock = Clock(parts)
    workers = {name: start(name, cores) for name in (OURS, PLAIN, *arguments.peers)}
    try:
        same_error, same_grid = compare(arguments, workers, clock)
    finally:
        for worker in workers.values():
            worker.close()
    return {
        "benchmark": "Fokker-Planck equations",
        "contestants": WHAT,
        "rounds": arguments.rounds,
        "cap_s": arguments.cap,
        "same_error": same_error,
        "same_grid": same_grid,
        "cells_of_same_grid": arguments.cells,
        "cost": costs(arguments, cores, clock),
        "environment": described,
    }


def table(result: dict) -> str:
    """The results as tables for README.md."""
    names = list(result["contestants"])
    head = ["problem", "task", "error", *names, "fastest peer / limitcycles"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in [*result["same_error"], *result["same_grid"]]:
        cells = [
            row["problem"],
            row["task"],
            f"{row['error']:g}" if "error" in row else "same grid",
        ]
        for name in names:
            if name in row["results"]:
                found = row["results"][name]
                cells.append(f"{1e3 * found['seconds']['median']:.3g} ms ({found['cells']}²")
                cells[-1] += ")" if "error" in row else f", {found['error']:.1e})"
            elif "estimated_s" in row["missing"].get(name, {}):
                cells.append(f"about {row['missing'][name]['estimated_s']:.0f} s")
            else:
                cells.append("–")
        best = row.get("fastest_peer")
        cells.append(f"{best['ratio']:.3g} ({best['name']})" if best else "–")
        lines.append("| " + " | ".join(cells) + " |")
    head = ["limitcycles alone", "cells", "seconds", "error", "peak memory"]
    lines += ["", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, cost in result["cost"].items():
        for row in cost["rows"]:
            lines.append(
                f"| {name} | {row['cells']}² | {row['seconds']['median']:.3g} | "
                f"{row['error']:.1e} | {row['peak_mib']:.0f} MiB |"
            )
        exponents = {key: cost.get(key, math.nan) for key in ("time_exponent", "memory_exponent")}
        lines.append(
            f"| {name} | exponents | {exponents['time_exponent']:.2f} | "
            f"{', '.join(f'{order:.1f}' for order in cost['order'])} | "
            f"{exponents['memory_exponent']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    peers = [name for name in WHAT if name not in (OURS, PLAIN)]
    parser.add_argument("--peers", nargs="*", default=peers, choices=peers)
    parser.add_argument("--errors", nargs="+", type=float, default=[1e-3, 1e-4])
    parser.add_argument("--time", type=float, default=1.0, help="to evolve to")
    parser.add_argument("--cells", type=int, default=128, help="along an axis, same grid")
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 128, 256, 512, 1024])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cap", type=float, default=10.0, help="seconds for one solution")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--peak-seconds", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "fokker_planck.json")
    arguments = parser.parse_args()
    result = measure(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    log(f"written: {arguments.out.name}")
    print(table(result))


if __name__ == "__main__":
    main()
