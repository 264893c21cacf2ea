"""The verdicts on the covariance of mini-batch gradients from made-up measurements."""

import numpy as np
import pytest
import xarray as xr
from helpers import Theory, misbehaved

from limitcycles.judging.result import Verdict

SAMPLINGS = ("with-replacement", "without-replacement")
CLAIMS = [Theory(f"noise-covariance-{sampling}") for sampling in SAMPLINGS]
SIZES = ["1", "8", "32", "128", "last"]


def with_interval(network: xr.Dataset) -> xr.Dataset:
    """Ends on the log scale, ratio · e^{± half/ratio}; linear it is ratio ± half."""
    relative = network["half"] / network["ratio"]
    low, high = (network["ratio"] * np.exp(sign * relative) for sign in (-1, 1))
    return network.assign(low=low, high=high)


def measured(**changes) -> dict[str, xr.Dataset]:
    """All as the paper claims; `changes` are {name: {size: value}}, of both samplings."""
    ratio = np.tile(np.linspace(0.99, 1.01, 5), (2, 1))
    values = {"ratio": ratio, "half": np.full((2, 5), 0.02)}
    values |= {name: np.full((2, 5), 0.5) for name in ("ratio_p", "distance_p")}
    values |= {"distance": np.full((2, 5), 0.05), "draws": np.full((2, 5), 1000)}
    values |= {"envelope_low": np.full((2, 5), 0.03), "envelope_high": np.full((2, 5), 0.08)}
    values["batch"] = np.array([[1, 8, 32, 128, 200], [1, 8, 32, 128, 100]])
    network = xr.Dataset(
        {name: (("sampling", "size"), value) for name, value in values.items()},
        coords={"sampling": list(SAMPLINGS), "size": SIZES},
        attrs={
            "samples": 200,
            "weights": 917,
            "train_error": 4.0,
            "level": 0.95,
            "replications": 100,
            "full_batch_draws": 100,
            "directions": 4.0,
        },
    )
    network = with_interval(network)
    control = {"ratio": [0.5, 2.0], "low": [0.48, 1.9], "high": [0.52, 2.1], "batch": [100, 100]}
    control |= {"distance": [0.5, 1.0], "envelope_low": [0.03] * 2, "envelope_high": [0.08] * 2}
    network = network.assign(
        {f"control_{name}": ("sampling", value) for name, value in control.items()}
    ).assign(full_batch_ratio=1e-18)
    closed = network[[name for name in control if name != "batch"]].isel(size=[2] * 20)
    closed = closed.rename(size="repetition").drop_vars("repetition").copy(deep=True)
    closed["formula_error"] = ("sampling", [1e-16] * 2)
    enumeration = xr.Dataset(
        {
            "error": (("sampling", "batch"), np.full((2, 3), 1e-16)),
            "other": (("sampling", "batch"), [[0.0, 0.2, 0.4]] * 2),
        },
        coords={"sampling": list(SAMPLINGS), "batch": [1, 2, 3]},
        attrs={"samples": 6, "weights": 3},
    )
    for name, by_size in changes.items():
        for size, value in by_size.items():
            network[name].values[:, SIZES.index(size)] = value
    network = with_interval(network)
    return {"network": network, "closed_form": closed, "enumeration": enumeration}


def decide(found, claim=CLAIMS[0]) -> dict:
    return claim.judge(found)


@pytest.mark.parametrize("claim", CLAIMS)
def test_reproduced(claim):
    result = claim.judge(measured())
    assert result["verdict"] == Verdict.REPRODUCED
    assert result["caveat"] is None
    assert [a["agrees"] for a in result["arms"]] == [True, True]
    assert [c["passed"] for c in result["controls"]] == [True, True]
    assert all(c["holds"] for c in result["checks"])
    ratios = [s for s in result["arms"][0]["statistics"] if s["paper"] == 1]
    last = "100" if claim is CLAIMS[1] else "200"
    assert {s["name"].rsplit(" ", 1)[1] for s in ratios} == {"1", "8", "32", "128", last}
    assert result["statistic"]["value"] in (0.99, 1.01)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ratio": {"32": 1.021}}, "b = 32: the interval of the ratio misses 1 by 0.001"),
        ({"ratio": {"32": 0.979}}, "b = 32: the interval of the ratio misses 1 by 0.001"),
        ({"half": {"32": 0.11}}, "b = 32: its half-width is 0.11"),
        ({"distance": {"32": 0.09}}, "lies above its envelope"),
        ({"distance": {"32": 0.02}}, "lies below its envelope"),
    ],
)
def test_one_size_that_fails_is_a_caveat(change, words):
    result = decide(measured(**change))
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert words in result["caveat"]
    assert [a["agrees"] for a in result["arms"]] == [False, True]


def test_chance_explains_one_miss_and_not_three():
    one = decide(measured(distance={"1": 0.02}))
    assert one["checks"][0]["holds"]
    assert "by chance" in one["caveat"]
    three = decide(measured(distance={"1": 0.02, "8": 0.09, "32": 0.09}))
    assert three["verdict"] == Verdict.WITH_CAVEAT
    assert not three["checks"][0]["holds"]
    assert "by chance" not in three["caveat"]


def test_wide_intervals_say_nothing():
    result = decide(measured(half=dict.fromkeys(SIZES, 0.06)))
    assert result["verdict"] == Verdict.NOT_REPRODUCED
    assert not next(c for c in result["checks"] if c["name"] == "enough draws")["holds"]


def test_contradicted_where_every_size_misses_by_far():
    found = measured()
    found["network"]["ratio"] += 0.1
    found["network"] = with_interval(found["network"])
    assert decide(found)["verdict"] == Verdict.CONTRADICTED
    found["network"]["half"].values[:, 0] = 0.05
    found["network"] = with_interval(found["network"])
    assert decide(found)["verdict"] == Verdict.NOT_REPRODUCED


def test_the_linear_interval_decides_and_the_log_scale_is_shown_beside():
    # 0.98 ± 0.0201 holds 1; 0.98 e^{±0.0201/0.98} = [0.96, 1.0003] too. 1.02 ± 0.0201 holds it,
    # 1.02 e^{−0.0201/1.02} = 1.0001 does not.
    for ratio, differs in ((0.98, False), (1.02, True)):
        result = decide(measured(ratio={"32": ratio}, half={"32": 0.0201}))
        third = next(c for c in result["checks"] if c["name"].startswith("third rule"))
        assert third["holds"] is not differs
        words = "b = 32: another answer by the interval on the log scale"
        assert result["caveat"] == (words if differs else None)
        assert [a["agrees"] for a in result["arms"]] == [True, True]
        shown = next(s for s in result["arms"][0]["statistics"] if s["name"].endswith("b = 32"))
        assert shown["interval"][0] * shown["interval"][1] == pytest.approx(ratio**2)
        assert shown["interval_scale"] == "log"


def test_noise_of_the_full_batch_counts_without_replacement_only():
    found = measured()
    found["network"]["full_batch_ratio"] = 1e-9
    assert decide(found, CLAIMS[0])["verdict"] == Verdict.REPRODUCED
    result = decide(found, CLAIMS[1])
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert "b = N" in result["caveat"]


def test_the_second_rule_takes_the_verdict_to_a_caveat_at_best():
    found = measured()
    found["enumeration"]["error"].values[:, 1] = 2e-10
    result = decide(found)
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert [a["agrees"] for a in result["arms"]] == [True, False]


def fooled(found):
    for name in ("ratio", "low", "high", "distance"):
        found["network"][f"control_{name}"] = found["network"][name].isel(size=2)


def wrong_formula(found):
    found["closed_form"]["formula_error"] += 1e-3


def few_repetitions(found):
    found["closed_form"]["distance"].values[:, :8] = 0.2  # 12 of 20 are left


@pytest.mark.parametrize("misbehave", [fooled, wrong_formula, few_repetitions])
def test_controls_that_misbehave_decide(misbehave):
    found = measured()
    misbehave(found)
    assert misbehaved(decide(found))


def test_a_few_repetitions_of_the_control_may_miss():
    found = measured()
    found["closed_form"]["distance"].values[:, :4] = 0.2
    assert decide(found)["verdict"] == Verdict.REPRODUCED


@pytest.mark.parametrize("claim", CLAIMS)
def test_charts_are_drawn_from_the_measurement(claim):
    drawn = claim.charts(measured())
    assert "5 of 5 batch sizes lie inside" in drawn["matrix-distance"]["description"]
