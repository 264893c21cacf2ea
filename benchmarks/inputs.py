"""What the benchmarks compute on: a network after a short training, and its gradients.

Made once through the library, as the workflow does it, and kept in `benchmarks/.work/`, which may
be deleted at any time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from limitcycles import datasets
from limitcycles.configuration import settings
from limitcycles.diffusion import gradient_store, gradients
from limitcycles.storage import store
from limitcycles.storage.files import StorageError, replacing
from limitcycles.storage.provenance import code_version
from limitcycles.training import networks, sgd

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WORK = HERE / ".work"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that both benchmarks share."""
    parser.add_argument("--run", default="small-lenet-text", help="a run of config/config.yaml")
    parser.add_argument("--scale", default="laptop", help="quick: digits, without a download")
    parser.add_argument("--epochs", type=int, default=3, help="length of the training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-folder", help="folder with the original files of the dataset")
    parser.add_argument("--cores", type=int, default=2, help="cores that every contestant gets")


def options_of(arguments: argparse.Namespace) -> list[str]:
    """The shared options as a command line, for a process of its own."""
    names = ("run", "scale", "epochs", "seed", "cores")
    given = [f"--{name}={getattr(arguments, name)}" for name in names]
    return given + ([f"--data-folder={arguments.data_folder}"] if arguments.data_folder else [])


def folder_of(arguments: argparse.Namespace) -> Path:
    """Where the inputs for these options are kept."""
    return WORK / f"{arguments.run}-{arguments.scale}-{arguments.epochs}-{arguments.seed}"


def make(arguments: argparse.Namespace, samples: int | None, with_gradients: bool) -> None:
    """Train, and write the per-sample gradients, unless they are there.

    `dataset.zarr.zip`, `run.zarr.zip` and `inputs.npz` (images, labels, weights, buffers) are made
    once. The gradients of the first `samples` examples (None: all) are made anew where the code
    of the library has changed.
    """
    folder = folder_of(arguments)
    folder.mkdir(parents=True, exist_ok=True)
    config = settings.load(
        ROOT / "config" / "config.yaml",
        ROOT / "config" / "scales",
        ROOT / "workflow" / "schemas" / "config.schema.yaml",
        command_line={"scale": arguments.scale},
    )
    run = settings.resolve_run(config, arguments.run)
    run["training"] |= {"epochs": arguments.epochs, "snapshots": [100]}
    if not (folder / "inputs.npz").exists():
        dataset = datasets.build(
            run["dataset"],
            data_folder=Path(arguments.data_folder) if arguments.data_folder else None,
            log=lambda line: print(line, file=sys.stderr),
        )
        with tempfile.TemporaryDirectory() as state:
            trained = sgd.train(
                dataset, run, arguments.seed, Path(state), name=arguments.run, device="cpu"
            )
        store.save(dataset, folder / "dataset.zarr.zip")
        store.save(trained, folder / "run.zarr.zip")
        with replacing(folder / "inputs.npz") as temporary, open(temporary, "wb") as file:
            np.savez(
                file,
                images=dataset["train_image"].values.astype(np.float32),
                labels=dataset["train_label"].values,
                weights=trained["weights"].values[-1],
                buffers=trained["buffers"].values[-1],
                network=json.dumps(run["network"]),
            )
    if with_gradients:
        _gradients(folder, samples, arguments.cores)


def gradients_path(arguments: argparse.Namespace, samples: int | None) -> Path:
    """The folder of the stored gradients of the first `samples` examples."""
    return folder_of(arguments) / f"gradients-{samples or 'all'}.zarr"


def _gradients(folder: Path, samples: int | None, threads: int) -> None:
    path = folder / f"gradients-{samples or 'all'}.zarr"
    if path.exists():
        try:
            if gradient_store.open_store(path).attrs["code_version"] == code_version():
                return
        except StorageError as error:
            print(f"made anew: {error}", file=sys.stderr)
    dataset: xr.Dataset = store.load(folder / "dataset.zarr.zip")
    trained = store.load(folder / "run.zarr.zip")
    gradients.write(
        trained,
        dataset.isel(train=slice(samples)),
        100,
        path,
        threads=threads,
        device="cpu",
    )


def load(folder: Path, images: int) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    """The trained network in evaluation mode, and the first examples, from `inputs.npz`."""
    with np.load(folder / "inputs.npz") as inputs:
        network = networks.build(json.loads(str(inputs["network"])))
        networks.restore(network, inputs["weights"], inputs["buffers"])
        x = torch.from_numpy(inputs["images"][:images])
        y = torch.from_numpy(inputs["labels"][:images])
    return network.eval(), x, y


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--samples", type=int, help="gradients of the first examples only")
    parser.add_argument("--gradients", action="store_true", help="the gradients as well")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.cores)
    make(arguments, arguments.samples, arguments.gradients)


if __name__ == "__main__":
    main()
