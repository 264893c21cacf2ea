from snakemake.utils import min_version

min_version("9.20")


# Beside this file, wherever the workflow is run.
configfile: workflow.current_basedir.join("config/config.yaml").get_path_or_uri(secret_free=True)


# Jobs run in the environment that started snakemake; README.md shows how to make it.
container: "docker://python:3.11-slim"


include: "rules/common.smk"
include: "rules/resources.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/gradients.smk"
include: "rules/spectrum.smk"
include: "rules/trajectory.smk"
include: "rules/measure.smk"
include: "rules/claims.smk"
include: "rules/report.smk"
include: "rules/targets.smk"


rule all:
    default_target: True
    input:
        page=rules.page.output.page,
        charts=answered(CLAIMS),
        table=rules.ledger.output,
    message:
        "Everything is done: see {input.page}."


onstart:
    lift_rate_limit()


onsuccess:
    forget_checkpoints()
