from limitcycles.runtime.job import logged

import sys

from limitcycles import datasets
from limitcycles.storage import files

with logged(snakemake.log[0], "reachable"):
    reason = datasets.unreachable(
        snakemake.params.spec,
        data_folder=snakemake.params.data_folder,
        log=lambda line: print(line, file=sys.stderr),
    )
    files.write_json(snakemake.output.answer, {"unreachable": reason})
