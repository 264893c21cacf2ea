from limitcycles.runtime.job import logged

from pathlib import Path

from limitcycles.report import page as report
from limitcycles.storage import files

with logged(snakemake.log[0], "page", snakemake.threads):
    results = [files.read_json(path) for path in snakemake.input.claims]
    drawn = {
        folder.name: {
            path.name.removesuffix(".vl.json"): files.read_json(path)
            for path in sorted(folder.glob("*.vl.json"))
        }
        for folder in map(Path, snakemake.input.charts)
    }
    merged = report.merge(results)
    meta = {key: merged[key] for key in ("scale", "code_version", "config_hash")}
    scripts = Path(snakemake.input.scripts).read_text(encoding="utf-8")
    files.write_text(
        snakemake.output.page, report.page(results, drawn, meta, scripts, snakemake.params.papers)
    )
