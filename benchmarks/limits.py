"""Physical limits: the arithmetic and the bytes that no implementation can avoid, as times.

Times follow from the peaks that `environment.measure_peaks` measures in the same run.
"""

from __future__ import annotations

from torch import Tensor, nn

from limitcycles.training import networks


def layer_flop(network: nn.Sequential, example: Tensor) -> list[dict]:
    """FLOP of one example in each convolution and linear layer: shapes (C, H, W) or (features,).

    A product of (m, k) with (k, n) counts 2 m k n. With P output positions and a kernel of
    C_in·h·w entries a convolution has three such products, each of 2 P C_out C_in h w: the output,
    the gradient of its input, and the gradient of its weights. The first layer needs no gradient
    of its input. In a linear layer the weights' gradient of one example is an outer product, one
    multiplication an entry. Batch normalisation is folded into the layer before it; ReLU, pooling
    and sums for biases are left out (a few per cent).
    """
    shapes = {}

    def note(layer, arguments, output):
        shapes[layer] = output.shape[1:]

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    network(example[None])
    for hook in hooks:
        hook.remove()
    result = []
    for layer in layers:
        entries = layer.weight.numel()
        positions = shapes[layer][1:].numel() if isinstance(layer, nn.Conv2d) else 1
        product = 2 * positions * entries
        result.append(
            {
                "layer": str(layer),
                "positions": positions,
                "weights": entries,
                "forward_flop": product,
                "input_gradient_flop": 0 if layer is layers[0] else product,
                "weight_gradient_flop": product if positions > 1 else entries,
            }
        )
    return result


def per_sample_limit(network: nn.Sequential, example: Tensor, peaks: dict) -> dict:
    """Least time of one row of per-sample gradients in µs: arithmetic, and writing the row."""
    layers = layer_flop(network, example)
    totals = {
        key: sum(layer[key] for layer in layers)
        for key in ("forward_flop", "input_gradient_flop", "weight_gradient_flop")
    }
    flop = sum(totals.values())
    written = 4 * networks.count_weights(network)
    arithmetic = flop / peaks["gemm_float32_gflop_per_s"] / 1e3
    writing = written / peaks["fill_gb_per_s"] / 1e3
    return {
        "layers": layers,
        **totals,
        "flop": flop,
        "bytes_written": written,
        "arithmetic_us": arithmetic,
        "writing_us": writing,
        "overlapped_us": max(arithmetic, writing),
        "one_after_the_other_us": arithmetic + writing,
    }


def dense_limit(samples: int, weights: int, peaks: dict, precision: str, symmetric: bool) -> dict:
    """Least time in s to form D, 2 N d² FLOP (N d² where only a triangle is formed), and to
    reduce it to tridiagonal form, 4/3 d³ FLOP, which dominates the eigenvalues."""
    rate = peaks[f"gemm_{precision}_gflop_per_s"] * 1e9
    form = (1 if symmetric else 2) * samples * weights**2
    solve = 4 / 3 * weights**3
    return {
        "form_flop": form,
        "solve_flop": solve,
        "form_s": form / rate,
        "solve_s": solve / rate,
        "read_bytes": 4 * samples * weights,
        "matrix_bytes": (8 if precision == "float64" else 4) * weights**2,
    }


def krylov_limit(
    samples: int, kept: int, weights: int, columns: int, space: int, peaks: dict
) -> dict:
    """Least time in s of the matrix-free method, given the columns that it multiplied.

    4 N' d m FLOP in float32 for m columns (G V and Gᵀ of that), N' the rows that take part; in
    float64 5 d s² FLOP to orthogonalise a Krylov space of s columns: its coupling and two passes
    of Gram-Schmidt are five products of 2 d s_j b with s_j the columns so far and b the new ones,
    and Σ s_j b = s²/2. G is read once from storage.
    """
    multiply = 4 * kept * weights * columns
    orthogonalise = 5 * weights * space**2
    read = 4 * samples * weights
    times = {
        "multiply_s": multiply / peaks["gemm_float32_gflop_per_s"] / 1e9,
        "orthogonalise_s": orthogonalise / peaks["gemm_float64_gflop_per_s"] / 1e9,
        "read_s": read / peaks["copy_gb_per_s"] / 1e9,
    }
    return {
        "multiply_flop": multiply,
        "orthogonalise_flop": orthogonalise,
        "read_bytes": read,
        **times,
        "total_s": sum(times.values()),
    }
