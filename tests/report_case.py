"""A whole made-up report: 33 claims, four of them with a verdict and charts."""

from functools import cache
from typing import Any

import synthetic

from limitcycles.charts import files

NOT_TESTED = {
    "theory": ("sde-limit", "free-energy-decreases", "double-well", "local-entropy"),
    "networks": ("gradient-norm", "autocorrelation", "linear-scaling"),
}
TOTAL = 33


def results() -> list[dict[str, Any]]:
    """Results of 33 claims; the untested ones come first, as in the paper's order."""
    named = [
        synthetic.not_tested(claim, group=group, source="Rem. 21")
        for group, claims in NOT_TESTED.items()
        for claim in claims
    ]
    judged = [case()[0] for case in synthetic.CASES.values()]
    rest = TOTAL - len(named) - len(judged)
    return [*named, *(synthetic.not_tested(f"claim-{k}") for k in range(rest)), *judged]


def paper(results: list[dict[str, Any]], name: str = "made2024", **citation) -> dict[str, Any]:
    """The head of a paper that has the claims of some results."""
    authors = [{"family": "Chaudhari", "given": "P."}, {"family": "Soatto", "given": "S."}]
    return {
        "id": name,
        "authors": "Chaudhari & Soatto",
        "citation": {
            "title": "A title",
            "authors": authors,
            "year": 2017,
            "arxiv": "1710.11029",
            "url": "https://arxiv.org/abs/1710.11029",
        }
        | citation,
        "sections": {"theory": "theory", "networks": "networks"},
        "claims": [result["id"] for result in results],
    }


scripts = cache(files.scripts)  # seconds


@cache
def specs() -> dict[str, dict[str, dict[str, Any]]]:
    """Specs of all charts, by claim and name, in the order of files in a folder."""
    found = {}
    for case in synthetic.CASES.values():
        result, spectra, runs = case()
        drawn = synthetic.drawn(result, spectra, runs)
        found[result["id"]] = {name: drawn[name].to_dict() for name in sorted(drawn)}
    return found
