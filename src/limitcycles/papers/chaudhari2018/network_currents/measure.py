"""Currents of a trajectory in planes chosen beforehand, and what the linear theory predicts."""

from __future__ import annotations

import itertools
import json

import numpy as np
import xarray as xr

from limitcycles.papers.chaudhari2018.network_currents.linear_prediction import Place, Sight
from limitcycles.papers.chaudhari2018.network_currents.rates import drift, measured, rates
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.progress import track
from limitcycles.runtime.seeds import stream
from limitcycles.statistics.long_run import BATCHES
from limitcycles.training.sgd import learning_rate
from limitcycles.training.trajectories.reading import after_transient, read, training_of

READS = ("trajectory_statistics.seed", "rule.leading", "rule.random", "rule.level")

PLACES = ("start", "middle", "end")
ROWS = 8192  # epochs read at once
WINDOW = 100  # the slow part is the mean over this share of the epochs: n // 100


def measure(trajectory: xr.Dataset, dataset: xr.Dataset, settings: dict) -> dict[str, xr.Dataset]:
    """Area rates after the transient in 15 planes of Hessian eigenvectors and 5 random ones.

    The planes are all pairs of the 6 leading eigenvectors of H at the end of the transient, H that
    of the mean mini-batch loss in training mode (`diffusion.curvature`), and 5 random orthonormal
    ones. n epochs follow it, in 30 batches of equal length.

    Part `planes`, by `plane` (names like "1 × 2", "random 1"); units in the attributes:

    - `random` bool; `axis` (plane, direction): which of the eigenvectors (from 1; 0: random);
    - `rate`, `error`: area rate ½⟨x dy − y dx⟩ per epoch seen from the mean, and its standard error
      by batch means with 29 degrees of freedom (`currents.area_rates`); `batch_rate` (plane,
      batch), the rate in each batch; `frequency`: rate/(2π sqrt(det C)), cycles per epoch, NaN in a
      flat plane;
    - `circular_rate`, `surrogate_deviation`: the rate where the last epoch leads back to the first,
      and its deviation under surrogates with independent phases (`currents.surrogate_deviation`);
    - `deviation` (plane, direction) of the coordinates; `shift_low`, `shift_high`, `log_ratio_low`,
      `log_ratio_high` (plane, direction): intervals of the gate (`stationarity.halves`) at two
      one-sided 95 %; NaN for a direction that never moves;
    - `relaxation` (plane, direction): epochs until the autocorrelation is below 1/e (NaN: never);
    - `fast_…`: the same rate, error, batch_rate, deviation and gate of the coordinates minus their
      mean over the n // 100 epochs around, which takes slow drifts out and keeps a reversible
      process reversible; the ends, half a window each, are left out;
    - `predicted`, `predicted_variance`, `captured` (place, plane): area rate by the linear theory,
      its long-run variance (divide by n for that of the mean), and the smaller share of a plane's
      two directions that lies within the leading eigenvectors at that place. NaN for random planes,
      of which most lies outside; `predicted_relaxation` (place, plane, direction), epochs,
      (1 − μ)/(η m uᵀHu) with m steps an epoch, NaN where uᵀHu is not positive;
    - `swept` (time, plane): area swept up to that epoch, 150 times.

    Part `places`, by `place` (start, middle, end): `at`, the epoch; by `mode` (NaN beyond what does
    relax within the run) `curvature`, eigenvalues of H; `diffusion`, `rest`, diagonals of D and R
    of `curvature.Noise`, and `last`, of a smaller last batch (NaN: there is none); `commutator`
    ‖HD − DH‖/(‖H‖‖D‖).

    Attributes of both: `epochs` n, `batches`, `level`, `rate`, `sampler`, `momentum`, and the
    `window` of the slow parts. For 10⁵ epochs 25 to 45 s on a core and 1.1 GB, most of it for H and
    D; less effort for runs below 10,000 epochs. Raises LimitcyclesError: fewer than 120 epochs
    after the transient.
    """
    start, stop = after_transient(trajectory), trajectory.sizes["epoch"]
    epochs = stop - start
    if epochs < 4 * BATCHES:
        raise LimitcyclesError(
            f"{trajectory.attrs['run']}: {epochs} epochs after the transient are too few for "
            f"currents; they need {4 * BATCHES}"
        )
    training = training_of(trajectory)
    rate = learning_rate(training["learning_rate"], training["epochs"] - 1, training["epochs"])
    run = json.loads(trajectory.attrs["settings"])
    seed = stream(settings["seed"], f"currents {trajectory.attrs['run']}")
    leading, drawn, level = (settings[key] for key in ("leading", "random", "level"))
    sight = Sight(trajectory, dataset, run, rate, seed)
    at = [start, (start + stop - 1) // 2, stop - 1]
    places = [
        Place(sight, epoch) for epoch in track(at, unit="place", what="Hessian and noise", delay=10)
    ]
    axes, planes = _planes(
        places[0].leading, leading, drawn, stream(settings["seed"], "random planes")
    )
    coordinates = _project(trajectory, start, stop, planes)
    found = measured(coordinates, level, start) | _predicted(places, planes, axes, sight)
    slow = max(3, epochs // WINDOW)
    fast = rates(
        coordinates[slow // 2 : slow // 2 + epochs - slow + 1] - drift(coordinates, slow),
        level,
    )
    found |= {f"fast_{name}": its for name, its in fast.items()}
    names = [f"{a} × {b}" if a else f"random {i - len(axes) + drawn + 1}"
             for i, (a, b) in enumerate(axes)]  # fmt: skip
    common = {
        "epochs": epochs,
        "batches": BATCHES,
        "level": level,
        "rate": rate,
        "sampler": training["sampler"],
        "momentum": sight.optimiser.momentum,
        "window": slow,
    }
    table = xr.Dataset(
        found | {"random": ("plane", axes[:, 0] == 0), "axis": (("plane", "direction"), axes)},
        coords={"plane": names, "place": list(PLACES), "direction": ["x", "y"]},
        attrs=common,
    )
    for name, variable in table.data_vars.items():
        variable.attrs["units"] = _unit(name)
    return {"planes": table, "places": _described(places).assign_attrs(common)}


def _unit(name: str) -> str:
    """Of a variable of the part `planes`; "1" for pure numbers."""
    name = name.removeprefix("fast_")
    if name in ("deviation", "swept"):
        return {"deviation": "weight", "swept": "weight²"}[name]
    if name in ("predicted_relaxation", "relaxation"):
        return "epoch"
    if name == "predicted_variance":
        return "weight⁴ per epoch"
    if name == "frequency":
        return "cycle per epoch"
    rates = ("rate", "error", "batch_rate", "circular_rate", "surrogate_deviation", "predicted")
    return "weight² per epoch" if name in rates else "1"


def _planes(
    modes: np.ndarray, leading: int, random: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the eigenvectors (plane, 2), 0 for random, and the planes (plane, 2, d)."""
    if len(modes) < leading:
        raise LimitcyclesError(
            f"a network of {len(modes)} weights has no {leading} directions for planes"
        )
    pairs = np.array(list(itertools.combinations(range(leading), 2)))
    drawn = np.random.default_rng(seed).standard_normal((random, modes.shape[1], 2))
    others = np.linalg.qr(drawn)[0].transpose(0, 2, 1)
    axes = np.concatenate([pairs + 1, np.zeros((random, 2), int)])
    return axes, np.concatenate([modes[pairs], others])


def _project(trajectory: xr.Dataset, start: int, stop: int, planes: np.ndarray) -> np.ndarray:
    """Coordinates (epoch, plane, 2), seen from the first point: 0 where nothing ever moves."""
    origin = read(trajectory, start, start + 1)[0].astype(np.float64)
    vectors = planes.reshape(-1, planes.shape[2]).T
    blocks = [
        (read(trajectory, first, min(first + ROWS, stop)) - origin) @ vectors
        for first in range(start, stop, ROWS)
    ]
    return np.concatenate(blocks).reshape(stop - start, -1, 2)


def _predicted(places: list[Place], planes: np.ndarray, axes: np.ndarray, sight: Sight) -> dict:
    leading = axes[:, 0] > 0
    shape = (len(places), len(planes))
    found = {n: np.full(shape, np.nan) for n in ("predicted", "predicted_variance", "captured")}
    relaxation = np.full((*shape, 2), np.nan)
    for row, place in enumerate(places):
        for name, values in zip(found, place.rates(planes[leading]), strict=True):
            found[name][row, leading] = values
        within = (planes[leading] @ place.modes.T) ** 2
        pace = sight.pace * (within @ place.values)
        relaxation[row, leading] = 1 / np.where(pace > 0, pace, np.nan)
    dims = ("place", "plane")
    return {name: (dims, values) for name, values in found.items()} | {
        "predicted_relaxation": ((*dims, "direction"), relaxation)
    }


def _described(places: list[Place]) -> xr.Dataset:
    modes = max(1, *(len(place.values) for place in places))

    def table(rows):
        return np.array(
            [np.pad(row, (0, modes - len(row)), constant_values=np.nan) for row in rows]
        )

    noises = [place.noise for place in places]
    none = [np.full(len(place.values), np.nan) for place in places]
    last = [n if noise.last is None else np.diag(noise.last)
            for n, noise in zip(none, noises, strict=True)]  # fmt: skip
    squared = {"units": "nat² per weight²"}
    dims = ("place", "mode")
    return xr.Dataset(
        {
            "at": ("place", [place.epoch for place in places], {"units": "epoch"}),
            "curvature": (dims, table([p.values for p in places]), {"units": "nat per weight²"}),
            "diffusion": (dims, table([np.diag(n.diffusion) for n in noises]), squared),
            "rest": (dims, table([np.diag(n.rest) for n in noises]), squared),
            "last": (dims, table(last), squared),
            "commutator": ("place", [place.commutator() for place in places], {"units": "1"}),
        },
        coords={"place": list(PLACES), "mode": np.arange(1, modes + 1)},
    )
