"""The whole workflow at the quick scale, end to end, without a network."""

import json

import pytest
import xarray as xr
from helpers import claims

from limitcycles.judging import ledger

pytestmark = pytest.mark.workflow

VERDICTS = {
    "reproduced",
    "reproduced with a caveat",
    "not reproduced",
    "contradicted",
    "not tested",
}


def results(quick):
    folder = quick.folder / "results" / "quick"
    return folder, json.loads((folder / "claims.json").read_text())


def test_every_claim_of_the_ledger_has_a_result(quick):
    folder, merged = results(quick)
    book = claims()
    assert [c["id"] for c in merged["claims"]] == list(book)
    for claim in merged["claims"]:
        assert json.loads((folder / "claims" / f"{claim['id']}.json").read_text()) == claim
        assert claim["verdict"] in VERDICTS
        left_out = claim["id"] == "rank-cifar100"  # whose runs belong to the larger scales
        untested = left_out or not ledger.is_tested(book[claim["id"]])
        assert (claim["verdict"] == "not tested") == untested
        assert claim["rule"] == book[claim["id"]]["rule"]
        if claim["verdict"] == "not tested":
            assert claim["reason"]
            assert (claim["reason"] == "not run at this scale") == left_out
        else:
            assert {c["kind"] for c in claim["controls"]} == {"positive", "negative"}
            assert claim["scale"] == "quick"
            if claim["group"] == "networks":  # digits are not MNIST
                assert claim["caveat"] or claim["verdict"] != "reproduced"
            for name in claim["artefacts"]:
                assert (quick.folder / name).exists()
        if not all(c["passed"] for c in claim["controls"]):
            assert not claim["verdict"].startswith("reproduced")


def test_stores_open_with_xarray_and_carry_their_origin(quick):
    folder, _ = results(quick)
    run = xr.open_zarr(f"zip::{folder}/runs/small-lenet-text/seed0.zarr.zip")
    assert run.sizes["weight"] == 13338
    assert run["percent"].values.tolist() == [0, 20, 40, 100]
    spectra = f"{folder}/spectra/small-fc-text/seed1/0-20-40-100"
    spectrum = xr.open_zarr(f"zip::{spectra}/at100.zarr.zip")
    assert (spectrum.attrs["run"], spectrum.attrs["seed"]) == ("small-fc-text", 1)
    assert spectrum.attrs["weights"] == 3978
    kept = f"{folder}/gradients/small-lenet-text/seed0/0-20-40-100/sample"
    sample = xr.open_zarr(f"zip::{kept}/at100.zarr.zip")
    assert sample["gradient"].shape == (600, 13338)
    for store in (run, spectrum, sample):
        assert store.attrs["code_version"]


def test_full_gradient_matrices_are_gone(quick):
    assert not list((quick.folder / "results/quick/gradients").rglob("*.zarr"))


def test_checkpoints_of_finished_runs_are_gone(quick):
    assert not list((quick.folder / "state").rglob("*.pt"))


def test_charts_stand_in_three_forms(quick):
    folder, merged = results(quick)
    for claim in merged["claims"]:
        specs = list((folder / "figures" / claim["id"]).glob("*.vl.json"))
        assert bool(specs) == (claim["verdict"] != "not tested")
        for spec in specs:
            stem = spec.name.removesuffix(".vl.json")
            assert "<svg" in (spec.parent / f"{stem}.svg").read_text()
            page = (spec.parent / f"{stem}.html").read_text()
            assert 'src="http' not in page


def test_nothing_is_left_to_do_and_the_dry_run_says_so(quick):
    finished = quick.run("-n", "--config", "scale=quick")
    assert finished.returncode == 0
    assert "Nothing to be done" in finished.stdout


def test_another_data_folder_makes_nothing_anew(quick):
    finished = quick.run("-n", "--config", "scale=quick", "data_folder=/elsewhere")
    assert finished.returncode == 0
    assert "Nothing to be done" in finished.stdout


def test_a_changed_setting_runs_only_what_depends_on_it(quick):
    finished = quick.run(
        "-n", "--config", "scale=quick", "runs={small-lenet-code: {training: {epochs: 21}}}"
    )
    stats = finished.stdout.split("Job stats:")[1].split("total")[0]
    counts = {line.split()[0]: line.split()[1] for line in stats.splitlines()[3:] if line.split()}
    assert counts["train"] == "1"  # the one seed of that run
    assert counts["gradients"] == "1"
    assert "dataset" not in counts
    assert counts["claim"] == "3"  # training-errors, rank-small-lenet, noise-independent-...


def test_reports_are_small_enough(quick):
    for page in ("report.html", "results/quick/report/claims.html"):
        assert 10_000 < (quick.folder / page).stat().st_size < 15 * 2**20
