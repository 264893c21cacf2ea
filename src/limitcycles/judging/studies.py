"""Studies: the computations behind the claims of the theory.

A study needs no dataset and no network. It is a module of this package with a function
`study(settings) -> {part: Dataset}`, `settings` being the section `theory` of the configuration;
`limitcycles.judging.judge` judges what it returns. Name it in the ledger (`study: <module>`).
"""

from __future__ import annotations

import importlib
from pathlib import Path

import xarray as xr

from limitcycles.runtime.errors import LimitcyclesError

PAPER = Path(__file__).parents[1] / "papers" / "chaudhari2018"


def run(name: str, settings: dict) -> dict[str, xr.Dataset]:
    """Run one study. Raises LimitcyclesError: there is no study of that name."""
    known = sorted(p.parent.name for p in PAPER.glob("*/measure.py"))
    if name not in known:
        raise LimitcyclesError(
            f"config/claims.yaml names the study {name!r}; known: {', '.join(known) or '(none)'}"
        )
    return importlib.import_module(f"limitcycles.papers.chaudhari2018.{name}.measure").study(
        settings
    )
