"""The analysis of autocorrelations on series whose nulls are known, and on a stored trajectory."""

import json

import numpy as np
import pytest
import xarray as xr
from helpers import one_thread, settings_read  # noqa: F401

from limitcycles.judging import measuring
from limitcycles.papers.chaudhari2018.autocorrelation import measure as autocorrelation
from limitcycles.statistics import nulls
from limitcycles.statistics.autocorrelation import autocorrelation as by_fft
from limitcycles.statistics.blocks import SeriesError
from limitcycles.storage import store
from limitcycles.training.trajectories.reading import open_trajectory
from limitcycles.training.trajectories.recording import record

EPOCHS, COUNT = 1000, 60
SETTINGS = settings_read("autocorrelation")


def examine(weights, seed=0, level=SETTINGS["level"]):
    return autocorrelation.examine(weights, seed=seed, level=level)


@pytest.fixture(scope="module")
def kinds():
    """What the analysis says of each kind of series, by its name."""
    cycle = np.cos(np.linspace(0, 14 * np.pi, EPOCHS) + np.arange(COUNT)[:, None])
    noise = nulls.simulate("white-noise", (COUNT, EPOCHS), 1)
    series = {
        "cycle": cycle + 0.5 * noise,
        "walk": nulls.simulate("random-walk", (COUNT, EPOCHS), 2),
        "relaxing": nulls.simulate("ornstein-uhlenbeck", (COUNT, EPOCHS), 3, phi=0.95),
        "epoch-noise": nulls.simulate("epoch-noise", (COUNT, EPOCHS), 4, phi=0.97, theta=-0.8),
        "white": noise,
    }
    weights = np.concatenate(list(series.values())).T
    parts = examine(weights)
    names = np.repeat(list(series), COUNT)
    return {n: parts["weights"].isel(weight=names == n) for n in series}, parts, weights


def leaves(kinds, name, null, kind="reach"):
    return float((kinds[0][name][kind].sel(null=null) > 1).mean())


@pytest.mark.parametrize("kind", ["reach", "sum_reach"])
def test_series_stay_within_their_own_null_and_leave_others(kinds, kind):
    for name, null in (
        ("walk", "random-walk"),
        ("relaxing", "ornstein-uhlenbeck"),
        ("epoch-noise", "epoch-noise"),
        ("white", "ornstein-uhlenbeck"),
    ):
        assert leaves(kinds, name, null, kind) <= 0.1
    if kind == "reach":  # cycles of some periods have the sum of |r| that walks have
        assert leaves(kinds, "cycle", "random-walk") >= 0.9
    for name, null in (
        ("cycle", "ornstein-uhlenbeck"),
        ("cycle", "epoch-noise"),
        ("relaxing", "random-walk"),
        ("white", "random-walk"),
    ):
        assert leaves(kinds, name, null, kind) >= 0.9


def test_white_noise_bands_tell_white_noise_only(kinds):
    found, _, _ = kinds
    assert found["white"]["leaves_band"].mean() <= 0.05
    assert found["white"]["outside"].mean() < 2
    for name in ("walk", "cycle", "relaxing"):
        assert found[name]["leaves_band"].mean() > 0.9


def test_second_looks(kinds):
    found, _, _ = kinds
    assert (np.abs(found["walk"]["variance_ratio_z"]) < 2.576).mean() > 0.9
    assert (found["white"]["variance_ratio_z"] < -5).all()
    assert found["white"]["same_halves"].mean() > 0.9
    assert found["walk"]["same_halves"].mean() < 0.1
    times = found["relaxing"]["relaxation"].sel(null="ornstein-uhlenbeck")
    assert float(times.median()) == pytest.approx(-1 / np.log(0.95), rel=0.2)
    assert (found["walk"]["relaxation"].sel(null="random-walk") == np.inf).all()
    assert float(found["epoch-noise"]["theta"].median()) == pytest.approx(-0.8, abs=0.1)


def test_what_is_drawn(kinds):
    _, parts, weights = kinds
    lags, by_weight = parts["lags"], parts["weights"]
    r = by_fft(weights.T, lags["lag"].values)
    np.testing.assert_allclose(lags["r_quantile"].sel(quantile=0.5), np.median(r, 0), atol=1e-6)
    np.testing.assert_allclose(by_weight["sum"], np.abs(r[:, 1:]).sum(1), rtol=1e-5)
    chosen = lags["example_weight"].values
    np.testing.assert_allclose(lags["example_r"], r[chosen], atol=1e-6)
    assert chosen[0] == 0
    assert chosen[-1] == weights.shape[1] - 1
    # Inside what is drawn means reach at most 1.
    inside = (lags["example_r"] >= lags["example_low"]) & (
        lags["example_r"] <= lags["example_high"]
    )
    said = by_weight["reach"].sel(weight=chosen) <= 1
    np.testing.assert_array_equal(inside.all("lag").transpose("null", "example"), said)
    walk = lags["example_low"].sel(null="random-walk")
    np.testing.assert_array_equal(walk, np.broadcast_to(lags["walk_low"], walk.shape))
    for part in parts.values():
        assert part.nbytes < 1e6


def test_still_weights_are_left_out_and_seeds_fix_the_rest():
    weights = nulls.simulate("random-walk", (5, 300), 5).T.astype(np.float32)
    weights[:, [0, 3]] = 2.0
    first, second, other = (examine(weights, seed=s)["weights"] for s in (0, 0, 1))
    assert first["weight"].values.tolist() == [1, 2, 4]
    assert first.attrs["still"] == 2
    xr.testing.assert_identical(first, second)
    assert (first["reach"] != other["reach"]).all()
    with pytest.raises(SeriesError, match="no weight moves"):
        examine(np.ones((300, 2), np.float32))


def test_odd_series_have_finite_results():
    k = np.arange(1801)
    odd = {
        "one step": k > 900,
        "one step at the end": k > 1799,
        "one step at the start": k < 1,
        "one outlier": k == 555,
        "decay": np.exp(-k / 50),
        "line": k * 1e-3,
        "growth": np.exp(k / 300),
        "alternating": k % 2,
        "rounding": 1 + 1e-7 * (k // 600),
    }
    weights = np.stack(list(odd.values()), axis=1).astype(np.float32)
    with np.errstate(all="raise", under="ignore"):
        found = examine(weights)["weights"]
    for name in ("reach", "sum_reach", "sum", "outside"):
        assert np.isfinite(found[name]).all()
    # A line has the r of a random walk: what drifts after a change of the rate is no cycle.
    assert (found["reach"][:2, list(odd).index("line")] < 1).all()


def test_of_a_stored_trajectory(tmp_path):
    rng = np.random.default_rng(0)
    dataset = xr.Dataset(
        {
            "train_image": (
                ("sample", "channel", "row", "column"),
                rng.random((40, 1, 3, 3), dtype=np.float32),
            ),
            "train_label": ("sample", rng.integers(0, 2, 40)),
        },
        attrs={"sha256": "made up"},
    )
    options = {"inputs": 9, "hidden": 2, "classes": 2}
    run = {
        "network": {"builder": "fc", "options": options, "weights": 9 * 2 + 2 + 4 + 2 * 2 + 2},
        "dataset": {},
        "training": {
            "epochs": 250,
            "batch_size": 20,
            "learning_rate": {"start": 0.1, "factor": 0.1, "at": [0.2]},
            "optimiser": {"kind": "sgd", "options": {"momentum": 0.9}},
            "weight_decay": 0.0,
            "sampler": "without-replacement",
        },
    }
    path = record(dataset, run, 0, tmp_path / "t", name="made-up")
    trajectory = open_trajectory(path)
    parts = measuring.of_trajectory("autocorrelation", trajectory, dataset, SETTINGS)
    attrs = parts["weights"].attrs
    assert (attrs["trajectory"], attrs["seed"], attrs["epochs"]) == ("made-up", 0, 201)
    after = json.loads(trajectory.attrs["settings"])["training"]["learning_rate"]["at"][0] * 250
    weights = trajectory["weights"].values[int(after) :]
    assert attrs["still"] + parts["weights"].sizes["weight"] == weights.shape[1]
    again = examine(weights, autocorrelation.stream(0, "autocorrelation"))
    np.testing.assert_array_equal(again["weights"]["reach"], parts["weights"]["reach"])
    store.save_parts(parts, tmp_path / "a")
    loaded = store.load_parts(tmp_path / "a")
    np.testing.assert_array_equal(loaded["lags"]["r_quantile"], parts["lags"]["r_quantile"])
    assert loaded["weights"].attrs["walk_doubt"] == attrs["walk_doubt"]


def test_bands_and_envelopes_have_the_level_of_the_rule(kinds):
    some = kinds[2][:, :8]
    strict, lax = (examine(some, level=level)["weights"] for level in (0.99, 0.9))
    assert (strict.attrs["level"], lax.attrs["level"]) == (0.99, 0.9)
    assert lax.attrs["band"] < strict.attrs["band"]
    assert (lax["reach"] > strict["reach"]).mean() > 0.9
