"""A chart as files: Vega-Lite spec, page, picture."""

import contextlib
from pathlib import Path

import altair as alt

from limitcycles.files import replacing, write_json

SUFFIXES = (".vl.json", ".html", ".svg")


def save(chart: alt.TopLevelMixin, stem: Path) -> None:
    """Write ``stem.vl.json``, ``stem.html`` and ``stem.svg``, each whole or not at all.

    The page holds its scripts and needs no network. Folders are made. Raises StorageError: no
    space, or no permission.
    """
    spec, page, picture = (Path(f"{stem}{suffix}") for suffix in SUFFIXES)
    write_json(spec, chart.to_dict())
    with contextlib.ExitStack() as stack:
        chart.save(
            stack.enter_context(replacing(page)),
            format="html",
            inline=True,
            embed_options={"actions": {"export": True, "source": True, "editor": False}},
        )
        chart.save(stack.enter_context(replacing(picture)), format="svg")
