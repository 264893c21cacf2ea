"""Configuration, paths and the helpers of all stages. Parsed at every start: cheap and silent."""

import os
import re
import shutil
from functools import cache
from pathlib import Path

from limitcycles.configuration import plugins, settings, sizes
from limitcycles.judging import folders, ledger, papers
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


def rule_names():
    """Names of the rules of these files, which no target of a paper may have."""
    parts = [HOME / "Snakefile", *sorted((HOME / "rules").glob("*.smk"))]
    return re.findall(
        r"^(?:rule|checkpoint) (\w+):", "\n".join(part.read_text() for part in parts), re.M
    )


try:
    config = settings.load(
        HOME / STANDARD,
        HOME / "config/scales",
        HOME / "workflow/schemas/config.schema.yaml",
        **given,
    )
    PAPERS = papers.load(
        HOME / "config/papers", HOME / "workflow/schemas/paper.schema.yaml", config
    )
    TARGETS = papers.targets(PAPERS, rule_names())
    for folder in ("results", "state"):
        files.check_folder(folder)
except LimitcyclesError as error:
    raise WorkflowError(str(error)) from None

CLAIMS = papers.claims(PAPERS)
TESTED = [claim for claim in CLAIMS if ledger.is_tested(CLAIMS[claim])]
UNTESTED = [claim for claim in CLAIMS if claim not in TESTED]
MEASURED = ledger.measured(CLAIMS)
INSTRUMENTS = {name: its for paper in PAPERS.values() for name, its in paper["instruments"].items()}
SCALE = config["scale"]
RESULTS = f"results/{SCALE}"
STATE = f"state/{SCALE}"


def resolved(run):
    """All settings of a run, in one canonical dict."""
    return settings.resolve_run(config, run)


def any_of(names):
    """A regular expression that matches these names and no others."""
    return "|".join(map(re.escape, sorted(map(str, names)))) or "(?!)"


def measurements_of(name):
    """A regular expression for what can be measured: NAME/all, NAME/TRAJECTORY/seed<N> or so."""
    of = {
        None: "all",
        "run": r"seed\d+",
        "trajectory": rf"({any_of(config['trajectories'])})/seed\d+",
    }
    return f"{re.escape(name)}/{of[ledger.measured_on(name, CLAIMS)]}"


PERCENT = any_of({p for run in config["runs"] for p in resolved(run)["training"]["snapshots"]})


# Jobs end with this process, even if it is killed: they would go on beside those of the next one.
os.environ[parent.NAME] = str(os.getpid())


# Only what there is: a misspelt target has no rule, which is one sentence.
wildcard_constraints:
    dataset=any_of(config["datasets"]),
    run=any_of(config["runs"]),
    claim=any_of(CLAIMS),
    trajectory=any_of(config["trajectories"]),
    measurement="|".join(map(measurements_of, MEASURED)),
    instrument=any_of(INSTRUMENTS),
    seed=r"\d+",
    seeds=r"\d+(-\d+)*",
    batch=f"({PERCENT})(-({PERCENT}))*",


digest = cache(sources.digest)


def code(*modules):
    """A param: a digest of the source files that a job depends on; a change makes it run again.

    Not these files as inputs: Snakemake looks at every input of every waiting job in each round.
    """
    return lambda wildcards: digest(*(module.format(**wildcards) for module in modules))


def modules_of(claim):
    """The modules that judge a claim, and that draw its charts and those of its instruments."""
    own, instruments = ledger.rule_of(claim, CLAIMS[claim]), CLAIMS[claim].get("instruments", ())
    drawn = [folders.module(name, "charts") for name in (own, *instruments)]
    return [folders.module(own, "rule"), *drawn]


@cache
def own_code(run, group="runs"):
    """Digests of the sources of what a run or trajectory names: a user's network, an optimiser."""
    resolve = settings.resolve_run if group == "runs" else settings.resolve_trajectory
    return settings.own_code(resolve(config, run))


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
    if ledger.kind(CLAIMS[claim]) == "run" and ledger.measurement_of(claim, CLAIMS[claim]):
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


def trained_with(trajectory, seed):
    """The seeds of a trajectory that share a job with one of them, as a text like "0-1-2"."""
    seeds = settings.resolve_trajectory(config, trajectory)["seeds"]
    together = is_ensemble(trajectory) and seed in seeds
    return "-".join(map(str, seeds)) if together else str(seed)


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


def parted(wildcards):
    """The name of a measurement, its trajectory (None: it has none), and its seed, or None."""
    name, *of, last = wildcards.measurement.split("/")
    return name, of[0] if of else None, None if last == "all" else int(last.removeprefix("seed"))


def readers(name):
    """The claims that are judged by a measurement; none for an instrument."""
    return [] if name in INSTRUMENTS else MEASURED[name]


def runs_measured(name):
    """The runs of all claims that are judged by a measurement, in the order of their arms."""
    return list(dict.fromkeys(run for claim in readers(name) for run in runs_of(claim)))


def last_percent(name):
    """The snapshot that a measurement of runs goes on from, in percent of training; else None."""
    return max((max(CLAIMS[c].get("snapshots", [0])) for c in readers(name)), default=None)


def measured_from(wildcards):
    """What a measurement starts from, by kind: the stores of a trajectory, or runs and so on."""
    name, trajectory, seed = parted(wildcards)
    if trajectory:
        stores = f"{RESULTS}/trajectories/{trajectory}/{trained_with(trajectory, seed)}"
        return {"stores": stores, "dataset": trajectory_dataset(trajectory)}
    if seed is None:
        return {}
    runs = [run for run in runs_measured(name) if is_present(run)]
    names = sorted({config["runs"][run]["dataset"] for run in runs})
    return {
        "runs": [f"{RESULTS}/runs/{run}/seed{seed}.zarr.zip" for run in runs],
        "spectra": [
            f"{RESULTS}/spectra/{run}/seed{seed}/{batch}"
            for run in runs
            for batch in batches(run)
            if str(last_percent(name)) in batch.split("-")
        ],
        "datasets": [f"{RESULTS}/data/{name}.zarr.zip" for name in names],
    }


def measured_for(claim):
    """The measurements that a claim is judged by, as paths."""
    name, kind = ledger.measurement_of(claim, CLAIMS[claim]), ledger.kind(CLAIMS[claim])
    if name is None:
        return []
    if kind == "trajectory":
        seeds = {run["run"]: run["seeds"] for run in tested_on(claim).values()}
        of = [f"{trajectory}/seed{seed}" for trajectory, its in seeds.items() for seed in its]
    else:
        of = [f"seed{s}" for s in common_seeds(present(claim))] if kind == "run" else ["all"]
    return [f"{RESULTS}/measurements/{name}/{each}" for each in of]


def settings_for(claim):
    """Settings that decide a claim's numbers, beside those of its runs, in one canonical dict."""
    own = ledger.measurement_of(claim, CLAIMS[claim])
    names = [*([own] if own else []), *CLAIMS[claim].get("instruments", ())]
    found = {name: ledger.settings_read(name, CLAIMS, config) for name in names}
    if ledger.kind(CLAIMS[claim]) == "run":
        found["spectrum"] = config["spectrum"]
    return settings.canonical(found)


def evidence(claim):
    """The stored results that a claim reads, by kind, as lists of paths."""
    entry = CLAIMS[claim]
    kinds, wanted = entry.get("evidence", ()), set(map(str, entry.get("snapshots", ())))
    arms = present(claim)
    found = {"runs": [], "spectra": [], "sample": [], "measured": measured_for(claim)}
    found["answers"] = sorted({file for run in runs_of(claim) if (file := answer(run))})
    found["instruments"] = [
        f"{RESULTS}/measurements/{name}/all" for name in entry.get("instruments", ())
    ]
    for run in arms:
        if "runs" in kinds:
            found["runs"] += expand(f"{RESULTS}/runs/{run}/seed{{seed}}.zarr.zip", seed=seeds(run))
        if "spectra" in kinds:
            found["spectra"] += expand(
                f"{RESULTS}/spectra/{run}/seed{{seed}}/{{batch}}",
                seed=seeds(run),
                batch=[batch for batch in batches(run) if wanted & set(batch.split("-"))],
            )
    if "sample" in kinds and arms:
        last = batches(arms[0])[-1]
        found["sample"] = [f"{RESULTS}/gradients/{arms[0]}/seed{seeds(arms[0])[0]}/{last}/sample"]
    return found


def answered(claims):
    """The verdicts of some claims, and the charts of those that are tested."""
    return [f"{RESULTS}/claims/{claim}.json" for claim in claims] + [
        f"{RESULTS}/figures/{claim}" for claim in claims if claim in TESTED
    ]


def forget_checkpoints():
    """Delete the checkpoints of what is finished and safe; others are still needed."""
    states = {"runs": STATE}
    states |= {kind: f"{STATE}/{kind}" for kind in ("trajectories", "measurements")}
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
