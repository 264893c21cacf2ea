from limitcycles.runtime.job import logged

from pathlib import Path

from limitcycles.storage import store
from limitcycles.training import sgd

with logged(snakemake.log[0], "train", snakemake.threads):
    run = sgd.train(
        store.load(snakemake.input.dataset),
        snakemake.params.run,
        int(snakemake.wildcards.seed),
        Path(snakemake.params.state),
        name=snakemake.wildcards.run,
        device=snakemake.params.device,
    )
    store.save(run, snakemake.output.run)
