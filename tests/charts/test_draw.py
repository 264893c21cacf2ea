"""Every chart of every claim, from made-up results."""

import copy
import csv
import json
import warnings

import numpy as np
import pytest
import synthetic
import vl_convert

from limitcycles.charts import data, theme
from limitcycles.judging import folders, wording
from limitcycles.judging.numbers import statistic
from limitcycles.papers.chaudhari2018.rank import charts as rank
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.statistics.intervals import SHARE_LOG

NAMES = list(synthetic.CASES)


@pytest.fixture(scope="module")
def specs():
    """Claim -> chart -> spec; no warning is allowed while drawing."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, case in synthetic.CASES.items():
            drawn = synthetic.drawn(*case())
            found[name] = {name: chart.to_dict() for name, chart in drawn.items()}
    return found


def texts(spec) -> str:
    """The text of a chart as it is drawn."""
    return vl_convert.vegalite_to_svg(spec)


def test_charts_are_named_beforehand(specs):
    for name in NAMES:
        absent = {"augmentations"} if name == "rank" else set()
        assert list(specs[name]) == [n for n in folders.charts(name) if n not in absent]


def test_every_rule_has_charts():
    assert folders.with_file("rule") == [
        n for n in folders.with_file("charts") if n != "calibration"
    ]


@pytest.mark.parametrize("name", NAMES)
def test_charts_compile_have_words_and_are_small(specs, name):
    for spec in specs[name].values():
        assert spec["title"]
        assert spec["description"].endswith(".")
        assert len(json.dumps(spec)) < 120_000
        svg = texts(spec)
        assert "NaN" not in svg
        assert "undefined" not in svg


@pytest.mark.parametrize("name", ["spectrum", "rank-curve", "rank-by-arm"])
def test_rank_charts_show_the_papers_rank(specs, name):
    spec = specs["rank"][name]
    assert '{"datum": 1.8}' in json.dumps(spec)
    assert "paper: 1.8 %" in texts(spec)
    assert "1.8 % of d" in spec["description"]


def test_the_readings_show_the_papers_mean_and_std(specs):
    spec = specs["rank"]["mean-readings"]
    svg = texts(spec)
    assert "paper: 3·10⁻⁴" in svg
    assert "paper: 2.11·10⁻³" in svg
    for reading in rank.READINGS.values():
        assert reading in svg


def test_the_caption_of_the_spectrum_counts_what_is_in_the_store(specs):
    _, spectra, _ = synthetic.rank_case()
    attrs = next(s.attrs for s in spectra if (s.attrs["seed"], s.attrs["percent"]) == (0, 100))
    assert (
        f"{attrs['rank_float32']} of 13,338 eigenvalues" in specs["rank"]["spectrum"]["description"]
    )


def test_the_caption_by_arm_has_estimate_interval_and_n(specs):
    result, _, _ = synthetic.rank_case()
    value = result["arms"][0]["statistics"][0]["value"]
    caption = specs["rank"]["rank-by-arm"]["description"]
    assert f"text {value:.2f} % [{value - 0.2:.2f}, {value + 0.2:.2f}], mean of 3" in caption


def test_each_snapshot_has_its_line_and_threshold(specs):
    spec = specs["rank"]["spectrum"]
    assert len(spec["concat"]) == 2
    svg = texts(spec)
    for label in ("20 %", "40 %", "100 %", "arm: text", "arm: code"):
        assert f">{label}<" in svg
    lines = [table for table in tables(spec) if "eigenvalue" in table[0]]
    assert {row["snapshot"] for table in lines for row in table} == {"20 %", "40 %", "100 %"}
    assert {row["seed"] for table in lines for row in table} == {"0", "1", "2"}
    limits = [table for table in tables(spec) if "limit" in table[0]]
    assert [len(table) for table in limits] == [3, 3]


def tables(spec) -> list[list[dict[str, str]]]:
    """All embedded CSV tables of a spec."""
    texts = [text for text in spec["datasets"].values() if isinstance(text, str)]
    return [list(csv.DictReader(text.splitlines())) for text in texts]


def test_the_distance_shows_the_threshold_of_the_rule(specs):
    spec = specs["noise-independent-of-weights"]["distance"]
    assert "rule: below 0.301" in texts(spec)
    assert "lenet-code 0.510 decades" in spec["description"]


def test_an_error_of_zero_stays_zero_in_the_tooltip(specs):
    spec = specs["training-errors"]["error-curves"]
    rows = [row for table in tables(spec) if "drawn" in table[0] for row in table]
    zero = [row for row in rows if float(row["error"]) == 0]
    assert zero
    assert all(float(row["drawn"]) > 0 for row in zero)
    assert "paper: 0.75 %" in texts(spec)


def test_each_network_stands_against_its_own_errors(specs):
    for spec in specs["training-errors"].values():
        svg = texts(spec)
        for line in ("paper: 0.75 %", "paper: 11 % (training)", "paper: 17 % (test)"):
            assert f">{line}<" in svg
        said = "small-lenet errors 0.75 %; small-allcnn training error 11 %, test error 17 %"
        assert said in spec["description"]
    panels = specs["training-errors"]["final-errors"]["concat"]
    assert ["11 %" in json.dumps(panel, ensure_ascii=False) for panel in panels] == [False, True]


def test_each_network_has_a_mark_before_and_after_training(specs):
    spec = specs["spectrum-ranks-architectures"]["score-against-error"]
    assert len(spec["concat"]) == 2
    means = [table for table in tables(spec) if "seed" not in table[0] and "at_x" not in table[0]]
    assert [len({row["network"] for row in table}) for table in means] == [20, 20]
    for where in synthetic.NETWORKS:
        assert f">{where}<" in texts(spec)
    (check,) = (
        c for c in synthetic.architectures_case()[0]["checks"] if c["name"] == "all networks, 100 %"
    )
    value = check["statistic"]["value"]
    assert f"after 100 % of training {value:.3f} [" in spec["description"]


def test_networks_that_see_one_dataset_are_named_in_their_panels(specs):
    spec = specs["spectrum-ranks-architectures"]["within-datasets"]
    assert len(spec["concat"]) == 4  # two datasets, before and after training
    svg = texts(spec)
    for where in ("mnist-7x7", "cifar10-16x16"):
        for name in synthetic.NETWORKS[where]:
            assert svg.count(f">{name}<") == 2, name
    assert "small-lenet-text" not in svg


def test_without_a_dataset_of_five_networks_there_is_no_panel_for_it():
    result, spectra, runs = synthetic.architectures_case()
    whole = synthetic.drawn(result, spectra, runs)
    assert "within-datasets" in whole
    result["checks"] = [c for c in result["checks"] if c.get("of") == "all networks"]
    drawn = synthetic.drawn(result, spectra, runs)
    assert list(drawn) == ["score-against-error", "rank-correlations"]
    svg = texts(drawn["score-against-error"].to_dict())
    assert svg.count(">cnn-16-shallow<") == 2  # then every network is named there


def test_networks_are_drawn_by_the_seeds_that_all_have():
    result, spectra, runs = synthetic.architectures_case()
    for arm in result["arms"]:
        for entry in arm["statistics"]:
            entry["values"] = entry["values"][:2]
    kept = [r for r in runs if (r.attrs["run"], r.attrs["seed"]) != ("allcnn-text", 2)]
    drawn = synthetic.drawn(result, spectra, kept)
    rows = [t for t in tables(drawn["score-against-error"].to_dict()) if "seed" in t[0]]
    assert {row["seed"] for table in rows for row in table} == {"0", "1"}


def test_every_tau_stands_against_zero_and_the_rule(specs):
    spec = specs["spectrum-ranks-architectures"]["rank-correlations"]
    svg = texts(spec)
    assert "rule: −0.6" in svg
    assert "rule: 0.6" in svg
    for where in ("all networks", "mnist-7x7", "cifar10-16x16", "var λ(D) alone"):
        assert f">{where}<" in svg
    rows = next(table for table in tables(spec) if "from" in table[0])
    assert len(rows) == 2 * 6
    assert all(-1 <= float(row["low"]) <= float(row["high"]) <= 1 for row in rows)
    drawn_again = {row["of"] for row in rows if row["from"]}
    assert drawn_again == {"all networks", "mnist-7x7", "cifar10-16x16"}


def test_leading_eigenvalues_alone_are_enough():
    result, spectra, _ = synthetic.rank_case()
    short = [
        synthetic.spectrum(s.attrs["run"], s.attrs["seed"], s.attrs["percent"], leading=400)
        for s in spectra
    ]
    for spectrum in short:
        spectrum.attrs["rank_float64"] = float("nan")
    drawn = synthetic.drawn(result, short)
    spec = drawn["rank-curve"].to_dict()
    assert "not resolved with float64" in spec["description"]
    assert "d·ε(float64)" not in texts(spec)
    rows = [row for table in tables(spec) if "tau" in table[0] for row in table]
    assert all(float(row["rank"]) <= 100 * 400 / 13338 for row in rows)


def test_one_seed_and_one_snapshot_are_enough():
    result, spectra, _ = synthetic.rank_case()
    few = [s for s in spectra if (s.attrs["seed"], s.attrs["percent"]) == (0, 100)]
    for arm in result["arms"]:
        for entry in arm["statistics"]:
            entry |= {"interval": None, "n": 1, "values": entry["values"][:1]}
    for chart in synthetic.drawn(result, few).values():
        assert "NaN" not in texts(chart.to_dict())


def test_the_last_snapshot_looks_the_same_alone_and_among_others(specs):
    result, spectra, _ = synthetic.rank_case()
    last = [s for s in spectra if s.attrs["percent"] == 100]
    alone = texts(synthetic.drawn(result, last)["spectrum"].to_dict())
    dark = theme.ORDINAL[-1]
    assert f'stroke="{dark}"' in alone
    assert f'stroke="{dark}"' in texts(specs["rank"]["spectrum"])
    assert not [colour for colour in theme.ORDINAL[:-1] if colour in alone]


def test_training_and_test_error_have_the_same_colours_in_both_charts(specs):
    for spec in specs["training-errors"].values():
        svg = texts(spec)
        order = [svg.index(f">{label}<") for label in ("training error", "test error")]
        assert order == sorted(order)


def test_a_claim_without_a_verdict_has_no_charts():
    assert synthetic.drawn(synthetic.not_tested("sde-limit"), []) == {}


def test_the_caption_is_drawn_beside_the_measured_largest_eigenvalues(specs):
    spec = specs["rank"]["caption-arithmetic"]
    assert "all eigenvalues: 0.0156 to 0.245" in spec["description"]
    assert "text 0.628, 0.597, 0.617; code 2.51" in spec["description"]
    assert "impossible" not in texts(spec)
    (bars,) = [table for table in tables(spec) if "low" in table[0]]
    assert [float(row["low"]) < float(row["high"]) for row in bars] == [True] * 3


def test_an_impossible_reading_of_the_caption_has_a_row_without_a_bar():
    result, spectra, _ = synthetic.rank_case()
    paper = [{**number, "value": 18.5e-3} for number in result["paper"][2:]]
    drawn = synthetic.drawn(result | {"paper": result["paper"][:2] + paper}, spectra)
    spec = drawn["caption-arithmetic"].to_dict()
    assert "above threshold only: none at all" in spec["description"]
    svg = texts(spec)
    assert "clipped at threshold: none at all" in spec["description"]
    assert svg.count(">impossible<") == 2
    assert "above threshold only" in svg


def test_augmentations_are_drawn_for_arms_that_have_them():
    result, spectra, _ = synthetic.rank_case()
    for k, spectrum in enumerate(spectra):
        if spectrum.attrs["run"] == "small-lenet-text":
            spectra[k] = spectrum.assign(
                augmented_rank=("augmentations", np.array([133.38, 200.0, np.nan])),
                augmented_mean=("augmentations", np.array([1e-4, 2e-4, 3e-4])),
                augmentations=("augmentations", [1, 2, 4]),
            )
    drawn = synthetic.drawn(result, spectra)
    assert tuple(drawn) == folders.charts("rank")
    spec = drawn["augmentations"].to_dict()
    assert "text 1.00 % at 1, 1.50 % at 2. The paper's" in spec["description"]
    assert "code" not in spec["description"]
    svg = texts(spec)
    assert "NaN" not in svg
    assert "paper: 1.8" in svg
    assert "paper: 3·10⁻⁴" in svg


def test_an_unknown_folder_is_named():
    result, spectra, _ = synthetic.rank_case()
    with pytest.raises(LimitcyclesError, match=r"no charts.py in .*/ranks; .* rank, "):
        synthetic.drawn(result | {"judged_by": "ranks"}, spectra)


def test_values_without_a_seed_are_refused():
    result, spectra, _ = synthetic.rank_case()
    result = copy.deepcopy(result)
    result["arms"][0]["statistics"][0]["values"].append(1.0)
    with pytest.raises(data.ChartDataError, match="4 values for 3 seeds"):
        synthetic.drawn(result, spectra)


def test_a_spectrum_of_zeros_is_refused():
    result, spectra, _ = synthetic.rank_case()
    spectra[0]["eigenvalue"][:] = 0.0
    with pytest.raises(data.ChartDataError, match=r"small-lenet-text.*no positive eigenvalue"):
        synthetic.drawn(result, spectra)


def test_the_caption_of_the_rank_curve_tells_the_mean_of_the_table():
    """Ranks 34 and 15 of 13,338: 0.169 % as in the table, not 0.184 %, which is the arithmetic."""
    result, spectra, runs = synthetic.CASES["rank"]()
    arm = result["arms"][0]
    mine = [s for s in spectra if s.attrs["run"] == arm["run"] and s.attrs["percent"] == 100]
    for spectrum, above in zip(mine, (34, 15, 15), strict=False):
        spectrum.attrs["rank_float32"] = above
    weights = mine[0].attrs["weights"]
    percent = [100 * s.attrs["rank_float32"] / weights for s in mine]
    table = statistic("rank(D)/d", percent, scale=SHARE_LOG, unit="%", level=0.95)
    caption = synthetic.drawn(result, spectra, runs)["rank-curve"].to_dict()["description"]
    assert f"{arm['name']} {wording.number(table['value'])} % with float32" in caption
    assert f"as {table['kind']} over seeds" in caption
