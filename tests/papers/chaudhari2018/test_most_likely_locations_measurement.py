"""Modes and critical points against roots worked out by hand."""

import numpy as np
import pytest
from helpers import one_thread  # noqa: F401
from scipy.optimize import fsolve

from limitcycles.papers.chaudhari2018.most_likely_locations import measure
from limitcycles.theory import refinement


def located(name, cells=96):
    build, box = measure.SYSTEMS[name]
    return measure.locate(build(), box, *refinement.pair(build(), cells, box))


def test_example_19_has_the_known_shift():
    """Zeros of ∇Φ − j by the formula of the paper, from which (±1, 0) are 0.4009 away."""

    def drift(v):
        x, y = v
        e = 0.5 * np.exp((x**2 - 1) ** 2 / 4 + y**2 / 2 - (x**2 + y**2) ** 2 / 4)
        return [-(x**3 - x) - e * y, -y + e * x]

    zero = fsolve(drift, [0.9, 0.4], xtol=1e-12)
    np.testing.assert_allclose(zero, [0.9024, 0.3888], atol=1e-4)
    found = located("example-19")
    shift = np.linalg.norm(zero - [1, 0])
    np.testing.assert_allclose(found["predicted_distance"][:2], shift, rtol=1e-8)
    np.testing.assert_allclose(found["distance"][:2], shift, rtol=0.01)
    assert np.isnan(found["distance"][2])
    h = np.array([5.2, 8.4]) / 96
    spacings = np.linalg.norm((zero - [1, 0]) / h)
    np.testing.assert_allclose(found["spacings"][:2], spacings, rtol=0.01)
    assert found["residual"] < 0.01
    assert found["gradient"] == 0
    assert found["known"] == 1


def test_a_varying_diagonal_has_the_root_of_a_cubic():
    """f' + T D' = x³ − x + 0.8 (x/4 + 1/4): x = −1 and 0.7236."""
    found = located("varying-diagonal")
    roots = np.sort(np.roots([1, 0, -0.8, 0.2]))
    np.testing.assert_allclose(found["predicted"][:2, 0], roots[[0, 2]], atol=1e-9)
    np.testing.assert_allclose(found["mode"][:2, 0], roots[[0, 2]], atol=0.01)
    np.testing.assert_allclose(found["small_noise"][:2, 0], [-1, 1 - 0.8 / 4], atol=1e-12)
    assert found["force"] < 1e-9


def test_predictions_without_a_known_potential_come_from_the_current():
    """Not from the maxima of the density: those of the finer grid agree to a few per cent."""
    found = located("varying-tensor", 128)
    assert found["known"] == 0
    assert found["gradient"] == 1
    both = found["predicted"][:2], found["mode"][:2]
    apart = np.linalg.norm(both[0] - both[1], axis=1)
    assert (apart > 0).all()
    assert (apart < 0.05 * found["predicted_distance"][:2]).all()
    np.testing.assert_allclose(found["predicted"][0] * [-1, 1], found["predicted"][1], atol=1e-3)


@pytest.mark.parametrize("name", ["control", "rotation-constant"])
def test_no_shift(name):
    found = located(name)
    assert (found["predicted_spacings"][:2] < 1e-6).all()
    assert (found["spacings"][:2] < 0.3).all()
    assert (found["force"] > 0.1) == (name == "rotation-constant")


def test_residuals_fall_with_the_grid():
    coarse, fine = (located("rotation-varying", cells) for cells in (64, 128))
    assert fine["residual"] < 0.4 * coarse["residual"]
    assert fine["residual_error"] >= fine["residual"]


def test_the_study_gathers_all_and_refines_what_is_too_coarse(monkeypatch):
    few = {name: measure.SYSTEMS[name] for name in ("example-19", "control")}
    monkeypatch.setattr(measure, "SYSTEMS", few)
    monkeypatch.setattr(measure, "DRAWN", ("example-19",))
    found = measure.measure({"seed": 0, "cells": 64, "paths": 1000, "systems": 3})
    assert found["systems"].attrs["cells"] == measure.LEAST_CELLS
    assert dict(found["systems"].sizes) == {"system": 2, "point": 9, "axis": 2, "which": 3}
    assert int(found["systems"]["critical"].notnull().sum()) == 2 * (3 + 3)
    picture = found["maps"].sel(drawn="example-19")
    area = (picture["x"][1] - picture["x"][0]) * (picture["y"][1] - picture["y"][0])
    assert float(picture["density"].sum() * area) == pytest.approx(1, rel=0.05)
