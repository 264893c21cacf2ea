"""JKO flows on small settings: order one, and the solver's masses against closed forms."""

import numpy as np
import pytest
from helpers import one_thread, settings_read  # noqa: F401
from scipy import stats

from limitcycles.judging import measuring
from limitcycles.papers.chaudhari2018.jko_flow import measure

SETTINGS = settings_read("jko-flow", cells=48)


@pytest.fixture(scope="module")
def parts():
    """The plane with four times fewer cells, and so without its shortest steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "PLANE_CELLS", (16, 18))
        patch.setattr(measure, "PLANE_STEPS", 1)
        patch.setattr(measure, "PLANE_DOUBLED", 1)
        patch.setattr(measure, "_plane", coarse_plane(measure._plane))
        return measuring.of_theory("jko-flow", SETTINGS)


def coarse_plane(plane):
    """No coarser cells than those of the fixture, which are at the limit for the step."""
    return lambda *given, coarser=1, **options: plane(*given, **options)


def test_every_flow_has_its_numbers(parts):
    flows = parts["flows"]
    assert dict(flows.sizes) == {"arm": 3, "step": 5, "time": 2}
    there = np.isfinite(flows["distance"]).all("time").values
    np.testing.assert_array_equal(there[:2], True)
    np.testing.assert_array_equal(there[2], [True] + [False] * 4)
    assert np.isfinite(flows["entropic_change"]).values.tolist() == [False, False, True]
    assert np.isfinite(parts["free"]["distance"]).all()


def test_halving_the_step_halves_the_distance(parts):
    lines = parts["flows"].sel(arm=["line-quadratic", "line-wells"])["distance"].max("time")
    ratio = lines.isel(step=[0, 1]).values / lines.isel(step=[1, 2]).values
    np.testing.assert_allclose(ratio, 2, atol=0.3)
    assert (parts["flows"]["doubled"].max("time").isel(step=0) > 0.1).all()


def test_masses_on_the_line_are_those_of_an_ornstein_uhlenbeck_process():
    found = measure._solved_line(measure.LINES["line-quadratic"], 256)
    bins = np.linspace(*measure.LINE, measure.BINS + 1)
    for time, masses in zip(measure.TIMES, found, strict=True):
        variance = 0.5 + (measure.DEVIATION**2 - 0.5) * np.exp(-2 * time)
        law = stats.norm(measure.START[0] * np.exp(-time), np.sqrt(variance))
        np.testing.assert_allclose(masses, np.diff(law.cdf(bins)), atol=2e-6)


def test_gradients_and_curvatures_are_derivatives():
    x = np.linspace(-2, 2, 9)
    for well in measure.LINES.values():
        h = 1e-5
        slope = (well.loss(x + h) - well.loss(x - h)) / (2 * h)
        bend = (well.gradient(x + h) - well.gradient(x - h)) / (2 * h)
        np.testing.assert_allclose(well.gradient(x), slope, atol=1e-8)
        np.testing.assert_allclose(well.curvature(x), bend, atol=1e-8)


def test_masses_of_a_free_gaussian_are_those_of_its_law():
    found = measure._free_masses()
    law = stats.norm(measure.START[0], np.sqrt(measure.DEVIATION**2 + measure.TIMES[1]))
    bins = np.linspace(*measure.LINE, measure.BINS + 1)
    np.testing.assert_allclose(found[1], np.diff(law.cdf(bins)), atol=1e-14)


def test_merged_cells_keep_their_masses():
    fine = measure._Fine(measure.Grid((0, 0), (1, 1), (8, 12)), np.arange(192.0).reshape(2, 8, 12))
    merged = fine.merged((4, 3))
    assert merged.shape == (2, 4, 3)
    assert merged[1, 2, 1] == fine.masses[1, 4:6, 4:8].sum()
