import gc

gc.disable()  # until `logged`: to look for garbage while importing takes a fifth of the time

from limitcycles import charts
from limitcycles.runtime.job import logged
from limitcycles.storage import files

with logged(snakemake.log[0], "scripts", snakemake.threads):
    files.write_text(snakemake.output.scripts, charts.scripts())
