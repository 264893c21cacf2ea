from limitcycles.runtime.job import logged

from limitcycles.judging import studies
from limitcycles.storage import store

with logged(snakemake.log[0], "study", snakemake.threads):
    store.save_parts(
        studies.run(snakemake.wildcards.study, snakemake.params.settings),
        snakemake.output.study,
    )
