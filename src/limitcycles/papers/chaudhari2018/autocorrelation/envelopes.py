"""Autocorrelations of series against fitted nulls: of weights, and of the controls of the claim."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats

from limitcycles.runtime.progress import track
from limitcycles.statistics import lag_envelopes, nulls
from limitcycles.statistics.autocorrelation import paper_autocorrelation
from limitcycles.statistics.blocks import blocks, per_weight
from limitcycles.statistics.stationarity import halves
from limitcycles.statistics.variance_ratio import variance_ratio

REPLICATES = 999  # the fewest of which ten lie outside; of the random walk,
OF_WALKS = 19999  # one envelope for all weights and the one that contradicts, more
NULLS = ("random-walk", "ornstein-uhlenbeck", "epoch-noise")
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
EXAMPLES = 6


def examine(weights: np.ndarray, *, seed: int, level: float) -> dict[str, xr.Dataset]:
    """r of `weights` (epoch, weight) at the paper's lags, in two parts.

    `weights`, by `weight` (its index among all; those that move):

    - `reach` (null, weight): largest |r − centre|/half width over the 99 lags above 0 of the
      simultaneous 99 % envelope of a fitted null: above 1 where r leaves it (1);
    - `sum_reach` (null, weight): the same for log Σ|r| over these lags;
    - `sum` (weight): Σ|r| over these lags;
    - `outside` (weight): share of these lags with |r| beyond the white-noise band (percent);
    - `leaves_band` (weight): whether more of them are beyond it than for 99 % of white noises, by
      the binomial distribution (r at different lags of white noise is nearly independent);
    - `relaxation` (null, weight): of the fits, epochs; infinite for a random walk, NaN for φ ≤ 0;
    - `theta` (weight): θ of the fitted epoch-noise (1);
    - `same_halves` (weight): whether both halves have equal means and variances
      (`stationarity.halves`); `mean_shift` and `log_ratio` (weight): by how much they differ
      (deviations of the whole; nats, infinite or NaN if a half stands still);
    - `variance_ratio`, `variance_ratio_z` (weight): see `statistics.variance_ratio`; NaN where a
      weight stands still whenever it is looked at.

    `lags`, by `lag` (epochs; multiples of n // 100, 0 among them):

    - `r_quantile` (quantile, lag): over the weights;
    - `walk_low`, `walk_high` (lag): simultaneous envelope of the random walk; 1 at lag 0;
    - `example_r` (example, lag) of the weights `example_weight` (example), evenly spaced among
      those that move; `example_low`, `example_high` (null, example, lag): their envelopes.

    Both parts have the attributes `epochs` (n), `still` (weights that never move, which are left
    out), `level` (0.99), `band` (the white-noise band z/√n) and `walk_doubt` (ends of a 95 %
    interval of the width of the random walk's envelope, relative to it, because simulations are
    finite in number).

    Raises SeriesError: no weight moves, fewer than 101 epochs, a value not finite.
    """
    paper = paper_autocorrelation(weights, level=level)
    if not paper.moving.all():
        weights = np.ascontiguousarray(weights[:, paper.moving])
    fits = [_fit(weights, null) for null in NULLS]
    envelopes = [
        *lag_envelopes.bounds(fits[:1], level=level, seed=seed, replicates=OF_WALKS),
        *lag_envelopes.bounds(fits[1:], level=level, seed=seed, replicates=REPLICATES),
    ]
    lags = len(paper.lags) - 1
    profile, index = paper.values[:, 1:], np.flatnonzero(paper.moving)
    with np.errstate(invalid="ignore", divide="ignore"):  # halves that stand still
        gates = [halves(block.T) for block in blocks(weights)]
    gate = {
        name: np.concatenate([getattr(g, name) for g in gates])
        for name in ("same", "shift", "log_ratio")
    }
    ratio = per_weight(weights, lambda block: np.stack(variance_ratio(block), axis=1))
    attrs = {
        "epochs": len(weights),
        "still": int((~paper.moving).sum()),
        "level": level,
        "band": paper.band,
        "walk_doubt": [float(end) for end in envelopes[0].doubt[0]],
    }
    by_weight = xr.Dataset(
        {
            "reach": _of(("null", "weight"), [e.reach(profile) for e in envelopes], "1"),
            "sum_reach": _of(("null", "weight"), [e.sum_reach(profile) for e in envelopes], "1"),
            "sum": _of(("weight",), np.abs(profile).sum(1), "1"),
            "outside": _of(("weight",), 100 * paper.outside(), "percent"),
            "leaves_band": (
                "weight",
                np.rint(paper.outside() * lags) > stats.binom.ppf(level, lags, 1 - level),
            ),
            "relaxation": _of(("null", "weight"), [f.relaxation for f in fits], "epoch"),
            "theta": _of(("weight",), fits[-1].theta, "1"),
            "same_halves": ("weight", gate["same"]),
            "mean_shift": _of(("weight",), gate["shift"], "deviation of the weight"),
            "log_ratio": _of(("weight",), gate["log_ratio"], "nat"),
            "variance_ratio": _of(("weight",), ratio[:, 0], "1"),
            "variance_ratio_z": _of(("weight",), ratio[:, 1], "1"),
        },
        coords={"null": list(NULLS), "weight": index},
        attrs=attrs,
    )
    chosen = np.unique(np.linspace(0, len(index) - 1, EXAMPLES).round().astype(int))
    low, high = (_with_lag_0(sign, envelopes) for sign in (-1, 1))
    by_lag = xr.Dataset(
        {
            "r_quantile": _of(("quantile", "lag"), np.quantile(paper.values, QUANTILES, 0), "1"),
            "walk_low": _of(("lag",), low[0, 0], "1"),
            "walk_high": _of(("lag",), high[0, 0], "1"),
            "example_r": _of(("example", "lag"), paper.values[chosen], "1"),
            "example_low": _of(("null", "example", "lag"), low[:, chosen], "1"),
            "example_high": _of(("null", "example", "lag"), high[:, chosen], "1"),
            "example_weight": ("example", index[chosen]),
        },
        coords={"lag": paper.lags, "quantile": list(QUANTILES), "null": list(NULLS)},
        attrs=attrs,
    )
    by_lag["lag"].attrs["units"] = "epoch"
    return {"weights": by_weight, "lags": by_lag}


def _fit(weights: np.ndarray, null: str) -> nulls.Fit:
    """`nulls.fit`, a part of the weights at a time for the sake of progress."""
    starts = range(0, weights.shape[1], 64)
    bar = track(starts, unit="block", what=f"fitting {null}", delay=10)
    fits = [nulls.fit(weights[:, first : first + 64], null) for first in bar]
    joined = [
        np.concatenate([getattr(f, name) for f in fits])
        for name in ("mean", "phi", "theta", "noise")
    ]
    return nulls.Fit(null, *joined, len(weights))


def _with_lag_0(sign: int, envelopes: list[lag_envelopes.Bounds]) -> np.ndarray:
    """One side of the envelopes, (null, weight, lag), with r(0) = 1."""
    sides = np.stack([e.centre + sign * e.width for e in envelopes])
    return np.pad(sides, ((0, 0), (0, 0), (1, 0)), constant_values=1)


def _of(dims, values, units: str):
    return dims, np.asarray(values, dtype=np.float32), {"units": units}
