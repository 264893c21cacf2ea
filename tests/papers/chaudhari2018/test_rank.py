"""The rank of D against the paper's figure: every verdict, and the controls."""

import numpy as np
import pytest
from helpers import claims, context, one_thread, spectrum  # noqa: F401

from limitcycles.judging import wording
from limitcycles.judging.evidence import gather
from limitcycles.judging.judge import judge
from limitcycles.judging.result import Verdict
from limitcycles.papers.chaudhari2018.rank import checks
from limitcycles.papers.chaudhari2018.rank import rule as rank

ENTRY = claims()["rank-small-lenet"]
PAPER, PAPER_MEAN = 1.8, 0.3e-3
GOOD = (1.7, 1.8, 1.9)


@pytest.fixture
def small_controls(monkeypatch):
    monkeypatch.setattr(rank, "CONTROL_SHAPE", (900, 300))


def evidence(
    text, code, text_mean=PAPER_MEAN, code_mean=PAPER_MEAN, reading="clipped", largest=0.05
):
    """Spectra with these ranks in percent; one reading of the mean eigenvalue is as given."""
    spectra = []
    for name, ranks, mean in (("text", text, text_mean), ("code", code, code_mean)):
        for seed, percent_of_d in enumerate(ranks):
            means = {
                f"{kind}_{r}": factor * (mean if r == reading else 100 * PAPER_MEAN)
                for r in rank.READINGS
                for kind, factor in (("mean", 1), ("std", 7))
            }
            attrs = {"rank_percent_float32": percent_of_d, "participation_ratio": 20.0, **means}
            attrs |= {"weights": 13338, "eigenvalue": [largest]}
            run = ENTRY["arms"][name]["run"]
            spectra.append(spectrum(run, seed, 100, **attrs))
            # Other snapshots, which the chart shows and the rule does not look at.
            for percent in (20, 40):
                other = attrs | {"rank_percent_float32": 77.0}
                spectra.append(spectrum(run, seed, percent, **other))
    return gather(ENTRY, spectra=spectra)


def decide(*arguments, **more):
    return judge("rank-small-lenet", ENTRY, evidence(*arguments, **more), context())


@pytest.mark.usefixtures("small_controls")
class TestVerdicts:
    def test_reproduced(self):
        result = decide(GOOD, (1.5, 2.0, 2.4))
        assert result["verdict"] == Verdict.REPRODUCED
        assert result["caveat"] is None
        assert [a["agrees"] for a in result["arms"]] == [True, True]
        assert all(c["passed"] for c in result["controls"])

    def test_one_arm_only(self):
        result = decide(GOOD, (10, 11, 12))
        assert result["verdict"] == Verdict.WITH_CAVEAT
        assert result["caveat"] == "holds for text; not for code"

    @pytest.mark.parametrize("factor", [2.01, 1 / 2.01, 50])
    def test_the_mean_eigenvalue_in_no_reading(self, factor):
        result = decide(GOOD, GOOD, *[factor * PAPER_MEAN] * 2)
        assert result["verdict"] == Verdict.WITH_CAVEAT
        assert "mean eigenvalue in no reading" in result["caveat"]
        assert result["checks"][0]["holds"] is False

    @pytest.mark.parametrize("reading", rank.READINGS)
    @pytest.mark.parametrize("factor", [1.99, 1 / 1.99])
    def test_any_reading_of_the_mean_will_do(self, reading, factor):
        result = decide(GOOD, GOOD, *[factor * PAPER_MEAN] * 2, reading=reading)
        assert result["verdict"] == Verdict.REPRODUCED
        assert result["checks"][0]["holds"] is True
        assert f"text: {reading}" in result["checks"][0]["detail"]

    def test_the_mean_of_an_arm_that_disagrees_does_not_count(self):
        result = decide(GOOD, (10, 11, 12), text_mean=100 * PAPER_MEAN)
        assert "mean eigenvalue in no reading" in result["caveat"]

    @pytest.mark.parametrize(
        "ranks", [(10, 11, 12), (0.1, 0.1, 0.1), (2.71, 2.71, 2.71), (1.19, 1.19, 1.19)]
    )
    def test_not_reproduced(self, ranks):
        result = decide(ranks, ranks)
        assert result["verdict"] == Verdict.NOT_REPRODUCED
        assert [a["agrees"] for a in result["arms"]] == [False, False]

    @pytest.mark.parametrize("ranks", [(2.69, 2.69, 2.69), (1.21, 1.21, 1.21), (0.6, 1.8, 5.4)])
    def test_the_band_holds_the_geometric_mean(self, ranks):
        assert decide(ranks, ranks)["verdict"] == Verdict.REPRODUCED

    @pytest.mark.parametrize(
        ("text", "code", "holds", "words"),
        [
            (GOOD, GOOD, True, "text: within the band; code: within the band"),
            (GOOD, (0.6, 1.8, 5.4), False, "text: within the band; code: not within it"),
            (GOOD, (10, 11, 12), True, "1.8 %: text: within the band"),
            ((1.8,), (1.8,), False, "text: not within it; code: not within it"),
            ((10, 11, 12), (10, 11, 12), False, "no arm"),
        ],
    )
    def test_the_whole_interval_is_judged_apart(self, text, code, holds, words):
        check = decide(text, code)["checks"][1]
        assert check["holds"] is holds
        assert check["detail"].endswith(words)

    def test_contradicted(self):
        assert decide((60, 61, 62), (90, 91, 92))["verdict"] == Verdict.CONTRADICTED

    @pytest.mark.parametrize("code", [(49, 50, 51), (30, 60, 99), (20, 20, 20)])
    def test_contradicted_needs_the_whole_interval_of_every_arm(self, code):
        assert decide((60, 61, 62), code)["verdict"] == Verdict.NOT_REPRODUCED

    def test_one_seed(self):
        result = decide((1.8,), (1.9,))
        assert result["verdict"] == Verdict.WITH_CAVEAT
        assert result["caveat"] == "one seed only: no interval over seeds"
        assert result["statistic"]["interval"] is None
        assert decide((60,), (70,))["verdict"] == Verdict.CONTRADICTED


@pytest.mark.usefixtures("small_controls")
def test_numbers_by_hand():
    result = decide((1, 2, 4), GOOD)
    main = result["statistic"]
    assert main == result["arms"][0]["statistics"][0]
    assert main["name"] == "rank(D)/d"
    assert main["value"] == pytest.approx(2)
    factor = np.exp(4.302653 * np.log(2) / 3**0.5)
    assert main["interval"] == pytest.approx([2 / factor, 2 * factor], rel=1e-5)
    assert (main["paper"], main["unit"], main["n"]) == (1.8, "%", 3)
    numbers = {s["name"]: s for s in result["arms"][0]["statistics"]}
    assert numbers["mean eigenvalue (clipped)"]["value"] == pytest.approx(PAPER_MEAN)
    assert numbers["mean eigenvalue (clipped)"]["paper"] == 0.3e-3
    assert numbers["std of eigenvalues (clipped)"]["paper"] == 2.11e-3
    assert numbers["participation ratio"]["value"] == pytest.approx(20)
    assert len(numbers) == 8


@pytest.mark.usefixtures("small_controls")
def test_a_single_eigenvalue_above_the_threshold_has_no_spread():
    """The std of one number is 0, which has no geometric mean; the claim must still be judged."""
    found = evidence((0.01,) * 3, (0.01,) * 3)
    for by_percent in found.spectra.values():
        for stored in by_percent[100]:
            stored.attrs["std_above"] = 0.0
    result = judge("rank-small-lenet", ENTRY, found, context())
    assert result["verdict"] == Verdict.NOT_REPRODUCED
    numbers = {s["name"]: s for s in result["arms"][0]["statistics"]}
    assert numbers["std of eigenvalues (above)"]["value"] == 0


@pytest.mark.usefixtures("small_controls")
class TestCaption:
    @pytest.mark.parametrize(
        ("largest", "within"),
        [(0.05, (True, True, False)), (0.02, (True,) * 3), (0.23, (True, False, False)), (9, ())],
    )
    def test_what_it_leaves_to_the_largest_eigenvalue(self, largest, within):
        result = decide(GOOD, GOOD, largest=largest)
        (check,) = [c for c in result["checks"] if c["name"] == "caption, arithmetic"]
        assert check["holds"] is any(within)
        said = [part.endswith("text, code") for part in check["detail"].split(". ")[:3]]
        assert said == list(within or [False] * 3)
        assert "rank of 1.8 % of 13,338, 240" in check["detail"]
        assert (
            f"Measured λ_max, geometric means over seeds: text {wording.number(largest)}, code"
            in check["detail"]
        )
        assert result["verdict"] == Verdict.REPRODUCED  # it decides nothing

    def test_an_impossible_caption(self):
        stored = spectrum("small-fc-text", weights=3978, eigenvalue=[0.6])
        check = checks.caption_arithmetic(claims()["rank-small-fc"], {"text": [stored]})
        assert "above: no spectrum has these numbers; measured within it: no arm" in check["detail"]
        assert check["holds"]

    def test_figure_2a(self):
        stored = spectrum("allcnn-text", weights=26982, eigenvalue=[5.0])
        check = checks.caption_arithmetic(claims()["rank-cifar10"], {"text": [stored]})
        assert (
            "the eigenvalues below the threshold on average at 57 % of it or more"
            in check["detail"]
        )
        assert "the threshold itself 83 to 97 % of the mean (all" in check["detail"]
        assert "mean/(d·ε) = 85.5" in check["detail"]
        assert "above: λ_max from 2.94 to 8.38; measured within it: text" in check["detail"]


@pytest.mark.usefixtures("small_controls")
class TestAugmentations:
    def judged(self, *ranks, numbers=(1, 2, 4)):
        """The check, of one arm; `ranks` are by number of augmentations, one list a seed."""
        found = evidence(GOOD, GOOD)
        for k, values in enumerate(ranks):
            found.spectra["text"][100][k] = found.spectra["text"][100][k].assign(
                augmented_rank=("augmentations", np.array(values, dtype=float)),
                augmentations=("augmentations", list(numbers)),
            )
        result = judge("rank-small-lenet", ENTRY, found, context())
        return [c for c in result["checks"] if c["name"] == "settled over augmentations"]

    def test_without_augmentations_there_is_no_check(self):
        assert self.judged() == []

    @pytest.mark.parametrize(
        ("last", "holds"), [(105, True), (106, False), (95, True), (94, False)]
    )
    def test_the_last_change_in_any_seed(self, last, holds):
        (check,) = self.judged([50, 100, 100], [50, 100, last])
        assert check["holds"] is holds
        assert f"text: {last - 100:+.1f} % from 2 to 4" in check["detail"]

    def test_a_rank_that_is_not_resolved_has_not_settled(self):
        (check,) = self.judged([50, 100, np.nan])
        assert check["holds"] is False

    def test_one_number_settles_nothing(self):
        (check,) = self.judged([50], numbers=(4,))
        assert check["holds"] is False
        assert "one number" in check["detail"]


class TestControls:
    @pytest.mark.parametrize(
        ("claim", "planted"), [("rank-small-lenet", 1.8), ("rank-small-fc", 0.6)]
    )
    def test_they_behave(self, claim, planted):
        entry = claims()[claim]
        positive, negative = rank._controls(entry, rank.paper_value(entry, "rank"))
        assert (positive["kind"], negative["kind"]) == ("positive", "negative")
        assert positive["passed"]
        assert negative["passed"]
        assert positive["statistic"]["value"] == pytest.approx(planted)
        assert negative["statistic"]["value"] == 100

    @pytest.mark.usefixtures("small_controls")
    @pytest.mark.parametrize(
        ("name", "broken", "kind"),
        [
            ("paper_threshold", lambda weights: 0.0, "positive"),
            ("paper_threshold", lambda weights: 0.9, "positive"),
            ("rank", lambda spectrum, tau: 3 * np.sum(spectrum.eigenvalue > 1e-4), "positive"),
            ("rank", lambda spectrum, tau: 0.018 * spectrum.weights, "negative"),
        ],
    )
    def test_broken_code_cannot_give_reproduced(self, monkeypatch, name, broken, kind):
        assert decide(GOOD, GOOD)["verdict"] == Verdict.REPRODUCED
        monkeypatch.setattr(rank, name, broken)
        result = decide(GOOD, GOOD)
        assert kind in [c["kind"] for c in result["controls"] if not c["passed"]]
        assert result["verdict"] == Verdict.NOT_REPRODUCED
        assert "the controls did not behave" in result["caveat"]
