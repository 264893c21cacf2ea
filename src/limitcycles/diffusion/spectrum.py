"""What is read off the spectrum of the diffusion matrix: ranks, participation, mean ± std."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import xarray as xr

from limitcycles.diffusion import gradient_store, krylov, matrix
from limitcycles.diffusion.matrix import Rows, Spectrum
from limitcycles.runtime import arguments
from limitcycles.runtime.devices import pick_device
from limitcycles.statistics.thresholds import paper_threshold

TAU = np.logspace(-16, -1, 151)
# Rows left out of products carry this share of the trace, times the tolerance and the threshold of
# the rank. The trace is about ten times the largest eigenvalue, so that they cost about half of the
# error allowed at the threshold.
NEGLIGIBLE = 1 / 20
UNITS = "gradient squared (nat² per unit of weight²)"
# What is told for each number of augmentations: its name, the attribute that it is, and its unit.
AUGMENTED = (
    ("rank", "rank_float32", "1"),
    ("mean", "mean_all", UNITS),
    ("std", "std_all", UNITS),
    ("participation_ratio", "participation_ratio", "1"),
)


def rank(spectrum: Spectrum, tau: float) -> float:
    """Number of eigenvalues above τ λ_1; NaN where eigenvalues that were not computed may count."""
    tau = arguments.number("tau", tau, matrix.SpectrumError, zero=True)
    if tau * spectrum.eigenvalue[0] < spectrum.floor:
        return float("nan")
    return float(np.sum(spectrum.eigenvalue > tau * spectrum.eigenvalue[0]))


def mean_readings(spectrum: Spectrum) -> dict[str, float]:
    """ "Mean ± std" of the captions of Figs. 1 and 2 in three readings.

    all: over all d eigenvalues (from the trace and the Frobenius norm, which is estimated in part
    where matrix-free); clipped: eigenvalues below the float32 threshold raised to it, as the
    authors' plotting code likely did; above: those above the threshold only. Units: gradient
    squared. The last two are NaN where eigenvalues that were not computed may lie above the
    threshold.
    """
    d, unit = spectrum.weights, spectrum.eigenvalue[0]  # squares of eigenvalues may be out of range
    values, cut = spectrum.eigenvalue / unit, paper_threshold(d)
    above = values[values > cut]
    if cut < spectrum.floor / unit:  # eigenvalues not computed may lie above the threshold
        above = np.array([np.nan])
    mean_clipped = (above.sum() + (d - len(above)) * cut) / d
    square_clipped = ((above**2).sum() + (d - len(above)) * cut**2) / d
    mean_all, square_all = spectrum.trace / unit / d, (spectrum.frobenius / unit) ** 2 / d
    found = {
        "mean_all": mean_all,
        "std_all": np.sqrt(max(square_all - mean_all**2, 0)),
        "mean_clipped": mean_clipped,
        "std_clipped": np.sqrt(max(square_clipped - mean_clipped**2, 0)),
        "mean_above": above.mean(),
        "std_above": above.std(),
    }
    return {name: float(value * unit) for name, value in found.items()}


def trace_quantile(spectrum: Spectrum, share: float) -> float:
    """Number of leading eigenvalues that carry `share` of the trace; NaN if not all are known."""
    carried = np.cumsum(spectrum.eigenvalue) / spectrum.trace
    if carried[-1] < share and len(carried) < spectrum.weights:
        return float("nan")
    return float(min(np.searchsorted(carried, share) + 1, len(carried)))


def effective_rank(spectrum: Spectrum) -> float:
    """exp of the entropy of λ/tr D (Roy & Vetterli 2007); NaN if not all eigenvalues are known."""
    if len(spectrum.eigenvalue) < spectrum.weights:
        return float("nan")
    p = spectrum.eigenvalue[spectrum.eigenvalue > 0] / spectrum.eigenvalue.sum()
    return float(np.exp(-np.sum(p * np.log(p))))


def summarise(spectrum: Spectrum, **attrs) -> xr.Dataset:
    """The spectrum and all that is read off it, as one Dataset; `attrs` are added.

    Variables: `eigenvalue`, `error_bound` (index), `rank_curve` (tau). Attributes: the ranks by
    the paper's rule with float32 and float64 epsilon, participation ratio (tr D)²/tr D²,
    effective rank, trace quantiles, mean ± std in three readings, trace, Frobenius norm, N, d.
    A number that the method cannot resolve is NaN.
    """
    d = spectrum.weights
    rank32 = rank(spectrum, paper_threshold(d))
    return xr.Dataset(
        {
            "eigenvalue": ("index", spectrum.eigenvalue, {"units": UNITS}),
            "error_bound": ("index", spectrum.error_bound, {"units": UNITS}),
            "rank_curve": (
                "tau",
                np.array([rank(spectrum, t) for t in TAU]),
                {"long_name": "number of eigenvalues above tau times the largest", "units": "1"},
            ),
        },
        coords={
            "index": ("index", np.arange(1, len(spectrum.eigenvalue) + 1)),
            "tau": ("tau", TAU, {"long_name": "relative threshold", "units": "1"}),
        },
        attrs={
            "method": spectrum.method,
            "trace": spectrum.trace,
            "frobenius_norm": spectrum.frobenius,
            "frobenius_error": spectrum.frobenius_error,
            "samples": spectrum.samples,
            "weights": d,
            "rank_float32": rank32,
            "rank_float64": rank(spectrum, paper_threshold(d, "float64")),
            "rank_percent_float32": 100 * rank32 / d,
            "participation_ratio": (spectrum.trace / spectrum.frobenius) ** 2,
            "effective_rank": effective_rank(spectrum),
            **{f"trace_{q}": trace_quantile(spectrum, q / 100) for q in (50, 90, 99)},
            **mean_readings(spectrum),
            **attrs,
        },
    )


def of_gradients(path: Path | str, settings: dict, device: str = "auto") -> xr.Dataset:
    """Spectrum of D from stored per-sample gradients (`limitcycles.diffusion.gradients.write`).

    `settings` are those of `spectrum` in the configuration: exact in float64 where min(N, d) is at
    most `exact_up_to`, else matrix-free with `leading`, `tolerance` and `seed`. Where the latter
    would need half of all dimensions, the exact method is taken after all if its matrix fits into
    `memory_mib`; the log says so, and the attribute `method` which one it was.

    Of gradients of augmented images, the spectrum is that of all copies. What is read off D over
    fewer stands beside it, by the number of `augmentations`: `augmented_rank` (by the paper's rule
    with float32), `augmented_mean`, `augmented_std` (of all d eigenvalues, gradient squared) and
    `augmented_participation_ratio`. The attributes `images` and `copies` are those of the store.

    Raises SpectrumError, StorageError.
    """
    store = gradient_store.open_store(path)
    images = store.attrs["images"]

    def first(rows: int) -> Spectrum:
        array, square_norm = (
            gradient_store.Reader(store, name, path, rows) for name in ("gradient", "square_norm")
        )
        return of_rows(array, settings, device, square_norm[:])

    whole = first(images * store.attrs["copies"])
    origin = ("run", "seed", "percent", "images", "copies")
    result = summarise(whole, **{key: store.attrs[key] for key in origin})
    numbers = store.attrs["augmentations"]
    if numbers:
        each = [first(images * a) for a in numbers[:-1]]
        attrs = [summarise(found).attrs for found in [*each, whole]]
        coordinate = {"long_name": "augmentations of each image", "units": "1"}
        result = result.assign_coords(augmentations=("augmentations", numbers, coordinate)).assign(
            {
                f"augmented_{name}": ("augmentations", [its[key] for its in attrs], {"units": unit})
                for name, key, unit in AUGMENTED
            }
        )
    return result


def of_rows(
    array, settings: dict, device: str = "auto", square_norm: np.ndarray | None = None
) -> Spectrum:
    """The spectrum of D of rows (N, d), an array as `Rows` takes it; see `of_gradients`.

    The settings are exact_up_to, leading, tolerance, memory_mib and seed. Raises SpectrumError.
    """
    samples, weights = array.shape

    def rows(negligible: float, memory_mib: float) -> Rows:
        return Rows(
            array,
            square_norm=square_norm,
            negligible=negligible,
            memory_mib=memory_mib,
            device=pick_device(device),
        )

    if min(samples, weights) > settings["exact_up_to"]:
        try:
            threshold = paper_threshold(weights)
            return krylov.matrix_free(
                rows(NEGLIGIBLE * settings["tolerance"] * threshold, settings["memory_mib"]),
                leading=settings["leading"],
                tolerance=settings["tolerance"],
                seed=settings["seed"],
                threshold=threshold,
            )
        except krylov.UnresolvedError as error:
            if 8 * min(samples, weights) ** 2 > settings["memory_mib"] * 2**20:
                raise krylov.UnresolvedError(
                    f"{error}; in the configuration: spectrum.leading, or spectrum.exact_up_to of "
                    f"at least {min(samples, weights)} with a spectrum.memory_mib for its matrix"
                ) from error
            print(f"taking the exact method instead: {error}", file=sys.stderr)
    # D is formed in one pass, for which no row need be kept; the Gram matrix takes many.
    keep = settings["memory_mib"] if samples < weights else 0
    return matrix.exact(rows(0.0, keep))
