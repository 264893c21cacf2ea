import gc

gc.disable()  # until `logged`: to look for garbage while importing takes a fifth of the time

import sys

from limitcycles import datasets
from limitcycles.runtime.job import logged
from limitcycles.storage import store

with logged(snakemake.log[0], "dataset"):
    dataset = datasets.build(
        snakemake.params.spec,
        data_folder=snakemake.config["data_folder"],
        log=lambda line: print(line, file=sys.stderr),
    )
    store.save(dataset, snakemake.output.dataset)
