"""Configurations that are refused: what the error says."""

from pathlib import Path

import pytest

from limitcycles.configuration import settings
from limitcycles.configuration.settings import ConfigError
from limitcycles.runtime.errors import LimitcyclesError

ROOT = Path(__file__).parents[2]
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


def test_sgd_at_a_constant_rate_has_defaults():
    defaults = load(scale="paper")["constant_rate_sgd"]
    assert defaults == {"steps": 20_000, "batch_size": 32, "learning_rate": 0.05}
    assert load(scale="laptop")["constant_rate_sgd"]["steps"] == 2000


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
            trajectories={
                "full-plain": {
                    "network": "small-fc",
                    "dataset": "mnist-7x7",
                    "training": {"sampler": sampler},
                }
            },
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
    from limitcycles.training.samplers import CONTROLS, SAMPLERS

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
    with pytest.raises(ConfigError) as caught:
        settings.check(sources, schema)
    where = {line.split(": ")[1]: line.split(": ")[0] for line in str(caught.value).splitlines()}
    assert where == {
        "training.epochs": "config/scales/quick.yaml",
        "training.weight_decay": "config/config.yaml",
        "training.batch_size": "command line (--config)",
        "seeds": "config/config.yaml",
    }


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
