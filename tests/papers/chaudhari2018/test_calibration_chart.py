"""The chart of the calibration, from made-up rates."""

import numpy as np
import pytest
import vl_convert
import xarray as xr

from limitcycles.charts import drawing
from limitcycles.judging.evidence import gather
from limitcycles.papers.chaudhari2018.calibration import charts as calibration


def made_up() -> tuple[xr.Dataset, xr.Dataset]:
    names = ["white noise", "random walk", "driven OU"]
    values = {
        "stationary": [1.0, 0.0, 0.99],
        "ungated": [0.052, 0.09, 0.94],
        "found": [0.052, 0.0, 0.93],
        "gated": [0.052, np.nan, 0.94],
        "confirmed": [0.04, np.nan, 0.93],
    }
    columns = {
        f"{kind}{end}": ("process", np.asarray(share) * factor)
        for kind, share in values.items()
        for end, factor in (("", 1), ("_low", 0.8), ("_high", 1.05))
    }
    rates = xr.Dataset(
        columns | {"current": ("process", [False, False, True])},
        coords={"process": names},
        attrs={"runs": 2000, "level": 0.95, "steps": 20000, "strength": 0.12},
    )
    strength = [0.0, 0.12, 0.24]
    power = xr.Dataset(
        {
            f"{kind}{end}": ("strength", np.array([0.05, 0.93, 1]) * factor)
            for kind in ("ungated", "found")
            for end, factor in (("", 1), ("_low", 0.9), ("_high", 1.0))
        }
        | {
            "predicted": ("strength", [0.05, 0.95, 1]),
            "deviations": ("strength", [0.0, 3.77, 7.4]),
        },
        coords={"strength": strength},
        attrs={"runs": 200},
    )
    return rates, power


def drawn(false_alarms=0.05, error=0.01, power=0.9) -> dict:
    """The chart against what a rule asks for."""
    parts = dict(zip(("rates", "power"), made_up(), strict=True))
    asked = {"false_alarms": false_alarms, "error": error, "power": power}
    evidence = gather({}, instruments={"calibration": parts})
    (chart,) = drawing.instrument("calibration", {"rule_parameters": asked}, evidence).values()
    return chart.to_dict()


def test_alarms_and_power_are_drawn():
    spec = drawn()
    svg = vl_convert.vegalite_to_svg(spec)
    for words in ("white noise", "random walk", "asked for: 5 ± 1 %", "asked for: at least 90 %"):
        assert words in svg
    assert "NaN" not in svg
    assert ">driven OU<" not in svg  # no false alarm: it has a current


def test_the_caption_says_the_numbers():
    caption = drawn()["description"]
    assert "“random walk” 0 % pass it, and without it 9 % show a current" in caption
    assert "93.0 % by the interval, 92.0 % if it has to lie outside" in caption
    assert len(caption) < 560


def test_the_power_of_the_rule_is_a_share_of_all_runs():
    rates, _ = made_up()
    driven = rates.sel(process="driven OU").assign_attrs(rates.attrs)
    found = calibration._confirmed(driven)
    assert found["share"] == pytest.approx(100 * 0.93 * 0.99, abs=0.05)
    assert found["low"] < found["share"] < found["high"]
    none = driven.assign(stationary=0.0, confirmed=np.nan)
    assert calibration._confirmed(none)["share"] == 0


def test_what_is_asked_for_can_be_given():
    svg = vl_convert.vegalite_to_svg(drawn(0.04, 0.02, 0.8))
    assert "asked for: 4 ± 2 %" in svg
    assert "asked for: at least 80 %" in svg
