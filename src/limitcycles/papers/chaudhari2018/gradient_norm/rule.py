"""How far the norm of the gradient falls over a long trajectory (Rem. 18, Fig. 3c)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import statistic
from limitcycles.judging.result import (
    Outcome,
    Verdict,
    arm,
    check,
    deciding,
    negative,
    paper_value,
    positive,
)
from limitcycles.papers.chaudhari2018.gradient_norm.falls import (
    NAME,
    SMALLEST,
    agrees,
    ends,
    measured,
    trend,
)
from limitcycles.papers.chaudhari2018.gradient_norm.measure import MODES, norm
from limitcycles.statistics.intervals import POSITIVE, estimate

# What the rule reads of its entry of the ledger.
PARAMETERS = ("level", "factor", "clear_fall", "share_percent", "fewest")
PAPER = ("fall of the gradient norm",)

ARM_LISTS = ("deciding",)
SHARES = (0.1, 1.0, 5.0, 10.0)  # percent of the epochs in a window, beside the rule's
EPOCHS, AFTER, EVERY, WEIGHTS = 100_000, 1000, 100, 60  # of the controls: those of the paper
SEEDS = range(5)  # of the controls


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """The fall of ‖∇f‖/√d from the transient to the end, in both modes, against the paper's."""
    parameters = entry["rule_parameters"]
    paper = paper_value(entry, NAME)
    arms, modes, above = [], {}, {}
    present = {name: runs for name, runs in evidence.by_arm.items() if runs}
    for name, runs in present.items():
        norms = [run["norms"] for run in runs]
        found = [measured(norms, mode, parameters, paper) for mode in MODES]
        modes[name] = [m for m, s in zip(MODES, found, strict=True) if agrees(s, parameters, paper)]
        above[name] = all(s["interval"] and ends(s)[0] > parameters["clear_fall"] for s in found)
        shuffled = measured(norms, "shuffled", parameters, paper)
        shuffled["name"] = f"{NAME}, training mode, images shuffled"
        curves = [run["curve"] for run in runs]
        statistics = [*found, shuffled, *_smoothed(curves, parameters, paper)]
        decided = bool(modes[name]) if name in entry["deciding"] else None
        arms.append(arm(entry, name, decided, statistics))
    mine, absent = deciding(entry, present)
    clear = not absent and all(above[name] for name in mine)
    verdict, caveats = _verdict({name: modes[name] for name in mine}, clear)
    caveats += [f"not run at this scale: {', '.join(absent)}"] if absent else []
    first = next(a for a in arms if a["name"] == mine[0])
    norms = {name: [run["norms"] for run in present[name]] for name in mine}
    return Outcome(
        verdict,
        first["statistics"][MODES.index("training")],  # the mode of the paper's figure
        arms,
        _controls(entry, paper),
        [
            _windows(norms, modes, parameters, paper),
            _trends(norms, modes, parameters, paper),
            _large([a for a in arms if a["name"] in mine], parameters),
            _order([a for a in arms if a["name"] in mine], modes, parameters, paper),
            _partitions({name: present[name] for name in mine}),
        ],
        caveats,
    )


def _smoothed(curves: Sequence[xr.Dataset], parameters: dict, paper: float) -> list[dict]:
    """What the paper's curve shows: the smoothed norm in training mode, its first point over last.

    From epoch 0, and from the end of the transient on.
    """
    its = {"unit": "1", "level": parameters["level"], "paper": paper, "scale": POSITIVE}
    result = []
    for name, key in (("from epoch 0", "smoothed"), ("after the transient", "smoothed_after")):
        values = [c[f"{key}_training"].dropna("point").values for c in curves]
        falls = [max(v[0], SMALLEST) / max(v[-1], SMALLEST) for v in values]
        result.append(statistic(f"fall of the paper's smoothed curve, {name}", falls, **its))
    return result


def _verdict(modes: dict[str, list[str]], clear: bool) -> tuple[str, list[str]]:
    """From the modes in which each deciding arm agrees; `clear`: all are far above in both modes.

    Only intervals of all these arms contradict: one arm, or one seed, is not enough.
    """
    if clear:
        return Verdict.CONTRADICTED, []
    agreeing = [name for name, its in modes.items() if its]
    if not agreeing:
        return Verdict.NOT_REPRODUCED, []
    if all(len(its) == len(MODES) for its in modes.values()):
        return Verdict.REPRODUCED, []
    where = [
        f"{name} in both modes" if len(its) == len(MODES) else f"{name} in {its[0]} mode only"
        for name, its in modes.items()
        if its
    ]
    others = [name for name in modes if name not in agreeing]
    caveat = f"holds for {', '.join(where)}"
    return Verdict.WITH_CAVEAT, [caveat + (f"; not for {', '.join(others)}" if others else "")]


# ---------------------------------------------------------------- other looks


def _same(other: Sequence[dict], its: list[str], parameters: dict, paper: float) -> bool:
    return [m for m, s in zip(MODES, other, strict=True) if agrees(s, parameters, paper)] == its


def _windows(norms: dict, modes: dict, parameters: dict, paper: float) -> dict:
    """Other windows: they have no part in the verdict."""
    changed, words = [], []
    for name, parts in norms.items():
        readings = {f"{s:g} %": {"share": s} for s in SHARES}
        readings["1 %, from epoch 0"] = {"start": -1}
        for label, window in readings.items():
            other = [measured(parts, mode, parameters, paper, **window) for mode in MODES]
            if not _same(other, modes[name], parameters, paper):
                changed.append(f"{name} ({label})")
            numbers = ", ".join(wording.number(s["value"]) for s in other)
            words.append(f"{name}, {label}: {numbers}")
    return check(
        "other windows",
        not changed,
        f"fall in {' and '.join(MODES)} mode, at least {parameters['fewest']:g} gradients"
        f" in a window: {'; '.join(words)}; "
        f"another answer than by the rule: {', '.join(changed) or 'none'}",
    )


def _trends(norms: dict, modes: dict, parameters: dict, paper: float) -> dict:
    same, words = [], []
    for name, parts in norms.items():
        found = [
            statistic(mode, [trend(part, mode) for part in parts], unit="1",
                      level=parameters["level"], paper=paper, scale=POSITIVE)
            for mode in MODES
        ]  # fmt: skip
        same.append(_same(found, modes[name], parameters, paper))
        words.append(
            f"{name}: " + ", ".join(f"{s['name']} mode {wording.estimate(s)}" for s in found)
        )
    return check(
        "trend through all gradients",
        all(same),
        "fall by a straight line through log ‖∇f‖ over all epochs after the transient, "
        "without windows; the same answer in each arm and mode is expected. " + "; ".join(words),
    )


def _large(arms: list[dict], parameters: dict) -> dict:
    """The words of the claim without its number: the norm stays large."""
    falls = [(a["name"], s) for a in arms for s in a["statistics"][: len(MODES)]]
    name, largest = max(falls, key=lambda pair: pair[1]["value"])
    return check(
        "the gradient does not vanish",
        largest["value"] < parameters["clear_fall"],
        "the largest fall of the arms that decide, in any mode, is "
        f"{wording.estimate(largest)} ({name}); clear would be {parameters['clear_fall']:g}",
    )


def _order(arms: list[dict], modes: dict, parameters: dict, paper: float) -> dict:
    """The stored gradient in training mode has one order of the images; here each has its own."""
    same, words = [], []
    for each in arms:
        stored, shuffled = each["statistics"][1:3]
        same.append(agrees(shuffled, parameters, paper) == ("training" in modes[each["name"]]))
        words.append(
            f"{each['name']} {wording.estimate(shuffled)} instead of {wording.estimate(stored)}"
        )
    return check(
        "images shuffled for each gradient",
        all(same),
        "fall in training mode where the mini-batches are drawn anew for each gradient, "
        "instead of the order of the dataset, whose last batches can lack a class: "
        + "; ".join(words),
    )


def _partitions(runs: dict[str, list[dict]]) -> dict:
    """How much of the norm in training mode is the one order of the images that it is taken in."""
    shares, words = [], []
    for name, parts in runs.items():
        for k, when in ((0, "after the transient"), (-1, "at the end")):
            one, expected = (
                estimate([p["partitions"][f"norm_{of}"].values[k] for p in parts], POSITIVE).value
                for of in ("one", "expected")
            )
            shares.append(expected / max(one, SMALLEST))
            words.append(
                f"{name} {when}: {wording.number(one)}, expected {wording.number(expected)}"
            )
    count = next(iter(runs.values()))[0]["partitions"].attrs["partitions"]
    return check(
        "the norm in training mode is that of the gradient",
        min(shares) > 0.5,
        "the full gradient in training mode is the mean over one partition of the images "
        f"into mini-batches; over {count} partitions, ‖∇f‖/√d of one (root mean square) and of "
        f"their expectation: {'; '.join(words)} (nats per unit of weight, "
        "geometric means over seeds)",
    )


# ---------------------------------------------------------------- controls


def planted(seed: int, by: float) -> np.ndarray:
    """Gradients (gradient, weight) that fall steadily by a factor `by`, with 30 % of noise."""
    rng = np.random.default_rng(seed)
    epoch = np.arange(0, EPOCHS + 1, EVERY)
    size = by ** (-np.maximum(epoch - AFTER, 0) / (EPOCHS - AFTER))
    size = size * np.exp(0.3 * rng.standard_normal(len(epoch)))
    return size[:, None] * rng.standard_normal((len(epoch), WEIGHTS))


def descent(seed: int) -> np.ndarray:
    """Gradients of ½xᵀHx along exact gradient descent, ∇f = H(1 − ηH)^k x₀, k the epoch.

    Curvatures between 0.1 and 1, η = 10⁻³: the slowest direction falls by e^−10.
    """
    h = np.geomspace(0.1, 1, WEIGHTS)
    start = np.random.default_rng(seed).standard_normal(WEIGHTS)
    epoch = np.arange(0, EPOCHS + 1, EVERY)[:, None]
    return h * np.exp(epoch * np.log1p(-1e-3 * h)) * start


def _of(gradients: np.ndarray) -> xr.Dataset:
    """Made-up gradients as the part `norms` of a measurement, the same in both modes."""
    values = norm(gradients)
    return xr.Dataset(
        {f"norm_{mode}": ("gradient", values) for mode in MODES},
        coords={"epoch": ("gradient", np.arange(0, EPOCHS + 1, EVERY))},
        attrs={"after": AFTER, "epochs": EPOCHS},
    )


def _controls(entry: dict, paper: float) -> list[dict]:
    parameters = entry["rule_parameters"]

    def judged(made) -> tuple[float, list[bool]]:
        parts = [_of(made(seed)) for seed in SEEDS]
        found = [measured(parts, mode, parameters, paper) for mode in MODES]
        return found[0]["value"], [agrees(s, parameters, paper) for s in found]

    fall, passes = judged(lambda seed: planted(seed, paper))
    vanishing, fails = judged(descent)
    return [
        positive(f"planted fall by {paper:g} with noise", NAME, fall, all(passes)),
        negative("gradient descent on a quadratic", NAME, vanishing, not any(fails)),
    ]
