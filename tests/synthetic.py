"""Made-up results, spectra and runs that look like real ones, for tests of charts and report."""

import json
from typing import Any

import numpy as np
import xarray as xr

from limitcycles.charts import drawing
from limitcycles.judging.evidence import Evidence, gather
from limitcycles.judging.numbers import result_entry
from limitcycles.papers.chaudhari2018.spectrum_ranks_architectures import rule as architectures
from limitcycles.statistics.intervals import MEAN, REAL

EPS32 = float(np.finfo(np.float32).eps)
EPS64 = float(np.finfo(np.float64).eps)
TAU = np.logspace(-16, -1, 61)


def spectrum(
    run: str,
    seed: int = 0,
    percent: int = 100,
    weights: int = 13338,
    samples: int = 60000,
    rank_percent: float = 1.8,
    largest: float = 0.5,
    leading: int | None = None,
) -> xr.Dataset:
    """A spectrum whose rank by the float32 rule is close to `rank_percent` (% of `weights`).

    A power law down to the threshold, exponential beyond it, then a few exact zeros. With
    `leading` only that many eigenvalues are kept, as the matrix-free method does.
    """
    rng = np.random.default_rng([seed, percent, weights])
    index = np.arange(1, weights + 1)
    rank = rank_percent / 100 * weights
    slope = -np.log(weights * EPS32) / np.log(rank)
    values = index**-slope * np.exp(-np.maximum(index - rank, 0) / weights * 25)
    values *= largest * (1 + 0.1 * rng.standard_normal()) * (1 + percent / 500)
    values = np.sort(values * np.exp(0.05 * rng.standard_normal(weights)))[::-1].copy()
    values[-weights // 100 :] = 0.0
    threshold = values[0] * weights * EPS32
    curve = (values[None, :] > TAU[:, None] * values[0]).sum(axis=1).astype(float)
    clipped, above = np.maximum(values, threshold), values[values > threshold]
    share = np.cumsum(values) / values.sum()
    probability = values[values > 0] / values.sum()
    attrs = {
        "method": "matrix-free" if leading else "exact",
        "trace": values.sum(),
        "frobenius_norm": float(np.linalg.norm(values)),
        "samples": samples,
        "weights": weights,
        "rank_float32": above.size,
        "rank_float64": int((values > values[0] * weights * EPS64).sum()),
        "rank_percent_float32": 100 * above.size / weights,
        "participation_ratio": values.sum() ** 2 / (values**2).sum(),
        "effective_rank": float(np.exp(-(probability * np.log(probability)).sum())),
        **{f"trace_{p}": int(np.searchsorted(share, p / 100) + 1) for p in (50, 90, 99)},
        "mean_all": values.mean(),
        "std_all": values.std(),
        "mean_clipped": clipped.mean(),
        "std_clipped": clipped.std(),
        "mean_above": above.mean(),
        "std_above": above.std(),
        "run": run,
        "seed": seed,
        "percent": percent,
    }
    if leading:
        curve[TAU * values[0] < values[leading - 1]] = np.nan
        values = values[:leading]
    return xr.Dataset(
        {
            "eigenvalue": ("index", values),
            "error_bound": ("index", np.full(values.size, 1e-15)),
            "rank_curve": ("tau", curve),
        },
        coords={"tau": TAU},
        attrs=attrs,
    )


def run(
    name: str, seed: int = 0, epochs: int = 40, final: float = 0.8, **made_with: Any
) -> xr.Dataset:
    """A training run: errors (%) fall from chance to about `final`; weights are left out."""
    rng = np.random.default_rng([seed, epochs])
    epoch = np.arange(epochs + 1)
    test = final + 12 * np.exp(-epoch / 4) + 0.05 * np.abs(rng.standard_normal(epochs + 1))
    test[0] = 90.2
    train = np.maximum(test - 0.5 - 0.4 * epoch / epochs, 0)
    return xr.Dataset(
        {
            "train_loss": ("epoch_end", train / 30),
            "train_error": ("epoch_end", train),
            "test_error": ("epoch_end", test),
        },
        coords={"epoch_end": epoch},
        attrs={"run": name, "seed": seed, "settings": json.dumps(made_with)},
    )


def statistic(
    name: str, values: list[float], unit: str, paper: float | None = None, half: float = 0.0
) -> dict[str, Any]:
    """One statistic of an arm; its interval is mean ± `half` (none if 0)."""
    mean = float(np.mean(values))
    return result_entry(
        name,
        mean,
        kind=MEAN,
        unit=unit,
        level=0.95,
        n=len(values),
        interval=(mean - half, mean + half) if half else None,
        scale=REAL.name,
        missing=None if half else "one value",
        paper=paper,
        values=values,
    )


def arm(name: str, run: str, statistics: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """One arm of a result."""
    return {
        "name": name,
        "run": run,
        "description": f"as the {name} of the paper has it",
        "agrees": True,
        "departure": None,
        "statistics": statistics,
    } | more


def result(claim: str, **more: Any) -> dict[str, Any]:
    """A claim's result with every key of the contract; `more` replaces some of them."""
    return {
        "id": claim,
        "title": claim.replace("-", " "),
        "source": "Fig. 1a",
        "statement": "On MNIST the diffusion matrix of small-lenet has a rank of 1.8 % of d.",
        "group": "networks",
        "verdict": "reproduced",
        "caveat": None,
        "reason": None,
        "statistic": None,
        "rule": "Reproduced if the interval over seeds lies within a factor 1.5 of the paper.",
        "rule_parameters": {"factor": 1.5},
        "deciding": [],
        "paper": [],
        "arms": [],
        "controls": [
            {
                "name": "planted rank",
                "kind": "positive",
                "expectation": "a matrix of known rank 240 is given rank 240",
                "statistic": {"name": "rank", "value": 240},
                "passed": True,
            },
            {
                "name": "isotropic gradients",
                "kind": "negative",
                "expectation": "gradients of full rank fail the rule",
                "statistic": {"name": "rank", "value": 97.3},
                "passed": True,
            },
        ],
        "checks": [{"name": "trace", "holds": True, "detail": "sum of eigenvalues to 1e-12"}],
        "measured": "rank(D)/d in % by the paper's rule; one value per seed and arm.",
        "planned_controls": {
            "positive": "A matrix with a planted rank passes.",
            "negative": "Isotropic gradients fail.",
        },
        "judged_by": "rank" if claim.startswith("rank-") else claim,
        "instruments": [],
        "seeds": [0, 1, 2],
        "scale": "laptop",
        "code_version": "0.1.0+src.abcdef",
        "config_hash": "1f2e3d4c5b6a",
        "artefacts": [f"results/laptop/claims/{claim}.json"],
    } | more


def evidence(result: dict[str, Any], spectra: list[xr.Dataset], runs: list[xr.Dataset]) -> Evidence:
    """What a made-up result was judged on."""
    arms = {arm["name"]: {"run": arm["run"]} for arm in result["arms"]}
    return gather({"arms": arms}, spectra=spectra, runs=runs)


def drawn(
    result: dict[str, Any], spectra: list[xr.Dataset], runs: list[xr.Dataset] = ()
) -> dict[str, Any]:
    """The charts of a made-up result."""
    return drawing.draw(result, evidence(result, spectra, runs))


def rank_case() -> tuple[dict[str, Any], list[xr.Dataset], list[xr.Dataset]]:
    """A rank claim with two arms, three seeds and three snapshots."""
    arms = {"text": ("small-lenet-text", 1.6, 0.5), "code": ("small-lenet-code", 2.9, 2.0)}
    spectra = [
        spectrum(name, seed, percent, rank_percent=rank, largest=largest)
        for name, rank, largest in arms.values()
        for seed in (0, 1, 2)
        for percent in (20, 40, 100)
    ]

    def numbers(name: str) -> list[dict[str, Any]]:
        last = [s.attrs for s in spectra if s.attrs["run"] == name and s.attrs["percent"] == 100]
        ranks = [attrs["rank_percent_float32"] for attrs in last]
        found = [statistic("rank(D)/d", ranks, "%", 1.8, half=0.2)]
        for reading in ("all", "clipped", "above"):
            for moment, key, paper in (
                ("mean eigenvalue", "mean", 0.3e-3),
                ("std of eigenvalues", "std", 2.11e-3),
            ):
                values = [attrs[f"{key}_{reading}"] for attrs in last]
                half = 0.1 * values[0]
                found.append(
                    statistic(f"{moment} ({reading})", values, "gradient squared", paper, half)
                )
        return found

    text, code = (numbers(name) for name, _, _ in arms.values())
    return (
        result(
            "rank-small-lenet",
            title="Rank of D for small-lenet on MNIST",
            verdict="reproduced with a caveat",
            caveat="holds for text; not for code; 10 epochs instead of 100",
            statistic=text[0],
            paper=[
                {"name": "rank", "value": 1.8, "unit": "% of d"},
                {"name": "mean eigenvalue", "value": 0.3e-3, "unit": "gradient squared"},
                {"name": "std of eigenvalues", "value": 2.11e-3, "unit": "gradient squared"},
            ],
            arms=[
                arm("text", "small-lenet-text", text, departure="10 epochs instead of 100"),
                arm(
                    "code",
                    "small-lenet-code",
                    code,
                    agrees=False,
                    departure="10 epochs instead of 100",
                ),
            ],
        ),
        spectra,
        [],
    )


def noise_case() -> tuple[dict[str, Any], list[xr.Dataset], list[xr.Dataset]]:
    """The claim that spectra stay the same over training; four arms."""
    runs = ("small-lenet-text", "small-lenet-code", "small-fc-text", "small-fc-code")
    spectra = [
        spectrum(name, seed, percent, weights=weights, rank_percent=1.2)
        for name, weights in zip(runs, (13338, 13338, 3978, 3978), strict=True)
        for seed in (0, 1, 2)
        for percent in (20, 40, 100)
    ]
    distances = ([0.21, 0.24, 0.19], [0.5, 0.62, 0.41], [0.11, 0.1, 0.14], [0.3, 0.28, 0.35])
    arms = [
        arm(
            name.removeprefix("small-"),
            name,
            [
                statistic("largest distance between snapshots", values, "decades", half=0.08),
                statistic("largest distance, shape only", values, "decades", half=0.08),
            ],
            agrees={0: True, 1: False, 2: True, 3: None}[k],
        )
        for k, (name, values) in enumerate(zip(runs, distances, strict=True))
    ]
    return (
        result(
            "noise-independent-of-weights",
            title="The noise does not depend on the weights",
            source="Rem. 13",
            statement="The spectra at 20, 40 and 100 % of training are almost the same.",
            verdict="not reproduced",
            statistic=arms[1]["statistics"][0],
            rule_parameters={"threshold": 0.301, "level": 0.95},
            arms=arms,
        ),
        spectra,
        [],
    )


def training_case() -> tuple[dict[str, Any], list[xr.Dataset], list[xr.Dataset]]:
    """The claim about training and test errors; two arms of small-lenet, two of small-allcnn."""
    finals = {
        "small-lenet-text": {"test": 0.8, "train": 0.1},
        "small-lenet-code": {"test": 1.4, "train": 0.1},
        "allcnn-text": {"test": 18.0, "train": 13.0},
        "allcnn-code": {"test": 21.0, "train": 9.0},
    }
    runs, arms = [], []
    for name, final in finals.items():
        network = "small-lenet" if "lenet" in name else "small-allcnn"
        papers = {"test": 0.75, "train": 0.75} if "lenet" in name else {"test": 17, "train": 11}
        made_with = {"network_name": network}
        runs += [run(name, seed, final=final["test"], **made_with) for seed in (0, 1, 2)]
        statistics = [
            statistic(
                f"{kind} error",
                [final[kind] * (1 + 0.06 * k) for k in range(3)],
                "%",
                papers[kind],
                0.2 * final[kind],
            )
            for kind in papers
        ]
        arms.append(arm(name.removeprefix("small-lenet-"), name, statistics))
    return (
        result(
            "training-errors",
            title="Training and test errors",
            source="Sec. IV",
            statement="small-lenet reaches about 0.75 % training and validation error.",
            statistic=arms[0]["statistics"][0],
            paper=[
                {"name": "training error of small-lenet", "value": 0.75, "unit": "%"},
                {"name": "test error of small-lenet", "value": 0.75, "unit": "%"},
                {"name": "training error of small-allcnn", "value": 11, "unit": "%"},
                {"name": "test error of small-allcnn", "value": 17, "unit": "%"},
            ],
            arms=arms,
        ),
        [],
        runs,
    )


# Networks by dataset, from the smallest test error to the largest.
NETWORKS = {
    "mnist": ["small-lenet-text"],
    "mnist-7x7": ["fc-128", "small-fc-text", "fc-32", "fc-16", "fc-8"],
    "cifar10": ["allcnn-text"],
    "cifar10-16x16": [
        *("cnn-16", "cnn-12", "cnn-12-12", "cnn-8", "cnn-16-shallow", "cnn-12-shallow"),
        *("cnn-8-deep", "cnn-6", "cnn-12-no-norm", "cnn-8-no-norm", "cnn-6-deep", "cnn-6-shallow"),
        "cnn-4",
    ],
}


def architectures_case() -> tuple[dict[str, Any], list[xr.Dataset], list[xr.Dataset]]:
    """The claim that rank(D)/d + var λ ranks architectures; twenty networks on four datasets."""
    lowest = {"mnist": 0.9, "mnist-7x7": 2.9, "cifar10": 22.0, "cifar10-16x16": 45.0}
    step = {"mnist-7x7": 1.4, "cifar10-16x16": 0.9}
    rng = np.random.default_rng(0)
    spectra, runs, arms = [], [], {}
    for where, names in NETWORKS.items():
        for k, name in enumerate(names):
            arms[name] = {"run": name, "description": f"{name} on {where}"}
            builder = "fc" if where == "mnist-7x7" else "allcnn"
            made_with = {"dataset_name": where, "network": {"builder": builder}}
            for seed in (0, 1, 2):
                error = lowest[where] + step.get(where, 0) * k + 0.3 * rng.standard_normal()
                runs.append(run(name, seed, final=max(error, 0.5), **made_with))
                for percent in (0, 100):
                    size = 10 ** (0.3 * rng.standard_normal() - 0.06 * k) * (1 + percent)
                    attrs = {"run": name, "seed": seed, "percent": percent, "weights": 10_000}
                    attrs |= {"rank_float32": 300.0 - 9 * k, "std_all": 1e-3 * lowest[where] * size}
                    spectra.append(xr.Dataset(attrs=attrs))
    entry = {
        "arms": arms,
        "snapshots": [0, 100],
        "rule_parameters": {
            "level": 0.95,
            "tau": 0.6,
            "permutations": 20,
            "permuted_pass_share": 0.05,
            "fewest_networks": 5,
        },
        "controls": {"positive": "A planted order passes.", "negative": "A random one fails."},
    }
    found = architectures.judge(entry, gather(entry, runs=runs, spectra=spectra))
    return (
        result(
            "spectrum-ranks-architectures",
            title="The spectrum ranks architectures",
            source="Rem. 16",
            statement="rank(D)/d + var λ(D) tells the better architecture.",
            verdict="contradicted",
            rule_parameters=entry["rule_parameters"],
            statistic=found.statistic,
            arms=[one | {"departure": None} for one in found.arms],
            checks=found.checks,
        ),
        spectra,
        runs,
    )


CASES = {
    "rank": rank_case,
    "noise-independent-of-weights": noise_case,
    "training-errors": training_case,
    "spectrum-ranks-architectures": architectures_case,
}


def not_tested(claim: str, **more: Any) -> dict[str, Any]:
    """A claim without a verdict yet."""
    changes = {
        "verdict": "not tested",
        "reason": "Needs long trajectories, which this version does not record.",
        "group": "theory",
        "controls": [],
        "checks": [],
        "seeds": [],
        "artefacts": [],
    }
    return result(claim, **(changes | more))
