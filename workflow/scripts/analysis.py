from limitcycles.runtime.job import logged

from pathlib import Path

from limitcycles.storage import store
from limitcycles.training.trajectories import analysis as analyses
from limitcycles.training.trajectories.reading import open_trajectory

with logged(snakemake.log[0], "analysis", snakemake.threads):
    store.save_parts(
        analyses.run(
            snakemake.wildcards.analysis,
            open_trajectory(Path(snakemake.input.stores, f"seed{snakemake.wildcards.seed}.zarr")),
            store.load(snakemake.input.dataset),
            snakemake.params.settings,
        ),
        snakemake.output.analysis,
    )
