"""The noise of trained networks under plain SGD, at matched temperatures (Remark 15)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import xarray as xr


def measure(
    runs: Sequence[xr.Dataset],
    spectra: Sequence[xr.Dataset],
    datasets: Mapping[str, xr.Dataset],
    settings: dict,
    seed: int,
    *,
    device: str = "auto",
) -> xr.Dataset:
    """To be written."""
    raise NotImplementedError
