"""The analysis of increments on made-up trajectories."""

import json

import numpy as np
import pytest
import xarray as xr
from helpers import settings_read
from scipy import fft

from limitcycles.judging import measuring
from limitcycles.papers.chaudhari2018.increment_spectrum import measure as increments
from limitcycles.statistics import nulls
from limitcycles.storage.files import StorageError

EPOCHS, FIRST = 1000, 100
SETTINGS = settings_read("increment-spectrum")


def measure(stored, **changes):
    return measuring.of_trajectory("increment-spectrum", stored, xr.Dataset(), SETTINGS | changes)


def trajectory(weights: np.ndarray) -> xr.Dataset:
    """A store of `weights` (epoch, weight), as far as analyses read it."""
    weights = weights.astype(np.float32)
    training = {"epochs": len(weights) - 1, "learning_rate": {"at": [0.05, FIRST / EPOCHS]}}
    return xr.Dataset(
        {"weights": (("epoch", "weight"), weights)},
        attrs={"run": "made-up", "seed": 3, "settings": json.dumps({"training": training})},
    )


def weights(seed=0, epochs=EPOCHS + 1):
    """Random walks of several sizes, anti-correlated ones, one that jumps once, one that rests."""
    rng = np.random.default_rng(seed)
    walks = np.cumsum(rng.standard_normal((epochs, 30)), axis=0) * np.geomspace(0.1, 10, 30)
    noise = rng.standard_normal((epochs + 1, 10))
    anti = np.cumsum(noise[1:] - 0.8 * noise[:-1], axis=0)
    jump = np.where(np.arange(epochs) < 600, 1.0, 2.0)[:, None]
    found = np.concatenate([walks, anti, jump, np.full((epochs, 1), 0.3)], axis=1)
    found[:FIRST] += 100 * rng.standard_normal(found[:FIRST].shape)  # not to be seen
    return found


@pytest.fixture(scope="module")
def parts():
    return measure(trajectory(weights()))


def test_only_what_comes_after_the_transient_counts(parts):
    for part in parts.values():
        assert (part.attrs["first_epoch"], part.attrs["increments"]) == (100, 900)
        assert (part.attrs["trajectory"], part.attrs["seed"]) == ("made-up", 3)
    mean = parts["multitaper"]["mean"]
    y = np.diff(weights()[FIRST:, :-1], axis=0)
    total = float((mean * np.gradient(mean["frequency"])).sum())
    assert total == pytest.approx(y.var(0).mean(), rel=0.15)


def test_ratios_are_those_of_fourier_sums(parts):
    power = np.abs(fft.fft(np.diff(weights()[FIRST:], axis=0), axis=0))[1:451, :41] ** 2
    low, middle, high = power[:9].mean(0), power[9:-45].mean(0), power[-45:].mean(0)
    ratio = parts["weights"]["ratio"].sel(look="periodogram")[:41]
    assert ratio.sel(end="low").values == pytest.approx(np.log(low / middle), abs=1e-3)
    assert ratio.sel(end="high").values == pytest.approx(np.log(high / middle), abs=1e-3)


def test_weights_that_rest_have_no_numbers(parts):
    found = parts["weights"]
    assert found["moving"].values.tolist() == [True] * 41 + [False]
    assert not found["stationary"][-1]
    for name in ("ratio", "envelope_low", "envelope_high", "phi", "theta"):
        missing = np.isnan(found[name].transpose("weight", ...).values.reshape(42, -1))
        assert missing[-1].all(), name
        assert not missing[:-1].any(), name


def test_walks_lie_in_their_envelopes_and_other_noise_does_not(parts):
    found = parts["weights"].sel(look="periodogram")
    high = found["ratio"].sel(end="high")
    walk = found.sel(null="random-walk", end="high")
    assert (high[:30] < walk["envelope_high"][:30]).mean() > 0.8
    assert (high[30:40] > walk["envelope_high"][30:40]).all()
    fitted = found.sel(null="epoch-noise", end="high")
    assert (high[30:40] < fitted["envelope_high"][30:40]).mean() > 0.6
    assert fitted["theta"][30:40].values == pytest.approx(-0.8, abs=0.15)


def test_relative_densities_count_all_weights_alike():
    # Scaling single weights changes the mean over weights, not that of the relative densities.
    scaled = weights()
    scaled[FIRST:, 3] *= 1000
    first, second = (measure(trajectory(w))["multitaper"] for w in (weights(), scaled))
    for name in ("relative_mean", "relative_quantile", "null_mean"):
        assert second[name].values == pytest.approx(first[name].values, rel=1e-3), name
    assert (second["mean"] > 10 * first["mean"]).all()


def test_flat_spectra_are_two_and_nulls_say_so():
    walks = np.cumsum(np.random.default_rng(1).standard_normal((EPOCHS + 1, 60)), axis=0)
    parts = measure(trajectory(walks))
    spectrum, smooth = parts["multitaper"], parts["welch"]
    assert spectrum["relative_mean"].mean() == pytest.approx(2, abs=0.1)
    assert smooth["relative_mean"][2:-1].mean() == pytest.approx(2, abs=0.1)
    inside = (spectrum["relative_low"] < 2) & (spectrum["relative_high"] > 2)
    assert inside.mean() > 0.8
    assert spectrum["null_mean"].sel(null="random-walk").values == pytest.approx(2, abs=0.02)


def test_halves_of_noise_are_the_same_and_of_walks_are_not():
    rng = np.random.default_rng(2)
    noise, walks = rng.standard_normal((2, EPOCHS + 1, 8))
    both = np.concatenate([noise, np.cumsum(walks, axis=0)], axis=1)
    found = measure(trajectory(both))["weights"]
    assert found["stationary"][:8].mean() > 0.5
    assert not found["stationary"][8:].any()


@pytest.mark.parametrize("moving", [0, 1])
def test_nearly_nothing_moves(moving):
    still = np.ones((EPOCHS + 1, 3))
    still[:, :moving] = weights()[:, :moving]
    parts = measure(trajectory(still))
    assert int(parts["weights"]["moving"].sum()) == moving
    assert parts["weights"]["ratio"].notnull().sum() == 4 * moving
    assert "frequency" not in parts["multitaper"].dims


def test_equal_calls_give_equal_numbers_and_the_seed_counts(parts):
    series = weights()[FIRST:, :5].T
    first, second = (increments.against_nulls(series, 7, SETTINGS)[0] for _ in range(2))
    assert first.identical(second)
    other, fits = increments.against_nulls(series, 8, SETTINGS)
    assert not first["envelope_low"].equals(other["envelope_low"])
    assert first["ratio"].equals(other["ratio"])
    assert isinstance(fits["epoch-noise"], nulls.Fit)


def test_damage_is_told():
    store = trajectory(weights())
    store["weights"].values[500, 7] = np.nan
    with pytest.raises(StorageError, match="row 500 of `weights` is missing"):
        measure(store)


def test_a_steady_drift_has_no_spectrum_and_spoils_none():
    drifting = weights()
    drifting[:, 0] = np.arange(EPOCHS + 1)  # exact in float32: equal increments
    parts = measure(trajectory(drifting))
    for name in ("multitaper", "welch"):
        assert np.isfinite(parts[name]["relative_mean"].values).all()
    assert np.isfinite(parts["multitaper"]["null_mean"].values).all()
    ratio = parts["weights"]["ratio"]
    assert np.isfinite(ratio.isel(weight=parts["weights"]["moving"].values)).all()
    assert not bool(parts["weights"]["moving"][0])


def test_level_and_bands_are_those_of_the_rule(parts):
    other = measure(trajectory(weights()), level=0.5, low_percent=10, high_percent=20)
    narrower, bands = other["weights"], ("low_percent", "high_percent")
    assert [narrower.attrs[key] for key in ("level", *bands)] == [0.5, 10, 20]
    assert (narrower["ratio"] != parts["weights"]["ratio"]).any()
    widths = [
        (one["envelope_high"] - one["envelope_low"]).median()
        for one in (narrower, parts["weights"])
    ]
    assert widths[0] < widths[1]
