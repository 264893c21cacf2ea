import copy
import json
from pathlib import Path

import pytest
from snakemake.cli import parse_config
from snakemake.utils import update_config

from limitcycles import settings
from limitcycles.errors import LimitcyclesError
from limitcycles.settings import ConfigError

ROOT = Path(__file__).parents[1]
BASE, SCALES = ROOT / "config/config.yaml", ROOT / "config/scales"
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
ALL_SCALES = ("quick", "laptop", "paper")


def load(**command_line):
    return settings.load(BASE, SCALES, SCHEMA, command_line=command_line)


@pytest.fixture
def schema():
    return settings.read_yaml(SCHEMA)


@pytest.fixture
def checked(schema, tmp_path):
    """Check a text of YAML laid over config.yaml; returns the lines of the error."""

    def lines(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            settings.load(BASE, SCALES, SCHEMA, extra=[path])
        return [line.replace(str(path), "mine.yaml") for line in str(caught.value).splitlines()]

    return lines


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


def test_late_noise_has_defaults_and_bounds(checked):
    defaults = load(scale="paper")["late_noise"]
    assert defaults == {"steps": 20_000, "batch_size": 32, "learning_rate": 0.05}
    assert load(scale="laptop")["late_noise"]["steps"] == 2000
    for key, bad in (("steps", 10), ("batch_size", 0), ("learning_rate", 0)):
        (line,) = checked(f"late_noise: {{{key}: {bad}}}")
        assert line.startswith(f"mine.yaml: late_noise.{key}: {bad}")
    (line,) = checked("late_noise: {step: 500}")
    assert "nearest valid key: steps" in line


def test_paper_changes_seeds_precision_and_memory_only():
    base = settings.read_yaml(BASE)
    overlay = settings.read_yaml(SCALES / "paper.yaml")
    assert overlay.pop("seeds") == [0, 1, 2, 3, 4]
    runs = overlay.pop("runs")
    assert overlay == {"spectrum": {"memory_mib": 6144}}
    assert set(runs) == {run for run in base["runs"] if run.startswith("small-fc")}
    assert all(run == {"gradients": {"precision": "float64"}} for run in runs.values())


def test_config_file_states_the_schema_defaults(schema):
    """The file repeats the defaults, so that it can be read alone; they must not drift apart."""
    base, defaults = settings.read_yaml(BASE), settings.check({}, schema, [])
    for key in ("scale", "seeds", "device", "data_folder", "training", "gradients", "spectrum"):
        assert settings.check({key: base[key]}, schema, [])[key] == defaults[key], key
        assert settings.canonical(base[key]) == settings.canonical(defaults[key]), key


def test_defaults_are_filled_at_every_depth():
    config = load(scale="laptop")
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
    assert config["runs"]["fc-8"]["gradients"] == {}
    assert config["runs"]["fc-8"]["training"] == {}  # else it would hide the top-level training


def test_every_key_of_the_schema_has_description_and_valid_default(schema):
    from limitcycles.manual import keys
    from limitcycles.validation import problems

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


# --------------------------------------------------------------------------- what is not valid


@pytest.mark.parametrize(
    ("text", "key", "near"),
    [
        ("trainig: {}", "trainig", "training"),
        ("seed: [1]", "seed", "seeds"),
        ("training: {epoks: 3}", "training.epoks", "epochs"),
        ("training: {learning_rate: {strat: 1}}", "training.learning_rate.strat", "start"),
        ("datasets: {mnist: {sauce: mnist}}", "datasets.mnist.sauce", "source"),
        (
            "datasets: {mnist: {resize: {methid: wrapped}}}",
            "datasets.mnist.resize.methid",
            "method",
        ),
        ("networks: {fc-8: {wieghts: 3}}", "networks.fc-8.wieghts", "weights"),
        ("runs: {fc-8: {netwrok: fc-8}}", "runs.fc-8.netwrok", "network"),
        ("runs: {fc-8: {training: {Sampler: 0}}}", "runs.fc-8.training.Sampler", "sampler"),
        (
            "runs: {fc-8: {training: {momentum: {knid: none}}}}",
            "runs.fc-8.training.momentum.knid",
            "kind",
        ),
        (
            "runs: {fc-8: {gradients: {precison: float64}}}",
            "runs.fc-8.gradients.precison",
            "precision",
        ),
        ("gradients: {memory_mb: 1}", "gradients.memory_mb", "memory_mib"),
        ("spectrum: {tolerence: 0.1}", "spectrum.tolerence", "tolerance"),
    ],
)
def test_misspelt_key_names_file_key_and_nearest_spelling(checked, text, key, near):
    (line,) = checked(text)
    assert line.startswith(f"mine.yaml: {key}: unknown key (value ")
    assert f"nearest valid key: {near}" in line


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("device: gpu", "device", ["cpu", "auto, cpu, cuda"]),
        (
            "training: {momentum: {kind: nestrov}}",
            "training.momentum.kind",
            ['"nestrov"', "nesterov"],
        ),
        ("training: {sampler: with replacement}", "training.sampler", ["with-replacement"]),
        ("gradients: {precision: float46}", "gradients.precision", ["float64"]),
        (
            "datasets: {mnist: {source: mnits}}",
            "datasets.mnist.source",
            ["mnist", "package.module"],
        ),
        ("networks: {fc-8: {builder: small-lnet}}", "networks.fc-8.builder", ["small-lenet"]),
        ("runs: {fc-8: {network: fc8}}", "runs.fc-8.network", ['"fc8"', "networks", "fc-8"]),
        ("runs: {fc-8: {dataset: minst}}", "runs.fc-8.dataset", ['"minst"', "datasets", "mnist"]),
        ("training: {epochs: 0}", "training.epochs", ["0", "at least 1"]),
        ("training: {epochs: 3.0}", "training.epochs", ["3.0", "whole number", "write 3"]),
        ("training: {epochs: true}", "training.epochs", ["true", "whole number"]),
        ("training: {epochs: 1e2}", "training.epochs", ['"1e2"', "without an exponent"]),
        ("training: {weight_decay: -1.0}", "training.weight_decay", ["-1.0", "at least 0"]),
        ("training: {weight_decay: '0.1'}", "training.weight_decay", ["write 0.1 without quotes"]),
        ("training: {weight_decay: .nan}", "training.weight_decay", ["finite"]),
        ("training: {weight_decay: 1e-4}", "training.weight_decay", ['"1e-4"', "write 1.0e-4"]),
        ("spectrum: {tolerance: 2E-3}", "spectrum.tolerance", ["write 2.0e-3"]),
        (
            "training: {learning_rate: {start: 1.5e3}}",
            "training.learning_rate.start",
            ["write 1.5e+3"],
        ),
        (
            "training: {learning_rate: {at: [0.6, 0.3]}}",
            "training.learning_rate.at",
            ["[0.6, 0.3]", "rise"],
        ),
        (
            "training: {learning_rate: {at: [0.3, 1]}}",
            "training.learning_rate.at[1]",
            ["less than 1"],
        ),
        ("training: {snapshots: [0, 20]}", "training.snapshots", ["100 among them"]),
        ("training: {snapshots: [100, 20]}", "training.snapshots", ["rising order"]),
        ("training: {snapshots: [20, 101]}", "training.snapshots[1]", ["101", "at most 100"]),
        ("gradients: {images: 1}", "gradients.images", ["1", "at least 2"]),
        ("training: {batch_size: }", "training.batch_size", ["null", "give it a value"]),
        ("seeds: 0", "seeds", ["write [0]"]),
        ("seeds: [0, 0]", "seeds", ["twice"]),
        ("seeds: []", "seeds", ["empty"]),
        ("seeds: [-1]", "seeds[0]", ["-1", "at least 0"]),
        ("runs: {fc-8: {seeds: [1, 1]}}", "runs.fc-8.seeds", ["twice"]),
        ("data_folder: on", "data_folder", ["true", "quotes"]),
        ("runs: {fc 8: {}}", "runs.fc 8", ["letters, digits and hyphens"]),
        ("runs: {fc-8: }", "runs.fc-8", ["null is not a mapping"]),
        ("spectrum: 4", "spectrum", ["4 is not a mapping"]),
    ],
)
def test_bad_value_names_file_key_value_and_remedy(checked, text, key, said):
    found = [line for line in checked(text) if line.startswith(f"mine.yaml: {key}: ")]
    (line,) = found  # one line for one thing
    for word in said:
        assert word in line


@pytest.mark.parametrize("sampler", settings.TRAJECTORIES_ONLY)
class TestSamplersOfTrajectories:
    def test_a_run_cannot_have_one(self, checked, sampler):
        (line,) = checked(f"runs: {{fc-8: {{training: {{sampler: {sampler}}}}}}}")
        assert line.startswith(f'mine.yaml: runs.fc-8.training.sampler: "{sampler}" is for traj')
        assert "fc-8 is a run; take a sampler with mini-batches" in line

    def test_nor_have_it_from_the_defaults(self, checked, sampler):
        (line,) = checked(f"training: {{sampler: {sampler}}}")  # once, not for every run
        assert line.startswith(f'mine.yaml: training.sampler: "{sampler}" is for trajectories only')

    def test_a_default_that_no_run_uses_and_trajectories_may(self, sampler):
        own = {"sampler": "with-replacement"}
        config = load(
            training={"sampler": sampler},
            runs={run: {"training": own} for run in load()["runs"]},
            trajectories={"full-plain": {"training": {"sampler": sampler}}},
        )
        assert config["trajectories"]["full-plain"]["training"]["sampler"] == sampler


class TestAugmentation:
    MINE = "{flip: true, pad: 4}"

    def test_a_run_may_have_it(self):
        config = load(runs={"fc-8": {"training": {"augmentation": {"flip": False, "pad": 2}}}})
        mine, other = (settings.resolve_run(config, run)["training"] for run in ("fc-8", "fc-16"))
        assert mine["augmentation"] == {"flip": False, "pad": 2}
        assert other["augmentation"] is None

    def test_a_trajectory_cannot_have_it(self, checked):
        (line,) = checked(
            f"trajectories: {{few-plain: {{training: {{augmentation: {self.MINE}}}}}}}"
        )
        assert line.startswith("mine.yaml: trajectories.few-plain.training.augmentation: ")
        assert "is for runs only, and few-plain is a trajectory; write null" in line

    def test_nor_have_it_from_the_defaults(self, checked):
        (line,) = checked(f"training: {{augmentation: {self.MINE}}}")  # once, not for every one
        assert line.startswith("mine.yaml: training.augmentation: ")
        assert "is for runs only" in line

    def test_a_default_that_no_trajectory_uses(self):
        mine = {"flip": True, "pad": 4}
        none = {name: {"training": {"augmentation": None}} for name in load()["trajectories"]}
        config = load(training={"augmentation": mine}, trajectories=none)
        assert settings.resolve_run(config, "fc-8")["training"]["augmentation"] == mine

    @pytest.mark.parametrize(
        ("half", "whole"),
        [
            ({"flip": False}, {"flip": False, "pad": 4}),
            ({"pad": 2}, {"flip": True, "pad": 2}),
            ({}, {"flip": True, "pad": 4}),
        ],
    )
    def test_what_is_left_out_has_its_default(self, half, whole):
        config = load(runs={"fc-8": {"training": {"augmentation": half}}})
        training = settings.resolve_run(config, "fc-8")["training"]
        assert training["augmentation"] == whole
        assert training["epochs"] == config["training"]["epochs"]

    def test_gradients_over_augmentations_need_it(self, checked):
        mine = "gradients: {augmentations: [1, 2]}"
        (line,) = checked(f"runs: {{fc-8: {{{mine}}}}}")
        assert line.startswith("mine.yaml: runs.fc-8.gradients.augmentations: [1, 2] is for runs")
        assert "fc-8 has none; write null, or give it one" in line
        (line,) = checked(mine)  # once, not for every run
        assert line.startswith("mine.yaml: gradients.augmentations: [1, 2] is for runs")

    def test_gradients_over_augmentations_of_a_run_that_has_it(self):
        own = {"training": {"augmentation": {}}, "gradients": {"augmentations": [1, 2]}}
        gradients = settings.resolve_run(load(runs={"fc-8": own}), "fc-8")["gradients"]
        assert gradients["augmentations"] == [1, 2]
        assert gradients["images"] is None

    @pytest.mark.parametrize(
        ("numbers", "words"),
        [("[2, 1]", "rise strictly"), ("[]", "not be empty"), ("[0]", "least")],
    )
    def test_bad_numbers_of_augmentations(self, checked, numbers, words):
        mine = f"training: {{augmentation: {{}}}}, gradients: {{augmentations: {numbers}}}"
        (line,) = checked(f"runs: {{fc-8: {{{mine}}}}}")
        assert line.startswith("mine.yaml: runs.fc-8.gradients.augmentations")
        assert words in line

    def test_bad_values(self, checked):
        lines = checked("runs: {fc-8: {training: {augmentation: {flip: 1, pad: -1, crop: 4}}}}")
        where = "mine.yaml: runs.fc-8.training.augmentation."
        keys = {line.removeprefix(where).split(":")[0] for line in lines}
        assert keys == {"flip", "pad", "crop"}


def test_samplers_of_the_schema_are_those_of_the_library(schema):
    from limitcycles.samplers import CONTROLS, SAMPLERS

    known = schema["$defs"]["training"]["properties"]["sampler"]["enum"]
    assert known == [*SAMPLERS, *CONTROLS]
    assert tuple(CONTROLS) == settings.TRAJECTORIES_ONLY


def test_all_errors_are_in_one_message(checked):
    lines = checked(
        "training: {epoks: 3, weight_decay: -2}\nruns: {fc-8: {network: nowhere}}\nseeds: 0"
    )
    keys = {line.split(": ")[1] for line in lines}
    assert keys == {"training.epoks", "training.weight_decay", "runs.fc-8.network", "seeds"}


def test_error_names_the_last_layer_that_has_the_key(schema):
    sources = [
        ("config/config.yaml", {"training": {"epochs": 0, "weight_decay": -3}, "seeds": 7}),
        ("config/scales/quick.yaml", {"training": {"epochs": -1}}),
        ("command line (--config)", {"training": {"batch_size": 0}}),
    ]
    merged = settings.merge(tree for _, tree in sources)
    with pytest.raises(ConfigError) as caught:
        settings.check(merged, schema, sources)
    where = {line.split(": ")[1]: line.split(": ")[0] for line in str(caught.value).splitlines()}
    assert where == {
        "training.epochs": "config/scales/quick.yaml",
        "training.weight_decay": "config/config.yaml",
        "training.batch_size": "command line (--config)",
        "seeds": "config/config.yaml",
    }


def test_unknown_key_that_belongs_elsewhere_says_where():
    with pytest.raises(ConfigError, match=r"command line.*epochs: .* belongs at training\.epochs"):
        load(epochs=3)


def test_unknown_key_on_the_command_line():
    with pytest.raises(ConfigError, match=r"^command line \(--config\): sead: .*key: seeds"):
        load(sead=[0])


def test_unknown_scale():
    with pytest.raises(ConfigError, match=r'^command line \(--config\): scale: "qick" .*quick'):
        load(scale="qick")


def test_overlay_cannot_choose_the_scale(tmp_path):
    (tmp_path / "quick.yaml").write_text("scale: laptop\n")
    with pytest.raises(ConfigError, match=r"quick\.yaml: scale: an overlay cannot choose"):
        settings.load(BASE, tmp_path, SCHEMA, command_line={"scale": "quick"})


def test_errors_are_for_users():
    assert issubclass(ConfigError, LimitcyclesError)


# -------------------------------------------------------------------------------- reading YAML


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", r"mine\.yaml, line 3: the key 'a' stands twice .* line 1"),
        ("a:\n  b: 1\n  b: 1\n", r"mine\.yaml, line 3: the key 'b' stands twice"),
        ("a: [{b: 1, b: 2}]\n", r"mine\.yaml, line 1: the key 'b' stands twice"),
        ("a: 1\nb: {c: 2\n", r"mine\.yaml, line [23]: "),
        ("a:\n\tb: 1\n", r"mine\.yaml, line 2: .*spaces, not tabs"),
        ("on: 1\n", r"mine\.yaml, line 1: the key 'on' is not text; put it in quotes"),
        ("a: !!python/object:os.system x\n", r"mine\.yaml, line 1: could not determine"),
        ("- a\n", r"mine\.yaml: holds a list where a mapping is due"),
        ("a: 1\n---\nb: 1\n", r"mine\.yaml, line 2: "),
    ],
)
def test_unreadable_yaml_names_file_and_line(tmp_path, text, said):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        settings.read_yaml(path)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(ConfigError, match=r"no\.yaml: cannot be read: No such file"):
        settings.read_yaml(tmp_path / "no.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        settings.read_yaml(tmp_path / "binary.yaml")


def test_merge_keys_and_anchors_are_no_duplicates(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n")
    assert settings.read_yaml(path)["b"] == {"x": 1, "y": 3}


def test_empty_file_is_an_empty_mapping(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert settings.read_yaml(tmp_path / "empty.yaml") == {}


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
            "training={epochs: 2, weight_decay: 1e-4, momentum: {kind: none}, sampler: index-list}",
        ]
    )
    assert given["seeds"] == ["3", "4"]  # texts: the reason for command_line_values
    config = load(**given)
    assert config["seeds"] == [3, 4]
    assert config["data_folder"] is None
    assert config["training"]["epochs"] == 2
    assert config["training"]["weight_decay"] == 1e-4
    assert config["training"]["momentum"]["kind"] == "none"


def test_command_line_texts_that_are_no_numbers_stay():
    given = {"data_folder": "/data/mnist", "runs": {"a": {"departure": "2020-01-01", "x": "[b"}}}
    assert settings.command_line_values(given) == given


# ------------------------------------------------------------------------------ what it means


def test_resolve_run_lays_the_run_over_the_defaults():
    config = load(scale="paper")
    run = settings.resolve_run(config, "small-fc-code")
    assert run["run"] == "small-fc-code"
    assert run["training"] == {
        **config["training"],
        "momentum": {"kind": "heavy-ball", "coefficient": 0.9},
    }
    assert run["gradients"] == {**config["gradients"], "precision": "float64"}
    assert run["network"] == config["networks"]["small-fc"]
    assert run["dataset"]["classes"] == [0, 1]
    assert (run["network_name"], run["dataset_name"]) == ("small-fc", "mnist-7x7-wrapped-01")
    assert run["seeds"] == config["seeds"]
    assert config["runs"]["small-fc-code"]["training"] == {"momentum": {"kind": "heavy-ball"}}


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
        identity(training={"epochs": 3}),
        identity(training={"momentum": {"kind": "none"}}),
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


def test_more_images_than_there_are_is_refused_before_training(checked):
    (line,) = checked(
        "datasets: {few: {source: mnist, classes: [0, 1], train_images_per_class: 500}}\n"
        "runs: {a: {network: fc-8, dataset: few, gradients: {images: 1001}}}\n"
    )
    assert line.startswith(
        "mine.yaml: runs.a.gradients.images: 1001 is more than the 1,000 training"
    )
