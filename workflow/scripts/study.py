import gc

gc.disable()  # until `logged`: to look for garbage while importing takes a fifth of the time

from limitcycles.judging import studies
from limitcycles.runtime.job import logged
from limitcycles.storage import store

with logged(snakemake.log[0], "study", snakemake.threads):
    store.save_parts(
        studies.run(snakemake.wildcards.study, snakemake.params.settings),
        snakemake.output.study,
    )
