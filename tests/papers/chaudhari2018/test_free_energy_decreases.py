"""The verdict on Theorem 5 from made-up measurements."""

import pytest
from free_energies import made_up
from helpers import Theory, misbehaved

from limitcycles.judging.result import Verdict

CLAIM = Theory("free-energy-decreases")
decide = CLAIM.judge


def changed(name, place, value, part="steps") -> dict:
    measured = made_up()
    measured[part][name].values[place] = value
    return measured


def test_reproduced():
    result = decide(made_up())
    assert result["verdict"] == Verdict.REPRODUCED
    assert [a["agrees"] for a in result["arms"]] == [True] * 6
    assert all(c["passed"] for c in result["controls"])
    assert all(c["holds"] for c in result["checks"])
    assert result["statistic"]["paper"] == 0
    assert result["statistic"]["value"] < 1e-12


@pytest.mark.parametrize(
    ("place", "value"),
    [((1, 2, 20), 1.0), ((1, 2, 39), 1.1e-6), ((1, 0, 5), 0.9)],
    ids=["rises", "does not end at zero", "rises on a coarse grid"],
)
def test_one_system_that_fails(place, value):
    result = decide(changed("free_energy", place, value))
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert result["caveat"].endswith("not for example-19")


def test_a_tiny_increase_is_one_and_rounding_is_none():
    for size, agrees in ((2e-10, False), (0.5e-10, True)):
        measured = made_up()
        F = measured["steps"]["free_energy"].values
        F[1, :, 30] = F[1, :, 29] + size
        assert decide(measured)["arms"][1]["agrees"] == agrees


def test_contradicted_where_it_rises_clearly_on_every_system():
    measured = made_up()
    F = measured["steps"]["free_energy"].values
    F[:, :, 5] = F[:, :, 4] + 0.002
    assert decide(measured)["verdict"] == Verdict.CONTRADICTED
    F[0, :, 5] = F[0, :, 4] + 0.0005
    assert decide(measured)["verdict"] == Verdict.NOT_REPRODUCED


@pytest.mark.parametrize("wrong", ["sum_free_energy", "free_energy", "shifted_free_energy"])
def test_controls_that_misbehave_decide(wrong):
    measured = made_up()
    if wrong == "shifted_free_energy":
        measured["steps"][wrong][2] = measured["steps"]["free_energy"][2]
    else:
        measured["gaussian"][wrong].values[-1] = 1e-5
    assert misbehaved(decide(measured))


@pytest.mark.parametrize(
    ("check", "name", "value"),
    [(0, "closed_free_energy", 0.02), (1, "fisher", 2.1), (2, "free_energy", 0.95)],
)
def test_second_methods_that_disagree_are_shown(check, name, value):
    arm = list(CLAIM.entry["arms"]).index("linear")
    place = (arm, 2, -1) if check == 0 else (arm, 2, 0)
    result = decide(changed(name, place, value))
    assert not result["checks"][check]["holds"]


def test_charts_are_drawn_from_the_measurement():
    CLAIM.charts(made_up())
