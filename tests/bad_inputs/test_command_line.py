"""Words of a command line that are refused: each with the option, the word and what to type."""

import sys
from pathlib import Path

import pytest
from bad_inputs.refusal import refusal, says

from limitcycles.configuration import command_line

FILES = {"ok.yaml": "scale: quick\n", "tab.yaml": "training:\n\tepochs: 3\n", "list.yaml": "- a\n"}
TAKES_ALL = "takes all words that follow it: put a target before it"
LINES = [  # what a user types after `snakemake`, what is said
    (["--configfile", "ok.yaml", "figure_1"],
        ["--configfile: figure_1: ", TAKES_ALL, "(snakemake figure_1 --configfile ...)"]),
    (["-n", "--configfiles", "ok.yaml", "claim_rank_small_fc"],
        ["--configfiles: claim_", TAKES_ALL]),
    (["--configfile", "figure_1"], ["figure_1: there is no such file", TAKES_ALL]),
    (["--configfile", "absent.yaml"], ["absent.yaml: cannot be read: No such file"]),
    (["--configfile", "some/where"], ["some/where: cannot be read: No such file"]),
    (["--configfile=absent.yml"], ["absent.yml: cannot be read"]),
    (["--configfile", "tab.yaml"], ["tab.yaml, line 2: ", "spaces, not tabs"]),
    (["--configfile", "ok.yaml", "tab.yaml", "-n"], ["tab.yaml, line 2: "]),
    (["--configfile", "list.yaml"], ["list.yaml: holds a list"]),
    (["--configfile", "."], [".: cannot be read: it is a folder"]),
    (["--config", "scale=quick", "figure_1"], ["--config: figure_1: is no name=value", TAKES_ALL]),
    (["-C", "scale=quick", "figure_1", "-n"], ["-C: figure_1: ", "(snakemake figure_1 -C ...)"]),
    (["--config", "quick"], ["--config: quick: is no name=value"]),
    (["--config", "seeds=[0,", "1]"], ["1]: is no name=value", "quotes", "'seeds=[0, 1]'"]),
    (["--config", "training={epochs:", "3}"], ["3}: is no name=value", "quotes"]),
    (["--config", "seeds", "=", "3"], ["seeds: is no name=value"]),
    (["--config", "training.epochs=3"], ["write 'training={epochs: 3}'"]),
    (["--config", "training.learning_rate.start=0.1"],
        ["write 'training={learning_rate: {start: 0.1}}'"]),
    (["scale=quick"], ["scale=quick: is a setting, no target; write --config scale=quick"]),
    (["figure_1", "-n", "seeds=[0]"], ["seeds=[0]: is a setting, no target"]),
    (["--config", "scale=quick", "-n", "--config", "seeds=[0]"],
        ["--config: stands there after --config", "write all settings after one --config"]),
    (["-C", "scale=quick", "--config=seeds=[0]"], ["--config: stands there after -C"]),
    (["--configfile", "ok.yaml", "--configfiles", "ok.yaml"],
        ["--configfiles: stands there after --configfile", "all files after one --configfile"]),
    (["--config", "scale=quick", "scale=paper"], ["scale: stands there 2 times; write it once"]),
    (["--config", "training={epochs: 3, epochs: 5}"], ["the key 'epochs' stands twice in it"]),
    (["-C", "runs={a: {seeds: [0]}, b: {}, a: {}}"], ["the key 'a' stands twice in it"]),
    (["--config", "=3"], ["'' is no name of a setting", "config/README.md"]),
    (["--config", "x=3"], ["'x' is no name of a setting"]),
    (["--config", "1st=3"], ["'1st' is no name of a setting"]),
]  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        Path(name).write_text(content)


@pytest.mark.parametrize(("words", "said"), LINES)
def test_words_that_are_refused(words, said):
    (line,) = refusal(lambda: command_line.check(words))
    says(line, said)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-n", "figure_1", "--configfile", "ok.yaml"],
        ["--configfile", "ok.yaml", "--", "figure_1"],
        ["--configfile", "ok.yaml", "ok.yaml", "-n"],
        ["figure_1", "--config", "scale=quick", "seeds=[0, 1]", "data_folder=a b=c", "-n"],
        ["--config", "data_folder=", "--cores", "2", "figure_1"],
        ["--cores", "2", "figure_1", "training.epochs=3"],
    ],
)
def test_words_that_are_right(words):
    command_line.check(words)


def test_the_standard_file_is_looked_at_too():
    Path("config").mkdir()
    Path("config/config.yaml").write_text("training:\n\tepochs: 3\n")
    (line,) = refusal(lambda: command_line.check(["-n"]))
    says(line, ["config/config.yaml, line 2: ", "spaces, not tabs"])


def test_the_process_ends_with_the_sentence(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["snakemake", "--configfile", "tab.yaml"])
    with pytest.raises(SystemExit, match=r"^tab\.yaml, line 2: "):
        command_line.stop_on_wrong_settings()
