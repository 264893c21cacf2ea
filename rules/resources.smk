"""What jobs need, as told to the scheduler of this machine or of a cluster.

Memory in MiB is what was measured at the peak, and by what: see benchmarks/README.md. Each job of a
cluster has two processes of Snakemake beside it. A job that fails gets more with each retry.
"""

import psutil

SNAKEMAKE = 260  # MiB of the two processes of Snakemake in a job of a cluster
LIBRARIES = 450  # MiB of a process that has imported everything
OWN_IMAGES = 1200  # MiB of a dataset of one's own, of which nothing is known before it is there
LARGE = 5000  # rows from which the exact spectrum takes THREADS
THREADS = 16  # at most; --max-threads lowers it, --set-threads raises it
READ = 256  # MiB of a block of gradients that is read at once, at most; 1024 rows at most
CENTRED = 128  # MiB of a centred block of the exact methods, at most
KRYLOV = 4  # dimensions of the Krylov space for each leading eigenvalue

# On this machine (no cluster): no more memory than it has, less a tenth for the system, and jobs
# that ask for a GPU one at a time.
if workflow.global_resources["_nodes"].value is None:
    HERE = {"mem_mb": int(0.9 * psutil.virtual_memory().total / 1e6), "gpu": 1}
    for RESOURCE in HERE.keys() - workflow.global_resources.keys():
        workflow.register_resource(RESOURCE, HERE[RESOURCE])


def growing(amount):
    """A resource that grows with the attempt; `amount` is a number or a function of wildcards."""

    def grown(wildcards, attempt):
        return attempt * (amount(wildcards) if callable(amount) else amount)

    return grown


def memory(amount):
    """Memory in MiB beyond that of a process that has imported everything; half more each time."""

    def grown(wildcards, attempt):
        needed = LIBRARIES + (amount(wildcards) if callable(amount) else amount)
        return int(SNAKEMAKE + needed * (1 + attempt) / 2)

    return grown


def images_mib(dataset):
    """All images of an entry of `datasets` in float32."""
    return min(sizes.image_mib(dataset), OWN_IMAGES)


def dataset_mb(wildcards):
    """The original images, those made of them, and in float64 the covariance that whitening forms."""
    spec = config["datasets"][wildcards.dataset]
    images = max(images_mib(spec), sizes.image_mib(spec | {"resize": None, "classes": None}))
    return 3 * min(images, OWN_IMAGES) + (500 if spec["whiten"] else 0)


def training_mb(spec):
    """The images twice, as they were read and as they are laid out, and what a step needs."""
    return 2.2 * images_mib(spec["dataset"]) + 300


def gradient_rows(run):
    """Per-sample gradients of one snapshot: images times copies; infinite where it is unknown."""
    spec = resolved(run)
    own = spec["gradients"]
    images = sizes.most_images(spec["dataset"])
    return min(images, own["images"] or images) * max(own["augmentations"] or [1])


def number_mib(run, numbers):
    """So many numbers in the precision of the gradients of a run."""
    return numbers * (4 if resolved(run)["gradients"]["precision"] == "float32" else 8) / 2**20


def gradient_mib(run):
    """Size of the gradients of one snapshot; infinite where it is unknown."""
    return number_mib(
        run, gradient_rows(run) * (resolved(run)["network"]["weights"] or float("inf"))
    )


def stored_mb(wildcards):
    """On disk: the gradients of all snapshots of a job."""
    percents = wildcards.batch.split("-")
    stored = len(percents) * gradient_mib(wildcards.run)
    if stored == float("inf"):
        stored = config["gradients"]["disk_mib"]
    return int(1 + 1.1 * stored)


def held_mib(run):
    """Gradients that are in memory."""
    return min(gradient_mib(run), config["spectrum"]["memory_mib"])


def gradients_mb(wildcards):
    """The images, the blocks, and the store, which should stay in the page cache."""
    spec = resolved(wildcards.run)
    images, chosen = sizes.most_images(spec["dataset"]), spec["gradients"]["images"]
    copies = min(1, chosen / images) if chosen else 0  # of those that are drawn
    if spec["gradients"]["precision"] == "float64":
        copies += 2 * (copies or 1)
    working = config["gradients"]["memory_mib"] + held_mib(wildcards.run)
    return (2.2 + copies) * images_mib(spec["dataset"]) + working


def exact_order(run):
    """Rows of the matrix that the exact spectrum forms, min(N, d); 0 where none is formed."""
    order = min(gradient_rows(run), resolved(run)["network"]["weights"] or 0)
    return order if order <= config["spectrum"]["exact_up_to"] else 0


def spectrum_threads(wildcards):
    """One: jobs side by side beat threads within one. More for the exact spectrum of a large D.

    Not `workflow.cores`, which is that of the login node where a cluster computes. Snakemake takes
    fewer where `--cores` or `--max-threads` says so. The last bits may depend on the number.
    """
    return THREADS if exact_order(wildcards.run) > LARGE else 1


def spectrum_mb(wildcards):
    """What reading takes, the gradients where they are kept, and the matrix or the Krylov space."""
    run = wildcards.run
    rows, weights = gradient_rows(run), resolved(run)["network"]["weights"]
    block = min(READ, number_mib(run, 1024 * (weights or 2**20)))
    # What is read in other threads leaves holes, which are filled again later but for a large matrix.
    reading = block * min(20, 8 + 1.2 * rows / 1024)
    order = exact_order(run)
    if order:
        matrix = (16 if gpus() else 9) * order**2 / 2**20  # on a GPU it is copied
        centred = 6 * min(CENTRED, 8 * 1024 * weights / 2**20)
        held = held_mib(run) if rows < weights else 0  # D is formed in one pass
        return held + matrix + max(reading, centred)
    size = KRYLOV * config["spectrum"]["leading"] + 480
    return held_mib(run) + max(reading, 8 * (weights or 2**17) * min(size, rows) / 2**20)


def trajectory_dataset(trajectory):
    """The dataset of a trajectory."""
    name = settings.resolve_trajectory(config, trajectory)["dataset_name"]
    return f"{RESULTS}/data/{name}.zarr.zip"


def weights_mib(trajectory):
    """The weights of a trajectory after one epoch."""
    spec = settings.resolve_trajectory(config, trajectory)
    return (spec["network"]["weights"] or 10_000) * 4 / 2**20


def trajectory_disk_mb(wildcards):
    """On disk: all weights of the seeds of a trajectory, and a tenth for what is beside them."""
    spec = settings.resolve_trajectory(config, wildcards.trajectory)
    epochs = spec["training"]["epochs"] * len(wildcards.seeds.split("-"))
    return int(1 + 1.1 * epochs * weights_mib(wildcards.trajectory))


def trajectory_mb(wildcards):
    """The images thrice, and a block of 1,024 epochs of all seeds with what writing it takes."""
    spec = settings.resolve_trajectory(config, wildcards.trajectory)
    block = 1024 * weights_mib(wildcards.trajectory) * len(wildcards.seeds.split("-"))
    return 3 * images_mib(spec["dataset"]) + 3 * block + 300


def goes_on(wildcards):
    """Whether a measurement goes on with trained networks."""
    _, trajectory, seed = parted(wildcards)
    return trajectory is None and seed is not None


def measurement_mb(wildcards):
    """Of a trajectory, of runs, or of systems of the theory."""
    name, trajectory, _ = parted(wildcards)
    if trajectory:
        return trajectory_measured_mb(trajectory)
    return runs_measured_mb(name) if goes_on(wildcards) else 1500


def trajectory_measured_mb(trajectory):
    """All weights twice, and the Hessian with its eigenvectors."""
    spec = settings.resolve_trajectory(config, trajectory)
    hessian = 32 * (spec["network"]["weights"] or 10_000) ** 2 / 2**20
    series = spec["training"]["epochs"] * weights_mib(trajectory)
    return 2.2 * series + hessian + 2.2 * images_mib(spec["dataset"]) + 800


def runs_measured_mb(name):
    """The images of all datasets, and one of them as it is laid out."""
    specs = {spec["dataset_name"]: spec["dataset"] for spec in map(resolved, runs_measured(name))}
    each = list(map(images_mib, specs.values()))
    return sum(each) + 1.2 * max(each) + 300


def gpus():
    """One GPU per job where CUDA is asked for; with `auto` the limit would slow a CPU down."""
    return 1 if config["device"] == "cuda" else 0
