"""The state of an unfinished run, on disk."""

from __future__ import annotations

import io
from pathlib import Path

import torch

from limitcycles.errors import LimitcyclesError
from limitcycles.files import check_zip, replacing


class CheckpointError(LimitcyclesError):
    """A checkpoint that cannot be used."""


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
