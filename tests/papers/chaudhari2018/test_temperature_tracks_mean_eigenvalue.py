"""Late noise at matched temperatures: every verdict, the controls, the theory, the charts."""

import json

import numpy as np
import pytest
import xarray as xr
from drawing import drawn
from helpers import claims, context, one_thread  # noqa: F401

from limitcycles.charts import data, drawing
from limitcycles.judging import wording
from limitcycles.judging.evidence import gather
from limitcycles.judging.judge import judge
from limitcycles.judging.result import Verdict
from limitcycles.papers.chaudhari2018.temperature_tracks_mean_eigenvalue import (
    predictions as temperature_theory,
)
from limitcycles.papers.chaudhari2018.temperature_tracks_mean_eigenvalue import rule as temperature
from limitcycles.papers.chaudhari2018.temperature_tracks_mean_eigenvalue.noise_temperature import (
    equal_rate,
    matched_rates,
)
from limitcycles.runtime.errors import LimitcyclesError

CLAIM = "temperature-tracks-mean-eigenvalue"
ENTRY = claims()[CLAIM]
ENTRY = ENTRY | {"arms": {name: ENTRY["arms"][name] for name in ("fc-text", "fc-8", "cnn-12")}}
RUNS = [spec["run"] for spec in ENTRY["arms"].values()]
MEANS = np.array([1e-3, 4e-3, 3e-2])
STEPS = 101  # the second half has 51


@pytest.fixture(scope="module")
def controls():
    """Those of the claim, on shorter paths."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(temperature, "LINEAR_STEPS", 8000)
        return temperature._controls(ENTRY)


@pytest.fixture(autouse=True)
def few_controls(monkeypatch, controls, request):
    """They are the same whatever the networks do: made once, but where they are tested."""
    monkeypatch.setattr(temperature, "LINEAR_STEPS", 8000)
    if request.cls is not TestControls:
        monkeypatch.setattr(temperature, "_controls", lambda entry: controls)


def late(law, seed=0, *, by_time=None, means=MEANS, **changed) -> xr.Dataset:
    """Late noise whose variance is law(rate, mean eigenvalue); `changed` variables replace it."""
    matched = matched_rates(means, 0.05)
    rate = np.stack([np.full(len(means), equal_rate(matched)), matched], axis=1)
    mean = np.repeat(means[:, None], 2, axis=1)
    variance = law(rate, mean) * np.ones(rate.shape)
    over = {
        "learning_rate": rate,
        "batch": np.full(rate.shape, 8),
        "mean_eigenvalue": mean,
        "variance": variance,
        "median_variance": variance,
        "variance_by_time": variance / (rate * STEPS) if by_time is None else by_time(rate, mean),
        "trend_share": np.full(rate.shape, 0.6),
        "expected_variance": variance,
        "diffusive_variance": rate**2 * mean / 8 * 52 / 6,
        "late_gradient_variance": mean / 8,
        "loss": np.ones(rate.shape),
    } | changed
    alone = {
        "gradient_variance_evaluation": means / 8,
        "gradient_variance_training": means / 4,
        "weights": np.full(len(means), 100),
    }
    return xr.Dataset(
        {key: (("setting", "group"), values) for key, values in over.items()}
        | {key: ("setting", values) for key, values in alone.items()},
        coords={"setting": RUNS[: len(means)], "group": list(temperature.GROUPS)},
        attrs={"seed": seed, "steps": STEPS, "percent": 100, "diverged": []},
    )


def scattered(size: float, seed: int):
    """Factors by setting and group, of about this relative size around 1."""
    return np.exp(size * np.random.default_rng(seed).standard_normal((len(MEANS), 2)))


def shown(tables, entry=ENTRY):
    return gather(entry, measured=[{"noise": table} for table in tables])


def result_of(tables, entry=ENTRY):
    return judge(CLAIM, entry, shown(tables, entry), context())


def decide(law, scatter=0.01, seeds=3):
    return result_of(
        [late(lambda r, m, s=s: law(r, m) * scattered(scatter, s), s) for s in range(seeds)]
    )


def check(result, start: str) -> dict:
    (found,) = [c for c in result["checks"] if c["name"].startswith(start)]
    return found


class TestVerdicts:
    def test_reproduced_where_the_temperature_decides(self):
        result = decide(lambda rate, mean: rate * mean)
        assert result["verdict"] == Verdict.REPRODUCED
        assert result["caveat"] is None
        assert check(result, "the spread itself")["holds"] is True
        assert all(c["passed"] for c in result["controls"])

    def test_with_a_caveat_where_the_spread_stays_large(self):
        result = decide(lambda rate, mean: rate**1.3 * mean)
        assert result["verdict"] == Verdict.WITH_CAVEAT
        assert "the spread itself is" in result["caveat"]
        assert check(result, "the spread itself")["holds"] is False

    @pytest.mark.parametrize("law", [lambda r, m: r * m**0.1, lambda r, m: r**2 * m])
    def test_contradicted_at_rest_with_the_hessian_d_and_in_diffusion(self, law):
        """Here 1/mean λ varies more than mean λ, so that diffusion contradicts as well."""
        tables = [
            late(lambda r, m, s=s: law(r, m) * scattered(0.01, s), s, means=np.array([1, 9, 10]))
            for s in range(3)
        ]
        assert result_of(tables)["verdict"] == Verdict.CONTRADICTED

    def test_not_reproduced_if_the_interval_holds_one(self):
        factors = [0.5, 1, 2]
        tables = [
            late(lambda r, m, f=f: np.stack([m[:, 0], 1e-3 + f * (m[:, 0] - 1e-3)], 1), seed)
            for seed, f in enumerate(factors)
        ]
        result = result_of(tables)
        low, high = result["statistic"]["interval"]
        assert low < 1 < high
        assert result["verdict"] == Verdict.NOT_REPRODUCED

    def test_one_seed(self):
        result = decide(lambda rate, mean: rate * mean, seeds=1)
        assert result["verdict"] == Verdict.WITH_CAVEAT
        assert result["caveat"] == "one seed only: no interval over seeds"
        assert result["statistic"]["interval"] is None

    def test_the_second_rule_does_not_decide(self):
        """Diffusion: by unit of time the temperature decides, by step it does not."""
        tables = [
            late(
                lambda r, m, s=s: r**2 * m * scattered(0.01, s),
                s,
                by_time=lambda r, m, s=s: r * m * scattered(0.01, s),
                means=np.array([1.0, 9.0, 10.0]),
            )
            for s in range(3)
        ]
        result = result_of(tables)
        second = check(result, "second rule")
        assert second["holds"] is True
        assert second["detail"].startswith("reproduced: ratio 0.0")
        assert result["verdict"] == Verdict.CONTRADICTED


def test_numbers_by_hand():
    tables = [
        late(lambda r, m: np.array([[1.0, 2], [2, 2], [3, 5]])),
        late(lambda r, m: np.array([[1.0, 1], [2, 1], [3, 1.6]]), 1),
    ]
    result = result_of(tables)
    # mean 2 and std 1; mean 3 and std √3; mean 1.2 and std √0.12
    expected = [3**0.5 / 3 / 0.5, 0.12**0.5 / 1.2 / 0.5]
    main = result["statistic"]
    assert main["values"] == pytest.approx(expected)
    middle, half = np.mean(np.log(expected)), 12.7062 * np.std(np.log(expected), ddof=1) / 2**0.5
    ends = [np.exp(middle - half), np.exp(middle + half)]
    assert main["interval"] == pytest.approx(ends, rel=1e-4)
    assert main["value"] == pytest.approx(np.exp(middle))
    first = {s["name"]: s for s in result["arms"][0]["statistics"]}
    assert result["arms"][0]["statistics"][0]["name"] == "mean λ(D)"
    assert first["variance, equal (η/b)·mean λ"]["value"] == pytest.approx(2**0.5)
    assert first["variance, equal η/b"]["values"] == pytest.approx([1, 1])
    assert "0.433 at equal (η/b)·mean λ, 0.500 at equal η/b" in result["checks"][0]["detail"]
    assert "at most 1.73" in result["checks"][0]["detail"]
    logs = [np.log([2, 2, 5]).std() / np.log([1, 2, 3]).std()]
    logs += [np.log([1, 1, 1.6]).std() / np.log([1, 2, 3]).std()]
    assert (
        f"ratio {np.exp(np.mean(np.log(logs))):.3f}"
        in check(result, "spread of the logarithms")["detail"]
    )


class TestWhatIsMissing:
    def diverged(self, group=1):
        law = [late(lambda r, m: r * m * scattered(0.01, 0), seed) for seed in range(3)]
        for key in ("variance", "median_variance", "variance_by_time"):
            law[1][key][2, group] = np.inf
        law[1].attrs["diverged"] = ["cnn-12, matched"]
        return law

    @pytest.mark.parametrize(("group", "words"), enumerate(temperature.WORDS.values()))
    def test_a_network_that_diverges_is_named_and_not_dropped(self, group, words):
        result = result_of(self.diverged(group))
        assert result["verdict"] == Verdict.NOT_REPRODUCED
        assert f"cnn-12 ({words}, seed 1)" in result["caveat"]
        assert result["statistic"]["n"] == 3
        assert [a["name"] for a in result["arms"]] == ["fc-text", "fc-8", "cnn-12"]
        numbers = {s["name"]: s["n"] for s in result["arms"][2]["statistics"]}
        assert numbers[f"variance, {words}"] == 2

    def test_nothing_left(self):
        tables = self.diverged()
        tables[0]["variance"][:2] = np.inf
        with pytest.raises(LimitcyclesError, match=r"lower constant_rate_sgd\.learning_rate"):
            result_of(tables)

    def test_one_setting_or_no_common_seed(self):
        alone = ENTRY | {"arms": {"fc-8": ENTRY["arms"]["fc-8"]}}
        result = result_of([late(lambda r, m: r)], alone)
        assert (result["verdict"], result["statistic"]) == (Verdict.NOT_TESTED, None)
        assert "two are needed" in result["reason"]
        assert "no seed in common" in result_of([])["reason"]

    def test_a_setting_is_not_in_the_file(self):
        table = late(lambda r, m: r * m).sel(setting=RUNS[:2])
        with pytest.raises(LimitcyclesError, match="of seed 0 lacks cnn-12"):
            result_of([table])

    def test_settings_that_are_alike_at_equal_rates(self):
        with pytest.raises(LimitcyclesError, match="all settings have the same variance"):
            result_of([late(lambda r, m: r)])


class TestControls:
    def test_they_behave(self):
        (positive, negative), likelihood = temperature._controls(ENTRY)
        assert (positive["kind"], negative["kind"]) == ("positive", "negative")
        assert positive["passed"]
        assert negative["passed"]
        assert positive["statistic"]["value"] < 0.1
        # Variances in proportion to the square of 1, 2, 4, 8, over those in proportion.
        squares, means = (np.array(temperature.LINEAR_MEANS) ** power for power in (2, 1))
        expected = temperature.spread(squares) / temperature.spread(means)
        assert negative["statistic"]["value"] == pytest.approx(expected, rel=0.1)
        assert likelihood["holds"] is False
        assert likelihood["detail"].startswith("contradicted")

    @pytest.mark.parametrize(
        ("name", "broken"),
        [
            ("matched_rates", lambda means, largest: largest * np.asarray(means) / np.max(means)),
            ("spread", lambda values: 1.0),
        ],
    )
    def test_broken_code_cannot_give_reproduced(self, monkeypatch, name, broken):
        monkeypatch.setattr(temperature, name, broken)
        result = decide(lambda rate, mean: rate * mean)
        assert result["verdict"] == Verdict.NOT_REPRODUCED
        assert "the controls did not behave" in result["caveat"]

    def test_a_variance_that_is_not_the_known_one(self, monkeypatch):
        true = temperature.Moments.variance.fget
        monkeypatch.setattr(temperature.Moments, "variance", property(lambda s: 1.2 * true(s)))
        (positive, _), _ = temperature._controls(ENTRY)
        assert not positive["passed"]


class TestTheory:
    @pytest.mark.parametrize(("a", "c"), [(1, 1), (2, 1), (1, 0)])
    def test_exponents(self, a, c):
        found = temperature_theory.exponents(late(lambda r, m: r**a * m**c))
        assert found == pytest.approx((a, c), abs=1e-9)
        result = result_of(
            [late(lambda r, m, s=s: r**a * m**c * scattered(1e-3, s), s) for s in range(3)]
        )
        assert check(result, "exponents")["holds"] is (a == c)

    def test_equal_networks_have_no_exponent(self):
        table = late(lambda r, m: r * m, means=np.array([2.0, 2.0, 2.0]))
        assert np.isnan(temperature_theory.exponents(table)).all()

    def test_agreement(self):
        predicted = np.array([1.0, 10, 100])
        found = temperature_theory.agreement(2 * predicted**0.5, predicted)
        expected = {"slope": 0.5, "correlation": 1, "low": 0.2, "middle": 0.2**0.5 * 2**0.5}
        expected["middle"] = float((2 * 0.2 * 2 / 10**0.5) ** (1 / 3))
        assert found == pytest.approx(expected | {"high": 2})

    def test_predictions(self):
        table = late(lambda r, m: r * m)
        found = temperature_theory.predictions(table)
        np.testing.assert_array_equal(found["D"], table["expected_variance"])
        rate, mean = table["learning_rate"], table["mean_eigenvalue"]
        np.testing.assert_allclose(found["step"], rate**2 * mean / 8 * 52 / 6)

    def test_checks(self):
        result = result_of([late(lambda r, m: 1.5 * r**2 * m / 8 * 52 / 6, s) for s in range(3)])
        diffusion = check(result, "theory: diffusion")
        assert diffusion["holds"] is True
        assert "predicted 1.50 to 1.50, geometric mean 1.50; slope 1.00" in diffusion["detail"]
        step = check(result, "one step")
        assert step["holds"] is True
        assert step["detail"].endswith(
            "fc-text 1.00 and 2.00; fc-8 1.00 and 2.00; cnn-12 1.00 and 2.00"
        )
        assert check(result, "weights are at rest")["holds"] is False

    def test_checks_that_do_not_hold(self):
        table = late(lambda r, m: r * m, expected_variance=np.full((3, 2), np.inf))
        table["gradient_variance_training"][1] *= 3
        result = result_of([table, table.assign_attrs(seed=1)])
        assert check(result, "theory: the Hessian")["detail"].startswith("the steps are unstable")
        assert check(result, "one step")["holds"] is False


class TestCharts:
    def drawn(self, tables):
        result = result_of(tables)
        return result, drawn(result, shown(tables), most=1000)

    def test_all(self):
        tables = [late(lambda r, m, s=s: r**2 * m * scattered(0.1, s), s) for s in range(3)]
        result, found = self.drawn(tables)
        variances, _, by_seed = found.values()
        assert all(len(json.dumps(one.spec)) < 60_000 for one in found.values())
        main = result["statistic"]
        assert wording.estimate(main) in variances.caption
        assert "as the remark says: all alike" in variances.svg
        assert "cnn-12, λ̄ = 0.030" in variances.svg
        assert '"datum": 1' in json.dumps(by_seed.spec)
        assert f"variance (the rule) {wording.number(main['value'])} [" in by_seed.caption

    def test_one_seed(self):
        _, found = self.drawn([late(lambda r, m: r**2 * m * scattered(0.1, 0))])
        assert len(found) == 3

    def test_what_diverged_is_named(self):
        _, found = self.drawn(TestWhatIsMissing().diverged())
        for one in found.values():
            assert "Not shown, for the steps diverge: cnn-12." in one.caption

    def test_a_theory_without_steps_that_are_stable(self):
        tables = [
            late(lambda r, m: r * m * scattered(0.1, 0), expected_variance=np.full((3, 2), np.inf))
        ]
        with pytest.raises(data.ChartDataError, match="by theory all steps are unstable"):
            self.drawn(tables)

    def test_another_file(self):
        tables = [late(lambda r, m: r * m * scattered(0.1, 0))]
        result = result_of(tables)
        with pytest.raises(data.ChartDataError, match="no run 'cnn-12'"):
            drawing.draw(result, shown([tables[0].sel(setting=RUNS[:2])]))
