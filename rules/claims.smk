rule claim:
    input:
        unpack(lambda wildcards: evidence(wildcards.claim)),
        scripts=f"{RESULTS}/figures/vega.js",
    output:
        claim=f"{RESULTS}/claims/{{claim}}.json",
        charts=report(
            directory(f"{RESULTS}/figures/{{claim}}"),
            patterns=["{chart}.svg"],
            caption="../workflow/report/chart.rst",
            category="Charts",
            subcategory="{claim}",
            labels={"chart": "{chart}"},
        ),
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
            *modules_of(wildcards.claim),
            "limitcycles.judging.judge",
            "limitcycles.charts.drawing",
            "limitcycles.charts.files",
        ),
        entry=lambda wildcards: CLAIMS[wildcards.claim],
        scale=SCALE,
        runs=lambda wildcards: tested_on(wildcards.claim),
        all_seeds=lambda wildcards: seeds_of(wildcards.claim),
        settings=lambda wildcards: settings_for(wildcards.claim),
    message:
        "Judge the claim {wildcards.claim}, and draw its charts."
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


rule instrument:
    input:
        measured=f"{RESULTS}/measurements/{{instrument}}/all",
        scripts=rules.scripts.output.scripts,
    output:
        charts=report(
            directory(f"{RESULTS}/figures/{{instrument}}"),
            patterns=["{chart}.svg"],
            caption="../workflow/report/instrument.rst",
            category="Charts",
            subcategory="{instrument}",
            labels={"chart": "{chart}"},
        ),
    log:
        f"{RESULTS}/logs/instruments/{{instrument}}.log",
    resources:
        mem_mb=memory(1000),
        runtime=growing(15),
        disk_mb=100,
    params:
        code=lambda wildcards: digest(
            folders.module(wildcards.instrument, "charts"),
            "limitcycles.judging.evidence",
            "limitcycles.charts.drawing",
            "limitcycles.charts.files",
        ),
        entry=lambda wildcards: CLAIMS[MEASURED[wildcards.instrument][0]],
    message:
        "Draw the charts of the instrument {wildcards.instrument}."
    script:
        "../workflow/scripts/instrument.py"
