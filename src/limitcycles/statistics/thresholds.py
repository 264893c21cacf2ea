"""The paper's threshold of the rank; apart, so that charts need not load PyTorch for it."""

from __future__ import annotations

import numpy as np

EPS = {"float32": float(np.finfo(np.float32).eps), "float64": float(np.finfo(np.float64).eps)}


def paper_threshold(weights: int, precision: str = "float32") -> float:
    """τ of the paper's rank: λ > λ_1 · d · machine epsilon (Sec. IV-A); its code used float32."""
    return weights * EPS[precision]
