import copy
import json
from pathlib import Path

import pytest
from snakemake.cli import parse_config
from snakemake.utils import update_config

from limitcycles.configuration import settings
from limitcycles.configuration.settings import ConfigError

ROOT = Path(__file__).parents[2]
BASE, SCALES = ROOT / "config/config.yaml", ROOT / "config/scales"
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
ALL_SCALES = ("quick", "laptop", "paper")


def load(**command_line):
    return settings.load(BASE, SCALES, SCHEMA, command_line=command_line)


@pytest.fixture
def schema():
    return settings.read_yaml(SCHEMA)


# ------------------------------------------------------------------------------- what is valid


@pytest.mark.parametrize("scale", ALL_SCALES)
def test_every_scale_is_valid(scale):
    config = load(scale=scale)
    assert config["scale"] == scale
    for run in config["runs"]:
        settings.resolve_run(config, run)


def test_there_is_an_overlay_for_every_scale(schema):
    assert {path.stem for path in SCALES.glob("*.yaml")} == set(
        schema["properties"]["scale"]["enum"]
    )


def made(config):
    """The resolved settings of the runs that a scale makes."""
    runs = [settings.resolve_run(config, run) for run in config["runs"]]
    return [run for run in runs if run["seeds"]]


def test_quick_runs_need_no_download():
    runs = made(load(scale="quick"))
    assert {"small-lenet-text", "fc-128", "allcnn-text"} <= {run["run"] for run in runs}
    for run in runs:
        assert run["dataset"]["source"] == "digits"
        convolutions = run["network"]["builder"] == "allcnn"
        assert run["training"]["epochs"] == (5 if convolutions else 20)
        assert ("CIFAR-10" if convolutions else "MNIST") in run["departure"]


def test_laptop_says_where_it_departs_from_the_paper():
    config, paper = load(scale="laptop"), load(scale="paper")
    assert len(made(paper)) == len(paper["runs"])
    left_out = set(config["runs"]) - {run["run"] for run in made(config)}
    assert left_out == {"allcnn-augmented-code", "allcnn-100-code"}
    for resolved in made(config):
        full = settings.resolve_run(paper, resolved["run"])
        copies, all_copies = (run["gradients"]["augmentations"] for run in (resolved, full))
        assert (full["departure"] is None) == (all_copies is None)
        epochs, of = (run["training"]["epochs"] for run in (resolved, full))
        assert epochs < of
        said = f"{epochs} epochs instead of {of:,}"
        images, all_images = (run["gradients"]["images"] for run in (resolved, full))
        if epochs == 4:
            said += " (the snapshots at 20 and 40 % after 1 and 2)"
        augmented = f"{copies[-1]} augmentations of " if copies else ""
        said += f", D over {augmented}{images:,} images" if images != all_images else ""
        seeds = "" if resolved["seeds"] == config["seeds"] == [0, 1] else ", one seed"
        assert len(resolved["seeds"]) == (1 if seeds else 2)
        assert resolved["departure"] == said + seeds


def test_a_run_without_seeds_is_left_out_and_null_takes_those_of_all():
    runs = {"fc-8": {"seeds": []}, "fc-16": {"seeds": None}, "fc-32": {"seeds": ["7"]}}
    config = load(scale="paper", runs=runs)
    found = {run: settings.resolve_run(config, run)["seeds"] for run in runs}
    assert found == {"fc-8": [], "fc-16": [0, 1, 2, 3, 4], "fc-32": [7]}


def test_paper_changes_seeds_precision_and_memory_only():
    base = settings.read_yaml(BASE)
    overlay = settings.read_yaml(SCALES / "paper.yaml")
    assert overlay.pop("seeds") == [0, 1, 2, 3, 4]
    runs = overlay.pop("runs")
    assert runs.pop("*") == overlay.pop("trajectories").pop("*") == {}
    assert overlay == {"spectrum": {"memory_mib": 6144}}
    assert set(runs) == {run for run in base["runs"] if run.startswith("small-fc")}
    assert all(run == {"gradients": {"precision": "float64"}} for run in runs.values())


def test_config_file_states_the_schema_defaults(schema):
    """The file repeats the defaults, so that it can be read alone; they must not drift apart."""
    base, defaults = settings.read_yaml(BASE), settings.check([], schema)
    for key in ("scale", "seeds", "device", "data_folder", "training", "gradients", "spectrum"):
        alone = settings.check([("config.yaml", {key: base[key]})], schema)
        assert alone[key] == defaults[key], key
        assert settings.canonical(base[key]) == settings.canonical(defaults[key]), key


def test_defaults_are_filled_at_every_depth():
    bare = {"network": "small-fc", "dataset": "mnist-7x7"}
    config = load(scale="laptop", runs={"bare": bare})
    assert config["datasets"]["mnist"] == {
        "source": "mnist",
        "classes": None,
        "train_images_per_class": None,
        "train_images": None,
        "resize": None,
        "pixels": "unit",
        "whiten": None,
        "optional": False,
        "options": {},
    }
    assert config["runs"]["bare"]["gradients"] == {}
    assert config["runs"]["bare"]["training"] == {}  # else it would hide the top-level training


def test_every_key_of_the_schema_has_description_and_valid_default(schema):
    from limitcycles.configuration.manual import keys
    from limitcycles.configuration.validation import problems

    found = dict(keys(schema))
    assert len(found) > 45
    for path, key in found.items():
        assert key["description"].strip(), path
        rules = {"$defs": schema["$defs"], "properties": {"it": key}}
        assert problems({"it": key["default"]}, rules) == [], path


def test_no_mapping_of_the_schema_allows_unknown_keys(schema):
    def mappings(node):
        if isinstance(node, dict):
            if "properties" in node:
                yield node
            for child in node.values():
                yield from mappings(child)

    found = list(mappings(schema))
    assert len(found) >= 9
    assert all(node["additionalProperties"] is False for node in found)


def test_whole_number_and_float_are_the_same_setting():
    one = load(training={"weight_decay": 0})
    assert settings.digest(one) == settings.digest(load(training={"weight_decay": 0.0}))


# ----------------------------------------------------------------------------------- layers


@pytest.mark.parametrize("scale", ALL_SCALES)
def test_merge_is_snakemakes_merge(scale):
    trees = [settings.read_yaml(BASE), settings.read_yaml(SCALES / f"{scale}.yaml")]
    trees.append({"datasets": {"mnist": {"resize": {"size": 14}}}, "training": 3, "new": {"a": {}}})
    trees.append({"training": {"epochs": 1}, "datasets": {"mnist": {"resize": None}}})
    before, theirs = copy.deepcopy(trees), {}
    for tree in trees:
        update_config(theirs, copy.deepcopy(tree))
    assert settings.merge(trees) == theirs
    assert trees == before


def test_layers_lie_in_the_order_of_the_manual(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("scale: quick\ntraining: {epochs: 7, batch_size: 32}\n")
    config = settings.load(
        BASE, SCALES, SCHEMA, extra=[mine], command_line={"training": {"batch_size": 16}}
    )
    assert config["scale"] == "quick"
    assert config["training"]["epochs"] == 7  # over the overlay's 20
    assert config["training"]["batch_size"] == 16


def test_values_of_the_command_line_as_snakemake_delivers_them():
    given = parse_config(
        [
            "seeds=[3, 4]",
            "data_folder=null",
            "device=cpu",
            "scale=quick",
            "training={epochs: 6, weight_decay: 1e-4, optimiser: sgd, sampler: index-list}",
        ]
    )
    assert given["seeds"] == ["3", "4"]  # texts: the reason for command_line_values
    config = load(**given)
    assert config["seeds"] == [3, 4]
    assert config["data_folder"] is None
    assert config["training"]["epochs"] == 6
    assert config["training"]["weight_decay"] == 1e-4
    assert config["training"]["optimiser"] == "sgd"


def test_a_bad_text_is_told_of_the_source_that_has_it():
    with pytest.raises(
        ConfigError, match=r"^config of the module: seeds\[0\]: 010 is the number 8"
    ):
        settings.load(BASE, SCALES, SCHEMA, module={"seeds": ["010"]})


def test_command_line_texts_that_are_no_numbers_stay():
    given = {"data_folder": "/data/mnist", "runs": {"a": {"departure": "8 epochs, 1:1", "x": "[b"}}}
    assert settings.command_line_values(given) == given


# ------------------------------------------------------------------------------ what it means


def test_resolve_run_lays_the_run_over_the_defaults():
    config = load(scale="paper")
    run = settings.resolve_run(config, "small-fc-code")
    assert run["run"] == "small-fc-code"
    assert run["training"] == {
        **config["training"],
        "optimiser": {"kind": "sgd", "options": {"momentum": 0.9}},
    }
    assert run["gradients"] == {**config["gradients"], "precision": "float64"}
    assert run["network"] == config["networks"]["small-fc"]
    assert run["dataset"]["classes"] == [0, 1]
    assert (run["network_name"], run["dataset_name"]) == ("small-fc", "mnist-7x7-wrapped-01")
    assert run["seeds"] == config["seeds"]
    assert config["runs"]["small-fc-code"]["training"] == {"optimiser": "heavy-ball"}


def test_whether_a_dataset_is_optional_does_not_decide_its_images():
    config = load(scale="paper")
    other = load(scale="paper", datasets={"mnist-7x7-wrapped-01": {"optional": True}})
    assert other["datasets"]["mnist-7x7-wrapped-01"]["optional"]
    runs = [settings.resolve_run(one, "small-fc-code") for one in (config, other)]
    assert runs[0] == runs[1]
    assert "optional" not in runs[0]["dataset"]
    assert runs[0]["dataset"]["classes"] == [0, 1]


def test_seeds_of_a_run_win():
    config = load(runs={"fc-8": {"seeds": ["5"]}})
    assert settings.resolve_run(config, "fc-8")["seeds"] == [5]
    assert settings.resolve_run(config, "fc-16")["seeds"] == config["seeds"] != [5]


def test_resolve_unknown_run():
    with pytest.raises(
        ConfigError, match=r"fc8: there is no such entry; nearest valid value: fc-8"
    ):
        settings.resolve_run(load(), "fc8")


def test_identity_changes_with_what_decides_the_weights_only():
    def identity(**changes):
        resolved = settings.resolve_run(load(runs={"fc-8": changes}), "fc-8")
        return settings.digest(settings.identity(resolved))

    same = identity()
    assert identity(departure="a note", seeds=[9], gradients={"precision": "float64"}) == same
    assert identity(gradients={"images": 500}) == same
    assert identity(training={"checkpoint_seconds": 1}) == same
    trained = {"training": {"augmentation": {"flip": True, "pad": 2}}}
    assert identity(**trained, gradients={"augmentations": [1, 2]}) == identity(**trained)
    changed = {
        identity(training={"epochs": 8}),
        identity(training={"optimiser": "sgd"}),
        identity(dataset="mnist-7x7-wrapped"),
        identity(network="fc-16"),
        identity(training={"augmentation": {"flip": True, "pad": 4}}),
    }
    assert len(changed | {same}) == 6


def test_digest_does_not_depend_on_the_order_of_keys():
    one = {"b": {"y": [1, {"d": 1, "c": 2}], "x": None}, "a": "é"}
    two = {"a": "é", "b": {"x": None, "y": [1, {"c": 2, "d": 1}]}}
    assert settings.digest(one) == settings.digest(two)
    assert len(settings.digest(one)) == 12
    assert settings.digest(one) != settings.digest({**one, "a": "e"})
    assert settings.digest([1, 2]) != settings.digest([2, 1])


def test_digest_is_the_sha256_of_the_canonical_json():
    # printf '{"a":[true,null],"b":1.5}' | sha256sum
    assert settings.digest({"b": 1.5, "a": (True, None)}) == "10ab843e0579"


def test_canonical_is_plain_sorted_and_goes_through_json():
    config = load()
    plain = settings.canonical(config)
    assert plain == config
    assert list(plain) == sorted(config)
    assert json.loads(json.dumps(plain)) == plain


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, Path("x")])
def test_canonical_refuses_what_json_cannot_hold(value):
    with pytest.raises(ConfigError, match="cannot be stored as JSON"):
        settings.canonical({"a": value})


def test_another_seed_or_note_makes_nothing_anew():
    config = load()
    for resolve, group, name in (
        (settings.resolve_run, "runs", "small-fc-text"),
        (settings.resolve_trajectory, "trajectories", "few-plain"),
    ):
        before = settings.recipe(resolve(config, name))
        config[group][name] |= {"seeds": [7, 8], "departure": "a note"}
        assert settings.recipe(resolve(config, name)) == before
        config[group][name]["training"] = {"batch_size": 64}
        assert settings.recipe(resolve(config, name)) != before


def test_a_trajectory_has_no_settings_that_it_does_not_use():
    training = settings.resolve_trajectory(load(), "few-plain")["training"]
    assert "learning_rate" in training
    assert not {"snapshots", "checkpoint_seconds", "augmentation"} & set(training)
