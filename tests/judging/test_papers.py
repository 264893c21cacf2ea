"""Papers: their files in config/papers, their folders, and the targets that follow from them."""

import copy

import pytest
import yaml
from helpers import PAPER_SCHEMA, PAPERS, config

from limitcycles.configuration.yamlfile import ConfigError
from limitcycles.judging import folders, papers

CONFIG = config()
SMALL = {
    "citation": {
        "title": "A title",
        "authors": [{"family": "Writer", "given": "A."}],
        "year": 2024,
        "url": "https://example.org/a",
    },
    "sections": {"first": "the first part"},
    "claims": {
        "some-claim": {
            "title": "A claim",
            "group": "first",
            "source": "Sec. 1",
            "statement": "It holds.",
            "paper": [],
            "statistic": "A number.",
            "rule": "Reproduced if 1.",
            "rule_parameters": {"one": 1},
            "controls": {"positive": "passes", "negative": "fails"},
            "not_tested": "Needs a measurement.",
        }
    },
}
GONE = object()


def changed(key, value):
    """SMALL with another value at a key with dots."""
    tree = copy.deepcopy(SMALL)
    *path, last = key.split(".")
    within = tree
    for part in path:
        within = within.setdefault(part, {})
    if value is GONE:
        del within[last]
    else:
        within[last] = value
    return tree


@pytest.fixture
def load(tmp_path):
    """Load papers, each given as a dict by the name of its file."""

    def load(**trees):
        for name, tree in trees.items():
            text = yaml.safe_dump(tree, allow_unicode=True)
            (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        return papers.load(tmp_path, PAPER_SCHEMA, CONFIG)

    return load


def renamed(claim):
    return SMALL | {"claims": {claim: SMALL["claims"]["some-claim"]}}


# --------------------------------------------------------------------------------- what there is


@pytest.fixture(scope="module")
def real():
    return papers.load(PAPERS, PAPER_SCHEMA, CONFIG)


def test_each_file_has_its_folder_and_each_folder_its_file(real):
    there = {folder.name for folder in folders.PAPERS.glob("*/") if any(folder.glob("*/*.py"))}
    assert there == set(real)


def test_the_head_of_the_paper(real):
    (paper,) = real.values()
    assert papers.short(paper) == "Chaudhari & Soatto"
    assert paper["citation"]["arxiv"] == "1710.11029"
    (head,) = papers.heads(real)
    assert head["sections"] == {"theory": "theory", "networks": "networks"}
    assert head["claims"] == list(papers.claims(real))


def test_the_targets_of_the_paper(real):
    found = papers.targets(real)
    assert list(found) == ["chaudhari2018", "theory", "figure_1", "figure_2", "figure_3"]
    ledger = papers.claims(real)
    assert found["chaudhari2018"]["claims"] == list(ledger)
    theory = [claim for claim, entry in ledger.items() if entry["group"] == "theory"]
    assert found["theory"]["claims"] == theory
    assert found["figure_2"] == {
        "claims": ["rank-cifar10", "rank-cifar100", "rank-cifar10-augmented"],
        "message": "Figure 2 is drawn.",
    }
    assert len(found["figure_3"]["claims"]) == 4


def test_several_papers_make_one_ledger_and_one_list_of_targets(load):
    target = {"section": "first", "message": "Done."}
    found = load(writer2024=SMALL, other2023=renamed("other-claim") | {"targets": {"t": target}})
    assert list(found) == ["other2023", "writer2024"]
    assert list(papers.claims(found)) == ["other-claim", "some-claim"]
    assert papers.targets(found) == {
        "other2023": {"claims": ["other-claim"], "message": "The claims of Writer are judged."},
        "t": {"claims": ["other-claim"], "message": "Done."},
        "writer2024": {"claims": ["some-claim"], "message": "The claims of Writer are judged."},
    }


@pytest.mark.parametrize(
    ("families", "said"),
    [("A", "A"), ("A B", "A & B"), ("A B C", "A, B & C"), ("A B C D", "A et al.")],
)
def test_authors_are_named_by_their_families(families, said):
    authors = [{"family": family, "given": "X."} for family in families.split()]
    assert papers.short({"citation": {"authors": authors}}) == said


# ------------------------------------------------------------------------------- what is refused

REFUSED = [  # a key of the file, its value, the key that is told, what is said
    ("citation", GONE, "citation", ["is missing"]),
    ("citation.titel", "x", "citation.titel", ["nearest valid key: title"]),
    ("citation.authors", [], "citation.authors", ["must not be empty"]),
    ("citation.arxiv", 1710.11, "citation.arxiv", ["is not text; put it in quotes"]),
    ("citation.arxiv", "17", "citation.arxiv", ['a number such as "1710.11029"']),
    ("citation.url", "example.org", "citation.url", ["begins with https://"]),
    ("sections", {}, "sections", ["{} is not allowed"]),
    (
        "claims.some-claim.group",
        "frist",
        "claims.some-claim.group",
        ['"frist" is not under sections; nearest valid value: first'],
    ),
    ("claims.Some_claim", {}, "claims.Some_claim", ["words of small letters"]),
    ("targets.figure-1", {}, "targets.figure-1", ["joined by _"]),
    ("targets.figure_1", {"message": "x"}, "targets.figure_1", ["either `section` or `claims`"]),
    (
        "targets.figure_1",
        {"claims": ["some-clam"], "message": "x"},
        "targets.figure_1.claims",
        ["is not under claims", "some-claim"],
    ),
    (
        "targets.part_1",
        {"section": "second", "message": "x"},
        "targets.part_1.section",
        ["has no claim; take one of the sections: first"],
    ),
    (
        "claims.some-claim.arms",
        {"all": {"grid": "tny-fc"}},
        "claims.some-claim",
        ["either `arms`"],
    ),
]


@pytest.mark.parametrize(("key", "value", "told", "words"), REFUSED)
def test_a_file_that_is_refused(load, tmp_path, key, value, told, words):
    with pytest.raises(ConfigError) as caught:
        load(writer2024=changed(key, value))
    start = f"{tmp_path / 'writer2024.yaml'}: {told}: "
    lines = [line for line in str(caught.value).splitlines() if line.startswith(start)]
    assert lines, caught.value
    assert all(word in lines[0] for word in words), lines[0]


def test_ids_are_unique_over_all_papers(load, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(a2020=SMALL, b2020=SMALL)
    one, two = tmp_path / "a2020.yaml", tmp_path / "b2020.yaml"
    text = f"{two}: claims.some-claim: {one} has this id, too; rename one of the two"
    assert str(caught.value) == text


def test_the_name_of_a_file_is_that_of_a_folder(load, tmp_path):
    with pytest.raises(ConfigError, match=r"has no file of a paper; write one, such as"):
        load()
    with pytest.raises(ConfigError, match=r"Some-2020\.yaml: the name of the file .* small lett"):
        load(**{"Some-2020": SMALL})


@pytest.mark.parametrize(
    ("target", "taken", "where"),
    [
        ("page", {"page"}, "targets.page"),
        ("claim_some_claim", (), "targets.claim_some_claim"),
        ("meter", (), "targets.meter"),
        ("writer2024", (), "targets.writer2024"),
        ("x", {"writer2024"}, "its name"),
    ],
)
def test_a_target_with_the_name_of_something_else_is_refused(load, target, taken, where):
    its = {target: {"section": "first", "message": "x"}}
    found = load(writer2024=SMALL | {"targets": its, "instruments": {"meter": {"title": "meter"}}})
    with pytest.raises(ConfigError, match=rf"writer2024\.yaml: {where}: .*; take another name"):
        papers.targets(found, taken)


def test_a_target_of_two_papers_is_refused(load):
    its = {"targets": {"figure_1": {"section": "first", "message": "x"}}}
    found = load(a2020=SMALL | its, b2020=renamed("other") | its)
    with pytest.raises(ConfigError, match=r"b2020\.yaml: targets\.figure_1: .* another paper"):
        papers.targets(found)
