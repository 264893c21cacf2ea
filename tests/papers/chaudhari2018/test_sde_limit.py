"""The verdict on Lemma 2 from made-up measurements."""

import numpy as np
import pytest
import xarray as xr
from helpers import Theory, misbehaved

from limitcycles.judging.result import Verdict

CLAIM = Theory("sde-limit")
decide = CLAIM.judge
SYSTEMS = list(CLAIM.entry["arms"])
FUNCTIONS = ["z", "z²", "z³", "cos z", "sin z"]
BATCHES = [1, 2, 4, 8, 16]
RATES = 0.02 * np.array(BATCHES)


def part(first: str, names: list[str], last: str, slope=1.0) -> xr.Dataset:
    shape = (len(names), len(FUNCTIONS))
    found = {"error": ((first, "function", last), np.tile(RATES**slope, (*shape, 1)))}
    for prefix in ("", "largest_"):
        dims = (first, "function") if not prefix else (first,)
        for name, shift in (("slope", 0.0), ("low", -0.05), ("high", 0.05)):
            found[prefix + name] = (dims, np.full(shape[: len(dims)], slope + shift))
    return xr.Dataset(found, coords={first: names, "function": FUNCTIONS})


def measured(**slopes) -> dict[str, xr.Dataset]:
    """All of order 1; `slopes` are {system: {function: (slope, low, high)}}, - for _."""
    errors = part("system", SYSTEMS, "batch").assign_coords(batch=BATCHES, rate=("batch", RATES))
    quiet = {"sampled": errors["error"], "standard_error": 1e-3 + 0 * errors["error"]}
    quiet |= {"grid_error": 1e-6 * errors["error"]}
    quiet |= {"left_over": 0 * errors["slope"], "left_over_error": 1e-6 + 0 * errors["slope"]}
    errors = errors.assign(quiet).assign_attrs(
        temperature=0.01, time=1.28, level=0.95, paths=1000, other_error=1e-10
    )
    for system, by_function in slopes.items():
        for function, values in by_function.items():
            at = (SYSTEMS.index(system.replace("_", "-")), FUNCTIONS.index(function))
            for name, value in zip(("slope", "low", "high"), values, strict=True):
                errors[name].values[at] = value
    usual = part("system", SYSTEMS, "rate").assign_coords(rate=RATES)
    usual = usual.assign({f"silent_{name}": values for name, values in usual.items()})
    controls = xr.concat(
        [part("against", ["equation"], "batch"), part("against", ["doubled"], "batch", 0.0)],
        "against",
    ).assign_coords(batch=BATCHES, rate=("batch", RATES))
    numbers = {"equation": 0.0, "limit": 0.2, "formula": 0.2, "sampled": 0.21}
    cumulant = xr.Dataset(
        {"sgd": ("batch", [0.2, 0.21, 0.22, 0.23, 0.24]), **numbers, "standard_error": 0.01},
        coords={"batch": BATCHES, "rate": ("batch", RATES)},
    )
    return {
        "errors": errors,
        "usual": usual.assign_attrs(batch=8, time=1.28, level=0.95),
        "controls": controls,
        "cumulant": cumulant,
    }


def check(result, words) -> dict:
    (found,) = [c for c in result["checks"] if words in c["name"]]
    return found


def test_reproduced():
    result = decide(measured())
    assert result["verdict"] == Verdict.REPRODUCED
    assert [a["agrees"] for a in result["arms"]] == [True] * 4
    assert all(c["passed"] for c in result["controls"])
    assert all(c["holds"] for c in result["checks"])


@pytest.mark.parametrize(
    ("values", "agrees", "words"),
    [
        ((0.05, 0.02, 0.08), False, "not for skewed"),
        ((1.2, -0.1, 2.5), None, "undecided for skewed"),
    ],
)
def test_one_function_fails_its_system(values, agrees, words):
    result = decide(measured(skewed={"z³": values}))
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert result["arms"][1]["agrees"] is agrees
    assert f"holds for symmetric, varying, double-well; {words}" in result["caveat"]
    assert f"z³ {values[0]:.2f}" in result["caveat"]
    assert ("third and higher cumulants" in result["caveat"]) is (agrees is False)


def test_an_error_that_changes_its_sign_is_told():
    found = measured(double_well={"cos z": (1.0, 0.3, 1.7)})
    assert "changes sign" not in decide(found)["caveat"]
    found["errors"]["error"].values[3, 3, 0] *= -1
    assert "changes sign" in decide(found)["caveat"]


def test_an_error_that_is_left_over_is_a_caveat():
    found = measured()
    found["errors"]["left_over"].values[0, 3] = 1e-3
    result = decide(found)
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert "left over" in result["caveat"]
    assert "symmetric: cos z 1.0·10⁻³; skewed: nothing" in check(result, "left over")["detail"]


def test_contradicted_where_every_system_has_a_flat_error():
    flat = {s.replace("-", "_"): {"z²": (0.0, -0.05, 0.09)} for s in SYSTEMS}
    assert decide(measured(**flat))["verdict"] == Verdict.CONTRADICTED
    flat["skewed"] = {"z²": (0.06, 0.0, 0.12)}
    assert decide(measured(**flat))["verdict"] == Verdict.NOT_REPRODUCED


def no_longer_first_order(found):
    found["controls"]["low"].values[0, 2] = 0.4


def fooled(found):
    found["controls"]["low"].values[1] = 0.9


@pytest.mark.parametrize("misbehave", [no_longer_first_order, fooled])
def test_controls_that_misbehave_decide(misbehave):
    found = measured()
    misbehave(found)
    assert misbehaved(decide(found))


@pytest.mark.parametrize(
    ("part_", "name", "value", "words"),
    [
        ("cumulant", "limit", 0.21, "third cumulant"),
        ("cumulant", "sampled", 0.03, "third cumulant"),
        ("errors", "sampled", 0.5, "sampled SGD"),
        ("errors", "grid_error", 0.01, "numerical"),
        ("errors", "largest_low", 0.4, "largest error"),
        ("usual", "largest_low", 0.4, "usual reading"),
    ],
)
def test_checks_can_fail(part_, name, value, words):
    found = measured()
    found[part_][name] = found[part_][name] * 0 + value
    assert not check(decide(found), words)["holds"]


def test_charts_are_drawn_from_the_measurement():
    drawn = CLAIM.charts(measured(skewed={"z³": (0.05, 0.02, 0.08)}))
    words = drawn["slopes"]["description"]
    assert "symmetric, varying, double-well" in words
    assert "0.0500 [0.0200, 0.0800]" in words
