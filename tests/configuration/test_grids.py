"""Grids and their combinations; which of the runs a scale makes; what is refused of both."""

import itertools
from pathlib import Path

import pytest
import yaml

from limitcycles.configuration import grids, settings
from limitcycles.configuration.settings import ConfigError

ROOT = Path(__file__).parents[2]
BASE, SCALES = ROOT / "config/config.yaml", ROOT / "config/scales"
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
RULES = settings.read_yaml(SCHEMA)
SWEEP = """
seeds: [0, 1]
datasets: {d: {source: digits, resize: {method: bilinear, size: 7}}}
networks: {n: {builder: fc, options: {inputs: 49, hidden: 8, classes: 10}}}
grids:
  sweep:
    settings: {network: n, dataset: d, training: {learning_rate: {factor: 0.5}}}
    factors:
      rate: {sets: training.learning_rate.start, values: [0.1, 0.05], name: "rate{}"}
      batch: {sets: training.batch_size, values: [32, 64], name: "b{}", words: "batches of {}"}
      sampler:
        values:
          without: {name: "", words: ""}
          with: {settings: {training: {sampler: with-replacement}}, words: with replacement}
runs:
  alone: {network: n, dataset: d}
"""


def load(**command_line):
    return settings.load(BASE, SCALES, SCHEMA, command_line=command_line)


@pytest.fixture
def small():
    """Check a small configuration with texts of YAML laid over it, the last of them `mine`."""

    def check(*texts, base=SWEEP):
        names = ["config.yaml", *(["scale.yaml"] * (len(texts) - 1)), "mine.yaml"]
        layers = [yaml.safe_load(text) for text in (base, *texts)]
        return settings.check(list(zip(names, layers, strict=False)), RULES)

    return check


@pytest.fixture
def refusal(small):
    def lines(text, base=SWEEP):
        with pytest.raises(ConfigError) as caught:
            small(text, base=base)
        return str(caught.value).splitlines()

    return lines


def seeded(config, group="runs"):
    return {name for name, entry in config[group].items() if entry["seeds"] != []}


# ---------------------------------------------------------------------------------- combinations


def test_the_trajectories_of_figure_3():
    """Every combination, as it would be written by hand."""
    config, named = load(scale="paper"), {}
    for (few, data), (name, kind), (short, sampler), (norm, network) in itertools.product(
        {"all": "mnist-7x7-04", "few": "mnist-7x7-wrapped-04-512"}.items(),
        {"plain": "sgd", "heavy-ball": "heavy-ball", "nesterov": "nesterov"}.items(),
        {"": "without-replacement", "-with": "with-replacement", "-list": "index-list"}.items(),
        {"": "tiny-fc", "-no-norm": "tiny-fc-no-norm"}.items(),
    ):
        named[f"{few}-{name}{short}{norm}"] = network, data, kind, sampler
    assert len(named) == 36
    others = {
        "few-four-digits": (
            "tiny-fc",
            "mnist-7x7-wrapped-03-512",
            "heavy-ball",
            "without-replacement",
        ),
        "few-full-batch": ("tiny-fc-no-norm", "mnist-7x7-wrapped-04-512", "sgd", "full-batch"),
        "few-gaussian": ("tiny-fc-no-norm", "mnist-7x7-wrapped-04-512", "sgd", "gaussian"),
    }
    assert set(config["trajectories"]) == set(named | others)
    for name, (network, data, optimiser, sampler) in (named | others).items():
        assert settings.resolve_trajectory(config, name) == {
            "run": name,
            "network": config["networks"][network],
            "network_name": network,
            "dataset": settings.content(config["datasets"][data]),
            "dataset_name": data,
            "training": {
                "epochs": 100_000,
                "batch_size": 128,
                "learning_rate": {"start": 0.1, "factor": 0.01, "at": [0.01]},
                "optimiser": config["optimisers"][optimiser],
                "weight_decay": 0.0,
                "sampler": sampler,
            },
            "gradient_every": 100,
            "windows": [],
            "seeds": [0, 1, 2, 3, 4],
            "departure": None,
        }


def test_a_sweep_over_numbers(small):
    config = small("runs: {'*': {}}")
    names = [
        f"rate{rate}-b{batch}{sampler}"
        for rate in ("0.1", "0.05")
        for batch in (32, 64)
        for sampler in ("", "-with")
    ]
    assert set(config["runs"]) == {"alone", *names}
    mine = settings.resolve_run(config, "rate0.05-b32-with")["training"]
    assert mine["learning_rate"] == {"start": 0.05, "factor": 0.5, "at": [0.3, 0.6]}
    assert (mine["batch_size"], mine["sampler"]) == (32, "with-replacement")
    made = {one.name: one for one in grids.combinations(config["grids"])}
    assert list(made) == names
    assert made["rate0.05-b32-with"].words == "0.05, batches of 32, with replacement."
    assert made["rate0.1-b64"].values == {"rate": "0.1", "batch": "64", "sampler": "without"}


def test_layers_above_change_factors_and_members(small):
    config = small(
        "runs: {'rate*': {departure: short}, rate0.1-b16: {training: {epochs: 50}}}\n"
        "grids: {sweep: {settings: {training: {epochs: 40}}, factors: {batch: {values: [16]}}}}"
    )
    assert seeded(config) == {f"rate{r}-b16{s}" for r in ("0.1", "0.05") for s in ("", "-with")}
    epochs = {
        run: settings.resolve_run(config, run)["training"]["epochs"] for run in seeded(config)
    }
    assert epochs.pop("rate0.1-b16") == 50
    assert set(epochs.values()) == {40}


def test_a_grid_on_the_command_line():
    changed = {"tiny-fc": {"settings": {"training": {"epochs": 500}}}}
    config = load(scale="paper", grids=changed, trajectories={"few-plain": {"seeds": ["3"]}})
    epochs = {
        t: settings.resolve_trajectory(config, t)["training"]["epochs"]
        for t in ("few-plain", "few-four-digits")
    }
    assert epochs == {"few-plain": 500, "few-four-digits": 100_000}
    assert config["trajectories"]["few-plain"]["seeds"] == [3]


def test_a_selection_goes_through_its_values_in_their_order(small):
    grid = small("{}")["grids"]["sweep"]
    found = grids.select(grid, "sweep", {"sampler": ["with"], "rate": [0.05, 0.1]})
    assert [one.name for one in found] == [
        f"rate{rate}-b{batch}-with" for rate in ("0.05", "0.1") for batch in (32, 64)
    ]
    assert len(grids.select(grid, "sweep", {})) == 8
    for where, words in (
        ({"sampel": ["with"]}, "no such factor; nearest valid factor: sampler"),
        ({"sampler": ["wth"]}, '"wth" is no value of the factor; nearest valid value: with'),
        ({"batch": [16]}, "16 is no value of the factor; valid values: 32, 64"),
    ):
        with pytest.raises(KeyError) as caught:
            grids.select(grid, "sweep", where)
        assert words in grids.why_not_selected(grid, caught.value)


FACTORS = "mine.yaml: grids.sweep.factors"
TWIN = (
    "grids: {{twin: {{settings: {{network: n, dataset: d}},"
    " factors: {{x: {{sets: training.epochs, values: [5], name: {}}}}}}}}}"
)
REFUSED = [  # text of mine.yaml, the start of the only line, what it says
    ("grids: {empty: {}}", "mine.yaml: grids.empty.factors: is empty", ["at least one factor"]),
    ("grids: {sweep: {factors: {none: {}}}}", f"{FACTORS}.none.values: is empty",
        ["write a list of numbers, or {name: {settings: ...}}"]),
    ("grids: {sweep: {factor: {}}}", "mine.yaml: grids.sweep.factor: unknown key", ["factors"]),
    ("grids: {sweep: {of: run}}", 'mine.yaml: grids.sweep.of: "run"',
        ["nearest valid value: runs"]),
    ("grids: {sweep: {factors: {sampler: {values: {with: 3}}}}}",
        f"{FACTORS}.sampler.values.with: 3 is not a mapping",
        ["write {settings: ..., name: ..., words: ...}"]),
    ("grids: {sweep: {factors: {batch: {values: 3}}}}",
        f"{FACTORS}.batch.values: 3 is not a mapping or a list", []),
    ("grids: {sweep: {factors: {batch: {values: [3, 3]}}}}",
        f"{FACTORS}.batch.values: [3, 3] is not allowed",
        ["a list such as [32, 64], or a mapping"]),
    ("grids: {sweep: {factors: {batch: {sets: null}}}}",
        "config.yaml: grids.sweep.factors.batch.values: [32, 64] is a list",
        ["name the key it is for"]),
    ("grids: {sweep: {factors: {sampler: {sets: training.sampler}}}}",
        f'{FACTORS}.sampler.sets: "training.sampler" goes with a list',
        ["delete it, or write a list"]),
    ("grids: {sweep: {factors: {batch: {sets: training.batchsize}}}}",
        f"{FACTORS}.batch.sets: unknown key", ["nearest valid key: batch_size"]),
    ("grids: {sweep: {factors: {batch: {sets: trainig.batch_size}}}}",
        f"{FACTORS}.batch.sets: unknown key", ["nearest valid key: training"]),
    ("grids: {sweep: {factors: {batch: {values: [32, 0]}}}}",
        f"{FACTORS}.batch.values[1]: 0 is not allowed", ["at least 1"]),
    ("grids: {sweep: {factors: {sampler: {values: {with: {settings: {seed: 3}}}}}}}",
        f"{FACTORS}.sampler.values.with.settings.seed: unknown key", ["nearest valid key: seeds"]),
    ("grids: {sweep: {settings: {network: m}}}",
        'mine.yaml: grids.sweep.settings.network: "m" is not under networks', ["valid value"]),
    ("grids: {sweep: {settings: {training: {sampler: gaussian}}}}",
        "mine.yaml: grids.sweep.settings.training.sampler: ",
        ["for trajectories only", "take a sampler with mini-batches"]),
    (
        "grids: {sweep: {factors: {batch: {name: b}}}}",
        f"{FACTORS}: the combinations {{rate: 0.1, batch: 32, sampler: without}} and "
        '{rate: 0.1, batch: 64, sampler: without} have the same name, "rate0.1-b"',
        ["give one of their values another name"],
    ),
    (
        TWIN.format("rate0.1-b32"),
        "mine.yaml: grids.twin.factors: the combinations {rate: 0.1, batch: 32, sampler: without}"
        " of the grid sweep and {x: 5} have the same name",
        [],
    ),
    (TWIN.format("alone"),
        'mine.yaml: grids.twin.factors: make the combination "alone", and runs.alone stands',
        ["rename one of the two"]),
    ("grids: {sweep: {factors: {rate: {name: 'r {}'}}}}",
        f'{FACTORS}: the combination {{rate: 0.1, batch: 32, sampler: without}} has the name "r 0',
        ["letters, digits, hyphens and dots"]),
    (
        "grids: {sweep: {factors: {seed: {sets: training.epochs, values: "
        f"{list(range(2000))}}}}}}}}}",
        f"{FACTORS}: make 16,000 combinations",
        ["at most 10,000"],
    ),
    ("runs: {'rat-*': {}}", "mine.yaml: runs.rat-*: matches none of the runs", ["rate0"]),
    ("runs: {'rate*': {training: {epoks: 3}}}", "mine.yaml: runs.rate*.training.epoks: unknown key",
        ["nearest valid key: epochs"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "start", "words"), REFUSED)
def test_what_is_refused_is_told_once_where_it_was_written(refusal, text, start, words):
    (line,) = refusal(text)
    assert line.startswith(start), line
    assert all(word in line for word in words), line


# ------------------------------------------------------------------------------ what a scale runs


def test_what_the_scales_run():
    quick, laptop, paper = (load(scale=scale) for scale in ("quick", "laptop", "paper"))
    assert seeded(quick) == {
        *("small-lenet-text", "small-lenet-code"),
        *("small-fc-text", "small-fc-code", "small-fc-code-all-digits"),
        *("fc-8", "fc-16", "fc-32", "fc-128", "allcnn-text", "allcnn-augmented-text"),
    }
    assert seeded(quick, "trajectories") == {"all-nesterov"}
    assert seeded(laptop) == set(laptop["runs"]) - {"allcnn-augmented-code", "allcnn-100-code"}
    assert seeded(laptop, "trajectories") == {
        *("all-nesterov", "all-plain", "few-heavy-ball", "few-plain", "few-plain-with"),
        *("few-heavy-ball-with", "few-nesterov", "few-plain-no-norm", "few-heavy-ball-no-norm"),
        *("few-full-batch", "few-gaussian"),
    }
    for group in ("runs", "trajectories"):
        assert seeded(paper, group) == set(paper[group]) == set(quick[group])


def test_a_new_run_on_mnist_needs_no_edit_of_quick(tmp_path):
    base = yaml.safe_load(BASE.read_text("utf-8"))
    base["runs"]["new"] = {"network": "small-lenet", "dataset": "mnist", "seeds": [0]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(base), encoding="utf-8")
    for scale in ("quick", "laptop", "paper"):
        given = {"command_line": {"scale": scale}}
        config = settings.load(tmp_path / "config.yaml", SCALES, SCHEMA, **given)
        assert config["runs"]["new"]["seeds"] == ([0] if scale == "paper" else [])
        assert seeded(config) - {"new"} == seeded(load(scale=scale))


@pytest.mark.parametrize("how", ["own", "extra", "command_line", "module"])
def test_a_layer_of_the_users_own_names_what_it_runs(tmp_path, how):
    mine = {
        "runs": {
            "fc-2-classes": {"seeds": None},
            "new": {"network": "small-fc", "dataset": "digits-7x7"},
        }
    }
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(mine), encoding="utf-8")
    given = {"command_line": {"scale": "quick"}}
    if how in ("own", "extra"):
        given[how] = path if how == "own" else [path]
    else:
        given[how] = mine | {"scale": "quick"}
    config = settings.load(BASE, SCALES, SCHEMA, **given)
    assert seeded(config) - seeded(load(scale="quick")) == {"fc-2-classes", "new"}


def test_a_copy_of_the_configuration_names_nothing(tmp_path):
    quick = load(scale="quick")
    command_line = {"scale": "quick"}
    assert settings.load(BASE, SCALES, SCHEMA, own=BASE, command_line=command_line) == quick
    part = {key: settings.read_yaml(BASE)[key] for key in ("grids", "trajectories")}
    path = tmp_path / "part.yaml"
    path.write_text(yaml.safe_dump(part), encoding="utf-8")
    given = {"extra": [path], "command_line": command_line}
    assert settings.load(BASE, SCALES, SCHEMA, **given) == quick


def test_patterns_lie_below_exact_names_in_the_order_in_which_they_are_written(small):
    scale = (
        "runs:\n"
        "  rate0.1-b32: {training: {batch_size: 1}}\n"
        "  '*-b32*': {training: {epochs: 11, batch_size: 2}}\n"
        "  'rate0.1*': {training: {epochs: 12}, departure: later}\n"
    )
    config = small(scale, "runs: {'*b64': {training: {epochs: 13}}}")
    found = {
        run: (its["training"]["epochs"], its["training"]["batch_size"], its["departure"])
        for run in seeded(config)
        for its in [settings.resolve_run(config, run)]
    }
    assert found == {
        "rate0.1-b32": (12, 1, "later"),
        "rate0.1-b32-with": (12, 2, "later"),
        "rate0.05-b32": (11, 2, None),
        "rate0.05-b32-with": (11, 2, None),
        "rate0.1-b64": (13, 64, "later"),
        "rate0.1-b64-with": (12, 64, "later"),
        "rate0.05-b64": (13, 64, None),
    }


def test_what_no_layer_names_has_no_seeds_whatever_it_says_itself(small):
    base = SWEEP.replace("alone: {", "alone: {seeds: [4], ")
    assert seeded(small("{}", base=base)) == set()
    assert small("runs: {alone: {}}", base=base)["runs"]["alone"]["seeds"] == [4]
    assert seeded(small("runs: {'*': {}, alone: {seeds: []}}")) == seeded(
        small("runs: {'rate*': {}}")
    )
