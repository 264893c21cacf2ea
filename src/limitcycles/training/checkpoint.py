"""The state of an unfinished run, on disk."""

from __future__ import annotations

import io
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from limitcycles.configuration.settings import digest, identity, own_code
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.storage import sources
from limitcycles.storage.files import check_zip, replacing


class CheckpointError(LimitcyclesError):
    """A checkpoint that cannot be used."""


def key(
    module: str, run: dict, seeds: list[int], data: str, device: torch.device | None, **more: Any
) -> str:
    """The key of a training: a digest of all that decides its bits, but for the processor.

    `run`: resolved settings; `data`: the digest of the original data; `more`: settings of this way
    of training, for JSON; `module` and `device` as in `means`.
    """
    decides = {"run": identity(run), "seeds": seeds, "data": data, **more}
    return digest(decides | means(module, own_code(run), device))


def means(module: str, own: list[str | None], device: torch.device | None) -> dict[str, Any]:
    """What decides the bits of any computation beside its settings and data, for its key.

    The `module` that computes counts by its source and that of all it imports of the library, what
    settings name by `own` (`settings.own_code`), the packages that compute by their versions; the
    number of threads where torch computes on the CPU, as the order of sums depends on it. `device`:
    None for the compiled loops.
    """
    return {
        "device": device and device.type,
        "threads": torch.get_num_threads() if device and device.type == "cpu" else None,
        "code": sources.digest(module),
        "own code": own,
        "torch": torch.__version__,  # with the version of CUDA, which metadata have not
        **{package: version(package) for package in ("numpy", "numba", "llvmlite")},
    }


class Checkpoint:
    """The state of one run, in a file named after `key`, the digest of all that decides the run.

    Changed settings have another key, so that they never continue an old run.
    """

    def __init__(self, folder: Path, key: str):
        self.path = Path(folder) / f"checkpoint-{key}.pt"
        self.key = key

    def save(self, state: dict) -> None:
        """Write the state, whole or not at all. Raises StorageError: no space."""
        content = io.BytesIO()  # torch itself reports a full disk as a RuntimeError
        torch.save(state | {"key": self.key}, content)
        with replacing(self.path) as temporary:
            temporary.write_bytes(content.getbuffer())

    def load(self) -> dict | None:
        """The saved state, on the CPU, or None. Only tensors and plain values are unpickled.

        Raises CheckpointError: it is damaged, or belongs to other settings.
        """
        if not self.path.exists():
            return None
        try:
            check_zip(self.path)
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            key = state["key"]
        except Exception as error:  # torch raises many types, with advice that is not for a user
            raise CheckpointError(
                f"the checkpoint {self.path} is damaged, or no checkpoint of this program "
                f"({type(error).__name__}). Delete it to train from the start."
            ) from error
        if key != self.key:
            raise CheckpointError(
                f"the checkpoint {self.path} belongs to other settings. Delete it to train "
                "from the start."
            )
        return state
