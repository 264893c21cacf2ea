from limitcycles.runtime.job import logged

from pathlib import Path

from limitcycles.configuration.settings import digest
from limitcycles.judging import evidence, judge
from limitcycles.storage import files

with logged(snakemake.log[0], "claim", snakemake.threads):
    entry, runs = snakemake.params.entry, snakemake.params.runs
    kinds = ("runs", "spectra", "sample", "measured", "instruments")
    paths = {kind: snakemake.input.get(kind, []) for kind in kinds}
    found = evidence.load(entry, paths)
    unreachable = {
        Path(path).name.split(".")[0]: files.read_json(path)["unreachable"]
        for path in snakemake.input.get("answers", [])
    }
    result = judge.judge(
        snakemake.wildcards.claim,
        entry,
        found,
        {
            "scale": snakemake.params.scale,
            "seeds": snakemake.params.all_seeds,
            "departures": {arm: run["departure"] for arm, run in runs.items()},
            "absent": judge.absent(entry, runs, unreachable),
            "config_hash": digest([entry, runs, snakemake.params.settings]),
            "artefacts": [path for kind in kinds for path in paths[kind]],
        },
    )
    files.write_json(snakemake.output.claim, result)

    # Late: Altair is not imported where there is no verdict.
    from limitcycles.charts import drawing
    from limitcycles.charts.files import save

    folder = Path(snakemake.output.charts)
    folder.mkdir(parents=True, exist_ok=True)  # also without a verdict
    scripts = Path(snakemake.input.scripts).read_text(encoding="utf-8")
    for name, chart in drawing.draw(result, found).items():
        save(chart, folder / name, scripts)
