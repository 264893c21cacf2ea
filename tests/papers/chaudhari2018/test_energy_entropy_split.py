"""The verdict on (11) from made-up measurements."""

import numpy as np
import pytest
from free_energies import CELLS, made_up
from helpers import Theory, misbehaved

from limitcycles.judging.result import Verdict
from limitcycles.papers.chaudhari2018.energy_entropy_split.rule import spread

CLAIM = Theory("energy-entropy-split")
decide = CLAIM.judge


def test_spread_by_hand():
    F, energy, entropy = np.array([4.0, 2.0]), np.array([5.0, 3.5]), np.array([0.0, 1.0])
    assert spread(F, energy, entropy) == pytest.approx((-0.5 + 1) / 4)


def test_reproduced():
    result = decide(made_up())
    assert result["verdict"] == Verdict.REPRODUCED
    assert all(c["passed"] for c in result["controls"])
    assert [c["holds"] for c in result["checks"]] == [True, True]
    _, closed, power = result["arms"][0]["statistics"]
    assert closed["value"] == pytest.approx(0.1 / CELLS.min() ** 2, rel=1e-6)
    assert power["value"] == pytest.approx(2, abs=1e-6)
    assert result["controls"][1]["name"].endswith("linear, varying-diagonal, varying-tensor")


def test_first_rule_fails():
    measured = made_up()
    measured["steps"]["energy"].values[1, 2, 3] += 2e-6
    result = decide(measured)
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert result["caveat"] == (
        "holds for wells, rotation-varying, linear, varying-diagonal, varying-tensor; "
        "not for example-19"
    )


def test_second_rule_fails_where_the_error_does_not_fall_with_the_grid():
    measured = made_up()
    measured["steps"]["closed_energy"].values[1, 2, 0] += 0.01
    result = decide(measured)
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert "the first rule holds for example-19 too" in result["caveat"]
    assert not result["checks"][1]["holds"]


def test_an_error_of_rounding_needs_no_order():
    measured = made_up()
    measured["steps"]["closed_energy"][0] = measured["steps"]["energy"][0]
    result = decide(measured)
    assert result["verdict"] == Verdict.REPRODUCED
    assert result["arms"][0]["statistics"][2]["value"] is None


def test_contradicted_where_it_is_clear_on_every_system():
    measured = made_up()
    measured["steps"]["energy"].values[..., 0] += 0.02
    assert decide(measured)["verdict"] == Verdict.CONTRADICTED
    measured["steps"]["energy"].values[0, :, 0] -= 0.015
    assert decide(measured)["verdict"] == Verdict.NOT_REPRODUCED


@pytest.mark.parametrize("wrong", ["sum_free_energy", "loss"])
def test_controls_that_misbehave_decide(wrong):
    measured = made_up()
    if wrong == "loss":
        measured["steps"]["loss_energy"][3] = measured["steps"]["energy"][3]
    else:
        measured["gaussian"][wrong].values[3] += 1e-5
    assert misbehaved(decide(measured))


def test_charts_are_drawn_from_the_measurement():
    CLAIM.charts(made_up())
