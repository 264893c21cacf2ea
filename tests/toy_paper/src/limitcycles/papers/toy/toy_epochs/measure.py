"""How far the weights of a trajectory go."""

import numpy as np
import xarray as xr

from limitcycles.training.trajectories.reading import read


def measure(trajectory: xr.Dataset, dataset: xr.Dataset, settings: dict) -> dict[str, xr.Dataset]:
    """Part `moved`: `distance` between the weights after the first epoch and after the last."""
    last = trajectory.sizes["epoch"]
    first, final = read(trajectory, 0, 1), read(trajectory, last - 1, last)
    return {"moved": xr.Dataset({"distance": float(np.linalg.norm(final - first))})}
