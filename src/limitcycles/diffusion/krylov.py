"""The leading eigenvalues of the diffusion matrix D without forming it.

Block Krylov iteration with full reorthogonalisation and Rayleigh-Ritz (Golub & Underwood 1977;
Musco & Musco 2015, arXiv 1504.05477). It multiplies in the precision in which the gradients are
stored and orthogonalises in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limitcycles.diffusion.matrix import Rows, Spectrum, SpectrumError, in_units
from limitcycles.runtime import arguments
from limitcycles.runtime.progress import track

BLOCK = 96  # columns of one Krylov block: the matrix product runs at nine tenths of its full speed
PROBES = 16  # random vectors for the part of the Frobenius norm outside the Krylov space
STRIDE = 1.1  # growth of the space between looks at convergence, which cost as its cube
FAR = 0.1  # residual, relative to its Ritz value, of one that is far from settled
MARGIN = 1.1  # on the quadratic bound, as that first value may still grow
GROUPS = 8  # groups of eigenvalues that share one gap in the error bound
COARSE = 1e-2  # error, relative to the threshold, where the precision does not allow less


class UnresolvedError(SpectrumError):
    """The matrix-free method would need half of all dimensions, or more precision: take `exact`."""


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

    Memory beyond the rows: 8 d (size + about 5 BLOCK) bytes, `size` that of the Krylov space.

    Raises SpectrumError: an argument that is no positive, finite number. Raises UnresolvedError:
    `leading` is more than half of min(N, d), the Krylov space fills that half without reaching the
    tolerance, or rounding and the rows left out keep it from doing so (use `exact`).

    >>> import torch
    >>> from limitcycles import Rows, matrix_free
    >>> scales = 0.8 ** torch.arange(200)
    >>> G = torch.randn(1000, 200, generator=torch.Generator().manual_seed(0)) * scales
    >>> found = matrix_free(Rows(G), leading=5)
    >>> bool((found.error_bound[:5] <= 1e-4 * found.eigenvalue[:5]).all())
    True
    """
    leading = arguments.whole("leading", leading, SpectrumError)
    seed = arguments.whole("seed", seed, SpectrumError, least=0)
    tolerance = arguments.number("tolerance", tolerance, SpectrumError)
    threshold = arguments.number("threshold", threshold, SpectrumError, zero=True)
    limit = min(rows.samples, rows.weights) // 2
    if leading > limit:
        raise UnresolvedError(
            f"leading: {leading} eigenvalues are more than half of min(N, d) = "
            f"{min(rows.samples, rows.weights)}: ask for fewer, or take the exact method "
            "(`diffusion.exact`)"
        )
    block = min(BLOCK, max(16, limit // 8), rows.weights)
    generator = torch.Generator().manual_seed(seed)

    def random(columns):
        normal = torch.randn(rows.weights, columns, generator=generator, dtype=torch.float64)
        return normal.to(rows.device)

    basis = _Basis(torch.linalg.qr(random(block)).Q)
    projected = torch.zeros(0, 0, dtype=torch.float64, device=rows.device)
    looked = 0  # the size at which convergence was last looked at
    bar = track(unit="pass", what="block Krylov")
    while True:
        size = basis.size
        image = rows.multiply(basis.blocks[-1])
        coupling = basis.along(image)
        grown = torch.zeros(size, size, dtype=torch.float64, device=rows.device)
        grown[: size - block, : size - block] = projected
        grown[:, -block:] = coupling
        grown[-block:, :] = coupling.T
        projected = (grown + grown.T) / 2
        for _ in range(2):  # twice is enough (Kahan)
            basis.remove(image)
        new, remainder = torch.linalg.qr(image)
        # Where the Krylov space is exhausted, columns of `new` are rounding, and not orthogonal.
        new = torch.linalg.qr(basis.remove(new)).Q
        del image
        full = size + block > limit
        if size < STRIDE * looked and not full:
            bar.update()
            basis.blocks.append(new)
            continue
        looked = size
        ritz, vectors = torch.linalg.eigh(projected)
        ritz, vectors = ritz.flip(0).clamp_min(0), vectors.flip(1)
        eps = torch.finfo(rows.dtype).eps
        rounding = eps * (2 * torch.sqrt(rows.mean_square * ritz) + ritz[0] / 2) + rows.left_out
        converging = _ritz_bound(ritz, remainder @ vectors[-block:])
        bound = converging + rounding
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
        # Converged, and only rounding keeps it from being settled: no larger space will help.
        imprecise = settled < size and bool(
            converging[settled] < needed[settled] < rounding[settled]
        )
        if full or imprecise:
            bar.close()
            more = f", and {rows.dtype} allows no more" if imprecise else ""
            if settled >= leading:
                ends = (
                    f"{more}, but not those down to the threshold of {threshold:g} times the "
                    "largest; raise it"
                )
            else:
                ends = f"{more}; ask for fewer"
            raise UnresolvedError(
                f"{settled} eigenvalues ({leading} are asked for) reach the tolerance "
                f"{tolerance:g} in a Krylov space of {size} dimensions{ends}, or take the exact "
                "method (`diffusion.exact`)"
            )
        basis.blocks.append(new)
    bar.close()

    # ‖D‖² = ‖T‖² + 2‖R‖² + ‖C‖², C the part outside the basis: E‖Cz‖² for random z. The variance of
    # ‖Cz‖² is 2 tr C⁴, at most 2 ‖C‖⁴; estimated from few, skewed values it often is far too small.
    probe = random(PROBES)
    outside = basis.remove(rows.multiply(basis.remove(probe)))
    rest = float((outside**2).sum() / PROBES)
    inside = float((projected**2).sum() + 2 * (remainder**2).sum())
    frobenius = (inside + rest) ** 0.5
    # Leaving out E changes ‖D‖² by 2⟨D, E⟩ + ‖E‖², at most (2 λ_1 + tr E) tr E.
    error = rest * (2 / PROBES) ** 0.5 / (2 * frobenius)
    error += (2 * float(ritz[0]) + rows.left_out) * rows.left_out / (2 * frobenius)
    error += 2 * torch.finfo(rows.dtype).eps * (rows.trace * rows.mean_square) ** 0.5
    return in_units(
        Spectrum(
            method="matrix-free",
            eigenvalue=ritz[:settled].cpu().numpy(),
            error_bound=bound[:settled].cpu().numpy(),
            trace=rows.trace,
            frobenius=frobenius,
            frobenius_error=error,
            floor=floor,
            samples=rows.samples,
            weights=rows.weights,
        ),
        rows.unit,
    )


class _Basis:
    """Orthonormal columns in blocks, each of shape (d, block): it grows without being copied."""

    def __init__(self, first: Tensor):
        self.blocks = [first]

    @property
    def size(self) -> int:
        return sum(block.shape[1] for block in self.blocks)

    def along(self, vectors: Tensor) -> Tensor:
        """Components of the vectors along the basis: shape (size, k)."""
        return torch.cat([block.T @ vectors for block in self.blocks])

    def remove(self, vectors: Tensor) -> Tensor:
        """Take the part in the space away from `vectors`, in place: classical Gram-Schmidt."""
        parts = self.along(vectors).split([block.shape[1] for block in self.blocks])
        for block, part in zip(self.blocks, parts, strict=True):
            vectors.addmm_(block, part, alpha=-1)
        return vectors


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
