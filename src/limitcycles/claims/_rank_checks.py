"""Checks beside the rule on the rank of D: what the caption can mean, and augmented data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from limitcycles import captions, wording
from limitcycles.claims.result import paper_value

SETTLED = 0.05  # largest relative change of the rank from the last but one number of augmentations
CAPTION = ("rank", "mean eigenvalue", "std of eigenvalues")  # names of the paper's numbers


def caption_arithmetic(entry: dict, spectra: Mapping[str, Sequence[xr.Dataset]]) -> dict:
    """What the paper's caption leaves to λ_max in each reading, beside the measured; by arm.

    It decides nothing. d is that of the first arm, the network of the paper.
    """
    weights = int(next(iter(spectra.values()))[0].attrs["weights"])
    numbers = [paper_value(entry, name) for name in CAPTION]
    caption = captions.of_paper(weights, *numbers)
    measured = {
        name: float(np.exp(np.mean([np.log(float(s["eigenvalue"].values[0])) for s in mine])))
        for name, mine in spectra.items()
    }
    some, sentences = False, []
    for reading in captions.READINGS:
        ends = captions.range_of_paper(weights, *numbers, reading)
        within = [n for n, top in measured.items() if ends and ends[0] <= top <= ends[1]]
        some = some or bool(within)
        sentences.append(
            f"{reading}: {_leaves(caption, reading, ends)}; measured within it: "
            f"{', '.join(within) or 'no arm'}"
        )
    tops = ", ".join(f"{name} {wording.number(top)}" for name, top in measured.items())
    rank, mean, std = (wording.given(number) for number in numbers)
    return {
        "name": "caption, arithmetic",
        "holds": some,
        "detail": f"{mean} ± {std} with a rank of {rank} % of {wording.count(weights)}, "
        f"{caption.rank}, by reading: {'. '.join(sentences)}. Measured λ_max: {tops}",
    }


def _leaves(caption: captions.Caption, reading: str, ends: tuple[float, float] | None) -> str:
    if ends is None:
        return "no spectrum has these numbers"
    low, high = map(wording.number, ends)
    said = f"λ_max from {low} to {high}"
    share = captions.least_share_of_threshold(caption) if reading == "all" else None
    if share is not None:
        said += (
            f", the other {wording.count(caption.below)} eigenvalues on average at "
            f"{100 * share:.0f} % of the threshold or more"
        )
    exact = captions.largest_eigenvalue(caption, reading) if reading == "clipped" else None
    if exact is not None:
        shares = [100 * caption.threshold * end / caption.mean for end in exact]
        said += (
            f", the threshold itself {shares[0]:.0f} to {shares[1]:.0f} % of the mean: λ_max is at "
            f"most mean/(d·ε) = {wording.number(caption.mean / caption.threshold)}"
        )
    return said


def settled(spectra: Mapping[str, Sequence[xr.Dataset]]) -> dict | None:
    """Whether the rank of D of augmented data still changes with the number of augmentations.

    None if no arm has augmentations. One number of them, or a rank that is not resolved, cannot
    settle.
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
        holds = holds and bool(abs(change) <= SETTLED)
        words.append(f"{name}: {100 * change:+.1f} % from {numbers[0]:g} to {numbers[1]:g}")
    return {
        "name": "settled over augmentations",
        "holds": holds,
        "detail": f"largest change of the rank over seeds, at most {100 * SETTLED:g} %: "
        + "; ".join(words),
    }


def _last_change(spectrum: xr.Dataset) -> float:
    """Relative change of the rank at the last number of augmentations; ∞ if not resolved."""
    before, after = spectrum["augmented_rank"].values[-2:]
    change = (after - before) / before
    return float(change) if np.isfinite(change) else float("inf")
