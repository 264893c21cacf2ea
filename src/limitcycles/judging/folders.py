"""Where the code of a claim lies: `papers/<paper>/<its id with _>/`, found by name.

A folder may hold `measure.py`, `rule.py` and `charts.py`. Nothing here imports them: what they
declare in capitals, as literals, is read from their text.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.storage import sources

PAPERS = sources.ROOT / "papers"


@cache
def known() -> dict[str, str]:
    """The package of each folder by id: {"rank": "limitcycles.papers.chaudhari2018.rank", ...}.

    Raises LimitcyclesError: two papers have a folder of the same name.
    """
    found: dict[str, str] = {}
    for folder in sorted(PAPERS.glob("*/*/")):
        if not any(folder.glob("*.py")):
            continue
        claim = folder.name.replace("_", "-")
        package = f"{sources.PACKAGE}.papers.{folder.parent.name}.{folder.name}"
        if claim in found:
            raise LimitcyclesError(
                f"the claim {claim} has two folders, {found[claim]} and {package}; ids are unique "
                "over all papers: rename one"
            )
        found[claim] = package
    return found


def with_file(file: str) -> list[str]:
    """The ids whose folder has that file ("rule", "measure" or "charts")."""
    return [claim for claim in known() if has(claim, file)]


def has(claim: str, file: str) -> bool:
    """Whether there is a folder of that id and the file, such as "rule", in it."""
    return claim in known() and sources.exists(f"{known()[claim]}.{file}")


def module(claim: str, file: str) -> str:
    """The full name of that file of a claim. Raises LimitcyclesError: there is none."""
    if not has(claim, file):
        raise LimitcyclesError(
            f"there is no {file}.py in a folder papers/<paper>/{claim.replace('-', '_')}; "
            f"those that have one: {', '.join(with_file(file))}"
        )
    return f"{known()[claim]}.{file}"


@cache
def declared(claim: str, file: str) -> dict[str, Any]:
    """What that file of a claim declares in capitals, without importing it; see `module`."""
    return sources.literals(module(claim, file))


def charts(claim: str) -> tuple[str, ...]:
    """Names of the charts that a folder can have, in order; see `module`."""
    return declared(claim, "charts")["NAMES"]
