"""Configurations that are refused: what the error says."""

from pathlib import Path

import pytest

from limitcycles import settings
from limitcycles.errors import LimitcyclesError
from limitcycles.settings import ConfigError

ROOT = Path(__file__).parents[1]
BASE, SCALES = ROOT / "config/config.yaml", ROOT / "config/scales"
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"


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


def test_late_noise_has_defaults_and_bounds(checked):
    defaults = load(scale="paper")["late_noise"]
    assert defaults == {"steps": 20_000, "batch_size": 32, "learning_rate": 0.05}
    assert load(scale="laptop")["late_noise"]["steps"] == 2000
    for key, bad in (("steps", 10), ("batch_size", 0), ("learning_rate", 0)):
        (line,) = checked(f"late_noise: {{{key}: {bad}}}")
        assert line.startswith(f"mine.yaml: late_noise.{key}: {bad}")
    (line,) = checked("late_noise: {step: 500}")
    assert "nearest valid key: steps" in line


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
        run = "small-fc-code"
        gradients = settings.resolve_run(load(runs={run: own}), run)["gradients"]
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


def test_more_images_than_there_are_is_refused_before_training(checked):
    (line,) = checked(
        "datasets: {few: {source: mnist, classes: [0, 1], train_images_per_class: 500}}\n"
        "runs: {a: {network: fc-8, dataset: few, gradients: {images: 1001}}}\n"
    )
    assert line.startswith(
        "mine.yaml: runs.a.gradients.images: 1001 is more than the 1,000 training"
    )
