rule claim:
    input:
        unpack(lambda wildcards: evidence(wildcards.claim)),
    output:
        claim=f"{RESULTS}/claims/{{claim}}.json",
    log:
        f"{RESULTS}/logs/claims/{{claim}}.log",
    wildcard_constraints:
        claim="|".join(TESTED),
    resources:
        mem_mb=memory(1500),
        runtime=growing(30),
        disk_mb=100,
    params:
        code=lambda wildcards: digest(
            "limitcycles.judging.judge",
            f"{folder(wildcards.claim)}.rule",
            "limitcycles.storage.store",
        ),
        entry=lambda wildcards: CLAIMS[wildcards.claim],
        scale=SCALE,
        runs=lambda wildcards: tested_on(wildcards.claim),
        all_seeds=lambda wildcards: seeds_of(wildcards.claim),
        sections=lambda wildcards: settings.canonical(
            {name: config[name] for name in sections(wildcards.claim)}
        ),
    message:
        "Judge the claim {wildcards.claim}."
    script:
        "../workflow/scripts/claim.py"


rule not_tested:
    output:
        claims=expand(f"{RESULTS}/claims/{{claim}}.json", claim=UNTESTED),
    log:
        f"{RESULTS}/logs/not_tested.log",
    localrule: True
    resources:
        mem_mb=memory(100),
        runtime=growing(10),
        disk_mb=100,
    params:
        code=code("limitcycles.judging.result"),
        entries=settings.canonical({claim: CLAIMS[claim] for claim in UNTESTED}),
        number=len(UNTESTED),
        scale=SCALE,
    message:
        "Note why {params.number} claims are not tested yet."
    script:
        "../workflow/scripts/not_tested.py"


rule scripts:
    output:
        scripts=f"{RESULTS}/figures/vega.js",
    log:
        f"{RESULTS}/logs/scripts.log",
    localrule: True
    resources:
        mem_mb=memory(500),
        runtime=growing(10),
        disk_mb=100,
    params:
        code=code("limitcycles.charts.files"),
    message:
        "Put together the scripts that show charts in a browser."
    script:
        "../workflow/scripts/scripts.py"


rule charts:
    input:
        unpack(lambda wildcards: drawn(wildcards.claim)),
        claim=f"{RESULTS}/claims/{{claim}}.json",
        scripts=rules.scripts.output.scripts,
    output:
        charts=report(
            directory(f"{RESULTS}/figures/{{claim}}"),
            patterns=["{chart}.svg"],
            caption="../workflow/report/chart.rst",
            category="Charts",
            subcategory="{claim}",
            labels={"chart": "{chart}"},
        ),
    log:
        f"{RESULTS}/logs/charts/{{claim}}.log",
    wildcard_constraints:
        claim="|".join(TESTED),
    resources:
        mem_mb=memory(1500),
        runtime=growing(30),
        disk_mb=100,
    params:
        code=lambda wildcards: digest(
            "limitcycles.charts.*",
            f"{folder(wildcards.claim)}.charts",
            "limitcycles.storage.store",
        ),
        percents=lambda wildcards: CLAIMS[wildcards.claim].get("snapshots", []),
    message:
        "Draw the charts of the claim {wildcards.claim}."
    script:
        "../workflow/scripts/charts.py"
