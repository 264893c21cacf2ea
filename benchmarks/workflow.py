"""Core time of Snakemake itself beside that of the jobs: the scale quick, and laptop's graph.

`quick` is run as it is. For a larger scale every script is replaced by one that writes empty
outputs, so that the same jobs, with the same inputs, are scheduled without the hours of work; they
sleep for `--job-seconds`. Two such runs, of jobs of different length, tell what Snakemake takes
for a job from what it takes for a second of waiting. The same replacement at `quick` shows
by how much it is wrong. What the jobs of a larger scale take is given (`--job-core-minutes`).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from processes import cores_for, log, run_script

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PARTS = ("Snakefile", "rules", "workflow", "config", "profiles")
GOAL = 0.03  # of all core time
# Outputs without a suffix are folders; the one JSON that rules read says that a dataset is there.
DUMMY = """
import time
from pathlib import Path

time.sleep({seconds})
for path in map(Path, snakemake.output):
    if path.suffix:
        path.write_text('{{"unreachable": null}}')
    else:
        path.mkdir(parents=True)
"""
# What Snakemake puts before each script.
PREAMBLE = (
    "import sys, pickle; from snakemake.logging import logger; "
    "from snakemake.iocontainers import Snakemake"
)


def run(folder: Path, scale: str, cores: int, job_seconds: float | None) -> dict:
    """One run from nothing in `folder`: its times and steps. `job_seconds` None: a real run."""
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, folder / part)
    if job_seconds is not None:
        for script in (folder / "workflow" / "scripts").glob("*.py"):
            script.write_text(DUMMY.format(seconds=job_seconds))
    times = folder / "times.json"
    command = [sys.executable, HERE / "snakemake_process.py", times, "--cores", str(cores)]
    done = subprocess.run(
        [*map(str, command), "--config", f"scale={scale}"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    if done.returncode:
        sys.exit(f"snakemake ended with exit code {done.returncode}:\n{done.stdout[-3000:]}")
    steps = re.findall(r"\d+ of (\d+) steps", done.stdout)[-1]
    return json.loads(times.read_text()) | {"steps": int(steps)}


def core_seconds(code: str, rounds: int) -> float:
    """Mean user and system time of `python -c code`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(rounds):
        subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / rounds


def measure(arguments: argparse.Namespace) -> dict:
    """The whole benchmark; see README.md for the keys."""
    script = [str(HERE / "environment.py"), f"--seconds={arguments.peak_seconds}"]
    cores = len(cores_for(arguments.cores))
    result = {
        "what": "core seconds of Snakemake's own process, and of all processes that it started",
        "environment": json.loads(run_script(script, cores_for(arguments.cores))),
        "goal_share": GOAL,
        # In every job, before the script's first line: counted among the jobs' times.
        "preamble_s": core_seconds(PREAMBLE, arguments.rounds)
        - core_seconds("pass", arguments.rounds),
    }
    with tempfile.TemporaryDirectory() as folder:

        def made(name: str, scale: str, job_seconds: float | None) -> dict:
            log(f"{scale}, {name}")
            (Path(folder) / scale / name).mkdir(parents=True)
            times = run(Path(folder) / scale / name, scale, cores, job_seconds)
            log(json.dumps(times))
            return times

        real = made("real", "quick", None)
        result["quick"] = real | {
            "share": _share(real["own_s"], real["jobs_s"], real["steps"], result)
        }
        for scale in ("quick", arguments.scale):
            short, long = (made(f"{s:g} s", scale, s) for s in arguments.job_seconds)
            waiting = (long["own_s"] - short["own_s"]) / (long["wall_s"] - short["wall_s"])
            wall = real["wall_s"] if scale == "quick" else 60 * arguments.wall_minutes
            jobs = real["jobs_s"] if scale == "quick" else 60 * arguments.job_core_minutes
            own = short["own_s"] + waiting * (wall - short["wall_s"])
            result[f"{scale}, empty jobs"] = {
                "short": short,
                "long": long,
                "own_s_per_second_of_waiting": waiting,
                "real_wall_s": wall,
                "real_jobs_s": jobs,
                "own_s": own,
                "share": _share(own, jobs, short["steps"], result),
            }
    return result


def _share(own: float, jobs: float, steps: int, result: dict) -> dict[str, float]:
    """Shares of all core time: Snakemake's process alone, and with its preamble in each job."""
    return {
        "own": own / (own + jobs),
        "own_and_preambles": (own + steps * result["preamble_s"]) / (own + jobs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--scale", default="laptop", help="beside quick; its jobs are empty")
    parser.add_argument("--job-core-minutes", type=float, default=96, help="of that scale, known")
    parser.add_argument("--wall-minutes", type=float, default=50, help="of that scale, known")
    parser.add_argument(
        "--job-seconds", type=float, nargs=2, default=(0, 2), help="of empty jobs, two lengths"
    )
    parser.add_argument("--rounds", type=int, default=10, help="of the start of a job")
    parser.add_argument("--peak-seconds", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "workflow.json")
    arguments = parser.parse_args()
    result = measure(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    for name, entry in result.items():
        if isinstance(entry, dict) and "share" in entry:
            shares = ", ".join(f"{k} {100 * v:.2f} %" for k, v in entry["share"].items())
            print(f"{name:20} own {entry['own_s']:.1f} s; {shares}")


if __name__ == "__main__":
    main()
