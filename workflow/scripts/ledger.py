from limitcycles.runtime.job import logged

from limitcycles.report import page as report
from limitcycles.storage import files

with logged(snakemake.log[0], "ledger", snakemake.threads):
    results = [files.read_json(path) for path in snakemake.input.claims]
    files.write_json(snakemake.output.json, report.merge(results, snakemake.params.papers))
    files.write_text(snakemake.output.csv, report.csv_table(results))
