from limitcycles.runtime.job import logged

from pathlib import Path

from limitcycles.configuration.settings import digest
from limitcycles.judging.result import untested
from limitcycles.storage import files

with logged(snakemake.log[0], "not_tested"):
    for path in map(Path, snakemake.output.claims):
        entry = snakemake.params.entries[path.stem]
        context = {
            "scale": snakemake.params.scale,
            "seeds": [],
            "config_hash": digest(entry),
            "artefacts": [],
        }
        files.write_json(path, untested(path.stem, entry, context))
