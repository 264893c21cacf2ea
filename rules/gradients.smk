rule gradients:
    input:
        run=f"{RESULTS}/runs/{{run}}/seed{{seed}}.zarr.zip",
        dataset=lambda wildcards: f"{RESULTS}/data/{config['runs'][wildcards.run]['dataset']}.zarr.zip",
    output:
        full=temp(directory(f"{RESULTS}/gradients/{{run}}/seed{{seed}}/{{batch}}/full")),
        sample=directory(f"{RESULTS}/gradients/{{run}}/seed{{seed}}/{{batch}}/sample"),
    log:
        f"{RESULTS}/logs/gradients/{{run}}/seed{{seed}}/{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/gradients/{{run}}/seed{{seed}}/{{batch}}.tsv"
    threads: 1
    resources:
        gpu=gpus(),
        mem_mb=memory(gradients_mb),
        runtime=growing(60),
        disk_mb=stored_mb,
    params:
        code=code("limitcycles.diffusion.gradients", "limitcycles.storage.store"),
        own=lambda wildcards: own_code(wildcards.run),
        precision=lambda wildcards: resolved(wildcards.run)["gradients"]["precision"],
        images=lambda wildcards: resolved(wildcards.run)["gradients"]["images"],
        augmentations=lambda wildcards: resolved(wildcards.run)["gradients"]["augmentations"],
        memory_mib=config["gradients"]["memory_mib"],
        keep_samples=config["gradients"]["keep_samples"],
        device=config["device"],
    message:
        "Per-sample gradients of {wildcards.run}, seed {wildcards.seed}, at {wildcards.batch} %."
    script:
        "../workflow/scripts/gradients.py"
