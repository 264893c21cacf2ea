from limitcycles.runtime.job import logged

from pathlib import Path

from limitcycles.charts import drawing
from limitcycles.charts.files import save
from limitcycles.judging import evidence

with logged(snakemake.log[0], "instrument", snakemake.threads):
    found = evidence.load({}, {"instruments": [snakemake.input.measured]})
    scripts = Path(snakemake.input.scripts).read_text(encoding="utf-8")
    for name, chart in drawing.instrument(
        snakemake.wildcards.instrument, snakemake.params.entry, found
    ).items():
        save(chart, Path(snakemake.output.charts) / name, scripts)
