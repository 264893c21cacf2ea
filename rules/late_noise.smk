rule late_noise:
    input:
        unpack(lambda wildcards: continued(wildcards.claim, wildcards.seed)),
    output:
        late_noise=f"{RESULTS}/late_noise/{{claim}}/seed{{seed}}.zarr.zip",
    log:
        f"{RESULTS}/logs/late_noise/{{claim}}/seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/late_noise/{{claim}}/seed{{seed}}.tsv"
    threads: 1
    resources:
        gpu=gpus(),
        mem_mb=memory(late_noise_mb),
        runtime=growing(240),
        disk_mb=100,
    params:
        code=code(
            "limitcycles.papers.chaudhari2018.temperature_tracks_mean_eigenvalue.measure",
            "limitcycles.storage.store",
        ),
        own=lambda wildcards: list(map(own_code, runs_of(wildcards.claim))),
        settings=settings.canonical(config["late_noise"]),
        percent=lambda wildcards: max(CLAIMS[wildcards.claim]["snapshots"]),
        device=config["device"],
        # Not an output: Snakemake deletes the outputs of a job that was killed.
        state=f"{STATE}/late_noise/{{claim}}/seed{{seed}}",
    message:
        "Compare the late noise of trained networks, seed {wildcards.seed}."
    script:
        "../workflow/scripts/late_noise.py"
