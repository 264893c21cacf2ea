"""Checks beside the rule on the rank of D: what the caption can mean, and augmented data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from limitcycles.judging import wording
from limitcycles.judging.result import check, paper_value
from limitcycles.papers.chaudhari2018.rank import printed_moments
from limitcycles.statistics.intervals import POSITIVE, estimate

CAPTION = ("rank", "mean eigenvalue", "std of eigenvalues")  # names of the paper's numbers


def caption_arithmetic(entry: dict, spectra: Mapping[str, Sequence[xr.Dataset]]) -> dict:
    """What the paper's caption leaves to λ_max in each reading, beside the measured; by arm.

    It decides nothing. d is that of the first arm, the network of the paper. All
    that rounds to the printed numbers counts.
    """
    weights = int(next(iter(spectra.values()))[0].attrs["weights"])
    numbers = [paper_value(entry, name) for name in CAPTION]
    each = printed_moments.roundings(weights, *numbers)
    measured = {
        name: estimate([float(s["eigenvalue"].values[0]) for s in mine], POSITIVE).value
        for name, mine in spectra.items()
    }
    some, sentences = False, []
    for reading in printed_moments.READINGS:
        ends = printed_moments.range_of_paper(weights, *numbers, reading)
        within = [n for n, top in measured.items() if ends and ends[0] <= top <= ends[1]]
        some = some or bool(within)
        sentences.append(
            f"{reading}: {_leaves(each, reading)}; measured within it: "
            f"{', '.join(within) or 'no arm'}"
        )
    tops = ", ".join(f"{name} {wording.number(top)}" for name, top in measured.items())
    rank, mean, std = (wording.given(number) for number in numbers)
    count = printed_moments.of_paper(weights, *numbers).rank
    return check(
        "caption, arithmetic",
        some,
        f"{mean} ± {std} with a rank of {rank} % of {wording.count(weights)}, {count}, "
        f"by reading: {'. '.join(sentences)}. Measured λ_max, geometric means over seeds: {tops}",
    )


def _leaves(each: list[printed_moments.Caption], reading: str) -> str:
    """What a reading means, over all that rounds to the printed numbers (`each`)."""
    found = [(c, ends) for c in each if (ends := printed_moments.largest_eigenvalue(c, reading))]
    if not found:
        return "no spectrum has these numbers"
    low, high = min(e[0] for _, e in found), max(e[1] for _, e in found)
    said = f"λ_max from {wording.number(low)} to {wording.number(high)}"
    if reading == "all":
        shares = [printed_moments.least_share_of_threshold(c) for c, _ in found]
        share = 100 * min(s for s in shares if s is not None)
        if share >= 1:
            said += (
                f", the eigenvalues below the threshold on average at {share:.0f} % of it or more"
            )
    if reading == "clipped":
        shares = [100 * c.threshold * end / c.mean for c, ends in found for end in ends]
        most = max(c.mean / c.threshold for c, _ in found)
        said += (
            f", the threshold itself {min(shares):.0f} to {max(shares):.0f} % of the mean (all "
            f"of it would be λ_max = mean/(d·ε) = {wording.number(most)})"
        )
    return said


def settled(spectra: Mapping[str, Sequence[xr.Dataset]], percent: float) -> dict | None:
    """Whether the rank of D of augmented data still changes with the number of augmentations.

    It may change by `percent` at most. None if no arm has augmentations. One number of them, or a
    rank that is not resolved, cannot settle.
    """
    swept = {name: [s for s in mine if "augmentations" in s.dims] for name, mine in spectra.items()}
    swept = {name: mine for name, mine in swept.items() if mine}
    if not swept:
        return None
    holds, words = True, []
    for name, mine in swept.items():
        if min(s.sizes["augmentations"] for s in mine) < 2:
            holds = False
            words.append(f"{name}: one number of augmentations only")
            continue
        numbers = mine[0]["augmentations"].values[-2:]
        change = max((_last_change(s) for s in mine), key=abs)
        holds = holds and bool(abs(change) <= percent / 100)
        words.append(f"{name}: {100 * change:+.1f} % from {numbers[0]:g} to {numbers[1]:g}")
    return check(
        "settled over augmentations",
        holds,
        f"largest change of the rank over seeds, at most {percent:g} %: " + "; ".join(words),
    )


def _last_change(spectrum: xr.Dataset) -> float:
    """Relative change of the rank at the last number of augmentations; ∞ if not resolved."""
    before, after = spectrum["augmented_rank"].values[-2:]
    change = (after - before) / before
    return float(change) if np.isfinite(change) else float("inf")
