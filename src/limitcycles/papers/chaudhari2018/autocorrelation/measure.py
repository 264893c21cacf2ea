"""Do weights stay correlated beyond what their nulls explain? (Remark 17, Fig. 3b)"""

from __future__ import annotations

import numpy as np
import xarray as xr

from limitcycles.papers.chaudhari2018.autocorrelation.envelopes import examine
from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.training.trajectories.reading import after_transient, read

READS = ("trajectory_statistics.seed", "rule.level")

ROWS = 4096  # epochs that are read at once


def measure(trajectory: xr.Dataset, dataset: xr.Dataset, settings: dict) -> dict[str, xr.Dataset]:
    """Autocorrelations of all weights after the transient, against bands and envelopes.

    Parts: `weights` and `lags`, with all that `envelopes.examine` says of them.
    """
    first, total = after_transient(trajectory), trajectory.sizes["epoch"]
    starts = range(first, total, ROWS)
    weights = np.empty((total - first, trajectory.sizes["weight"]), np.float32)
    for start in track(starts, unit="block", what="reading", delay=10):
        stop = min(start + ROWS, total)
        weights[start - first : stop - first] = read(trajectory, start, stop)
    seed = stream(settings["seed"], "autocorrelation")
    return examine(weights, seed=seed, level=settings["level"])
