"""One contestant of `spectrum.py` in a process of its own: stored gradients to eigenvalues.

Prints JSON and writes the eigenvalues, descending float64. Importing is not timed; reading the
gradients from Zarr is, in every contestant.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.linalg
import torch
from processes import memory_mib
from torch import Tensor

from limitcycles.diffusion import banded, gradient_store, krylov
from limitcycles.diffusion import matrix as diffusion
from limitcycles.diffusion.spectrum import NEGLIGIBLE, paper_threshold

SUBSET = 500  # eigenvalues that the contestant with a subset asks for


class CountingRows(diffusion.Rows):
    """Rows that count the columns they multiply: the work of the matrix-free method."""

    columns = 0

    def multiply(self, vectors: Tensor) -> Tensor:
        self.columns += vectors.shape[1]
        return super().multiply(vectors)


def ours(path: Path, leading: int, tolerance: float, memory: int) -> dict:
    """As `limitcycles.diffusion.matrix.spectrum.of_gradients` calls the matrix-free method."""
    start = time.perf_counter()
    store = gradient_store.open_store(path)
    threshold = paper_threshold(store["gradient"].shape[1])
    rows = CountingRows(
        store["gradient"],
        square_norm=store["square_norm"][:],
        negligible=NEGLIGIBLE * tolerance * threshold,
        memory_mib=memory,
    )
    loaded = time.perf_counter()
    result = krylov.matrix_free(rows, leading=leading, tolerance=tolerance, threshold=threshold)
    end = time.perf_counter()
    return {
        "eigenvalue": result.eigenvalue,
        "error_bound": result.error_bound,
        "form_s": loaded - start,
        "solve_s": end - loaded,
        "rows_kept": int(rows.kept.sum()),
        "columns_multiplied": rows.columns,
        "krylov_space": rows.columns - krylov.PROBES,
    }


def exact(path: Path, memory: int) -> dict:
    """`diffusion.exact`, in its two parts."""
    start = time.perf_counter()
    store = gradient_store.open_store(path)
    samples, weights = store["gradient"].shape
    small = weights <= samples  # then one pass over the rows is enough, and none need be kept
    rows = diffusion.Rows(
        store["gradient"],
        square_norm=store["square_norm"][:],
        memory_mib=0 if small else memory,
    )
    matrix = diffusion.covariance(rows) if small else diffusion.gram(rows)
    formed = time.perf_counter()
    values = banded.eigenvalues(matrix)[::-1]
    eigenvalue = np.zeros(rows.weights)
    eigenvalue[: len(values)] = values[: rows.weights]
    end = time.perf_counter()
    return {"eigenvalue": eigenvalue, "form_s": formed - start, "solve_s": end - formed}


def dense(path: Path, dtype: torch.dtype) -> dict:
    """D by `torch.addmm`, all eigenvalues by `torch.linalg.eigvalsh`."""
    start = time.perf_counter()
    samples, weights = gradient_store.open_store(path)["gradient"].shape
    matrix = torch.zeros(weights, weights, dtype=dtype)
    total = torch.zeros(weights, dtype=torch.float64)
    for block in blocks(path):
        rows = torch.from_numpy(block).to(dtype)
        matrix.addmm_(rows.T, rows)
        total += rows.sum(0, dtype=torch.float64)
    mean = (total / samples).to(dtype)
    matrix.div_(samples).addr_(mean, mean, alpha=-1)
    formed = time.perf_counter()
    eigenvalue = torch.linalg.eigvalsh(matrix)
    end = time.perf_counter()
    return {
        "eigenvalue": eigenvalue.flip(0).double().numpy(),
        "form_s": formed - start,
        "solve_s": end - formed,
    }


def subset(path: Path) -> dict:
    """D by the symmetric product of BLAS (half the arithmetic), `scipy.linalg.eigh` for some."""
    start = time.perf_counter()
    samples, weights = gradient_store.open_store(path)["gradient"].shape
    matrix = np.zeros((weights, weights), order="F")
    total = np.zeros(weights)
    for block in blocks(path):
        rows = block.astype(np.float64)
        matrix = scipy.linalg.blas.dsyrk(
            1 / samples, rows.T, beta=1.0, c=matrix, lower=1, overwrite_c=1
        )
        total += rows.sum(0)
    matrix = scipy.linalg.blas.dsyr(-1.0, total / samples, a=matrix, lower=1, overwrite_a=1)
    formed = time.perf_counter()
    eigenvalue = scipy.linalg.eigh(
        matrix,
        lower=True,
        eigvals_only=True,
        overwrite_a=True,
        check_finite=False,
        subset_by_index=[max(0, weights - SUBSET), weights - 1],
    )
    end = time.perf_counter()
    return {"eigenvalue": eigenvalue[::-1], "form_s": formed - start, "solve_s": end - formed}


def blocks(path: Path) -> Iterator[np.ndarray]:
    """The stored gradients, 4,096 rows at a time."""
    array = gradient_store.open_store(path)["gradient"]
    for start in range(0, array.shape[0], diffusion.ROWS):
        yield array[start : start + diffusion.ROWS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--gradients", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--leading", type=int, required=True)
    parser.add_argument("--tolerance", type=float, required=True)
    parser.add_argument("--memory-mib", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    path = arguments.gradients
    solve = {
        "limitcycles": lambda: ours(
            path, arguments.leading, arguments.tolerance, arguments.memory_mib
        ),
        "limitcycles exact": lambda: exact(path, arguments.memory_mib),
        "dense float64": lambda: dense(path, torch.float64),
        "dense float32": lambda: dense(path, torch.float32),
        "scipy subset": lambda: subset(path),
    }[arguments.name]
    before = memory_mib()["now_mib"]
    result = solve()
    arrays = {key: result.pop(key) for key in ("eigenvalue", "error_bound") if key in result}
    np.savez(arguments.out, **arrays)
    result["total_s"] = result["form_s"] + result["solve_s"]
    print(json.dumps(result | {"memory": {"before_mib": before, **memory_mib()}}))


if __name__ == "__main__":
    main()
