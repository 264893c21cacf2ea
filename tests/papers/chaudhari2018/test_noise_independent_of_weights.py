"""Spectra at several snapshots, almost the same or not: every verdict, and the controls."""

import numpy as np
import pytest
import xarray as xr
from helpers import claims, context, gradients, one_thread, spectrum  # noqa: F401

from limitcycles.judging.evidence import gather
from limitcycles.judging.judge import judge
from limitcycles.judging.result import Verdict
from limitcycles.papers.chaudhari2018.noise_independent_of_weights import rule as noise
from limitcycles.statistics.intervals import Estimate

LEDGER = claims()["noise-independent-of-weights"]
ARMS = list(LEDGER["arms"])[:4]
ENTRY = LEDGER | {"arms": {name: LEDGER["arms"][name] for name in ARMS}}
BASE = np.exp(-np.arange(60) / 4)
GOOD, BAD, UNCLEAR = (0.1, 0.12, 0.11), (0.8, 0.9, 0.85), (0.1, 0.3, 0.5)


def stored(eigenvalue, rank=40, **more):
    attrs = {"rank_float32": rank, "trace": float(np.sum(eigenvalue))} | more
    return spectrum("a", eigenvalue=eigenvalue, **attrs)


def kept_rows(samples=400):
    rows = gradients(np.exp(-np.arange(30) / 4), samples, mean=0.3)
    return xr.Dataset({"gradient": (("sample", "weight"), rows.astype(np.float32))})


def evidence(*distances, bend=0.0, sample=None):
    """By arm, the distance in decades between the snapshots at 20 and 100 %, one a seed.

    The snapshot at 40 % lies between. With `bend` the shape changes too.
    """
    spectra = []
    for name, values in zip(ARMS, distances, strict=True):
        for seed, decades in enumerate(values):
            for percent, share in ((20, 0.0), (40, 0.4), (100, 1.0)):
                eigenvalue = 10.0 ** (share * decades) * BASE
                eigenvalue = eigenvalue * np.exp(-bend * share * np.arange(60) / 60)
                one = stored(eigenvalue)
                one.attrs |= {"run": ENTRY["arms"][name]["run"], "seed": seed, "percent": percent}
                spectra.append(one)
    return gather(ENTRY, spectra=spectra, sample=[kept_rows() if sample is None else sample])


def decide(*distances, **more):
    return judge("noise-independent-of-weights", ENTRY, evidence(*distances, **more), context())


class TestDistance:
    def test_a_factor_is_its_logarithm(self):
        assert noise.distance(stored(BASE), stored(10 * BASE), 10) == pytest.approx(1)
        assert noise.distance(stored(10 * BASE), stored(BASE), 10) == pytest.approx(1)
        assert noise.distance(stored(BASE), stored(BASE), 10) == 0

    def test_root_mean_square_by_hand(self):
        a, b = stored([1.0, 1, 1, 1], rank=4), stored([10, 0.1, 1, 1], rank=4)
        assert noise.distance(a, b, 1) == pytest.approx(np.sqrt(2 / 4))

    @pytest.mark.parametrize(("ranks", "smallest", "count"), [
        ((3, 5), 1, 3), ((5, 3), 1, 3), ((3, 5), 4, 4), ((1, 1), 2, 2),
    ])  # fmt: skip
    def test_as_many_as_the_smaller_rank(self, ranks, smallest, count):
        values = 10.0 ** np.array([1, 2, 3, 4, 5, 6])
        a, b = stored(np.ones(6), rank=ranks[0]), stored(values, rank=ranks[1])
        expected = np.sqrt(np.mean(np.arange(1, count + 1) ** 2))
        assert noise.distance(a, b, smallest) == pytest.approx(expected)

    def test_shape_only(self):
        assert noise.distance(stored(BASE), stored(7 * BASE), 10, shape_only=True) < 1e-12
        flat = stored(np.ones(60))
        expected = np.log10(BASE[:40] / BASE.sum()) - np.log10(1 / 60)
        assert noise.distance(stored(BASE), flat, 10, shape_only=True) == pytest.approx(
            np.sqrt(np.mean(expected**2))
        )


class TestVerdicts:
    def test_reproduced(self):
        result = decide(GOOD, GOOD, GOOD, GOOD)
        assert result["verdict"] == Verdict.REPRODUCED
        assert [a["agrees"] for a in result["arms"]] == [True] * 4
        assert all(c["passed"] for c in result["controls"])

    @pytest.mark.parametrize(("other", "agrees"), [(BAD, False), (UNCLEAR, None)])
    def test_some_arms(self, other, agrees):
        result = decide(GOOD, GOOD, GOOD, other)
        assert result["verdict"] == Verdict.WITH_CAVEAT
        assert result["arms"][3]["agrees"] is agrees
        assert result["caveat"] == f"holds for {', '.join(ARMS[:3])}; not for {ARMS[3]}"

    def test_contradicted(self):
        result = decide(BAD, BAD, BAD, BAD)
        assert result["verdict"] == Verdict.CONTRADICTED
        assert result["caveat"] is None

    def test_undecided(self):
        assert decide(UNCLEAR, UNCLEAR, UNCLEAR, UNCLEAR)["verdict"] == Verdict.NOT_REPRODUCED
        assert decide(BAD, BAD, BAD, UNCLEAR)["verdict"] == Verdict.NOT_REPRODUCED

    def test_one_seed(self):
        result = decide((0.1,), (0.1,), (0.1,), (0.1,))
        assert result["verdict"] == Verdict.WITH_CAVEAT
        assert result["caveat"] == "one seed only: no interval over seeds"
        assert decide((0.5,), (0.5,), (0.5,), (0.5,))["verdict"] == Verdict.CONTRADICTED


class TestNumbers:
    def test_the_largest_over_the_pairs_by_hand(self):
        result = decide((0.1, 0.2, 0.3), GOOD, GOOD, GOOD)
        main = result["arms"][0]["statistics"][0]
        assert main["values"] == pytest.approx([0.1, 0.2, 0.3])
        logs = np.log([0.1, 0.2, 0.3])
        factor = np.exp(4.302653 * logs.std(ddof=1) / 3**0.5)
        middle = np.exp(logs.mean())
        assert main["value"] == pytest.approx(middle)
        assert main["interval"] == pytest.approx([middle / factor, middle * factor], rel=1e-5)
        assert main["unit"] == "decades"

    def test_the_headline_is_the_worst_arm(self):
        result = decide(GOOD, BAD, GOOD, GOOD)
        assert result["statistic"]["value"] == pytest.approx((0.8 * 0.9 * 0.85) ** (1 / 3))

    def test_shape_is_reported_apart(self):
        scaled = decide(BAD, BAD, BAD, BAD)
        assert scaled["verdict"] == Verdict.CONTRADICTED
        assert scaled["checks"][0]["holds"] is True
        assert scaled["arms"][0]["statistics"][1]["value"] == pytest.approx(0, abs=1e-12)
        bent = decide(GOOD, GOOD, GOOD, GOOD, bend=6.0)
        assert bent["checks"][0]["holds"] is False
        assert bent["arms"][0]["statistics"][1]["value"] > 0.301

    def test_the_linear_interval_decides_and_the_log_scale_is_shown_beside(self):
        # Mean 0.157, interval [0.017, 0.297] linear and [0.063, 0.356] on the log scale.
        near = (0.1, 0.16, 0.21)
        result = decide(near, near, near, near)
        third = next(c for c in result["checks"] if c["name"].startswith("third rule"))
        assert third["holds"] is False
        assert "below and undecided" in third["detail"]
        assert all(a["agrees"] for a in result["arms"])
        assert result["verdict"] == Verdict.WITH_CAVEAT
        assert result["caveat"] == "by intervals on the log scale (third rule): not reproduced"
        assert decide(GOOD, GOOD, GOOD, GOOD)["checks"][1]["holds"] is True

    @pytest.mark.parametrize(
        ("interval", "value", "expected"),
        [
            ([0.1, 0.3], 0.2, True),
            ([0.1, 0.302], 0.2, None),
            ([0.302, 0.5], 0.4, False),
            ([0.300, 0.5], 0.4, None),
            (None, 0.3, True),
            (None, 0.4, False),
        ],
    )
    def test_the_whole_interval_decides(self, interval, value, expected):
        assert noise.below(Estimate(value, interval, None), 0.301) is expected


class TestControls:
    def test_they_behave(self):
        positive, negative = decide(GOOD, GOOD, GOOD, GOOD)["controls"]
        assert (positive["kind"], negative["kind"]) == ("positive", "negative")
        assert positive["passed"]
        assert negative["passed"]
        assert 0 < positive["statistic"]["value"] < 0.301
        # Ten times the gradients are a hundred times D: two decades.
        assert negative["statistic"]["value"] == pytest.approx(2, abs=1e-3)

    def test_gradients_of_two_kinds_fail_the_positive_one(self):
        sample = kept_rows()
        rows = sample["gradient"].values
        chosen = np.random.default_rng(0).permutation(len(rows))[: len(rows) // 2]
        rows[chosen] *= 30  # the very half that the control draws
        result = decide(GOOD, GOOD, GOOD, GOOD, sample=sample)
        assert [c["passed"] for c in result["controls"]] == [False, True]
        assert result["verdict"] == Verdict.NOT_REPRODUCED

    @pytest.mark.parametrize(
        ("broken", "kind"),
        [
            (lambda a, b, count, shape_only=False: 0.0, "negative"),
            (lambda a, b, count, shape_only=False: ORIGINAL(a, b, count, True), "negative"),
            (lambda a, b, count, shape_only=False: 0.3 + ORIGINAL(a, b, count), "positive"),
        ],
    )
    def test_broken_code_cannot_give_reproduced(self, monkeypatch, broken, kind):
        close = ((0.0, 1e-4, 2e-4),) * 4
        assert decide(*close)["verdict"] == Verdict.REPRODUCED
        monkeypatch.setattr(noise, "distance", broken)
        result = decide(*close)
        assert [c["kind"] for c in result["controls"] if not c["passed"]] == [kind]
        assert result["verdict"] == Verdict.NOT_REPRODUCED
        assert "the controls did not behave" in result["caveat"]


ORIGINAL = noise.distance
