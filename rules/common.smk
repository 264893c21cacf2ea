"""Configuration, paths and the helpers of all stages. Parsed at every start: cheap and silent."""

import os
import re
import shutil
from functools import cache
from pathlib import Path

from limitcycles.configuration import plugins, settings, sizes
from limitcycles.judging import ledger
from limitcycles.runtime import parent
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.storage import files, sources
from snakemake.exceptions import WorkflowError

# This workflow may be run from another folder (-d), and be a module of another workflow.
HOME = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
HOME = HOME.relative_to(Path.cwd()) if HOME.is_relative_to(Path.cwd()) else HOME
STANDARD = Path("config/config.yaml")
if not workflow.modifier.is_main_snakefile():  # options and files are of the other one
    given = {"module": config if workflow.modifier.skip_configfile else None}
else:
    given = {
        "own": STANDARD if STANDARD.exists() and HOME != Path() else None,
        "extra": workflow.config_settings.configfiles,
        "command_line": workflow.config_settings.config,
    }
# A user's own code may stand beside the Snakefile that was called.
os.environ[plugins.FOLDER] = str(Path(workflow.main_snakefile).parent.absolute())

try:
    config = settings.load(
        HOME / STANDARD,
        HOME / "config/scales",
        HOME / "workflow/schemas/config.schema.yaml",
        **given,
    )
    CLAIMS = ledger.load(HOME / "config/claims.yaml", HOME / "workflow/schemas/claims.schema.yaml")
    ledger.check_runs(CLAIMS, config)
    for folder in ("results", "state"):
        files.check_folder(folder)
except LimitcyclesError as error:
    raise WorkflowError(str(error)) from None

TESTED = [claim for claim in CLAIMS if ledger.is_tested(CLAIMS[claim])]
UNTESTED = [claim for claim in CLAIMS if claim not in TESTED]
SCALE = config["scale"]
RESULTS = f"results/{SCALE}"
STATE = f"state/{SCALE}"


def resolved(run):
    """All settings of a run, in one canonical dict."""
    return settings.resolve_run(config, run)


def any_of(names):
    """A regular expression that matches these names and no others."""
    return "|".join(map(re.escape, sorted(map(str, names)))) or "(?!)"


PERCENT = any_of({p for run in config["runs"] for p in resolved(run)["training"]["snapshots"]})


# Jobs end with this process, even if it is killed: they would go on beside those of the next one.
os.environ[parent.NAME] = str(os.getpid())


# Only what there is: a misspelt target has no rule, which is one sentence.
wildcard_constraints:
    dataset=any_of(config["datasets"]),
    run=any_of(config["runs"]),
    claim=any_of(CLAIMS),
    trajectory=any_of(config["trajectories"]),
    analysis=any_of({entry["analysis"] for entry in CLAIMS.values() if "analysis" in entry}),
    study=any_of({entry["study"] for entry in CLAIMS.values() if "study" in entry}),
    seed=r"\d+",
    seeds=r"\d+(-\d+)*",
    batch=f"({PERCENT})(-({PERCENT}))*",


digest = cache(sources.digest)


def code(*modules):
    """A param: a digest of the source files that a job depends on; a change makes it run again.

    Not these files as inputs: Snakemake looks at every input of every waiting job in each round.
    """
    return lambda wildcards: digest(*(module.format(**wildcards) for module in modules))


def folder(claim):
    """The package that has the rule and the charts of a claim."""
    return f"{ledger.PAPER}.{ledger.EVALUATORS[CLAIMS[claim]['evaluator']]}"


@cache
def own_code(run, group="runs"):
    """A digest of the file of the user's own network of a run or trajectory, if it has one."""
    return plugins.code(config["networks"][config[group][run]["network"]]["builder"])


def slug(claim):
    """Rule name of a claim."""
    return claim.replace("-", "_")


def seeds(run):
    """Seeds of a run: its own, or those of all runs."""
    return resolved(run)["seeds"]


def tested_on(claim):
    """All settings of what each arm of a claim is tested on; none for a system of the theory."""
    arms = CLAIMS[claim].get("arms", {})
    found = {
        arm: settings.resolve_run(config, its["run"]) for arm, its in arms.items() if "run" in its
    }
    return found | {
        arm: settings.resolve_trajectory(config, its["trajectory"])
        for arm, its in arms.items()
        if "trajectory" in its
    }


def seeds_of(claim):
    """All seeds of a claim's runs and trajectories; that of the theory where it has neither."""
    if "late-noise" in CLAIMS[claim].get("evidence", ()):
        return common_seeds(runs_of(claim))
    runs = tested_on(claim).values()
    return sorted({s for run in runs for s in run["seeds"]}) if runs else [config["theory"]["seed"]]


def common_seeds(runs):
    """Seeds that all of the runs that have any have."""
    having = [set(seeds(run)) for run in runs if seeds(run)]
    return sorted(set.intersection(*having)) if having else []


def is_ensemble(trajectory):
    """Whether its seeds are trained at once on a GPU: where CUDA is asked for, but no control."""
    sampler = settings.resolve_trajectory(config, trajectory)["training"]["sampler"]
    return config["device"] == "cuda" and sampler not in settings.TRAJECTORIES_ONLY


def trained_with(wildcards):
    """The seeds of a trajectory that share a job with one of them, as a text like "0-1-2"."""
    seeds = settings.resolve_trajectory(config, wildcards.trajectory)["seeds"]
    together = is_ensemble(wildcards.trajectory) and int(wildcards.seed) in seeds
    return "-".join(map(str, seeds)) if together else wildcards.seed


def needed_percents(run):
    """Snapshots of a run that some claim looks at; all of them where no claim names the run."""
    asked = {
        percent
        for claim in TESTED
        for arm in CLAIMS[claim].get("arms", {}).values()
        if arm.get("run") == run
        for percent in arm.get("snapshots", CLAIMS[claim].get("snapshots", ()))
    }
    return sorted(asked) or resolved(run)["training"]["snapshots"]


def batches(run):
    """Snapshots that share a gradient job, as texts like "20-40-100"."""
    fit = config["gradients"]["disk_mib"] / gradient_mib(run)
    percents, count = needed_percents(run), max(1, int(min(fit, 100)))
    parts = [percents[i : i + count] for i in range(0, len(percents), count)]
    return ["-".join(map(str, part)) for part in parts]


def runs_of(claim):
    """The runs of a claim's arms; none for a claim of the theory."""
    return [arm["run"] for arm in CLAIMS[claim].get("arms", {}).values() if "run" in arm]


def answer(run):
    """The file that says whether the dataset of a run can be had; None where it must be."""
    dataset = config["runs"][run]["dataset"]
    optional = config["datasets"][dataset]["optional"] and seeds(run)
    return checkpoints.reachable.get(dataset=dataset).output.answer if optional else None


def is_present(run):
    """Whether a run is made at this scale and its data can be had."""
    said = answer(run)
    return bool(seeds(run)) and (said is None or files.read_json(said)["unreachable"] is None)


def present(claim):
    """The runs of a claim's arms that are there."""
    return [run for run in runs_of(claim) if is_present(run)]


def continued(claim, seed):
    """What the late noise of a claim's runs starts from, by kind, as lists of paths."""
    arms, last = present(claim), str(max(CLAIMS[claim]["snapshots"]))
    names = sorted({config["runs"][run]["dataset"] for run in arms})
    return {
        "runs": [f"{RESULTS}/runs/{run}/seed{seed}.zarr.zip" for run in arms],
        "spectra": [
            f"{RESULTS}/spectra/{run}/seed{seed}/{batch}"
            for run in arms
            for batch in batches(run)
            if last in batch.split("-")
        ],
        "datasets": [f"{RESULTS}/data/{name}.zarr.zip" for name in names],
    }


def sections(claim):
    """Sections of the configuration, beside those of its runs, that decide a claim's numbers."""
    kinds = CLAIMS[claim].get("evidence", ())
    if "late-noise" in kinds:
        return ["late_noise", "spectrum"]
    return ["series"] if "analysis" in kinds else ["theory"] if "study" in kinds else ["spectrum"]


def study_section(study):
    """The section of the configuration that a study is computed with, as its claim has it."""
    return next(sections(claim)[0] for claim in CLAIMS if CLAIMS[claim].get("study") == study)


def evidence(claim):
    """The stored results that a claim reads, by kind, as lists of paths."""
    entry = CLAIMS[claim]
    kinds, wanted = entry.get("evidence", ()), set(map(str, entry.get("snapshots", ())))
    arms = present(claim)
    found = {"runs": [], "spectra": [], "sample": [], "analyses": [], "late_noise": []}
    found["answers"] = sorted({file for run in runs_of(claim) if (file := answer(run))})
    if "study" in kinds:
        found["study"] = [f"{RESULTS}/studies/{entry['study']}"]
    for run in arms:
        if "runs" in kinds:
            found["runs"] += expand(f"{RESULTS}/runs/{run}/seed{{seed}}.zarr.zip", seed=seeds(run))
        if "spectra" in kinds:
            found["spectra"] += expand(
                f"{RESULTS}/spectra/{run}/seed{{seed}}/{{batch}}",
                seed=seeds(run),
                batch=[batch for batch in batches(run) if wanted & set(batch.split("-"))],
            )
    if "analysis" in kinds:
        trajectories = {run["run"]: run["seeds"] for run in tested_on(claim).values()}
        for trajectory, its in trajectories.items():
            found["analyses"] += expand(
                f"{RESULTS}/analyses/{trajectory}/seed{{seed}}/{entry['analysis']}", seed=its
            )
    if "late-noise" in kinds:
        found["late_noise"] = expand(
            f"{RESULTS}/late_noise/{claim}/seed{{seed}}.zarr.zip", seed=common_seeds(arms)
        )
    if "sample" in kinds and arms:
        last = batches(arms[0])[-1]
        found["sample"] = [f"{RESULTS}/gradients/{arms[0]}/seed{seeds(arms[0])[0]}/{last}/sample"]
    return found


def drawn(claim):
    """The stored results that the charts of a claim show."""
    unused = ("sample", "answers")
    return {kind: paths for kind, paths in evidence(claim).items() if kind not in unused}


def answered(claims):
    """The verdicts of some claims, and the charts of those that are tested."""
    return [f"{RESULTS}/claims/{claim}.json" for claim in claims] + [
        f"{RESULTS}/figures/{claim}" for claim in claims if claim in TESTED
    ]


def forget_checkpoints():
    """Delete the checkpoints of what is finished and safe; others are still needed."""
    states = {"runs": STATE, "late_noise": f"{STATE}/late_noise"}
    states["trajectories"] = f"{STATE}/trajectories"
    for kind, state in states.items():
        for path in Path(RESULTS, kind).glob("*/*"):
            folder = Path(state, path.parent.name, path.name.split(".")[0])
            shutil.rmtree(folder, ignore_errors=True)


def lift_rate_limit():
    """On this machine (no cluster), start jobs whenever a core is free.

    Snakemake's default is 100 a second, which is no limit here. But with any limit each round of
    scheduling begets another one a second later, so that each finished job adds a round to each
    second that follows (benchmarks/README.md has what Snakemake takes without it).
    These names are no part of Snakemake's interface: where one is missing, the limit stays.
    """
    scheduler = getattr(workflow, "scheduler", None)
    limiter = getattr(scheduler, "job_rate_limiter", None)
    a_second = getattr(limiter, "max_jobs", 0) / getattr(limiter, "timespan", 1)
    if getattr(workflow, "local_exec", False) and a_second >= 100:
        scheduler.job_rate_limiter = None
