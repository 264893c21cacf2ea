"""Axes, scales and reference lines."""

import altair as alt
import pytest
import vl_convert

from limitcycles.charts import parts


def test_decades_lie_within_the_range_and_are_few():
    assert parts.decades(0.5, 200) == [1, 10, 100]
    assert parts.decades(1e-3, 1e-3) == [1e-3]
    many = parts.decades(1e-16, 1e-1)
    assert len(many) <= 7
    assert all(1e-16 <= value <= 1e-1 for value in many)


def drawn(low: float, high: float, **options) -> str:
    """SVG of a log axis from `low` to `high`."""
    axis = parts.log_axis("x (unit)", low, high, **options)
    chart = alt.Chart(alt.InlineData(values=[{"x": low}, {"x": high}])).mark_point()
    chart = chart.encode(x=alt.X("x:Q", scale=parts.log_scale(low, high), axis=axis))
    return vl_convert.vegalite_to_svg(chart.to_dict())


def test_a_log_axis_writes_powers_of_ten():
    svg = drawn(1e-12, 1e6)
    for label in ("10⁻¹²", "10⁻⁹", "10⁻³", "10⁰", "10³", "10⁶", "x (unit)"):
        assert f">{label}<" in svg


def test_a_plain_log_axis_writes_numbers():
    svg = drawn(0.01, 100, plain=True)
    for label in ("0.01", "0.1", "1", "10", "100"):
        assert f">{label}<" in svg


def test_a_log_axis_within_one_decade_still_has_labels():
    svg = drawn(1.2, 8)
    assert ">2<" in svg
    assert ">5<" in svg


@pytest.mark.parametrize(
    ("values", "low", "high"), [([1, 2], 0, 2.08), ([-1, 1], -1.08, 1.08), ([0.5], 0, 0.52)]
)
def test_a_scale_from_zero_holds_all_values(values, low, high):
    assert parts.zero_scale(values).to_dict()["domain"] == pytest.approx([low, high])
