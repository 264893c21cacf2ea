"""A chart as files: Vega-Lite spec, page, picture."""

import json
from functools import cache
from importlib import resources
from pathlib import Path

import altair as alt
import jinja2
import vl_convert

from limitcycles.storage.files import write_json, write_text

SUFFIXES = (".vl.json", ".html", ".svg")
OPTIONS = {"actions": {"export": True, "source": True, "editor": False}}


def scripts() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, of the version that Altair's specs are for.

    To put it together takes a second or two. It can stand inside an HTML page.
    """
    bundle = vl_convert.javascript_bundle(vl_version=_version())
    return bundle.replace("</script", r"<\/script")


def _version() -> str:
    return "_".join(alt.SCHEMA_VERSION.split(".")[:2])


def save(chart: alt.TopLevelMixin, stem: Path, scripts: str) -> None:
    """Write ``stem.vl.json``, ``stem.html`` and ``stem.svg``, each whole or not at all.

    The page holds `scripts` (see the function of that name) and needs no network. Folders are
    made. Raises StorageError: no space, or no permission.
    """
    spec, page, picture = (Path(f"{stem}{suffix}") for suffix in SUFFIXES)
    content = chart.to_dict()
    write_json(spec, content)
    write_text(
        page,
        _template().render(
            name=stem.name,
            scripts=scripts,
            spec=json.dumps(content).replace("</", r"<\/"),
            options=json.dumps(OPTIONS),
        ),
    )
    write_text(picture, vl_convert.vegalite_to_svg(content, vl_version=_version()))


@cache
def _template() -> jinja2.Template:
    text = (
        resources.files("limitcycles.charts").joinpath("templates/chart.html.j2").read_text("utf-8")
    )
    return jinja2.Template(text)
