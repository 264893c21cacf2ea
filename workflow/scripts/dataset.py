import gc

gc.disable()  # until `logged`: to look for garbage while importing takes a fifth of the time

import sys
from pathlib import Path

from limitcycles import datasets, store
from limitcycles.job import logged

with logged(snakemake.log[0], "dataset"):
    folder = snakemake.config["data_folder"]
    dataset = datasets.build(
        snakemake.params.spec,
        data_folder=Path(folder) if folder else None,
        log=lambda line: print(line, file=sys.stderr),
    )
    store.save(dataset, snakemake.output.dataset)
