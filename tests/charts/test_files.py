"""A chart as spec, page and picture."""

import json
import re
from xml.etree import ElementTree

import pytest
import small_disk
import synthetic

from limitcycles.charts import files
from limitcycles.storage.files import StorageError

SCRIPTS = "vegaEmbed = (...all) => Promise.resolve(all)"


@pytest.fixture(scope="module")
def chart():
    return synthetic.drawn(*synthetic.training_case())["final-errors"]


def test_spec_page_and_picture(chart, tmp_path):
    files.save(chart, tmp_path / "new" / "final-errors", SCRIPTS)
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == sorted(f"final-errors{suffix}" for suffix in files.SUFFIXES)

    spec = json.loads((tmp_path / "new" / "final-errors.vl.json").read_text(encoding="utf-8"))
    assert spec == chart.to_dict()

    page = (tmp_path / "new" / "final-errors.html").read_text(encoding="utf-8")
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)=", page)
    assert SCRIPTS in page
    assert "<title>final-errors</title>" in page

    svg = ElementTree.parse(tmp_path / "new" / "final-errors.svg").getroot()
    assert float(svg.get("width")) > 300
    assert "paper: 0.75 %" in "".join(svg.itertext())


def test_equal_charts_give_equal_files(chart, tmp_path):
    for name in ("one", "two"):
        files.save(chart, tmp_path / name / "a", SCRIPTS)
    for suffix in files.SUFFIXES:
        one, two = (tmp_path / name / f"a{suffix}" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_a_failed_save_leaves_the_old_files(chart, tmp_path):
    files.save(chart, tmp_path / "a", SCRIPTS)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with small_disk.files_of_at_most(100), pytest.raises(StorageError, match="too large"):
        files.save(chart, tmp_path / "a", SCRIPTS)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
