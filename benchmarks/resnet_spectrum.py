"""The matrix-free spectrum of residual networks of 10⁴ to 4·10⁵ weights: its time and memory.

Gradients are streamed into a store and read again at each pass, so that no more than a block of
them is in memory. Each point is a process of its own. Images are made, not read: a pattern for
each class with noise, and a short training gives the statistics of batch normalisation.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import scipy.stats
import torch
import torch.nn.functional as F
from processes import cores_for, log, memory_mib, run_script
from torch import Tensor, nn

from limitcycles.diffusion import gradient_store, gradients, krylov
from limitcycles.diffusion.per_sample import PerSampleGradients
from limitcycles.runtime.memory import keep_freed
from limitcycles.training import networks

HERE = Path(__file__).resolve().parent
CLASSES = 10
STEPS, BATCH = 20, 64  # of training before the gradients are taken
GRADIENT_MIB = 512  # gradients.memory_mib
FIT_FROM = 40_000  # weights: below, the time of a call hides that of its arithmetic


class Block(nn.Module):
    """Two 3×3 convolutions with batch normalisation beside an identity (He et al. 2016).

    Where it halves the image the identity takes every second pixel, and zeros fill the new
    channels: their shortcut "A", without weights.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.stride, self.new = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new))
        return F.relu(x + y)


def resnet(layers: int, width: int) -> nn.Sequential:
    """The network for CIFAR with 6n + 2 layers; its stages have width, 2 width and 4 width."""
    repeats, rest = divmod(layers - 2, 6)
    if rest or repeats < 1:
        sys.exit(f"--layers {layers}: a residual network for CIFAR has 6n + 2 layers, as 8 or 20")
    blocks, channels = [], width
    for stage in range(3):
        for number in range(repeats):
            outputs = width * 2**stage
            blocks.append(Block(channels, outputs, 2 if stage and not number else 1))
            channels = outputs
    return nn.Sequential(
        nn.Conv2d(3, width, 3, 1, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, CLASSES),
    )


def data(samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images (samples, 3, 32, 32), a smooth pattern of its class in noise, and labels."""
    patterns = F.interpolate(torch.randn(CLASSES, 3, 4, 4, generator=generator), 32)
    labels = torch.randint(0, CLASSES, (samples,), generator=generator)
    return patterns[labels] + torch.randn(samples, 3, 32, 32, generator=generator), labels


def prepare(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for step in range(STEPS):
        some = torch.arange(step * BATCH, (step + 1) * BATCH) % len(images)
        optimiser.zero_grad()
        F.cross_entropy(network(images[some]), labels[some]).backward()
        optimiser.step()
    network.eval()


def write(network: nn.Module, images: Tensor, labels: Tensor, path: Path, threads: int) -> dict:
    """Rows into a store, as `gradients.write` does it."""
    rows = PerSampleGradients(network, images, labels)
    block, shard = gradients.plan(rows, images[0], GRADIENT_MIB, threads)
    group = gradient_store.create(path, (len(images), rows.weights), shard, "float32", {})
    square_norm = np.empty(len(images))
    start = time.perf_counter()
    for at, part in rows.blocks(images, labels, shard, threads, block):
        group["gradient"][at : at + len(part)] = part.numpy()
        norm = torch.linalg.vector_norm(part, dim=1, dtype=torch.float64)
        square_norm[at : at + len(part)] = (norm**2).numpy()
    end = time.perf_counter()
    group.create_array("square_norm", data=square_norm, dimension_names=("sample",))
    return {"method": rows.method, "gradients_s": end - start}


def point(arguments: argparse.Namespace) -> dict:
    """One network: first its gradients, in a process of their own, then its spectrum."""
    torch.set_num_threads(arguments.cores)
    if arguments.part == "gradients":
        keep_freed()
        torch.manual_seed(arguments.seed)
        network = resnet(arguments.layers, arguments.width)
        images, labels = data(arguments.samples, torch.Generator().manual_seed(arguments.seed))
        prepare(network, images, labels)
        before = memory_mib()["now_mib"]
        found = write(network, images, labels, arguments.store, arguments.cores)
        weights = networks.count_weights(network)
        return found | {"weights": weights, "before_mib": before} | memory_mib()
    from solvers import CountingRows

    store = gradient_store.open_store(arguments.store)
    before = memory_mib()["now_mib"]
    start = time.perf_counter()
    rows = CountingRows(store["gradient"], square_norm=store["square_norm"][:], memory_mib=0)
    read = time.perf_counter()
    found = krylov.matrix_free(rows, leading=arguments.leading, tolerance=arguments.tolerance)
    end = time.perf_counter()
    space = rows.columns - krylov.PROBES
    block = 2 * 4 * min(rows.block, rows.samples)  # as read and as decoded, float32
    bytes_ = rows.weights * (block + 8 * (space + 5 * krylov.BLOCK))
    return {
        "read_s": read - start,
        "solve_s": end - read,
        "columns": rows.columns,
        "seconds_per_column": (end - read) / rows.columns,
        "eigenvalues": len(found.eigenvalue),
        "largest": float(found.eigenvalue[0]),
        "before_mib": before,
        "predicted_mib": before + bytes_ / 2**20,
        **memory_mib(),
    }


def measure_point(arguments, layers: int, width: int, samples: int) -> dict:
    """Both parts of a point, the spectrum `--rounds` times (median and range of its time)."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        command = [str(Path(__file__)), f"--store={folder}/gradients.zarr", f"--layers={layers}"]
        command += [f"--width={width}", f"--samples={samples}"]
        for name in ("leading", "tolerance", "seed", "cores"):
            command.append(f"--{name}={getattr(arguments, name)}")
        cores = cores_for(arguments.cores)
        made = json.loads(run_script([*command, "--part=gradients"], cores))
        rounds = [
            json.loads(run_script([*command, "--part=spectrum"], cores))
            for _ in range(arguments.rounds)
        ]
    result = {"layers": layers, "width": width, "samples": samples, "gradients": made}
    result["weights"] = made.pop("weights")
    result |= rounds[-1]
    for key in ("read_s", "solve_s", "seconds_per_column"):
        values = [r[key] for r in rounds]
        result[key] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    result["memory_over_prediction"] = result["peak_mib"] / result["predicted_mib"]
    result["resident_gradients_mib"] = 4 * samples * result["weights"] / 2**20
    log(
        f"ResNet-{layers}, width {width}, d = {result['weights']:,}, N = {samples:,}: gradients "
        f"{made['gradients_s']:.1f} s ({made['method']}), spectrum "
        f"{result['solve_s']['median']:.1f} s for {result['columns']} columns, "
        f"{result['peak_mib']:.0f} MiB ({result['predicted_mib']:.0f} predicted)"
    )
    return result


def exponent(points: list[dict], size: str, key: str) -> dict:
    """Slope of log time on log size by least squares, with its 95 % t-interval."""
    x, y = (np.log([p[size] for p in points]), np.log([p[key]["min"] for p in points]))
    fit = scipy.stats.linregress(x, y)
    half = scipy.stats.t.ppf(0.975, len(x) - 2) * fit.stderr if len(x) > 2 else float("nan")
    return {"exponent": fit.slope, "low": fit.slope - half, "high": fit.slope + half}


def measure(arguments: argparse.Namespace) -> dict:
    script = [str(HERE / "environment.py"), f"--seconds={arguments.peak_seconds}"]
    described = json.loads(run_script(script, cores_for(arguments.cores)))
    began, load = time.perf_counter(), os.getloadavg()[0]
    sizes = [measure_point(arguments, 8, w, arguments.samples) for w in arguments.widths]
    deep = measure_point(arguments, 20, arguments.deep_width, arguments.samples)
    counts = [measure_point(arguments, 8, arguments.widths[0], n) for n in arguments.counts]
    large = [p for p in sizes if p["weights"] >= FIT_FROM]
    keys = ("solve_s", "seconds_per_column")
    return {
        "benchmark": "matrix-free spectrum of residual networks",
        "leading": arguments.leading,
        "tolerance": arguments.tolerance,
        "rounds": arguments.rounds,
        "note": arguments.note,
        "load_before": load,
        "seconds": time.perf_counter() - began,
        "against_weights": sizes,
        "deeper": deep,
        "against_samples": counts,
        "fits": {
            "weights, all": {key: exponent(sizes, "weights", key) for key in keys},
            f"weights, from {FIT_FROM}": {key: exponent(large, "weights", key) for key in keys},
            "samples": {key: exponent(counts, "samples", key) for key in keys},
            "predicted": 1,
        },
        "environment": described,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[6, 8, 12, 17, 24, 35])
    parser.add_argument("--deep-width", type=int, default=16, help="width of a ResNet-20 beside")
    parser.add_argument("--samples", type=int, default=1600, help="N where d is varied")
    parser.add_argument("--counts", type=int, nargs="+", default=[1600, 3200, 6400, 12800])
    parser.add_argument("--leading", type=int, default=100)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--peak-seconds", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, help="where gradients are kept for a while: 3 GB")
    parser.add_argument("--note", default="", help="kept in the result: what else was running, say")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "resnet_spectrum.json")
    for name, kind in (("part", str), ("store", Path), ("layers", int), ("width", int)):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)  # of one process
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(point(arguments)))
        return
    result = measure(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    log(f"written: {arguments.out.name}")


if __name__ == "__main__":
    main()
