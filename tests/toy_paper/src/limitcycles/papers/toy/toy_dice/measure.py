"""Throws of a die."""

import numpy as np
import xarray as xr

READS = ("theory.seed", "rule.throws")


def measure(settings: dict) -> dict[str, xr.Dataset]:
    """Part `throws`: the faces, by throw."""
    rng = np.random.default_rng(settings["seed"])
    faces = rng.integers(1, 7, int(settings["throws"]))
    return {"throws": xr.Dataset({"face": ("throw", faces)})}
