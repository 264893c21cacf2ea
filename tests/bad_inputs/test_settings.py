"""Settings that are refused: each by its layer, key, value and remedy, before anything runs."""

from pathlib import Path

import pytest
from bad_inputs.refusal import refusal, says
from snakemake.cli import parse_config

from limitcycles.configuration import settings

SCHEMA = settings.read_yaml(Path(__file__).parents[2] / "workflow/schemas/config.schema.yaml")
SMALL = """
datasets:
  mnist: {source: mnist, resize: {size: 7}}
  digits: {source: digits, resize: {method: bilinear, size: 7}}
networks:
  small-fc: {builder: fc, options: {inputs: 49, hidden: 64, classes: 10}, weights: 3978}
optimisers:
  nesterov: {kind: sgd, options: {momentum: 0.9, nesterov: true}}
runs:
  a: {network: small-fc, dataset: mnist}
trajectories:
  long: {network: small-fc, dataset: digits}
"""

MISSPELT = [  # text of mine.yaml, key, nearest
    ("trainig: {}", "trainig", "training"),
    ("seed: [1]", "seed", "seeds"),
    ("Training: {}", "Training", "training"),
    ("trajectory: {}", "trajectory", "trajectories"),
    ("training: {epoks: 3}", "training.epoks", "epochs"),
    ("training: {batchsize: 3}", "training.batchsize", "batch_size"),
    ("training: {batch-size: 3}", "training.batch-size", "batch_size"),
    ("training: {learning_rate: {strat: 1}}", "training.learning_rate.strat", "start"),
    ("datasets: {mnist: {sauce: mnist}}", "datasets.mnist.sauce", "source"),
    ("datasets: {mnist: {class: [0]}}", "datasets.mnist.class", "classes"),
    ("datasets: {mnist: {resize: {methid: wrapped}}}", "datasets.mnist.resize.methid", "method"),
    ("datasets: {mnist: {whiten: {regularizer: 1}}}", "datasets.mnist.whiten.regularizer", "reg"),
    ("networks: {small-fc: {wieghts: 3}}", "networks.small-fc.wieghts", "weights"),
    ("networks: {small-fc: {option: {}}}", "networks.small-fc.option", "options"),
    ("runs: {a: {netwrok: small-fc}}", "runs.a.netwrok", "network"),
    ("runs: {a: {seed: [0]}}", "runs.a.seed", "seeds"),
    ("runs: {a: {training: {Sampler: 0}}}", "runs.a.training.Sampler", "sampler"),
    ("runs: {a: {training: {optimizer: x}}}", "runs.a.training.optimizer", "optimiser"),
    ("optimisers: {mine: {knid: sgd}}", "optimisers.mine.knid", "kind"),
    ("runs: {a: {gradients: {precison: float64}}}", "runs.a.gradients.precison", "precision"),
    ("trajectories: {long: {window: []}}", "trajectories.long.window", "windows"),
    ("gradients: {memory_mb: 1}", "gradients.memory_mb", "memory_mib"),
    ("spectrum: {tolerence: 0.1}", "spectrum.tolerence", "tolerance"),
    ("constant_rate_sgd: {step: 500}", "constant_rate_sgd.step", "steps"),
    ("trajectory_statistics: {seeds: 0}", "trajectory_statistics.seeds", "seed"),
    ("theory: {path: 5000}", "theory.path", "paths"),
]


@pytest.mark.parametrize(("text", "key", "near"), MISSPELT)
def test_a_misspelt_key_names_the_nearest(checked, text, key, near):
    (line,) = checked(text)
    assert line.startswith(f"mine.yaml: {key}: unknown key (value ")
    assert f"nearest valid key: {near}" in line


VALUES = [  # text of mine.yaml, key, what is said
    # A word that is none of the known ones.
    ("scale: lap", "scale", ['"lap" has no file in', "nearest valid value: laptop"]),
    ("scale: full", "scale", ['"full" has no file in', "valid values: laptop"]),
    ("scale: [quick]", "scale", ["has no file in"]),
    ("device: gpu", "device", ["cpu", "auto, cpu, cuda"]),
    ("device: cuda:1", "device", ['"cuda:1"', "nearest valid value: cuda"]),
    ("training: {optimiser: nestrov}", "training.optimiser", ["nearest valid value: nesterov"]),
    ("runs: {a: {training: {optimiser: Nesterov}}}", "runs.a.training.optimiser", ["nesterov"]),
    ("optimisers: {a: {kind: adm}}", "optimisers.a.kind", ["nearest valid value: adam", "Class"]),
    ("optimisers: {a: {options: {beta: 0.9}}}", "optimisers.a.options.beta", ["takes momentum"]),
    ("optimisers: {a: {options: {nesterov: 1}}}", "optimisers.a.options.nesterov", ["bool"]),
    ("optimisers: {a: {kind: nope.here:Mine}}", "optimisers.a.kind", ['no module "nope"']),
    ("optimisers: {a: {options: {weight_decay: 1}}}", "optimisers.a.options.weight_decay",
        ["write it as training.weight_decay"]),
    ("training: {momentum: {kind: heavy-ball}}", "training.momentum",
        ["is a key no longer; write optimiser: sgd, heavy-ball or nesterov"]),
    ("optimisers: {a: {kind: 'own_optimisers:Wanders'}}\n"
     "training: {optimiser: a, weight_decay: 0.1}", "training.weight_decay",
        ['"own_optimisers:Wanders" has no such parameter', "takes power"]),
    ("runs: {a: {training: {momentum: {}}}}", "runs.a.training.momentum", ["write optimiser"]),
    ("training: {sampler: with replacement}", "training.sampler", ["with-replacement"]),
    ("gradients: {precision: float46}", "gradients.precision", ["float64"]),
    ("gradients: {precision: 64}", "gradients.precision", ["64 is not text", "quotes"]),
    ("datasets: {mnist: {source: mnits}}", "datasets.mnist.source", ["mnist", "package.module"]),
    ("datasets: {mnist: {source: MNIST}}", "datasets.mnist.source", ["nearest valid value: mnist"]),
    ("datasets: {mnist: {source: 'my data:load'}}", "datasets.mnist.source", ["package.module"]),
    ("datasets: {mnist: {source: 'data/x.py:load'}}", "datasets.mnist.source", ["package.module"]),
    ("datasets: {mnist: {pixels: unti}}", "datasets.mnist.pixels", ["unit"]),
    ("datasets: {mnist: {resize: {method: nearest}}}", "datasets.mnist.resize.method",
        ["block-mean"]),
    ("networks: {small-fc: {builder: small-lnet}}", "networks.small-fc.builder", ["small-lenet"]),
    ("runs: {a: {network: smallfc}}", "runs.a.network", ['"smallfc"', "networks", "small-fc"]),
    ("runs: {a: {dataset: minst}}", "runs.a.dataset", ['"minst"', "datasets", "mnist"]),
    ("trajectories: {long: {dataset: digts}}", "trajectories.long.dataset", ['"digts"', "digits"]),
    # A number out of range, or no number.
    ("training: {epochs: 0}", "training.epochs", ["0", "at least 1"]),
    ("training: {epochs: -3}", "training.epochs", ["-3", "at least 1"]),
    (f"training: {{epochs: {10**350}}}", "training.epochs", ["is too large", "fewer digits"]),
    (f"seeds: [0, {10**22}]", "seeds[1]", ["10000000000000000000000 is too large"]),
    (f"runs: {{a: {{training: {{weight_decay: {10**350}}}}}}}", "runs.a.training.weight_decay",
        ["large"]),
    ("training: {epochs: 3.0}", "training.epochs", ["3.0", "whole number", "write 3"]),
    ("training: {epochs: 3.5}", "training.epochs", ["3.5", "whole number"]),
    ("training: {epochs: true}", "training.epochs", ["true", "whole number"]),
    ("training: {epochs: '20'}", "training.epochs", ['"20"', "write 20 without quotes"]),
    ("training: {epochs: twenty}", "training.epochs", ['"twenty" is not a whole number']),
    ("training:\n  epochs: 1,000", "training.epochs", ['"1,000" is not a whole number']),
    ("training: {epochs: [3]}", "training.epochs", ["[3] is not a whole number"]),
    ("training: {epochs: 1.0e+2}", "training.epochs", ["100.0", "write 100"]),
    ("training: {weight_decay: -1.0}", "training.weight_decay", ["-1.0", "at least 0"]),
    ("training: {weight_decay: '0.1'}", "training.weight_decay", ["write 0.1 without quotes"]),
    ("training: {weight_decay: '1e-7'}", "training.weight_decay", ["write 1.0e-07 without"]),
    ("training: {weight_decay: 5 %}", "training.weight_decay", ['"5 %" is not a number']),
    ("training: {weight_decay: .nan}", "training.weight_decay", ["finite"]),
    ("training: {weight_decay: .inf}", "training.weight_decay", ["finite"]),
    ("training: {weight_decay: 1.0e+999}", "training.weight_decay", ["finite"]),
    ("training: {learning_rate: {start: 0}}", "training.learning_rate.start", ["more than 0"]),
    ("training: {learning_rate: {factor: 10}}", "training.learning_rate.factor", ["at most 1"]),
    ("optimisers: {a: {options: {momentum: 1}}}", "optimisers.a.options.momentum", ["less than 1"]),
    ("optimisers: {a: {kind: adam, options: {eps: -1}}}", "optimisers.a.options.eps",
        ["at least 0"]),
    ("training: {batch_size: }", "training.batch_size", ["null", "give it a value"]),
    ("training: {batch_size: all}", "training.batch_size", ['"all" is not a whole number']),
    ("training: {checkpoint_seconds: 0}", "training.checkpoint_seconds", ["more than 0"]),
    ("gradients: {images: 1}", "gradients.images", ["1", "at least 2"]),
    ("gradients: {memory_mib: 4}", "gradients.memory_mib", ["4", "at least 16"]),
    ("gradients: {keep_samples: 0}", "gradients.keep_samples", ["at least 1"]),
    ("spectrum: {tolerance: 1}", "spectrum.tolerance", ["1", "less than 1"]),
    ("constant_rate_sgd: {steps: 10}", "constant_rate_sgd.steps", ["10", "at least 100"]),
    ("constant_rate_sgd: {batch_size: 0}", "constant_rate_sgd.batch_size", ["at least 1"]),
    ("constant_rate_sgd: {learning_rate: 0}", "constant_rate_sgd.learning_rate", ["more than 0"]),
    ("theory: {cells: 8}", "theory.cells", ["8", "at least 32"]),
    ("theory: {seed: 5000000000}", "theory.seed", ["at most 4294967295"]),
    ("networks: {small-fc: {weights: 0}}", "networks.small-fc.weights", ["at least 1"]),
    # A list that is none, or not in order.
    ("training: {learning_rate: {at: [0.6, 0.3]}}", "training.learning_rate.at",
        ["[0.6, 0.3]", "rise"]),
    ("training: {learning_rate: {at: [0.3, 1]}}", "training.learning_rate.at[1]",
        ["1", "less than 1"]),
    ("training: {learning_rate: {at: [30, 60]}}", "training.learning_rate.at[0]",
        ["30", "less than 1"]),
    ("training: {learning_rate: {at: 0.3}}", "training.learning_rate.at", ["write [0.3]"]),
    ("training: {snapshots: [0, 20]}", "training.snapshots", ["100 among them"]),
    ("training: {snapshots: []}", "training.snapshots", ["100 among them"]),
    ("training: {snapshots: [100, 20]}", "training.snapshots", ["rising order"]),
    ("training: {snapshots: [20, 20, 100]}", "training.snapshots", ["rising order"]),
    ("training: {snapshots: [20, 101]}", "training.snapshots[1]", ["101", "at most 100"]),
    ("training: {snapshots: [0.5, 100]}", "training.snapshots[0]", ["0.5", "whole number"]),
    ("training: {snapshots: 100}", "training.snapshots", ["100 among them"]),
    ("seeds: 0", "seeds", ["write [0]"]),
    ("seeds: 0-4", "seeds", ['"0-4" is not a list']),
    ("seeds: [0, 0]", "seeds", ["twice"]),
    ("seeds: []", "seeds", ["empty"]),
    ("seeds: [-1]", "seeds[0]", ["-1", "at least 0"]),
    ("seeds: [a]", "seeds[0]", ['"a" is not a whole number']),
    ("runs: {a: {seeds: [1, 1]}}", "runs.a.seeds", ["twice"]),
    ("runs: {a: {departure: 3}}", "runs.a.departure", ["3 is not text", "quotes"]),
    ("runs: {a: {departure: ''}}", "runs.a.departure", ["empty"]),
    ("trajectories: {long: {windows: 5}}", "trajectories.long.windows", ["such as [[9000, 5]]"]),
    ("trajectories: {long: {windows: [9, 5]}}", "trajectories.long.windows[0]",
        ["9 is not a list"]),
    ("trajectories: {long: {windows: [[5]]}}", "trajectories.long.windows[0]", ["such as [9000"]),
    ("trajectories: {long: {windows: [[0, 5]]}}", "trajectories.long.windows[0][0]", ["least 1"]),
    ("datasets: {mnist: {classes: 0}}", "datasets.mnist.classes", ["write [0]"]),
    ("datasets: {mnist: {classes: [cat]}}", "datasets.mnist.classes[0]", ['"cat"', "whole number"]),
    ("datasets: {mnist: {optional: 1}}", "datasets.mnist.optional", ["true or false"]),
    ("data_folder: true", "data_folder", ["true", "quotes"]),
    ("data_folder: ''", "data_folder", ["empty"]),
    ("data_folder: 7", "data_folder", ["7", "quotes"]),
    ("data_folder: [a]", "data_folder", ["not text or null"]),
    # A name, or a mapping that is none.
    ("runs: {fc 8: {}}", "runs.fc 8", ["letters, digits, hyphens and dots"]),
    ("runs: {fc_8: {}}", "runs.fc_8", ["letters, digits, hyphens and dots"]),
    ("networks: {../x: {}}", "networks.../x", ["letters, digits and hyphens"]),
    ("datasets: {é: {}}", "datasets.é", ["letters, digits and hyphens"]),
    ("runs: {a: }", "runs.a", ["null is not a mapping", "delete the key"]),
    ("runs: [a]", "runs", ['["a"] is not a mapping', "write {name: ...}"]),
    ("runs: {b: small-fc}", "runs.b", ["write {network: ", "small-fc"]),
    ("datasets: {mnist: digits}", "datasets.mnist", ['write {source: "digits"}']),
    ("networks: {small-fc: fc}", "networks.small-fc", ['write {builder: "fc"}']),
    ("networks: {small-fc: {options: 5}}", "networks.small-fc.options", ["write {name: ...}"]),
    ("spectrum: 4", "spectrum", ["4 is not a mapping", "write {exact_up_to: 4}"]),
    ("training: 20", "training", ["20 is not a mapping", "write {epochs: 20}"]),
    ("training: {learning_rate: 0.1}", "training.learning_rate", ["write {start: 0.1}"]),
    ("training: {learning_rate: 1.0e-6}", "training.learning_rate", ["write {start: 1.0e-06}"]),
    ("training: {learning_rate: [0.1, 0.2]}", "training.learning_rate", ["{at: [0.1, 0.2]}"]),
    ("training: {learning_rate: fast}", "training.learning_rate", ["{start: ..., factor: ..."]),
    ("optimisers: {a: adam}", "optimisers.a", ['write {kind: "adam"}']),
    ("training: {optimiser: {kind: adam}}", "training.optimiser", ["is not text"]),
    ("training: {augmentation: true}", "training.augmentation", ["write {flip: true}"]),
    ("datasets: {mnist: {resize: 7}}", "datasets.mnist.resize", ["write {size: 7}"]),
    ("datasets: {mnist: {whiten: 1.0e-5}}", "datasets.mnist.whiten", ["{regulariser: 1.0e-05}"]),
    ("gradients: 500", "gradients", ["500 is not a mapping"]),
    # Right each by itself, but not together, or in the wrong place.
    ("epochs: 3", "epochs", ["this key belongs at training.epochs"]),
    ("start: 0.1", "start", ["this key belongs at training.learning_rate.start"]),
    ("training: {network: small-fc}", "training.network", ["belongs at"]),
    ("runs: {a: {gradients: {images: 60001}}}", "runs.a.gradients.images",
        ["60001 is more than the 60,000 training images"]),
    ("gradients: {augmentations: [1, 2]}", "gradients.augmentations",
        ["for runs with training.augmentation", "write null, or give it one"]),
    ("training: {sampler: full-batch}", "training.sampler",
        ["is for trajectories only", "take a sampler with mini-batches"]),
    ("trajectories: {long: {training: {augmentation: {flip: true}}}}",
        "trajectories.long.training.augmentation", ["is for runs only", "write null here"]),
    ("data_folder: $NOT_SET/mnist", "data_folder", ["variable NOT_SET, which is not set"]),
    ("data_folder: ~nobody-here/x", "data_folder", ["a user who is not known here"]),
    ("training: {epochs: 2}", "training.snapshots",
        ["[0, 20, 40, 100] % of the 2 epochs of a", "at least 4 epochs, or take fewer snapshots"]),
    ("runs: {a: {training: {epochs: 20, snapshots: [0, 1, 100]}}}", "runs.a.training.snapshots",
        ["[0, 1, 100] % of the 20 epochs", "at least 51 epochs"]),
    # What a dataset has, and what a network takes.
    ("datasets: {mnist: {classes: [9, 10]}}", "datasets.mnist.classes", ["[10]", "labels 0 to 9"]),
    ("datasets: {digits: {train_images: 1438}}", "datasets.digits.train_images", ["1,437", "null"]),
    ("datasets: {mnist: {resize: {size: 10}}}", "datasets.mnist.resize.size",
        ["10 does not divide the 28 pixels", "bilinear"]),
    ("datasets: {mnist: {options: {path: x}}}", "datasets.mnist.options",
        ['"mnist" takes no options', "delete them"]),
    ("datasets: {mnist: {resize: {size: 14}}}", "runs.a.network",
        ['"small-fc" takes images of 49 numbers', "(1, 14, 14)", "another network or dataset"]),
    ("datasets: {mnist: {source: cifar10, resize: {size: 16}}}", "runs.a.network",
        ["49 numbers", "(3, 16, 16)"]),
    ("networks: {small-fc: {builder: allcnn, options: {inputs: null}}}",
        "networks.small-fc.options.inputs",
        ['"limitcycles.training.networks:allcnn" has no such parameter', "it takes classes"]),
    ("networks: {small-fc: {options: {classes: 5}}}", "runs.a.network",
        ['"small-fc" has 5 outputs', "run to 9", "{classes: 10}"]),
    ("networks: {small-fc: {options: {hidden: 6.5}}}", "networks.small-fc.options.hidden",
        ["6.5", "says that it is int"]),
    ("networks: {small-fc: {options: {hiden: 6}}}", "networks.small-fc.options.hiden",
        ['did you mean "hidden"', "it takes inputs, hidden, classes, norm"]),
    ("networks: {b: {builder: fc}}", "networks.b.options", ["needs inputs, hidden, classes"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "key", "words"), VALUES)
def test_a_bad_value_names_file_key_value_and_remedy(checked, text, key, words):
    (line,) = (line for line in checked(text) if f": {key}: " in line)  # one line for one thing
    assert Path(line.partition(": ")[0]).name in ("mine.yaml", "config.yaml")
    says(line, words)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A small configuration, and overlays that name all of it."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "config.yaml").write_text(SMALL)
    (folder / "scales").mkdir()
    for scale in ("quick", "laptop", "paper"):
        text = "runs: {'*': {}}\ntrajectories: {'*': {}}\n"
        (folder / "scales" / f"{scale}.yaml").write_text(text)
    return folder


@pytest.fixture
def load(base, tmp_path, monkeypatch):
    """Load the small configuration, with a text of YAML and words of the command line over it."""
    monkeypatch.chdir(tmp_path)

    def load(text="", words=()):
        Path("mine.yaml").write_text(text, encoding="utf-8")
        layers = settings.layers(
            base / "config.yaml",
            base / "scales",
            SCHEMA,
            extra=[Path("mine.yaml")],
            command_line=parse_config(words),
        )
        return settings.check(layers, SCHEMA)

    return load


@pytest.fixture
def checked(load):
    return lambda text: refusal(lambda: load(text))


def test_the_small_configuration_is_valid(load):
    load()


COMMAND_LINE = [  # words after --config, key, what is said
    (["sead=[0]"], "sead", ["nearest valid key: seeds"]),
    (["scale=qick"], "scale", ['"qick"', "nearest valid value: quick"]),
    (["scale=1"], "scale", ["1 has no file in"]),
    (["scale="], "scale", ["null has no file in"]),
    (["epochs=3"], "epochs", ["this key belongs at training.epochs"]),
    (["seeds=0"], "seeds", ["write [0]"]),
    (["seeds=0,1"], "seeds", ['"0,1" is not a list', "write [0,1]"]),
    (["seeds=[0, 1"], "seeds", ["close its brackets"]),
    (["seeds=[0, 0x1_0]"], "seeds[1]", ["0x1_0 is the number 16"]),
    (["seeds=[010]"], "seeds[0]", ["010 is the number 8 in YAML 1.1", "write 8, or 10"]),
    (["training={epochs: 08}"], "training.epochs", ["08 is a text", "write 8"]),
    (["training={epochs: 1:30}"], "training.epochs", ["the number 90", "write 90"]),
    (["training={epochs: 1_000}"], "training.epochs", ["write 1000,", "file for --configfile"]),
    (["training={epochs: 1e2}"], "training.epochs", ["100.0 is not a whole number", "write 100"]),
    (["training={weight_decay: 1e999}"], "training.weight_decay", ["must be finite"]),
    (["training={augmentation: {flip: yes}}"], "training.augmentation.flip", ["write true"]),
    (["training={epochs:3}"], "training.epochs:3", ["put a space after the colon"]),
    (["training={epochs=3}"], "training.epochs=3", ["a space after the colon: epochs: 3"]),
    (["training=20"], "training", ["write {epochs: 20}"]),
    (["training={epochs: 20"], "training", ["close its brackets"]),
    (["training={learning_rate: 0.1}"], "training.learning_rate", ["write {start: 0.1}"]),
    (["runs={x: {departure: 2024-01-01}}"], "runs.x.departure", ["is a date", "in quotes"]),
    (["data_folder=no"], "data_folder", ["no is false in YAML 1.1"]),
    (["data_folder=12"], "data_folder", ["12 is not text", "quotes"]),
    (["device=CUDA"], "device", ['"CUDA"', "nearest valid value: cuda"]),
]


@pytest.mark.parametrize(("words", "key", "said"), COMMAND_LINE)
def test_a_bad_value_of_the_command_line(load, words, key, said):
    start = f"command line (--config): {key}: "
    (line,) = (line for line in refusal(lambda: load(words=words)) if line.startswith(start))
    says(line, said)
