rule train:
    input:
        dataset=lambda wildcards: f"{RESULTS}/data/{config['runs'][wildcards.run]['dataset']}.zarr.zip",
    output:
        run=f"{RESULTS}/runs/{{run}}/seed{{seed}}.zarr.zip",
    log:
        f"{RESULTS}/logs/train/{{run}}/seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{run}}/seed{{seed}}.tsv"
    # Before the gradients: the longest jobs must not be the last, with a core idle beside them.
    priority: 5
    # The same bits whatever the machine: the order of sums depends on the number of threads.
    threads: 1
    resources:
        gpu=gpus(),
        mem_mb=memory(lambda wildcards: training_mb(resolved(wildcards.run))),
        runtime=growing(240),
        disk_mb=1000,
    params:
        code=code("limitcycles.training.sgd", "limitcycles.storage.store"),
        own=lambda wildcards: own_code(wildcards.run),
        run=lambda wildcards: settings.recipe(resolved(wildcards.run)),
        device=config["device"],
        # Not an output: Snakemake deletes the outputs of a job that was killed.
        state=f"{STATE}/{{run}}/seed{{seed}}",
    message:
        "Train {wildcards.run}, seed {wildcards.seed}."
    script:
        "../workflow/scripts/train.py"
