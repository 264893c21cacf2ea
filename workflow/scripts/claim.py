from limitcycles.runtime.job import logged

from pathlib import Path

from limitcycles.configuration.settings import digest
from limitcycles.judging import judge as claims
from limitcycles.storage import files, store

with logged(snakemake.log[0], "claim", snakemake.threads):
    entry, runs = snakemake.params.entry, snakemake.params.runs
    percents = entry.get("snapshots", [])
    evidence = claims.gather(
        entry,
        runs=[store.load(path) for path in snakemake.input.get("runs", [])],
        spectra=store.load_snapshots(snakemake.input.get("spectra", []), percents),
        sample=store.load_snapshots(snakemake.input.get("sample", []), percents[-1:]),
        analyses=store.load_analyses(snakemake.input.get("analyses", [])),
        study=store.load_parts(snakemake.input.get("study", [])),
        late_noise=[store.load(path) for path in snakemake.input.get("late_noise", [])],
    )
    unreachable = {
        Path(path).name.split(".")[0]: files.read_json(path)["unreachable"]
        for path in snakemake.input.get("answers", [])
    }
    result = claims.judge(
        snakemake.wildcards.claim,
        entry,
        evidence,
        {
            "scale": snakemake.params.scale,
            "seeds": snakemake.params.all_seeds,
            "departures": {arm: run["departure"] for arm, run in runs.items()},
            "absent": claims.absent(entry, runs, unreachable),
            "config_hash": digest([entry, runs, snakemake.params.sections]),
            "artefacts": [
                path
                for kind in ("runs", "spectra", "sample", "analyses", "late_noise", "study")
                for path in snakemake.input.get(kind, [])
            ],
        },
    )
    files.write_json(snakemake.output.claim, result)
