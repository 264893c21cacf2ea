"""Where a result comes from: the attributes that every store and every claim carries."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from limitcycles import __version__


@cache
def code_version() -> str:
    """Version and digest of the library's own source, such as "0.1.0+src.1f2e3d4c5b".

    The digest changes with any byte of any module, committed or not.
    """
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return f"{__version__}+src.{digest.hexdigest()[:10]}"
