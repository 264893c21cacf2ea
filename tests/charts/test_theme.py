"""The one look: readable on light and on dark, safe for colour-blind readers."""

import re

import altair as alt
import pytest

from limitcycles.charts import theme

WHITE, NIGHT = "#ffffff", "#14171b"  # the backgrounds of the report page


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize(("config", "ground"), [(theme.theme(), WHITE), (theme.dark(), NIGHT)])
def test_text_and_lines_stand_out(config, ground):
    texts = [config["axis"]["labelColor"], config["axis"]["titleColor"], config["title"]["color"]]
    texts += [config["style"][style]["color"] for style in ("paper-label", "threshold-label")]
    assert min(contrast(colour, ground) for colour in texts) >= 4.5
    # The palest colours of Okabe and Ito reach 2.2 on white; shapes, dashes and rows help there.
    assert min(contrast(colour, ground) for colour in config["range"]["category"]) >= 2.2


@pytest.mark.parametrize(("config", "ground"), [(theme.theme(), WHITE), (theme.dark(), NIGHT)])
def test_snapshots_are_ordered_by_lightness(config, ground):
    light = [luminance(colour) for colour in config["range"]["ordinal"]]
    assert light == sorted(light, reverse=True)
    assert max(light) / min(light) > 1.5


def test_the_dark_colours_replace_all_light_ones():
    light = set(re.findall(r"#[0-9a-fA-F]{6}", str(theme.theme())))
    mixed = str(theme._merged(theme.theme(), theme.dark()))
    assert not {colour for colour in light if colour in mixed} - set(
        theme.dark()["range"]["category"]
    )


def test_the_theme_is_registered_with_altair():
    assert theme.NAME in alt.theme.names()
    with alt.theme.enable(theme.NAME):
        spec = alt.Chart(alt.InlineData(values=[])).mark_point().to_dict()
    assert spec["config"] == theme.theme()


def test_a_dressed_chart_has_title_caption_and_theme():
    chart = alt.Chart(alt.InlineData(values=[])).mark_point()
    spec = theme.dressed(chart, "A title", "A caption.").to_dict()
    assert (spec["title"], spec["description"]) == ("A title", "A caption.")
    assert spec["config"]["range"]["category"] == theme.CATEGORY
