"""Currents of trajectories: planes, rates against the series functions, the linear prediction."""

import json

import analyses_case as case
import numpy as np
import pytest
import torch
import xarray as xr
from helpers import claims, one_thread, settings_read  # noqa: F401

from limitcycles.diffusion import curvature
from limitcycles.judging import measuring
from limitcycles.papers.chaudhari2018.network_currents import measure as module
from limitcycles.papers.chaudhari2018.network_currents.planes import detections, slope
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.statistics import currents
from limitcycles.statistics.stationarity import halves
from limitcycles.training import networks
from limitcycles.training.trajectories.reading import after_transient

PARAMETERS = claims()["network-currents"]["rule_parameters"]
SETTINGS = settings_read("network-currents")


def analyse(trajectory, data=None) -> dict[str, xr.Dataset]:
    return measuring.of_trajectory(
        "network-currents", trajectory, case.dataset() if data is None else data, SETTINGS
    )


@pytest.fixture(scope="module")
def long():
    """With replacement, where the linear theory holds best: see `test_the_linear_theory`."""
    trajectory = case.trajectory(9999, 0.005, sampler="with-replacement")
    return trajectory, analyse(trajectory)


def test_planes_and_level_are_those_of_the_ledger():
    trajectory = case.trajectory(300, 0.005)
    first, other = (
        measuring.of_trajectory("network-currents", trajectory, case.dataset(), its)["planes"]
        for its in (SETTINGS, SETTINGS | {"leading": 4, "random": 2, "level": 0.99})
    )
    assert first.sizes["plane"] == 20
    assert other["plane"].values[[0, 5, 6, 7]].tolist() == [
        "1 × 2", "3 × 4", "random 1", "random 2"
    ]  # fmt: skip
    wider = (other["shift_high"] - other["shift_low"]) / (first["shift_high"] - first["shift_low"])
    assert (wider > 1).all()
    assert other.attrs["level"] == 0.99


def test_what_is_there(long):
    trajectory, parts = long
    planes, places = parts["planes"], parts["places"]
    assert dict(planes.sizes) == {
        "plane": 20, "batch": 30, "direction": 2, "place": 3, "time": 150
    }  # fmt: skip
    assert planes["plane"].values[[0, 14, 15]].tolist() == ["1 × 2", "5 × 6", "random 1"]
    assert planes["random"].values.sum() == 5
    start = round(0.1 * 9999)
    assert planes.attrs["epochs"] == 10000 - start == trajectory.sizes["epoch"] - start
    assert places["at"].values.tolist() == [start, (start + 9999) // 2, 9999]
    assert places["at"].values[0] == after_transient(trajectory)
    assert (np.diff(places["curvature"].values[0][:6]) <= 0).all()
    assert sum(part.nbytes for part in parts.values()) < 2e6
    for name, variable in planes.data_vars.items():
        assert variable.attrs["units"], name
    named = {"predicted", "predicted_variance", "captured", "predicted_relaxation"}
    for name, variable in planes.data_vars.items():
        assert np.isfinite(variable.values).all() != (name in named), name
    leading = planes.sel(plane=~planes["random"])
    assert np.isfinite(leading["predicted"].values).all()
    assert (leading["captured"].values > 0.99).all()


def test_numbers_are_those_of_the_series_functions(long):
    trajectory, parts = long
    planes = parts["planes"]
    start = after_transient(trajectory)
    sight = module.Sight(
        trajectory, case.dataset(), case.run(9999, 0.005, sampler="with-replacement"), 0.005, 0
    )
    place = module.Place(sight, start)
    _, vectors = module._planes(place.leading, 6, 5, module.stream(0, "random planes"))
    np.testing.assert_allclose(
        vectors @ vectors.transpose(0, 2, 1), np.tile(np.eye(2), (20, 1, 1)), atol=1e-9
    )
    random = vectors[15:]
    points = currents.project(trajectory["weights"][start:], random)
    rates = currents.area_rates(points)
    for name, expected in (("rate", rates.rate), ("error", rates.error),
                           ("frequency", rates.frequency),
                           ("surrogate_deviation", currents.surrogate_deviation(points)),
                           ("circular_rate", currents.circular_area_rates(points))):  # fmt: skip
        np.testing.assert_allclose(planes[name].values[15:], expected, rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(planes["batch_rate"].mean("batch").values[15:], rates.rate)
    gate = halves(points.reshape(len(points), -1))
    same = detections([planes], PARAMETERS)[0].stationary[15:]
    np.testing.assert_array_equal(same, gate.same.reshape(5, 2).all(1))
    np.testing.assert_allclose(
        planes["swept"].values[-1, 15:], currents.areas(points).sum(0), rtol=1e-6
    )
    window = planes.attrs["window"]
    kernel = np.ones(window) / window
    slow = np.convolve(points[:, 0, 0], kernel, mode="valid")
    fast = points[window // 2 :][: len(slow), 0, 0] - slow
    assert planes["fast_deviation"].values[15, 0] == pytest.approx(fast.std(), rel=1e-6)


def test_the_linear_theory(long):
    # Weights move by a tenth of what changes H: errors and relaxation times agree to a few percent.
    planes = long[1]["planes"]
    leading = planes.sel(plane=~planes["random"])
    variance = leading["predicted_variance"].mean("place") / planes.attrs["epochs"]
    ratio = leading["error"].values / np.sqrt(variance.values)
    assert np.median(ratio) == pytest.approx(1, abs=0.15)  # each to 13 %
    relaxation = leading["relaxation"].values / leading["predicted_relaxation"].mean("place").values
    assert np.median(relaxation) == pytest.approx(1, abs=0.2)
    found = slope([planes], PARAMETERS, fast=True)
    assert 0.4 < found.low < 1.1
    assert 0.9 < found.high < 1.6
    assert np.abs(leading["rate"] / leading["error"]).values.max() > 5


def test_momentum_and_shuffles_are_taken_into_account():
    data, leading = case.dataset(), {}
    for momentum, sampler in (
        ("heavy-ball", "without-replacement"),
        ("nesterov", "without-replacement"),
        ("nesterov", "with-replacement"),
    ):
        planes = analyse(case.trajectory(2000, 0.001, momentum, sampler=sampler), data)["planes"]
        assert planes.attrs["momentum"] == 0.9
        planes = planes.sel(plane=~planes["random"])
        ratio = planes["relaxation"] / planes["predicted_relaxation"].mean("place")
        assert np.median(ratio.values) == pytest.approx(1, abs=0.4)  # whole epochs, of few
        leading[sampler] = planes
    # Shuffles without batch normalisation leave little noise, and that is what is predicted.
    quiet, loud = leading["without-replacement"], leading["with-replacement"]
    assert quiet["predicted_variance"].mean() < 0.2 * loud["predicted_variance"].mean()
    assert quiet["deviation"].mean() < 0.6 * loud["deviation"].mean()


def test_weights_that_never_move():
    trajectory = case.trajectory(2000, 0.005).copy(deep=True)
    trajectory["weights"].values[:] = trajectory["weights"].values[0]
    planes = analyse(trajectory)["planes"]
    assert (planes["rate"].values == 0).all()
    assert (planes["error"].values == 0).all()
    assert np.isnan(planes["frequency"].values).all()
    assert np.isnan(planes["relaxation"].values).all()
    assert not detections([planes], PARAMETERS)[0].stationary.any()


def test_runs_too_short_for_a_steady_state_have_no_prediction():
    trajectory = case.trajectory(300, 1e-6)
    parts = analyse(trajectory)
    assert np.isnan(parts["planes"]["predicted"].values).all()
    assert np.isnan(parts["places"]["curvature"].values).all()
    assert np.isfinite(parts["planes"]["rate"].values).all()
    with pytest.raises(LimitcyclesError, match="90 epochs after the transient"):
        analyse(case.trajectory(99, 0.005))


@pytest.mark.parametrize("sampler", ["without-replacement", "with-replacement"])
@pytest.mark.parametrize("batch", [128, 64])
def test_fewer_images_than_two_batches(batch, sampler):
    data = xr.concat([case.dataset(0), case.dataset(1).isel(sample=slice(30))], "sample")
    trajectory = case.trajectory(300, 0.005)
    settings = case.run(300, 0.005, sampler=sampler, batch_size=batch)
    words = f"100 images are fewer than two batches of {batch}, .* lower training.batch_size"
    with pytest.raises(LimitcyclesError, match=words):
        analyse(trajectory.assign_attrs(settings=json.dumps(settings)), data)
    settings["training"]["batch_size"] = 50
    module.Sight(trajectory, data, settings, 0.005, 0).batches()


@pytest.mark.parametrize("sampler", ["full-batch", "gaussian"])
def test_controls_with_their_own_noise(sampler):
    # As if these samplers had made the trajectory: what is predicted depends on their name alone.
    settings = case.run(2000, 0.005, sampler=sampler)
    sight = module.Sight(case.trajectory(2000, 0.005), case.dataset(), settings, 0.005, 0)
    place = module.Place(sight, 2000)
    rates, variances, captured = place.rates(module._planes(place.leading, 6, 5, 0)[1][:3])
    assert (captured > 0.99).all()
    assert place.noise.last is None
    if sampler == "full-batch":
        assert (rates == 0).all()
        assert (variances == 0).all()
        assert np.isnan(place.commutator())
    else:
        assert (variances > 0).all()
        assert place.commutator() > 0.01


def test_batch_normalisation_leaves_noise_in_a_shuffled_epoch(monkeypatch):
    torch.manual_seed(0)
    normed = {"normed": lambda: networks.fully_connected(16, 8, 3)}
    monkeypatch.setattr(networks, "BUILDERS", networks.BUILDERS | normed)
    settings = case.run(200, 0.005) | {"network": {"builder": "normed", "options": {}}}
    trajectory = case.trajectory(200, 0.005)
    sight = module.Sight(trajectory, case.dataset(), settings, 0.005, 0)
    modes = np.eye(len(sight.engine.weights))[:5]
    found = curvature.noise(
        sight.engine, modes, np.random.default_rng(0), replacement=False, batches=4000,
        passes=1000, last=1000,
    )  # fmt: skip
    assert np.trace(found.rest) > 0.02 * np.trace(found.diffusion)
    assert found.last is not None


def test_another_optimiser_than_sgd_is_told_and_gets_no_prediction():
    trajectory, data = case.trajectory(150, 0.005), case.dataset()
    settings = json.loads(trajectory.attrs["settings"])
    settings["training"]["optimiser"] = {"kind": "adam", "options": {}}
    with pytest.raises(LimitcyclesError, match="for SGD, and its optimiser is adam; take"):
        analyse(trajectory.assign_attrs(settings=json.dumps(settings)), data)
