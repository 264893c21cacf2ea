from limitcycles.runtime.job import logged

from pathlib import Path

from limitcycles.judging import measuring
from limitcycles.storage import store

with logged(snakemake.log[0], "measure", snakemake.threads):
    given, params = snakemake.input, snakemake.params
    if params.seed is None:
        parts = measuring.of_theory(params.name, params.settings)
    elif given.get("stores"):
        from limitcycles.training.trajectories.reading import open_trajectory

        parts = measuring.of_trajectory(
            params.name,
            open_trajectory(Path(given.stores, f"seed{params.seed}.zarr")),
            store.load(given.dataset),
            params.settings,
        )
    else:
        parts = measuring.of_runs(
            params.name,
            [store.load(path) for path in given.runs],
            store.load_snapshots(given.spectra, [params.percent]),
            {
                Path(path).name.removesuffix(".zarr.zip"): store.load(path)
                for path in given.datasets
            },
            params.settings,
            params.seed,
            device=params.device,
            state=Path(params.state),
        )
    store.save_parts(parts, snakemake.output.measurement)
