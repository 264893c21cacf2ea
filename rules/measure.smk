rule measure:
    input:
        unpack(measured_from),
    output:
        # NAME/all of the theory, NAME/TRAJECTORY/seed<N> of a trajectory, NAME/seed<N> of runs.
        measurement=directory(f"{RESULTS}/measurements/{{measurement}}"),
    log:
        f"{RESULTS}/logs/measure/{{measurement}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure/{{measurement}}.tsv"
    threads: 1
    resources:
        gpu=lambda wildcards: gpus() if goes_on(wildcards) else 0,
        mem_mb=memory(measurement_mb),
        runtime=growing(lambda wildcards: 240 if goes_on(wildcards) else 60),
        disk_mb=100,
    params:
        code=lambda wildcards: digest(
            folders.module(parted(wildcards)[0], "measure"),
            "limitcycles.judging.measuring",
            "limitcycles.storage.store",
        ),
        own=lambda wildcards: list(map(own_code, runs_measured(parted(wildcards)[0]))),
        name=lambda wildcards: parted(wildcards)[0],
        settings=lambda wildcards: ledger.settings_read(parted(wildcards)[0], CLAIMS, config),
        seed=lambda wildcards: parted(wildcards)[2],
        percent=lambda wildcards: last_percent(parted(wildcards)[0]),
        device=config["device"],
        # Not an output: Snakemake deletes the outputs of a job that was killed.
        state=f"{STATE}/measurements/{{measurement}}",
    message:
        "Measure {wildcards.measurement}."
    script:
        "../workflow/scripts/measure.py"
