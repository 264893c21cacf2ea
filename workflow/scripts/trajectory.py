import gc

gc.disable()  # until `logged`: to look for garbage while importing takes a fifth of the time

import shutil
from pathlib import Path

from limitcycles import store
from limitcycles.fused import trajectory
from limitcycles.job import logged

with logged(snakemake.log[0], "trajectory", snakemake.threads):
    run = snakemake.params.run
    finished = trajectory.record(
        store.load(snakemake.input.dataset),
        run,
        int(snakemake.wildcards.seed),
        Path(snakemake.params.state),
        gradient_every=run["gradient_every"],
        windows=tuple(map(tuple, run["windows"])),
        name=snakemake.wildcards.trajectory,
    )
    shutil.move(finished, snakemake.output.trajectory)
