"""Global contrast normalisation, and whitening by zero-phase component analysis (ZCA)."""

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from limitcycles.runtime.progress import track

_BLOCK = 2000  # images worked on at a time
_SLOW_S = 10.0


def normalise_contrast(images: np.ndarray) -> np.ndarray:
    """Each image less its mean, over its standard deviation, float32 of the same shape.

    Mean and standard deviation are over all numbers of an image, of all channels:

        x ← (x - mean(x)) / std(x).

    An image of one value everywhere has no contrast: it becomes zero.
    """
    found = np.empty(images.shape, np.float32)
    axes = tuple(range(1, images.ndim))
    for start in range(0, len(images), _BLOCK):
        block = images[start : start + _BLOCK].astype(np.float64)
        largest = np.abs(block).max(axis=axes, keepdims=True)
        block -= block.mean(axis=axes, keepdims=True)
        spread = block.std(axis=axes, keepdims=True)
        flat = spread <= 1e-12 * largest  # zero but for the rounding of the mean
        block /= np.where(flat, 1.0, spread)
        found[start : start + _BLOCK] = np.where(flat, 0.0, block)
    return found


@dataclass(frozen=True)
class Whitening:
    """The map x ← W (x - mean), with mean (d) and W (d, d) symmetric, both float32."""

    mean: np.ndarray
    matrix: np.ndarray

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """The images (n, ...) mapped, float32 of the same shape; computed in float32."""
        flat = images.reshape(len(images), -1)
        found = np.empty(flat.shape, np.float32)
        starts = range(0, len(flat), _BLOCK)
        for start in track(starts, unit="block", what="whitening", delay=_SLOW_S):
            rows = slice(start, start + _BLOCK)
            np.matmul(flat[rows] - self.mean, self.matrix, out=found[rows])
        return found.reshape(images.shape)


def zca(images: np.ndarray, regulariser: float) -> Whitening:
    """The ZCA whitening of images (n, ...) of d numbers each, fitted on them.

    With C = U diag(λ) Uᵀ the covariance of the images (d, d), over n,

        W = U diag((λ + ε)^-1/2) Uᵀ,

    so that the covariance of W (x - mean) is U diag(λ / (λ + ε)) Uᵀ (Krizhevsky 2009, appendix A;
    ε is `regulariser`, in the square of the units of the images). C and its eigenvectors are
    computed in float64, because directions of small λ are what W enlarges.
    """
    flat = images.reshape(len(images), -1)
    mean = flat.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((flat.shape[1],) * 2, order="F")
    starts = range(0, len(flat), _BLOCK)
    for start in track(starts, unit="block", what="covariance", delay=_SLOW_S):
        block = flat[start : start + _BLOCK] - mean
        # Adds blockᵀ block to the upper triangle.
        covariance = linalg.blas.dsyrk(
            1.0, block.T, beta=1.0, c=covariance, overwrite_c=True, trans=0
        )
    values, vectors = linalg.eigh(
        covariance / len(flat), lower=False, overwrite_a=True, check_finite=False, driver="evd"
    )
    # Rounding may leave a null direction just below zero.
    scaled = vectors * (np.clip(values, 0, None) + regulariser) ** -0.25
    return Whitening(mean.astype(np.float32), (scaled @ scaled.T).astype(np.float32))
