from limitcycles.runtime.job import logged

import sys

from limitcycles import datasets
from limitcycles.storage import store

with logged(snakemake.log[0], "dataset"):
    dataset = datasets.build(
        snakemake.params.spec,
        data_folder=snakemake.config["data_folder"],
        log=lambda line: print(line, file=sys.stderr),
    )
    store.save(dataset, snakemake.output.dataset)
