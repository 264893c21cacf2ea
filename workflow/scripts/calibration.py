from limitcycles.runtime.job import logged

from pathlib import Path

from limitcycles.charts import files
from limitcycles.papers.chaudhari2018.calibration import charts as calibration
from limitcycles.storage import store

with logged(snakemake.log[0], "calibration", snakemake.threads):
    parts = store.load_parts([snakemake.input.study])
    chart = calibration.chart(parts["rates"], parts["power"])
    scripts = Path(snakemake.input.scripts).read_text(encoding="utf-8")
    files.save(chart, Path(snakemake.output.charts) / "calibration", scripts)
