"""Where tensors live."""

import torch

from limitcycles.runtime.errors import LimitcyclesError


def pick_device(name: str) -> torch.device:
    """The device for "auto", "cpu" or "cuda". Raises LimitcyclesError: there is no CUDA device."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise LimitcyclesError("device: cuda, but torch finds no CUDA device; use auto or cpu")
    return torch.device(name)
