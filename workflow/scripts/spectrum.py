from limitcycles.runtime.job import logged

from pathlib import Path

from limitcycles.diffusion import spectrum
from limitcycles.storage import store

with logged(snakemake.log[0], "spectrum", snakemake.threads):
    for percent in snakemake.wildcards.batch.split("-"):
        result = spectrum.of_gradients(
            Path(snakemake.input.gradients) / f"at{percent}.zarr",
            snakemake.params.settings,
            snakemake.params.device,
        )
        store.save(result, Path(snakemake.output.spectra) / f"at{percent}.zarr.zip")
