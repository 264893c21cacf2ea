rule trajectory:
    input:
        dataset=lambda wildcards: trajectory_dataset(wildcards.trajectory),
    output:
        # seed<N>.zarr for each of the seeds, which are joined as in "0-1-2".
        stores=directory(f"{RESULTS}/trajectories/{{trajectory}}/{{seeds}}"),
    log:
        f"{RESULTS}/logs/trajectory/{{trajectory}}/{{seeds}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/trajectory/{{trajectory}}/{{seeds}}.tsv"
    # The longest jobs: they start first, so that the others fill what is left.
    priority: 20
    threads: 1
    resources:
        gpu=lambda wildcards: int(is_ensemble(wildcards.trajectory)),
        mem_mb=memory(trajectory_mb),
        runtime=growing(240),
        disk_mb=trajectory_disk_mb,
    params:
        code=code("limitcycles.training.trajectories.recording", "limitcycles.storage.store"),
        own=lambda wildcards: own_code(wildcards.trajectory, "trajectories"),
        run=lambda wildcards: settings.recipe(
            settings.resolve_trajectory(config, wildcards.trajectory)
        ),
        device=lambda wildcards: "cuda" if is_ensemble(wildcards.trajectory) else None,
        # Not an output: Snakemake deletes the outputs of a job that was killed.
        state=f"{STATE}/trajectories/{{trajectory}}/{{seeds}}",
    message:
        "Train {wildcards.trajectory}, seed {wildcards.seeds}, and keep every epoch."
    script:
        "../workflow/scripts/trajectory.py"
