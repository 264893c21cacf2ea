from limitcycles.runtime.job import logged

from pathlib import Path

from limitcycles.papers.chaudhari2018.temperature_tracks_mean_eigenvalue import (
    measure as late_noise,
)
from limitcycles.storage import store

with logged(snakemake.log[0], "late noise", snakemake.threads):
    result = late_noise.measure(
        [store.load(path) for path in snakemake.input.runs],
        store.load_snapshots(snakemake.input.spectra, [snakemake.params.percent]),
        {
            Path(path).name.removesuffix(".zarr.zip"): store.load(path)
            for path in snakemake.input.datasets
        },
        snakemake.params.settings,
        int(snakemake.wildcards.seed),
        device=snakemake.params.device,
        state=Path(snakemake.params.state),
    )
    store.save(result, snakemake.output.late_noise)
