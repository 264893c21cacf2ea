"""What a person asks for by name: `snakemake chaudhari2018`, `figure_1`, `claim_rank_small_lenet`, ..."""


localrules:
    all,
    claims,
    data,


rule claims:
    input:
        answered(CLAIMS),
        table=rules.ledger.output,
    message:
        "All verdicts are in {input.table}."


rule data:
    input:
        lambda wildcards: expand(
            f"{RESULTS}/data/{{dataset}}.zarr.zip",
            dataset=sorted(
                {config["runs"][run]["dataset"] for run in config["runs"] if is_present(run)}
                | {run["dataset"] for run in config["trajectories"].values() if run["seeds"] != []}
            ),
        ),
    message:
        "The datasets of all runs are prepared."


for TARGET in TARGETS:

    rule:
        name:
            TARGET
        input:
            answered(TARGETS[TARGET]["claims"]),
        localrule: True
        message:
            TARGETS[TARGET]["message"]


for INSTRUMENT in INSTRUMENTS:

    rule:
        name:
            slug(INSTRUMENT)
        input:
            f"{RESULTS}/figures/{INSTRUMENT}",
        localrule: True
        message:
            f"The {INSTRUMENTS[INSTRUMENT]['title']} is drawn."


for CLAIM in CLAIMS:

    rule:
        name:
            f"claim_{slug(CLAIM)}"
        input:
            answered([CLAIM]),
        localrule: True
        message:
            "The claim is judged."
