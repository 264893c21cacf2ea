"""Oracles by brute force, and made-up gradients and results, for tests of the mathematics."""

import copy
import importlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from limitcycles.charts import drawing
from limitcycles.configuration import settings
from limitcycles.judging import folders, judge, ledger, papers
from limitcycles.judging.evidence import Evidence, Parts, gather
from limitcycles.judging.result import Outcome

ROOT = Path(__file__).resolve().parents[1]
PAPERS, PAPER_SCHEMA = ROOT / "config/papers", ROOT / "workflow/schemas/paper.schema.yaml"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """For modules that import it: small matrices on one thread, which no other process delays."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(threads)


def claims() -> dict:
    """The real ledger."""
    return copy.deepcopy(papers.claims(_papers()))


@cache
def _papers() -> dict:
    return papers.load(PAPERS, PAPER_SCHEMA, config())


def head() -> dict:
    """The file of the paper without its targets and claims, to put other claims into."""
    tree = settings.read_yaml(PAPERS / "chaudhari2018.yaml")
    return {key: tree[key] for key in ("citation", "sections", "instruments")}


def along(
    entry: dict, by_trajectory: dict[str, list[Parts]], instruments: dict[str, Parts] | None = None
) -> Evidence:
    """Evidence of a claim on trajectories from made-up measurements, by trajectory, one a seed."""
    evidence = gather(entry, instruments=instruments)
    for arm, spec in entry["arms"].items():
        evidence.by_arm[arm] = by_trajectory.get(spec["trajectory"], [])
    return evidence


def settings_read(measurement: str, **changes) -> dict:
    """What a measurement reads of the real configuration and ledger; `changes` replace some."""
    return ledger.settings_read(measurement, claims(), config()) | changes


class Theory:
    """A claim of the theory in the real ledger, judged and drawn on made-up measurements."""

    def __init__(self, name: str) -> None:
        self.name, self.entry = name, claims()[name]

    def evidence(self, parts: Parts) -> Evidence:
        """Its evidence: one measurement."""
        return gather(self.entry, measured=[parts])

    def judge(self, parts: Parts) -> dict:
        """Its result, as the workflow writes it."""
        return judge.judge(self.name, self.entry, self.evidence(parts), context())

    def outcome(self, parts: Parts) -> Outcome:
        """What its rule alone finds, whether or not the controls behave."""
        rule = importlib.import_module(folders.module(self.name, "rule"))
        return rule.judge(self.entry, self.evidence(parts))

    def charts(self, parts: Parts) -> dict[str, dict]:
        """Its charts, as `drawn_from` gives them."""
        return drawn_from(self.judge(parts), self.evidence(parts))


def misbehaved(result: dict) -> bool:
    """Whether controls that did not behave took the verdict."""
    words = "the controls did not behave"
    return result["verdict"] == "not reproduced" and result["caveat"].startswith(words)


def row_by_row(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Per-sample gradients by autograd, one example at a time; a weight without effect has 0."""
    model = copy.deepcopy(model).eval()
    parameters = [p for p in model.parameters() if p.requires_grad]
    rows = []
    for x, y in zip(inputs, targets, strict=True):
        loss = F.cross_entropy(model(x[None].clone()), y[None])
        parts = torch.autograd.grad(loss, parameters, materialize_grads=True)
        rows.append(torch.cat([part.reshape(-1) for part in parts]))
    return torch.stack(rows)


def unsettle(model: nn.Module, seed: int = 0) -> nn.Module:
    """`model` in float64 with random weights and statistics in each batch normalisation."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double()
    for module in model.modules():
        if not isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            continue
        module.running_mean.normal_(generator=generator)
        module.running_var.uniform_(0.3, 3, generator=generator)
        if module.affine:
            with torch.no_grad():
                module.weight.normal_(generator=generator)
                module.bias.normal_(generator=generator)
    return model


def settle(model: nn.Module, inputs: Tensor, seed: int = 0) -> nn.Module:
    """`model` in float64 with statistics near those of `inputs`: no unit is always off or on."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double().train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = None  # the statistics become those of the next batch
        model(inputs)
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5, generator=generator)
            norm.bias.normal_(0, 0.3, generator=generator)
            norm.running_var *= 0.8
    return model.eval()


def examples(*shape: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random inputs of that shape (the first number is how many), float64, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(classes, (shape[0],), generator=generator)


def gradients(
    eigenvalues: np.ndarray, samples: int, *, mean: float = 0.0, dtype=np.float64, seed: int = 0
) -> np.ndarray:
    """Rows whose D has exactly these eigenvalues (but for rounding), in random directions.

    `mean` is ‖ḡ‖ in units of √tr D. There must be more samples than eigenvalues.
    """
    rng = np.random.default_rng(seed)
    weights = len(eigenvalues)
    left = rng.standard_normal((samples, weights))
    left = np.linalg.qr(left - left.mean(0))[0] * np.sqrt(samples)
    right = np.linalg.qr(rng.standard_normal((weights, weights)))[0]
    shift = rng.standard_normal(weights)
    shift *= mean * np.sqrt(np.sum(eigenvalues)) / np.linalg.norm(shift)
    return (left * np.sqrt(eigenvalues) @ right.T + shift).astype(dtype)


# Spectra that D may have, with WEIGHTS eigenvalues, for SAMPLES examples.
WEIGHTS, SAMPLES = 300, 500
INDEX = np.arange(1, WEIGHTS + 1)
CLUSTERS = np.concatenate([np.full(12, 1.0), np.full(10, 0.4), 1e-2 / np.arange(1, WEIGHTS - 21)])
TIGHT = np.concatenate(
    [1 + 1e-6 * np.arange(10)[::-1], 0.5 + 1e-5 * np.arange(10)[::-1],
     0.1 * np.exp(-np.arange(WEIGHTS - 20) / 10)]
)  # fmt: skip
SPECTRA = {
    "power law": INDEX**-2.0,
    "slow power law": INDEX**-1.0,
    "exponential": np.exp(-INDEX / 8),
    "clusters": CLUSTERS,
    "tight clusters": TIGHT,
    "pairs": np.repeat(np.arange(1.0, WEIGHTS // 2 + 1) ** -1.5, 2),
    "planted rank and floor": np.concatenate([np.linspace(1, 0.1, 20), np.full(280, 1e-8)]),
    "planted rank and high floor": np.concatenate([np.linspace(1, 0.1, 20), np.full(280, 1e-2)]),
}


def fitted(dtype, seed=0):
    """Late in training: most examples are fitted, with gradients a thousand times as small."""
    rows = gradients(SPECTRA["exponential"], SAMPLES, mean=1, seed=seed)
    rng = np.random.default_rng(seed)
    rows *= 10.0 ** -rng.choice([0, 3, 5, 12], p=[0.4, 0.2, 0.2, 0.2], size=SAMPLES)[:, None]
    rows[:20] = 0
    return rows.astype(dtype)


def spectrum(run: str, seed: int = 0, percent: int = 100, *, eigenvalue=(), **attrs) -> xr.Dataset:
    """A stored spectrum with what a rule reads; `attrs` are added."""
    return xr.Dataset(
        {"eigenvalue": ("index", np.asarray(eigenvalue, dtype=float))},
        attrs={"run": run, "seed": seed, "percent": percent} | attrs,
    )


def drawn_from(result: dict, evidence: Evidence) -> dict[str, dict]:
    """The charts of a claim as specifications by name: all that there are, titled and captioned."""
    found = {name: chart.to_dict() for name, chart in drawing.draw(result, evidence).items()}
    assert tuple(found) == folders.charts(result["judged_by"])
    for spec in found.values():
        assert spec["title"]
        assert len(spec["description"]) > 60
    return found


def run(
    name: str, seed: int, train_error: list[float], test_error: list[float], **made_with
) -> xr.Dataset:
    """A stored run: errors in percent, the first one before training; what it was made with."""
    return xr.Dataset(
        {"train_error": ("epoch_end", train_error), "test_error": ("epoch_end", test_error)},
        attrs={"run": name, "seed": seed, "settings": json.dumps(made_with)},
    )


def config(scale: str = "paper", **values) -> dict:
    """The real configuration of a scale, with values of the command line over it."""
    return settings.load(
        ROOT / "config/config.yaml",
        ROOT / "config/scales",
        ROOT / "workflow/schemas/config.schema.yaml",
        command_line={"scale": scale, **values},
    )


def context(departures: dict | None = None, absent: dict | None = None) -> dict:
    """What the workflow adds to the result of a claim."""
    return {
        "scale": "laptop",
        "seeds": [0, 1, 2],
        "departures": departures or {},
        "absent": absent or {},
        "config_hash": "1f2e3d",
        "artefacts": ["results/laptop/spectra/a/seed0/at100.zarr.zip"],
    }
