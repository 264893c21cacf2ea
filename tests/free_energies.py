"""Made-up measurements of free energies, for the two claims that read it."""

import numpy as np
import xarray as xr
from helpers import claims

ARMS = list(claims()["free-energy-decreases"]["arms"])
CELLS = np.array([64, 32, 16])[::-1]


def made_up() -> dict[str, xr.Dataset]:
    """F = e^{−2t}, split as (11) says, with errors that fall with the square of the spacing."""
    time = np.linspace(0, 16, 40)
    shape = (len(ARMS), len(CELLS), len(time))
    isotropic = np.array([name not in ("linear",) and "varying-" not in name for name in ARMS])
    F = np.exp(-2 * time) * np.ones(shape)
    error = (0.1 / CELLS**2)[None, :, None] * np.ones(shape)
    entropy = -0.4 * F
    energy = 0.6 * F + 1
    loss = np.where(isotropic[:, None, None], np.nan, energy + 0.3 * np.exp(-time))
    steps = xr.Dataset(
        {
            name: (("system", "cells", "step"), np.array(values))
            for name, values in {
                "time": time * np.ones(shape),
                "free_energy": F,
                "energy": energy,
                "closed_energy": energy + error * F,
                "loss_energy": loss,
                "entropy": entropy,
                "closed_free_energy": F + error**2,
                "shifted_free_energy": 0.5 + 0.5 * F,
                "rate": 2 * F,
                "fisher": 2 * F * (1 + error),
            }.items()
        }
        | {"isotropic": ("system", isotropic), "temperature": ("system", np.ones(len(ARMS)))},
        coords={"system": ARMS, "cells": CELLS},
        attrs={"end": 16.0},
    )
    for name in steps.data_vars:  # the coarser grids took fewer steps
        if "step" in steps[name].dims:
            steps[name].values[:, 0, -3:] = np.nan
    gaussian = xr.Dataset(
        {
            "time": ("step", time),
            "free_energy": ("step", F[0, 0].copy()),
            "sum_free_energy": ("step", F[0, 0].copy()),
            "energy": ("step", energy[0, 0].copy()),
            "entropy": ("step", entropy[0, 0].copy()),
        }
    )
    return {"steps": steps, "gaussian": gaussian}
