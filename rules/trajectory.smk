rule trajectory:
    input:
        dataset=lambda wildcards: f"{RESULTS}/data/{config['trajectories'][wildcards.trajectory]['dataset']}.zarr.zip",
        code=code("limitcycles.fused.trajectory", "limitcycles.store"),
        own=lambda wildcards: own_code(wildcards.trajectory, "trajectories"),
    output:
        trajectory=directory(f"{RESULTS}/trajectories/{{trajectory}}/seed{{seed}}.zarr"),
    log:
        f"{RESULTS}/logs/trajectory/{{trajectory}}/seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/trajectory/{{trajectory}}/seed{{seed}}.tsv"
    # The longest jobs: they start first, so that the others fill what is left.
    priority: 20
    threads: 1
    params:
        run=lambda wildcards: settings.canonical(
            settings.resolve_trajectory(config, wildcards.trajectory)
        ),
        # Not an output: Snakemake deletes the outputs of a job that was killed.
        state=f"{STATE}/trajectories/{{trajectory}}/seed{{seed}}",
    message:
        "Train {wildcards.trajectory}, seed {wildcards.seed}, and keep every epoch."
    script:
        "../workflow/scripts/trajectory.py"


rule analysis:
    input:
        trajectory=rules.trajectory.output.trajectory,
        dataset=rules.trajectory.input.dataset,
        code=lambda wildcards: code(
            f"limitcycles.analyses.{wildcards.analysis}", "limitcycles.store"
        ),
    output:
        analysis=directory(f"{RESULTS}/analyses/{{trajectory}}/seed{{seed}}/{{analysis}}"),
    log:
        f"{RESULTS}/logs/analysis/{{trajectory}}/seed{{seed}}/{{analysis}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/analysis/{{trajectory}}/seed{{seed}}/{{analysis}}.tsv"
    threads: 1
    params:
        settings=settings.canonical(config["series"]),
    message:
        "Analyse {wildcards.trajectory}, seed {wildcards.seed}: {wildcards.analysis}."
    script:
        "../workflow/scripts/analysis.py"
