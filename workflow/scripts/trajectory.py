from limitcycles.runtime.job import logged

import shutil
from pathlib import Path

from limitcycles.storage import store
from limitcycles.training.trajectories import recording

with logged(snakemake.log[0], "trajectory", snakemake.threads):
    run, state = snakemake.params.run, Path(snakemake.params.state)
    stores = state / "stores"
    recording.record_seeds(
        store.load(snakemake.input.dataset),
        run,
        {int(seed): stores / f"seed{seed}.zarr" for seed in snakemake.wildcards.seeds.split("-")},
        state,
        device=snakemake.params.device,
        gradient_every=run["gradient_every"],
        windows=tuple(map(tuple, run["windows"])),
        name=snakemake.wildcards.trajectory,
    )
    shutil.move(stores, snakemake.output.stores)
