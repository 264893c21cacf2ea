"""Two folders of results are equal, or each difference is named by its path."""

import copy
import json

import compare_results
import pytest

CLAIM = {
    "id": "a",
    "verdict": "reproduced",
    "caveat": "one seed only",
    "statistic": {"value": 0.1, "interval": [0.0, 1.0], "missing": float("nan")},
    "code_version": "1",
    "config_hash": "c1",
    "artefacts": ["results/quick/studies/a"],
    "evaluator": "a",
}
CHART = {"datasets": {"d": [{"x": 1, "y": 2.5}]}, "encoding": {"x": {"field": "x"}}}
PAGE = "<style>p {{}}</style><p>{verdict}</p><code>{code}</code><li>{path}</li>"


@pytest.fixture
def folders(tmp_path):
    """Two equal folders of results, but for how they were made."""

    def write(name, claim, page):
        top = tmp_path / name
        for folder in ("claims", "figures/a", "report"):
            (top / folder).mkdir(parents=True)
        (top / "claims/a.json").write_text(json.dumps(claim))
        (top / "figures/a/one.vl.json").write_text(json.dumps(CHART))
        (top / "claims.csv").write_text("claim,value\na,0.1\n")
        (top / "report/claims.html").write_text(PAGE.format(**page))
        return top

    old = write("old", CLAIM, {"verdict": "fine", "code": "1", "path": "results/quick/studies/a"})
    made = {"code_version": "2", "config_hash": "c2", "artefacts": ["results/quick/m/a"]}
    claim = copy.deepcopy(CLAIM) | made | {"judged_by": "b"}
    del claim["evaluator"]
    return old, write("new", claim, {"verdict": "fine", "code": "2", "path": "results/quick/m/a"})


def test_what_says_how_results_were_made_is_no_difference(folders, capsys):
    assert compare_results.main([str(folder) for folder in folders]) == 0
    assert capsys.readouterr().out.startswith("0 differences; 1 claims and 1 charts")


@pytest.mark.parametrize(
    ("file", "change", "line"),
    [
        ("claims/a.json", ('"reproduced"', '"contradicted"'), 'verdict: "reproduced" -> "contr'),
        ("claims/a.json", ("one seed", "two seeds"), 'caveat: "one seed only" -> "two seeds only"'),
        ("claims/a.json", ("0.1", "0.10000000000000002"), "value: 0.1 -> 0.10000000000000002"),
        ("claims/a.json", ("[0.0", "[-0.0"), "statistic.interval[0]: 0.0 -> -0.0"),
        ("claims/a.json", ("[0.0, ", "["), "statistic.interval: 2 entries -> 1"),
        ("claims/a.json", ("1.0]", "1]"), "statistic.interval[1]: 1.0 -> 1"),
        ("claims/a.json", ('"caveat"', '"remark"'), 'caveat: "one seed only" -> nothing'),
        ("figures/a/one.vl.json", ("2.5", "2.4"), "datasets.d[0].y: 2.5 -> 2.4"),
        ("figures/a/one.vl.json", ('"field": "x"', '"field": "y"'), 'field: "x" -> "y"'),
        ("claims.csv", ("0.1", "0.2"), '[0]: value: "0.1" -> "0.2"'),
        ("report/claims.html", ("fine", "finer"), "+finer"),
    ],
)
def test_any_other_difference_is_named(folders, capsys, file, change, line):
    path = folders[1] / file
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))
    assert compare_results.main([str(folder) for folder in folders]) == 1
    said = capsys.readouterr().out
    assert any(each.startswith(f"{file}") and line in each for each in said.splitlines()), said


@pytest.mark.parametrize("file", ["claims/a.json", "figures/a/one.vl.json", "claims.csv"])
def test_a_file_of_one_folder_only_is_named(folders, capsys, file):
    old, new = folders
    (new / "claims/b.json").write_text("{}")  # there must be some claim
    (old / file).unlink()
    assert compare_results.main([str(old), str(new)]) == (2 if "claims/" in file else 1)
    (old / "claims/b.json").write_text("{}")
    assert compare_results.main([str(old), str(new)]) == 1
    assert f"{file}: is only in {new}" in capsys.readouterr().out


def test_folders_without_claims_are_refused(tmp_path, capsys):
    assert compare_results.main([str(tmp_path), str(tmp_path)]) == 2
    assert "name a folder as results/quick" in capsys.readouterr().err
