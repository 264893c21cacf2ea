rule dataset:
    output:
        dataset=f"{RESULTS}/data/{{dataset}}.zarr.zip",
    log:
        f"{RESULTS}/logs/data/{{dataset}}.log",
    # Where snakemake was started: the nodes of a cluster seldom reach the internet.
    localrule: True
    resources:
        mem_mb=memory(dataset_mb),
        runtime=growing(60),
        disk_mb=1000,
    params:
        code=code("limitcycles.datasets", "limitcycles.storage.store"),
        own=lambda wildcards: plugins.code(config["datasets"][wildcards.dataset]["source"]),
        # Not data_folder: whatever delivers them, the images are the same.
        spec=lambda wildcards: settings.canonical(
            settings.content(config["datasets"][wildcards.dataset])
        ),
    message:
        "Prepare the dataset {wildcards.dataset}."
    script:
        "../workflow/scripts/dataset.py"


checkpoint reachable:
    output:
        answer=f"{RESULTS}/data/{{dataset}}.reachable.json",
    log:
        f"{RESULTS}/logs/data/{{dataset}}.reachable.log",
    # Before all else: until it is done Snakemake keeps everything that is marked as temporary.
    priority: 100
    localrule: True
    resources:
        mem_mb=memory(200),
        runtime=growing(30),
        disk_mb=500,
    params:
        code=code("limitcycles.datasets"),
        spec=lambda wildcards: settings.canonical(config["datasets"][wildcards.dataset]),
        # A function, so that braces in the name of a folder are no wildcards.
        data_folder=lambda wildcards: config["data_folder"],
    message:
        "Look whether the dataset {wildcards.dataset} can be had."
    script:
        "../workflow/scripts/reachable.py"
