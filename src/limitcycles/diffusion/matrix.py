"""Spectrum of the diffusion matrix D(x) = (1/N) Σ_k g_k g_kᵀ − ḡ ḡᵀ (Eq. 2 of the paper).

g_k are the N per-sample gradients, the rows of G, shape (N, d); ḡ is their mean.

`exact` gives every eigenvalue in float64; `limitcycles.diffusion.krylov` the leading ones without
forming D.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from limitcycles.diffusion import banded
from limitcycles.diffusion.row_source import Source, SpectrumError
from limitcycles.runtime.progress import track

PANELS = 16  # columns of D are formed in so many parts: 17/32 of the work of the full product
ROWS = 1024  # of a block: few enough that its copies cost little memory
BLOCK_BYTES = 2**29  # of a block in float64: networks of 10⁵ weights and more get fewer rows
CENTRED_BYTES = 2**27  # of a centred block, of which `gram` holds two beside those being made
NORM_TOLERANCE = 1e-10  # relative, in float64; another device adds in another order
SMALLEST, LARGEST = 1e-100, 1e100  # of the mean square: products of four numbers are in range
FAR = 100.0  # Σ‖g‖²/N over tr D from which the mean is taken off: two digits are lost before
LAST_DIGITS = 4  # units in the last place by which rows that are equal may differ
EQUAL = "all per-sample gradients are equal: D is zero and has no spectrum"


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of D, descending, float64, in units of gradient squared.

    `error_bound[i]` bounds |λ_i − eigenvalue[i]|: see `exact` and `krylov.matrix_free`. `trace` is
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

    `source` is any array of shape (N, d) that can be sliced by rows (see `Source`). `square_norm`,
    shape (N,), float64, are the ‖g_k‖² if they are already known; rows that do not have them are
    damaged.

    D does not change if the same vector is taken from each row. Where the mean gradient is far
    above what the rows differ by it is taken off, in float64, before anything is computed: neither
    the trace nor products cancel then. Rows of gradients whose fourth powers would leave the range
    of floats are divided by `unit`; attributes, `covariance` and `gram` are in its units (squared).

    The shortest rows, which together carry at most the share `negligible` of Σ‖g_k‖², are left
    out of products: late in training most examples are fitted and their gradients all but vanish.
    Mean and trace include them. The products are then those of D − E with E positive semi-definite
    and tr E = `left_out`, so that no eigenvalue is off by more than `left_out`.

    Raises SpectrumError: fewer than two rows, a value that is not finite, rows without the norms
    given, rows that are all equal, or so large or small that D is outside the range of float64.

    >>> import torch
    >>> from limitcycles import Rows
    >>> rows = Rows(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]]))
    >>> rows.trace
    2.5
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
        self.source = Source(source, device)
        self.samples, self.weights = self.source.shape
        if self.samples < 2:
            raise SpectrumError(f"D needs at least two gradients, not {self.samples}")
        self.device = self.source.device
        self.dtype = self.source.dtype  # of products with the rows
        self.block = max(1, min(ROWS, BLOCK_BYTES // (8 * self.weights)))
        if square_norm is not None and np.shape(square_norm) != (self.samples,):
            raise SpectrumError(
                f"square_norm has shape {np.shape(square_norm)}; {self.samples} rows have "
                f"({self.samples},)"
            )
        self._take(square_norm, negligible, memory_mib)
        if not SMALLEST < self.mean_square < LARGEST:
            self.source.unit = self._power_of_two()
            self._take(None, negligible, memory_mib)
        # The mean is a sum with rounding: equal rows need a second look to be zero.
        for _ in range(3):
            if self.mean_square <= FAR * self.trace:
                break
            self._shift()
            self._take(None, negligible, memory_mib)

    @property
    def unit(self) -> float:
        """The unit of everything here, a power of two: 1 but for tiny or huge gradients."""
        return self.source.unit

    def _power_of_two(self) -> float:
        """About the largest |entry|. Raises SpectrumError: it, or its square, is no number."""
        largest = max(float(block.abs().max()) for block in self.source.blocks(self.block))
        if not np.isfinite(largest):
            raise SpectrumError(
                "a per-sample gradient is NaN or infinite: the run has diverged, or the "
                "gradients were damaged. Delete them and start again."
            )
        if largest == 0:
            raise SpectrumError(EQUAL)
        if not 1e-150 < largest < 1e150:
            raise SpectrumError(
                f"the largest entry of the per-sample gradients is {largest:.3g}, so that D, their "
                "squares, is outside the range of float64: multiply the loss by a constant"
            )
        return float(2.0 ** np.frexp(largest)[1])

    def _shift(self) -> None:
        """Take the mean off the rows. Raises SpectrumError: nothing but rounding is left."""
        offset = self.mean if self.source.offset is None else self.source.offset + self.mean
        self.source.offset = None
        rounding = LAST_DIGITS * torch.finfo(self.source.dtype).eps * offset.abs()
        blocks = self.source.blocks(self.block)
        if not any(bool(((b.double() - offset).abs() > rounding).any()) for b in blocks):
            raise SpectrumError(EQUAL)
        self.source.offset = offset

    def _take(self, square_norm: np.ndarray | None, negligible: float, memory_mib: float) -> None:
        """Norms (where they are not known), mean and trace; rows that fit stay in memory."""
        known = square_norm is not None
        if not known:
            norms = [_square_norms(block) for block in self.source.blocks(self.block)]
            square_norm = np.concatenate(norms)
        order = np.argsort(square_norm)
        with np.errstate(invalid="ignore", over="ignore"):  # seen by whoever called
            short = np.cumsum(square_norm[order]) < negligible * square_norm.sum()
        self.kept = np.ones(self.samples, dtype=bool)
        self.kept[order[short]] = False
        self.left_out = float(square_norm[~self.kept].sum()) / self.samples

        self.resident = None  # those of before, if any, make room
        if self.kept.sum() * self.weights * self.dtype.itemsize <= memory_mib * 2**20:
            self.resident = torch.empty(
                int(self.kept.sum()), self.weights, dtype=self.dtype, device=self.device
            )
        total = torch.zeros(self.weights, dtype=torch.float64, device=self.device)
        short_total = torch.zeros_like(total)
        filled = 0
        for start, (keep, block) in zip(
            range(0, self.samples, self.block), self._read(), strict=True
        ):
            if known:
                _check_norms(block, square_norm[start : start + self.block], start)
            total += block.sum(0, dtype=torch.float64)
            if not keep.all():
                short_total += block[~keep].sum(0, dtype=torch.float64)
            if self.resident is not None:
                count = int(keep.sum())
                self.resident[filled : filled + count] = block if keep.all() else block[keep]
                filled += count
        self.mean = total / self.samples
        self.short_mean = short_total / self.samples
        self.mean_square = float(square_norm.mean())
        self.trace = self.mean_square - float(self.mean @ self.mean)

    def _read(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(which rows are kept, all rows) of each block of the source."""
        for start in range(0, self.samples, self.block):
            keep = torch.from_numpy(self.kept[start : start + self.block])
            yield keep.to(self.device), self.source.block(start, start + self.block)

    def __iter__(self) -> Iterator[Tensor]:
        """Blocks of the rows that are kept."""
        if self.resident is not None:
            yield from self.resident.split(self.block)
        else:
            for keep, block in self._read():
                if keep.any():
                    yield (block if keep.all() else block[keep]).to(self.dtype)

    def centred(self) -> Iterator[Tensor]:
        """Blocks of G − 1ḡᵀ in float64, of few bytes. Raises SpectrumError: rows were left out."""
        if not self.kept.all():
            raise SpectrumError("the exact methods take every row: use negligible = 0")
        rows = max(1, CENTRED_BYTES // (8 * self.weights))
        # Rows that were shifted are in float64 where they are read, not where they are kept.
        blocks = self if self.source.offset is None else self.source.blocks(self.block)
        for block in blocks:
            for part in block.split(rows):
                yield part.to(torch.float64, copy=True).sub_(self.mean)

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


def _check_norms(block: Tensor, given: np.ndarray, start: int) -> None:
    """The norms serve as checksums: a chunk that was lost or damaged does not have them."""
    good = np.isclose(_square_norms(block), given, rtol=NORM_TOLERANCE, atol=0)
    if not good.all():
        raise SpectrumError(
            f"per-sample gradient {start + int(np.argmin(good))} does not have the norm that was "
            "stored with it: the gradients were damaged. Delete them and start again."
        )


def covariance(rows: Rows) -> Tensor:
    """D itself, shape (d, d), float64; only the lower triangle is computed, then mirrored."""
    matrix = torch.zeros(rows.weights, rows.weights, dtype=torch.float64, device=rows.device)
    panel = -(-rows.weights // PANELS)
    with track(total=rows.samples, unit="gradient", what="forming D", delay=10) as bar:
        for block in rows.centred():
            for start in range(0, rows.weights, panel):
                columns = block[:, start : start + panel]
                matrix[start:, start : start + panel].addmm_(block[:, start:].T, columns)
            bar.update(len(block))
    for start in range(0, rows.weights, panel):  # by panels: no second matrix in memory
        stop = start + panel
        matrix[start:stop, stop:] = matrix[stop:, start:stop].T
    return matrix.div_(rows.samples)


def gram(rows: Rows) -> Tensor:
    """(G − 1ḡᵀ)(G − 1ḡᵀ)ᵀ/N, shape (N, N), float64: the same non-zero eigenvalues as D."""
    matrix = torch.empty(rows.samples, rows.samples, dtype=torch.float64, device=rows.device)
    a = 0
    for left in rows.centred():
        b = 0
        for right in rows.centred():
            part = left @ right.T
            matrix[a : a + len(left), b : b + len(right)] = part
            matrix[b : b + len(right), a : a + len(left)] = part.T
            b += len(right)
            if b > a:
                break
        a += len(left)
    return matrix.div_(rows.samples)


def exact(rows: Rows) -> Spectrum:
    """All d eigenvalues of D in float64, from D or from the Gram matrix, whichever is smaller.

    The bound is that of the eigensolver and of forming the matrix, min(N, d) · eps · λ_1.
    Forming D squares the condition number: eigenvalues below about 1e-14 λ_1 are rounding. Where
    they matter, `singular` is the method. Time O(N d min(N, d)); memory 8 min(N, d)² bytes, that
    of one matrix, on the CPU (twice that on another device), and a few blocks of rows.

    >>> import torch
    >>> from limitcycles import Rows, exact
    >>> G = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    >>> exact(Rows(G)).eigenvalue.tolist()
    [2.0, 0.5]
    """
    small = min(rows.samples, rows.weights)
    matrix = covariance(rows) if rows.weights <= rows.samples else gram(rows)
    frobenius = float(torch.linalg.matrix_norm(matrix))
    values = _eigvalsh(matrix)[::-1]
    eigenvalue = np.zeros(rows.weights)
    eigenvalue[:small] = np.maximum(values[: rows.weights], 0)
    bound = small * np.finfo(np.float64).eps * max(eigenvalue[0], 0)
    return in_units(
        Spectrum(
            method="exact",
            eigenvalue=eigenvalue,
            error_bound=np.full(rows.weights, bound),
            trace=rows.trace,
            frobenius=frobenius,
            frobenius_error=bound,
            floor=0.0,
            samples=rows.samples,
            weights=rows.weights,
        ),
        rows.unit,
    )


def in_units(spectrum: Spectrum, unit: float) -> Spectrum:
    """A spectrum of gradients in `unit` as that of the gradients: all of it times unit²."""
    names = ("eigenvalue", "error_bound", "trace", "frobenius", "frobenius_error", "floor")
    return replace(spectrum, **{name: getattr(spectrum, name) * unit * unit for name in names})


def _eigvalsh(matrix: Tensor) -> np.ndarray:
    if matrix.device.type == "cpu":  # in place: no second copy of the matrix
        return banded.eigenvalues(matrix)
    return torch.linalg.eigvalsh(matrix).cpu().numpy()


def singular(rows: Rows) -> np.ndarray:
    """Square roots of the eigenvalues of D from a QR and a singular value decomposition.

    The oracle: D is never formed, so that exact zeros stand at eps · σ_1 and not at its root.
    Shape (min(N, d),), descending, float64. Memory 8 (rows of a block + d) d bytes, time O(N d²).
    """
    triangle = torch.zeros(0, rows.weights, dtype=torch.float64, device=rows.device)
    for block in rows.centred():
        triangle = torch.linalg.qr(torch.cat([triangle, block]), mode="r").R
    return torch.linalg.svdvals(triangle).cpu().numpy() / np.sqrt(rows.samples) * rows.unit
