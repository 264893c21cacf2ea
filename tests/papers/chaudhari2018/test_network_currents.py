"""The verdict on currents of networks from made-up measurements."""

import numpy as np
import pytest
import xarray as xr
from drawing import drawn
from helpers import along, claims, context, misbehaved
from scipy import stats

from limitcycles.charts import data, drawing
from limitcycles.judging.judge import judge
from limitcycles.judging.result import Verdict
from limitcycles.papers.chaudhari2018.network_currents import planes as rule
from limitcycles.papers.chaudhari2018.network_currents import planted

NAME = "network-currents"
ENTRY = claims()[NAME]
PARAMETERS = ENTRY["rule_parameters"]
ARMS = {"plain": "all-plain", "plain-few": "few-plain", "text": "all-nesterov",
        "code": "few-heavy-ball"}  # fmt: skip
NAMES = [f"{a} × {b}" for a in range(1, 7) for b in range(a + 1, 7)] + [
    f"random {i}" for i in range(1, 6)
]


def planes(z=6.0, *, gate=True, slope=1.0, band=1.0, fast=None, seed=0, trajectory="all-plain"):
    """20 planes, the first with a rate of z errors; measured = slope · predicted; error 1e-9."""
    rng = np.random.default_rng(seed)
    size = 1e-9
    wanted = size * np.linspace(-1, 1, 20)
    wanted[0] = size * z
    predicted = np.where(np.arange(20) < 15, wanted / slope, np.nan)

    def rates(centre):
        noise = rng.standard_normal((20, 30))
        noise -= noise.mean(1, keepdims=True)
        noise *= size * np.sqrt(30) / noise.std(1, ddof=1, keepdims=True)
        return centre[:, None] + noise

    batch, fast_batch = rates(wanted), rates(wanted if fast is None else 0 * wanted + size * fast)
    side = ("plane", "direction")
    table = {
        "rate": ("plane", wanted), "error": ("plane", np.full(20, size)),
        "batch_rate": (("plane", "batch"), batch),
        "fast_rate": ("plane", fast_batch.mean(1)), "fast_error": ("plane", np.full(20, size)),
        "fast_batch_rate": (("plane", "batch"), fast_batch),
        "circular_rate": ("plane", wanted),
        "surrogate_deviation": ("plane", np.full(20, band * size)),
        "predicted": (("place", "plane"), np.stack([predicted * f for f in (0.9, 1.0, 1.1)])),
        "predicted_variance": (("place", "plane"), np.full((3, 20), size**2 * 99000)),
        "random": ("plane", np.arange(20) > 14),
        "swept": (("time", "plane"), np.outer(np.arange(1, 151) * 660, wanted)),
        "time": ("time", 1000 + np.arange(1, 151) * 660),
    }  # fmt: skip
    for of in ("", "fast_"):
        for name, value in (("shift", 0.2), ("log_ratio", 0.2)):
            table[f"{of}{name}_low"] = (side, np.full((20, 2), -value))
            table[f"{of}{name}_high"] = (side, np.full((20, 2), value))
    if gate is not True:
        broken = np.full((20, 2), 0.2)
        broken[0 if gate == "first" else slice(None), 1] = 0.6
        table["shift_high"] = (side, broken)
    attrs = {"epochs": 99000, "batches": 30, "trajectory": trajectory, "seed": seed}
    return xr.Dataset(table, {"plane": NAMES, "place": ["start", "middle", "end"]}, attrs)


def rates(runs=2000, **changes) -> xr.Dataset:
    """The study; `changes` are {process: share} of false alarms or of what is found."""
    shares = {"white noise": 0.05, "random walk": np.nan, "reversible OU": 0.045,
              "SGD without replacement": 0.054, "driven OU": 0.93} | changes  # fmt: skip
    gated = np.array(list(shares.values()))
    names = list(shares)
    stationary = np.where(np.isnan(gated), 0.0, 1.0)
    table = {"current": ("process", [name == "driven OU" for name in names]),
             "stationary": ("process", stationary)}  # fmt: skip
    for name, share in (("gated", gated), ("confirmed", gated)):
        table |= {name: ("process", share), f"{name}_low": ("process", share - 0.01),
                  f"{name}_high": ("process", share + 0.01)}  # fmt: skip
    return xr.Dataset(table, {"process": names}, {"runs": runs, "level": 0.95})


def decide(study=None, **arms) -> dict:
    """`arms` by name with _ for -: a list of tables, one a seed; others are not run."""
    analyses = {
        ARMS.get(name.replace("_", "-"), name.replace("_", "-")): [{"planes": t} for t in tables]
        for name, tables in arms.items()
    }
    study = {"rates": rates() if study is None else study}
    return judge(NAME, ENTRY, along(ENTRY, analyses, {"calibration": study}), context())


def all_of(**changed) -> dict:
    """Two seeds of each deciding arm, without a current but for what is `changed`."""
    quiet = {name.replace("-", "_"): [planes(0.5, seed=s) for s in (0, 1)] for name in ARMS}
    return decide(**(quiet | changed))


def pair(z=6.0, **options):
    return [planes(z, seed=s, **options) for s in (0, 1)]


def test_reproduced():
    result = all_of(plain=pair(), plain_few=pair())
    assert result["verdict"] == Verdict.REPRODUCED
    assert all(c["passed"] for c in result["controls"])
    assert result["checks"][0]["holds"]
    by_name = {a["name"]: a for a in result["arms"]}
    assert list(by_name) == list(ARMS)
    assert [by_name[n]["agrees"] for n in ARMS] == [True, True, False, False]
    found = {s["name"]: s for s in by_name["plain"]["statistics"]}
    assert found["planes with a current"]["values"] == [1, 1]
    assert found["planes that pass the gate"]["value"] == 20
    largest = "largest area rate over its error, planes that pass the gate"
    assert found[largest]["value"] == pytest.approx(6)
    assert found["slope of measured on predicted"]["value"] == pytest.approx(1)


@pytest.mark.parametrize("arm", ["plain", "plain_few", "text", "code"])
def test_a_current_in_one_arm_alone(arm):
    result = all_of(**{arm: pair()})
    assert result["verdict"] == Verdict.WITH_CAVEAT
    name = arm.replace("_", "-")
    assert result["caveat"].startswith(f"a current in {name}; none in ")


def test_no_current():
    result = all_of()
    assert result["verdict"] == Verdict.NOT_REPRODUCED
    assert result["caveat"] is None
    assert {a["agrees"] for a in result["arms"]} == {False}


def test_arms_within_no_gate_are_undecided():
    result = all_of(plain=pair(gate=False), plain_few=pair(gate=False))
    assert result["verdict"] == Verdict.NOT_REPRODUCED
    assert result["caveat"] == "undecided, since no plane passes the gate: plain, plain-few"
    plain = result["arms"][0]
    assert plain["agrees"] is None
    assert "slope of measured on predicted" not in [s["name"] for s in plain["statistics"]]
    check = {c["name"]: c for c in result["checks"]}
    assert not check["no current without the gate either"]["holds"]
    assert check["a current in one of the deciding arms, without the slow parts"]["holds"]
    # One plane outside the gate is not counted; the others are.
    result = all_of(plain=pair(gate="first"))
    assert result["arms"][0]["agrees"] is False
    assert result["arms"][0]["statistics"][1]["value"] == 19


def test_both_the_interval_and_the_envelope_have_to_be_left():
    assert all_of(plain=pair(band=3.0))["arms"][0]["agrees"] is False
    # 40 planes of two seeds: t of 29 degrees of freedom at 0.95^(1/40), above the one of 20.
    one, two = (stats.t.ppf((1 + 0.95 ** (1 / m)) / 2, 29) for m in (20, 40))
    between = (one + two) / 2
    assert all_of(plain=pair(between, band=0.1))["arms"][0]["agrees"] is False
    assert all_of(plain=[planes(between, band=0.1)])["arms"][0]["agrees"] is True
    # The envelope has the same correction: normal, ±3.23 deviations for 40 planes.
    z = stats.norm.ppf((1 + 0.95 ** (1 / 40)) / 2)
    assert all_of(plain=pair(6, band=6 / z * 1.01))["arms"][0]["agrees"] is False
    assert all_of(plain=pair(6, band=6 / z * 0.99))["arms"][0]["agrees"] is True


def test_a_slope_that_excludes_1_is_a_caveat():
    result = all_of(plain=pair(30, slope=2.0), plain_few=pair(30))
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert result["caveat"].startswith("the slope on the linear theory's prediction excludes 1 in")
    assert "plain: [1." in result["caveat"]
    # Not in an arm that does not decide, and not beside a verdict without a current.
    beside = decide(plain=pair(), plain_few=pair(), few_gaussian=pair(30, slope=2.0))
    assert beside["verdict"] == Verdict.REPRODUCED
    assert [a["name"] for a in beside["arms"]] == ["plain", "plain-few", "gaussian"]


def test_slopes_take_the_planes_of_all_seeds_and_no_random_ones():
    tables = pair(30, slope=1.5)
    tables[1]["shift_high"].values[3:] = 0.9
    found = rule.slope(tables, PARAMETERS)
    assert found.slope == pytest.approx(1.5)
    assert found.freedom == 15 + 3 - 1
    assert rule.slope(pair(gate=False), PARAMETERS) is None


def test_arms_that_are_not_run_are_left_out():
    result = decide(plain=pair())
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert result["caveat"] == "a current in plain; not run at this scale: plain-few, text, code"
    one = decide(plain=[planes()], plain_few=[planes()])
    assert "one seed only: no interval over seeds" in one["caveat"]
    nothing = decide(few_gaussian=pair())
    assert nothing["verdict"] == Verdict.NOT_TESTED
    assert nothing["reason"].startswith("none of the arms that decide, plain, plain-few, text")


@pytest.mark.parametrize(
    "changes", [{"reversible OU": 0.07}, {"reversible OU": 0.03}, {"driven OU": 0.85}]
)
def test_a_detector_that_is_not_calibrated_decides_nothing(changes):
    result = decide(rates(**changes), plain=pair(), plain_few=pair())
    assert result["verdict"] == Verdict.NOT_REPRODUCED
    assert result["caveat"].startswith("the detector of currents is not calibrated")
    assert not result["checks"][0]["holds"]


def test_the_ends_of_what_calibration_allows():
    ends = rates(**{"reversible OU": 0.06, "white noise": 0.04, "driven OU": 0.9})
    assert decide(ends, plain=pair(), plain_few=pair())["verdict"] == Verdict.REPRODUCED
    # The power is that of all runs: those that pass no gate are not found.
    ends["stationary"].values[-1] = 0.99
    assert not decide(ends, plain=pair())["checks"][0]["holds"]


def test_a_share_of_a_handful_of_runs_is_judged_by_its_interval():
    handful = rates(**{"random walk": 0.0})
    handful["gated_high"].values[1] = 0.97  # of one run
    assert not decide(handful, plain=pair())["checks"][0]["holds"]
    handful["stationary"].values[1] = 1 / 2000
    assert decide(handful, plain=pair())["checks"][0]["holds"]


def test_fewer_runs_are_a_caveat():
    few = rates(runs=100, **{"reversible OU": 0.069, "driven OU": 0.895})
    result = decide(few, plain=pair(), plain_few=pair())
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert result["caveat"] == "the detector is calibrated on 100 runs, not 2,000"
    clear = rates(runs=100, **{"reversible OU": 0.2})
    assert decide(clear, plain=pair(), plain_few=pair())["verdict"] == Verdict.NOT_REPRODUCED


@pytest.mark.parametrize("which", [0, 1, 2])
def test_controls_that_misbehave_decide(monkeypatch, which):
    tables = list(planted.tables(0.95))
    tables[which] = tables[1 if which == 0 else 0]
    monkeypatch.setattr(planted, "tables", lambda level: tuple(tables))
    result = all_of(plain=pair(), plain_few=pair())
    assert [c["passed"] for c in result["controls"]].index(False) == which
    assert misbehaved(result)


def test_the_planted_systems():
    turning, still = (planted.model(t).epoch(planted.EXAMPLES) for t in (True, False))
    for i, plane in enumerate(planted.PLANES):
        table = planted.tables(0.95)[0]
        error = float(table["error"][i])
        assert abs(float(table["rate"][i]) - turning.area_rate(plane)) < 4 * error
        assert still.area_rate(plane) == pytest.approx(0, abs=1e-20)
    assert 0.02 < planted.strength() < 0.06
    found = planted.slope(0.95)
    assert 0.6 < found.low < 1 < found.high < 1.5


@pytest.mark.parametrize("gate", [True, False])
def test_charts(gate):
    tables = {name: pair(gate=gate) for name in ("plain", "plain_few", "text", "code")}
    tables["plain"][0]["rate"].values[:] = tables["plain"][0]["error"].values[:] = 0.0
    analyses = {
        ARMS[name.replace("_", "-")]: [{"planes": t} for t in each] for name, each in tables.items()
    }
    analyses["few-gaussian"] = [{"planes": planes()}]
    study = {"rates": rates(), "power": None}
    evidence = along(ENTRY, analyses, {"calibration": study})
    result = judge(NAME, ENTRY, evidence, context())
    assert result["instruments"] == ["calibration"]
    area_rates, predicted, _ = drawn(result, along(ENTRY, analyses)).values()
    assert len(area_rates.spec["concat"]) == 4
    assert f"{40 if gate else 0} of 40 (text)" in area_rates.caption
    assert f"calibrated: {40 if gate else 0} pass the gate" in area_rates.svg
    assert "interval alone: a current in" in area_rates.svg
    assert ("no plane passes the gate" in predicted.svg) is not gate
    del analyses["all-plain"]
    with pytest.raises(data.ChartDataError, match="all-plain"):
        drawing.draw(result, along(ENTRY, analyses))


@pytest.mark.parametrize("places", [slice(0, 1), slice(None)])
def test_places_where_no_mode_relaxes_are_left_out_of_the_prediction(places):
    analyses = {run: [{"planes": planes(trajectory=run)}] for run in ARMS.values()}
    study = {"rates": rates(), "power": None}
    result = judge(NAME, ENTRY, along(ENTRY, analyses, {"calibration": study}), context())
    for each in analyses.values():
        each[0]["planes"]["predicted"].values[places] = np.nan
        each[0]["planes"]["predicted_variance"].values[places] = np.nan
    assert len(drawn(result, along(ENTRY, analyses), holes=True)) == 3
