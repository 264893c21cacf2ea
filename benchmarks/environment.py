"""The machine and the software that a result was measured with, as JSON on standard output.

Names neither hosts nor folders. The peaks take about ten seconds and want a machine at rest.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import time
from pathlib import Path

PACKAGES = (
    "limitcycles",
    "torch",
    "numpy",
    "scipy",
    "zarr",
    "xarray",
    "backpack-for-pytorch",
    "opacus",
    "jax",
    "jaxlib",
    "fplanck",
    "fipy",
    "py-pde",
    "numba",
)


def versions() -> dict[str, str | None]:
    """Versions of the packages that matter; None where one is not installed."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def machine() -> dict:
    """Processor, memory and operating system (Linux)."""
    cpu = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in cpu if "model name" in line), None)
    flags = next((line.split(":", 1)[1].split() for line in cpu if line.startswith("flags")), [])
    total = Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0]
    return {
        "cpu": model or platform.machine(),
        "vector_instructions": [f for f in ("avx2", "avx512f", "avx512_bf16") if f in flags],
        "cores_used": len(os.sched_getaffinity(0)),
        "cores": os.cpu_count(),
        "memory_gb": round(int(total) * 1024 / 1e9, 1),
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
    }


def blas() -> list[dict]:
    """The matrix libraries that are loaded, without their places."""
    import scipy.linalg  # noqa: F401  loads its library
    import torch
    from threadpoolctl import threadpool_info

    keys = ("internal_api", "version", "architecture", "num_threads", "threading_layer")
    libraries = [{k: i[k] for k in keys if k in i} for i in threadpool_info()]
    torch_line = next(
        (
            line.strip(" -")
            for line in torch.__config__.show().splitlines()
            if "Math Kernel" in line
        ),
        "none named",
    )
    return [{"library": "torch", "version": torch_line}, *libraries]


def measure_peaks(threads: int, seconds: float = 1.0) -> dict:
    """Measured peaks with `threads` threads of torch, the best of repetitions over `seconds`.

    Product of two 4096 x 4096 matrices in GFLOP/s; copying 512 MiB in GB/s, bytes copied (each is
    read once and written once); filling 512 MiB in GB/s, bytes written.
    """
    import torch

    torch.set_num_threads(threads)

    def best(work) -> float:
        work()
        least, began = float("inf"), time.perf_counter()
        while time.perf_counter() - began < seconds:
            start = time.perf_counter()
            work()
            least = min(least, time.perf_counter() - start)
        return least

    peaks = {}
    for dtype in (torch.float32, torch.float64):
        a, b = (torch.randn(4096, 4096, dtype=dtype) for _ in range(2))
        c = torch.empty_like(a)
        name = str(dtype).removeprefix("torch.")
        duration = best(lambda a=a, b=b, c=c: torch.mm(a, b, out=c))
        peaks[f"gemm_{name}_gflop_per_s"] = 2 * 4096**3 / duration / 1e9
    source = torch.ones(2**27)
    target = torch.ones(2**27)
    peaks["copy_gb_per_s"] = source.nbytes / best(lambda: target.copy_(source)) / 1e9
    peaks["fill_gb_per_s"] = source.nbytes / best(lambda: target.fill_(2.0)) / 1e9
    return peaks | {"threads": threads}


def describe(threads: int, seconds: float = 1.0) -> dict:
    """All of the above in one dict."""
    return {
        "machine": machine(),
        "python": platform.python_version(),
        "packages": versions(),
        "blas": blas(),
        "peaks": measure_peaks(threads, seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each peak")
    arguments = parser.parse_args()
    print(json.dumps(describe(arguments.threads, arguments.seconds), indent=2))


if __name__ == "__main__":
    main()
