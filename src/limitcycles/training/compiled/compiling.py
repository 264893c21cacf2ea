"""`compiled`: functions in machine code, kept on disk for as long as all of their source stays.

Numba itself looks at the file of each function only: after a change of `kernels` it would go
on with the loops that were compiled from the old ones.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import platformdirs
from numba import config, njit

from limitcycles.storage import sources

UNUSED = 30 * 24 * 3600  # seconds: no process that began before is still to compile

# No fast mathematics: code from the cache may be optimised otherwise than code compiled just now,
# and must give the same bits. Where a product and a sum are to be fused, it is written so.
OPTIONS = {"error_model": "numpy", "nogil": True}


def compiled(function: Callable) -> Callable:
    """`numba.njit` of a function of this package; compiled in each process where no folder can be
    written."""
    return kept(lambda **how: njit(**how, **OPTIONS)(function))


def kept(make: Callable, keep: bool = True) -> Callable:
    """`make(cache=...)`, what is compiled there kept on disk where a folder can be written."""
    folder = _folder() if keep else None
    if folder is None:
        return make(cache=False)
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)  # read where a function is decorated
    try:
        return make(cache=True)
    finally:
        config.CACHE_DIR = before


@cache
def _folder() -> Path | None:
    """Where code compiled from this source is kept: in $NUMBA_CACHE_DIR, beside the source, or in
    the user's cache.

    Each process that begins touches its folder; those that none has touched for long are deleted.
    """
    beside = Path(__file__).parent / "__pycache__"
    places = [Path(config.CACHE_DIR)] if config.CACHE_DIR else [beside]
    source = sources.digest("limitcycles.training.compiled.loops")
    for place in [*places, platformdirs.user_cache_path("limitcycles") / "compiled"]:
        folder = place / f"compiled-{source}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "writable").touch()
        except OSError:
            continue
        _forget(place)
        return folder
    return None


def _forget(place: Path) -> None:
    """Delete what earlier sources have left; another process may be at the same."""
    for mark in place.glob("compiled-*/writable"):
        with contextlib.suppress(OSError):
            if time.time() - mark.stat().st_mtime > UNUSED:
                shutil.rmtree(mark.parent)
