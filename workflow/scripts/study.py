from limitcycles import store, studies
from limitcycles.job import logged

with logged(snakemake.log[0], "study", snakemake.threads):
    store.save_parts(
        studies.run(snakemake.wildcards.study, snakemake.params.settings),
        snakemake.output.study,
    )
