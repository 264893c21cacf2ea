"""Pickles of plain data and NumPy arrays, read without running anything else."""

import io
import pickle
from typing import Any

from limitcycles.datasets.errors import ContentError

# The globals of an array that was pickled with protocol 2, under their old and new names.
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise ContentError(f"its pickle asks for {module}.{name}, which is never run")
        # NumPy 2 moved the module; the old name warns.
        return super().find_class(module.replace("numpy.core.", "numpy._core."), name)


def load(content: bytes) -> Any:
    """What a pickle of dicts, lists, numbers, bytes, text and NumPy arrays holds.

    The text of Python 2 comes as bytes.

    Raises
    ------
    ContentError
        It is no sound pickle, or asks for anything but the making of an array.
    """
    try:
        return _Restricted(io.BytesIO(content), encoding="bytes").load()
    except ContentError:
        raise
    except Exception as error:  # a spoilt pickle can raise nearly anything
        raise ContentError(f"it is not a sound pickle ({type(error).__name__}: {error})") from error
