import gc

gc.disable()  # until `logged`: to look for garbage while importing takes a fifth of the time

import sys

from limitcycles import datasets
from limitcycles.runtime.job import logged
from limitcycles.storage import files

with logged(snakemake.log[0], "reachable"):
    reason = datasets.unreachable(
        snakemake.params.spec,
        data_folder=snakemake.params.data_folder,
        log=lambda line: print(line, file=sys.stderr),
    )
    files.write_json(snakemake.output.answer, {"unreachable": reason})
