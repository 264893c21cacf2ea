import gc

gc.disable()  # until `logged`: to look for garbage while importing takes a fifth of the time

from limitcycles import store, studies
from limitcycles.job import logged

with logged(snakemake.log[0], "study", snakemake.threads):
    store.save_parts(
        studies.run(snakemake.wildcards.study, snakemake.params.settings),
        snakemake.output.study,
    )
