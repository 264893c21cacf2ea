from limitcycles.runtime.job import logged

from pathlib import Path

from limitcycles.diffusion import gradients
from limitcycles.storage import store

with logged(snakemake.log[0], "gradients", snakemake.threads):
    run = store.load(snakemake.input.run)
    dataset = store.load(snakemake.input.dataset)
    for percent in map(int, snakemake.wildcards.batch.split("-")):
        sample = gradients.write(
            run,
            dataset,
            percent,
            Path(snakemake.output.full) / f"at{percent}.zarr",
            precision=snakemake.params.precision,
            memory_mib=snakemake.params.memory_mib,
            threads=snakemake.threads,
            device=snakemake.params.device,
            keep_samples=snakemake.params.keep_samples,
            images=snakemake.params.images,
            augmentations=snakemake.params.augmentations,
        )
        store.save(sample, Path(snakemake.output.sample) / f"at{percent}.zarr.zip")
