"""What a person asks for by name: `snakemake figure_1`, `snakemake claim_rank_small_lenet`, ..."""


localrules:
    all,
    claims,
    theory,
    figure_1,
    figure_2,
    figure_3,
    data,


rule claims:
    input:
        answered(CLAIMS),
        table=rules.ledger.output,
    message:
        "All verdicts are in {input.table}."


rule theory:
    input:
        answered([claim for claim, entry in CLAIMS.items() if entry["group"] == "theory"]),
    message:
        "The claims of the theory are judged."


rule figure_1:
    input:
        answered(["rank-small-lenet", "rank-small-fc"]),
    message:
        "Figure 1 is drawn."


rule figure_2:
    input:
        answered(["rank-cifar10", "rank-cifar100", "rank-cifar10-augmented"]),
    message:
        "Figure 2 is drawn."


rule figure_3:
    input:
        answered(["increment-spectrum", "autocorrelation", "gradient-norm", "network-currents"]),
    message:
        "Figure 3 is drawn."


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


for INSTRUMENT in sorted(INSTRUMENTS):

    rule:
        name:
            slug(INSTRUMENT)
        input:
            f"{RESULTS}/figures/{INSTRUMENT}",
        localrule: True
        message:
            "The charts of the instrument are drawn."


for CLAIM in CLAIMS:

    rule:
        name:
            f"claim_{slug(CLAIM)}"
        input:
            answered([CLAIM]),
        localrule: True
        message:
            "The claim is judged."
