import gc

gc.disable()  # until `logged`: to look for garbage while importing takes a fifth of the time

from limitcycles import charts, files
from limitcycles.job import logged

with logged(snakemake.log[0], "scripts", snakemake.threads):
    files.write_text(snakemake.output.scripts, charts.scripts())
