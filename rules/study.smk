rule study:
    input:
        code=lambda wildcards: code(f"limitcycles.studies.{wildcards.study}", "limitcycles.store"),
    output:
        study=directory(f"{RESULTS}/studies/{{study}}"),
    log:
        f"{RESULTS}/logs/studies/{{study}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/studies/{{study}}.tsv"
    wildcard_constraints:
        study="[a-z0-9_]+",
    threads: 1
    params:
        settings=lambda wildcards: settings.canonical(config[study_section(wildcards.study)]),
    message:
        "Compute the study {wildcards.study}."
    script:
        "../workflow/scripts/study.py"
