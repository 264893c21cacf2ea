"""The noise of all runs of a seed."""

from pathlib import Path

import xarray as xr


def measure(
    runs: list[xr.Dataset],
    spectra: list[xr.Dataset],
    datasets: dict[str, xr.Dataset],
    settings: dict,
    seed: int,
    *,
    device: str = "auto",
    state: Path | None = None,
) -> dict[str, xr.Dataset]:
    """Part `traces`: `trace` of D at the last snapshot, by run, in gradient squared."""
    assert {run.attrs["run"] for run in runs} == {spectrum.attrs["run"] for spectrum in spectra}
    assert datasets
    traces = [spectrum.attrs["trace"] for spectrum in spectra]
    names = [spectrum.attrs["run"] for spectrum in spectra]
    return {"traces": xr.Dataset({"trace": ("run", traces)}, {"run": names})}
