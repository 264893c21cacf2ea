from limitcycles.runtime.job import logged

from pathlib import Path

from limitcycles import charts
from limitcycles.storage import files, store

with logged(snakemake.log[0], "charts", snakemake.threads):
    result = files.read_json(snakemake.input.claim)
    drawn = charts.draw(
        result["evaluator"],
        result,
        store.load_snapshots(snakemake.input.get("spectra", []), snakemake.params.percents),
        [store.load(path) for path in snakemake.input.get("runs", [])],
        store.load_parts(snakemake.input.get("study", [])),
        store.load_analyses(snakemake.input.get("analyses", [])),
        [store.load(path) for path in snakemake.input.get("late_noise", [])],
    )
    Path(snakemake.output.charts).mkdir(parents=True, exist_ok=True)  # also without a verdict
    scripts = Path(snakemake.input.scripts).read_text(encoding="utf-8")
    for name, chart in drawn.items():
        charts.save(chart, Path(snakemake.output.charts) / name, scripts)
