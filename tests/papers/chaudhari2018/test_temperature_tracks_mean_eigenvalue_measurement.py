"""Trained networks that go on with plain SGD at matched temperatures."""

import os
import signal

import numpy as np
import pytest
import small_runs
import torch
from helpers import one_thread, spectrum  # noqa: F401

from limitcycles.papers.chaudhari2018.temperature_tracks_mean_eigenvalue import (
    measure as temperature,
)
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.stopping import StoppedError
from limitcycles.storage import store
from limitcycles.training import constant_rate, sgd

SETTINGS = {"steps": 120, "batch_size": 8, "learning_rate": 0.05}
MEANS = {"wide": 4e-3, "narrow": 1e-3, "plain": 2e-3}


def fc(hidden: int, **options) -> dict:
    return {
        "builder": "fc",
        "options": {"inputs": 64, "hidden": hidden, "classes": 10} | options,
    }


@pytest.fixture(scope="module")
def data():
    return small_runs.digits()


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    specs = {"wide": fc(24), "narrow": fc(6), "plain": fc(6, norm=False)}
    found = {}
    for name, network in specs.items():
        settings = small_runs.run(network) | {"dataset_name": "digits"}
        state = tmp_path_factory.mktemp(name)
        found[name] = sgd.train(data, settings, 0, state, name=name, device="cpu")
    return found


def spectra(runs, **means):
    """Made-up spectra with these mean eigenvalues."""
    found = []
    for name, run in runs.items():
        size, mean = run.sizes["weight"], (MEANS | means)[name]
        values = mean * size * np.array([0.5, 0.25])
        attrs = {"mean_all": mean, "trace": mean * size, "weights": size}
        found.append(spectrum(name, 0, 100, eigenvalue=values, **attrs))
    return found


def measured(runs, data, settings=SETTINGS, **means):
    its = list(runs.values()), spectra(runs, **means)
    return temperature.measure(*its, {"digits": data}, settings, 0, device="cpu")["noise"]


@pytest.fixture(scope="module")
def result(runs, data):
    return measured(runs, data)


def test_what_is_stored(result, runs, tmp_path):
    assert list(result["setting"].values) == list(runs)
    assert tuple(result["group"].values) == temperature.GROUPS
    assert (result.attrs["seed"], result.attrs["steps"], result.attrs["percent"]) == (0, 120, 100)
    assert result.attrs["diverged"] == []
    assert [int(d) for d in result["weights"]] == [r.sizes["weight"] for r in runs.values()]
    for variable in result.data_vars.values():
        assert variable.attrs["units"]
        assert np.isfinite(variable.values).all()
        assert (variable.values > 0).all()
    time = result["learning_rate"] * 120
    np.testing.assert_allclose(result["variance_by_time"] * time, result["variance"])
    store.save(result, tmp_path / "late.zarr.zip")
    loaded = store.load(tmp_path / "late.zarr.zip")
    assert loaded.attrs["diverged"] == []
    assert float(loaded["variance"].sel(setting="narrow", group="matched")) > 0


def test_rates(result):
    matched = result["learning_rate"].sel(group="matched")
    means = [MEANS[name] for name in result["setting"].values]
    np.testing.assert_allclose(result["mean_eigenvalue"].sel(group="matched"), means)
    np.testing.assert_allclose(matched * means, 0.05 * 1e-3)
    equal = result["learning_rate"].sel(group="equal-temperature")
    np.testing.assert_allclose(equal, np.exp(np.log(matched).mean()))
    assert float(matched.max()) == pytest.approx(0.05)


def test_it_is_repeated_to_the_bit_and_depends_on_the_seed_alone(result, runs, data):
    again = measured(runs, data)
    np.testing.assert_array_equal(again["variance"], result["variance"])
    # The mini-batches of a network do not depend on which others there are.
    some = {name: runs[name] for name in ("wide", "narrow")}
    alone = measured(some, data)["variance"].sel(setting="narrow", group="matched")
    assert float(alone) == float(result["variance"].sel(setting="narrow", group="matched"))


def test_equal_mean_eigenvalues_make_the_groups_one(runs, data):
    found = measured(runs, data, wide=1e-3, narrow=1e-3, plain=1e-3)
    for key in ("variance", "variance_by_time", "learning_rate"):
        one, other = (found[key].sel(group=group) for group in temperature.GROUPS)
        np.testing.assert_allclose(one, other, rtol=1e-5)  # the rates differ by rounding


def test_asked_to_end_it_saves_and_goes_on_to_the_same_bits(result, runs, data, tmp_path, capsys):
    """Three times, at steps that are not the first or the last of a descent."""
    its = list(runs.values()), spectra(runs), {"digits": data}, SETTINGS, 0
    true, calls = constant_rate._gradient, []
    reached = []
    for after in (470, 120, 300):  # gradients of this process; 400 are the draws of the first run

        def interrupted(*arguments, after=after):
            calls.append(1)
            if len(calls) == after:
                os.kill(os.getpid(), signal.SIGTERM)
            return true(*arguments)

        calls.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(constant_rate, "_gradient", interrupted)
            with pytest.raises(StoppedError, match="constant rate, seed 0: in step") as caught:
                temperature.measure(*its, device="cpu", state=tmp_path)
        reached.append(str(caught.value))
        assert len(list(tmp_path.glob("checkpoint-*.pt"))) == 1
    capsys.readouterr()
    found = temperature.measure(*its, device="cpu", state=tmp_path)["noise"]
    assert found.identical(result)
    assert len(set(reached)) > 1
    line, bar, *_ = capsys.readouterr().err.splitlines()
    assert line.startswith("constant rate seed 0, continued at step ")
    assert bar.startswith(f"{line}:")


def test_other_settings_do_not_go_on_there(runs, data, tmp_path):
    its = list(runs.values()), spectra(runs), {"digits": data}
    keys = {
        temperature._key(*its, SETTINGS | change, seed, torch.device("cpu"))
        for change, seed in (({}, 0), ({}, 1), ({"steps": 121}, 0))
    }
    other = spectra(runs, wide=2e-3)
    keys.add(temperature._key(its[0], other, its[2], SETTINGS, 0, torch.device("cpu")))
    assert len(keys) == 4


def test_the_run_is_left_as_it_was(runs, data):
    before = {name: run.copy(deep=True) for name, run in runs.items()}
    measured(runs, data)
    for name, run in runs.items():
        assert run.identical(before[name])


def test_a_network_that_diverges_is_named(runs, data, monkeypatch):
    true = constant_rate.F.cross_entropy
    seen = []

    def spoilt(logits, labels):
        seen.append(1)
        loss = true(logits, labels)
        # The last descent of all: "plain" in the group "matched".
        return loss * torch.inf if len(seen) > 3 * (2 * temperature.DRAWS + 240) - 110 else loss

    monkeypatch.setattr(constant_rate.F, "cross_entropy", spoilt)
    found = measured(runs, data)
    assert found.attrs["diverged"] == ["plain, matched"]
    assert found["variance"].sel(setting="plain", group="matched") == np.inf
    assert found["variance_by_time"].sel(setting="plain", group="matched") == np.inf
    assert np.isfinite(found["variance"].values).sum() == 5
    # It stopped at the next look at the weights.
    assert len(seen) < 3 * (2 * temperature.DRAWS + 240) - 110 + 2 * constant_rate.BETWEEN_CHECKS


class TestErrors:
    def test_no_spectrum_of_the_run(self, runs, data):
        some = spectra(runs)[1:]
        with pytest.raises(LimitcyclesError, match="wide of seed 0 has no spectrum"):
            temperature.measure(list(runs.values()), some, {"digits": data}, SETTINGS, 0)

    def test_a_run_of_another_seed(self, runs, data):
        with pytest.raises(LimitcyclesError, match="of seed 1: the run wide of seed 0"):
            temperature.measure(list(runs.values()), spectra(runs), {"digits": data}, SETTINGS, 1)

    def test_no_dataset_of_the_run(self, runs, data):
        with pytest.raises(LimitcyclesError, match="trained on the dataset digits"):
            temperature.measure(list(runs.values()), spectra(runs), {"mnist": data}, SETTINGS, 0)

    def test_a_run_on_augmented_images(self, runs, data):
        run = runs["wide"].copy()
        words = run.attrs["settings"].replace('"epochs"', '"augmentation": {"pad": 1}, "epochs"')
        run.attrs["settings"] = words
        with pytest.raises(LimitcyclesError, match=r"training\.augmentation"):
            temperature.measure([run], spectra(runs), {"digits": data}, SETTINGS, 0)

    def test_no_run_or_no_steps(self, runs, data):
        with pytest.raises(LimitcyclesError, match="no run was given"):
            temperature.measure([], [], {}, SETTINGS, 0)
        with pytest.raises(LimitcyclesError, match=r"constant_rate_sgd\.steps: 3"):
            measured(runs, data, SETTINGS | {"steps": 3})
