"""The small tables that charts embed."""

import io

import numpy as np
import pandas as pd
import pytest
import synthetic

from limitcycles.charts import data


@pytest.mark.parametrize("count", [1, 2, 50, 13338, 10**6])
def test_thinning_keeps_the_ends_and_the_order(count):
    kept = data.thin(count, 100)
    assert kept[0] == 0
    assert kept[-1] == count - 1
    assert kept.size <= 100
    assert (np.diff(kept) > 0).all()


def test_thinning_is_even_on_a_log_scale():
    steps = np.diff(np.log(data.thin(10**6, 100)[50:] + 1))
    assert steps.max() / steps.min() < 1.01


def test_nothing_is_thinned_to_nothing():
    assert data.thin(0).size == 0


def test_a_table_is_csv_with_types():
    frame = pd.DataFrame({"value": [1.23456789, np.nan], "n": [1, 2], "name": ["a, b", "c"]})
    embedded = data.table(frame).to_dict()
    assert embedded["format"]["parse"] == {"value": "number", "n": "number", "name": "string"}
    back = pd.read_csv(io.StringIO(embedded["values"]))
    assert back["value"][0] == 1.2346
    assert np.isnan(back["value"][1])
    assert list(back["name"]) == ["a, b", "c"]


def test_stores_of_an_arm_come_by_seed_and_percent():
    result, spectra, _ = synthetic.rank_case()
    found = synthetic.evidence(result, spectra[::-1], [])
    mine = data.of_arm(found.spectra, result, result["arms"][0])
    found = [(spectrum.attrs["seed"], spectrum.attrs["percent"]) for spectrum in mine]
    assert found == [(seed, percent) for seed in (0, 1, 2) for percent in (20, 40, 100)]


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda result: data.paper_value(result, "tau"), ["'tau'", "in the ledger"]),
        (lambda result: data.rule_parameter(result, "tau"), ["'tau'", "in the ledger"]),
        (lambda result: data.of_arm({}, result, result["arms"][0]), ["small-lenet-text"]),
        (
            lambda result: data.statistic(result, result["arms"][0], "tau"),
            ["'tau'", "'rank(D)/d'", "anew"],
        ),
    ],
)
def test_a_missing_number_is_named(ask, words):
    result, _, _ = synthetic.rank_case()
    with pytest.raises(data.ChartDataError) as error:
        ask(result)
    for word in ["rank-small-lenet", *words]:
        assert word in str(error.value)
