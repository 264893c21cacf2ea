rule study:
    output:
        study=directory(f"{RESULTS}/studies/{{study}}"),
    log:
        f"{RESULTS}/logs/studies/{{study}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/studies/{{study}}.tsv"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=growing(60),
        disk_mb=100,
    params:
        code=code("limitcycles.papers.chaudhari2018.{study}.measure", "limitcycles.storage.store"),
        settings=lambda wildcards: settings.canonical(config[study_section(wildcards.study)]),
    message:
        "Compute the study {wildcards.study}."
    script:
        "../workflow/scripts/study.py"


rule calibration_chart:
    input:
        study=f"{RESULTS}/studies/calibration",
        scripts=f"{RESULTS}/figures/vega.js",
    output:
        charts=report(
            directory(f"{RESULTS}/figures/calibration"),
            patterns=["{chart}.svg"],
            caption="../workflow/report/calibration.rst",
            category="Charts",
            subcategory="calibration of the detector",
            labels={"chart": "{chart}"},
        ),
    log:
        f"{RESULTS}/logs/charts/calibration.log",
    resources:
        mem_mb=memory(1000),
        runtime=growing(15),
        disk_mb=100,
    params:
        code=code(
            "limitcycles.papers.chaudhari2018.calibration.charts",
            "limitcycles.charts.files",
            "limitcycles.storage.store",
        ),
    message:
        "Draw how often the detector of currents is right."
    script:
        "../workflow/scripts/calibration.py"
