from limitcycles.runtime.job import logged

from limitcycles.charts.files import scripts
from limitcycles.storage import files

with logged(snakemake.log[0], "scripts", snakemake.threads):
    files.write_text(snakemake.output.scripts, scripts())
