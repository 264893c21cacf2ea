"""Increments of the weights over epochs: Fig. 3a as it was drawn, the full band, and nulls."""

from __future__ import annotations

import numpy as np
import xarray as xr

from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.statistics import null_spectra, nulls, spectra, stationarity
from limitcycles.statistics.blocks import blocks
from limitcycles.training.trajectories.reading import after_transient, read

READS = ("trajectory_statistics.seed", "rule.level", "rule.low_percent", "rule.high_percent")

NULLS = ("random-walk", "ornstein-uhlenbeck", "epoch-noise")
ENDS = ("low", "high")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
ROWS = 4096  # epochs read at once
REPLICATES = 199  # the fewest that `nulls.envelope` takes at that level
BINS = 150
BANDWIDTH = 3.0  # five tapers: the mean over weights smooths, and each taper costs a second


def measure(trajectory: xr.Dataset, dataset: xr.Dataset, settings: dict) -> dict[str, xr.Dataset]:
    """Spectra of y_k = x_{k+1} − x_k over epochs k after the transient, and what nulls give.

    `settings` has `seed`; `dataset` is not used. Weights whose increments are all equal over
    these epochs are left out of everything but `moving`. Frequencies in cycles per epoch. Parts:

    - "amplitudes" (frequency), the first 1,000 frequencies: `mean`, `low`, `high` in units of the
      weight, as `spectra.increment_amplitudes` has them, the paper's estimator, and `walk`, what it
      gives for random walks with these increments' deviations s: the mean of s √(πn)/2, flat;
    - "multitaper" (frequency), at most 150 bins of equal width on a log axis over the whole band:
      `mean` with its t interval `low`, `high` over weights, of the one-sided density in
      weight² · epoch. And of the relative density, in epochs, each weight's own divided by the mean
      square of y − ȳ, so that weights of all sizes count alike, a flat one is 2 everywhere and the
      integral over frequency is 1: `relative_mean`, `relative_low`, `relative_high`,
      `relative_quantile` (quantile, frequency) over weights, and `null_mean` (null, frequency), the
      mean over weights of the fitted nulls' density (`null_spectra.density`) over the same square;
    - "welch" (frequency), segments of `null_spectra.segment` increments: `relative_mean`,
      `relative_low`, `relative_high` as above;
    - "weights" (weight): `moving`; `ratio` (weight, look, end), log power ratios in nats
      (`null_spectra.looks`: look periodogram, as the rule has it, and welch; end low, high);
      `envelope_low`, `envelope_high` (null, weight, look, end), pointwise 95 % envelopes of these
      under the null fitted to each weight, nats; `phi`, `theta` (null, weight), its parameters
      (`nulls`), an epoch a step; `stationary`, whether the two halves of the run have equal means
      and variances (`stationarity.halves`). NaN, and False, for a weight that does not move; the
      look welch is also NaN for one that moves only where no segment sees it.

    All carry `first_epoch`, the epoch after which y_0 is taken, `increments`, how many, and the
    `level`, `low_percent` and `high_percent` that ratios and envelopes were computed with. With
    fewer than two weights that move there is nothing over weights: those parts are then without
    frequencies.

    About 40 s and 1.2 GB for 10⁵ epochs of 917 weights on one core. Raises StorageError: the
    trajectory is damaged; SeriesError: fewer than 101 epochs are left.
    """
    first, total = after_transient(trajectory), trajectory.sizes["epoch"]
    series = np.empty((trajectory.sizes["weight"], total - first), np.float32)
    for start in range(first, total, ROWS):
        stop = min(start + ROWS, total)
        series[:, start - first : stop - first] = read(trajectory, start, stop).T
    attrs = {
        "first_epoch": first,
        "increments": total - first - 1,
        **{key: settings[key] for key in ("level", "low_percent", "high_percent")},
    }
    seed = stream(settings["seed"], "increments")
    name = f"increments of {trajectory.attrs['run']} seed {trajectory.attrs['seed']}"
    # At rest, or in a steady drift (float32 steps of gradient descent): all increments are equal.
    moving = np.array([np.ptp(np.diff(one.astype(np.float64))) > 0 for one in series])
    with track(total=5 + len(NULLS), unit="part", what=name) as bar:
        chosen = series if moving.all() else series[moving]
        del series
        found, fits = against_nulls(chosen, seed, settings, tick=bar.update)
        parts = {"weights": _widened(found, moving)}
        parts |= _spectra(chosen, fits, settings["level"], tick=bar.update)
    return {part: values.assign_attrs(attrs) for part, values in parts.items()}


def against_nulls(series: np.ndarray, seed: int, rule: dict, *, tick=lambda: None):
    """(part "weights" but for `moving`, fits by null) of series (weight, epoch) that all move.

    `rule` has the level of the envelopes, and low_percent and high_percent of the bands. `tick` is
    called after each of the nulls, after the ratios and after the halves.
    """
    bands = {key: rule[key] for key in ("low_percent", "high_percent")}
    shape = (len(series), len(null_spectra.LOOKS), len(ENDS))
    ratio, ends, fits = np.empty(shape), np.empty((2, len(NULLS), *shape)), {}
    stationary = np.empty(len(series), bool)
    if len(series):
        each = [null_spectra.looks(block, **bands) for block in blocks(series.T)]
        ratio = np.concatenate(each)
    tick()
    for i, null in enumerate(NULLS):
        if len(series):
            fits[null] = nulls.fit(series.T, null)
            ends[:, i] = null_spectra.ratio_envelope(
                fits[null], level=rule["level"], seed=seed + i, replicates=REPLICATES, **bands
            )
        tick()
    if len(series):
        same = [stationarity.halves(block.T).same for block in blocks(series.T)]
        stationary = np.concatenate(same)
    tick()
    return _weights(ratio, ends, fits, stationary), fits


def _weights(ratio, ends, fits: dict[str, nulls.Fit], stationary) -> xr.Dataset:
    none = np.empty((len(NULLS), 0))
    phi, theta = (
        np.stack([getattr(fit, key) for fit in fits.values()]) if fits else none
        for key in ("phi", "theta")
    )
    dims, nats = ("weight", "look", "end"), {"units": "nat"}
    return xr.Dataset(
        {
            "ratio": (dims, ratio, nats),
            "envelope_low": (("null", *dims), ends[0], nats),
            "envelope_high": (("null", *dims), ends[1], nats),
            "phi": (("null", "weight"), phi, {"units": "1"}),
            "theta": (("null", "weight"), theta, {"units": "1"}),
            "stationary": ("weight", stationary),
        },
        coords={"look": list(null_spectra.LOOKS), "end": list(ENDS), "null": list(NULLS)},
    )


def _widened(found: xr.Dataset, moving: np.ndarray) -> xr.Dataset:
    """`found`, of the moving weights, for all: what is not known is NaN or False."""
    at = found.assign_coords(weight=np.flatnonzero(moving))
    fill = {"stationary": False}
    wide = at.reindex(weight=np.arange(len(moving)), fill_value=fill)
    return wide.assign(moving=("weight", moving)).drop_vars("weight")


def _spectra(
    series: np.ndarray, fits: dict[str, nulls.Fit], level: float, *, tick
) -> dict[str, xr.Dataset]:
    """The parts over weights; without frequencies where fewer than two weights move."""
    if len(series) < 2:
        return {part: xr.Dataset() for part in ("amplitudes", "multitaper", "welch")}
    weights = series.T
    paper = spectra.increment_amplitudes(weights, level=level)
    amplitudes = {
        key: ("frequency", getattr(paper, key), {"units": "weight"})
        for key in ("mean", "low", "high")
    }
    power = np.concatenate([np.diff(block).var(1) for block in blocks(weights)])
    walk = np.sqrt(np.pi * (series.shape[1] - 1) * power).mean() / 2
    amplitudes["walk"] = ((), walk, {"units": "weight"})
    tick()
    tapered = spectra.multitaper(weights, bandwidth=BANDWIDTH, bins=BINS)
    whole = tapered.summary(level=level)
    multitaper = {
        key: ("frequency", getattr(whole, key), {"units": "weight² · epoch"})
        for key in ("mean", "low", "high")
    }
    multitaper |= _relative(tapered, power, level, quantiles=True)
    lines = [
        (null_spectra.density(fit, tapered.frequency) / power[:, None]).mean(0)
        for fit in fits.values()
    ]
    multitaper["null_mean"] = (("null", "frequency"), np.stack(lines), {"units": "epoch"})
    tick()
    smooth = spectra.welch(weights, segment=null_spectra.segment(series.shape[1]))
    tick()
    over = {"quantile": list(QUANTILES), "null": list(NULLS)}
    return {
        "amplitudes": xr.Dataset(amplitudes, _frequency(paper.frequency)),
        "multitaper": xr.Dataset(multitaper, _frequency(tapered.frequency) | over),
        "welch": xr.Dataset(_relative(smooth, power, level), _frequency(smooth.frequency)),
    }


def _frequency(values: np.ndarray) -> dict:
    return {"frequency": ("frequency", values, {"units": "1/epoch"})}


def _relative(
    found: spectra.Spectra, power: np.ndarray, level: float, *, quantiles: bool = False
) -> dict:
    """Summary of densities over each weight's own mean square, in epochs."""
    relative = spectra.Spectra(found.frequency, found.density / power[:, None], found.freedom)
    summary = relative.summary(level=level, quantiles=QUANTILES)
    units = {"units": "epoch"}
    result = {
        f"relative_{key}": ("frequency", getattr(summary, key), units)
        for key in ("mean", "low", "high")
    }
    if quantiles:
        result["relative_quantile"] = (("quantile", "frequency"), summary.quantiles, units)
    return result
