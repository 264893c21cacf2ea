"""Arms that the ledger selects from a grid."""

import pytest
from helpers import claims, config

from limitcycles.judging import arms

GRIDS = config()["grids"]
SELECTION = {"grid": "tiny-fc", "where": {"images": ["few"], "norm": ["norm"]}}


def made(given):
    found, problems = arms.expanded(given, GRIDS, ("arms",))
    assert not problems
    return found


def test_a_selection_takes_what_no_other_arm_has_in_its_place():
    found = made(
        {
            "first": {"trajectory": "few-plain", "description": "1"},
            "some": SELECTION | {"where": SELECTION["where"] | {"sampler": ["with"]}},
            "rest": SELECTION,
            "last": {"trajectory": "few-nesterov", "description": "2"},
        }
    )
    assert list(found) == [
        "first",
        *("few-plain-with", "few-heavy-ball-with", "few-nesterov-with"),
        *("few-plain-list", "few-heavy-ball", "few-heavy-ball-list", "few-nesterov-list"),
        "last",
    ]
    assert found["few-heavy-ball-with"] == {
        "trajectory": "few-heavy-ball-with",
        "description": "512 images a digit, heavy ball 0.9, with replacement.",
    }


def test_a_selection_of_runs_has_their_snapshots():
    factor = {"sets": "training.batch_size", "name": "b{}", "words": "", "values": [32, 64]}
    grid = {"of": "runs", "settings": {}, "factors": {"batch": factor}}
    found, problems = arms.expanded({"all": {"grid": "g", "snapshots": [100]}}, {"g": grid}, ())
    assert not problems
    assert found["b64"] == {"run": "b64", "description": "b64.", "snapshots": [100]}


@pytest.mark.parametrize(
    ("arm", "path", "words"),
    [
        ({"grid": "tiny"}, "grid", '"tiny" is not under grids; nearest valid value: tiny-fc'),
        (SELECTION | {"where": {"image": ["few"]}}, "where.image", "no such factor; nearest"),
        (SELECTION | {"where": {"images": ["fw"]}}, "where.images", '"fw" is no value of the'),
        (SELECTION | {"where": {"momentum": []}}, "", "selects no combination that no other arm"),
    ],
)
def test_a_selection_that_is_refused(arm, path, words):
    _, (problem,) = arms.expanded({"some": arm}, GRIDS, ("c", "arms"))
    assert ".".join(problem.path) == f"c.arms.some{'.' if path else ''}{path}"
    assert words in problem.text


def test_an_arm_with_the_name_of_a_combination_is_refused():
    given = {"few-plain": {"trajectory": "all-plain", "description": "x"}, "some": SELECTION}
    _, (problem,) = arms.expanded(given, GRIDS, ("arms",))
    assert 'selects "few-plain", and another arm has this name' in problem.text


FIRST = {
    "increment-spectrum": ("text", "code", "few-plain", "few-nesterov", "few-heavy-ball-with"),
    "autocorrelation": ("text", "code", "few-plain", "few-nesterov", "few-heavy-ball-with"),
    "gradient-norm": ("text", "code", "all-plain", "all-plain-with", "all-plain-list"),
    "network-currents": ("plain", "plain-few", "text", "code", "all-plain-with"),
}
NUMBER = {"increment-spectrum": 10, "autocorrelation": 10, "gradient-norm": 39}
DESCRIPTIONS = {
    "all-plain-with": "30,596 images, no momentum, with replacement.",
    "all-heavy-ball": "30,596 images, heavy ball 0.9, without replacement.",
    "all-nesterov-list": "30,596 images, Nesterov 0.9, the authors' list of indices.",
    "few-plain-no-norm": "512 images a digit, no momentum, without replacement, "
    "no batch normalisation.",
    "few-heavy-ball-list-no-norm": "512 images a digit, heavy ball 0.9, the authors' list of "
    "indices, no batch normalisation.",
}


@pytest.mark.parametrize("claim", FIRST)
def test_the_arms_of_figure_3(claim):
    its = claims()[claim]["arms"]
    assert tuple(its)[:5] == FIRST[claim]
    assert tuple(its)[-3:] == ("four-digits", "full-batch", "gaussian")
    assert len(its) == NUMBER.get(claim, 39)
    assert len({arm["trajectory"] for arm in its.values()}) == len(its)
    for name in set(DESCRIPTIONS) & set(its):
        assert its[name] == {"trajectory": name, "description": DESCRIPTIONS[name]}
    if claim == "network-currents":
        assert set(DESCRIPTIONS) <= set(its)
        assert list(its)[9:14] == [
            *("all-nesterov-with", "all-nesterov-list"),
            *("all-plain-no-norm", "all-plain-with-no-norm", "all-plain-list-no-norm"),
        ]
