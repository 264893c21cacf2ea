"""Bad inputs as a person meets them: `snakemake -n` ends with the sentence, and with no traceback.

Many more are in tests/bad_inputs, without the wait for Snakemake.
"""

import pytest

pytestmark = pytest.mark.workflow
FILES = {
    "mine.yaml": "scale: quick\n",
    "tab.yaml": "scale: quick\ntraining:\n\tepochs: 3\n",
    "octal.yaml": "training: {epochs: 010, learning_rate: {start: 1e-3}}\n",
    "latin.yaml": "note: \xe9\n",
    "no-such.yaml": "networks: {own: {builder: 'no_such:thing'}}\n",
    "options.yaml": "networks: {own: {builder: 'mine:make', options: {widht: 8}}}\n",
    "few.yaml": "scale: quick\ntraining: {epochs: 2}\n",
    "rate.yaml": "training: {learning_rate: 0.1}\n",
    "mine.py": "raise SystemExit('run')\ndef make(width=4): ...\n",
}
CALLS = [  # what a person types after `snakemake -n`, what is said
    (
        ["--configfile", "mine.yaml", "figure_1"],
        ["figure_1: there is no such file", "target before"],
    ),
    (["--config", "scale=quick", "figure_1"], ["figure_1: is no name=value", "target before"]),
    (["--configfile", "absent.yaml"], ["absent.yaml: cannot be read: No such file"]),
    (["--configfile", "tab.yaml"], ["tab.yaml, line 3: ", "spaces, not tabs"]),
    (["--configfile", "latin.yaml"], ["latin.yaml, line 1: is not UTF-8 text"]),
    (
        ["--configfile", "octal.yaml"],
        [
            "octal.yaml, line 1: training.epochs: 010 is the number 8 in YAML 1.1",
            "octal.yaml, line 1: training.learning_rate.start: 1e-3 is a text",
        ],
    ),
    (["--config", "training={epochs: 1:30}"], ["training.epochs: 1:30 is the number 90"]),
    (["--config", "scal=quick"], ["command line (--config): scal: ", "nearest valid key: scale"]),
    (["--config", "scale=quik"], ['"quik"', "nearest valid value: quick"]),
    (["--config", "training={epoch: 3}"], ["training.epoch: ", "nearest valid key: epochs"]),
    (["--config", "runs={x: {network: small-lent}}"], ["runs.x.network", "small-lenet"]),
    (["--config", "data_folder=$NOT_SET/x"], ["data_folder: ", "NOT_SET, which is not set"]),
    (["--configfile", "no-such.yaml"], ["networks.own.builder", 'there is no module "no_such"']),
    (["--configfile", "options.yaml"], ["networks.own.options.widht: 8", 'did you mean "width"']),
    (["--configfile", "few.yaml"], ["training.snapshots: [0, 20, 40, 100] % of the 2 epochs"]),
    (["--configfile", "rate.yaml"], ["training.learning_rate: 0.1 is not", "{start: 0.1}"]),
]


@pytest.mark.parametrize(("words", "said"), CALLS)
def test_a_dry_run_that_is_refused(workflow, words, said):
    for name, content in FILES.items():
        (workflow.folder / name).write_text(content, encoding="latin-1")
    finished = workflow.run("-n", *words)
    assert finished.returncode != 0
    for part in said:
        assert part in finished.stdout
    assert "Traceback" not in finished.stdout
    frames = [line for line in finished.stdout.splitlines() if line.strip().startswith("File ")]
    assert all("rules/common.smk" in frame for frame in frames)  # where it was raised, no more
    assert "Error" not in finished.stdout.replace("WorkflowError", "")


def test_a_folder_with_braces_in_its_name(workflow):
    folder = "data {x} %d"
    (workflow.folder / folder).mkdir()
    finished = workflow.run("-n", "data", "--config", f"data_folder={folder}")
    assert finished.returncode == 0, finished.stdout


@pytest.mark.parametrize(
    "target",
    [
        "figure_4",
        "claim-rank-small-fc",
        "results/quick/runs/small-fc-txt/seed0.zarr.zip",
        "results/quick/runs/small-fc-text/seedzero.zarr.zip",
        "results/quick/data/digit.zarr.zip",
        "results/quick/spectra/small-fc-text/seed0/33",
        "results/quick/measurements/curents/all-nesterov/seed0",
        "results/quick/trajectories/all-nestrov/0",
        "results/quick/measurements/jko-flow/seed0",
        "results/laptop/claims/rank-small-fc.json",
    ],
)
def test_a_target_that_there_is_not(workflow, target):
    finished = workflow.run("-n", target, "--config", "scale=quick")
    assert finished.returncode != 0
    assert f"No rule to produce {target}" in finished.stdout
    assert "Traceback" not in finished.stdout
