rule spectrum:
    input:
        gradients=f"{RESULTS}/gradients/{{run}}/seed{{seed}}/{{batch}}/full",
    output:
        spectra=directory(f"{RESULTS}/spectra/{{run}}/seed{{seed}}/{{batch}}"),
    log:
        f"{RESULTS}/logs/spectrum/{{run}}/seed{{seed}}/{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/spectrum/{{run}}/seed{{seed}}/{{batch}}.tsv"
    # The full gradients of a finished snapshot are deleted before those of the next are made.
    priority: 10
    threads: spectrum_threads
    resources:
        gpu=gpus(),
        mem_mb=memory(spectrum_mb),
        runtime=growing(120),
        disk_mb=100,
    params:
        code=code("limitcycles.diffusion.spectrum", "limitcycles.storage.store"),
        settings=settings.canonical(config["spectrum"]),
        device=config["device"],
    message:
        "Spectrum of D for {wildcards.run}, seed {wildcards.seed}, at {wildcards.batch} %."
    script:
        "../workflow/scripts/spectrum.py"
