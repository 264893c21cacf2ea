"""Spectrum of the diffusion matrix D(x) = (1/N) Σ_k g_k g_kᵀ − ḡ ḡᵀ (Eq. 2 of the paper).

g_k are the N per-sample gradients, the rows of G, shape (N, d); ḡ is their mean.

`exact` gives every eigenvalue in float64. `matrix_free` gives the leading ones without forming D,
by block Krylov iteration with full reorthogonalisation and Rayleigh-Ritz (Golub & Underwood 1977;
Musco & Musco 2015, arXiv 1504.05477). It multiplies in the precision in which the gradients are
stored and orthogonalises in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from limitcycles.errors import LimitcyclesError
from limitcycles.progress import track

BLOCK = 128  # columns of one Krylov block: enough for the matrix product to run at full speed
PANELS = 8  # columns of D are formed in so many parts: 9/16 of the work of the full product
PROBES = 16  # random vectors for the part of the Frobenius norm outside the Krylov space
ROWS = 4096
FAR = 0.1  # residual, relative to its Ritz value, of one that is far from settled
MARGIN = 1.1  # on the quadratic bound, as that first value may still grow
GROUPS = 8  # groups of eigenvalues that share one gap in the error bound
COARSE = 1e-2  # error, relative to the threshold, where the precision does not allow less
ROUNDING = 1e-14  # relative error, in float64, of a mean over all examples


class SpectrumError(LimitcyclesError):
    """A spectrum that cannot be computed as asked."""


class KrylovSpaceFullError(SpectrumError):
    """The matrix-free method needs half of all dimensions: the exact one is cheaper then."""


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of D, descending, float64, in units of gradient squared.

    `error_bound[i]` bounds |λ_i − eigenvalue[i]|: see `exact` and `matrix_free`. `trace` is
    exact; `frobenius` is ‖D‖_F with the absolute uncertainty `frobenius_error`. The eigenvalues
    that are not listed (`matrix_free`) are at most `floor`.
    """

    method: str
    eigenvalue: np.ndarray
    error_bound: np.ndarray
    trace: float
    frobenius: float
    frobenius_error: float
    floor: float
    samples: int
    weights: int


class Rows:
    """The gradients G as blocks of rows on a device: in memory where they fit, else read again.

    `source` is any array of shape (N, d), float32 or float64, that can be sliced by rows (NumPy,
    torch, Zarr). `square_norm`, shape (N,), float64, are the ‖g_k‖² if they are already known.

    The shortest rows, which together carry at most the share `negligible` of Σ‖g_k‖², are left
    out of products: late in training most examples are fitted and their gradients all but vanish.
    Mean and trace include them. The products are then those of D − E with E positive semi-definite
    and tr E = `left_out`, so that no eigenvalue is off by more than `left_out`.

    Raises SpectrumError: fewer than two rows, a value that is not finite, or rows that are all
    equal.
    """

    def __init__(
        self,
        source,
        *,
        square_norm: np.ndarray | None = None,
        negligible: float = 0.0,
        memory_mib: float = 6000,
        device: str | torch.device = "cpu",
    ):
        self.source = source
        self.samples, self.weights = source.shape
        if self.samples < 2:
            raise SpectrumError(f"D needs at least two gradients, not {self.samples}")
        self.device = torch.device(device)
        if square_norm is None:
            square_norm = np.concatenate([_square_norms(b) for _, b in self._read()])
        if not np.isfinite(square_norm).all():
            raise SpectrumError(
                "a per-sample gradient is NaN or infinite: the run has diverged, or the "
                "gradients were damaged. Delete them and start again."
            )
        order = np.argsort(square_norm)
        short = np.cumsum(square_norm[order]) < negligible * square_norm.sum()
        self.kept = np.ones(self.samples, dtype=bool)
        self.kept[order[short]] = False
        self.left_out = float(square_norm[~self.kept].sum()) / self.samples

        first = next(self._read())[1]
        self.dtype = first.dtype
        resident = None
        if self.kept.sum() * self.weights * self.dtype.itemsize <= memory_mib * 2**20:
            resident = torch.empty(
                int(self.kept.sum()), self.weights, dtype=self.dtype, device=self.device
            )
        total = torch.zeros(self.weights, dtype=torch.float64, device=self.device)
        short_total = torch.zeros_like(total)
        filled = 0
        for keep, block in self._read():
            total += block.sum(0, dtype=torch.float64)
            short_total += block[~keep].sum(0, dtype=torch.float64)
            if resident is not None:
                count = int(keep.sum())
                resident[filled : filled + count] = block if keep.all() else block[keep]
                filled += count
        self.resident = resident
        self.mean = total / self.samples
        self.short_mean = short_total / self.samples
        self.mean_square = float(square_norm.mean())
        self.trace = self.mean_square - float(self.mean @ self.mean)
        if not np.isfinite(self.trace):
            raise SpectrumError(
                "a per-sample gradient is NaN, infinite or missing. Delete the gradients and start "
                "again."
            )
        if self.trace <= ROUNDING * self.mean_square:
            raise SpectrumError("all per-sample gradients are equal: D is zero and has no spectrum")

    def _read(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(which rows are kept, all rows) of each block of the source."""
        for start in range(0, self.samples, ROWS):
            block = self.source[start : start + ROWS]
            if not isinstance(block, Tensor):
                block = torch.from_numpy(np.array(block))
            mask = getattr(self, "kept", np.ones(self.samples, dtype=bool))
            keep = torch.from_numpy(mask[start : start + len(block)])
            yield keep.to(self.device), block.to(self.device)

    def __iter__(self) -> Iterator[Tensor]:
        """Blocks of the rows that are kept."""
        if self.resident is not None:
            yield from self.resident.split(ROWS)
        else:
            for keep, block in self._read():
                if keep.any():
                    yield block if keep.all() else block[keep]

    def centred(self) -> Iterator[Tensor]:
        """Blocks of G − 1ḡᵀ in float64. Raises SpectrumError: rows were left out."""
        if not self.kept.all():
            raise SpectrumError("the exact methods take every row: use negligible = 0")
        for block in self:
            yield block.to(torch.float64) - self.mean

    def multiply(self, vectors: Tensor) -> Tensor:
        """(D − E) V for V of shape (d, k), float64; products in the precision of G.

        With S the kept rows and e = Σ_{k∉S} g_k/N,
        D − E = (1/N) Σ_S (g − ḡ)(g − ḡ)ᵀ + (1 − |S|/N) ḡḡᵀ − eḡᵀ − ḡeᵀ.
        """
        result = torch.zeros_like(vectors)
        work = vectors.to(self.dtype)
        shift = self.mean.to(self.dtype) @ work
        kept_sum = torch.zeros(vectors.shape[1], dtype=torch.float64, device=self.device)
        for block in self:
            projected = block @ work
            projected -= shift
            result += block.T @ projected
            kept_sum += projected.sum(0, dtype=torch.float64)
        # Σ_S (g − ḡ) y = Σ_S g y − ḡ Σ_S y, with the sum of the y as they were rounded: what is
        # common to them, such as the rounding of `shift`, then cancels.
        result -= torch.outer(self.mean, kept_sum)
        result /= self.samples
        on_mean, on_short = self.mean @ vectors, self.short_mean @ vectors
        result += torch.outer(self.mean, (1 - self.kept.mean()) * on_mean - on_short)
        return result - torch.outer(self.short_mean, on_mean)


def _square_norms(block: Tensor) -> np.ndarray:
    norms = torch.linalg.vector_norm(block, dim=1, dtype=torch.float64)
    return (norms**2).cpu().numpy()


def covariance(rows: Rows) -> Tensor:
    """D itself, shape (d, d), float64; only the lower triangle is computed, then mirrored."""
    matrix = torch.zeros(rows.weights, rows.weights, dtype=torch.float64, device=rows.device)
    panel = -(-rows.weights // PANELS)
    for block in rows.centred():
        for start in range(0, rows.weights, panel):
            columns = block[:, start : start + panel]
            matrix[start:, start : start + panel].addmm_(block[:, start:].T, columns)
    for start in range(0, rows.weights, panel):  # by panels: no second matrix in memory
        stop = start + panel
        matrix[start:stop, stop:] = matrix[stop:, start:stop].T
    return matrix.div_(rows.samples)


def gram(rows: Rows) -> Tensor:
    """(G − 1ḡᵀ)(G − 1ḡᵀ)ᵀ/N, shape (N, N), float64: the same non-zero eigenvalues as D."""
    matrix = torch.empty(rows.samples, rows.samples, dtype=torch.float64, device=rows.device)
    for i, left in enumerate(rows.centred()):
        for j, right in enumerate(rows.centred()):
            if j > i:
                break
            part = left @ right.T
            a, b = i * ROWS, j * ROWS
            matrix[a : a + len(left), b : b + len(right)] = part
            matrix[b : b + len(right), a : a + len(left)] = part.T
    return matrix.div_(rows.samples)


def exact(rows: Rows) -> Spectrum:
    """All d eigenvalues of D in float64, from D or from the Gram matrix, whichever is smaller.

    The bound is that of the eigensolver and of forming the matrix, min(N, d) · eps · λ_1.
    Forming D squares the condition number: eigenvalues below about 1e-14 λ_1 are rounding. Where
    they matter, `singular` is the method. Time O(N d min(N, d)), memory 16 min(N, d)² bytes.
    """
    small = min(rows.samples, rows.weights)
    matrix = covariance(rows) if rows.weights <= rows.samples else gram(rows)
    frobenius = float(torch.linalg.matrix_norm(matrix))
    values = _eigvalsh(matrix)[::-1]
    eigenvalue = np.zeros(rows.weights)
    eigenvalue[:small] = np.maximum(values[: rows.weights], 0)
    bound = small * np.finfo(np.float64).eps * max(eigenvalue[0], 0)
    return Spectrum(
        method="exact",
        eigenvalue=eigenvalue,
        error_bound=np.full(rows.weights, bound),
        trace=rows.trace,
        frobenius=frobenius,
        frobenius_error=bound,
        floor=0.0,
        samples=rows.samples,
        weights=rows.weights,
    )


def _eigvalsh(matrix: Tensor) -> np.ndarray:
    if matrix.device.type == "cpu":  # in place: no second copy of the matrix
        return scipy.linalg.eigh(
            matrix.numpy(), eigvals_only=True, overwrite_a=True, check_finite=False, driver="evd"
        )
    return torch.linalg.eigvalsh(matrix).cpu().numpy()


def singular(rows: Rows) -> np.ndarray:
    """Square roots of the eigenvalues of D from a QR and a singular value decomposition.

    The oracle: D is never formed, so that exact zeros stand at eps · σ_1 and not at its root.
    Shape (min(N, d),), descending, float64. Memory 8 (ROWS + d) d bytes, time O(N d²).
    """
    triangle = torch.zeros(0, rows.weights, dtype=torch.float64, device=rows.device)
    for block in rows.centred():
        triangle = torch.linalg.qr(torch.cat([triangle, block]), mode="r").R
    return torch.linalg.svdvals(triangle).cpu().numpy() / np.sqrt(rows.samples)


def matrix_free(
    rows: Rows, leading: int = 400, tolerance: float = 1e-4, seed: int = 0, threshold: float = 0.0
) -> Spectrum:
    """The leading eigenvalues of D, without forming it.

    Goes on until at least `leading` eigenvalues have a relative error bound of at most `tolerance`
    and those that are not listed are below `threshold` · λ_1, so that a rank counted at that
    threshold is complete (`threshold` 0: no such demand). Beyond `leading` the bound may be
    `tolerance` · `threshold` · λ_1, and where the precision of G does not reach the tolerance,
    COARSE · `threshold` · λ_1; fewer than `leading` are listed where the precision allows no more.

    The bound of a Ritz value θ_i with residual r = ‖Dv − θ_i v‖ is the smaller of r (an eigenvalue
    of D lies within r) and a quadratic one: with Θ the leading Ritz values and R the residuals of
    their vectors, θ_i ≤ λ_i ≤ λ_i(Θ + RᵀR/(θ_i − γ)) if all else of D lies below γ (eigenvalues
    above μ > γ are the positive ones of the Schur complement Θ − μ + Rᵀ(μ − D')⁻¹R). γ is read off
    the first Ritz value far from settled, so the bound is an estimate, with a margin. Added are a
    rounding term eps (2 √(θ Σ‖g_k‖²/N) + λ_1/2), as products and vectors are rounded to the
    precision of G, and the trace of the rows that `rows` leaves out. A random start misses a
    leading eigenvector with probability zero, but an eigenvalue with more than BLOCK (in small
    problems 16) equal copies loses some of them.

    ‖D‖_F is exact inside the Krylov space and its coupling; the rest, about 1e-6 of it, is
    estimated with PROBES random vectors. `frobenius_error` is an upper bound of its standard error,
    and what rounding and the rows left out may change.

    Raises SpectrumError: `leading` is more than half of min(N, d) (use `exact`), or the Krylov
    space fills that half without reaching the tolerance.
    """
    limit = min(rows.samples, rows.weights) // 2
    if leading > limit:
        raise SpectrumError(
            f"spectrum.leading: {leading} is more than half of min(N, d) = {2 * limit}; "
            "raise spectrum.exact_up_to so that the exact method is taken"
        )
    block = min(BLOCK, max(16, limit // 8), rows.weights)
    generator = torch.Generator().manual_seed(seed)

    def random(columns):
        normal = torch.randn(rows.weights, columns, generator=generator, dtype=torch.float64)
        return normal.to(rows.device)

    basis = torch.linalg.qr(random(block)).Q
    projected = torch.zeros(0, 0, dtype=torch.float64, device=rows.device)
    bar = track(unit="pass", what="block Krylov")
    while True:
        size = basis.shape[1]
        image = rows.multiply(basis[:, -block:])
        coupling = basis.T @ image
        grown = torch.zeros(size, size, dtype=torch.float64, device=rows.device)
        grown[: size - block, : size - block] = projected
        grown[:, -block:] = coupling
        grown[-block:, :] = coupling.T
        projected = (grown + grown.T) / 2
        for _ in range(2):  # twice is enough (Kahan)
            image -= basis @ (basis.T @ image)
        new, remainder = torch.linalg.qr(image)
        # Where the Krylov space is exhausted, columns of `new` are rounding, and not orthogonal.
        new = torch.linalg.qr(new - basis @ (basis.T @ new)).Q
        ritz, vectors = torch.linalg.eigh(projected)
        ritz, vectors = ritz.flip(0).clamp_min(0), vectors.flip(1)
        eps = torch.finfo(rows.dtype).eps
        rounding = eps * (2 * torch.sqrt(rows.mean_square * ritz) + ritz[0] / 2) + rows.left_out
        bound = _ritz_bound(ritz, remainder @ vectors[-block:]) + rounding
        # Beyond `leading`, and where the precision of G does not reach the tolerance, the error may
        # be relative to the threshold: enough to tell on which side of it an eigenvalue lies.
        line = threshold * float(ritz[0])
        needed = tolerance * ritz
        needed[leading:].clamp_min_(tolerance * line)
        coarse = rounding > needed
        needed[coarse] = needed[coarse].clamp_min(COARSE * line)
        settled = int((torch.cumsum(bound > needed, 0) == 0).sum())
        bar.update()
        bar.set_postfix_str(f"{settled} of {leading} eigenvalues")
        enough = settled >= leading or (0 < settled < size and bool(coarse[settled]))
        if enough:
            floor = float(ritz[settled - 1] + bound[settled - 1])
            if floor < line or threshold == 0:
                break
        if size + block > limit:
            bar.close()
            raise KrylovSpaceFullError(
                f"{settled} of {leading} eigenvalues reach spectrum.tolerance {tolerance:g} in a "
                f"Krylov space of {size} dimensions; raise spectrum.exact_up_to above "
                f"{2 * limit} to take the exact method, or lower spectrum.leading"
            )
        basis = torch.cat([basis, new], dim=1)
    bar.close()

    # ‖D‖² = ‖T‖² + 2‖R‖² + ‖C‖², C the part outside the basis: E‖Cz‖² for random z. The variance of
    # ‖Cz‖² is 2 tr C⁴, at most 2 ‖C‖⁴; estimated from few, skewed values it often is far too small.
    probe = random(PROBES)
    probe -= basis @ (basis.T @ probe)
    outside = rows.multiply(probe)
    outside -= basis @ (basis.T @ outside)
    rest = float((outside**2).sum() / PROBES)
    inside = float((projected**2).sum() + 2 * (remainder**2).sum())
    frobenius = (inside + rest) ** 0.5
    # Leaving out E changes ‖D‖² by 2⟨D, E⟩ + ‖E‖², at most (2 λ_1 + tr E) tr E.
    error = rest * (2 / PROBES) ** 0.5 / (2 * frobenius)
    error += (2 * float(ritz[0]) + rows.left_out) * rows.left_out / (2 * frobenius)
    error += 2 * torch.finfo(rows.dtype).eps * (rows.trace * rows.mean_square) ** 0.5
    return Spectrum(
        method="matrix-free",
        eigenvalue=ritz[:settled].cpu().numpy(),
        error_bound=bound[:settled].cpu().numpy(),
        trace=rows.trace,
        frobenius=frobenius,
        frobenius_error=error,
        floor=floor,
        samples=rows.samples,
        weights=rows.weights,
    )


def _ritz_bound(ritz: Tensor, residuals: Tensor) -> Tensor:
    """Error bounds of all Ritz values; `residuals`, shape (block, size), are their coefficients."""
    length = torch.linalg.vector_norm(residuals, dim=0)
    # What is not yet in the space is taken to lie below the first Ritz value far from settled.
    far = torch.nonzero(length > FAR * ritz)
    inside = min(int(far[0]) if len(far) else len(ritz), len(ritz) - 1)
    outside = (ritz + length)[inside:].max()
    gram = residuals[:, :inside].T @ residuals[:, :inside]
    bound = length.clone()
    for group in torch.arange(inside, device=ritz.device).tensor_split(GROUPS):
        gap = float(ritz[group[-1]] - outside) if len(group) else 0.0
        if gap > 0:
            raised = torch.linalg.eigvalsh(torch.diag(ritz[:inside]) + gram / gap).flip(0)
            bound[group] = torch.minimum(length[group], MARGIN * (raised - ritz[:inside])[group])
    return bound
