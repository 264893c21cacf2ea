"""Snakemake's command line, in this process; at its end the core time is written to a file.

`python snakemake_process.py TIMES.json ARGUMENTS...`; TIMES.json has user and system seconds
of this process alone (`own_s`) and of all processes that it waited for (`jobs_s`), and `wall_s`.
"""

from __future__ import annotations

import atexit
import json
import resource
import sys
import time
from pathlib import Path


def _write(path: Path, began: float) -> None:
    own, jobs = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    times = {
        "own_s": own.ru_utime + own.ru_stime,
        "jobs_s": jobs.ru_utime + jobs.ru_stime,
        "wall_s": time.monotonic() - began,
    }
    path.write_text(json.dumps(times))


def main() -> None:
    path = Path(sys.argv.pop(1)).absolute()
    atexit.register(_write, path, time.monotonic())

    from snakemake.cli import main as snakemake

    snakemake()


if __name__ == "__main__":
    main()
