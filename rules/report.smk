rule ledger:
    input:
        claims=expand(f"{RESULTS}/claims/{{claim}}.json", claim=CLAIMS),
    output:
        json=f"{RESULTS}/claims.json",
        csv=report(
            f"{RESULTS}/claims.csv",
            caption="../workflow/report/table.rst",
            category="Verdicts",
            labels={"what": "Table of all numbers (CSV)"},
        ),
    log:
        f"{RESULTS}/logs/ledger.log",
    localrule: True
    resources:
        mem_mb=memory(300),
        runtime=growing(10),
        disk_mb=100,
    params:
        code=code("limitcycles.report.page"),
        papers=papers.heads(PAPERS),
    message:
        "Collect the verdicts of all claims."
    script:
        "../workflow/scripts/ledger.py"


rule page:
    input:
        claims=expand(f"{RESULTS}/claims/{{claim}}.json", claim=CLAIMS),
        charts=expand(f"{RESULTS}/figures/{{claim}}", claim=TESTED),
        scripts=rules.scripts.output.scripts,
    output:
        page=report(
            f"{RESULTS}/report/claims.html",
            caption="../workflow/report/page.rst",
            category="Verdicts",
            labels={"what": "All claims, with interactive charts"},
        ),
    log:
        f"{RESULTS}/logs/page.log",
    localrule: True
    resources:
        mem_mb=memory(700),
        runtime=growing(10),
        disk_mb=200,
    params:
        code=code("limitcycles.report.page"),
        papers=papers.heads(PAPERS),
    message:
        "Write the report page."
    script:
        "../workflow/scripts/page.py"
