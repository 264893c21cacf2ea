"""Charts of a result as a reader meets them; what holds for every chart is checked here."""

import json
import warnings
from typing import Any, NamedTuple

import vl_convert
from helpers import drawn_from


class Drawn(NamedTuple):
    """A chart: its Vega-Lite specification, its caption, and its picture."""

    spec: dict[str, Any]
    caption: str
    svg: str


def drawn(result: dict, evidence, *, most: int = 480, holes: bool = False) -> dict[str, Drawn]:
    """The charts of a result by name, those of its instruments left out.

    Each has a title, a caption of whole sentences with fewer than `most` letters, few rows, and no
    number that is missing; with `holes` a picture may have nothing where there is nothing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        specs = drawn_from(result | {"instruments": []}, evidence)
    return {name: _checked(spec, most, holes) for name, spec in specs.items()}


def _checked(spec: dict[str, Any], most: int, holes: bool) -> Drawn:
    text, svg = json.dumps(spec), vl_convert.vegalite_to_svg(spec)
    assert spec["description"].endswith(".")
    assert len(spec["description"]) < most
    assert text.count("\\n") < 3000
    for missing in ("NaN", "undefined", "Infinity", "null, null"):
        assert missing not in text
        assert holes or missing not in svg
    return Drawn(spec, spec["description"], svg)
